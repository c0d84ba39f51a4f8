"""Hypothesis strategies for results: anything that detection could say."""

from __future__ import annotations

from hypothesis import strategies as st

from hrpro.pipeline.results.model import Curves, Detection, Results, VideoResult

numbers = st.floats(-1e6, 1e6)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def detections(draw, labels=texts):
    start_s, end_s = sorted((draw(numbers), draw(numbers)))
    return Detection(draw(labels), draw(numbers), start_s, end_s)


@st.composite
def results(draw, labels=texts):
    video_ids = draw(st.lists(labels, max_size=3, unique=True))
    found = st.lists(detections(labels), max_size=4)
    about = st.one_of(st.none(), st.floats(0, 1e6))
    curve = st.lists(numbers, max_size=3)
    curves = st.builds(
        Curves, numbers, st.floats(1e-3, 1e3), st.dictionaries(texts, curve, max_size=2)
    )
    videos = [
        VideoResult(
            video_id,
            draw(st.one_of(st.none(), texts)),
            draw(about),
            draw(about),
            draw(found),
            draw(st.one_of(st.none(), curves)),
        )
        for video_id in video_ids
    ]
    return Results(videos, draw(st.dictionaries(texts, st.integers(), max_size=2)))
