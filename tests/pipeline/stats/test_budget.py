"""Time budgets against numbers worked out by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpro.errors import UsageError
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.pipeline.stats.budget import time_budget
from hrpro.pipeline.stats.tables import budget_csv, budget_lines


def events(*spans, label="run", subject=None):
    return [Detection(label, 1.0, start, end, subject=subject) for start, end in spans]


def video(name, duration_s, *found, start_s=None):
    return VideoResult(name, duration_s=duration_s, start_s=start_s, detections=tuple(found))


TWO = Results(
    (
        video("a", 100.0, *events((10, 20), (15, 30), (50, 54)), *events((0, 1), label="jump")),
        video("b", 300.0, *events((100, 110))),
    )
)


def row(budget, scope, label, **of):
    (found,) = [
        each
        for each in budget.rows
        if (each.scope, each.label) == (scope, label)
        and all(getattr(each, key) == value for key, value in ({"subject": None} | of).items())
    ]
    return found


def test_of_all_videos():
    run = row(time_budget(TWO), "all", "run")
    assert run.count == 4
    assert run.observed_s == 400
    assert run.rate_per_h == 36  # 4 in 400 s
    assert run.total_s == 34  # 10 to 30 counts once
    assert run.share == 0.085
    assert (run.mean_s, run.median_s, run.min_s, run.max_s) == (9.75, 10, 4, 15)
    assert run.first_s == 55  # 10 s and 100 s after the begin
    jump = row(time_budget(TWO), "all", "jump")
    assert (jump.count, jump.first_s, jump.share) == (1, 0, 0.0025)


def test_of_each_video_also_where_nothing_happens():
    budget = time_budget(TWO)
    run, none = row(budget, "video", "run", video="a"), row(budget, "video", "jump", video="b")
    assert (run.count, run.total_s, run.share, run.first_s) == (3, 24, 0.24, 10)
    assert (none.count, none.total_s, none.share, none.rate_per_h) == (0, 0, 0, 0)
    assert (none.mean_s, none.median_s, none.min_s, none.max_s, none.first_s) == (None,) * 5


def test_of_bins():
    budget = time_budget(TWO, bin_s=40)
    found = [
        (each.bin_start_s, each.bin_end_s, each.count, each.total_s, each.share, each.first_s)
        for each in budget.of("bin")
        if (each.video, each.label) == ("a", "run")
    ]
    assert found == [(0, 40, 2, 20, 0.5, 10), (40, 80, 1, 4, 0.1, 10), (80, 100, 0, 0, 0, None)]


@pytest.mark.parametrize("bin_s", [0.04, 0.1, 0.3])
def test_an_event_on_the_edge_of_a_bin_begins_there(bin_s):
    """Edges such as 0.3 are not multiples of 0.1 to a computer, and 1.1 / 0.1 is more than 11."""
    edges = [round(number * bin_s, 6) for number in range(12)]
    found = events(*pairwise(edges))
    bins = time_budget(Results((video("a", edges[-1], *found),)), bin_s=bin_s).of("bin")
    assert [each.bin_start_s for each in bins] == edges[:-1]
    assert [each.bin_end_s for each in bins] == edges[1:]
    assert [each.count for each in bins] == [1] * 11
    assert [each.share for each in bins] == pytest.approx([1] * 11, abs=1e-5)


def test_an_event_over_the_edge_of_bins_is_one_and_its_time_is_shared():
    budget = time_budget(Results((video("a", 20.0, *events((8, 13))),)), bin_s=10)
    found = [(each.count, each.total_s, each.max_s) for each in budget.of("bin")]
    assert found == [(1, 2, 5), (0, 3, None)]


def test_what_lies_outside_of_the_video_takes_no_time():
    late = video("a", 10.0, *events((0, 3), (8, 14), (12, 13)), start_s=1.0)
    run = row(time_budget(Results((late,))), "all", "run")
    assert (run.count, run.observed_s, run.total_s, run.first_s) == (3, 9, 4, 0)
    assert sum(each.count for each in time_budget(Results((late,)), bin_s=3).of("bin")) == 3


def test_subjects_are_measured_apart_and_together():
    both = video("a", 10.0, *events((0, 4), subject="Anna"), *events((2, 6), (8, 9), subject="Ben"))
    budget = time_budget(Results((both,)))
    assert budget.subjects == ("Anna", "Ben")
    totals = {
        each.subject: (each.count, each.total_s) for each in budget.rows if each.scope == "all"
    }
    assert totals == {None: (3, 7), "Anna": (1, 4), "Ben": (2, 5)}


def test_groups():
    budget = time_budget(TWO, {"a": "before"})
    assert [(each.group, each.label, each.count) for each in budget.of("group")] == [
        ("", "jump", 0), ("", "run", 1), ("before", "jump", 1), ("before", "run", 3),
    ]  # fmt: skip


def test_points_are_counted_and_take_no_time():
    run = row(time_budget(Results((video("a", 60.0, *events((5, 5), (7, 7))),))), "all", "run")
    assert (run.count, run.rate_per_h, run.total_s, run.share) == (2, 120, 0, 0)


def test_without_a_length_there_is_no_rate():
    budget = time_budget(Results((video("a", None, *events((1, 2))), video("b", 5.0))))
    run = row(budget, "all", "run")
    assert (run.total_s, run.observed_s, run.rate_per_h, run.share) == (1, None, None, None)
    assert budget.unknown == ("a",)
    assert "not known (a); --videos names their folder" in list(budget_lines(budget))[-1]


def test_nothing_at_all():
    assert list(budget_lines(time_budget(Results()))) == ["0 videos: no events"]
    assert budget_csv(time_budget(Results())).count("\n") == 1


@pytest.mark.parametrize("bin_s", [0, -1, float("inf"), 1e-9])
def test_wrong_bins_are_refused(bin_s):
    with pytest.raises(UsageError, match="--bin"):
        time_budget(TWO, bin_s=bin_s)


def test_lines_and_csv():
    lines = list(budget_lines(time_budget(TWO, bin_s=100)))
    heads = "2 videos, 6:40 observed n per hour total s share mean s median min max first s"
    assert " ".join(lines[0].split()) == heads
    assert " ".join(lines[2].split()) == "run 4 36.0 34.0 8.5 % 9.75 10.00 4.00 15.00 55.0"
    assert "a 0:00                1.0  24.0" in lines
    csv = budget_csv(time_budget(Results((video("=a", 1.0, *events((0, 1), label="=cmd")),))))
    assert csv.splitlines()[1].startswith("all,,,,,,'=cmd,1,1.0,3600.0,1.0,1.0,")
    assert csv.splitlines()[2].startswith("video,,'=a,,,,'=cmd,")


def test_lines_of_a_video_without_events():
    quiet = Results((*TWO.videos, video("quiet", 61.0)))
    assert list(budget_lines(time_budget(quiet)))[-1] == "quiet, 1:01 observed: no events"


def test_data_frame():
    table = time_budget(TWO).to_dataframe()
    whole = table[table["scope"] == "all"].set_index("label")
    assert whole.loc["run", "total_s"] == 34


spans = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 20)).map(lambda pair: (pair[0], sum(pair))),
    max_size=8,
)


@given(spans, st.floats(0.5, 40))
def test_bins_share_out_all_events_and_all_time(found, bin_s):
    budget = time_budget(Results((video("a", 120.0, *events(*found)),)), bin_s=bin_s)
    if found:
        whole, bins = row(budget, "all", "run"), budget.of("bin")
        assert sum(each.count for each in bins) == whole.count == len(found)
        assert sum(each.total_s for each in bins) == pytest.approx(whole.total_s, abs=1e-3)
        assert whole.total_s <= sum(end - start for start, end in found) + 1e-6
        assert 0 <= whole.share <= 1
