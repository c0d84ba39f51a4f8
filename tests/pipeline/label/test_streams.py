"""Files with several video streams: the label page shows the one that the other commands take."""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np
import pytest
from click.testing import CliRunner
from videos import make_video

from hrpro.cli import main
from hrpro.errors import UsageError
from hrpro.extract.decode import FrameReader, probe
from hrpro.pipeline.label.media import MediaLibrary
from hrpro.pipeline.label.playable import look_at
from hrpro.pipeline.label.project import Project
from hrpro.pipeline.label.proxies import make_proxy

pytestmark = pytest.mark.core

GREYS = (60, 180)
"""Of the pictures of the two streams; the second is the default one."""


def grey(level):
    return lambda number: np.full((48, 64, 3), level, np.uint8)


@pytest.fixture(params=["v.mp4", "v.mkv"])
def folder(tmp_path, request):
    first, second = map(grey, GREYS)
    make_video(tmp_path / "videos" / request.param, 10, painter=first, second_video=second)
    return tmp_path


def level(path):
    with FrameReader(path, fps=None, short_side=None, crop=None) as reader:
        return next(reader).mean()


def played(folder, stream=None):
    """The file that a browser gets, and what is kept beside it."""
    with closing(Project(folder, stream=stream)) as project:
        project.media.start()
        end = time.monotonic() + 20
        while (path := project.media.file("v")) is None:
            assert time.monotonic() < end, project.media.state("v")
            time.sleep(0.02)
    return path, sorted(each.name for each in path.parent.iterdir())


@pytest.mark.parametrize("stream", [None, 0, 1])
def test_the_copy_shows_the_stream_that_the_other_commands_take(folder, stream):
    [video] = (folder / "videos").iterdir()
    path, _ = played(folder, stream)
    index = probe(video, stream).stream
    assert index == (1 if stream is None else stream), "the default one"
    assert level(path) == pytest.approx(GREYS[index], abs=2)
    assert path != video, "browsers might show the other one"


def test_another_choice_makes_another_copy_and_the_same_one_none(folder):
    first, _ = played(folder, 0)
    stamp = first.stat().st_mtime_ns
    assert played(folder, 0) == (first, [first.name])
    assert first.stat().st_mtime_ns == stamp
    second, kept = played(folder, 1)
    assert kept == [second.name] and second != first
    assert level(second) == pytest.approx(GREYS[1], abs=2)


def test_a_stream_that_is_not_there_is_said_of_the_video(folder):
    [video] = (folder / "videos").iterdir()
    facts = look_at(video, 7)
    assert facts.error == "stream 7 is not a video stream (there are 0, 1)"
    media = MediaLibrary({"v": video}, folder / "label", lambda video_id: None, 7)
    assert media.want("v") == facts
    assert media.state("v")["playback"] == "failed"


def test_a_single_stream_is_played_as_it_is(tmp_path):
    video = make_video(tmp_path / "v.mp4", 10, audio_s=0.4)
    for stream in (None, 0):
        assert look_at(video, stream).obstacle is None
    assert look_at(video, 1).error == "stream 1 is not a video stream (there are 0)"


def test_a_copy_ends_when_its_stream_does(tmp_path):
    first, second = map(grey, GREYS)
    video = make_video(tmp_path / "v.mkv", 10, fps=5, painter=first, second_video=second)
    assert make_proxy(video, tmp_path / "0.mp4", lambda share: None, 0) == pytest.approx(2.0)


def test_the_option_reaches_the_page_and_the_suggestions(folder, monkeypatch):
    shown, suggested = [], []

    def project(*arguments, stream, **options):
        shown.append(stream)
        return Project(*arguments, stream=stream, **options)

    def suggest(*_, stream, **__):
        suggested.append(stream)
        raise UsageError("enough")

    monkeypatch.setattr("hrpro.pipeline.label.serve.Project", project)
    monkeypatch.setattr("hrpro.pipeline.label.suggest.suggest", suggest)
    words = ["label", str(folder), "--model", "run", "--stream", "0", "--no-browser"]
    assert CliRunner().invoke(main, words).output == "error: enough\n"
    assert (shown, suggested) == ([0], [0])
