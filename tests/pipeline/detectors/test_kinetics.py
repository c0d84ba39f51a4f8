"""The built-in detector: class probabilities to detections."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.errors import UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.extractor import Extractor
from hrpro.pipeline.detectors.kinetics import KineticsDetector, close_gaps, kinetics_classes

STRIDE_S, SNIPPET_S = 0.32, 0.64


def localize(logits, **options):
    duration_s = (len(logits) - 1) * STRIDE_S + SNIPPET_S
    return KineticsDetector().localize(
        logits, stride_s=STRIDE_S, snippet_s=SNIPPET_S, duration_s=duration_s, **options
    )


def best(detections):
    return max(detections, key=lambda detection: detection.score)


def test_labels_are_those_of_the_classifier(shared):
    known = (shared / "data" / "kinetics400_labels.txt").read_text().splitlines()
    assert list(kinetics_classes()) == known


def test_one_action_over_the_whole_video_gives_the_whole_span():
    logits = np.zeros((30, 400))
    logits[:, 227] = 14
    detections = localize(logits)
    assert best(detections).label == "playing cricket"
    assert best(detections).start_s == 0
    assert best(detections).end_s == pytest.approx(29 * STRIDE_S + SNIPPET_S, abs=1e-3)
    assert best(detections).score > 0.9


def test_an_action_in_the_middle_is_centred_on_its_snippets():
    logits = np.zeros((60, 400))
    logits[20:40, 10] = 14
    found = best(localize(logits))
    centre_s = 0.16 + 30 * STRIDE_S
    assert (found.start_s + found.end_s) / 2 == pytest.approx(centre_s, abs=0.2)
    assert found.end_s - found.start_s == pytest.approx(20 * STRIDE_S, abs=1.3)


def test_a_short_dip_does_not_end_an_action():
    logits = np.zeros((60, 400))
    logits[10:50, 10] = 14
    logits[28:33, 10] = 0
    found = best(localize(logits))
    assert found.start_s < 5 < 15 < found.end_s


def test_nothing_in_particular_gives_nothing():
    found = localize(np.random.default_rng(0).normal(size=(50, 400)))
    assert max((each.score for each in found), default=0) < 0.05


def test_a_class_that_disagrees_with_itself_scores_low():
    rng = np.random.default_rng(0)
    logits = np.zeros((60, 400))
    logits[np.arange(60), rng.integers(0, 400, 60)] = 12
    assert max((d.score for d in localize(logits)), default=0) < 0.5


def test_wanted_classes_only_and_wrong_names_are_helped():
    logits = np.zeros((30, 400))
    logits[:, [227, 10]] = [14, 13]
    found = localize(logits, classes=["Playing Cricket"])
    assert {d.label for d in found} == {"playing cricket"}
    with pytest.raises(UsageError, match="playing cricket"):
        localize(logits, classes=["plaing crickett"])


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 40), seed=st.integers(0, 99), scale=st.floats(0, 30))
def test_detections_are_always_inside_the_video(length, seed, scale):
    logits = np.random.default_rng(seed).normal(size=(length, 400)) * scale
    duration_s = (length - 1) * STRIDE_S + SNIPPET_S
    for found in localize(logits):
        assert 0 <= found.start_s < found.end_s <= duration_s + 1e-3
        assert 0 < found.score <= 1


@given(seed=st.integers(0, 99), width=st.integers(1, 12))
def test_closing_fills_only_dips(seed, width):
    scores = np.random.default_rng(seed).random((30, 3))
    closed = close_gaps(scores, width)
    assert closed.shape == scores.shape
    assert (closed >= scores).all()
    np.testing.assert_allclose(close_gaps(closed, width), closed)
    assert closed.max() == scores.max()


def accepted_labels(shared) -> dict[str, list[str]]:
    with (shared / "data" / "clips" / "expected.csv").open() as file:
        rows = csv.DictReader(file)
        return {row["clip"]: row["kinetics400_any_of"].split("|") for row in rows}


@pytest.mark.slow
def test_real_clips_get_their_label_first(shared, rgb_weights):
    """All 17 clips whose action is one of the 400, at a coarse stride for speed."""
    detector = KineticsDetector()
    extractor = Extractor(ExtractConfig(stride=16))
    wrong = {}
    expected = accepted_labels(shared)
    assert len(expected) == 17
    for clip, accepted in expected.items():
        video = extractor.extract(shared / "data" / "clips" / clip)
        detections = detector.detect(video)
        found = best(detections).label if detections else None
        if found not in accepted:
            wrong[clip] = found
    assert not wrong
