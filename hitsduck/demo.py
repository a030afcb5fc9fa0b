"""The demonstration: three small simulated reruns with a planted edge excess, reported on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

PRESET = "small"
#: The excess beside the edges is planted between these two.
COMPARED = ("Apr2020", "May2020")


def run_demo(
    directory: str | os.PathLike[str],
    *,
    scale: float = 1.0,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Simulate three small reruns and write a report on them.

    Parameters
    ----------
    directory : path-like
        Where the reruns and ``report.html`` go.
    scale : float
        Multiplies the number of sources.
    progress : callable, optional
        Called with a message and the fraction done.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    SimulationError
        The scale is not possible, or the folder holds something already.

    Examples
    --------
    >>> run_demo("demo")  # doctest: +SKIP
    """
    from hitsduck.opening import open_reruns
    from hitsduck.report import write_report
    from hitsduck.simulator import simulate

    folder = Path(directory)
    simulation = simulate(folder, preset=PRESET, scale=scale, progress=progress)
    if progress is not None:
        progress("writing the report", 1.0)
    with open_reruns(simulation.paths) as reruns:
        return write_report(
            reruns,
            folder / "report.html",
            title="Three simulated reruns of the HiTS fields",
            compare=COMPARED,
            command=f"hitsduck demo {folder}",
        )
