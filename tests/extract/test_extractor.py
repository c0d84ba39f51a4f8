"""Video to features, the recipe, and batches of videos."""

from __future__ import annotations

import os
import threading
import time
from fractions import Fraction

import numpy as np
import psutil
import pytest
import torch
from tolerances import assert_alike
from videos import make_video, noise, truncate

from hrpro.compute import ComputeOptions
from hrpro.devices import choose_device
from hrpro.errors import UsageError, VideoError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.extractor import (
    Extractor,
    choose_convolutions,
    choose_decoding,
    choose_dtype,
)
from hrpro.extract.jobs import Job
from hrpro.extract.pyav import Hardware
from hrpro.extract.sources import find_videos, video_ids
from hrpro.features import read_features, read_sidecar
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.extract import extract_features, supervise
from hrpro.pipeline.recipe import make_recipe
from hrpro.pipeline.workers.engines import InlineEngine
from hrpro.pipeline.workers.work import FeatureFiles, WorkerSettings, Workshop

SMALL = ExtractConfig(short_side=64, crop=64)
QUIET = Reporter(quiet=True)


@pytest.fixture(scope="module")
def extractor(rgb_weights):
    return Extractor(SMALL, ComputeOptions(precision="float32"), progress=False)


def test_features_of_a_video(extractor, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=100, painter=noise())
    video = extractor.extract(path)
    assert video.features.shape == (6, 1024)
    assert video.features.dtype == np.float32
    assert video.logits.shape == (6, 400)
    facts = video.sidecar.video
    assert (facts.num_frames, facts.num_snippets, facts.padded) == (100, 6, False)
    assert facts.duration_s == pytest.approx(4.0)
    assert facts.path == "a.mp4"


@pytest.mark.parametrize("stride", [4, 8, 24])
def test_strides_agree_on_shared_snippets(extractor, tmp_path, stride):
    path = make_video(tmp_path / "a.mp4", frames=64, painter=noise())
    dense = Extractor(
        SMALL.model_copy(update={"stride": stride}), ComputeOptions(precision="float32")
    )
    one, many = extractor.extract(path).features, dense.extract(path).features
    assert len(many) == (64 - 16) // stride + 1
    common = np.lcm(16, stride)
    np.testing.assert_allclose(
        many[:: common // stride][:2], one[:: common // 16][:2], rtol=1e-3, atol=1e-4
    )


def test_batch_size_changes_nothing(rgb_weights, device, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=80, painter=noise())
    rows = [
        Extractor(SMALL, ComputeOptions(device, "float32", batch_size)).extract(path).features
        for batch_size in (None, 1)
    ]
    assert_alike(*rows)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_device_gives_the_same_features(rgb_weights, device, precision, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=48, painter=noise(320, 240))
    exact = Extractor(compute=ComputeOptions("cpu", "float32")).extract(path).features
    here = Extractor(compute=ComputeOptions(device, precision)).extract(path).features
    assert_alike(here, exact, precision)


def test_the_2d_form_of_i3d_gives_the_same_features(rgb_weights, device, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=80, painter=noise())
    rows = [
        Extractor(SMALL, ComputeOptions(device, "float32", 2, convolutions=form)).extract(path)
        for form in ("2d", "3d")
    ]
    assert_alike(*(row.features for row in rows))
    assert rows[0].sidecar.fingerprint == rows[1].sidecar.fingerprint, "they can be mixed"


def test_the_2d_form_is_only_for_i3d_and_not_to_be_compiled():
    assert choose_convolutions(ComputeOptions(device="cuda")) == "3d", "it must be asked for"
    with pytest.raises(UsageError, match="--convolutions 4d: choose one of 3d, 2d"):
        choose_convolutions(ComputeOptions(convolutions="4d"))
    with pytest.raises(UsageError, match="only for --backbone i3d, not x3d_m"):
        choose_convolutions(ComputeOptions(convolutions="2d"), "x3d_m")
    with pytest.raises(UsageError, match="leave out --compile"):
        choose_convolutions(ComputeOptions(convolutions="2d", compile=True))


def test_compiled_streams_do_not_overwrite_each_other(rgb_weights, cuda, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=200, painter=noise(320, 240))
    recipe = ExtractConfig(streams=("rgb", "flow"), flow_weights="cross-modal")
    rows = [
        Extractor(recipe, ComputeOptions(cuda, "float32", 4, compile)).extract(path).features
        for compile in (False, True)
    ]
    assert_alike(*rows)


def test_two_streams_side_by_side_with_explicit_cross_modal_weights(extractor, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=32, painter=noise())
    both = Extractor(
        SMALL.model_copy(update={"streams": ("rgb", "flow"), "flow_weights": "cross-modal"}),
        ComputeOptions(precision="float32"),
    )
    video = both.extract(path)
    assert video.features.shape == (2, 2048)
    np.testing.assert_allclose(
        video.features[:, :1024], extractor.extract(path).features, rtol=1e-3, atol=1e-4
    )
    fingerprint = video.sidecar.fingerprint
    assert fingerprint.flow == {"algorithm": "dis", "preset": "medium"}
    assert "cross-modal" in fingerprint.weights["flow"].source
    assert ExtractConfig.from_fingerprint(fingerprint) == both.config


def test_short_video_is_padded_and_says_so(extractor, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=5)
    video = extractor.extract(path)
    assert video.features.shape == (1, 1024)
    assert video.sidecar.video.padded


def test_truncated_video_gives_what_it_has_and_says_so(extractor, tmp_path):
    path = make_video(tmp_path / "a.mkv", frames=200, painter=noise())
    truncate(path, 0.5)
    video = extractor.extract(path)
    assert video.sidecar.video.truncated
    assert 2 <= len(video.features) < 12
    with pytest.raises(VideoError):
        extractor.extract(path, strict=True)


def test_native_rate_is_written_down(rgb_weights, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=40, fps=Fraction(30000, 1001))
    native = Extractor(SMALL.model_copy(update={"fps": None, "stride": 4}))
    sidecar = native.extract(path).sidecar
    assert sidecar.fingerprint.fps == "native"
    assert sidecar.video.fps == "30000/1001"
    assert sidecar.snippet_stride_s == pytest.approx(4 * 1001 / 30000)


def test_unknown_device_and_precision_are_usage_errors():
    for wrong in ("quantum", "cuda:99", "meta"):
        with pytest.raises(UsageError, match=wrong):
            choose_device(wrong)
    with pytest.raises(UsageError, match="float8"):
        choose_dtype("float8", choose_device("cpu"))


@pytest.mark.parametrize(
    ("compute", "device", "hardware"),
    [
        (ComputeOptions(), "cuda", None),
        (ComputeOptions(decode="auto"), "cuda", None),
        (ComputeOptions(decode="gpu"), "cuda", Hardware(0, keeps_frames=True)),
        (ComputeOptions(decode="gpu"), "cuda:1", Hardware(1, keeps_frames=True)),
        (ComputeOptions(decode="gpu", convert="cpu"), "cuda:1", Hardware(1)),
        (ComputeOptions(decode="gpu", convert="device"), "cpu", Hardware(0)),
    ],
)
def test_frames_stay_on_the_gpu_where_pictures_are_made_there(compute, device, hardware):
    assert choose_decoding(compute, torch.device(device), 1).get("hardware") == hardware


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": "fast"}, "--fps fast"),
        ({"fps": "0"}, "--fps 0"),
        ({"streams": "rgb,sound"}, "--streams rgb,sound"),
        ({"streams": "rgb,rgb"}, "twice"),
        ({"crop": 300}, "^--crop 300: must not be larger"),
        ({"stride": 0}, "--stride 0"),
    ],
)
def test_wrong_recipes_name_the_option(options, message):
    with pytest.raises(UsageError, match=message):
        make_recipe(options)


def test_recipe_puts_rgb_first():
    assert make_recipe({"streams": "flow, rgb", "fps": "native"}).streams == ("rgb", "flow")


def extract_with(extractor, videos, out, **options):
    """`hrpro extract` in this process, with an extractor that is there already."""
    engine = InlineEngine(WorkerSettings(), lambda *_: Workshop(extractor, FeatureFiles()))
    return supervise(engine, find_videos([videos]), out, reporter=QUIET, **options)


def test_batch_resumes_reports_and_goes_on_after_bad_files(extractor, tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "features"
    make_video(videos / "a.mp4", frames=20)
    make_video(videos / "sub" / "a.mp4", frames=20)
    (videos / "text.mp4").write_text("not a video")
    (videos / "empty.mp4").write_bytes(b"")

    def run(**options):
        return extract_with(extractor, videos, out, **options)

    first = run()
    assert first.done == ["a.mp4", "sub/a.mp4"]
    assert [failure.path for failure in first.failed] == ["empty.mp4", "text.mp4"]
    assert read_features(out / "sub" / "a.npy").shape == (1, 1024)
    assert read_sidecar(out / "sub" / "a.npy").video.path == "sub/a.mp4"

    second = run()
    assert (second.done, second.skipped) == ([], ["a.mp4", "sub/a.mp4"])

    time.sleep(0.01)
    make_video(videos / "a.mp4", frames=40)  # another video under the same name
    assert run().done == ["a.mp4"]

    (out / "a.json").write_text("{}")  # damaged: made anew
    assert run().done == ["a.mp4"]
    assert run(overwrite=True).done == ["a.mp4", "sub/a.mp4"]


def test_features_of_another_recipe_are_not_mixed(extractor, tmp_path):
    make_video(tmp_path / "v" / "a.mp4", frames=20)
    extract_with(extractor, tmp_path / "v", tmp_path / "f")
    other = Extractor(SMALL.model_copy(update={"stride": 8}))
    with pytest.raises(UsageError, match=r"stride: 16 != 8.*--overwrite"):
        extract_with(other, tmp_path / "v", tmp_path / "f")


def test_equal_stems_keep_their_suffix(tmp_path):
    make_video(tmp_path / "a.mp4", frames=3)
    make_video(tmp_path / "a.mkv", frames=3)
    make_video(tmp_path / "b.mp4", frames=3)
    names = video_ids(find_videos([tmp_path]))
    assert names == {"a.mkv": "a.mkv", "a.mp4": "a.mp4", "b.mp4": "b"}


def test_rgb_alone_is_said_in_one_line(rgb_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hrpro.extract.weights.library.available", lambda stream: False)
    make_video(tmp_path / "a.mp4", frames=20)
    settings = WorkerSettings({"short_side": 64, "crop": 64})
    extract_features(
        [str(tmp_path / "a.mp4")], out=tmp_path / "f", settings=settings, reporter=Reporter()
    )
    assert "hrpro weights fetch flow" in capsys.readouterr().err


@pytest.mark.slow
def test_memory_does_not_grow_with_length(extractor, tmp_path):
    """A video ten times as long needs the same memory, within noise."""
    process = psutil.Process(os.getpid())
    short = make_video(tmp_path / "short.mp4", frames=200)
    long = make_video(tmp_path / "long.mp4", frames=4000)

    def grown(path) -> int:
        before = process.memory_info().rss
        peak = before
        from hrpro.extract.decode import FrameReader

        with FrameReader(path, short_side=64, crop=64) as reader:
            for _ in extractor.stream(reader):
                peak = max(peak, process.memory_info().rss)
        return peak - before

    grown(short)  # warm up the allocator
    frame_bytes = 64 * 64 * 3
    assert grown(long) < 2000 * frame_bytes  # all frames would be twice that


def test_many_videos_in_common_batches_equal_one_by_one(extractor, tmp_path):
    lengths = {"a": 20, "b": 100, "c": 5, "d": 33}
    paths = {
        name: make_video(tmp_path / f"{name}.mp4", frames=frames, painter=noise())
        for name, frames in lengths.items()
    }
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    jobs = [Job(path, key=name) for name, path in paths.items()]
    jobs.insert(1, Job(bad, key="bad"))
    big = Extractor(SMALL, ComputeOptions(precision="float32", batch_size=4))
    found = {job.key: result for job, result in big.extract_many(jobs, keep_logits=True)}
    assert set(found) == {*lengths, "bad"}
    assert isinstance(found["bad"], VideoError)
    for name, path in paths.items():
        alone = extractor.extract(path)
        np.testing.assert_allclose(found[name].features, alone.features, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[name].logits, alone.logits, rtol=1e-3, atol=1e-3)
        assert found[name].sidecar == alone.sidecar
        assert found[name].report == alone.report


def test_overlapping_snippets_of_several_videos_share_batches(rgb_weights, tmp_path):
    paths = [make_video(tmp_path / f"{k}.mp4", frames=24, painter=noise()) for k in range(3)]
    recipe = SMALL.model_copy(update={"stride": 4})
    dense = Extractor(recipe, ComputeOptions(precision="float32", batch_size=8))
    alone = Extractor(recipe, ComputeOptions(precision="float32", batch_size=1))
    for job, video in dense.extract_many(map(Job, paths)):
        assert video.features.shape == (3, 1024)
        np.testing.assert_allclose(
            video.features, alone.extract(job.path).features, rtol=1e-3, atol=1e-4
        )


def test_jobs_can_be_handed_out_as_results_come_back(extractor, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=16)
    big = Extractor(SMALL, ComputeOptions(precision="float32", batch_size=8))
    returned = []

    def jobs():
        for number in range(3):
            while len(returned) < number:
                yield None
            yield Job(path, key=str(number))

    for job, video in big.extract_many(jobs()):
        assert len(video.features) == 1
        returned.append(job.key)
    assert returned == ["0", "1", "2"]


def test_progress_and_starts_are_told_per_video(extractor, tmp_path):
    jobs = [Job(make_video(tmp_path / f"{k}.mp4", frames=50), key=str(k)) for k in range(2)]
    begun, steps = [], {"0": [], "1": []}
    results = extractor.extract_many(
        jobs,
        started=lambda job: begun.append(job.key),
        progress=lambda job, done_s, duration_s: steps[job.key].append((done_s, duration_s)),
    )
    assert len(list(results)) == 2
    assert begun == ["0", "1"]
    for told in steps.values():
        assert told == sorted(told)
        assert told[-1] == (pytest.approx(2.0), pytest.approx(2.0))


def test_leaving_many_videos_early_closes_their_files(extractor, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=400)
    process = psutil.Process(os.getpid())
    results = extractor.extract_many([Job(path)] * 5)
    next(results)
    results.close()
    assert str(path) not in [file.path for file in process.open_files()]
    assert all(thread.name != "prefetch" for thread in threading.enumerate())


def test_a_video_whose_decoder_breaks_costs_that_video(extractor, tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4", frames=40)
    blocks = extractor.blocks

    def broken(reader):
        yield from list(blocks(reader))[:1]
        if reader.info.path.name == "b.mp4":
            raise MemoryError("no room")

    other = make_video(tmp_path / "b.mp4", frames=40)
    monkeypatch.setattr(extractor, "blocks", broken)
    found = {
        job.path.name: result for job, result in extractor.extract_many(map(Job, (other, path)))
    }
    assert isinstance(found["b.mp4"], MemoryError)
    assert len(found["a.mp4"].features) == 2
