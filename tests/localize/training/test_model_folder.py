"""Model folders over time: those of earlier versions load, later ones say what is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_datasets import PRESET, make_dataset

from hrpro import __version__
from hrpro.errors import DataError
from hrpro.localize.config import resolve_dataset
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.data.sequences import DatasetSequences
from hrpro.localize.training.model_folder import FORMAT, load_model, save_model

MODELS = Path(__file__).parents[2] / "data" / "models"
CPU = torch.device("cpu")


def detections(folder: Path, tmp_path: Path, number: int) -> list[list]:
    """The best detections of a model in the test videos of the little dataset."""
    path, config = resolve_dataset(make_dataset(tmp_path / "data"), preset=PRESET)
    dataset = load_dataset(path, config.dataset)
    found = load_model(folder).localizer.localize(DatasetSequences(dataset, dataset.test, CPU))
    rows = zip(found.video, found.label, found.start_s, found.end_s, found.score, strict=True)
    return [
        [dataset.test[v].video_id, dataset.classes[label], start_s, end_s, score]
        for v, label, start_s, end_s, score in list(rows)[:number]
    ]


@pytest.mark.parametrize("folder", sorted(MODELS.iterdir()), ids=lambda folder: folder.name)
def test_models_of_earlier_versions_detect_what_they_did(folder, tmp_path):
    expected = json.loads((folder / "detections.json").read_text())
    found = detections(folder, tmp_path, len(expected))

    # Another order of sums on another processor may swap neighbours of nearly equal score.
    def in_order(rows):
        return sorted(rows, key=lambda row: (row[0], row[1], row[2], row[3]))

    for row, wanted in zip(in_order(found), in_order(expected), strict=True):
        assert row[:2] == wanted[:2]
        assert row[2:4] == pytest.approx(wanted[2:4], abs=2e-3)
        assert row[4] == pytest.approx(wanted[4], abs=2e-4)


def test_a_model_says_its_format_and_who_wrote_it(tmp_path):
    model = load_model(MODELS / "unversioned")
    save_model(
        tmp_path, model.localizer, model.num_stages, model.config, model.classes, model.features,
        model.metrics,
    )  # fmt: skip
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["hrpro"])
    assert header == {"num_stages": 2, "format": FORMAT, "hrpro": __version__}
    assert load_model(tmp_path).config == model.config


def test_a_later_format_says_what_is_needed(tmp_path):
    shutil.copytree(MODELS / "unversioned", tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    header = {"num_stages": 2, "format": FORMAT + 1, "hrpro": "99.1"}
    save_file(load_file(path), path, metadata={"hrpro": json.dumps(header)})
    # Whatever else has changed by then is not looked at first.
    (tmp_path / "model" / "config.yaml").write_text("localize: {unheard_of: 1}\n")
    with pytest.raises(DataError, match=rf"format {FORMAT + 1}, written by hrpro 99.1; .*update"):
        load_model(tmp_path / "model")
