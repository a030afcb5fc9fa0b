"""hitsduck: what changed between reruns of the same telescope images, and is it real.

Examples
--------
>>> import hitsduck
>>> with hitsduck.open_reruns({"May2020": "cw_2020_05"}) as reruns:  # doctest: +SKIP
...     print(reruns.counts().polars())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitsduck.errors import HitsduckError, HitsduckWarning
    from hitsduck.opening import open_reruns
    from hitsduck.rerun import Rerun
    from hitsduck.reruns import Reruns
    from hitsduck.simulator import simulate

__version__ = "0.4.0"

_HOMES = {
    "open_reruns": "hitsduck.opening",
    "Reruns": "hitsduck.reruns",
    "Rerun": "hitsduck.rerun",
    "HitsduckError": "hitsduck.errors",
    "HitsduckWarning": "hitsduck.errors",
    "simulate": "hitsduck.simulator",
}

__all__ = [
    "HitsduckError",
    "HitsduckWarning",
    "Rerun",
    "Reruns",
    "__version__",
    "open_reruns",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used, so that ``import hitsduck`` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hitsduck' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet too."""
    return __all__
