"""Verified events: what people have said of a dataset, as one file."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from click.testing import CliRunner
from labeller import JUMP, RUN, Labeller

from hrpro.cli import main
from hrpro.errors import DataError, UsageError
from hrpro.pipeline.label.export import export
from hrpro.pipeline.label.folder_events import read_verified
from hrpro.pipeline.label.verified import verified_events
from hrpro.pipeline.results.formats import read_results
from hrpro.pipeline.results.model import Detection, Results, VideoResult

pytestmark = pytest.mark.core


@pytest.fixture
def labeller(tmp_path):
    return Labeller(tmp_path)


def events(labeller, video="v"):
    found = verified_events(labeller.store.labels.video(video))
    return [(each.label, each.start_s, each.end_s) for each in found]


def review(labeller):
    """One detection accepted and corrected, one rejected, an interval, a point of each class."""
    labeller.act(type="retime", detection=RUN, start_s=12.0, end_s=14.0)
    labeller.act(type="reject", detection=JUMP)
    labeller.act(type="mark", label="jump", start_s=30.0, end_s=33.0)
    labeller.add(50.0)
    labeller.add(13.5, "run")
    return [("run", 12.0, 14.0), ("jump", 30.0, 33.0), ("jump", 50.0, 50.0)]


def test_every_action_is_there_once(labeller):
    assert events(labeller) == []
    wanted = review(labeller)
    assert events(labeller) == wanted
    labeller.act(type="mark", label="run", start_s=11.5, end_s=13.8)  # better than the model's
    assert events(labeller)[0] == ("run", 11.5, 13.8)
    assert len(events(labeller)) == 3


def test_two_subjects_do_two_things(labeller):
    labeller.act(type="mark", label="jump", start_s=1.0, end_s=3.0)
    [(interval, *_)] = labeller.intervals()
    labeller.act(type="who", interval=interval, subject="Ann")
    point = labeller.add(2.5)
    labeller.act(type="who", point=point, subject="Ben")
    found = verified_events(labeller.store.labels.video("v"))
    assert [(each.subject, each.start_s) for each in found] == [("Ann", 1.0), ("Ben", 2.5)]


def test_the_file_of_the_dataset_has_them(labeller):
    wanted = review(labeller)
    (video,) = read_results(labeller.folder / "label" / "reviewed.json").videos
    assert [(each.label, each.start_s, each.end_s) for each in video.spans] == wanted
    assert [(each.label, each.score) for each in video.detections] == [("run", 0.5)]
    assert {each.score for each in video.spans} == {1.0}


def test_a_folder_is_converted_while_its_page_is_open(labeller, tmp_path):
    wanted = review(labeller)
    with (tmp_path / "points.csv").open("a") as file:
        file.write("w,run,7.5\n")  # by hand, the page has not seen it
    run = CliRunner().invoke(main, ["convert", str(tmp_path), str(tmp_path / "out.csv")])
    assert run.exit_code == 0, run.output
    assert "4 marks of 2 videos" in run.output
    first, second = read_results(tmp_path / "out.csv").videos
    found = sorted(first.detections, key=lambda each: each.start_s)
    assert [(each.label, each.start_s, each.end_s) for each in found] == wanted
    assert (second.video_id, second.detections[0].start_s) == ("w", 7.5)
    assert labeller.store.labels.number == 5, "nothing was written"


def test_a_dataset_without_a_journal_has_its_marks_and_points(tmp_path):
    (tmp_path / "points.csv").write_text("video_id,class,time\nv,run,2\nv,run,9\n")
    truth = {"database": {"v": {"annotations": [{"label": "run", "segment": [1, 3]}]}}}
    (tmp_path / "annotations.json").write_text(json.dumps(truth))
    (video,) = read_verified(tmp_path).videos
    spans = sorted((each.start_s, each.end_s) for each in video.detections)
    assert spans == [(1.0, 3.0), (9.0, 9.0)]
    assert not (tmp_path / "label").exists()


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(DataError, match="nothing is labelled yet"):
        read_verified(tmp_path)
    (tmp_path / "points.csv").write_text("video_id,class,time\nv,run,2\n")
    run = CliRunner().invoke(main, ["convert", str(tmp_path), str(tmp_path / "points.csv")])
    assert run.exit_code == 2 and "the dataset itself is labelled by this file" in run.output


@pytest.mark.parametrize("suffix", ["csv", "eaf", "boris", "json"])
def test_downloads_read_back(suffix, tmp_path):
    found = (Detection("run", 1.0, 1.0, 2.0, subject="Ann"),)
    one = VideoResult("a", "/films/a.mp4", 10.0, 25.0, found)
    name, content = export(Results([one]), "my set", suffix)
    assert name == f"my set.{suffix}"
    (tmp_path / name).write_bytes(content)
    (video,) = read_results(tmp_path / name).videos
    assert (video.video_id, video.detections) == ("a", found)
    if suffix in ("eaf", "boris"):
        assert video.path == str(tmp_path / "a.mp4"), "as if it lay beside the video"


def test_one_file_a_video_becomes_an_archive():
    videos = [VideoResult(name, detections=(Detection("run", 1.0, 1, 2),)) for name in "ab"]
    name, content = export(Results(videos), "../x", "eaf")
    assert name == "_x.zip"
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["_x.a.eaf", "_x.b.eaf"]
    with pytest.raises(UsageError, match="use one of csv, eaf"):
        export(Results(videos), "x", "py")
