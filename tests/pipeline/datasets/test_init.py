"""The settings of a dataset folder, and ``hrpro init`` that makes one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from hrpro.cli import main
from hrpro.errors import UsageError
from hrpro.extract.sources import find_videos
from hrpro.localize.config import resolve_dataset
from hrpro.localize.data.config import LabelConfig, read_dataset_config
from hrpro.pipeline.datasets.settings import add_class, add_classes, set_reaction
from hrpro.pipeline.datasets.splits import Split, deal
from hrpro.videos_folder import videos_folder

pytestmark = pytest.mark.core


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
    from hrpro.pipeline.workers.targets import default_target

    assert default_target([str(folder)]) == folder / "features"


# hrpro init


def hrpro(*arguments):
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def error_line(run) -> str:
    assert run.exit_code == 2, run.output
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1
    return run.stderr


@pytest.fixture
def footage(tmp_path):
    """Eight empty files, which are videos by their names."""
    names = [
        "a.mp4",
        "b.mp4",
        "-c.mp4",
        "day 1/a.mp4",
        "day 1/ü, 🎾.mkv",
        "d.avi",
        "d.mp4",
        "e.e.mov",
    ]
    for name in names:
        (tmp_path / "footage" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "footage" / name).write_text(name)
    return tmp_path / "footage"


IDS = {"a", "b", "-c", "day 1/a", "day 1/ü, 🎾", "d.avi", "d.mp4", "e.e"}


def read_split_files(folder) -> tuple[list[str], list[str]]:
    train, test = (
        (folder / f"split_{subset}.txt").read_text(encoding="utf-8").splitlines()
        for subset in ("train", "test")
    )
    return train, test


def tree(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_init_makes_a_dataset_folder(tmp_path, footage):
    folder = tmp_path / "my data" / "own"
    classes = 'serve, "hit, hard",yes,größer'
    run = hrpro("init", folder, "--videos", footage, "--classes", classes)
    assert run.exit_code == 0, run.output
    assert run.stdout.splitlines() == [
        f"{folder}: 8 videos in {footage}, 6 for training, 2 for testing; 4 classes",
        "to label: a click per action in hrpro label; or, if you know only which actions a video "
        f"shows, a line for each in {folder / 'labels.csv'} (video_id,class)",
        f"next: hrpro label '{folder}'",
    ]
    config = read_dataset_config(folder)
    assert config.classes == ("serve", "hit, hard", "yes", "größer")
    assert config.name == "own"
    assert (folder / "points.csv").read_text() == "video_id,class,time\n"
    train, test = read_split_files(folder)
    assert sorted(train + test) == sorted(IDS)
    assert (len(train), len(test)) == (6, 2)
    assert (folder / "videos").readlink() == Path("../../footage")
    assert {s.key for s in find_videos([folder])} == {s.key for s in find_videos([footage])}

    before = tree(folder)
    again = hrpro("init", folder, "--videos", footage, "--classes", classes)
    assert again.exit_code == 0, again.output
    assert tree(folder) == before


def test_init_is_seeded(tmp_path, footage):
    def test_videos(name: str, *options) -> list[str]:
        run = hrpro("init", tmp_path / name, "--videos", footage, "--json", *options)
        return json.loads(run.stdout)["test"]

    assert test_videos("a") == test_videos("b")
    assert len({tuple(test_videos(f"c{seed}", "--seed", seed)) for seed in range(8)}) > 4
    assert len(test_videos("d", "--test-share", "0.5")) == 4
    assert test_videos("e", "--test-share", "0") == []


def test_init_again_takes_in_new_videos_and_classes(tmp_path, footage):
    folder = tmp_path / "own"
    hrpro("init", folder, "--videos", footage, "--classes", "run")
    (folder / "points.csv").write_text("video_id,class,time\nlate,run,1\n")
    mine = (folder / "dataset.yaml").read_text() + "fps: 50  # all of them\n"
    (folder / "dataset.yaml").write_text(mine)
    (folder / "split_train.txt").write_text("a\nb")  # no line break at the end
    before = read_split_files(folder)
    (footage / "late.mp4").touch()
    (footage / "day 1/late.mp4").touch()
    (footage / "b.mp4").unlink()
    run = hrpro("init", folder, "--add-classes", "jump,run", "--add-classes", "fall")
    assert run.exit_code == 0, run.output
    assert "new classes: jump, fall\n" in run.stdout
    assert run.stdout.splitlines()[-1] == f"next: hrpro label {folder}"
    assert "in the splits, but not among the videos: 'b'\n" in run.stdout
    assert read_dataset_config(folder).classes == ("run", "jump", "fall")
    assert "fps: 50  # all of them" in (folder / "dataset.yaml").read_text()
    after = read_split_files(folder)
    assert after[0][:2] == ["a", "b"]
    assert after[1][: len(before[1])] == before[1]
    assert "late" in after[0]  # it has a point
    assert sorted(after[0] + after[1]) == sorted(IDS | {"late", "day 1/late"})
    assert (folder / "points.csv").read_text() == "video_id,class,time\nlate,run,1\n"


def test_init_says_label_as_long_as_something_new_is_not_marked(tmp_path, footage):
    folder = tmp_path / "own"
    hrpro("init", folder, "--videos", footage, "--classes", "run", "--test-share", "0")
    rows = "".join(f'"{name}",run,1\n' for name in IDS)
    (folder / "points.csv").write_text(f"video_id,class,time\n{rows}")

    def next_step(*options):
        run = hrpro("init", folder, "--test-share", "0", *options)
        assert run.exit_code == 0, run.output
        return run.stdout.splitlines()[-1]

    assert next_step() == f"next: hrpro extract {folder}"
    (footage / "new.mp4").touch()
    assert next_step() == f"next: hrpro label {folder}"
    (folder / "points.csv").write_text(f"video_id,class,time\n{rows}new,run,1\n")
    assert next_step() == f"next: hrpro extract {folder}"
    assert next_step("--add-classes", "jump") == f"next: hrpro label {folder}"


def test_resplit_has_every_class_on_both_sides(tmp_path, footage):
    folder = tmp_path / "own"
    for number in range(12):
        (footage / f"rare {number}.mp4").touch()
    hrpro("init", folder, "--videos", footage, "--classes", "rare,often,once")
    rows = [
        f"rare {n},{label},1\n" for n in range(12) for label in ("often", "rare")[: 1 + (n < 4)]
    ]
    (folder / "points.csv").write_text("".join(["video_id,class,time\n", *rows, "b,once,3\n"]))
    unchanged = tree(folder)
    assert hrpro("init", folder).exit_code == 0
    assert tree(folder) == unchanged
    run = hrpro("init", folder, "--resplit")
    assert (
        "changed sides: models trained before have seen videos that are for testing" in run.stdout
    )
    assert "3 videos with points or marks for testing: the points in them are not" in run.stdout
    train, test = read_split_files(folder)
    assert sorted(train + test) == sorted(IDS | {f"rare {n}" for n in range(12)})
    assert len(test) == 5
    assert len({f"rare {n}" for n in range(4)} & set(test)) == 1
    assert len({f"rare {n}" for n in range(12)} & set(test)) == 3
    assert "b" in train


def test_where_links_cannot_be_made_the_settings_name_the_folder(tmp_path, footage, monkeypatch):
    def refuse(*_, **__):
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = tmp_path / "own"
    assert hrpro("init", folder, "--videos", footage, "--classes", "run").exit_code == 0
    assert not (folder / "videos").exists()
    assert read_dataset_config(folder).videos == "../footage"
    assert len(find_videos([folder])) == 8
    before = tree(folder)
    assert hrpro("init", folder, "--videos", footage).exit_code == 0
    assert tree(folder) == before


def test_init_of_a_folder_that_has_its_videos(tmp_path, footage):
    folder = tmp_path / "own"
    folder.mkdir()
    footage.rename(folder / "videos")
    (folder / "points.csv").write_text("video_id,class,time\na,run,1\n")
    run = hrpro("init", folder)
    assert run.exit_code == 0, run.output
    assert read_dataset_config(folder).classes is None  # those of the points
    assert not (folder / "videos").is_symlink()
    assert run.stdout.splitlines()[-1] == f"next: hrpro extract {folder}"


def test_video_labels_count_like_points(tmp_path, footage):
    """Their classes are known, their videos are for training, and nothing asks for clicks."""
    folder = tmp_path / "own"
    folder.mkdir()
    names = sorted(path.stem for path in footage.glob("*.mp4"))
    rows = [f"{name},{label}" for name, label in zip(names, ["run", "jump", ""], strict=False)]
    (folder / "labels.csv").write_text("\n".join(["video_id,class", *rows]))
    run = hrpro("init", folder, "--videos", footage, "--classes", "throw")
    assert run.exit_code == 0, run.output
    assert "to label:" not in run.stdout
    assert read_dataset_config(folder).classes == ("jump", "run", "throw")
    assert run.stdout.splitlines()[-1] == f"next: hrpro label {folder}"  # nobody has seen a throw
    with (folder / "labels.csv").open("a") as file:
        file.write(f"\n{names[0]},throw\n")
    assert hrpro("init", folder).stdout.splitlines()[-1] == f"next: hrpro extract {folder}"


def test_names_that_no_list_can_hold_are_left_out(tmp_path, footage):
    (footage / " blank.mp4").touch()
    (footage / "two\nlines.mp4").touch()
    run = hrpro("init", tmp_path / "own", "--videos", footage)
    assert "left out: ' blank', 'two\\nlines': names must not begin" in run.stdout
    train, test = read_split_files(tmp_path / "own")
    assert sorted(train + test) == sorted(IDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["own"], "own: say where the videos are: --videos DIR"),
        (["own", "--videos", "nowhere"], "--videos nowhere: no such folder"),
        (["own", "--videos", "empty"], "no videos in this folder"),
        (["file", "--videos", "footage"], "file: is a file"),
        (["file/own", "--videos", "footage"], "file/own"),
        (["footage", "--videos", "footage"], "choose a place beside it"),
        (["footage/own", "--videos", "footage"], "lies inside the folder of the videos"),
        (["own", "--videos", "footage", "--classes", 'a,"b'], "write names with commas between"),
        (["own", "--videos", "footage", "--classes", "a,A"], "there is 'a' already"),
        (["own", "--videos", "footage", "--classes", "a\tb"], "not a class name"),
        (["broken", "--videos", "footage"], "broken/videos: leads to gone"),
        (["typo", "--videos", "footage"], "dataset.yaml:1: unknown key 'dataset.klasses'"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    tmp_path, footage, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/videos").symlink_to("gone")
    write(tmp_path / "typo", "klasses: [a]\n")
    before = sorted(tmp_path.rglob("*"))
    assert message in error_line(hrpro("init", *arguments))
    assert sorted(tmp_path.rglob("*")) == before


def test_other_videos_need_another_dataset(tmp_path, footage):
    folder, other = tmp_path / "own", tmp_path / "other"
    hrpro("init", folder, "--videos", footage)
    other.mkdir()
    (other / "z.mp4").touch()
    assert "own: has its videos in" in error_line(hrpro("init", folder, "--videos", other))


# Dealing videos


@given(
    labels=st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=40),
    share=st.floats(0, 0.9),
    seed=st.integers(0, 5),
)
def test_deal(labels, share, seed):
    by_video = {f"v{number}": found for number, found in enumerate(labels)}
    split = deal(by_video, share, seed, by_video)
    assert sorted(split.train + split.test) == sorted(by_video)
    assert deal(list(reversed(by_video)), share, seed, by_video) == split
    for label in "abcd":
        total = sum(label in found for found in labels)
        trained = sum(label in by_video[video] for video in split.train)
        assert not total or share >= 0.5 or trained
    if not any(labels):
        assert abs(len(split.test) - share * len(labels)) <= 1


def test_deal_keeps_what_is_given():
    split = deal({"x", "y"}, 0.25, 0, given=Split(("a", "b"), ("c", "d", "e")))
    assert set(split.train) == {"a", "b", "x", "y"}
    assert split.test == ("c", "d", "e")
