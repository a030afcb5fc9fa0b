"""The sections on the files themselves: integrity, calexp catalogues, provenance."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import hitsduck
from hitsduck.charts.theme import many, shown_of
from hitsduck.errors import HitsduckError, SameFileWarning
from hitsduck.gallery import Wanted
from hitsduck.page import Cell, Column, Facts, Part, Section, Table, Text

_PACKAGES = ("duckdb", "duckdb-extension-sqlite-scanner", "polars", "altair")
_MOST_IMAGES = 30


def moment(timestamp: float) -> str:
    """Return a time in words, UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def integrity_section(rows: Sequence[dict[str, Any]]) -> Section:
    """Return what in the files contradicts itself; of the rows of `Reruns.integrity`."""
    checks = list(dict.fromkeys(row["check"] for row in rows))
    told = [row for row in rows if row["count"] != 0]
    troubled = {row["check"] for row in told}
    clean = [check.replace("_", " ") for check in checks if check not in troubled]
    parts: list[Part] = []
    if clean:
        parts.append(Text(f"Looked for in every rerun and not found: {', '.join(clean)}."))
    if told:
        table = Table(
            caption="What contradicts itself, or could not be looked for, with examples",
            columns=[
                Column("check", is_number=False),
                Column("rerun", is_number=False),
                Column("rows"),
                Column("examples", is_number=False),
            ],
            rows=[
                [
                    Cell(row["check"].replace("_", " ")),
                    Cell(row["rerun"]),
                    Cell("-") if row["count"] is None else Cell(many(row["count"]), row["count"]),
                    Cell("; ".join(row["examples"] or ()), None, row["reason"]),
                ]
                for row in told
            ],
        )
        parts.append(table)
    return Section("integrity", "Integrity of the files", parts)


def src_section(wanted: Wanted) -> Section | None:
    """Return the rows of the calexp catalogues, None where no rerun has any."""
    with warnings.catch_warnings():
        # One file under two names is said in the verdict.
        warnings.simplefilter("ignore", SameFileWarning)
        counts = wanted.reruns.src_counts()
    rows = counts.rows()
    if not rows:
        return None
    changed = counts.changed()
    shown = (changed + [row for row in rows if row not in changed])[:_MOST_IMAGES]
    names = counts.names
    table = Table(
        caption=f"Rows of the src catalogues of {shown_of(len(shown), len(rows))} images, from "
        "their FITS headers; those that differ first",
        columns=[
            Column("visit"),
            Column("detector"),
            *(Column(name) for name in names),
            Column("file", is_number=False),
        ],
        rows=[
            [
                Cell(str(row["visit"]), row["visit"]),
                Cell(str(row["detector"]), row["detector"]),
                *(_rows_cell(row, name) for name in names),
                Cell(next(iter(row["path"].values())), None, _others(row)),
            ]
            for row in shown
        ],
    )
    return Section("src", "Calexp source catalogues", [Text(f"{counts.verdict()}."), table])


def _rows_cell(row: dict[str, Any], name: str) -> Cell:
    n_rows = row["n_rows"][name]
    if n_rows is None:
        return Cell("-", None, row["problem"][name])
    difference = row["difference"].get(name)
    return Cell(many(n_rows), n_rows, f"{difference:+,}" if difference else None)


def _others(row: dict[str, Any]) -> str | None:
    return "\n".join(list(row["path"].values())[1:]) or None


def provenance_section(wanted: Wanted, command: str | None) -> Section:
    """Return which files, which definitions and which versions the numbers come from."""
    parts: list[Part] = [_rerun_facts(wanted, info) for info in wanted.reruns.info()]
    versions = [
        f"hitsduck {hitsduck.__version__}",
        *(f"{name} {_version(name)}" for name in _PACKAGES),
        f"Python {platform.python_version()}",
    ]
    reruns = wanted.reruns
    run = Facts(
        "This report",
        [
            ("command", command or "not recorded (made from Python)"),
            ("condition", wanted.where or "none: every source"),
            ("good", f"{reruns.flag_set}: none of {', '.join(reruns.bad_flags)}"),
            ("versions", ", ".join(versions)),
        ],
    )
    return Section("provenance", "Where the numbers come from", [*parts, run])


def _rerun_facts(wanted: Wanted, info: dict[str, Any]) -> Facts:
    try:
        size, changed = wanted.reruns.attached(info["rerun"]).file.size_and_mtime()
        written = [("size", f"{many(size)} bytes"), ("last changed", moment(changed))]
    except OSError as error:
        raise HitsduckError(f"{info['path']}: {error.strerror}") from error
    instrument = (
        f"{info['instrument']} ({info['instrument_found_by']})"
        if info["instrument"]
        else f"not known; {', '.join(info['instrument_candidates'])} fit. State it with "
        "--instrument NAME (instrument=)."
    )
    span = "no times"
    if info["first_mjd_tai"] is not None:
        span = f"MJD {info['first_mjd_tai']:.5f} to {info['last_mjd_tai']:.5f} (TAI)"
    seeing = info["median_seeing_arcsec"]
    pairs = [
        ("file", info["path"]),
        *written,
        *_origin(info),
        ("generation", f"{info['generation']} (schema {info['schema_version'] or 'not recorded'})"),
        ("instrument", instrument),
        ("flags", f"{info['flag_encoding']}, {', '.join(info['bad_flags'])} used"),
        ("rows", ", ".join(f"{table} {many(n)}" for table, n in info["n_rows"].items())),
        ("images", _images(info)),
        ("time", span),
        (
            "seeing",
            f"median {seeing:.2f} arcsec FWHM ({info['psf_moments']})"
            if seeing is not None
            else "not known",
        ),
    ]
    if info["skipped_flags"]:
        pairs.append(("flags it lacks", ", ".join(info["skipped_flags"])))
    for name, words in (
        ("n_bad_positions", "without a usable position"),
        ("n_null_flags", "with a NULL flag, so not good"),
        ("n_null_visits", "without visit or detector"),
    ):
        if info[name]:
            pairs.append(("beware", f"{many(info[name])} sources {words}"))
    if info["is_private_copy"]:
        pairs.append(("beware", "read through a private copy"))
    return Facts(info["rerun"], pairs)


def _origin(info: dict[str, Any]) -> list[tuple[str, str]]:
    """Return which APDB a store was read from, and what has become of it since."""
    if info["origin_path"] is None:
        return []
    said = [("stored from", info["origin_path"])]
    if info["columns"] != "all":
        said.append(("columns stored", info["columns"]))
    if info["origin_state"] == "changed":
        said.append(("beware", "its APDB has changed since; these are the rows of before"))
    if info["origin_state"] == "gone":
        said.append(("beware", "its APDB is not there any more"))
    return said


def _images(info: dict[str, Any]) -> str:
    if info["visits"] is None:
        return "visits and detectors are not known without the instrument"
    bands = ", ".join(info["bands"]) or "no band"
    return f"{many(len(info['visits']))} visits, {len(info['detectors'])} detectors, {bands}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
