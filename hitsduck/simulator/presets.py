"""Presets: what a simulation is made of.

A preset names the camera, the pointings, the populations of things on the sky,
and the reruns with their planted causes; `hitsduck.simulator.preset_files` reads it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from hitsduck.errors import SimulationError
from hitsduck.simulator.causes import Cause


@dataclass(frozen=True)
class Field:
    """One field: its centre (deg, ICRS) and its place in the visit numbering."""

    name: str
    ra: float
    dec: float
    visit_offset: int


@dataclass(frozen=True)
class Night:
    """One night: number and time (MJD, TAI) of its first visit, and its epochs."""

    first_visit: int
    first_mjd_tai: float
    epochs: int


@dataclass(frozen=True)
class Schedule:
    """When the fields are visited: every field once in each epoch of each night."""

    nights: tuple[Night, ...]
    visits_per_epoch: int = 56
    epoch_hours: float = 1.9
    minutes_per_visit: float = 2.0


@dataclass(frozen=True)
class Sky:
    """Typical image: noise (nJy), zero point (mag), seeing (arcsec) and their scatter."""

    noise_njy: float = 140.0
    zero_point_mag: float = 25.2
    zero_point_scatter_mag: float = 0.12
    seeing_arcsec: float = 1.15
    seeing_scatter_ln: float = 0.16
    dither_arcsec: float = 45.0


@dataclass(frozen=True)
class Kind:
    """A population of things on the sky.

    Attributes
    ----------
    number : int
        Things at scale 1 (of the pool, where a rerun has targets).
    light_curve : str
        ``sine`` (variable star), ``flat`` (residual of a static star), ``once``
        (seen in one image only) or ``moving`` (solar system, no object).
    snr_min, snr_slope : float
        The S/N of the things' difference flux at the typical noise is Pareto:
        the number above s goes as ``s ** -snr_slope`` from `snr_min` on.
    snr_spread_ln : float
        Scatter (natural log) of that S/N from visit to visit.
    negative_fraction : float
        Share of negative differences.
    persistence : tuple of float
        Beta parameters of a thing's probability to show in one visit; empty: always.
    bad_fraction : float
        Share of detections with a flag of `bad_mix`.
    bad_mix : dict
        Combinations of the pixel flags bad, suspect, saturatedCenter and their weights.
    flags : dict
        Rates of further flags, each independent of the others.
    scatter_arcsec, scatter_ln : float
        Median (over things) of the scatter of the centre from visit to visit, and
        its spread (natural log).
    reliability : tuple of float
        Beta parameters of the reliability score.
    science_log10 : tuple of float
        Mean and scatter of log10 of the flux on the science image (nJy).
    """

    name: str
    number: int
    light_curve: str
    snr_min: float
    snr_slope: float
    snr_spread_ln: float = 0.0
    negative_fraction: float = 0.0
    persistence: tuple[float, ...] = ()
    bad_fraction: float = 0.0
    bad_mix: Mapping[str, float] = field(default_factory=dict)
    flags: Mapping[str, float] = field(default_factory=dict)
    scatter_arcsec: float = 0.0
    scatter_ln: float = 0.0
    is_dipole: bool = False
    motion_arcsec_per_hour: float = 0.0
    reliability: tuple[float, ...] = (1.0, 1.0)
    science_log10: tuple[float, ...] = (3.0, 0.4)


@dataclass(frozen=True)
class Targets:
    """The four counts that a rerun is scaled to meet, at scale 1."""

    sources: int
    good_sources: int
    objects: int
    good_objects: int

    def part(self, scale: float, block: int, blocks: int) -> Targets:
        """Return block number `block` of `blocks` of the targets at `scale`.

        The parts of all blocks add up to the scaled, rounded target.
        """

        def share(total: int) -> int:
            whole = round(total * scale)
            return whole * (block + 1) // blocks - whole * block // blocks

        return Targets(*(share(value) for value in dataclasses.astuple(self)))


@dataclass(frozen=True)
class RerunSpec:
    """One rerun: what it is based on, how it differs, and the counts it must have.

    `position_jitter` and `flux_jitter` are the share (0 to 1) of the measurement
    error that is drawn anew; the rest is that of the rerun it is based on.
    """

    name: str
    weekly: str = ""
    based_on: str | None = None
    processed_mjd_tai: float = 58955.0
    position_jitter: float = 1.0
    flux_jitter: float = 0.25
    targets: Targets | None = None
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True)
class SrcSpec:
    """Calexp catalogues: rows of a typical one, their scatter, and the named ones."""

    rows_median: float = 60.0
    rows_scatter_ln: float = 0.15
    small: tuple[Mapping[str, int], ...] = ()


@dataclass(frozen=True)
class Preset:
    """All inputs of a simulation but its scale and seed."""

    name: str
    camera: str
    fields: tuple[Field, ...]
    schedule: Schedule
    sky: Sky
    kinds: tuple[Kind, ...]
    reruns: tuple[RerunSpec, ...]
    src_catalogs: SrcSpec
    description: str = ""
    dead_detectors: tuple[int, ...] = ()
    x_axis: str = "west"
    y_axis: str = "north"
    band: str = "g"
    generation: str = "2020"
    seed: int = 1
    exposure_s: float = 30.0
    threshold_snr: float = 5.0
    association_radius_arcsec: float = 1.0
    forced_extra_per_object: float = 0.5
    superseded_versions: int = 1

    def rerun(self, name: str) -> RerunSpec:
        """Return the rerun called `name`."""
        for spec in self.reruns:
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.reruns)
        raise SimulationError(f"preset {self.name}: no rerun {name!r}; it has {known}")
