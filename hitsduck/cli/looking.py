"""``info``, ``counts`` and ``sql``: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hitsduck.cli.app import cli
from hitsduck.cli.options import (
    busy,
    json_option,
    names_a_file,
    opened_reruns,
    opening_options,
    reruns_argument,
    where_option,
)
from hitsduck.cli.printing import (
    cell_text,
    csv_text,
    footer_text,
    json_text,
    print_json,
    print_table,
    write_text,
)
from hitsduck.outputs import check_output, written_whole


@cli.command()
@reruns_argument
@json_option
@opening_options
def info(reruns: Sequence[str], as_json: bool, **options: Any) -> None:
    """Say what each rerun is, and how that is known."""
    with opened_reruns(reruns, options) as opened, busy("reading"):
        found = opened.info()
    if as_json:
        print_json(found)
        return
    for number, rerun in enumerate(found):
        if number:
            click.echo()
        _print_info(rerun)


def _print_info(rerun: dict[str, Any]) -> None:
    flags = ", ".join(rerun["bad_flags"])
    recorded = rerun["schema_version"] or "none"
    skipped = rerun["skipped_flags"]
    lines = {
        "path": rerun["path"]
        + (" (read through a private copy)" if rerun["is_private_copy"] else "")
        + (
            " (simulated by hitsduck: no telescope took any of it)" if rerun["is_simulated"] else ""
        ),
        **_origin(rerun),
        "generation": f"{rerun['generation']} (schema recorded: {recorded})",
        "table prefix": rerun["prefix"] or "none",
        "instrument": _instrument(rerun),
        "flag encoding": rerun["flag_encoding"],
        "good": f"none of {flags} ({rerun['flag_set']})"
        + (f"; lacking in this file: {', '.join(skipped)}" if skipped else ""),
        "rows": ", ".join(f"{table} {n:,}" for table, n in rerun["n_rows"].items()),
        "visits": _many(rerun["visits"]),
        "detectors": _many(rerun["detectors"]),
        "bands": ", ".join(rerun["bands"]) or "none recorded",
        "MJD (TAI)": _span(rerun["first_mjd_tai"], rerun["last_mjd_tai"]),
        "moments unit": (
            f"{rerun['moments_unit'] or 'not known'} "
            f"({_BY.get(rerun['moments_found_by'], rerun['moments_found_by'])})"
        ),
        "psf_moments": rerun["psf_moments"],
        "seeing": _seeing(rerun),
        "not usable": (
            f"{rerun['n_null_flags']:,} sources with a NULL flag, "
            f"{rerun['n_bad_positions']:,} with a NULL or impossible position"
        ),
        "without object": f"{rerun['n_without_object']:,} sources (solar-system ones among them)",
    }
    if rerun["unread_columns"]:
        lines["columns not read"] = "; ".join(
            f"{table}: {', '.join(names)}" for table, names in rerun["unread_columns"].items()
        )
    click.echo(rerun["rerun"])
    for key, value in lines.items():
        click.echo(f"  {key:<17} {value}")


def _origin(rerun: dict[str, Any]) -> dict[str, str]:
    """Return which APDB a store was read from, and which of its columns are there."""
    if rerun["origin_path"] is None:
        return {}
    state = {"changed": " (changed since: these are the rows of before)", "gone": " (gone)"}
    return {
        "stored from": rerun["origin_path"] + state.get(rerun["origin_state"], ""),
        "columns": rerun["columns"],
    }


#: How a thing is known -> in words.
_BY = {
    "metadata": "by the file's metadata",
    "stated": "as you stated",
    "ids": "by the ids, which fit no other camera",
    "values": "by the PSF sizes",
    "values (both units possible)": "by the PSF sizes, which are possible in both units",
    "no values": "no PSF sizes to tell it by",
}


def _instrument(rerun: dict[str, Any]) -> str:
    found = rerun["instrument"]
    if found:
        return f"{found} ({_BY.get(rerun['instrument_found_by'], rerun['instrument_found_by'])})"
    fitting = rerun["instrument_candidates"]
    return f"not known: {' and '.join(fitting)} fit this file; state one with --instrument"


def _many(values: list[int] | None) -> str:
    if values is None:
        return "not known without the instrument"
    if not values:
        return "none"
    if len(values) <= 6:
        return f"{len(values)}: {', '.join(map(str, values))}"
    return f"{len(values)}, from {values[0]} to {values[-1]} (all of them with --json)"


def _span(first: float | None, last: float | None) -> str:
    return "none" if first is None or last is None else f"{first:.5f} to {last:.5f}"


def _seeing(rerun: dict[str, Any]) -> str:
    if rerun["median_seeing_arcsec"] is None:
        return "not known"
    return (
        f"median {rerun['median_seeing_arcsec']:.2f}, mean {rerun['mean_seeing_arcsec']:.2f} "
        f"arcsec FWHM over the sources ({rerun['psf_moments']})"
    )


_COUNT_COLUMNS = {
    "n_dia_sources": "DIA sources",
    "n_good_dia_sources": "good DIA sources",
    "n_dia_objects": "DIA objects",
    "n_good_dia_objects": "good DIA objects",
}


@cli.command()
@reruns_argument
@json_option
@where_option
@opening_options
def counts(reruns: Sequence[str], as_json: bool, where: str | None, **options: Any) -> None:
    """Count sources and objects, all and good, with differences to the first rerun."""
    with opened_reruns(reruns, options) as opened:
        with busy("counting"):
            rows = opened.counts(where=where).rows()
        footer = footer_text(opened, where)
    if as_json:
        print_json([row | ({"where": where} if where else {}) for row in rows])
        return
    print_table(
        ["rerun", *_COUNT_COLUMNS.values()],
        [
            [
                row["rerun"],
                *(_counted(row[key], rows[0][key], row is rows[0]) for key in _COUNT_COLUMNS),
            ]
            for row in rows
        ],
    )
    click.echo(f"\n{footer}")


def _counted(value: int, first: int, is_first: bool) -> str:
    if is_first:
        return f"{value:,}"
    percent = f"{(value - first) / first:+.1%}" if first else "no percentage of 0"
    return f"{value:,}  {value - first:+,} ({percent})"


#: What `hitsduck sql` writes.
SQL_FORMS = ("table", "csv", "json", "parquet")


@cli.command()
@click.argument("arguments", nargs=-1, required=True, metavar='RERUN... "QUERY"')
@click.option(
    "--format",
    "form",
    type=click.Choice(SQL_FORMS),
    help="By the suffix of the output where it is not given; a table else.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File to write."
)
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="Value for $NAME in the query."
)
@opening_options
def sql(
    arguments: Sequence[str],
    form: str | None,
    output: Path | None,
    params: Sequence[str],
    **options: Any,
) -> None:
    """Ask one SELECT over the views of the reruns (dia_source, good_dia_object ...)."""
    if len(arguments) < 2:
        raise click.UsageError('give at least one RERUN and the "QUERY"')
    if names_a_file(arguments[-1]) and not names_a_file(arguments[0]):
        raise click.UsageError(f"the QUERY comes last, after the reruns; {arguments[-1]} is a path")
    if form is None:
        suffix = output.suffix.lower().lstrip(".") if output is not None else ""
        form = suffix if suffix in SQL_FORMS else "table"
        if form == "table" and suffix not in ("", "txt", "table"):
            raise click.UsageError(
                f"--output {output}: no form is known by .{suffix}; give --format "
                f"{', '.join(SQL_FORMS)}"
            )
    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE")
    if output is not None:
        check_output(output)
    with opened_reruns(arguments[:-1], options) as opened, busy("asking"):
        result = opened.sql(arguments[-1], **dict(map(_parameter, params)))
    if form == "table":
        _write_or_print_table(result, output)
        return
    if form == "json":
        write_text(output, json_text(result.rows()) + "\n")
        return
    frame = result.polars()
    if form == "csv":
        write_text(output, csv_text(frame))
    elif output is not None:
        with written_whole(output) as partial:
            frame.write_parquet(partial)
        click.echo(f"{output}: {_rows_text(result)}", err=True)


def _rows_text(result: Any) -> str:
    return "1 row" if len(result) == 1 else f"{len(result):,} rows"


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--param {text}: give NAME=VALUE")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def _write_or_print_table(result: Any, output: Path | None) -> None:
    rows = [[cell_text(value) for value in row.values()] for row in result.rows()]
    if output is None:
        print_table(result.columns, rows, right=0)
        click.echo(_rows_text(result), err=True)
        return
    widths = [max(map(len, column)) for column in zip(result.columns, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [result.columns, *rows]
    ]
    write_text(output, "\n".join(lines) + "\n")
