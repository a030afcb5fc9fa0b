"""All numbers and chart data of DM-25125, three reruns: from a workspace, and as it was done.

The seed's way is that of its helper modules (`benchmarks.seed`), what each plot of the
notebook needs of each rerun, and the match of objects with astropy. Drawing is left out on
both sides; binning a picture is part of ours.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import seed
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
    april, june = reruns.names[0], reruns.names[-1]
    pictures = reruns.charts_data(
        ("sky_map", "sources_per_object", "detector_density", "focal_plane", "visit_grid",
            "sky_overplot", "sky_zoom"),
        compare=(april, june))
    n_near = reruns.compare_objects(april, june, radius_arcsec=1.0, how="best2").matched.height
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": [*counts, n_near]}))
"""

SEED = f"""
import csv, json, math, sqlite3, sys, time
import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
camera_file = sys.argv[1]
{seed.CHIPS}{seed.LOAD}{seed.WALK}
started = time.perf_counter()
counts, kept = [], []
for path in sys.argv[2:]:
    objects, sources, good_objects, good = load(path)
    counts += [len(sources), len(good), len(objects), len(good_objects)]
    kept.append(good_objects)
    fields = [good_objects[good_objects["decl"] > -2], good_objects[good_objects["decl"] <= -2]]
    most = objects["nDiaSources"].max()
    histograms = [np.histogram(t["nDiaSources"], bins=np.arange(0, most))
        for t in (objects, good_objects)]
    per_ccd = density(good)
    good["xFP"], good["yFP"] = (pd.Series(places, index=good.index) for places in placed(good))
    grid = {{}}
    for visit in np.unique(good["visit"].values):
        of_visit = good.visit == visit
        grid[visit] = (good.ra[of_visit], good.decl[of_visit])
april, june = (SkyCoord(t["ra"].values * u.deg, t["decl"].values * u.deg)
    for t in (kept[0], kept[-1]))
_, separation, _ = june.match_to_catalog_sky(april)
n_near = int((separation.arcsec <= 1.0).sum())
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": [*counts, n_near]}}))
"""


def contenders(files: list[Path], camera: Path, scratch: Path) -> list[Contender]:
    """Return the two ways, ours first; the workspace is made here, before."""
    stored = workspace(scratch / "notebook.duckdb", {file.parent.name: file for file in files})
    return [
        Contender("hitsduck, from a workspace", HITSDUCK, [str(stored)]),
        Contender("the seed's way", SEED, [str(camera), *map(str, files)], goal_inside=100.0),
    ]
