"""Charts: each takes a small frame of `hitsduck.chartdata` and returns an Altair chart.

Nothing here asks a rerun. No chart holds more than 5,000 marks, whatever the size of
the reruns; an empty frame gives a chart that says so.
"""

from hitsduck.charts.counting import counts, trend
from hitsduck.charts.distributions import distributions, flags, sources_per_object
from hitsduck.charts.edges import edge_distances
from hitsduck.charts.focal_plane import detector_density, detector_frame, focal_plane
from hitsduck.charts.objects import light_curve, object_sources, objects_on_sky
from hitsduck.charts.pairs import dashboard, explanation, matched_pairs
from hitsduck.charts.sky import sky_difference, sky_map, sky_overplot, sky_zoom
from hitsduck.charts.visits import nights, seeing, visit_grid, visits

__all__ = [
    "counts",
    "dashboard",
    "detector_density",
    "detector_frame",
    "distributions",
    "edge_distances",
    "explanation",
    "flags",
    "focal_plane",
    "light_curve",
    "matched_pairs",
    "nights",
    "object_sources",
    "objects_on_sky",
    "seeing",
    "sky_difference",
    "sky_map",
    "sky_overplot",
    "sky_zoom",
    "sources_per_object",
    "trend",
    "visit_grid",
    "visits",
]
