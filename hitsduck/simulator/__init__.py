"""Simulated reruns whose truth is known.

`simulate` writes reruns to disk, `simulate_frames` returns them as polars frames,
`estimate_size` tells how much `simulate` would write. The functions that make planted
causes are in `hitsduck.simulator.causes`.
"""

from hitsduck.simulator.causes import Cause
from hitsduck.simulator.plan import SQLITE_SCALE_LIMIT
from hitsduck.simulator.preset_files import load_preset, preset_names
from hitsduck.simulator.presets import Preset
from hitsduck.simulator.simulation import (
    RerunResult,
    Simulation,
    estimate_size,
    simulate,
    simulate_frames,
)

__all__ = [
    "SQLITE_SCALE_LIMIT",
    "Cause",
    "Preset",
    "RerunResult",
    "Simulation",
    "estimate_size",
    "load_preset",
    "preset_names",
    "simulate",
    "simulate_frames",
]
