"""A dataset, and its label page without a network."""

from __future__ import annotations

import pytest
from label_client import HEADERS, PORT, TOKEN
from starlette.testclient import TestClient
from videos import make_video

from hrpro.pipeline.label.app import create_app
from hrpro.pipeline.label.project import Project


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
