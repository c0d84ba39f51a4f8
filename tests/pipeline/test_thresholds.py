"""The scores that make an event: chosen from judged events, kept in the model folder."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_datasets import PRESET, make_dataset

from hrpro.errors import DataError
from hrpro.localize.config import load_config
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.methods import get_method
from hrpro.localize.training.model_folder import (
    EventScores,
    FeaturesNeeded,
    load_model,
    save_event_scores,
    save_model,
)
from hrpro.pipeline.detectors.trained import event_rules
from hrpro.pipeline.results.events import recommended_rules
from hrpro.pipeline.results.model import Detection, VideoResult
from hrpro.pipeline.thresholds import (
    Judged,
    choose_thresholds,
    judge_by_actions,
    judge_by_labels,
    judge_by_points,
)


def judged(right_scores, wrong_scores, num_actions):
    scores = np.array([*right_scores, *wrong_scores], float)
    return Judged(scores, np.arange(len(scores)) < len(right_scores), num_actions)


def f1(one: Judged, threshold: float) -> float:
    kept = one.scores >= threshold
    return 2 * (one.right & kept).sum() / (kept.sum() + one.num_actions)


def test_the_threshold_lies_between_right_and_wrong():
    rules = choose_thresholds({"a": judged([0.9, 0.8], [0.4, 0.2], 2)})
    assert rules.threshold == rules.thresholds["a"] == pytest.approx(0.6)


def test_a_class_with_many_actions_has_its_own_threshold_and_one_with_few_follows_all():
    many = judged(np.linspace(0.3, 0.4, 60), np.linspace(0.1, 0.2, 60), 60)
    other = judged(np.linspace(0.8, 0.9, 60), np.linspace(0.5, 0.7, 60), 60)
    few = judged([0.85], [0.86], 1)
    rules = choose_thresholds(
        {"many": many, "other": other, "few": few, "unseen": judged([], [0.9], 0)}
    )
    assert 0.2 < rules.thresholds["many"] < 0.3
    assert 0.7 < rules.thresholds["other"] < 0.8
    assert rules.thresholds["few"] == rules.threshold
    assert "unseen" not in rules.thresholds


@given(
    st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 10),
)
def test_one_class_alone_gets_its_best_f1(events, missed):
    scores = np.array([score / 20 for score, _ in events])
    right = np.array([each for _, each in events])
    one = Judged(scores, right, int(right.sum()) + missed)
    rules = choose_thresholds({"a": one})
    if not right.any():
        assert rules is None
        return
    best = max(f1(one, score) for score in scores)
    assert f1(one, rules.thresholds["a"]) == pytest.approx(best)


def test_nothing_right_recommends_nothing():
    assert choose_thresholds({}) is None
    assert choose_thresholds({"a": judged([], [0.9], 3)}) is None


VIDEO = VideoResult(
    "v",
    detections=[
        Detection("a", 0.9, 0, 2),
        Detection("a", 0.8, 0.5, 2),  # the same again: not an event
        Detection("a", 0.7, 4, 8),
        Detection("b", 0.6, 0, 1),
        Detection("b", 0.01, 5, 6),  # is never reported
    ],
)


def of(found: dict[str, Judged], label: str):
    return found[label].scores.tolist(), found[label].right.tolist(), found[label].num_actions


def test_right_is_what_overlaps_an_action():
    rows = [("v", "a", 0.2, 2), ("v", "a", 4, 5), ("v", "b", 5, 6), ("v", "c", 0, 1)]
    actions = pd.DataFrame(rows, columns=["video", "label", "start_s", "end_s"])
    found = judge_by_actions([VIDEO], actions)
    assert of(found, "a") == ([0.9, 0.7], [True, False], 2)
    assert of(found, "b") == ([0.6], [False], 1)
    assert of(found, "c") == ([], [], 1)
    ambiguous = pd.DataFrame([("v", 4, 8)], columns=["video", "start_s", "end_s"])
    assert of(judge_by_actions([VIDEO], actions, ambiguous), "a") == ([0.9], [True], 2)


def test_right_is_what_holds_exactly_one_point():
    points = [("a", 1.0), ("a", 5.0), ("a", 7.0), ("b", 1.5)]
    found = judge_by_points([VIDEO], [points])
    assert of(found, "a") == ([0.9, 0.7], [True, False], 3)
    assert of(found, "b") == ([0.6], [False], 1)


def test_right_is_the_best_event_of_a_class_that_the_video_shows():
    found = judge_by_labels([VIDEO], [["a", "c"]])
    assert of(found, "a") == ([0.9], [True], 1)
    assert of(found, "b") == ([0.6], [False], 0)
    assert of(found, "c") == ([], [], 1)


# ---------------------------------------------------------------------- in the model folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model that was trained without event scores, as earlier versions did."""
    dataset = load_dataset(make_dataset(tmp_path_factory.mktemp("data") / "easy"))
    config = load_config(PRESET)
    method = get_method(config.localize)
    localizer = method.build(dataset.dim, len(dataset.classes), config.localize, 1)
    folder = tmp_path_factory.mktemp("run") / "run"
    features = FeaturesNeeded.of(dataset)
    save_model(folder, localizer, 1, config, dataset.classes, features, {"stage": 1})
    return folder


def test_scores_come_back_and_older_folders_have_none(model_folder):
    assert load_model(model_folder).event_scores is None
    assert recommended_rules(event_rules(load_model(model_folder))) is None
    scores = EventScores(threshold=0.4, thresholds={"jump": 0.5}, chosen_on="marks")
    save_event_scores(model_folder, scores)
    model = load_model(model_folder)
    assert model.event_scores == scores
    assert model.metrics["stage"] == 1
    assert scores.line() == "score 0.40 and more (0.40 to 0.50 by class), chosen on the marks"
    rules = recommended_rules(event_rules(load_model(model_folder)))
    assert (rules.threshold_of("jump"), rules.threshold_of("run")) == (0.5, 0.4)


def test_damaged_scores_are_named(model_folder):
    path = model_folder / "metrics.json"
    path.write_text(json.dumps({"events": {"threshold": "high"}}), encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.json: damaged"):
        load_model(model_folder)
