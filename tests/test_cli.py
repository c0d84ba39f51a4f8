"""The commands as a person types them: output, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from click.testing import CliRunner
from videos import make_video, noise

from hrpro.cli import main
from hrpro.features import read_features, read_sidecar
from hrpro.pipeline.console.progress import Reporter

SMALL = ["--short-side", "64", "--crop", "64", "--precision", "float32"]


def hrpro(*arguments) -> object:
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def commands(group=main, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_help_imports_nothing_heavy_and_answers_at_once():
    script = (
        "import sys; from hrpro.cli import main\n"
        "try: main(['-h'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'cv2', 'av', 'numpy', 'pandas', 'matplotlib', 'pydantic', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "hrpro detect" in run.stdout


def test_wrong_requests_are_answered_before_networks_load(tmp_path):
    """PyTorch takes seconds to import."""
    (tmp_path / "found.json").write_text('{"results": {}}')
    (tmp_path / "data").mkdir()
    wrong = [
        "eval", "eval no.json", "eval no.json --ground-truth no.json", "eval found.json --tiou x",
        "eval found.json --ground-truth no.json", "eval found.json --dataset nowhere",
        "eval --model nowhere --dataset data", "eval --model data --dataset data",
        "eval found.json --dataset data --threshold x",
        "eval found.json --dataset data --tiou 7", "train --dataset nowhere",
        "train --dataset data --stage1-model nowhere", "train --dataset data --method hrpo",
        "train --dataset data --compare hrpro,sol", "report no.json -o r.html",
        "report found.json -o r.txt", "report found.json --ground-truth no.json -o r.html",
        "init new --videos nowhere", "dataset check nowhere", "features info no.npy",
        "detect no.mp4 --model nowhere", "detect no.mp4 -o x.unknown", "detect no.mp4 --all "
        "--merge-gap 1", "detect no.mp4 --threshold 0.01", "detect no.mp4 --report r.txt",
        "render no.mp4 found.json -o p.mp4", "convert no.json x.csv", "label nowhere",
    ]  # fmt: skip
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from hrpro.cli import main\n"
        f"for line in {wrong!r}:\n"
        "    run = CliRunner().invoke(main, line.split())\n"
        "    assert run.exit_code == 2, (line, run.output)\n"
        "    assert run.stderr.splitlines()[-1].startswith('error: '), (line, run.stderr)\n"
        "    assert 'torch' not in sys.modules, line\n"
    )
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: str(value))
def test_every_command_has_help_with_an_example(path, command):
    shown = hrpro(*path, "-h")
    assert shown.exit_code == 0
    assert f"Example: hrpro {' '.join(path)}" in " ".join(shown.stdout.split())
    assert "--debug" in shown.stdout


def test_version():
    assert "hrpro" in hrpro("--version").stdout


def test_extract_and_features(rgb_weights, tmp_path):
    videos, out = tmp_path / "my videos", tmp_path / "features"
    make_video(videos / "-ä 'quoted'.mp4", frames=40, painter=noise())
    make_video(videos / "b.mp4", frames=40, painter=noise())
    (videos / "broken.mp4").write_bytes(b"nothing")
    arguments = ["extract", videos, "-o", out, "--streams", "rgb", *SMALL]

    first = hrpro(*arguments, "--json")
    assert first.exit_code == 1
    summary = json.loads(first.stdout)
    assert summary["done"] == ["-ä 'quoted'.mp4", "b.mp4"]
    assert [failure["path"] for failure in summary["failed"]] == ["broken.mp4"]
    assert "broken.mp4" in first.stderr
    assert read_features(out / "b.npy").shape == (2, 1024)

    (videos / "broken.mp4").unlink()
    second = hrpro(*arguments)
    assert second.exit_code == 0
    assert "0 done, 2 skipped, 0 failed" in second.stdout

    other = hrpro("extract", videos, "-o", out, "--streams", "rgb", *SMALL, "--stride", "8")
    assert other.exit_code == 2
    assert "stride: 16 != 8" in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1

    info = hrpro("features", "info", out / "b.npy")
    assert info.exit_code == 0
    assert "2 snippets x 1024" in info.stdout
    assert "crop 64" in info.stdout
    same = hrpro("features", "compare", out / "b.npy", out / "b.npy", "--json")
    assert json.loads(same.stdout)["streams"]["all"]["min_cosine"] == pytest.approx(1)
    assert hrpro("features", "info", tmp_path / "no.npy").exit_code == 2


def test_float16_on_request(rgb_weights, tmp_path):
    make_video(tmp_path / "a.mp4", frames=20)
    run = hrpro(
        "extract", tmp_path / "a.mp4", "-o", tmp_path, "--streams", "rgb", *SMALL,
        "--dtype", "float16", "-q",
    )  # fmt: skip
    assert run.exit_code == 0
    assert read_features(tmp_path / "a.npy").dtype == np.float16
    assert read_sidecar(tmp_path / "a.npy").dtype == "float16"


def test_detect_writes_everything(rgb_weights, shared, tmp_path):
    video = shared / "data" / "video" / "v_CricketShot_g04_c01_rgb.gif"
    outputs = {name: tmp_path / f"r.{name}" for name in ("json", "csv", "vtt", "srt")}
    run = hrpro(
        "detect", video, "--stride", "16", "--plot", tmp_path / "t.png",
        "--render", tmp_path / "p.mp4",
        *[part for path in outputs.values() for part in ("--out", path)],
    )  # fmt: skip
    assert run.exit_code == 0, run.stderr
    result = json.loads(outputs["json"].read_text())
    (detections,) = result["results"].values()
    assert detections[0]["label"] == "playing cricket"
    assert detections[0]["segment"] == pytest.approx([0, 3.16], abs=0.05)
    assert result["model"]["name"] == "kinetics400"
    assert "playing cricket" in outputs["csv"].read_text()
    assert outputs["vtt"].read_text().startswith("WEBVTT")
    assert "-->" in outputs["srt"].read_text()
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    with av.open(str(tmp_path / "p.mp4")) as preview:
        stream = preview.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert sum(1 for _ in preview.decode(video=0)) == 79

    again = hrpro("render", video, outputs["json"], "-o", tmp_path / "q.mp4", "--max-height", 160)
    assert again.exit_code == 0, again.stderr
    assert (tmp_path / "q.mp4").stat().st_size > 1000


def test_detect_limits_and_several_videos(rgb_weights, shared, tmp_path):
    video = shared / "data" / "video" / "v_CricketShot_g04_c01_rgb.gif"
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    run = hrpro(
        "detect", video, text, "--json", "--top-k", 1, "--stride", 16, "--min-score", "0.5",
        "--classes", "Playing Cricket, archery",
    )  # fmt: skip
    assert run.exit_code == 1
    assert "text.mp4" in run.stderr
    (detections,) = json.loads(run.stdout)["results"].values()
    assert [each["label"] for each in detections] == ["playing cricket"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "VIDEO", "--out", "r.xyz"], "r.xyz"),
        (["detect", "VIDEO", "--render", "p.jpg"], "p.jpg"),
        (["detect", "VIDEO", "--classes", "playing criket"], "playing cricket"),
        (["detect", "VIDEO", "--model", "no-such-model"], "no-such-model"),
        (["detect", "VIDEO", "--device", "cuda:77"], "cuda:77"),
        (["detect", "VIDEO", "--out", "VIDEO.json", "--out", "VIDEO.json"], "two outputs"),
        (["detect", "https://example.org/a.mp4"], "download"),
        (["extract", "EMPTY"], "no video"),
        (["extract", "VIDEO", "--fps", "quick"], "--fps quick"),
        (["extract", "VIDEO", "--flow", "magic", "--flow-weights", "cross-modal"], "magic"),
        (["render", "VIDEO", "nothing.json", "-o", "p.mp4"], "nothing.json"),
        (["weights", "fetch", "nonsense"], "nonsense"),
        (["weights", "add", "nothing.pt"], "nothing.pt"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "a.mp4", frames=3)
    (tmp_path / "empty").mkdir()
    names = {"VIDEO": "a.mp4", "EMPTY": "empty", "VIDEO.json": "a.json"}
    run = hrpro(*[names.get(argument, argument) for argument in arguments])
    assert run.exit_code == 2, run.output
    assert message in run.stderr
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in run.output
    assert not list(tmp_path.glob("*.part*"))


def test_doctor_and_weights(rgb_weights):
    doctor = hrpro("doctor", "--json")
    assert doctor.exit_code == 0
    assert {"torch", "python"} <= {check["name"] for check in json.loads(doctor.stdout)}
    assert hrpro("doctor").exit_code == 0
    rows = json.loads(hrpro("weights", "list", "--json").stdout)
    assert any(row["stream"] == "rgb" and row["in_use"] for row in rows)
    assert hrpro("weights", "verify").exit_code == 0


def test_debug_shows_the_trace():
    run = CliRunner().invoke(main, ["weights", "fetch", "nonsense", "--debug"])
    assert run.exit_code == 1
    assert run.exception is not None


@pytest.mark.slow
def test_ctrl_c_stops_soon_leaves_no_half_file_and_resumes(rgb_weights, tmp_path):
    videos, out = tmp_path / "v", tmp_path / "f"
    for k in range(3):
        make_video(videos / f"{k}.mp4", frames=1000, painter=noise())
    command = [
        sys.executable, "-m", "hrpro", "extract", str(videos), "-o", str(out), "--streams", "rgb",
        "--short-side", "64", "--crop", "64",
    ]  # fmt: skip
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    deadline = time.monotonic() + 120
    while not (out / "0.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in errors
    files = sorted(path.name for path in out.iterdir() if path.name != ".ledger")
    assert files[:2] == ["0.json", "0.npy"]
    assert len(files) % 2 == 0
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0
    assert "skipped" in again.stdout
    assert "0 skipped" not in again.stdout
    assert len(list(out.glob("?.*"))) == 6


def test_ctrl_c_promises_to_go_on_only_where_that_is_so():
    from hrpro.cli_shared import Command

    def interrupt():
        raise KeyboardInterrupt

    for name, ending in (
        ("extract", "to go on\n"),
        ("detect", "to go on\n"),
        ("train", "with --resume to go on\n"),
    ):
        result = CliRunner().invoke(Command(name, callback=interrupt), [])
        assert result.exit_code == 130
        assert result.stderr.endswith(ending)
    assert CliRunner().invoke(Command("report", callback=interrupt), []).stderr == "interrupted\n"


def test_render_names_a_missing_video_and_classes_that_the_result_lacks(tmp_path):
    from hrpro.pipeline.results.model import Detection, Results, VideoResult, write_results_json

    video, result = make_video(tmp_path / "a.mp4", frames=10), tmp_path / "r.json"
    write_results_json(
        Results((VideoResult("a", detections=(Detection("jump", 1, 0, 0.2),)),)), result
    )

    def render(path, *options):
        return CliRunner().invoke(main, ["render", str(path), str(result), *options])

    preview = tmp_path / "p.mp4"
    missing = render(tmp_path / "b.mp4", "-o", str(preview))
    assert (missing.exit_code, missing.stderr) == (
        2,
        f"error: {tmp_path / 'b.mp4'}: no such file\n",
    )
    typo = render(video, "-o", str(preview), "--classes", "jump,jmp")
    assert typo.exit_code == 0
    assert f"warning: --classes: {result} has no jmp in this video" in " ".join(typo.stderr.split())
    renamed = render(make_video(tmp_path / "c.mp4", frames=10), "-o", str(preview))
    assert f"warning: {result} is about a; taken to be c.mp4" in " ".join(renamed.stderr.split())


def test_extract_refuses_a_folder_it_cannot_write_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    video = make_video(tmp_path / "a.mp4", frames=20)
    result = CliRunner().invoke(
        main, ["extract", str(video), "-o", str(tmp_path / "file"), "--streams", "rgb"]
    )
    assert result.exit_code == 2
    assert "cannot write into" in result.stderr


def test_bar_shows_the_rate_within_a_video(monkeypatch):
    from io import StringIO

    from rich.console import Console

    from hrpro.pipeline.console.progress import Reporter

    reporter = Reporter()
    reporter.console = Console(file=StringIO(), force_terminal=True, width=100)
    with reporter.batch("extract", 10, 1):
        reporter.advance(0, 5, 60.0)
        (task,) = reporter._progress.tasks
        assert task.percentage == 50
        assert task.fields["counts"].endswith("x real time")
        reporter.advance(0, 6)
        assert task.fields["counts"] == "0/1"


@pytest.mark.parametrize("command", ["train", "detect"])
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_signals_end_long_commands_in_order(tmp_path, monkeypatch, command, number, code, word):
    def work(*arguments, **options):
        signal.raise_signal(number)
        pytest.fail("went on")

    monkeypatch.setattr("hrpro.pipeline.train.train", work)
    monkeypatch.setattr("hrpro.pipeline.detect.detect_videos", work)
    monkeypatch.setattr("hrpro.pipeline.datasets.methods.choose_method", lambda *_, **__: ())
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    arguments = {"train": ["train", "--dataset", tmp_path], "detect": ["detect", "x.mp4"]}
    try:
        run = hrpro(*arguments[command])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert run.exit_code == code
    assert run.stderr.startswith(word)


def test_colons_in_paths_stay_what_they_are(capfd):
    Reporter().line("wrote take:one:.json [bold]")
    assert "wrote take:one:.json [bold]" in capfd.readouterr().err
    Reporter().problem("failed: :warning:.mp4")
    assert "failed: :warning:.mp4" in capfd.readouterr().err
