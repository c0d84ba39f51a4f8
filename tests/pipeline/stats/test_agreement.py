"""Agreement of observers against numbers worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpro.errors import DataError, UsageError
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.pipeline.stats.agreement import cohens_kappa, compare_observers
from hrpro.pipeline.stats.tables import comparison_csv, comparison_lines


def observed(*found, name="a", duration_s=10.0):
    """An observer's results of one video: (label, start, end) each."""
    detections = tuple(Detection(label, 1.0, start, end) for label, start, end in found)
    return Results((VideoResult(name, duration_s=duration_s, detections=detections),))


def test_kappa_of_two_categories():
    """20 times both yes, 5 and 10 times one of them, 15 times both no: (0.7 - 0.5) / (1 - 0.5)."""
    first = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert cohens_kappa(second, first) == pytest.approx(0.4)


def test_kappa_of_three_categories():
    """8 of 10 agree; the first has 5 3 2, the second 5 4 1: by chance 0.25 + 0.12 + 0.02."""
    assert cohens_kappa("AAAAABBBCC", "AAAABBBBAC") == pytest.approx((0.8 - 0.39) / (1 - 0.39))


def test_kappa_at_its_limits():
    assert cohens_kappa("ab", "ab") == 1
    assert cohens_kappa("ab", "ba") == -1
    assert cohens_kappa("aabb", "abab") == 0
    assert cohens_kappa("aa", "aa") is None  # one category: nothing to tell apart
    assert cohens_kappa("aa", "bb") == 0
    assert cohens_kappa("", "") is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=30))
def test_kappa_is_symmetric_and_at_most_one(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    kappa = cohens_kappa(first, second)
    assert kappa == cohens_kappa(second, first)
    assert kappa is None or -1 <= kappa <= 1
    assert (kappa == 1) == (kappa is not None and first == second)


def test_bins_of_one_class():
    """a sees bins 2 3 4 5, b sees 4 5 6, of 10: both in 2, one in 3, none in 5.

    p_o = 0.7, p_e = 0.4 * 0.3 + 0.6 * 0.7 = 0.54, kappa = 0.16 / 0.46.
    """
    found = compare_observers(observed(("run", 2, 6)), observed(("run", 4, 7)))
    (run,) = found.classes
    assert found.num_bins == 10
    assert run.same_bins == pytest.approx(0.7)
    assert run.kappa == pytest.approx(0.16 / 0.46)
    assert found.overall.kappa == pytest.approx(0.16 / 0.46)


def test_all_classes_together_agree_where_both_see_the_same():
    """Bins 0 to 9: a sees R R R J J - - - - -, b sees R R J J J R - - - -.

    p_o = 0.8, p_e = 0.3 * 0.3 + 0.2 * 0.3 + 0.5 * 0.4 = 0.35, kappa = 0.45 / 0.65.
    """
    a = observed(("R", 0, 3), ("J", 3, 5))
    b = observed(("R", 0, 2), ("J", 2, 5), ("R", 5, 6))
    found = compare_observers(a, b)
    assert found.overall.same_bins == pytest.approx(0.8)
    assert found.overall.kappa == pytest.approx(0.45 / 0.65)
    assert [row.label for row in found.classes] == ["J", "R"]
    # J alone: both in 2, only b in 1: p_o 0.9, p_e 0.2 * 0.3 + 0.8 * 0.7
    assert found.classes[0].kappa == pytest.approx((0.9 - 0.62) / (1 - 0.62))


def test_a_bin_counts_from_half_of_it_on():
    a = observed(("run", 0.5, 2.4))  # half of bin 0, bin 1, 0.4 of bin 2
    b = observed(("run", 0, 2))
    assert compare_observers(a, b).classes[0].kappa == 1
    assert compare_observers(a, b, width_s=0.5).classes[0].kappa == pytest.approx(
        # of 20 bins a sees 1 to 4, b 0 to 3
        (18 / 20 - (16 + 256) / 400) / (1 - (16 + 256) / 400)
    )


def test_undefined_kappa_is_said():
    found = compare_observers(observed(("run", 0, 10)), observed(("run", 0, 10)))
    assert found.classes[0].kappa is None
    assert found.classes[0].same_bins == 1
    lines = list(comparison_lines(found))
    assert "undefined" in lines[2]
    assert lines[-1] == "kappa is undefined where both see one and the same thing in all bins"


def test_matched_events_and_their_timing():
    a = observed(("run", 0, 4), ("run", 5, 9), ("run", 20, 21), duration_s=30.0)
    b = observed(("run", 1, 5), ("run", 5, 8), ("jump", 20, 21), duration_s=30.0)
    found = compare_observers(a, b)
    jump, run = found.classes
    assert (run.count_a, run.count_b, run.matched) == (3, 2, 2)  # tIoU 3/5 and 3/4
    assert run.found_a == pytest.approx(2 / 3)
    assert run.found_b == 1
    assert run.f1 == pytest.approx(0.8)
    assert (run.start.median_s, run.start.mean_s) == (0.5, 0.5)  # +1 and 0
    assert run.start.sd_s == pytest.approx(0.5**0.5, abs=1e-6)
    assert (run.end.mean_s, run.end.sd_s) == (0, pytest.approx(2**0.5, abs=1e-6))  # +1 and -1
    assert (jump.matched, jump.start, jump.found_a, jump.found_b) == (0, None, None, 0)
    assert (found.overall.count_a, found.overall.count_b, found.overall.matched) == (3, 3, 2)
    strict = compare_observers(a, b, tiou=0.7).classes[1]
    assert (strict.matched, strict.start.sd_s) == (1, None)


def test_each_event_is_matched_once_the_best_overlap_first():
    a = observed(("run", 0, 10))
    b = observed(("run", 0, 6), ("run", 1, 10))
    run = compare_observers(a, b).classes[0]
    assert (run.matched, run.start.mean_s) == (1, 1)


def test_videos_that_only_one_has_are_left_out_and_named():
    a = Results((*observed(("run", 0, 1)).videos, VideoResult("x", duration_s=5.0)))
    b = Results((*observed(("run", 0, 1), name="a.mp4").videos, VideoResult("y", duration_s=5.0)))
    found = compare_observers(a, b)
    assert (found.videos, found.only_a, found.only_b) == (("a",), ("x",), ("y",))
    assert list(comparison_lines(found))[:2] == [
        "only in the first, left out: x",
        "only in the second, left out: y",
    ]
    with pytest.raises(DataError, match="no video is in both: the first is about a, the second"):
        compare_observers(observed(), observed(name="b"))


def test_points_are_told_of():
    found = compare_observers(observed(("run", 3, 3)), observed(("run", 3, 3)))
    assert found.points == 2
    assert "2 points without a length" in list(comparison_lines(found))[-1]


def test_csv_and_json():
    found = compare_observers(observed(("run", 2, 6)), observed(("run", 2.5, 7)))
    head, whole, run = comparison_csv(found).splitlines()
    assert head.startswith(
        "label,kappa,same_bins,count_a,count_b,matched,found_a,found_b,f1,start_"
    )
    assert whole.startswith("all,")
    assert run.endswith(",1,1,1,1.0,1.0,1.0,0.5,0.5,,1.0,1.0,")
    value = found.to_json()
    assert value["classes"][0]["start"] == {"median_s": 0.5, "mean_s": 0.5, "sd_s": None}
    assert value["overall"]["label"] is None
    assert value["width_s"] == 1


@pytest.mark.parametrize("options", [{"width_s": 0}, {"width_s": 1e-9}, {"tiou": 0}, {"tiou": 1.5}])
def test_wrong_options_are_refused(options):
    with pytest.raises(UsageError, match=r"--width|--tiou"):
        compare_observers(observed(("run", 0, 1)), observed(("run", 0, 1)), **options)
