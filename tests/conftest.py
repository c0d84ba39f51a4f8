"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("HRPRO_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data that the golden and real-video tests read."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"needs the shared data folder {SHARED} (set HRPRO_SHARED)")
    return SHARED
