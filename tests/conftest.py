"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is remembered (the engine's canary) out of the tester's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the shared folder with the real APDB files, catalogues and cameras."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("HITSDUCK_SHARED") or beside)
    if not (folder / "data" / "apdb").is_dir():
        pytest.skip(f"the shared folder with the real files is not at {folder} (HITSDUCK_SHARED)")
    return folder
