"""Which method the labels of a folder allow, which is recommended, and which is taken."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from tiny_datasets import make_dataset
from tiny_methods import overrides

from hrpro.cli import main
from hrpro.errors import UsageError
from hrpro.localize.methods import METHODS
from hrpro.pipeline.datasets.check import check_dataset
from hrpro.pipeline.datasets.methods import choose_method

LABELS = "video_id,class\n" + "".join(f"train_{n},{'run' if n % 2 else 'jump'}\n" for n in range(4))


def hrpro(*arguments: object):
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("source"), num_train=4, num_test=2)


@pytest.fixture
def make(source, tmp_path):
    """Make a dataset that carries some kinds of supervision."""

    def make(*, points=False, labels=False, marks=False):
        folder = shutil.copytree(source, tmp_path / "data")
        if not points:
            (folder / "points.csv").unlink()
        if labels:
            (folder / "labels.csv").write_text(LABELS)
        if not marks:
            path = folder / "annotations.json"
            truth = json.loads(path.read_text())
            truth["database"] = {
                name: video for name, video in truth["database"].items() if "test" in name
            }
            path.write_text(json.dumps(truth))
        return folder

    return make


KINDS = [
    # what is known, what is taken by itself, what auto takes
    ({"points": True}, "hrpro", "hrpro+student"),
    ({"labels": True}, "fustal", "fustal"),
    ({"marks": True}, "student", "student"),
    ({"points": True, "labels": True}, "hrpro", "hrpro+student"),
    ({"points": True, "marks": True}, "hrpro", "student"),
    ({"labels": True, "marks": True}, "fustal", "student"),
]


@pytest.mark.parametrize(("known", "usual", "best"), KINDS)
def test_the_method_follows_the_labels(make, known, usual, best):
    folder = make(**known)
    for method, taken in ((None, usual), ("auto", best)):
        said: list[str] = []
        assert choose_method(folder, method, ["a.b=1"], say=said.append) == (
            "a.b=1",
            f"localize.method={taken}",
        )
        # What is taken as ever needs no word.
        assert len(said) == (method == "auto" or taken != "hrpro")
        assert all(line.startswith(f"method: {taken}, which learns from ") for line in said)


@pytest.mark.parametrize(("known", "usual", "best"), KINDS)
def test_check_recommends_what_training_would_take(make, known, usual, best):
    folder = make(**known)
    report = check_dataset(folder)
    assert report.ok
    assert report.advice.recommended == usual
    lines = [line.strip() for line in report.lines()]
    assert sum(line.startswith(f"recommended: {usual}, which learns") for line in lines) == 1
    assert sum(line.startswith(f"or with --method auto: {best}") for line in lines) == (
        best != usual
    )
    needs = {"labels", *(["points"] if "points" in known else []), *(["full"] * ("marks" in known))}
    assert set(report.advice.allowed) == {
        name for name, method in METHODS.items() if method.config.model_validate({}).needs in needs
    }
    assert report.to_json()["recommended"] == usual
    assert report.next_command == f"hrpro train --dataset {folder}"


def test_settings_that_name_a_method_are_left_alone(make):
    folder = make(labels=True)
    assert choose_method(folder, "fustal") == ("localize.method=fustal",)
    assert choose_method(folder, None, ["localize.method=hrpro"]) == ("localize.method=hrpro",)
    assert choose_method(folder, None, preset="small") == ()
    (folder / "dataset.yaml").write_text("preset: sal-small\n")
    assert choose_method(folder, None) == ()
    assert choose_method(folder, "auto") == ("localize.method=fustal",)


def test_nothing_labelled_is_nothing_to_choose_by(make):
    folder = make()
    assert choose_method(folder, None) == ()
    with pytest.raises(UsageError, match=r"nothing is labelled .*hrpro label.*labels\.csv"):
        choose_method(folder, "auto")
    report = check_dataset(folder)
    assert (report.advice.allowed, report.advice.recommended) == ((), None)


def test_a_folder_of_names_trains_without_a_word_about_methods(make, tmp_path):
    folder = make(labels=True)
    run = hrpro(
        "train", "--dataset", folder, "--run-dir", tmp_path / "run", "--no-tensorboard",
        *(word for each in overrides("fustal")[1:] for word in ("--set", each)),
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert "method: fustal, which learns from the names of the actions in each video" in run.stderr
    assert "data: 4 training videos, 4 labels, " in run.stderr
    assert "method: fustal\n" in (tmp_path / "run/config.yaml").read_text()


@pytest.mark.parametrize(
    "options",
    [
        ("--method", "sal", "--supervision", "points"),
        ("--method", "auto", "--compare", "sal,hrpro"),
    ],
)
def test_a_method_is_named_once(make, options):
    run = hrpro("train", "--dataset", make(points=True), *options)
    assert run.exit_code == 2
    assert f"{options[0]} and {options[2]} both say what to learn with" in run.stderr
