"""Where the videos of a dataset folder are: in ``videos/``, or where its ``dataset.yaml`` says."""

from __future__ import annotations

from pathlib import Path

import yaml

from hrpro.errors import DataError
from hrpro.texts import read_text

DATASET_YAML = "dataset.yaml"


def videos_folder(folder: str | Path) -> Path:
    """Return the folder that holds the videos of a dataset; it need not exist.

    ``videos/`` in the dataset folder, which may be a link. Where links cannot be made, the line
    ``videos: PATH`` of ``dataset.yaml`` names another folder; a relative path counts from the
    dataset folder.
    """
    folder = Path(folder)
    try:
        settings = yaml.safe_load(read_text(folder / DATASET_YAML))
    except (DataError, yaml.YAMLError):
        settings = None  # those who need the settings say what is wrong with them
    named = settings.get("videos") if isinstance(settings, dict) else None
    return folder / named if isinstance(named, str) and named else folder / "videos"
