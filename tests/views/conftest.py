"""What the tests of single views share: a tiny rerun written and opened in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from apdb_files import make_apdb

import hitsduck

#: Opens a rerun called "a": opened(sources=[...], objects=[...], instrument="DECam").
Opened = Callable[..., "hitsduck.Reruns"]
_OPENING = {"instrument", "camera", "moments", "bad_flags"}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    with ExitStack() as stack:

        def open_one(**given: Any) -> hitsduck.Reruns:
            opening = {"instrument": "DECam"}
            opening |= {key: given.pop(key) for key in _OPENING & set(given)}
            path = make_apdb(tmp_path / "a.db", **given)
            return stack.enter_context(hitsduck.open_reruns({"a": path}, **opening))

        yield open_one


@pytest.fixture
def source() -> Callable[..., dict[str, Any]]:
    """Return a maker of DiaSource rows: a good source unless cells say otherwise."""

    def make(**cells: Any) -> dict[str, Any]:
        return {
            "diaObjectId": 1,
            "visit": 410985,
            "detector": 5,
            "ra": 150.0,
            "dec": 2.0,
            "x": 1000.0,
            "y": 2000.0,
            "midpointMjdTai": 57070.1,
            "band": "g",
        } | cells

    return make
