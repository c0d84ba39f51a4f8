"""Who gets at the label page, and at what."""

from __future__ import annotations

import pytest
from label_client import TOKEN
from videos import make_sound

from hrpro.pipeline.label import app as app_module

pytestmark = pytest.mark.core


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
