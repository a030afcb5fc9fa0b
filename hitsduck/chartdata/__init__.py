"""The numbers behind each picture, as small Polars frames.

One function for every chart of `hitsduck.charts`; they ask the views or a comparison,
bin in DuckDB, and give the same number of rows however large the reruns are.
"""

from hitsduck.chartdata.counting import QUANTITIES, counts
from hitsduck.chartdata.distributions import distributions, flags, sources_per_object
from hitsduck.chartdata.edges import KINDS, edge_distances
from hitsduck.chartdata.focal_plane import (
    detector_density,
    detector_frame,
    detector_outlines,
    focal_plane,
)
from hitsduck.chartdata.objects import light_curve, object_sources, objects_on_sky
from hitsduck.chartdata.pairs import dashboard, matched_pairs
from hitsduck.chartdata.sky import middle_window, sky_map, sky_panels, sky_points
from hitsduck.chartdata.visits import nights, seeing, visit_grid, visits

__all__ = [
    "KINDS",
    "QUANTITIES",
    "counts",
    "dashboard",
    "detector_density",
    "detector_frame",
    "detector_outlines",
    "distributions",
    "edge_distances",
    "flags",
    "focal_plane",
    "light_curve",
    "matched_pairs",
    "middle_window",
    "nights",
    "object_sources",
    "objects_on_sky",
    "seeing",
    "sky_map",
    "sky_panels",
    "sky_points",
    "sources_per_object",
    "visit_grid",
    "visits",
]
