"""The settings of a dataset folder, and ``hrpro init`` that makes one."""

from __future__ import annotations

import pytest

from hrpro.errors import UsageError
from hrpro.extract.sources import find_videos
from hrpro.localize.config import resolve_dataset
from hrpro.localize.dataset_config import LabelConfig, read_dataset_config
from hrpro.pipeline.dataset_yaml import add_class, add_classes, set_reaction
from hrpro.pipeline.extract import default_target
from hrpro.videos_folder import videos_folder


def write(folder, text: str):
    folder.mkdir(exist_ok=True)
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    return folder


# dataset.yaml


def test_label_section(tmp_path):
    write(tmp_path, "classes: [jump, run]\nlabel: {reaction_s: 0.3, keys: {jump: 1, run: R}}\n")
    label = read_dataset_config(tmp_path).label
    assert label == LabelConfig(reaction_s=0.3, keys={"jump": "1", "run": "R"})
    write(tmp_path, "classes: [jump]\n")
    assert read_dataset_config(tmp_path).label == LabelConfig(reaction_s=0.2, keys={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label: {reaction: 0.3}", r":2: unknown key .*did you mean 'dataset.label.reaction_s'"),
        ("lable: {reaction_s: 0.3}", r":2: unknown key .*did you mean 'dataset.label'"),
        ("label: {reaction_s: -1}", r":2: dataset.label.reaction_s: .*got -1"),
        ("label: {keys: {jump: z}}", r":2: dataset.label.keys: 'z' cannot be a key; use one of 1"),
        ("label: {keys: {jump: aa}}", r":2: dataset.label.keys: 'aa' cannot be a key"),
        ("label: {keys: {jump: true}}", r":2: dataset.label.keys.jump: expected text, got True"),
        ("label: {keys: {jump: a, run: a}}", r"'a' is the key of 'jump' and of 'run'"),
        ("label: {keys: {jmp: a}}", r"label.keys: 'jmp' is not one of the classes"),
        ("label: 3", r":2: dataset.label: expected a section"),
    ],
)
def test_wrong_label_section_is_one_line(tmp_path, text, message):
    write(tmp_path, f"classes: [jump, run]\n{text}\n")
    with pytest.raises(UsageError, match=message):
        read_dataset_config(tmp_path)


def test_label_settings_are_no_part_of_a_run(tmp_path):
    _, before = resolve_dataset(write(tmp_path, "classes: [jump]\n"))
    _, after = resolve_dataset(
        write(
            tmp_path, "classes: [jump]\nvideos: ../v\nlabel: {keys: {jump: j}}".replace("j}", "a}")
        )
    )
    assert before == after


def test_add_classes_keeps_what_the_person_wrote(tmp_path):
    text = (
        "# my data\nname: birds   # all of them\nclasses: # by ear\n- 'sings'\n- flies # away\n"
        "fps: 50\n"
    )
    write(tmp_path, text)
    assert add_class(tmp_path, " lands ") is True
    assert (tmp_path / "dataset.yaml").read_text() == text.replace("away\n", 'away\n- "lands"\n')
    assert add_class(tmp_path, "lands") is False
    assert set(read_dataset_config(tmp_path).classes) == {"sings", "flies", "lands"}


@pytest.mark.parametrize("before", [None, "", "# nothing yet\n", "classes: []\n", "classes: [a]\n"])
def test_add_classes_whatever_is_there(tmp_path, before):
    if before is not None:
        write(tmp_path, before)
    names = ["yes", "1:30", "with, comma", "größer 🎾", "- dash", "null", "a: b", '"quoted"']
    assert add_classes(tmp_path, names) == names
    classes = read_dataset_config(tmp_path).classes
    assert list(classes)[-len(names) :] == names
    text = (tmp_path / "dataset.yaml").read_text(encoding="utf-8")
    assert before is None or "#" not in before or text.startswith(before)
    assert add_classes(tmp_path, names) == []
    assert (tmp_path / "dataset.yaml").read_text(encoding="utf-8") == text


def test_add_classes_to_those_of_the_points(tmp_path):
    (tmp_path / "points.csv").write_text("video_id,class,time\na,run,1\na,jump,2\n")
    assert add_classes(tmp_path, ["run", "throw"]) == ["throw"]
    assert read_dataset_config(tmp_path).classes == ("jump", "run", "throw")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "not a class name"), ("  ", "not a class name"), ("a\nb", "not a class name"),
        ("a\0", "not a class name"), ("x" * 101, "not a class name"), ("RUN", "there is 'run'"),
    ],
)  # fmt: skip
def test_wrong_class_names(tmp_path, name, message):
    write(tmp_path, "classes: [run]\n")
    with pytest.raises(UsageError, match=message):
        add_classes(tmp_path, ["fine", name])
    assert (tmp_path / "dataset.yaml").read_text() == "classes: [run]\n"


def test_set_reaction(tmp_path):
    write(tmp_path, "name: a # mine\nlabel:\n  keys: {}\n")
    set_reaction(tmp_path, 0.35)
    assert read_dataset_config(tmp_path).label.reaction_s == 0.35
    assert "a # mine" in (tmp_path / "dataset.yaml").read_text()
    for wrong in (-1, 9, float("nan")):
        with pytest.raises(UsageError, match="reaction time"):
            set_reaction(tmp_path, wrong)
    assert read_dataset_config(tmp_path).label.reaction_s == 0.35


def test_yaml_that_cannot_be_changed_is_one_line(tmp_path):
    write(tmp_path, "name: a\nname: b\n")
    with pytest.raises(UsageError, match=r"dataset.yaml: .*duplicate key"):
        add_class(tmp_path, "x")


def test_videos_folder(tmp_path):
    assert videos_folder(tmp_path) == tmp_path / "videos"
    assert videos_folder(write(tmp_path, "videos: ../there\n")) == tmp_path / "../there"
    for useless in ("videos: [1]\n", "]", "- a\n"):
        assert videos_folder(write(tmp_path, useless)) == tmp_path / "videos"


def test_videos_of_a_dataset_are_found_wherever_they_are(tmp_path):
    footage, folder = tmp_path / "footage", tmp_path / "own"
    (footage / "day 1").mkdir(parents=True)
    for name in ("day 1/a.mp4", "day 1/a.avi", "b.mp4"):
        (footage / name).touch()
    write(folder, "videos: ../footage\n")
    sources = find_videos([folder])
    assert [source.key for source in sources] == ["b.mp4", "day 1/a.avi", "day 1/a.mp4"]
    assert default_target([str(folder)]) == folder / "features"
