"""Which clips are to be made, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrpro.errors import UsageError
from hrpro.pipeline.clips.plan import ClipOptions, plan_films
from hrpro.pipeline.results.model import Detection, VideoResult


def videos(*events, video_id="match"):
    return [(VideoResult(video_id, events=events), Path(f"{video_id}.mp4"))]


def names(found, **options):
    return [film.name for film in plan_films(found, ClipOptions(**options))]


SERVE = Detection("serve", 0.876, 12.0, 14.0, subject="Anna", modifiers=("left", "high"))
RUN = Detection("run", 0.5, 13.0, 20.5)


def test_a_file_per_event_in_time_order():
    films = plan_films(videos(RUN, SERVE), ClipOptions(lead_s=1, lag_s=2))
    assert [film.name for film in films] == ["match_001_serve.mp4", "match_002_run.mp4"]
    assert [film.title for film in films] == ["serve in match", "run in match"]
    pieces = [piece for film in films for piece in film.pieces]
    assert [(piece.start_s, piece.end_s) for piece in pieces] == [(11, 16), (12, 22.5)]


def test_a_lead_before_the_begin_is_cut():
    (film,) = plan_films(videos(Detection("a", 1, 0.4, 1)), ClipOptions(lead_s=2))
    assert film.pieces[0].start_s == 0


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{video}-{number}", "match-001.mp4"),
        ("{class}/{start}_{end}", "serve/12.00_14.00.mp4"),
        ("{number:d}_{score:.1f}_{duration:05.1f}.mp4", "1_0.9_002.0.mp4"),
        ("{subject} {modifiers}", "Anna left high.mp4"),
    ],
)
def test_names_by_template(template, name):
    assert names(videos(SERVE), name=template) == [name]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{clas}", "there is no {clas}; did you mean {class}?"),
        ("{what}", "there is no {what}; fields are {video} {class}"),
        ("{video.path}", "there is no {video.path}"),
        ("{video!r}", "there is no {video}"),
        ("{number:{video.path}}", "there is no {number}"),
        ("{number:q}", "Unknown format code 'q'"),
        ("{score:d}", "Unknown format code 'd'"),
        ("{class:.2f}", "Unknown format code 'f'"),
        ("{class", "expected '}'"),
        ("/tmp/{class}", "inside the folder"),
        ("../{class}", "inside the folder"),
    ],
)
def test_wrong_templates_are_refused(template, message):
    with pytest.raises(UsageError, match="--name") as error:
        ClipOptions(name=template)
    assert message in str(error.value)


def test_a_reel_has_fewer_fields():
    ClipOptions(reel="class", name="all {class}")
    with pytest.raises(UsageError, match=r"there is no \{video\}; fields are \{class\}"):
        ClipOptions(reel="class", name="{video}")
    with pytest.raises(UsageError, match="there is no"):
        ClipOptions(reel="all", name="{class}")


def test_names_that_collide_on_some_file_system_get_numbers():
    events = [Detection(label, 1, t, t + 1) for t, label in enumerate(["Run", "run", "RUN"])]
    assert names(videos(*events), name="{class}") == ["Run.mp4", "run-2.mp4", "RUN-3.mp4"]


def test_names_from_data_stay_inside_the_folder_and_short():
    event = Detection("../" + "x" * 300, 1, 0, 1)
    (name,) = names(videos(event, video_id="/etc/passwd" + "y" * 300))
    assert "/" not in name
    assert len(name.encode()) <= 140
    assert name.endswith(".mp4")
    assert "_001_" in name
    assert names(videos(Detection("con", 1, 0, 1)), name="{class}/{class}") == ["con_/con_.mp4"]


def test_reels():
    found = videos(SERVE, RUN, Detection("serve", 0.9, 13.5, 15)) + videos(SERVE, video_id="b")
    by_class = plan_films(found, ClipOptions(reel="class"))
    assert [film.name for film in by_class] == ["serve.mp4", "run.mp4"]
    serves = [(p.video_id, p.start_s, p.end_s, len(p.events)) for p in by_class[0].pieces]
    assert serves == [("match", 12, 15, 2), ("b", 12, 14, 1)]
    by_video = plan_films(found, ClipOptions(reel="video"))
    assert [film.name for film in by_video] == ["match.mp4", "b.mp4"]
    assert [(p.start_s, p.end_s) for p in by_video[0].pieces] == [(12, 20.5)]
    (everything,) = plan_films(found, ClipOptions(reel="all"))
    assert everything.name == "all.mp4"
    assert len(everything.pieces) == 2


def test_points_need_lead_or_lag():
    point = Detection("jump", 1, 5, 5)
    with pytest.raises(UsageError, match=r"a point without a length; .* --lead 2 --lag 2"):
        plan_films(videos(point), ClipOptions())
    assert plan_films(videos(point), ClipOptions(lag_s=1))[0].pieces[0].end_s == 6


@pytest.mark.parametrize("options", [{"lead_s": -1}, {"lag_s": float("inf")}, {"tolerance_s": -1}])
def test_wrong_seconds_are_refused(options):
    with pytest.raises(UsageError, match="give seconds, 0 or more"):
        ClipOptions(**options)


def test_reels_are_not_copied():
    with pytest.raises(UsageError, match="a reel is always encoded again"):
        ClipOptions(reel="class", copy=True)
