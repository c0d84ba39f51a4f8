"""Events: what detections say for people."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpro.errors import DataError, UsageError
from hrpro.pipeline.results.events import (
    RULES_KEY,
    EventOptions,
    EventRules,
    events_of,
    make_events,
    recommended_rules,
)
from hrpro.pipeline.results.formats import read_results, write_results
from hrpro.pipeline.results.interchange.rates import Rates
from hrpro.pipeline.results.model import Detection, Results, VideoResult, time_order

# Eighths: exact as binary numbers, and often equal.
eighths = st.integers(0, 80).map(lambda number: number / 8)
scores = st.integers(0, 10).map(lambda number: number / 10)


@st.composite
def found_spans(draw):
    start_s, end_s = sorted((draw(eighths), draw(eighths)))
    return Detection(draw(st.sampled_from("abc")), draw(scores), start_s, end_s)


some_detections = st.lists(found_spans(), max_size=12)
some_rules = st.builds(
    EventRules,
    threshold=scores,
    thresholds=st.dictionaries(st.sampled_from("abc"), scores, max_size=2),
    min_duration_s=st.sampled_from([0.0, 0.5, 2.0]),
    merge_gap_s=st.sampled_from([0.0, 0.5, 2.0]),
    exclusive=st.booleans(),
)


@given(some_detections, some_rules)
def test_no_two_events_of_one_class_overlap(detections, rules):
    events = events_of(detections, rules)
    for label in {""} if rules.exclusive else {each.label for each in events}:
        row = [each for each in events if rules.exclusive or each.label == label]
        assert all(one.end_s <= two.start_s for one, two in pairwise(row))


@given(some_detections, some_rules)
def test_events_are_in_time_order_and_obey_the_rules(detections, rules):
    events = events_of(detections, rules)
    assert list(events) == sorted(events, key=time_order)
    for event in events:
        assert event.score >= rules.threshold_of(event.label)
        assert event.end_s - event.start_s >= rules.min_duration_s
        alike = [each for each in detections if each.label == event.label]
        assert event.score in {each.score for each in alike}
        assert min(each.start_s for each in alike) <= event.start_s
        assert event.end_s <= max(each.end_s for each in alike)


@given(some_detections, some_rules)
def test_events_of_events_are_the_same_events(detections, rules):
    events = events_of(detections, rules)
    assert events_of(events, rules) == events


@given(some_detections, some_rules, st.randoms())
def test_the_order_of_the_detections_does_not_matter(detections, rules, random):
    shuffled = list(detections)
    random.shuffle(shuffled)
    assert events_of(shuffled, rules) == events_of(detections, rules)


@given(some_detections, some_rules)
def test_the_best_detection_of_a_class_is_an_event(detections, rules):
    free = rules.model_copy(update={"exclusive": False, "min_duration_s": 0.0})
    for label in {each.label for each in detections}:
        best = max(each.score for each in detections if each.label == label)
        events = [each for each in events_of(detections, free) if each.label == label]
        assert bool(events) == (best >= rules.threshold_of(label))
        assert not events or max(each.score for each in events) == best


@given(some_detections, scores)
def test_a_higher_threshold_leaves_the_better_events(detections, threshold):
    """Whether a detection is an event depends on better ones alone: see the report's slider."""
    every = events_of(detections, EventRules(threshold=0.0))
    better = events_of(detections, EventRules(threshold=threshold))
    assert better == tuple(each for each in every if each.score >= threshold)


def spans(events):
    return [(each.label, each.start_s, each.end_s) for each in events]


def test_one_action_is_one_event():
    detections = [
        Detection("jump", 0.9, 2, 4),
        Detection("jump", 0.8, 1, 5),  # around it
        Detection("jump", 0.7, 2.5, 3),  # in it
        Detection("jump", 0.6, 3.2, 6),  # the next one: its begin belongs to the first
        Detection("jump", 0.2, 8, 9),
        Detection("run", 0.5, 3, 5),
    ]
    events = events_of(detections, EventRules(threshold=0.4))
    assert spans(events) == [("jump", 2, 4), ("run", 3, 5), ("jump", 4, 6)]
    assert [each.score for each in events] == [0.9, 0.5, 0.6]


def test_each_class_has_its_threshold():
    detections = [Detection("a", 0.3, 0, 1), Detection("b", 0.3, 0, 1), Detection("a", 0.1, 2, 3)]
    events = events_of(detections, EventRules(threshold=0.5, thresholds={"a": 0.2}))
    assert spans(events) == [("a", 0, 1)]


def test_neighbours_are_merged_and_what_is_short_is_left_out():
    detections = [
        Detection("a", 0.5, 0, 1, subject="Ann"),
        Detection("a", 0.9, 1.4, 2, subject="Ann", modifiers=("fast",)),
        Detection("a", 0.5, 3, 4, subject="Ann"),
        Detection("a", 0.5, 9, 9.2, subject="Ann"),
    ]
    rules = EventRules(threshold=0.4, merge_gap_s=0.5, min_duration_s=0.5)
    events = events_of(detections, rules)
    assert spans(events) == [("a", 0, 2), ("a", 3, 4)]
    assert events[0] == Detection("a", 0.9, 0, 2, subject="Ann", modifiers=("fast",))
    # 0.3 - 0.1 is less than 0.2 in binary numbers.
    tenths = [Detection("a", 0.5, 0.1, 0.3)]
    assert events_of(tenths, EventRules(threshold=0.4, min_duration_s=0.2))
    apart = [Detection("a", 0.5, 0, 0.1), Detection("a", 0.5, 0.3, 1)]
    assert len(events_of(apart, EventRules(threshold=0.4, merge_gap_s=0.2))) == 2


@pytest.mark.parametrize("exclusive", [False, True])
def test_what_two_subjects_do_at_once_stays_two_events(exclusive):
    detections = [
        Detection("a", 1, 0, 4, subject="Ann"),
        Detection("a", 1, 1, 4, subject="Ben"),
        Detection("a", 1, 2, 5),
        Detection("b", 1, 2, 3, subject="Ben"),
    ]
    found = spans(events_of(detections, EventRules(exclusive=exclusive, merge_gap_s=1)))
    alone = [] if exclusive else [("b", 2, 3)]
    assert sorted(found) == [("a", 0, 4), ("a", 1, 4), ("a", 2, 5), *alone]


def test_of_exclusive_classes_the_better_one_wins():
    detections = [
        Detection("run", 0.9, 0, 10),
        Detection("jump", 0.8, 9, 12),
        Detection("sit", 0.7, 2, 3),
    ]
    rules = EventRules(threshold=0.5)
    assert len(events_of(detections, rules)) == 3
    alone = rules.model_copy(update={"exclusive": True})
    assert spans(events_of(detections, alone)) == [("run", 0, 10), ("jump", 10, 12)]
    bout = [Detection("a", 0.5, 0, 2), Detection("b", 0.6, 2, 2.2), Detection("a", 0.5, 2.3, 4)]
    joined = EventRules(threshold=0.5, exclusive=True, merge_gap_s=1)
    assert spans(events_of(bout, joined)) == [("a", 0, 2), ("b", 2, 2.2), ("a", 2.3, 4)]
    # What is too short does not keep its neighbours apart either.
    without = joined.model_copy(update={"min_duration_s": 0.5})
    assert spans(events_of(bout, without)) == [("a", 0, 4)]


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": float("nan")}, {"merge_gap_s": -1}, {"min_duration_s": -0.1}, {"gap": 1}],
)
def test_wrong_rules_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EventRules(**wrong)


def two_videos(**model):
    one = VideoResult("one", detections=[Detection("a", 0.9, 5, 6), Detection("a", 0.2, 1, 2)])
    return Results([one, VideoResult("two")], {"name": "hrpro", **model})


def test_the_results_keep_every_detection_and_note_the_rules(tmp_path):
    rules = EventRules(threshold=0.5, thresholds={"a": 0.4})
    made = make_events(two_videos(), rules)
    assert made.videos[0].detections == two_videos().videos[0].detections
    assert made.videos[0].events == (Detection("a", 0.9, 5, 6),)
    assert made.videos[1].events == ()
    assert recommended_rules(made.model) == rules
    write_results(made, tmp_path / "r.json")
    value = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert len(value["results"]["one"]) == 2
    assert value["events"]["one"] == [{"label": "a", "score": 0.9, "segment": [5.0, 6.0]}]
    assert read_results(tmp_path / "r.json") == made


@pytest.mark.parametrize("suffix", ["csv", "boris", "srt", "vtt", "otio", "eaf", "textgrid", "edl"])
def test_files_for_people_hold_the_events(tmp_path, suffix):
    video = VideoResult(
        "v", fps=25.0, detections=[Detection("a", 0.5, 3, 4), Detection("a", 0.9, 1, 2)]
    )
    path = tmp_path / f"r.{suffix}"
    write_results(Results([video]), path)
    (read,) = read_results(path, Rates(Fraction(25))).videos
    assert len(read.detections) == 2
    write_results(make_events(Results([video]), EventRules(threshold=0.6)), path)
    (read,) = read_results(path, Rates(Fraction(25))).videos
    assert spans(read.detections) == [("a", 1, 2)]


def test_a_csv_is_in_time_order(tmp_path):
    write_results(two_videos(), tmp_path / "r.csv")
    rows = (tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1:] == ["one,a,1.0,2.0,0.2", "one,a,5.0,6.0,0.9"]


def test_a_filter_holds_for_events_too():
    made = make_events(two_videos(), EventRules(threshold=0.1))
    assert made.filter(min_score=0.5).videos[0].events == (Detection("a", 0.9, 5, 6),)
    assert made.filter(top_k=1).videos[0].events == (Detection("a", 0.9, 5, 6),)
    assert made.filter(classes=["b"]).videos[0].events == ()
    assert two_videos().filter(classes=["a"]).videos[0].events is None


# ---------------------------------------------------------------------- what a person asks for


def test_what_is_not_asked_for_is_as_recommended():
    recommended = EventRules(threshold=0.4, thresholds={"a": 0.6, "b": 0.7}, merge_gap_s=1)
    assert EventOptions().rules(recommended) == recommended
    one = EventOptions(threshold=("b=0.1",), min_duration_s=2).rules(recommended, ["a", "b"])
    assert one.thresholds == {"a": 0.6, "b": 0.1}
    assert (one.threshold, one.min_duration_s, one.merge_gap_s) == (0.4, 2, 1)
    every = EventOptions(threshold=("0.2", "a=0.3"), merge_gap_s=0).rules(recommended)
    assert (every.threshold, every.thresholds, every.merge_gap_s) == (0.2, {"a": 0.3}, 0)


@pytest.mark.parametrize("limit", ["min_duration_s", "merge_gap_s"])
@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_seconds_that_are_none_are_refused(limit, seconds):
    with pytest.raises(UsageError, match="give seconds, 0 or more"):
        EventOptions(**{limit: seconds})


@pytest.mark.parametrize("text", ["", "high", "a=", "a=high", "nan", "a=inf"])
def test_a_threshold_that_is_no_number_is_refused(text):
    with pytest.raises(UsageError, match="write a number, or CLASS=NUMBER"):
        EventOptions(threshold=(text,))


def test_a_threshold_of_an_unknown_class_suggests_the_right_one():
    asked = EventOptions(threshold=("jmup=0.4",))
    with pytest.raises(UsageError, match="no class 'jmup'; did you mean 'jump'"):
        asked.rules(EventRules(), ["jump", "run"])
    assert asked.rules(EventRules()).threshold_of("jmup") == 0.4  # nobody knows the classes


def test_options_make_events_or_take_them_away():
    plain = two_videos()
    assert EventOptions().apply(plain) == plain
    assert EventOptions(events=True).apply(plain) == make_events(plain, EventRules())
    made = make_events(plain, EventRules(threshold=0.1))
    assert EventOptions().apply(made) == made
    assert EventOptions(events=True).apply(made) == made
    assert EventOptions(threshold=("0.5",)).apply(made) == make_events(
        plain, EventRules(threshold=0.5)
    )
    shorn = EventOptions(events=False).apply(made)
    assert shorn.videos == plain.videos
    assert recommended_rules(shorn.model) == EventRules(threshold=0.1)
    with pytest.raises(UsageError, match="--all"):
        EventOptions(events=False, merge_gap_s=1)


def test_damaged_rules_in_a_result_file_are_named():
    with pytest.raises(DataError, match=f"{RULES_KEY} are damaged"):
        recommended_rules({RULES_KEY: {"threshold": "high"}})
