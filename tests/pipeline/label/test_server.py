"""The label page from outside: who gets in, what the API answers, what browsers are given."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import httpx2
import pytest
import yaml
from click.testing import CliRunner
from starlette.testclient import TestClient
from videos import corners, make_sound, make_video, noise, number_of, numbered

from hrpro.cli import main
from hrpro.errors import UsageError
from hrpro.extract.decode import FrameReader, probe
from hrpro.pipeline.label import app as app_module
from hrpro.pipeline.label import media as media_module
from hrpro.pipeline.label import project as project_module
from hrpro.pipeline.label.app import create_app
from hrpro.pipeline.label.playable import look_at
from hrpro.pipeline.label.project import Project
from hrpro.pipeline.label.proxies import make_proxy

pytestmark = pytest.mark.core

TOKEN, PORT = "secret-token", 8123
HEADERS = {"X-Hrpro-Token": TOKEN}
SUGGESTIONS = {
    "model": "runs/a",
    "videos": {
        "b": {
            "uncertainty": 0.2,
            "detections": [{"label": "run", "score": 0.8, "start_s": 0.2, "end_s": 0.6}],
        },
        "c": {"uncertainty": 0.9, "detections": []},
        "t": {"uncertainty": 1.0, "detections": []},
    },
}


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", 25, audio_s=1.0)


@pytest.fixture
def folder(tmp_path, clip):
    """A dataset of four copies of a video that browsers play, one of them for testing."""
    folder = tmp_path / "ds"
    (folder / "videos" / "sub").mkdir(parents=True)
    for name in ("a", "b", "c", "t"):
        (folder / "videos" / f"{name}.mp4").write_bytes(clip.read_bytes())
    (folder / "split_train.txt").write_text("a\nb\nc\n")
    (folder / "split_test.txt").write_text("t\n")
    (folder / "dataset.yaml").write_text(
        "# mine\nclasses: [run, jump]\nlabel: {keys: {jump: j2}}\n"
    )
    (folder / "dataset.yaml").write_text("# mine\nclasses: [run, jump]\nlabel: {keys: {jump: w}}\n")
    return folder


@pytest.fixture
def serve():
    """Start the application on a folder, without a network; closes it at the end."""
    projects = []

    def start(folder, background=False, **options):
        project = Project(folder, **options)
        projects.append(project)
        if background:
            project.media.start()
        app = create_app(project, TOKEN, PORT)
        return TestClient(app, base_url=f"http://127.0.0.1:{PORT}", headers=HEADERS)

    yield start
    for project in projects:
        project.close()


@pytest.fixture
def client(folder, serve):
    return serve(folder)


def act(client, video="a", window="w", **action):
    body = {"client": window, "action": action}
    return client.post(f"/api/videos/{video}/actions", json=body)


def wait_for(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return value


# --------------------------------------------------------------------------- who gets in


@pytest.mark.parametrize("path", ["/api/state", "/api/videos/a", "/media/a", "/", "/api/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Hrpro-Token": ""},
        {"X-Hrpro-Token": TOKEN[:-1]},
        {"X-Hrpro-Token": TOKEN, "Host": "evil.example:8123"},
        {"X-Hrpro-Token": TOKEN, "Host": "127.0.0.1"},
        {"X-Hrpro-Token": TOKEN, "Host": "127.0.0.1:8124"},
        {"X-Hrpro-Token": "\xff"},
    ],
)
def test_strangers_are_refused(client, path, headers):
    token = TOKEN if "Host" in headers else headers["X-Hrpro-Token"]
    headers = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.get(path, params={"token": token}, headers=headers)
    assert answer.status_code == 403
    assert "hrpro label" in answer.json()["error"]


def test_the_api_wants_the_header_so_that_no_link_can_act(client):
    without = {"X-Hrpro-Token": ""}
    assert client.get(f"/api/state?token={TOKEN}", headers=without).status_code == 403
    assert client.get("/media/a", headers=without).status_code == 403
    assert client.get(f"/media/a?token={TOKEN}", headers=without).status_code == 200
    assert client.get("/static/label.css", headers=without | {"Host": "x:1"}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8123", "[::1]:8123", "LOCALHOST:8123"])
def test_names_of_this_machine_are_welcome(client, host):
    assert client.get("/api/state", headers={"Host": host}).status_code == 200


def test_every_answer_is_guarded(client, monkeypatch, tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text("<title>page</title>")
    monkeypatch.setattr(app_module, "STATIC", tmp_path / "static")
    for path in (f"/?token={TOKEN}", "/api/state", "/api/no", f"/media/a?token={TOKEN}", "/x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        if path.startswith(("/api", "/?")):
            assert headers["cache-control"] == "no-store"
    assert "page" in client.get(f"/?token={TOKEN}").text


@pytest.mark.parametrize(
    "name",
    [
        "../dataset.yaml",
        "..%2fdataset.yaml",
        "%2e%2e%2fdataset.yaml",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "a.mp4",
        "a%00",
        "..%5cdataset.yaml",
        "",
    ],
)
def test_no_name_leads_out_of_the_dataset(client, name):
    for path in (f"/media/{name}?token={TOKEN}", f"/api/videos/{name}", f"/static/{name}"):
        assert client.get(path).status_code in (403, 404)
    answer = client.post(
        f"/api/videos/{name}/actions", json={"client": "c", "action": {"type": "undo"}}
    )
    assert answer.status_code in (403, 404)


def test_only_what_is_a_video_is_given_out(folder, tmp_path, serve, clip):
    """Links to videos elsewhere are how people save space; what they name must be one."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (folder / "videos" / "link.mp4").symlink_to(secret)
    (folder / "videos" / "away.mp4").symlink_to(clip)
    make_sound(folder / "videos" / "sound.mp4")
    (folder / "label").mkdir()
    client = serve(folder)
    answer = client.get(f"/media/link?token={TOKEN}")
    assert answer.status_code == 404 and "secret" not in answer.text
    assert client.get(f"/media/sound?token={TOKEN}").status_code == 404
    assert client.get(f"/media/away?token={TOKEN}").content == clip.read_bytes()


# ------------------------------------------------------------------------------ the API


def test_state_tells_everything(client):
    state = client.get("/api/state").json()
    assert {key: state[key] for key in ("dataset", "reaction_s", "model", "revision")} == {
        "dataset": "ds", "reaction_s": 0.2, "model": None, "revision": 0,
    }  # fmt: skip
    assert [(c["name"], c["key"]) for c in state["classes"]] == [("run", "1"), ("jump", "w")]
    assert len({c["color"] for c in state["classes"]}) == 2
    assert [(v["id"], v["subset"]) for v in state["videos"]] == [
        ("a", "train"), ("b", "train"), ("c", "train"), ("t", "test"),
    ]  # fmt: skip
    assert state["videos"][0] == {
        "id": "a", "duration_s": None, "fps": None, "width": None, "height": None,
        "num_points": 0, "num_intervals": 0, "num_open": 0,
        "done": False, "subset": "train", "uncertainty": None,
        "playback": "pending", "progress": 0.0, "error": None,
    }  # fmt: skip
    video = client.get("/api/videos/a").json()
    assert (video["duration_s"], video["fps"], video["points"]) == (1.0, 25.0, [])
    first = client.get("/api/state").json()["videos"][0]
    assert (first["playback"], first["width"], first["height"]) == ("direct", 64, 48)


def test_uncertain_videos_come_first_and_test_videos_last(folder, serve):
    (folder / "label").mkdir()
    (folder / "label" / "suggestions.json").write_text(json.dumps(SUGGESTIONS))
    state = serve(folder).get("/api/state").json()
    assert state["model"] == "runs/a"
    assert [(v["id"], v["uncertainty"], v["num_open"]) for v in state["videos"]] == [
        ("c", 0.9, 0), ("b", 0.2, 1), ("a", None, 0), ("t", 1.0, 0),
    ]  # fmt: skip


def test_damaged_suggestions_are_left_out(folder, serve, caplog):
    (folder / "label").mkdir()
    (folder / "label" / "suggestions.json").write_text('{"videos": {"b": {"uncertainty": 7}}}')
    assert serve(folder).get("/api/state").json()["model"] is None
    [record] = [r for r in caplog.records if "suggestions.json" in r.message]
    assert "videos.b.uncertainty" in record.message and "ignored" in record.message


def test_points_by_http(client, folder):
    answer = act(client, type="add", label="run", time_s=0.5).json()
    point = answer["created"]
    assert answer["points"] == [
        {
            "id": point, "label": "run", "time_s": 0.5, "source": "click",
            "subject": None, "modifiers": [],
        }
    ]  # fmt: skip
    assert (answer["can_undo"], answer["can_redo"]) == (True, False)
    assert client.get("/api/videos/a?client=w").json()["can_undo"]
    assert not client.get("/api/videos/a").json()["can_undo"]
    assert act(client, type="move", point=point, time_s=0.6).json()["created"] is None
    act(client, type="relabel", point=point, label="jump")
    assert (folder / "points.csv").read_text() == "video_id,class,time\na,jump,0.6\n"
    assert act(client, type="done", done=True).json()["done"]
    for _ in range(3):
        assert act(client, type="undo").status_code == 200
    answer = act(client, type="undo").json()
    assert (answer["points"], answer["can_undo"], answer["can_redo"]) == ([], False, True)
    assert act(client, type="undo").status_code == 409
    assert act(client, type="redo").json()["created"] == point
    act(client, type="delete", point=point)
    assert (folder / "points.csv").read_text() == "video_id,class,time\n"


def test_detections_by_http(folder, serve):
    (folder / "label").mkdir()
    (folder / "label" / "suggestions.json").write_text(json.dumps(SUGGESTIONS))
    client = serve(folder)
    [found] = client.get("/api/videos/b").json()["detections"]
    assert (found["label"], found["status"], found["start_s"]) == ("run", "open", 0.2)
    answer = act(client, "b", type="accept", detection=found["id"]).json()
    assert answer["points"] == [
        {
            "id": answer["created"], "label": "run", "time_s": 0.4, "source": "accepted",
            "subject": None, "modifiers": [],
        }
    ]  # fmt: skip
    assert answer["detections"][0]["status"] == "accepted"
    answer = act(client, "b", type="retime", detection=found["id"], start_s=0.4, end_s=0.8).json()
    assert answer["points"][0]["time_s"] == 0.6 and answer["detections"][0]["end_s"] == 0.8
    answer = act(client, "b", type="relabel", detection=found["id"], label="jump").json()
    assert answer["points"][0]["label"] == answer["detections"][0]["label"] == "jump"
    overview = {v["id"]: v for v in client.get("/api/state").json()["videos"]}["b"]
    assert (overview["num_open"], overview["num_points"]) == (0, 1)
    answer = act(client, "b", type="reject", detection=found["id"]).json()
    assert (answer["points"], answer["detections"][0]["status"]) == ([], "rejected")
    answer = act(client, "b", type="reopen", detection=found["id"]).json()
    assert answer["detections"] == [found]
    reviewed = json.loads((folder / "label" / "reviewed.json").read_text())
    assert reviewed["results"] == {}


def test_an_action_that_is_sent_again_counts_once_even_after_a_restart(folder):
    def session(*bodies):
        project = Project(folder)
        app = create_app(project, TOKEN, PORT)
        client = TestClient(app, f"http://127.0.0.1:{PORT}", headers=HEADERS)
        answers = [client.post("/api/videos/a/actions", json=body) for body in bodies]
        project.close()
        assert {answer.status_code for answer in answers} == {200}
        return [answer.json() for answer in answers]

    def body(name, **action):
        return {"client": "w", "id": name, "action": action}

    one, two = (body(f"n{k}", type="add", label="run", time_s=k / 10) for k in (1, 2))
    undo = body("n3", type="undo")
    first, again, _ = session(one, one, two)
    assert first["created"] == again["created"] == first["points"][0]["id"]
    assert [len(answer["points"]) for answer in session(undo, undo)] == [1, 1]
    again, other, _ = session(undo, body("n4", type="undo"), one)
    assert [len(answer["points"]) for answer in (again, other)] == [1, 0]
    assert (folder / "points.csv").read_text() == "video_id,class,time\n"


def test_frames_of_a_variable_rate_have_their_times(tmp_path, serve):
    videos = tmp_path / "ds" / "videos"
    steps = [0, 40, 80, 480, 520, 560, 700, 1500]
    base = Fraction(1, 1000)
    make_video(videos / "vfr.mp4", len(steps), times=steps, time_base=base, b_frames=2)
    make_video(videos / "cfr.mp4", 30, Fraction(30000, 1001), b_frames=2)
    make_video(videos / "old.avi", 10, codec="mpeg4")
    client = serve(videos.parent)
    times = client.get("/api/frames/vfr").json()["times"]
    assert times == pytest.approx([step / 1000 for step in steps], abs=1e-3)
    assert client.get("/api/frames/cfr").json() == {"times": None}
    assert client.get("/api/frames/old").json() == {"times": None}  # its copy is not there yet
    assert client.get("/api/frames/none").status_code == 404


def test_videos_and_classes_of_a_second_init_appear(folder, serve, clip, monkeypatch):
    monkeypatch.setattr(project_module, "LOOK_EVERY_S", 0.0)
    client = serve(folder, background=True)
    since = client.get("/api/state").json()["revision"]
    (folder / "videos" / "new.mp4").write_bytes(clip.read_bytes())
    (folder / "split_train.txt").write_text("a\nb\nc\nnew\n")
    (folder / "dataset.yaml").write_text("classes: [run, jump, throw]\n")
    assert client.get(f"/api/changes?since={since}").json()["revision"] > since
    state = client.get("/api/state").json()
    assert [video["id"] for video in state["videos"]] == ["a", "b", "c", "new", "t"]
    assert state["classes"][2]["name"] == "throw"
    assert act(client, video="new", type="add", label="throw", time_s=0.5).status_code == 200
    wait_for(lambda: client.get("/api/state").json()["videos"][3]["playback"] == "direct")
    (folder / "dataset.yaml").write_text("classes: [")  # somebody is writing it
    assert client.get("/api/changes?since=0").status_code == 200
    assert len(client.get("/api/state").json()["classes"]) == 3


def test_undo_goes_on_after_a_restart_but_not_into_what_others_do_now(folder):
    def session(*steps):
        project = Project(folder)
        app = create_app(project, TOKEN, PORT)
        client = TestClient(app, f"http://127.0.0.1:{PORT}", headers=HEADERS)
        answers = [act(client, window=window, **action) for window, action in steps]
        project.close()
        return [(answer.status_code, len(answer.json().get("points", ()))) for answer in answers]

    def add(time_s):
        return {"type": "add", "label": "run", "time_s": time_s}

    undo, redo = {"type": "undo"}, {"type": "redo"}
    assert session(("old", add(0.1)), ("old", add(0.2)), ("new", undo))[-1] == (409, 0)
    steps = [("new", undo), ("new", redo), ("new", undo), ("third", add(0.3)), ("new", undo)]
    assert session(*steps, ("new", undo)) == [
        (200, 1), (200, 2), (200, 1), (200, 2), (200, 1), (409, 0),
    ]  # fmt: skip
    assert session(("fourth", redo))[0] == (200, 2)


def test_two_windows_stay_in_step(client):
    since = client.get("/api/state").json()["revision"]
    first = act(client, window="one", type="add", label="run", time_s=0.1).json()["created"]
    act(client, video="c", window="two", type="add", label="run", time_s=0.2)
    seen = client.get(f"/api/changes?since={since}").json()
    assert seen["videos"] == ["a", "c"] and seen["playback"].keys() == {"a", "c"}
    assert seen["playback"]["a"]["playback"] == "direct"
    nothing = client.get(f"/api/changes?since={seen['revision']}").json()
    assert nothing == {
        "session": seen["session"], "revision": seen["revision"], "videos": [], "playback": {},
        "settings": False,
    }  # fmt: skip
    assert act(client, window="two", type="delete", point=first).status_code == 200
    answer = act(client, window="one", type="move", point=first, time_s=0.3)
    assert answer.status_code == 409 and "another window" in answer.json()["error"]
    assert client.get(f"/api/changes?since={seen['revision']}").json()["videos"] == ["a"]
    assert client.get("/api/changes?since=999").json()["videos"] == ["a", "c"]


def test_many_windows_at_once_lose_nothing(client, folder):
    def work(window):
        for index in range(8):
            video = "ab"[index % 2]
            time_s = window / 10 + index / 100
            answer = act(client, video, f"w{window}", type="add", label="run", time_s=time_s)
            assert answer.status_code == 200

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((folder / "points.csv").read_text().splitlines()) == 33
    lines = (folder / "label" / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, 33))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/api/videos/a/actions", "{", 422, "Invalid JSON"),
        ("POST", "/api/videos/a/actions", '{"client":"w","action":{"type":"x"}}', 422, "'x'"),
        (
            "POST", "/api/videos/a/actions",
            '{"client":"w","action":{"type":"add","label":"fly","time_s":0}}', 422, "no class",
        ),
        (
            "POST", "/api/videos/a/actions",
            '{"client":"w","action":{"type":"add","label":"run","time_s":9}}', 422, "after the end",
        ),
        (
            "POST", "/api/videos/no/actions",
            '{"client":"w","action":{"type":"undo"}}', 404, "no such video",
        ),
        ("POST", "/api/videos/a/actions", " " * 70_000, 413, "too large"),
        ("GET", "/api/videos/no", None, 404, "no such video"),
        ("GET", "/media/no?token=" + TOKEN, None, 404, "no such video"),
        ("GET", "/api/changes?since=x", None, 422, "since"),
        ("POST", "/api/classes", '{"name": " "}', 422, "not a class name"),
        ("POST", "/api/classes", '{"name": "RUN"}', 422, "there is 'run' already"),
        ("POST", "/api/classes", '{"nam": "x"}', 422, "name: Field required"),
        ("POST", "/api/settings", '{"reaction_s": -1}', 422, "reaction time -1"),
        ("POST", "/api/settings", '{"reaction_s": "x"}', 422, "reaction_s"),
        ("DELETE", "/api/state", None, 405, "Method"),
        ("GET", "/nowhere", None, 403, "not allowed"),
        ("GET", "/nowhere?token=" + TOKEN, None, 404, "Not Found"),
    ],
)  # fmt: skip
def test_errors_are_one_line(client, folder, method, path, body, status, message):
    answer = client.request(method, path, content=body)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert message in answer.json()["error"] and "\n" not in answer.json()["error"]
    assert not (folder / "points.csv").exists()


def test_classes_and_reaction_time_go_into_dataset_yaml(client, folder):
    since = client.get("/api/state").json()["revision"]
    state = client.post("/api/classes", json={"name": "swim"}).json()
    assert [c["name"] for c in state["classes"]] == ["run", "jump", "swim"]
    assert [c["key"] for c in state["classes"]] == ["1", "w", "2"]
    assert client.post("/api/settings", json={"reaction_s": 0.35}).json()["reaction_s"] == 0.35
    text = (folder / "dataset.yaml").read_text()
    assert text.startswith("# mine")
    assert yaml.safe_load(text)["classes"] == ["run", "jump", "swim"]
    assert yaml.safe_load(text)["label"]["reaction_s"] == 0.35
    assert client.get(f"/api/changes?since={since}").json()["settings"]
    assert act(client, type="add", label="swim", time_s=0.2).status_code == 200


def test_the_reaction_time_of_a_session_is_not_kept(folder, serve):
    client = serve(folder, reaction_s=0.5)
    assert client.get("/api/state").json()["reaction_s"] == 0.5
    assert "0.5" not in (folder / "dataset.yaml").read_text()
    assert client.post("/api/settings", json={"reaction_s": 0.1}).json()["reaction_s"] == 0.1


def test_there_is_a_key_for_each_of_many_classes(folder, serve):
    names = [f"c{number}" for number in range(60)]
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"classes": names}))
    classes = serve(folder).get("/api/state").json()["classes"]
    keys = [c["key"] for c in classes if c["key"]]
    assert keys[:10] == list("123456789a") and len(set(keys)) == len(keys) >= 40
    assert not set("ijklmnopxzZ") & set(keys)
    assert len({c["color"] for c in classes}) == 60


def test_a_thousand_videos(tmp_path, serve):
    (tmp_path / "videos").mkdir()
    for number in range(1000):
        (tmp_path / "videos" / f"{number:04d}.mp4").write_bytes(b"not looked at")
    started = time.monotonic()
    state = serve(tmp_path).get("/api/state").json()
    assert len(state["videos"]) == 1000
    assert {v["playback"] for v in state["videos"]} == {"pending"}
    assert time.monotonic() - started < 5


# --------------------------------------------------------------------- folders and restarts


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


# ----------------------------------------------------------------------------- the videos


def test_parts_of_a_video_are_served(client, clip):
    data = clip.read_bytes()
    path = f"/media/a?token={TOKEN}"
    whole = client.get(path)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    assert whole.content == data and whole.headers["accept-ranges"] == "bytes"
    part = client.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert client.get(path, headers={"Range": "bytes=-10"}).content == data[-10:]
    assert client.get(path, headers={"Range": f"bytes={len(data)}-"}).status_code == 416


def test_what_browsers_play_is_not_copied(tmp_path):
    for name, options in {
        "plain.mp4": {"audio_s": 1.0},
        "camera.mov": {},
        "b-frames.mp4": {"b_frames": 2},
        "turned.mp4": {"rotation": 90},
        "variable.mp4": {"times": [0, 1, 4, 5, 9], "frames": 5},
        "full-range.mp4": {"pix_fmt": "yuvj420p", "color_range": 2},
        "index-first.mp4": {"container_options": {"movflags": "faststart"}},
        "vp9.webm": {"codec": "libvpx-vp9"},
    }.items():
        facts = look_at(make_video(tmp_path / name, **{"frames": 10, **options}))
        assert (name, facts.obstacle, facts.error) == (name, None, None)


def test_what_browsers_do_not_play_says_why(tmp_path):
    millisecond = Fraction(1, 1000)
    for name, options, why in [
        ("a.avi", {"codec": "mpeg4"}, "do not open avi"),
        ("a.mkv", {}, "do not open matroska"),
        ("mpeg4.mp4", {"codec": "mpeg4"}, "do not decode mpeg4"),
        ("hevc.mp4", {"codec": "libx265"}, "do not decode hevc"),
        ("ten-bit.mp4", {"pix_fmt": "yuv420p10le"}, "do not decode yuv420p10le"),
        ("444.mp4", {"pix_fmt": "yuv444p"}, "do not decode yuv444p"),
        ("late.mp4", {"times": [500, 540, 580], "frames": 3, "time_base": millisecond}, "clock"),
        ("mirrored.mp4", {"hflip": True}, "mirrored"),
        ("two.mp4", {"second_video": numbered()}, "several pictures"),
    ]:  # fmt: skip
        facts = look_at(make_video(tmp_path / name, **{"frames": 10, **options}))
        assert why in (facts.obstacle or ""), name
    assert look_at(make_sound(tmp_path / "s.mp4")).error == "no video stream (sound only)"
    assert look_at(tmp_path / "gone.mp4").error == "no such file"


def frames(path):
    with FrameReader(path, fps=None, short_side=None, crop=None) as reader:
        return list(reader.timed())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.avi", {"codec": "mpeg4", "frames": 40}),
        ("b-frames.avi", {"codec": "mpeg4", "b_frames": 2, "frames": 20}),
        ("ntsc.mkv", {"fps": Fraction(30000, 1001), "frames": 40, "audio_s": 1.0}),
        ("variable.mkv", {"times": [0, 40, 41, 500, 1700, 1733], "frames": 6}),
        ("late.mkv", {"times": [1234, 1300, 1340, 2000], "frames": 4}),
        ("late.mp4", {"times": [1234, 1300, 1340, 2000], "frames": 4}),
        ("rotated.mkv", {"rotation": 90, "frames": 5}),
        ("wide-pixels.mkv", {"pixel_aspect": Fraction(2), "frames": 5}),
        ("hevc.mp4", {"codec": "libx265", "frames": 12}),
        ("transport.ts", {"frames": 30, "audio_s": 1.0}),
    ],
)
def test_a_proxy_shows_each_frame_at_its_time(tmp_path, name, options):
    if "times" in options:
        options = {**options, "time_base": Fraction(1, 1000), "options": {"bf": "0"}}
    video = make_video(tmp_path / name, **options)
    shares = []
    duration_s = make_proxy(video, tmp_path / "proxy.mp4", shares.append)
    before, after = frames(video), frames(tmp_path / "proxy.mp4")
    assert [number_of(picture) for _, picture in after] == [number_of(p) for _, p in before]
    start_s = probe(video).start_s
    expected = [0, *(start_s + t for t, _ in before[1:])]  # the first is shown from the begin
    assert [t for t, _ in after] == pytest.approx(expected, abs=2e-5)
    # In the transport stream, the encoder's run-in of the sound comes first.
    assert start_s == pytest.approx(1.234 if "late" in name else 0, abs=0.07)
    facts = look_at(tmp_path / "proxy.mp4")
    assert (facts.obstacle, facts.error) == (None, None)
    assert duration_s > after[-1][0]
    assert facts.duration_s == pytest.approx(duration_s, abs=0.03)  # sound may be longer
    assert after[0][1].shape == before[0][1].shape
    assert shares == sorted(shares) and 0 < shares[-1] <= 1
    with av.open(str(tmp_path / "proxy.mp4")) as file:
        assert [s.codec_context.name for s in file.streams.audio] == ["aac"] * (
            "audio_s" in options
        )


def test_a_proxy_is_small_upright_and_quick_to_seek(tmp_path):
    video = make_video(tmp_path / "v.mkv", 60, painter=corners(2560, 96), rotation=180, gop=1000)
    proxy = tmp_path / "proxy.mp4"
    make_proxy(video, proxy, lambda share: None)
    with av.open(str(proxy)) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height) == (1280, 48)
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        keys = [float(p.pts * p.time_base) for p in file.demux(stream) if p.is_keyframe and p.size]
    assert keys == pytest.approx([0.0, 0.52, 1.04, 1.56, 2.08], abs=1e-4)
    data = proxy.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    _, picture = frames(proxy)[0]
    assert picture[5, 5].min() > 200  # white was bottom right


def test_copies_are_made_in_the_background_and_kept(tmp_path, serve):
    videos = tmp_path / "videos"
    make_video(videos / "good.avi", 20, codec="mpeg4")
    late = {"times": range(1000, 1800, 40), "time_base": Fraction(1, 1000)}
    make_video(videos / "late.mkv", 20, **late, options={"bf": "0"})
    (videos / "bad.avi").write_bytes(b"RIFF0000AVI LIST" + bytes(range(200)))
    client = serve(tmp_path, background=True)

    def playback():
        return {v["id"]: v["playback"] for v in client.get("/api/state").json()["videos"]}

    wait_for(lambda: playback() == {"bad": "failed", "good": "proxy", "late": "proxy"})
    [bad] = [v for v in client.get("/api/state").json()["videos"] if v["id"] == "bad"]
    assert bad["error"] and "\n" not in bad["error"] and str(tmp_path) not in bad["error"]
    assert client.get(f"/media/bad?token={TOKEN}").status_code == 404
    answer = client.get(f"/media/good?token={TOKEN}", headers={"Range": "bytes=4-7"})
    assert (answer.status_code, answer.content) == (206, b"ftyp")
    seen = client.get("/api/changes?since=0").json()["playback"]
    assert seen["good"]["playback"] == "proxy" and seen["good"]["progress"] == 1.0
    assert client.get("/api/videos/late").json()["duration_s"] == pytest.approx(1.8)
    assert act(client, "bad", type="done", done=True).status_code == 200


def test_copies_of_an_earlier_session_are_used_and_old_ones_go(tmp_path):
    video = make_video(tmp_path / "videos" / "v.avi", 10, codec="mpeg4")
    proxies = tmp_path / "label" / "proxies"

    def session():
        project = Project(tmp_path)
        project.media.start()
        wait_for(lambda: project.media.state("v")["playback"] == "proxy")
        project.close()
        return {path.name: path.stat().st_mtime_ns for path in proxies.iterdir()}

    first = session()
    (proxies / ".x.part.mp4").touch()  # what a killed process leaves
    assert session() == first and len(first) == 1
    make_video(video, 20, codec="mpeg4")
    second = session()
    assert len(second) == 1 and second != first
    (tmp_path / "label" / "media.json").write_text("{")
    assert session() == second


def test_the_video_that_is_asked_for_goes_first(tmp_path, monkeypatch):
    for name in "abcd":
        (tmp_path / "videos").mkdir(exist_ok=True)
        make_video(tmp_path / "videos" / f"{name}.avi", 5, codec="mpeg4")
    made, started, asked = [], threading.Event(), threading.Event()

    def slow(video, proxy, progress, stream):
        if not asked.is_set():
            started.set()
            assert asked.wait(10)
        progress(0.5)
        made.append(video.stem)
        proxy.parent.mkdir(exist_ok=True)
        proxy.touch()
        return 1.0

    monkeypatch.setattr(media_module, "make_proxy", slow)
    project = Project(tmp_path)
    project.media.start()
    assert started.wait(10)
    wait_for(lambda: all(project.media.state(name)["duration_s"] for name in "abcd"))
    project.video("d")
    asked.set()
    wait_for(lambda: len(made) == 4)
    project.close()
    assert made[0] == "d"


def test_stopping_leaves_no_half_copies(tmp_path, monkeypatch):
    make_video(tmp_path / "videos" / "v.avi", 400, codec="mpeg4", painter=noise(320, 240))
    project = Project(tmp_path)
    project.media.start()
    wait_for(lambda: project.media.state("v")["progress"] > 0)
    project.close()
    assert list((tmp_path / "label" / "proxies").iterdir()) == []


# -------------------------------------------------------------------------- the real thing


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
    settings = (Path(__file__).parents[3] / "setup.cfg").read_text()
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
