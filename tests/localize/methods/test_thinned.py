"""Methods that see every n-th snippet of finer features."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_methods
import torch
from safetensors.torch import load_file
from tiny_datasets import SNIPPETS, make_dataset

from hrpro.errors import DataError
from hrpro.localize.config import load_config, resolve_dataset
from hrpro.localize.data.dataset import Dataset, load_dataset
from hrpro.localize.data.sequences import DatasetSequences, ThinnedSequences
from hrpro.localize.methods.hrpro.localizer import HrproLocalizer
from hrpro.localize.methods.thinned import ThinnedLocalizer
from hrpro.localize.training.model_folder import TrainedModel, load_model
from hrpro.localize.training.run import TrainingRun

CPU = torch.device("cpu")
QUICK = {
    "hrpro": {"updates": 4, "stage2.epochs": 1},
    "student": {"student.teacher.epochs": 2, "student.teacher.first_epochs": 1},
}


@pytest.fixture(scope="module")
def coarse(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("coarse") / "data", 4, 2)


@pytest.fixture(scope="module")
def fine(tmp_path_factory, coarse) -> Path:
    """The same with three more snippets, which say nothing, between each two."""
    folder = tmp_path_factory.mktemp("fine") / "data"
    shutil.copytree(coarse, folder)
    for path in (folder / "features").rglob("*.npy"):
        known = np.load(path)
        between = np.full((4 * len(known), known.shape[1]), 9, np.float32)
        between[::4] = known
        np.save(path, between)
    # Snippets that tile, so that those that are left lie where the coarse ones do.
    (folder / "dataset.yaml").write_text("features:\n  stride: 4\n  snippet: 16\n")
    return folder


def trained(folder: Path, run_dir: Path, method: str, **settings: object) -> TrainedModel:
    overrides = tiny_methods.overrides(method, {**QUICK[method], **settings})
    folder, config = resolve_dataset(folder, overrides, preset="small")
    data = load_dataset(folder, config.dataset, needs=config.localize.needs)
    TrainingRun(run_dir, data, config, CPU).run()
    return load_model(run_dir)


def sequences(folder: Path) -> DatasetSequences:
    data: Dataset = load_dataset(folder)
    return DatasetSequences(data, data.test, CPU)


@pytest.mark.parametrize("method", list(QUICK))
def test_a_method_that_sees_fewer_learns_and_finds_what_it_would_on_those(
    method, fine, coarse, tmp_path
):
    of_fine = trained(fine, tmp_path / "fine", method, stride=16)
    of_coarse = trained(coarse, tmp_path / "coarse", method, stride=None)
    weights, expected = (
        load_file(model.folder / "model.safetensors") for model in (of_fine, of_coarse)
    )
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=0, equal_nan=True)

    videos = sequences(fine)
    thinned = ThinnedSequences(videos, 16)
    plain = of_coarse.localizer
    for ask in ("localize", "candidates"):
        ours = getattr(of_fine.localizer, ask)(videos, [1])
        theirs = getattr(plain, ask)(thinned, [1])
        assert len(ours) and np.array_equal(ours.start_s, theirs.start_s)
        assert np.array_equal(ours.score, theirs.score)
    assert np.array_equal(of_fine.localizer.video_scores(videos), plain.video_scores(thinned))
    few = plain.activations(thinned)
    for values, seen in zip(of_fine.localizer.activations(videos), few, strict=True):
        assert len(values) == 4 * SNIPPETS
        assert all(np.array_equal(values[first::4], seen) for first in range(4))


def test_settings_for_own_footage_are_for_snippets_16_frames_apart():
    assert load_config("small").localize.stride == 16
    config = load_config("small", ["localize.method=hrpro+student"]).localize
    assert config.stride is None
    assert config.generator.stride == 16
    for preset in ("thumos", "student-small", "sal-small"):
        assert load_config(preset).localize.stride is None
    assert load_config("fustal-small").localize.generator.stride is None


def test_features_that_are_as_coarse_are_taken_as_they_are(coarse):
    videos = sequences(coarse)
    config = load_config("small").localize
    torch.manual_seed(0)
    plain = HrproLocalizer(videos[0].features.shape[1], 3, config).eval()
    ours = ThinnedLocalizer(plain, 16).localize(videos)
    np.testing.assert_array_equal(ours.score, plain.localize(videos).score)
    assert [len(video.features) for video in ThinnedSequences(videos, None)[:]] == [SNIPPETS] * 2


@pytest.mark.parametrize("stride, fits", [(16, True), (None, False), (8, False)])
def test_a_stage_builds_on_one_that_saw_the_same_snippets(stride, fits, fine, coarse, tmp_path):
    """Whether they were thinned, or there were no others."""
    stage1 = trained(coarse, tmp_path / "first", "hrpro", stride=None).folder / "stage1"
    overrides = tiny_methods.overrides("hrpro", {**QUICK["hrpro"], "stride": stride})
    folder, config = resolve_dataset(fine, overrides, preset="small")
    run = TrainingRun(tmp_path / "second", load_dataset(folder), config, CPU, stage1=stage1)
    if fits:
        run.run()
        assert (tmp_path / "second/stage2").is_dir()
        return
    with pytest.raises(DataError, match=rf"snippets \(one every 16 frames; here {stride or 4}\)"):
        run.run()
