"""Hypothesis strategies for results: anything that detection could say."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from hrpro.pipeline.results.model import Curves, Detection, Results, VideoResult

numbers = st.floats(-1e6, 1e6)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def detections(draw, labels=texts, by_people=False):
    start_s, end_s = sorted((draw(numbers), draw(numbers)))
    found = Detection(draw(labels), draw(numbers), start_s, end_s)
    if not by_people:
        return found
    subject, modifiers = draw(st.one_of(st.none(), texts)), draw(st.lists(texts, max_size=2))
    return replace(found, subject=subject, modifiers=tuple(modifiers))


@st.composite
def results(draw, labels=texts, by_people=False):
    video_ids = draw(st.lists(labels, max_size=3, unique=True))
    found = st.lists(detections(labels, by_people), max_size=4)
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
            events=draw(st.one_of(st.none(), found)) if by_people else None,
        )
        for video_id in video_ids
    ]
    return Results(videos, draw(st.dictionaries(texts, st.integers(), max_size=2)))
