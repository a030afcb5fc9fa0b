"""Reading presets from TOML, and refusing impossible ones.

The packaged presets lie beside this module in ``presets/``; a user's own may say
``extends = "hits2015"`` and replace tables of it.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from hitsduck.errors import SimulationError
from hitsduck.simulator.causes import cause_from_mapping
from hitsduck.simulator.presets import (
    Field,
    Kind,
    Night,
    Preset,
    RerunSpec,
    Schedule,
    Sky,
    SrcSpec,
    Targets,
)

LIGHT_CURVES = ("sine", "flat", "once", "moving")
AXES = ("north", "south", "east", "west")
T = TypeVar("T")


def preset_names() -> list[str]:
    """Return the names of the packaged presets, sorted."""
    folder = files("hitsduck.simulator") / "presets"
    return sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml"))


def load_preset(preset: str | Path | Preset) -> Preset:
    """Return a preset by packaged name or by the path of a TOML file.

    Raises
    ------
    SimulationError
        No such preset, or a value in it is unknown, missing or impossible.
    """
    if isinstance(preset, Preset):
        return preset
    where, raw = _read(preset, ())
    return _build(where, raw)


def _read(preset: str | Path, seen: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    name = str(preset)
    if name in preset_names():
        where = f"preset {name}"
        text = (files("hitsduck.simulator") / "presets" / f"{name}.toml").read_text("utf-8")
    elif name.endswith(".toml"):
        where = f"preset file {name}"
        try:
            text = Path(name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SimulationError(f"{where}: cannot be read: {error}") from error
    else:
        raise SimulationError(
            f"unknown preset {name!r}; known: {', '.join(preset_names())}; or give a .toml file"
        )
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SimulationError(f"{where}: not valid TOML: {error}") from error
    base_name = raw.pop("extends", None)
    if base_name is None:
        return where, raw
    if str(base_name) in seen:
        raise SimulationError(f"{where}: extends itself through {', '.join(seen)}")
    base = _read(str(base_name), (*seen, name))[1]
    return where, _merge(base, raw)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _build(where: str, raw: dict[str, Any]) -> Preset:
    raw = dict(raw)
    drop_targets = bool(raw.pop("drop_targets", False))
    try:
        reruns = [dict(r) for r in raw.pop("rerun")]
        fields = tuple(_make(Field, f, where) for f in raw.pop("field"))
        schedule_raw = dict(raw.pop("schedule"))
        nights = tuple(_make(Night, n, where) for n in schedule_raw.pop("nights"))
        kinds = tuple(
            _make(Kind, {"name": name, **values}, where)
            for name, values in raw.pop("kinds").items()
        )
    except KeyError as error:
        raise SimulationError(f"{where}: lacks {error.args[0]!r}") from None
    except (TypeError, AttributeError) as error:
        raise SimulationError(f"{where}: a table has the wrong form: {error}") from error
    specs = []
    for rerun in reruns:
        targets = rerun.pop("targets", None)
        causes = tuple(cause_from_mapping(c, where) for c in rerun.pop("causes", ()))
        specs.append(
            _make(
                RerunSpec,
                {
                    **rerun,
                    "targets": None
                    if targets is None or drop_targets
                    else _make(Targets, targets, where),
                    "causes": causes,
                },
                where,
            )
        )
    preset = _make(
        Preset,
        {
            **raw,
            "fields": fields,
            "schedule": _make(Schedule, {**schedule_raw, "nights": nights}, where),
            "sky": _make(Sky, raw.get("sky", {}), where),
            "kinds": kinds,
            "reruns": tuple(specs),
            "src_catalogs": _make(SrcSpec, raw.get("src_catalogs", {}), where),
        },
        where,
    )
    check_preset(preset, where)
    return preset


def _make(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise SimulationError(
            f"{where}: {cls.__name__} knows no {', '.join(unknown)}; "
            f"it has {', '.join(sorted(known))}"
        )
    frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return cls(**frozen)
    except TypeError as error:
        raise SimulationError(f"{where}: {cls.__name__}: {error}") from error


def check_preset(preset: Preset, where: str) -> None:
    """Raise SimulationError when values of a preset are impossible."""
    names = [spec.name for spec in preset.reruns]
    problems = []
    if not names:
        problems.append("it has no rerun")
    for spec_at, spec in enumerate(preset.reruns):
        if names.count(spec.name) > 1:
            problems.append(f"rerun {spec.name} is there twice")
        if not spec.name or "/" in spec.name or spec.name.startswith("."):
            problems.append(f"{spec.name!r} can be no rerun's name")
        if spec_at > 0 and spec.based_on not in names[:spec_at]:
            problems.append(f"rerun {spec.name} must be based on an earlier one of {names}")
        if spec_at == 0 and spec.based_on is not None:
            problems.append(f"the first rerun, {spec.name}, can be based on nothing")
        if not (0 <= spec.position_jitter <= 1 and 0 <= spec.flux_jitter <= 1):
            problems.append(f"rerun {spec.name}: jitter must lie between 0 and 1")
    for kind in preset.kinds:
        if kind.light_curve not in LIGHT_CURVES:
            problems.append(f"kind {kind.name}: light_curve must be one of {LIGHT_CURVES}")
        if kind.number < 0 or kind.snr_min <= 0 or kind.snr_slope <= 0:
            problems.append(f"kind {kind.name}: number, snr_min and snr_slope must be positive")
        if kind.bad_fraction > 0 and not kind.bad_mix:
            problems.append(f"kind {kind.name}: bad_fraction needs bad_mix")
    if preset.x_axis not in AXES or preset.y_axis not in AXES:
        problems.append(f"x_axis and y_axis must each be one of {AXES}")
    if not preset.fields or not preset.schedule.nights:
        problems.append("it needs at least one field and one night")
    if problems:
        raise SimulationError(f"{where}: " + "; ".join(problems))
