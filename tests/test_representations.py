"""What a notebook shows of every result: a table that can be read, and nothing by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import hitsduck
from hitsduck.reruns import Reruns
from hitsduck.results import frame_html
from hitsduck.simulator import simulate

NAMES = ("Apr2020", "May2020", "Jun2020")
RESULTS: dict[str, Callable[[Reruns], Any]] = {
    "Reruns": lambda reruns: reruns,
    "Rerun": lambda reruns: reruns["Apr2020"],
    "Result": lambda reruns: reruns.counts(),
    "Comparison": lambda reruns: reruns.compare("Apr2020", "May2020"),
    "Explanation": lambda reruns: reruns.compare("Apr2020", "May2020").explain(),
    "Turnover": lambda reruns: reruns.compare("Apr2020", "May2020").turnover(),
    "ObjectMatch": lambda reruns: reruns.compare_objects("Apr2020", "May2020"),
    "Series": lambda reruns: reruns.series(),
    "SrcCounts": lambda reruns: reruns.src_counts(),
    "CatalogMatch": lambda reruns: reruns.match_catalog(
        pl.DataFrame({"ra": [150.1], "dec": [2.2]}), radius_arcsec=1.0
    ),
}


@pytest.fixture(scope="module")
def reruns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reruns]:
    folder = tmp_path_factory.mktemp("simulated") / "small"
    simulate(folder, preset="small", src_catalogs="small")
    with hitsduck.open_reruns({name: folder / name for name in NAMES}) as opened:
        yield opened


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_shown_as_a_table_and_prints_nothing(
    reruns: Reruns, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    result = RESULTS[name](reruns)
    html = result._repr_html_()
    assert type(result).__name__ == name
    assert html.count("<table") == html.count("</table>") == 1
    assert "<th>" in html or "<th " in html
    words = repr(result)
    assert words.startswith("<")
    assert len(words) < 500
    assert "\n" not in words
    assert capfd.readouterr() == ("", "")


def test_the_table_of_a_comparison_has_its_numbers_and_files(reruns: Reruns) -> None:
    comparison = reruns.compare("Apr2020", "May2020")
    html = comparison._repr_html_()
    assert f"<td>{comparison.n_right:,}</td>" in html
    assert f"<td>{comparison.n_right_only:,}</td>" in html
    assert comparison.left_path in html
    assert "Good sources, matched within 0.5 arcsec" in html
    itself = reruns.compare("May2020", "May2020", where="psf_snr > 6")._repr_html_()
    assert "where psf_snr &gt; 6" in itself
    assert "both names are the same file" in itself


def test_the_table_of_an_edge_excess_has_its_numbers_and_what_is_not_told(reruns: Reruns) -> None:
    comparison = reruns.compare("Apr2020", "May2020")
    edges = comparison.edges()
    assert edges is not None
    html = edges._repr_html_()
    assert f"<td>n_new</td><td>{edges.n_new:,}</td>" in html
    assert f"<td>excess_ratio</td><td>{edges.excess_ratio:,.4g}</td>" in html
    same = reruns.compare("May2020", "May2020").edges()
    assert same is not None
    assert "<td>excess_ratio</td><td>not told</td>" in same._repr_html_()


def test_what_info_says_is_a_list_and_a_table(reruns: Reruns, shared: Path) -> None:
    info = reruns.info()
    html = info._repr_html_()
    assert [row["rerun"] for row in info] == list(NAMES)
    assert isinstance(info, list)
    assert all(f"<th>{name}</th>" in html for name in NAMES)
    assert f"DiaSource {info[0]['n_rows']['DiaSource']:,}" in html
    assert f"{info[2]['median_seeing_arcsec']:.2f} arcsec" in html
    unknown = shared / "data" / "apdb" / "packed-2021.sqlite3"
    with hitsduck.open_reruns({"<b>": unknown}) as opened:
        html = opened.info()._repr_html_()
    assert "<th>&lt;b&gt;</th>" in html
    assert "<td>not known</td>" in html


def test_counts_have_separators_and_ids_none() -> None:
    frame = pl.DataFrame({"diaObjectId": [1234567], "visit": [410985], "n": [671170]})
    html = frame_html(frame)
    for shown in ("1234567", "410985", "671,170"):
        assert f"<td>{shown}</td>" in html, html


def test_names_are_text_and_long_tables_say_how_long_they_are() -> None:
    script = "<script>alert(1)</script>"
    html = frame_html(pl.DataFrame({script: [script] * 40}), script)
    assert "<script>" not in html
    assert "shape: (40, 1)" in html
    assert html.count("<tr>") < 30


def test_a_notebook_shows_charts_without_a_network(tmp_path: Path) -> None:
    """And leaves a renderer alone that was chosen. In a process of its own: it is a setting."""
    program = """
import sys
from IPython.core.interactiveshell import InteractiveShell
import altair as alt, polars as pl
from hitsduck import charts

frame = pl.DataFrame({"rerun": ["a"], "quantity": ["DIA sources"], "n": [1], "n_first": [1]})
charts.counts(frame)
assert alt.renderers.active == "default"  # no notebook, no change
InteractiveShell.instance()
shown = charts.counts(frame)._repr_mimebundle_()
bundle = shown[0] if isinstance(shown, tuple) else shown
assert set(bundle) == {"application/vnd.vegalite.v6+json", "image/png", "text/plain"}, set(bundle)
assert bundle["text/plain"].startswith("Grouped bars")
alt.renderers.enable("svg")
charts.counts(frame)
assert alt.renderers.active == "svg"
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"IPYTHONDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
