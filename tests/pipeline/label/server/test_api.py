"""What the API of the label page answers."""

from __future__ import annotations

import json
import threading
import time
from fractions import Fraction

import pytest
import yaml
from label_client import HEADERS, PORT, SUGGESTIONS, TOKEN, act, wait_for
from starlette.testclient import TestClient
from videos import make_video

from hrpro.pipeline.label import project as project_module
from hrpro.pipeline.label.app import create_app
from hrpro.pipeline.label.project import Project

pytestmark = pytest.mark.core


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
