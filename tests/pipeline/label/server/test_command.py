"""`hrpro label` itself: folders, restarts, and the command from start to end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from label_client import HEADERS, PORT, SUGGESTIONS, TOKEN, act, wait_for
from starlette.testclient import TestClient

from hrpro.cli import main
from hrpro.errors import UsageError
from hrpro.pipeline.label import app as app_module
from hrpro.pipeline.label.app import create_app
from hrpro.pipeline.label.project import Project

pytestmark = pytest.mark.core


def test_a_second_server_is_refused_and_told_where_the_first_is(folder, serve):
    serve(folder)
    with pytest.raises(UsageError, match="ds: is being labelled already; open"):
        Project(folder)
    first = json.dumps({"url": "http://127.0.0.1:1/?token=x"})
    (folder / "label" / "server.json").write_text(first)
    with pytest.raises(UsageError, match=r"already at http://127\.0\.0\.1:1/\?token=x; open"):
        Project(folder)


def test_labels_are_there_again(folder):
    for expected in (0, 1, 2):
        project = Project(folder)
        client = TestClient(
            create_app(project, TOKEN, PORT), f"http://127.0.0.1:{PORT}", headers=HEADERS
        )
        assert len(client.get("/api/videos/a").json()["points"]) == expected
        act(client, type="add", label="run", time_s=expected / 10)
        project.close()
    with (folder / "points.csv").open("a") as file:
        file.write("b,jump,0.25\nelsewhere,run,7\n")
    project = Project(folder)
    [point] = project.video("b")["points"]
    assert (point["time_s"], point["source"]) == (0.25, "file")
    project.close()
    assert "elsewhere,run,7" in (folder / "points.csv").read_text()


def test_published_points_are_left_alone(folder):
    (folder / "point_labels").mkdir()
    published = folder / "point_labels" / "point_gaussian.csv"
    published.write_text("video_id,class,point\na,run,5\n")
    with pytest.raises(UsageError, match=r"point_gaussian\.csv: training reads these .*hrpro init"):
        Project(folder)


def test_a_folder_without_videos_is_refused(tmp_path):
    with pytest.raises(UsageError, match="videos: no such folder"):
        Project(tmp_path)
    (tmp_path / "videos").mkdir()
    with pytest.raises(UsageError, match="no videos in this folder"):
        Project(tmp_path)


def test_the_command_from_start_to_ctrl_c(folder):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "hrpro", "label", str(folder), "--no-browser"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        url = httpx2.URL(process.stdout.readline().strip())
        assert url.host == "127.0.0.1"
        token = {"X-Hrpro-Token": url.params["token"]}
        with httpx2.Client(base_url=url.copy_with(query=None), headers=token) as client:
            for number in range(3):
                assert act(client, type="add", label="run", time_s=number / 10).status_code == 200
            wrong = client.get("/api/state", headers={"Host": f"rebound.example:{url.port}"})
            assert wrong.status_code == 403
            with client.stream("GET", "/media/a", params=dict(url.params)) as media:
                assert media.status_code == 200
                second = subprocess.run(command, capture_output=True, text=True, timeout=60)
                assert second.returncode == 2
                assert f"already at {url}" in second.stderr and second.stderr.count("\n") == 1
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")
    assert (folder / "points.csv").read_text().splitlines()[1:] == [
        "a,run,0.0", "a,run,0.1", "a,run,0.2",
    ]  # fmt: skip
    assert not (folder / "label" / "server.json").exists()


def test_a_killed_server_loses_nothing(folder):
    command = [sys.executable, "-m", "hrpro", "label", str(folder), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = httpx2.URL(process.stdout.readline().strip())
        token = {"X-Hrpro-Token": url.params["token"]}
        with httpx2.Client(base_url=url.copy_with(query=None), headers=token) as client:
            act(client, type="add", label="run", time_s=0.5)
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()
    for name in ("server.json", "page.json"):
        assert (folder / "label" / name).stat().st_mode & 0o077 == 0
    project = Project(folder)
    assert [point["time_s"] for point in project.video("a")["points"]] == [0.5]
    # A page that is still open finds it there.
    assert (project.page.port, project.page.token) == (url.port, url.params["token"])
    project.close()


def test_the_next_start_is_where_the_last_one_was_but_not_for_a_copy(folder, tmp_path):
    project = Project(folder)
    project.announce("http://127.0.0.1:8123/?token=x", 8123)
    page = project.page
    project.close()
    copy = shutil.copytree(folder, tmp_path / "copy")
    again, other = Project(folder), Project(copy)
    assert again.page == page
    assert other.page.port is None
    assert {other.page.id, other.page.token}.isdisjoint({page.id, page.token})
    again.close()
    other.close()
    (folder / "label" / "page.json").write_text("{")
    fresh = Project(folder)
    assert fresh.page.token != page.token
    fresh.close()


def test_wrong_options_are_one_line(folder, tmp_path):
    for arguments, message in [
        ([str(tmp_path / "no")], "no such dataset folder"),
        ([str(folder), "--port", "70000"], "70000"),
        ([str(folder), "--reaction-time", "-1"], "-1"),
    ]:
        result = CliRunner().invoke(main, ["label", "--no-browser", *arguments])
        assert result.exit_code == 2 and message in result.output


def test_a_port_that_is_taken_is_said(folder):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(
            main, ["label", str(folder), "--no-browser", "--port", str(port)]
        )
    assert result.exit_code == 2
    assert f"port {port}: cannot be used" in result.output and result.output.count("\n") == 1


def test_everything_the_page_needs_is_packaged():
    pipeline = Path(app_module.__file__).parents[1]
    settings = (Path(__file__).parents[4] / "setup.cfg").read_text()
    for page in ("label", "report", "web"):
        assert f"hrpro.pipeline.{page} = static/*" in settings
        # The pattern takes no folders.
        assert all(path.is_file() for path in (pipeline / page / "static").iterdir())


def test_a_model_gives_suggestions_before_the_page_opens(folder, monkeypatch):
    from hrpro.pipeline.label import serve as serve_module
    from hrpro.pipeline.label import suggest

    def find(dataset, model, stream, workers, reporter):
        assert (dataset, str(model), stream) == (folder, "runs/a", None)
        (folder / "label" / "suggestions.json").write_text(json.dumps(SUGGESTIONS))

    opened, models = [], []

    def run(self, sockets):
        self._started()
        wait_for(lambda: opened)
        token = {"X-Hrpro-Token": httpx2.URL(opened[0]).params["token"]}
        port = sockets[0].getsockname()[1]
        client = TestClient(self.config.app, f"http://127.0.0.1:{port}", headers=token)
        models.append(client.get("/api/state").json()["model"])
        raise KeyboardInterrupt

    monkeypatch.setattr(suggest, "suggest", find)
    monkeypatch.setattr(serve_module.webbrowser, "open", opened.append)
    monkeypatch.setattr(serve_module._Server, "run", run)
    result = CliRunner().invoke(main, ["label", str(folder), "--model", "runs/a"])
    assert (result.exit_code, models) == (0, ["runs/a"])
    assert result.output.splitlines() == opened
