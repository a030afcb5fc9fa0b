"""The documentation says what the program does."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import make_docs  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def beside_demo(tmp_path_factory):
    """A folder in which ``hitsduck demo`` was run, as ``make demo`` does."""
    folder = tmp_path_factory.mktemp("readme")
    make_docs.run("hitsduck demo", folder)
    return folder


def test_the_readme_has_blocks_of_every_kind():
    assert len(make_docs.CONSOLE.findall(README)) >= 3
    assert README.count("```python") == 1
    assert "make demo" in README
    assert "make test" in README


@pytest.mark.parametrize(
    ("command", "output"),
    [m.group("command", "output") for m in make_docs.CONSOLE.finditer(README)],
)
def test_a_console_block_prints_what_the_readme_shows(command, output, beside_demo):
    assert make_docs.run(command, beside_demo) == output


def test_the_python_block_runs(beside_demo, monkeypatch):
    monkeypatch.chdir(beside_demo)
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    names: dict[str, object] = {}
    exec(compile(block[1], "README.md", "exec"), names)
    counts = names["counts"]
    assert counts["rerun"].to_list() == ["April", "May"]  # type: ignore[index]


def test_the_pages_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []


def test_the_page_of_commands_is_up_to_date():
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == make_docs.commands_page()


def test_the_page_of_python_is_up_to_date():
    assert (ROOT / "docs" / "python.md").read_text(encoding="utf-8") == make_docs.python_page()


def test_the_page_of_python_says_something_of_every_name():
    page = make_docs.python_page()
    assert [line for line in page.splitlines() if line.endswith("`: ")] == []
    for name in ("open_reruns", "Reruns", "Rerun", "Comparison", "Explanation", "EdgeExcess"):
        assert re.search(rf"^### `(hitsduck\.)?{name}`$", page, re.MULTILINE), name
    for line in ("- `counts(*, where=None) -> Result`: ", "- `light_curve`: ", "- `QueryError`: "):
        assert f"\n{line}" in page
    # one line for a method, and a link to its options where they are many
    assert '- `series(*, order="opening", **options) -> Series`: Compare every rerun' in page
    assert set(re.findall(r"\(#(\w+)\)", page)) <= {
        re.sub(r"[^\w]", "", heading.lower())
        for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }


def test_every_command_is_named_in_the_changelog():
    from hitsduck.cli import cli

    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [name for name in cli.commands if f"`{name}`" not in changes] == []
