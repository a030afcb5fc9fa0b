"""What a rerun is, and how that is known."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from hitsduck import attaching, schema
from hitsduck.attaching import AttachedRerun
from hitsduck.columnar import ColumnarRerun, RerunFile
from hitsduck.definitions import seeing_problem

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns


class Information(list[dict[str, Any]]):
    """What `Reruns.info` says of each rerun: a list that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        told = [_facts(info) for info in self]
        names = "".join(f"<th>{escape(info['rerun'])}</th>" for info in self)
        rows = "".join(
            f"<tr><th>{name}</th>"
            + "".join(f"<td>{escape(facts[name])}</td>" for facts in told)
            + "</tr>"
            for name in (told[0] if told else ())
        )
        return f"<table><tr><th>rerun</th>{names}</tr>{rows}</table>"


def _facts(info: dict[str, Any]) -> dict[str, str]:
    """Return what is worth reading of one rerun, as words; every one has the same names."""
    unusable = {
        "NULL flags": info["n_null_flags"],
        "no usable position": info["n_bad_positions"],
        "no visit or detector": info["n_null_visits"],
        "no object": info["n_without_object"],
    }
    visits, detectors = info["visits"], info["detectors"]
    times = info["first_mjd_tai"], info["last_mjd_tai"]
    seeing = info["median_seeing_arcsec"]
    return {
        "file": info["path"]
        + (f", stored from {info['origin_path']}" if info["origin_path"] else "")
        + ("" if info["columns"] == "all" else f" (columns: {info['columns']})"),
        "generation": f"{info['generation']} (schema {info['schema_version'] or 'not recorded'})",
        "instrument": f"{info['instrument'] or 'not known'} ({info['instrument_found_by']})",
        "good source": f"none of {', '.join(info['bad_flags'])} ({info['flag_set']})",
        "rows": ", ".join(f"{table} {n:,}" for table, n in info["n_rows"].items()),
        "visits": "not known" if visits is None else f"{len(visits):,}",
        "detectors": "not known" if detectors is None else f"{len(detectors):,}",
        "bands": ", ".join(info["bands"]) or "none",
        "time (MJD, TAI)": "none" if times[0] is None else f"{times[0]:.5f} to {times[1]:.5f}",
        "median seeing": "not known" if seeing is None else f"{seeing:.2f} arcsec",
        "sources with": ", ".join(f"{name}: {n:,}" for name, n in unusable.items() if n) or "-",
        "simulated": "yes, by hitsduck" if info["is_simulated"] else "no",
    }


def _origin(file: RerunFile) -> dict[str, str | None]:
    """Return the APDB that a store was read from, and what has become of it."""
    origin = file.manifest.origin if isinstance(file, ColumnarRerun) else None
    return {
        "origin_path": None if origin is None else origin.path,
        "origin_state": None if origin is None else origin.state,
    }


def info_of(reruns: Reruns, rerun: AttachedRerun) -> dict[str, Any]:
    """Return what `Reruns.info` says of one rerun."""
    file = rerun.file
    found = rerun.instrument
    open_columns = ["visits", "detectors", "n_null_visits"] if found.id_problem else []
    if seeing_problem(rerun):
        open_columns += ["median_seeing_arcsec", "mean_seeing_arcsec"]
    left_out = f" exclude ({', '.join(open_columns)})" if open_columns else ""
    view = reruns.scope(rerun.name, "rerun_summary")
    summary = dict.fromkeys(open_columns)
    summary |= reruns.query(f"select *{left_out} from {view}").rows()[0]
    n_rows = file.count_rows()
    return {
        "rerun": rerun.name,
        "path": str(file.path),
        "columns": file.manifest.columns if isinstance(file, ColumnarRerun) else "all",
        **_origin(file),
        "prefix": file.prefix,
        "generation": rerun.generations["DiaSource"],
        "generations": rerun.generations,
        "schema_version": file.metadata.get("version:schema"),
        "instrument": found.name,
        "instrument_found_by": found.found_by,
        "instrument_candidates": [camera.name for camera in found.candidates],
        "flag_encoding": rerun.flag_encoding,
        "flag_set": rerun.flag_set,
        "bad_flags": list(rerun.bad_flags),
        "skipped_flags": list(rerun.skipped_flags),
        "n_rows": n_rows,
        "visits": None if found.id_problem else summary["visits"] or [],
        "detectors": None if found.id_problem else summary["detectors"] or [],
        "bands": summary["bands"] or [],
        "first_mjd_tai": summary["first_mjd_tai"],
        "last_mjd_tai": summary["last_mjd_tai"],
        "moments_unit": rerun.moments.unit,
        "moments_found_by": rerun.moments.found_by,
        "psf_moments": rerun.moments.psf_moments,
        "median_seeing_arcsec": summary["median_seeing_arcsec"],
        "mean_seeing_arcsec": summary["mean_seeing_arcsec"],
        "n_null_flags": summary["n_null_flags"],
        "n_bad_positions": summary["n_bad_positions"],
        "n_null_visits": summary["n_null_visits"],
        "n_without_object": summary["n_without_object"],
        "unread_columns": {
            table: unread
            for table in attaching.STAGED.values()
            if (unread := schema.unread_columns(table, file.origin_tables.get(table, {})))
        },
        "is_simulated": file.is_simulated,
        "is_private_copy": file.is_private_copy,
    }
