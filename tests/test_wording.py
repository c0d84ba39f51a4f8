"""Messages in words."""

from __future__ import annotations

import pytest

from hrpro.wording import and_more, clock, count, megabytes, one_line, some


def test_counts_and_lists():
    assert [count(number, "video") for number in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]
    assert count(3, "class", "classes") == "3 classes"
    assert some([]) == ""
    assert some("abc") == "a, b, c"
    assert some(iter("abcd")) == "a, b, c, ..."
    assert (and_more(0), and_more(2, " in all.txt")) == ("", " (and 2 more in all.txt)")


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00"), (59.99, "0:59"), (65, "1:05"), (3599, "59:59"), (3723.5, "1:02:03")],
)
def test_times_as_players_show_them(time_s, text):
    assert clock(time_s) == text


def test_errors_and_sizes():
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert megabytes(50_900_000) == "51 MB"
