"""The command ``hitsduck``: parses, calls the library, prints."""

from hitsduck.cli import comparing, looking, making
from hitsduck.cli.app import cli, main

__all__ = ["cli", "comparing", "looking", "main", "making"]
