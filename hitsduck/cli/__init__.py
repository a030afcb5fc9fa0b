"""The command ``hitsduck``: parses, calls the library, prints."""

from hitsduck.cli import checking, comparing, looking, making, storing
from hitsduck.cli.app import cli, main

__all__ = ["checking", "cli", "comparing", "looking", "main", "making", "storing"]
