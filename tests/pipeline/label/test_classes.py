"""Classes that change: everything follows, nothing is lost, whatever is interrupted is finished."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from labeller import SUGGESTED

from hrpro.cli import main
from hrpro.errors import HrproError, UsageError
from hrpro.localize.data.config import read_dataset_config
from hrpro.localize.data.points import read_points
from hrpro.pipeline.datasets.check import check_dataset
from hrpro.pipeline.datasets.classes import ClassList
from hrpro.pipeline.label.actions import read_request
from hrpro.pipeline.label.class_requests import Delete, Merge, Rename, Set
from hrpro.pipeline.label.classes_command import edit_classes, list_classes
from hrpro.pipeline.label.project import Project
from hrpro.pipeline.label.store import LabelStore

pytestmark = pytest.mark.core

THREE = ClassList(("run", "jog", "jump"), keys={"jog": "w"}, colors={"run": "#112233"})


# ------------------------------------------------------------------------------- the list


def test_a_renamed_class_keeps_its_place_and_looks():
    after = THREE.rename("jog", "trot")
    assert (after.names, after.keys) == (("run", "trot", "jump"), {"trot": "w"})
    assert after.renamed == {"jog": "trot"}
    assert after.rename("trot", "walk").renamed == {"jog": "walk", "trot": "walk"}
    assert after.rename("jog", "trot") == after, "done before"
    back = after.rename("trot", "jog")
    assert (back.names, back.renamed) == (THREE.names, {"trot": "jog"})
    assert THREE.rename("run", "Run").names[0] == "Run"


def test_merged_classes_stand_where_the_first_stood():
    assert THREE.merge(["run", "jog"], "jog").names == ("jog", "jump")
    assert THREE.merge(["jump", "run"], "move").names == ("move", "jog")
    assert THREE.merge(["jog", "run"], " move ").keys == {"move": "w"}
    merged = THREE.merge(["jog"], "run")
    assert (merged.names, merged.keys, merged.renamed) == (("run", "jump"), {}, {"jog": "run"})
    assert merged.merge(["jog"], "run") == merged
    assert THREE.delete("jog").renamed == {"jog": None}
    assert THREE.order(["jump"]).names == ("jump", "run", "jog")


def test_keys_colours_and_words():
    after = THREE.set("run", key="w", color="#ABCDEF", description=" on\ntwo legs ")
    assert (after.keys, after.colors) == ({"run": "w"}, {"run": "#abcdef"})
    assert after.descriptions == {"run": "on two legs"}
    assert after.set("run", key="", color="", description="").keys == {}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.rename("fly", "x"), "there is no class 'fly' \\(there are: run, jog, jump\\)"),
        (lambda c: c.rename("run", "Jog"), "there is a class 'jog' already; merge them"),
        (lambda c: c.rename("run", " "), "not a class name"),
        (lambda c: c.merge(["run"], "Jump"), "there is a class 'jump' already"),
        (lambda c: c.delete("fly"), "there is no class"),
        (lambda c: c.order(["fly"]), "there is no class"),
        (lambda c: c.set("run", key="j"), "key 'j': use one of 123"),
        (lambda c: c.set("run", color="red"), "write #rrggbb"),
    ],
)
def test_what_makes_no_sense_is_refused(edit, message):
    with pytest.raises(UsageError, match=message):
        edit(THREE)


@given(st.lists(st.tuples(st.sampled_from(["rename", "merge", "delete"]),
                          st.integers(0, 5), st.sampled_from("abcdefg")), max_size=12))  # fmt: skip
def test_every_name_of_earlier_times_leads_to_a_class_or_nowhere(steps):
    classes = ClassList(tuple("abc"))
    for kind, index, name in steps:
        if not classes.names:
            break
        old = classes.names[index % len(classes.names)]
        try:
            if kind == "rename":
                classes = classes.rename(old, name)
            elif kind == "merge":
                classes = classes.merge([old], name)
            else:
                classes = classes.delete(old)
        except UsageError:
            continue
        assert len(set(classes.names)) == len(classes.names)
        assert set(classes.renamed).isdisjoint(classes.names)
        assert set(classes.renamed.values()) <= {None, *classes.names}


# ------------------------------------------------------------------------ a whole dataset

SETTINGS = """# mine
classes:
- run  # on two legs
- jump
- throw
label:
  keys: {jump: w}
"""


@pytest.fixture
def folder(tmp_path):
    """A dataset that was labelled a little, without the page being open."""
    folder = tmp_path / "ds"
    (folder / "label").mkdir(parents=True)
    (folder / "dataset.yaml").write_text(SETTINGS)
    (folder / "points.csv").write_text("video_id,class,time\nv,jump,1\nv,run,2\nw,jump,3\n")
    truth = {"v": {"annotations": [{"label": "jump", "segment": [0, 2], "sure": 1}]}}
    (folder / "annotations.json").write_text(json.dumps({"database": truth}))
    (folder / "labels.csv").write_text("video_id,class,note\nv,jump,a\nv,run,a\nw,throw,\n")
    suggested = {"model": "runs/a", "videos": {"v": SUGGESTED.model_dump()}}
    (folder / "label" / "suggestions.json").write_text(json.dumps(suggested))
    return folder


def labels(folder):
    """The classes that stand in every file of a dataset."""
    database = json.loads((folder / "annotations.json").read_text())["database"]
    return {
        "points": [point.label for point in read_points(folder / "points.csv")],
        "annotations": [a["label"] for v in database.values() for a in v["annotations"]],
        "labels": [row.split(",")[1] for row in (folder / "labels.csv").read_text().split()[1:]],
    }


RENAMED = {
    "points": ["leap", "run", "leap"],
    "annotations": ["leap"],
    "labels": ["leap", "run", "throw"],
}


def test_everything_follows_a_new_name(folder):
    rows = edit_classes(folder, Rename(type="rename", name="jump", to="leap"))
    assert labels(folder) == RENAMED
    assert [(row["name"], row["key"], row["num_points"]) for row in rows] == [
        ("run", "1", 1), ("leap", "w", 2), ("throw", "2", 0),
    ]  # fmt: skip
    text = (folder / "dataset.yaml").read_text()
    assert "# mine" in text and "# on two legs" in text
    config = read_dataset_config(folder)
    assert config.classes == ("run", "leap", "throw") and config.renamed == {"jump": "leap"}
    truth = json.loads((folder / "annotations.json").read_text())["database"]["v"]
    assert truth["annotations"][0]["sure"] == 1


def test_merging_makes_equal_rows_one(folder):
    edit_classes(folder, Merge(type="merge", names=("jump", "run"), into="move"))
    assert labels(folder)["labels"] == ["move", "throw"]
    assert labels(folder)["points"] == ["move"] * 3


def test_deleting_labels_has_to_be_asked_for(folder):
    before = (folder / "dataset.yaml").read_text()
    with pytest.raises(HrproError, match="'jump' has 4 labels: merge it into another class, or"):
        edit_classes(folder, Delete(type="delete", name="jump"))
    assert (folder / "dataset.yaml").read_text() == before
    edit_classes(folder, Delete(type="delete", name="jump", with_labels=True))
    assert labels(folder) == {"points": ["run"], "annotations": [], "labels": ["run", "throw"]}
    with pytest.raises(HrproError, match="'throw' has 1 label"):  # a video that shows it
        edit_classes(folder, Delete(type="delete", name="throw"))
    edit_classes(folder, Delete(type="delete", name="throw", with_labels=True))
    assert labels(folder)["labels"] == ["run", ""]  # it shows nothing; that is known, too


@pytest.mark.parametrize("killed_before", ["rename_classes", "commit"])
def test_what_was_interrupted_is_finished_by_the_next_start(folder, monkeypatch, killed_before):
    """`dataset.yaml` is written first, and says what is left to do."""

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    rename = Rename(type="rename", name="jump", to="leap")
    project = Project(folder, needs_videos=False)
    with monkeypatch.context() as patch:
        patch.setattr(LabelStore, killed_before, kill)
        with pytest.raises(Killed):
            project.edit_classes(rename)
    project._folder_lock._lock.release()  # as a process does that is no more
    assert labels(folder)["labels"] != RENAMED["labels"]
    if killed_before == "rename_classes":
        (problem,) = check_dataset(folder).problems[:1]
        assert "the class 'jump' was renamed, but not yet everywhere" in str(problem)
        assert "hrpro dataset classes list" in str(problem)
    edit_classes(folder, rename)  # the same command once more
    assert labels(folder) == RENAMED


def test_suggestions_and_reviews_go_by_the_new_name(folder):
    project = Project(folder, needs_videos=False)
    before = project._suggestions.video("v").by_id
    (jump,) = [name for name, found in before.items() if found.label == "jump"]
    project.edit_classes(Rename(type="rename", name="jump", to="leap"))
    after = project._suggestions.video("v").by_id
    assert after.keys() == before.keys(), "what was said of them stays theirs"
    assert after[jump].label == "leap"
    project.edit_classes(Merge(type="merge", names=("leap",), into="run"))
    assert {found.label for found in project._suggestions.video("v").by_id.values()} == {"run"}
    project.edit_classes(Delete(type="delete", name="run", with_labels=True))
    assert project._suggestions.video("v").by_id == {}
    project.close()


def test_undo_and_old_tabs_know_the_new_name(folder, tmp_path):
    from videos import make_video

    make_video(folder / "videos" / "v.mp4", 25)
    project = Project(folder)

    def act(**action):
        return project.act(
            "v", read_request(json.dumps({"client": "w", "action": action}).encode())
        )

    point = act(type="add", label="jump", time_s=0.5)["created"]
    act(type="delete", point=point)
    project.edit_classes(Rename(type="rename", name="jump", to="leap"))
    back = act(type="undo")["points"]
    assert ("leap", 0.5) in [(each["label"], each["time_s"]) for each in back]
    assert {each["label"] for each in back} == {"leap", "run"}
    added = act(type="add", label="jump", time_s=0.7)  # a tab that has not heard of it
    assert "leap" in [each["label"] for each in added["points"] if each["time_s"] == 0.7]
    project.close()


def test_published_ground_truth_stays_and_says_so(folder):
    (folder / "annotations.json").rename(folder / "gt_full.json")
    with pytest.raises(HrproError, match=r"'jump' cannot change: gt_full\.json is the ground"):
        edit_classes(folder, Rename(type="rename", name="jump", to="leap"))
    edit_classes(folder, Set(type="set", name="jump", color="#123456"))
    assert read_dataset_config(folder).label.colors == {"jump": "#123456"}


def test_classes_that_only_points_have_become_those_of_the_dataset(folder):
    (folder / "dataset.yaml").write_text("name: x\n")
    (folder / "labels.csv").unlink()
    edit_classes(folder, Rename(type="rename", name="jump", to="leap"))
    assert read_dataset_config(folder).classes == ("leap", "run")


def test_settings_in_one_line_are_changed_as_well(folder):
    text = "classes: [run, jump]\nlabel: {keys: {jump: w}, reaction_s: 0.1}\n"
    (folder / "dataset.yaml").write_text(text)
    (folder / "labels.csv").unlink()
    edit_classes(folder, Rename(type="rename", name="jump", to="a: 1"))
    edit_classes(folder, Set(type="set", name="a: 1", description="yes", color="#123456"))
    config = read_dataset_config(folder)
    assert config.classes == ("run", "a: 1") and config.renamed == {"jump": "a: 1"}
    assert config.label.keys == {"a: 1": "w"} and config.label.reaction_s == 0.1
    assert config.label.descriptions == {"a: 1": "yes"}
    edit_classes(folder, Set(type="set", name="a: 1", description="", color="", key=""))
    assert "descriptions" not in (folder / "dataset.yaml").read_text()


def test_the_command_line(folder):
    def run(*words):
        return CliRunner().invoke(main, ["dataset", "classes", words[0], str(folder), *words[1:]])

    done = run("rename", "jump", "leap")
    assert done.exit_code == 0, done.output
    assert run("set", "leap", "--color", "#E69F00", "--description", "both feet").exit_code == 0
    assert run("order", "leap").exit_code == 0
    listed = run("list")
    assert listed.output.splitlines()[0] == (
        "leap   w  #e69f00      2 points     1 intervals     1 videos  both feet"
    )
    assert [row["name"] for row in list_classes(folder)] == ["leap", "run", "throw"]
    wrong = run("rename", "fly", "x")
    assert wrong.exit_code == 2 and "there is no class 'fly'" in wrong.output
    assert run("merge", "leap", "run", "--into", "run").exit_code == 0
    assert run("delete", "throw", "--with-labels").exit_code == 0
    assert [row["name"] for row in json.loads(run("list", "--json").output)] == ["run"]


def test_a_page_that_is_open_keeps_others_out(folder):
    project = Project(folder, needs_videos=False)
    with pytest.raises(UsageError, match="is being labelled already"):
        list_classes(folder)
    project.close()
