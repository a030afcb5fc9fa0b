"""All numbers and chart data of DM-25125, three reruns: from a workspace, and as it was done.

The seed's way is that of its helper modules, as far as they compute: 18 columns and the
flags of three reruns with pandas, what each plot needs of each rerun, and the match of
objects with astropy. Drawing is left out on both sides; binning a picture is part of ours.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Contender, workspace

HITSDUCK = """
import json, sys, time
import astropy.coordinates, astropy.units, cdshealpix.nested
import pandas  # which DuckDB does with the first value that is bound
import hitsduck, hitsduck.gallery, hitsduck.large, hitsduck.opening, hitsduck.turnover, pyarrow
started = time.perf_counter()
with hitsduck.open_reruns(sys.argv[1]) as reruns:
    counts = [row[name] for row in reruns.counts().rows()
        for name in row if name.startswith("n_")]
    pictures = {(name, rerun): reruns.chart_data(name, rerun=rerun)
        for rerun in reruns.names
        for name in ("sky_map", "sources_per_object", "detector_density", "focal_plane",
            "visit_grid")}
    april, june = reruns.names[0], reruns.names[-1]
    overplot = [reruns.chart_data(name, compare=(april, june))
        for name in ("sky_overplot", "sky_zoom")]
    n_near = reruns.compare_objects(april, june, radius_arcsec=1.0, how="best2").matched.height
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": [*counts, n_near]}))
"""

SEED = """
import csv, json, math, sqlite3, sys, time
import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
with open(sys.argv[1]) as file:
    chips = {int(row["detector"]): {k: float(row[k]) for k in (
        "pixel_size_x_mm", "pixel_size_y_mm", "ref_x_px", "ref_y_px", "offset_x_mm",
        "offset_y_mm", "yaw_deg")} for row in csv.DictReader(file)}
wanted = ["diaSourceId", "diaObjectId", "ra", "decl", "ccdVisitId", "midPointTai", "apFlux",
    "psFlux", "apFluxErr", "psFluxErr", "totFlux", "totFluxErr", "x", "y", "ixxPSF", "iyyPSF",
    "filterName", "flags"]
started = time.perf_counter()
counts, good_objects = [], []
for path in sys.argv[2:]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    sources = pd.read_sql_query(f"select {', '.join(wanted)} from DiaSource", connection)
    objects = pd.read_sql_query("select diaObjectId, ra, decl, nDiaSources from DiaObject "
        "where validityEnd is null", connection)
    sources["ccd"], sources["visit"] = sources["ccdVisitId"] % 100, sources["ccdVisitId"] // 100
    for bit in range(24):
        sources[f"flag_{bit}"] = (sources["flags"] & (1 << bit)) != 0
    good = sources[(sources["flags"] & 704) == 0]
    of_good = objects[objects["diaObjectId"].isin(good["diaObjectId"])]
    counts += [len(sources), len(good), len(objects), len(of_good)]
    good_objects.append(of_good)
    histograms = [np.histogram(t["nDiaSources"], bins=100) for t in (objects, of_good)]
    density = {ccd: len(good[good["ccd"] == ccd]) for ccd in np.unique(good["ccd"])}
    places = []
    for _, row in good.iterrows():
        chip = chips[int(row["ccd"])]
        dx = (row["x"] - chip["ref_x_px"]) * chip["pixel_size_x_mm"]
        dy = (row["y"] - chip["ref_y_px"]) * chip["pixel_size_y_mm"]
        yaw = math.radians(chip["yaw_deg"])
        places.append((chip["offset_x_mm"] + math.cos(yaw) * dx - math.sin(yaw) * dy,
            chip["offset_y_mm"] + math.sin(yaw) * dx + math.cos(yaw) * dy))
    grid = {visit: good[good["visit"] == visit] for visit in np.unique(good["visit"])}
april, june = (SkyCoord(t["ra"].values * u.deg, t["decl"].values * u.deg)
    for t in (good_objects[0], good_objects[-1]))
_, separation, _ = june.match_to_catalog_sky(april)
n_near = int((separation.arcsec <= 1.0).sum())
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": [*counts, n_near]}))
"""


def contenders(files: list[Path], camera: Path, scratch: Path) -> list[Contender]:
    """Return the two ways, ours first; the workspace is made here, before."""
    stored = workspace(scratch / "notebook.duckdb", {file.parent.name: file for file in files})
    return [
        Contender("hitsduck, from a workspace", HITSDUCK, [str(stored)]),
        Contender("the seed's way", SEED, [str(camera), *map(str, files)], goal_inside=100.0),
    ]
