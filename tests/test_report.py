"""The report: one page that opens offline, and whose numbers are sqlite3's."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from apdb_files import make_apdb
from click.testing import CliRunner

import hitsduck
from hitsduck.charts.theme import empty
from hitsduck.cli import cli
from hitsduck.demo import run_demo
from hitsduck.edges import EdgeExcess
from hitsduck.errors import OutputError, QueryError, RerunNameError
from hitsduck.page import (
    Cell,
    Column,
    Figure,
    Page,
    Section,
    Table,
    html,
    script_json,
    vega_javascript,
)
from hitsduck.report import compose, write_report
from hitsduck.report.comparing import interval_sentences
from hitsduck.report.formats import chosen_form, pdf
from hitsduck.simulator import simulate

SCRIPT = "<script>alert(1)</script>"
BAD_FLAGS = 704  # bits 6, 7 and 9: bad, suspect, saturatedCenter


class Tables(HTMLParser):
    """Collects the rows of every table: (text, data-value) of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self._caption: str | None = None
        self._cell: list[str] | None = None
        self._rows: list[list[tuple[str, str | None]]] = []
        self._value: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th", "caption"):
            self._cell, self._value = [], dict(attrs).get("data-value")
        elif tag == "small":
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self._caption = "".join(self._cell or ())
            self.tables[self._caption] = self._rows
        elif tag in ("td", "th"):
            self._rows[-1].append(("".join(self._cell or ()), self._value))
        if tag in ("td", "th", "caption"):
            self._cell = None


def table(page: str, start: str) -> list[list[tuple[str, str | None]]]:
    """Return the rows of the table whose caption begins so, without its head."""
    return next(rows for caption, rows in Tables(page).tables.items() if caption.startswith(start))[
        1:
    ]


def sqlite_counts(path: Path) -> list[int]:
    good = f"coalesce(flags & {BAD_FLAGS} = 0, 0)"
    current = "select diaObjectId from DiaObject where validityEnd is null"
    queries = (
        "select count(*) from DiaSource",
        f"select count(*) from DiaSource where {good}",
        f"select count(*) from ({current})",
        f"select count(*) from ({current}) where diaObjectId in "
        f"(select diaObjectId from DiaSource where {good})",
    )
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return [connection.execute(query).fetchone()[0] for query in queries]


def tiny(path: Path, *, sources: list[dict[str, Any]]) -> Path:
    """Write a 2020 file of DECam; every object of a source is there once."""
    places = {source["diaObjectId"]: (source["ra"], source["dec"]) for source in sources}
    return make_apdb(
        path,
        generation="2020",
        sources=sources,
        objects=[
            {"diaObjectId": number, "ra": ra, "dec": dec}
            for number, (ra, dec) in sorted(places.items())
        ],
    )


def source(number: int, x: float, y: float, *, bad: bool = False, **given: Any) -> dict[str, Any]:
    """Return a source of visit 410985, detector 10; ra and dec follow x and y."""
    return {
        "diaSourceId": number,
        "diaObjectId": number,
        "visit": 410985,
        "detector": 10,
        "ra": 150.0 + x * 0.263 / 3600,
        "dec": 2.0 + y * 0.263 / 3600,
        "x": x,
        "y": y,
        "midpointMjdTai": 57070.1,
        "ixxPSF": 4.0,
        "iyyPSF": 4.0,
        "pixelFlags_bad": bad,
        **given,
    }


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Path]:
    """Two reruns: three sources in common, one gone, two new beside the left edge."""
    common = [source(1, 1000, 2000), source(2, 500, 1000), source(3, 700, 700)]
    return {
        "before": tiny(tmp_path / "before.db", sources=[*common, source(4, 900, 3000)]),
        "after": tiny(
            tmp_path / "after.db",
            sources=[*common, source(5, 10, 600), source(6, 20, 900), source(7, 30, 30, bad=True)],
        ),
    }


def page_of(paths: dict[str, Path], folder: Path, **options: Any) -> str:
    opening = {"instrument": options.pop("instrument", "DECam")}
    with hitsduck.open_reruns(paths, **opening) as reruns:
        return write_report(reruns, folder / "report.html", **options).read_text(encoding="utf-8")


def test_report_counts_are_those_of_sqlite(pair: dict[str, Path], tmp_path: Path) -> None:
    rows = table(page_of(pair, tmp_path), "Counts")
    assert [row[0][0] for row in rows] == ["before", "after"]
    for row, path in zip(rows, pair.values(), strict=True):
        assert [int(value or -1) for _, value in row[1:]] == sqlite_counts(path)
    # 4 sources before, 6 after: +2, which is +50%.
    assert rows[1][1][0] == "6 +2 (+50.0%)"


def test_report_compares_the_last_two(pair: dict[str, Path], tmp_path: Path) -> None:
    three = {"first": pair["before"], **pair}
    page = page_of(three, tmp_path, radius_arcsec=0.3)
    rows = table(page, "Good sources, matched within 0.3 arcsec")
    assert [[cell[0] for cell in row] for row in rows] == [
        ["before", "4", "3 75.0%", "1 25.0%", "0", str(pair["before"])],
        ["after", "5", "3 60.0%", "2 40.0%", "0", str(pair["after"])],
    ]


def test_report_compares_the_pair_that_is_asked_for(pair: dict[str, Path], tmp_path: Path) -> None:
    page = page_of(pair, tmp_path, compare=("after", "after"))
    rows = table(page, "Good sources")
    assert [[cell[0] for cell in row[1:4]] for row in rows] == [["5", "5 100.0%", "0 0.0%"]] * 2


def test_report_refuses_an_unknown_name_and_half_a_pair(
    pair: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(RerunNameError, match="no rerun is called 'never'"):
        page_of(pair, tmp_path, compare=("before", "never"))
    with pytest.raises(QueryError, match="names two reruns"):
        page_of(pair, tmp_path, compare=("before",))


def test_report_of_one_rerun_says_what_is_missing(pair: dict[str, Path], tmp_path: Path) -> None:
    page = page_of({"before": pair["before"]}, tmp_path)
    assert "Only one rerun was given" in page
    assert "Name a second one" in page
    assert len(table(page, "Counts")) == 1


def test_report_without_a_camera_says_how_to_get_the_edges(shared: Path, tmp_path: Path) -> None:
    file = shared / "data" / "apdb" / "packed-2021.sqlite3"
    page = page_of({"a": file, "b": file}, tmp_path, instrument=None)
    assert [cell[0] for cell in table(page, "Counts")[0]] == ["a", "15", "11", "15", "11"]
    assert "cannot be compared" in page or "cannot be told" in page
    assert "instrument" in page


def test_report_of_real_reruns_has_the_known_numbers(shared: Path, tmp_path: Path) -> None:
    apdb = shared / "data" / "apdb"
    paths = {
        "imsim-2023": apdb / "imsim-2023-packed.sqlite3",
        "imsim-2024": apdb / "imsim-2024-schema-0.1.1.sqlite3",
    }
    page = page_of(paths, tmp_path, instrument="LSSTCam-imSim")
    counts = table(page, "Counts")
    for row, path in zip(counts, paths.values(), strict=True):
        assert [int(value or -1) for _, value in row[1:]] == sqlite_counts(path)
    with hitsduck.open_reruns(paths, instrument="LSSTCam-imSim") as reruns:
        comparison = reruns.compare("imsim-2023", "imsim-2024")
    matched = {row[2][1] for row in table(page, "Good sources")}
    assert matched == {str(comparison.n_matched)}
    edges = table(page, "Sources by distance")
    assert sum(int(row[1][1] or 0) for row in edges) == comparison.n_matched


def test_names_and_paths_are_text_everywhere(pair: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "a&b <i>"
    folder.mkdir()
    path = Path(shutil.copy(pair["before"], folder / "x.db"))
    page = page_of(
        {SCRIPT: path, "after": pair["after"]}, tmp_path, title=f"{SCRIPT}'\"", command=SCRIPT
    )
    assert "<script>alert" not in page
    assert "<i>" not in page
    embedded = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page)
    assert embedded
    assert "<" not in embedded[1]
    specs = json.loads(embedded[1])
    assert SCRIPT in json.dumps(specs)


def test_script_json_escapes_what_ends_a_script() -> None:
    value = {"</script><!-- & \u2028": [1.5, None, "é"]}
    text = script_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_report_holds_vega_once_and_names_no_server(pair: dict[str, Path], tmp_path: Path) -> None:
    page = page_of(pair, tmp_path)
    assert page.count(vega_javascript()) == 1
    assert "</script" not in vega_javascript()
    own = page.replace(vega_javascript(), "").replace("https://vega.github.io/schema/", "")
    assert "http://" not in own
    # What is left are links, which a reader may follow.
    places = ("simbad.cds.unistra.fr", "aladin.cds.unistra.fr")
    assert re.sub(rf'href="https://({"|".join(places)})', "", own).count("https://") == 0
    assert "default-src 'none'" in own


def test_report_says_its_condition_and_command(pair: dict[str, Path], tmp_path: Path) -> None:
    page = page_of(pair, tmp_path, where="x < 800", command="hitsduck report a b")
    assert "x &lt; 800" in page
    assert "hitsduck report a b" in page
    # x < 800 leaves sources 2 and 3 of "before".
    assert table(page, "Counts")[0][1][0] == "2"


def test_report_is_replaced_whole_or_not_at_all(pair: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out" / "deep"
    page_of(pair, out)
    report = out / "report.html"
    umask = os.umask(0)
    os.umask(umask)
    assert report.stat().st_mode & 0o777 == 0o666 & ~umask
    before = report.read_bytes()
    with pytest.raises(QueryError):
        page_of(pair, out, where="no_such_column > 1")
    assert report.read_bytes() == before
    assert [file.name for file in out.iterdir()] == ["report.html"]
    with pytest.raises(OutputError, match=r"cannot be written to .*: "):
        page_of(pair, report)  # a file where a folder should be


def test_findings_say_what_can_be_said(pair: dict[str, Path]) -> None:
    with hitsduck.open_reruns(pair, instrument="DECam") as reruns:
        page = compose(reruns)
    # Both new good sources lie 10 and 20 px from the left side; one image gives no interval.
    assert page.findings[2].startswith("100.0% of the new sources lie within 32 px of an edge")
    assert page.verdict is not None
    assert page.verdict.startswith("before to after: +1 good sources (+25.0%)")


def test_new_sources_without_a_position_are_said_to_be_so(tmp_path: Path) -> None:
    common = [source(1, 1000, 2000), source(2, 500, 1000)]
    lost = [source(number, 900, 900) | {"dec": 95.0} for number in (3, 4)]
    paths = {
        "before": tiny(tmp_path / "before.db", sources=common),
        "after": tiny(tmp_path / "after.db", sources=[*common, *lost]),
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        findings = compose(reruns).findings
    assert (
        "No new source with a usable position, so none within 32 px of an edge; 2 new ones have "
        "none."
    ) in findings


def test_pictures_of_one_rerun_show_the_right_one_of_the_pair(
    simulated: dict[str, Path], tmp_path: Path
) -> None:
    with hitsduck.open_reruns(simulated) as reruns:
        pages = [compose(reruns, compare=pair) for pair in (("Apr2020", "May2020"), None)]
        data = reruns.chart_data("focal_plane", rerun="May2020")
    captions = [{figure.name: figure.caption for figure in page.figures()} for page in pages]
    for name in ("sky-map", "focal-plane", "detector-density", "visit-grid", "light-curve"):
        assert "of May2020" in captions[0][name]
        assert "of Jun2020" in captions[1][name]
    shown = next(figure for figure in pages[0].figures() if figure.name == "focal-plane")
    assert shown.data is not None
    assert shown.data.drop("rerun").sort(pl.all()).equals(data.drop("rerun").sort(pl.all()))


def test_report_lists_the_strongest_new_sources_with_links(
    pair: dict[str, Path], tmp_path: Path
) -> None:
    page = page_of(pair, tmp_path)
    rows = table(page, "2 sources only in after")
    assert {row[0][0] for row in rows} == {"5", "6"}
    assert page.count('href="https://simbad.cds.unistra.fr') == 3  # two new, one gone
    assert page.count('rel="noopener noreferrer"') == 6


def edge(within_px: float, interval: tuple[float, float] | None, reason: str | None) -> EdgeExcess:
    low, high = interval or (None, None)
    measured = (40, 4, 0.1, 0.05, None, 2.0, 1.0, 2.0)
    return EdgeExcess(within_px, *measured, low, high, None, "visit", 24, reason)


def test_what_has_no_interval_is_told_distance_by_distance() -> None:
    few = edge(16.0, None, "1 new sources within, in 1 units: too few for an interval")
    fine = edge(32.0, (1.5, 3.0), None)
    all_edge = edge(2000.0, None, "no interior")
    from_visits = (
        "Intervals from resampling 24 visits, for sources of one visit are not independent."
    )
    assert interval_sentences([fine]) == [from_visits]
    assert interval_sentences([few, fine, all_edge]) == [
        from_visits,
        "No interval within 16 px: 1 new sources within, in 1 units: too few for an interval.",
        "No interval within 2000 px: no interior.",
    ]
    assert interval_sentences([all_edge, all_edge]) == ["No intervals: no interior."]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("simulated") / "small"
    simulate(folder, preset="small", src_catalogs="none")
    return {name: folder / name for name in ("Apr2020", "May2020", "Jun2020")}


def test_json_holds_every_number_of_a_cell(simulated: dict[str, Path], tmp_path: Path) -> None:
    with hitsduck.open_reruns(simulated) as reruns:
        pair = ("Apr2020", "May2020")
        path = write_report(reruns, tmp_path / "report.json", compare=pair)
        comparison = reruns.compare(*pair)
        measured = comparison.edges(within_px=32.0)
        (new,) = comparison.right_only.sort(
            "psf_snr", "diaSourceId", descending=[True, False], nulls_last=True
        )[:1].rows(named=True)
    assert measured is not None
    sections = {s["name"]: s["parts"] for s in json.loads(path.read_text("utf-8"))["sections"]}
    excess, distances = (part for part in sections["edges"] if part["kind"] == "table")
    (row,) = (row for row in excess["rows"] if row[0] == 32.0)
    assert row[-1] == [measured.ci_low, measured.ci_high]
    assert [row[0] for row in distances["rows"]][:2] == [[0.0, 32.0], [32.0, 64.0]]
    strongest = sections["strongest"][0]
    assert strongest["rows"][0][:5] == [
        str(new["diaSourceId"]),
        new["visit"],
        new["detector"],
        [new["ra"], new["dec"]],
        [new["x"], new["y"]],
    ]
    assert set(strongest["links"][0][-1]) == {"SIMBAD", "Aladin"}
    assert f"{new['ra']:.6f}%20" in strongest["links"][0][-1]["SIMBAD"]
    (frame,) = (part for part in sections["detectors"] if part["name"] == "detector-frame")
    assert "more than 5,000" in frame["data"]["not_listed"]
    good = [row[2] for row in sections["counts"][0]["rows"]]
    assert [row["n"] for row in frame["data"]["totals"]] == good


def test_findings_tell_every_step_of_a_series(simulated: dict[str, Path]) -> None:
    with hitsduck.open_reruns(simulated) as reruns:
        n = {row["rerun"]: row["n_good_dia_sources"] for row in reruns.counts()}
        last = compose(reruns)
        first = compose(reruns, compare=("Apr2020", "May2020"))
    april, may, june = n.values()
    steps = (
        f"Step by step, good sources net: Apr2020 to May2020 {may - april:+,} "
        f"({may / april - 1:+.1%}); May2020 to Jun2020 {june - may:+,} ({june / may - 1:+.1%})."
    )
    assert may - april > june - may
    assert last.findings[1] == first.findings[1] == steps
    assert last.findings[2].startswith(
        "Only May2020 to Jun2020 is compared source by source below. "
        "The largest step is another, Apr2020 to May2020. "
    )
    assert first.findings[2].startswith("Only Apr2020 to May2020 is compared")
    assert "largest" not in first.findings[2]
    for page in (first, last):
        assert "--compare LEFT RIGHT" in page.findings[2]


def test_long_series_name_their_largest_steps(pair: dict[str, Path]) -> None:
    many = {f"r{i}": pair["after" if i in (1, 2, 3) else "before"] for i in range(10)}
    with hitsduck.open_reruns(many, instrument="DECam") as reruns:
        findings = compose(reruns).findings
    assert findings[1].startswith(
        "Step by step, the 6 largest of 9, good sources net: r0 to r1 +1 (+25.0%); r1 to r2 +0"
    )
    assert "r3 to r4 -1 (-20.0%)" in findings[1]


def test_commands_compare_the_pair_that_is_asked_for(
    simulated: dict[str, Path], tmp_path: Path
) -> None:
    arguments = [f"{name}={path}" for name, path in simulated.items()]
    out = {name: str(tmp_path / name) for name in ("report.json", "chart.json")}
    pair = ("--compare", "Apr2020", "May2020", "--output")
    run = CliRunner().invoke
    done = run(cli, ["report", *arguments, *pair, out["report.json"]])
    assert done.exit_code == 0, done.output
    told = json.loads(Path(out["report.json"]).read_text("utf-8"))
    assert told["verdict"].startswith("Apr2020 to May2020: ")
    done = run(cli, ["chart", "edge_distances", *arguments, *pair, out["chart.json"]])
    assert done.exit_code == 0, done.output
    with hitsduck.open_reruns(simulated) as reruns:
        drawn = reruns.chart("edge_distances", compare=("Apr2020", "May2020")).to_dict()
    saved = json.loads(Path(out["chart.json"]).read_text("utf-8"))
    assert saved["description"] == drawn["description"]


@pytest.mark.parametrize("form", ["md", "json"])
def test_report_in_other_forms_holds_the_same_numbers(
    pair: dict[str, Path], tmp_path: Path, form: str
) -> None:
    paths = {SCRIPT: pair["before"], "after": pair["after"]}
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        text = write_report(reruns, tmp_path / f"report.{form}").read_text(encoding="utf-8")
    if form == "md":
        assert "<script" not in text
        assert "| after | 6 (+2 (+50.0%)) | 5 (+1 (+25.0%)) |" in text
        assert text.count("[SIMBAD](https://simbad.cds.unistra.fr/") == 3
    else:
        counts = json.loads(text)["sections"][0]["parts"][0]
        assert [row[1:3] for row in counts["rows"]] == [[4, 4], [6, 5]]
        figure = json.loads(text)["sections"][0]["parts"][1]
        assert figure["data"][4]["n"] == 6


def test_report_has_no_other_form(pair: dict[str, Path], tmp_path: Path) -> None:
    with (
        hitsduck.open_reruns(pair) as reruns,
        pytest.raises(OutputError, match="no form 'docx'; there are: html, md, json, pdf"),
    ):
        write_report(reruns, tmp_path / "report", form="docx")


def test_report_as_pdf_needs_a_browser(
    pair: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        hitsduck.open_reruns(pair) as reruns,
        pytest.raises(OutputError, match="Debian: chromium"),
    ):
        write_report(reruns, tmp_path / "report.pdf")


def test_report_of_empty_reruns_works(tmp_path: Path) -> None:
    paths = {name: tiny(tmp_path / f"{name}.db", sources=[]) for name in ("a", "b")}
    page = page_of(paths, tmp_path)
    assert [cell[0] for cell in table(page, "Counts")[0]] == ["a", "0", "0", "0", "0"]


# -- in a browser --------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a network."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield session
    session.quit()


def opened(browser: Any, path: Path) -> None:
    """Open a report from disk and wait until its charts are drawn."""
    browser.get("about:blank")  # ends what Chromium asks for when it starts
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    until = time.monotonic() + 30
    while not browser.execute_script("return document.documentElement.dataset.drawn === 'yes'"):
        assert time.monotonic() < until, browser.get_log("browser")
        time.sleep(0.05)


def requests(browser: Any) -> set[str]:
    """Return the schemes of everything that was asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return {url.partition(":")[0] for url in urls}


def marks(browser: Any) -> dict[str, int]:
    """Return how many marks (not axes or legends) each chart drew, by its name."""
    return browser.execute_script(
        """return Object.fromEntries([...document.querySelectorAll(".chart")].map(chart =>
        [chart.dataset.chart, chart.querySelectorAll(
            ".role-mark path, .role-mark rect, .role-mark line, .role-mark text, .role-mark image"
        ).length]))"""
    )


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_opens_offline_with_a_clean_console(
    browser: Any, pair: dict[str, Path], tmp_path: Path, scheme: str
) -> None:
    page_of({SCRIPT: pair["before"], "after": pair["after"]}, tmp_path)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    opened(browser, tmp_path / "report.html")
    assert browser.get_log("browser") == []
    assert requests(browser) <= {"file", "data", "blob"}
    drawn = marks(browser)
    # Eight bars and their numbers; of two kinds some bins, intervals and the even spread.
    assert drawn["counts"] == 16
    assert drawn["edge-distances"] > 10
    assert len(drawn) > 20
    assert [name for name, number in drawn.items() if not number] == []
    body = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert body == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
    words = browser.execute_script(
        "return getComputedStyle(document.querySelector('.role-axis-label text')).fill"
    )
    assert words == {"light": "rgb(82, 96, 109)", "dark": "rgb(167, 178, 189)"}[scheme]


@pytest.mark.browser
def test_dark_mode_switches_words_maps_and_paper(
    browser: Any, pair: dict[str, Path], tmp_path: Path
) -> None:
    """On the open page, back and forth, without drawing anything again."""
    page_of(pair, tmp_path)
    opened(browser, tmp_path / "report.html")
    look = """
        const style = (where) => getComputedStyle(document.querySelector(where));
        const ccd = [...document.querySelectorAll(
            "[data-chart=detector-density] .mark-text.role-mark text")];
        return {
            paper: style("body").backgroundColor,
            word: style("[data-chart=counts] .role-axis-label text").fill,
            number: style("[data-chart=counts] .mark-text.role-mark text").fill,
            map: style("[data-chart=sky-map] svg").filter,
            bars: style("[data-chart=counts] svg").filter,
            // Numbers on CCDs are drawn for the tile that they stand on.
            ccds: ccd.map(text => getComputedStyle(text).fill),
            drawn: ccd.map(text => text.getAttribute("fill")),
        };"""
    seen = {}
    for scheme in ("light", "dark", "light"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        found = browser.execute_script(look)
        assert seen.setdefault(scheme, found) == found
        assert {"#000000": "rgb(0, 0, 0)", "#ffffff": "rgb(255, 255, 255)"}[
            found["drawn"][0]
        ] == found["ccds"][0]
    light, dark = seen["light"], seen["dark"]
    assert (light["paper"], dark["paper"]) == ("rgb(255, 255, 255)", "rgb(20, 24, 29)")
    assert light["word"] == light["number"] == "rgb(82, 96, 109)"
    assert dark["word"] == dark["number"] == "rgb(167, 178, 189)"
    # In the dark a map is turned over, so that many sources are light; bars are not.
    assert (light["map"], light["bars"]) == ("none", "none")
    assert (dark["map"], dark["bars"]) == ("invert(1) hue-rotate(180deg)", "none")
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_nothing_is_clipped_on_a_screen_and_rows_are_one_line(
    browser: Any, shared: Path, tmp_path: Path
) -> None:
    apdb = shared / "data" / "apdb"
    paths = {
        "imsim-2023": apdb / "imsim-2023-packed.sqlite3",
        "imsim-2024": apdb / "imsim-2024-schema-0.1.1.sqlite3",
    }
    page_of(paths, tmp_path, instrument="LSSTCam-imSim")
    screen = {"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    opened(browser, tmp_path / "report.html")
    wide = browser.execute_script(
        """return [...document.querySelectorAll(".scroll, .chart")]
        .filter(part => part.scrollWidth > part.clientWidth)
        .map(part => part.ariaLabel)"""
    )
    heights = browser.execute_script(
        """return [...document.querySelectorAll("#strongest tbody tr")]
        .map(row => row.offsetHeight)"""
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    # Long paths scroll in the table of files; no other part is wider than its place.
    assert [words for words in wide if not words.startswith("Good sources, matched")] == []
    assert len(heights) == 30
    assert max(heights) < 40


@pytest.mark.browser
def test_real_report_draws_its_charts(browser: Any, shared: Path, tmp_path: Path) -> None:
    apdb = shared / "data" / "apdb"
    paths = {
        "imsim-2023": apdb / "imsim-2023-packed.sqlite3",
        "imsim-2024": apdb / "imsim-2024-schema-0.1.1.sqlite3",
    }
    page_of(paths, tmp_path, instrument="LSSTCam-imSim")
    opened(browser, tmp_path / "report.html")
    assert browser.get_log("browser") == []
    assert all(marks(browser).values()), marks(browser)
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#counts td')].map(cell => cell.dataset.value)"
    )
    truth = [n for path in paths.values() for n in sqlite_counts(path)]
    assert [int(value) for value in shown] == truth


@pytest.mark.browser
def test_tables_sort_by_their_numbers(browser: Any, pair: dict[str, Path], tmp_path: Path) -> None:
    page_of(pair, tmp_path)
    opened(browser, tmp_path / "report.html")
    names = "return [...document.querySelectorAll('#counts tbody th')].map(cell => cell.innerText)"
    button = "document.querySelectorAll('#counts thead button')[1].click();"
    assert browser.execute_script(names) == ["before", "after"]
    assert browser.execute_script(button + names) == ["before", "after"]
    assert browser.execute_script(button + names) == ["after", "before"]


@pytest.mark.browser
def test_tables_sort_by_distance_and_copy_what_they_show(
    browser: Any, simulated: dict[str, Path], tmp_path: Path
) -> None:
    page_of(simulated, tmp_path, instrument=None, compare=("Apr2020", "May2020"))
    opened(browser, tmp_path / "report.html")
    found = """
        const table = [...document.querySelectorAll("#edges table")].at(-1);
        table.tHead.querySelector("button").click();
        return [...table.tBodies[0].rows].map(row => row.cells[0].textContent)"""
    up = browser.execute_script(found)
    assert up[:4] == ["0 to 32", "32 to 64", "64 to 128", "128 to 256"]
    assert browser.execute_script(found) == up[::-1]
    copied, shown = browser.execute_script(
        """const table = document.querySelector("#strongest table");
        return [tableText(table), [3, 4].map(i => table.tBodies[0].rows[0].cells[i].innerText)]"""
    )
    assert copied.splitlines()[1].split("\t")[3:5] == shown
    assert ", " in shown[0]


@pytest.mark.browser
def test_paper_shows_folded_tables_and_whole_words(
    browser: Any, simulated: dict[str, Path], tmp_path: Path
) -> None:
    """Also where the page is printed without its script having unfolded them."""
    page_of(simulated, tmp_path, instrument=None, compare=("Apr2020", "May2020"))
    opened(browser, tmp_path / "report.html")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 673, "height": 1000, "deviceScaleFactor": 1, "mobile": False},
    )
    folded, broken, high = browser.execute_script(
        """
        const lines = (node, start, end) => {
            const range = document.createRange();
            range.setStart(node, start); range.setEnd(node, end);
            return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size;
        };
        const broken = [];
        for (const cell of document.querySelectorAll("#strongest th, #strongest td, #edges td")) {
            const node = cell.firstChild;
            if (!node || node.nodeType !== Node.TEXT_NODE) continue;
            for (const word of node.data.matchAll(/\\S+/g)) {
                if (lines(node, word.index, word.index + word[0].length) > 1) broken.push(word[0]);
            }
        }
        return [
            [...document.querySelectorAll("main section > details table")]
                .map(table => table.getBoundingClientRect().height),
            broken,
            [...document.querySelectorAll("svg.marks")]
                .filter(chart => chart.getBoundingClientRect().height > 500).length,
        ]"""
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert len(folded) == 2
    assert min(folded) > 100
    assert broken == []
    assert high == 0
    unfold = "window.dispatchEvent(new Event('%s')); return document.querySelector('main details')"
    assert browser.execute_script(unfold % "beforeprint" + ".open") is True
    assert browser.execute_script(unfold % "afterprint" + ".open") is False


# -- the demonstration -----------------------------------------------------------


def test_demo_simulates_and_finds_the_planted_excess(tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    report = run_demo(tmp_path / "demo", progress=lambda *step: steps.append(step))
    assert report == tmp_path / "demo" / "report.html"
    page = report.read_text(encoding="utf-8")
    counts = table(page, "Counts")
    assert [row[0][0] for row in counts] == ["Apr2020", "May2020", "Jun2020"]
    for row in counts:
        path = tmp_path / "demo" / row[0][0] / "association.db"
        assert [int(value or -1) for _, value in row[1:]] == sqlite_counts(path)
    assert "do crowd at the edges" in page
    assert "Apr2020 to May2020: +" in page
    assert steps[-1] == ("writing the report", 1.0)


@pytest.mark.browser
def test_charts_answer_to_the_mouse(browser: Any, pair: dict[str, Path], tmp_path: Path) -> None:
    """A tooltip shows, and a click in the dashboard filters its other pictures."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    page_of(pair, tmp_path)
    opened(browser, tmp_path / "report.html")
    bar = browser.find_element(By.CSS_SELECTOR, "[data-chart=counts] .role-mark.mark-rect path")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", bar)
    ActionChains(browser).move_to_element(bar).perform()
    tooltip = browser.find_element(By.ID, "vg-tooltip-element")
    assert "rerun" in tooltip.text
    assert "before" in tooltip.text
    texts = (
        "return [...document.querySelectorAll('[data-chart=dashboard] .role-mark path')]"
        ".map(path => path.getAttribute('aria-label') + path.getAttribute('d'))"
    )
    before = browser.execute_script(texts)
    zone = browser.find_element(
        By.CSS_SELECTOR, "[data-chart=dashboard] .role-mark path[aria-label*='512 and more']"
    )
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", zone)
    ActionChains(browser).move_to_element(zone).click().perform()
    until = time.monotonic() + 5
    while browser.execute_script(texts) == before:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_the_dashboard_answers_to_the_keyboard(
    browser: Any, pair: dict[str, Path], tmp_path: Path
) -> None:
    """A list selects as a click does, a click shows in the list, and all can be let go."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page_of(pair, tmp_path)
    opened(browser, tmp_path / "report.html")
    drawn = (
        "return [...document.querySelectorAll('[data-chart=dashboard] .role-mark path')]"
        ".map(path => path.getAttribute('aria-label') + path.getAttribute('d')"
        " + path.getAttribute('opacity'))"
    )

    def waited(is_there: Callable[[], bool]) -> None:
        until = time.monotonic() + 5
        while not is_there():
            assert time.monotonic() < until
            time.sleep(0.05)

    before = browser.execute_script(drawn)
    pickers = "#figure-dashboard .pickers"
    zones = browser.find_element(By.CSS_SELECTOR, f"{pickers} select[name=zone]")
    assert zones.accessible_name.strip() == "Distance to the edge (px)"
    options = [option.text for option in zones.find_elements(By.TAG_NAME, "option")]
    assert options[0] == "all"
    last = options[-1]
    assert last == "512 and more"
    zones.send_keys(Keys.END)  # the focus, and the last entry
    waited(lambda: browser.execute_script(drawn) != before)
    picked = browser.execute_script(drawn)
    bar = browser.find_element(
        By.CSS_SELECTOR, f"[data-chart=dashboard] .role-mark path[aria-label*='{last}']"
    )
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", bar)
    ActionChains(browser).move_to_element(bar).click().perform()  # the same lets go
    waited(lambda: browser.execute_script(drawn) == before)
    assert zones.get_property("value") == ""
    ActionChains(browser).move_to_element(bar).click().perform()
    waited(lambda: browser.execute_script(drawn) == picked)
    assert zones.get_property("selectedOptions")[0].text == last
    button = browser.find_element(By.CSS_SELECTOR, f"{pickers} button")
    button.send_keys(Keys.ENTER)
    waited(lambda: browser.execute_script(drawn) == before)
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_the_head_of_a_table_is_on_each_of_its_pages(
    simulated: dict[str, Path], tmp_path: Path
) -> None:
    if not all(map(shutil.which, ("chromium", "pdftotext"))):
        pytest.skip("needs chromium and pdftotext (Debian: chromium, poppler-utils)")
    table_of = Table("Many", [Column("first"), Column("second")], [[Cell("1"), Cell("2")]] * 200)
    page = Page(
        title="t",
        verdict=None,
        subtitle="",
        findings=[],
        sections=[Section("s", "s", [table_of, Figure("none", empty("nothing"), "")])],
        version="0",
        made_at="now",
    )
    printed = tmp_path / "report.pdf"
    printed.write_bytes(pdf(html(page)))
    run = ["pdftotext", "-layout", str(printed), "-"]
    text = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    pages = [sheet for sheet in text.split("\f") if sheet.count("1") > 5]
    assert len(pages) > 2
    assert all("second" in sheet for sheet in pages)


@pytest.mark.browser
def test_report_prints_with_nothing_clipped(
    browser: Any, pair: dict[str, Path], tmp_path: Path
) -> None:
    page_of(pair, tmp_path)
    opened(browser, tmp_path / "report.html")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    # A sheet of A4 between its margins, 178 mm at 96 px to the inch.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 673, "height": 1000, "deviceScaleFactor": 1, "mobile": False},
    )
    wide = browser.execute_script(
        """return [...document.querySelectorAll("svg.marks, table, p, dl")]
        .filter(part => part.getBoundingClientRect().right > innerWidth + 1)
        .map(part => part.textContent.slice(0, 60))"""
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert wide == []


@pytest.mark.browser
def test_report_as_pdf(pair: dict[str, Path], tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    with hitsduck.open_reruns(pair, instrument="DECam") as reruns:
        path = write_report(reruns, tmp_path / "report.pdf")
    assert path.read_bytes().startswith(b"%PDF")


def test_a_suffix_of_no_known_form_is_told(tmp_path: Path):
    with pytest.raises(OutputError, match=r"no form of a report is known by \.xyz"):
        chosen_form(tmp_path / "report.xyz", None)
    assert chosen_form(tmp_path / "report", None) == "html"
    assert chosen_form(tmp_path / "report.htm", None) == "html"
    assert chosen_form(tmp_path / "report.PDF", None) == "pdf"


def test_a_report_on_simulated_files_says_so(simulated: dict[str, Path], tmp_path: Path):
    with hitsduck.open_reruns({"May2020": simulated["May2020"]}) as reruns:
        path = write_report(reruns, tmp_path / "r.md")
    assert "Simulated data. A good source has" in path.read_text(encoding="utf-8")
