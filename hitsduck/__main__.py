"""Run the command line as ``python -m hitsduck``."""

from hitsduck.cli import main

main()
