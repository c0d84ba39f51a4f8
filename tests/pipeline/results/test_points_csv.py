"""Point labels as CSV: what is written is read back, and no name is a formula."""

from __future__ import annotations

import csv
import io
import re

from hypothesis import given
from hypothesis import strategies as st

from hrpro.localize.data.points import points_csv, read_points

names = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda name: name and name.splitlines() == [name])
)
formulas = names.map(lambda name: f"={name}")
rows = st.lists(
    st.tuples(names | formulas, names | formulas, st.integers(0, 10**9).map(lambda us: us / 1e6)),
    max_size=5,
    unique=True,
)


@given(rows)
def test_points_come_back(tmp_path_factory, written):
    path = tmp_path_factory.getbasetemp() / "points.csv"
    path.write_text(points_csv(written), encoding="utf-8")
    read = [(point.video_id, point.label, point.time_s) for point in read_points(path)]
    assert read == written


@given(rows)
def test_no_cell_is_a_formula(written):
    for video_id, label, _ in list(csv.reader(io.StringIO(points_csv(written))))[1:]:
        assert not re.match(r"[=@\t]|[+-](?!\d+([.,]\d+)?$)", label)
        assert not video_id.startswith("=")


def test_video_ids_and_numbers_stay_as_they_are():
    ids = ["-_a8SjJXw4M", "-clip (1)", "@user-12", "+1", "--x"]
    text = points_csv((video_id, "-1", 0.5) for video_id in ids)
    assert text.splitlines()[1:] == [f"{video_id},-1,0.5" for video_id in ids]
    hostile = ["=1+1", "-1+cmd|' /C calc'!A0", '@SUM("x")']
    rows = csv.reader(io.StringIO(points_csv((video_id, "a", 0.5) for video_id in hostile)))
    assert [row[0] for row in rows][1:] == [f"'{video_id}" for video_id in hostile]
