"""Speaks with the server of the label page, as the page does."""

from __future__ import annotations

import time

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


def act(client, video="a", window="w", **action):
    body = {"client": window, "action": action}
    return client.post(f"/api/videos/{video}/actions", json=body)


def wait_for(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return value
