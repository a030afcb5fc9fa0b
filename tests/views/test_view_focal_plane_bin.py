from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from hitsduck.cameras import get_camera
from hitsduck.errors import InstrumentError


@pytest.mark.parametrize("name", ["DECam", "HSC", "LSSTCam"])
def test_bins_hold_the_sources_that_lie_there(opened, source, name):
    camera = get_camera(name)
    # 64 pixels of detector 1 (DECam) or 0: arithmetic of the camera's own file.
    first = camera.detectors[min(camera.detectors)]
    bin_mm = 64 * first.pixel_size_x_mm
    rng = np.random.default_rng(25125)
    detectors = rng.choice(sorted(camera.detectors)[:3], 400)
    rows = [
        source(detector=int(detector), x=x, y=y, pixelFlags_bad=bool(i % 3 == 0))
        for i, (detector, (x, y)) in enumerate(
            zip(detectors, rng.uniform(0, 300, (400, 2)), strict=True)
        )
    ]
    found = opened(sources=rows, instrument=name).sql("select * from focal_plane_bin").rows()
    every, good = Counter(), Counter()
    for row in rows:
        place = camera.detectors[row["detector"]].focal_plane_mm(row["x"], row["y"])
        cell = tuple(math.floor(axis / bin_mm) for axis in place)
        every[cell] += 1
        good[cell] += not row["pixelFlags_bad"]
    assert {(row["x_bin"], row["y_bin"]): row["n_dia_sources"] for row in found} == every
    assert {(row["x_bin"], row["y_bin"]): row["n_good_dia_sources"] for row in found} == good
    assert {row["rerun"] for row in found} == {"a"}
    assert [row["bin_mm"] for row in found] == pytest.approx([bin_mm] * len(found))


def test_sources_without_a_place_are_counted_together(opened, source):
    odd = [math.nan, math.inf, -math.inf, 1e300, None]
    rows = [source(x=x) for x in odd] + [source(y=y) for y in odd]
    rows += [source(detector=None), source()]
    found = opened(sources=rows, constraints=False).sql(
        "select x_bin, y_bin, n_dia_sources, n_good_dia_sources from focal_plane_bin order by x_bin"
    )
    # Five odd x, five odd y, one of no detector.
    one, rest = ([tuple(row.values()) for row in found.rows()][i] for i in (0, 1))
    assert one[2:] == (1, 1)
    assert rest == (None, None, 11, 11)


def test_without_a_camera_the_bins_ask_for_the_instrument(opened, source):
    reruns = opened(sources=[source()], instrument=None)
    with pytest.raises(InstrumentError, match="state the instrument"):
        reruns.sql("select * from focal_plane_bin")
