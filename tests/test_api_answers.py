"""`hrpro.clips` and `hrpro.stats`: of files, and of what `detect` returned."""

from __future__ import annotations

import pytest
from videos import make_video

import hrpro
from hrpro.api import Detections
from hrpro.errors import UsageError
from hrpro.pipeline.results.formats import write_results
from hrpro.pipeline.results.model import Detection, Results, VideoResult


@pytest.fixture
def found(tmp_path):
    """Three detections of one jump, and a weak one of a run."""
    video = make_video(tmp_path / "a.mp4", 50)
    jumps = [Detection("jump", score, 0.2, 0.8 + score / 10) for score in (0.9, 0.6, 0.5)]
    detections = (*jumps, Detection("run", 0.2, 1.0, 1.6))
    return Detections(
        Results((VideoResult("a", str(video), 2.0, 25.0, detections),), {"name": "x"})
    )


def counts(stats):
    table = stats.to_dataframe()
    whole = table[table["scope"] == "all"]
    return dict(zip(whole["label"], whole["count"], strict=True))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (None, {"jump": 1}),
        (True, {"jump": 1}),
        (False, {"jump": 3, "run": 1}),
        ({"threshold": 0.1}, {"jump": 1, "run": 1}),
        ({"threshold": {"run": 0.1, "jump": 0.95}}, {"run": 1}),
        ({"min_duration_s": 5}, {}),
    ],
)
def test_what_counts_as_an_event(found, events, expected):
    assert counts(hrpro.stats(found, events=events)) == expected


def test_unknown_keys_are_refused(found):
    with pytest.raises(UsageError, match="unknown key 'treshold'; did you mean 'threshold'"):
        hrpro.stats(found, events={"treshold": 0.5})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda found: hrpro.stats(3), "int: give a path or name as text, or a list"),
        (lambda found: hrpro.stats([]), "no results given"),
        (lambda found: hrpro.stats(found, bin_s="60"), "--bin '60': give a length in seconds"),
        (lambda found: hrpro.stats(found, bin_s=True), "--bin True: give a length in seconds"),
        (lambda found: hrpro.stats(found, against=found, width_s="1"), "--width '1'"),
        (lambda found: hrpro.stats(found, against=found, tiou=1.5), "--tiou 1.5: give a share"),
        (lambda found: hrpro.stats(found, out=["a.csv"]), "list: give one path"),
        (lambda found: hrpro.stats(found, events="yes"), "events: 'yes' is no dictionary"),
        (lambda found: hrpro.stats(found, events={"exclusive": "no"}), "--exclusive 'no'"),
        (lambda found: hrpro.stats(found, events={"merge_gap_s": "1"}), "--merge-gap '1'"),
        (lambda found: hrpro.clips(found, "x", lead_s="1"), "--lead '1': give seconds"),
        (lambda found: hrpro.clips(found, "x", reel="week"), "choose one of class, video, all"),
        (lambda found: hrpro.detect("a.mp4", min_score="0.1"), "--min-score '0.1': give a score"),
        (lambda found: hrpro.detect("a.mp4", top_k=0), "--top-k 0: give a whole number"),
        (lambda found: hrpro.detect("a.mp4", workers=-1), "--workers -1: give a whole number"),
        (lambda found: hrpro.detect("a.mp4", recipe="rgb"), "recipe: 'rgb' is no dictionary"),
        (lambda found: hrpro.extract("a.mp4", dtype="int8"), "--dtype 'int8': choose one of"),
    ],
)
def test_values_of_a_wrong_kind_are_one_line(found, call, message):
    with pytest.raises(UsageError) as error:
        call(found)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_clips_of_what_was_found(found, tmp_path):
    made = hrpro.clips(found, tmp_path / "out", classes="jump", name="{class}")
    (row,) = made.to_dataframe().itertuples()
    assert (row.path, row.how) == (tmp_path / "out" / "jump.mp4", "encoded")
    assert row.duration_s == pytest.approx(0.69, abs=0.041)
    with pytest.raises(UsageError, match="there is no fly; there are jump"):
        hrpro.clips(found, tmp_path / "out", classes=["fly"])


def test_agreement_of_a_model_and_a_person(found, tmp_path):
    person = (Detection("jump", 1, 0.2, 0.8), Detection("run", 1, 1.0, 1.6))
    write_results(Results((VideoResult("a", detections=person),)), tmp_path / "anna.csv")
    stats = hrpro.stats(tmp_path / "anna.csv", against=found, width_s=0.2, videos=tmp_path)
    assert stats.comparison.overall.matched == 1
    table = stats.to_dataframe().set_index("label")
    assert table.loc["jump", "kappa"] > 0.7
    assert table.loc["run", "count_b"] == 0
