"""The files of a model folder, for those who only look whether one is there; takes no PyTorch."""

from __future__ import annotations

from pathlib import Path

from hrpro.errors import DataError

WEIGHTS_FILE, CONFIG_FILE, CLASSES_FILE = "model.safetensors", "config.yaml", "classes.txt"
FEATURES_FILE, METRICS_FILE = "fingerprint.json", "metrics.json"
FILES = (CONFIG_FILE, CLASSES_FILE, FEATURES_FILE, METRICS_FILE, WEIGHTS_FILE)


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that is no model.

    Raises:
        DataError: a file is missing; names it.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: not a model folder: no {', '.join(missing)}; give the folder that "
            "'hrpro train' wrote (--run-dir)"
        )
