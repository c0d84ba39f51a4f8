"""The dataset that most of these tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_layout import write_published


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two training and two test videos of 12.8 s at 30 fps, classes jump and run."""
    return write_published(tmp_path / "data")
