"""The gallery page lists every chart, and its pictures are there and small."""

from __future__ import annotations

import re
import shlex
import struct
import sys
from pathlib import Path

import pytest

import hitsduck
from hitsduck.cli import cli
from hitsduck.gallery import CHARTS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import make_gallery  # noqa: E402

PAGE = make_gallery.PAGE.read_text(encoding="utf-8")
IMAGES = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", PAGE)


def test_the_page_is_the_one_that_the_script_writes() -> None:
    assert make_gallery.page() == PAGE


def test_every_chart_of_the_registry_is_on_the_page_with_its_picture() -> None:
    for name in CHARTS:
        assert f"images/gallery/simulated/{name}.png" in IMAGES
        assert f"`hitsduck chart {name} " in PAGE
    assert set(make_gallery.COMPARING) < set(CHARTS)


def test_every_picture_is_there_small_and_no_other() -> None:
    files = {str(file.relative_to(make_gallery.DOCS)) for file in make_gallery.IMAGES.rglob("*.*")}
    assert files == set(IMAGES)
    total = 0
    for image in IMAGES:
        content = (make_gallery.DOCS / image).read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert 300 < width < 1600
        assert 100 < height < 1600
        total += len(content)
    assert total < 3_000_000


def test_the_charts_that_compare_are_those_that_need_two(tmp_path: Path) -> None:
    """Of one rerun exactly these complain that a second one is missing."""
    from apdb_files import make_apdb

    path = make_apdb(tmp_path / "a.db", generation="2020")
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        complaining = set()
        for name in CHARTS:
            try:
                reruns.chart(name)
            except hitsduck.HitsduckError as error:
                if "name a second one" in str(error):
                    complaining.add(name)
    assert complaining == set(make_gallery.COMPARING)


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`(hitsduck chart [^`]+)`", PAGE))))
def test_a_command_of_the_page_is_understood(line: str) -> None:
    words = shlex.split(line)
    command = cli.commands["chart"]
    context = command.make_context("chart", words[2:], resilient_parsing=False)
    assert context.params["name"] in CHARTS
