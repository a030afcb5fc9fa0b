"""Write the generated parts of the documentation: ``python docs/make_docs.py [--check]``.

``docs/commands.md`` from the commands' own help, ``docs/python.md`` from the docstrings,
and the outputs of the console blocks of README.md from running them on the demo's reruns
(in ``demo/`` of the current folder).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
from python_page import python_page

ROOT = Path(__file__).resolve().parent.parent
CONSOLE = re.compile(r"```console\n\$ (?P<command>[^\n]*)\n(?P<output>.*?)```", re.DOTALL)


def run(command: str, folder: Path) -> str:
    """Run one ``hitsduck ...`` line as a user would, and return what it prints."""
    words = shlex.split(command)
    if words[0] != "hitsduck":
        raise ValueError(f"only hitsduck is run here, not {words[0]}")
    done = subprocess.run(
        [sys.executable, "-m", "hitsduck", *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"{command}: status {done.returncode}: {done.stderr}")
    return done.stdout


def commands_page() -> str:
    """Return docs/commands.md: the help text of every command."""
    from hitsduck.cli import cli

    parts = ["# The commands\n\nWritten from the help texts by docs/make_docs.py.\n"]
    named = [""]
    for name, command in sorted(cli.commands.items()):
        named.append(name)
        if isinstance(command, click.Group):
            named += [f"{name} {inner}" for inner in sorted(command.commands)]
    for words in named:
        line = f"hitsduck {words} --help".replace("  ", " ")
        parts.append(f"## `{line.removesuffix(' --help')}`\n\n```text\n{run(line, ROOT)}```\n")
    return "\n".join(parts)


def readme_with_outputs(text: str, folder: Path) -> str:
    """Return the README with each console block holding what its command prints now."""

    def filled(match: re.Match[str]) -> str:
        return f"```console\n$ {match['command']}\n{run(match['command'], folder)}```"

    return CONSOLE.sub(filled, text)


def main() -> None:
    """Write the pages, or say which one is out of date."""
    check = "--check" in sys.argv
    readme = ROOT / "README.md"
    wanted = {
        ROOT / "docs" / "commands.md": commands_page(),
        ROOT / "docs" / "python.md": python_page(),
    }
    if Path("demo").is_dir():
        wanted[readme] = readme_with_outputs(readme.read_text(encoding="utf-8"), Path.cwd())
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if check and stale:
        sys.exit(f"out of date: {', '.join(map(str, stale))}; run python docs/make_docs.py")
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")


if __name__ == "__main__":
    main()
