"""The student against the release's numbers: FuSTAL's regression detector."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from golden_files import Arrays, double, equal, grouped, load, rows
from torch import Tensor

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.methods.student.assignment import assign
from hrpro.localize.methods.student.batch import (
    Segments,
    WindowBatch,
    draw_window,
    pad_features,
    padded_length,
)
from hrpro.localize.methods.student.config import (
    AssignmentConfig,
    DetectionConfig,
    LossConfig,
    OptimiserConfig,
    StudentConfig,
    TeacherConfig,
    WindowConfig,
)
from hrpro.localize.methods.student.inference import candidates, in_seconds, suppress
from hrpro.localize.methods.student.labels import LabelSwitch, teacher_segments
from hrpro.localize.methods.student.losses import (
    distance_iou_loss,
    focal_loss,
    segment_iou,
    training_losses,
    video_loss,
    video_scores,
)
from hrpro.localize.methods.student.model import StudentModel, StudentOutput
from hrpro.localize.methods.student.stage import StudentStage, TrainingVideo
from hrpro.localize.nn.pyramid import Levels
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.training.optimization import build_optimizer, learning_rate

EXACT, LOOSE = 1e-9, 1e-7

NAMES = {
    "embed.conv.": "pyramid.embed.convs.",
    "embed.norm.": "pyramid.embed.norms.",
    "stem.": "pyramid.stem.",
    "branch.": "pyramid.branch.",
    "neck.": "pyramid.neck.",
    **{
        f"{head}.{layer}.": f"{head}_head.{ours}."
        for head in ("class", "start", "end", "offset")
        for layer, ours in (("conv", "hidden.convs"), ("norm", "hidden.norms"), ("out", "out.conv"))
    },
}
BLOCK_NAMES = {
    ".ln.": ".norm.",
    ".gn.": ".group_norm.",
    ".w_psi.": ".granularity.window_gate.",
    ".w_f.": ".granularity.instant.",
    ".w_1.": ".granularity.short.",
    ".w_k.": ".granularity.long.",
    ".w_g.": ".granularity.instant_gate.",
    ".mlp.1.": ".mlp.2.",
}


def our_name(name: str) -> str:
    for theirs, ours in BLOCK_NAMES.items():
        name = name.replace(theirs, ours)
    for theirs, ours in NAMES.items():
        if name.startswith(theirs):
            name = ours + name[len(theirs) :]
            break
    if name.startswith(("pyramid.embed.convs.", *(f"{h}_head.hidden.convs." for h in HEADS))):
        name = name.replace(".weight", ".conv.weight")
    return name


HEADS = ("class", "start", "end", "offset")


def our_weights(weights: Arrays) -> dict[str, Tensor]:
    """The golden weights under our names and in our shapes."""
    state = {}
    for name, values in weights.items():
        if name.startswith("offset.scale."):
            continue
        value = double(values)
        if ".mlp." in name and value.dim() == 3:
            value = value[..., 0]
        state[our_name(name)] = value
    scales = sorted(n for n in weights if n.startswith("offset.scale."))
    state["offset_scale"] = double(np.array([weights[n] for n in scales]))
    return state


def golden_config(weights: Arrays, length: int, **loss: object) -> StudentConfig:
    """The sizes of the golden network; without dropout, drop-path and noise."""
    kernel = weights["stem.0.w_k.weight"].shape[2]
    return StudentConfig.model_validate(
        {
            "pyramid": {
                "width": len(weights["embed.norm.0.weight"]),
                "mlp_width": len(weights["stem.0.mlp.0.weight"]),
                "num_stem": len({n.split(".")[1] for n in weights if n.startswith("stem.")}),
                "num_levels": len({n.split(".")[1] for n in weights if n.startswith("neck.")}),
                "scale_factor": (kernel - 1) / 2,
                "init_std": 1.0,
                "drop_path": 0.0,
            },
            "heads": {"bins": len(weights["offset.out.bias"]) // 2 - 1},
            "window": {"length": length, "noise": 0.0},
            "loss": loss,
        }
    )


def golden_student(weights: Arrays, length: int, **loss: object) -> StudentModel:
    model = StudentModel(
        weights["embed.conv.0.weight"].shape[1],
        len(weights["class.out.bias"]),
        golden_config(weights, length, **loss),
    ).double()
    state = our_weights(weights) | {"normaliser": model.normaliser}
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def student(golden) -> dict[str, Arrays]:
    return grouped(load(golden / "fustal" / "student.npz"))


def golden_batch(train: Arrays, length: int) -> WindowBatch:
    count = len(train["video_label"])
    return WindowBatch.collate(
        [double(train[f"features{i}"]) for i in range(count)],
        [
            Segments.of(double(train[f"segments{i}"]), torch.from_numpy(train[f"labels{i}"]))
            for i in range(count)
        ],
        double(train["video_label"]),
        length,
    )


def test_golden_student_network(student):
    weights, train = student["weights"], student["train"]
    length = train["backbone_level0"].shape[1]
    model, batch = golden_student(weights, length), golden_batch(train, length)
    seen: dict[str, tuple[Tensor, ...]] = {}

    def watch(name):
        return lambda _, inputs, output: seen.update({name: (inputs[0], output[0])})

    model.pyramid.stem[0].register_forward_hook(watch("stem0"))
    model.pyramid.branch[0].register_forward_hook(watch("branch0"))
    for block, name in (
        (model.pyramid.stem[-1], "backbone_level0"),
        (model.pyramid.branch[-1], f"backbone_level{len(model.pyramid.branch)}"),
    ):
        block.register_forward_hook(watch(name))
    output = model(batch.features, batch.valid)
    for name in ("stem0", "branch0"):
        for place, values in zip(("in", "out"), seen[name], strict=True):
            equal(values[:1], train[f"{name}_{place}"], f"{name} {place}", EXACT)
    for name in (n for n in train if n.startswith("backbone_level")):
        # The golden arrays of the first and the last level, before the neck.
        equal(seen[name][1], train[name], name, EXACT)
    np.testing.assert_array_equal(output.valid, train["valid"])
    for name in ("class_logits", "start_logits", "end_logits"):
        equal(getattr(output, name), train[name], name, EXACT)
    equal(output.offset_logits.flatten(2), train["offset_logits"], "offset_logits", EXACT)
    everything = torch.ones_like(output.class_logits).nonzero().unbind(1)
    distances = output.distances(*everything).view_as(torch.from_numpy(train["distances"]))
    equal(distances, train["distances"], "distances", EXACT)


def test_golden_student_targets(student):
    train = student["train"]
    length = train["backbone_level0"].shape[1]
    batch = golden_batch(train, length)
    config = golden_config(student["weights"], length)
    levels = Levels.of(length, config.pyramid.num_levels)
    targets = assign(
        levels,
        batch.segments,
        batch.labels,
        batch.present,
        train["class_targets"].shape[2],
        config.assignment,
    )
    np.testing.assert_array_equal(targets.classes, train["class_targets"])
    equal(targets.distances, train["offset_targets"], "offset_targets", EXACT)


def test_golden_student_losses_gradients_and_update(student):
    weights, train, after = student["weights"], student["train"], student["after"]
    length = train["backbone_level0"].shape[1]
    model, batch = golden_student(weights, length, video_topk="batch"), golden_batch(train, length)
    stage = StudentStage(model, [one_video(model)])
    optimizer, average = build_optimizer(model, stage.schedule), stage.average
    assert stage.schedule.clip_norm is not None

    losses = training_losses(model, batch)
    check_losses(losses, model, train)
    losses["total"].backward()
    parameters = dict(model.named_parameters())
    scales = parameters["offset_scale"].grad
    for name in (n for n in train if n.startswith("grad_norm/")):
        theirs = name.removeprefix("grad_norm/")
        if theirs.startswith("offset.scale."):
            norm = scales[int(theirs.rsplit(".", 1)[1])].abs()
        else:
            norm = parameters[our_name(theirs)].grad.norm()
        equal(norm, train[name], name, LOOSE)
    total = torch.nn.utils.clip_grad_norm_(parameters.values(), stage.schedule.clip_norm)
    equal(total, train["grad_norm_total"], "grad_norm_total", LOOSE)

    optimizer.step()
    average.update(1)
    names = [n for n in after if n.endswith("weight")]
    assert names
    for name in names:
        equal(parameters[our_name(name)], after[name], name, EXACT)
        equal(average.tensors[our_name(name)], after[f"{name}_ema"], f"{name}_ema", EXACT)
    check_losses(training_losses(model, batch), model, after)


def one_video(model: StudentModel) -> TrainingVideo:
    """Any video, for a stage whose schedule counts."""
    dim = model.pyramid.embed.convs[0].conv.in_channels
    none = Segments.of(torch.empty(0, 2), torch.empty(0))
    return TrainingVideo(torch.zeros(1, dim), SnippetGrid(), none, torch.zeros(model.num_classes))


def check_losses(losses: dict[str, Tensor], model: StudentModel, golden: Arrays) -> None:
    for name, theirs in (
        ("class", "loss_class"),
        ("offset", "loss_offset"),
        ("video", "loss_mil_batch_k"),
        ("total", "loss_total"),
    ):
        equal(losses[name], golden[theirs], theirs, LOOSE)
    equal(model.normaliser, golden["normaliser"], "normaliser", EXACT)


def test_golden_student_video_loss_per_video(student):
    train = student["train"]
    length = train["backbone_level0"].shape[1]
    model, batch = golden_student(student["weights"], length), golden_batch(train, length)
    output = model(batch.features, batch.valid)
    scores = video_scores(output, LossConfig())
    equal(scores, train["video_score_per_video"], "video_score_per_video", EXACT)
    loss = video_loss(output, batch.video_label, LossConfig())
    equal(loss, train["loss_mil_per_video"], "loss_mil_per_video", LOOSE)


def test_golden_trident(golden):
    cases = grouped(load(golden / "fustal" / "trident.npz"))
    assert cases
    for name, case in cases.items():
        start, end = (double(case[k]).T.unsqueeze(0) for k in ("start", "end"))
        output = StudentOutput(
            levels=Levels((start.shape[1],), torch.device("cpu")),
            valid=torch.ones(start.shape[:2], dtype=torch.bool),
            class_logits=start,
            start_logits=start,
            end_logits=end,
            offset_logits=double(case["offset"]).unsqueeze(0).unflatten(2, (2, -1)),
        )
        everything = torch.ones_like(start).nonzero().unbind(1)
        distances = output.distances(*everything).view(*start.shape[1:], 2).transpose(0, 1)
        equal(distances, case["distances"], name, EXACT)


def test_golden_assignment(golden):
    cases = grouped(load(golden / "fustal" / "assignment.npz"))
    points = cases.pop("")["points"]
    strides = np.unique(points[:, 1])
    levels = Levels.of(int((points[:, 1] == 1).sum()), len(strides))
    np.testing.assert_array_equal(torch.stack([levels.position, levels.stride], 1), points)
    assert cases
    for name, case in cases.items():
        num_classes = case["class_targets"].shape[1]
        labels = torch.from_numpy(case["labels"]).unsqueeze(0)
        targets = assign(
            levels,
            double(case["segments"]).unsqueeze(0),
            labels,
            torch.ones_like(labels, dtype=torch.bool),
            num_classes,
            AssignmentConfig(),
        )
        positive = targets.positive[0].nonzero().squeeze(1)
        np.testing.assert_array_equal(positive, case["positive"], err_msg=name)
        np.testing.assert_array_equal(targets.classes[0, positive], case["class_targets"])
        equal(targets.distances[0, positive], case["offset_targets"], name, EXACT)


def test_golden_losses(golden):
    arrays = grouped(load(golden / "fustal" / "losses.npz"))
    focal, iou = arrays["focal"], arrays["iou"]
    loss = focal_loss(double(focal["logits"]), double(focal["targets"]), 0.25, 2.0)
    equal(loss, focal["loss"], "focal", EXACT)
    predicted, target = double(iou["predicted"]), double(iou["target"])
    overlap = segment_iou(predicted, target)
    equal(overlap, iou["iou"], "iou", EXACT)
    equal(distance_iou_loss(predicted, target, overlap), iou["diou_loss"], "diou_loss", EXACT)


def test_golden_crop(golden):
    cases = json.loads((golden / "fustal" / "crop.json").read_text())
    assert cases
    for case in cases:
        config = WindowConfig(
            length=case["max_length"],
            min_share=case["ratio"][0],
            tries=1 if case["draws"] else 200,
        )
        bounds = torch.tensor(case["segments"], dtype=torch.float64).view(-1, 2)
        segments = Segments.of(bounds, torch.arange(len(bounds)))
        window = tuple(case["window"])
        if case["draws"]:
            draws = iter(case["draws"])

            def draw(low, high, draws=draws):
                expected_low, expected_high, drawn = next(draws)
                assert (low, high) == (expected_low, expected_high)
                return drawn

            assert draw_window(case["length"], segments, config, draw) == window
            assert next(draws, None) is None
            if case["length_range"]:
                assert list(case["draws"][0][:2]) == case["length_range"]
        elif case["length_range"] is None:
            assert window[1] - window[0] == case["max_length"]
            drawn = draw_window(case["length"], segments, config)
            assert segments.within(*drawn, config.min_inside).any()
        whole = window == (0, case["length"])
        kept = segments if whole else segments.window(*window, config.min_inside)
        assert kept.labels.tolist() == case["kept"]
        expected = np.array(case["new_segments"], float).reshape(-1, 2)
        equal(kept.bounds, expected, str(case["window"]), EXACT)


def test_golden_soft_nms(golden):
    cases = grouped(load(golden / "fustal" / "soft_nms.npz"))
    assert cases
    for name, case in cases.items():
        start, end = case["segments"].T
        table = Proposals(np.zeros(len(start)), start, end, case["labels"], case["scores"])
        kept = suppress(table, DetectionConfig(max_detections=int(case["max"])))
        equal(rows(kept), case["result"], name, LOOSE)


def test_golden_student_inference(golden, student):
    videos = grouped(load(golden / "fustal" / "student_inference.npz"))
    length = student["train"]["backbone_level0"].shape[1]
    model = golden_student(student["weights"], length).eval()
    config = model.config
    assert videos
    for name, video in videos.items():
        features = double(video["features"])
        padded = padded_length(len(features), config.pyramid.multiple, config.window.length)
        output = model(*pad_features([features], padded))
        assert list(output.levels.lengths) == video["level_lengths"].tolist()
        found = candidates(output, config.detection)
        assert len(found) == video["candidates_count"]
        best = found.by_score()[: len(video["candidates"])]
        equal(rows(best), video["candidates"], name, LOOSE)
        grid = SnippetGrid(fps=float(video["fps"]), snippet=16, stride=4)
        kept = in_seconds(suppress(found, config.detection), [grid], [float(video["duration"])])
        assert len(kept) == video["detections_count"]
        equal(rows(kept[: len(video["detections"])]), video["detections"], name, LOOSE)


def test_golden_label_switch(golden, student):
    case = json.loads((golden / "fustal" / "label_switch.json").read_text())
    grid = SnippetGrid(fps=case["fps"], snippet=case["frames"], stride=case["stride"])
    given = {
        video: Segments.of(
            torch.tensor(first["segments"], dtype=torch.float64), torch.tensor(first["labels"])
        )
        for video, first in case["first_labels"].items()
    }

    def teach(video: str, config: TeacherConfig) -> Segments | None:
        said = case["teacher"][video]
        start, end = np.array(said["segments"], float).reshape(-1, 2).T
        table = Proposals(np.zeros(len(start)), start, end, said["labels"], said["scores"])
        return teacher_segments(table, grid, config)

    def shown(epoch: int, config: TeacherConfig) -> list[list[dict]]:
        """What the student sees in an epoch, batch by batch."""
        switch, batches = LabelSwitch(config), []
        if switch.is_over(epoch):
            return []
        for batch in case["batches"]:
            chosen = switch.choose(
                epoch,
                [given[video] for video in batch],
                lambda batch=batch: [teach(video, config) for video in batch],
            )
            seen = [
                {"video": v, "segments": s.bounds.tolist(), "labels": s.labels.tolist()}
                for v, s in zip(batch, chosen, strict=True)
                if s is not None
            ]
            if seen:
                batches.append(seen)
        return batches

    released = TeacherConfig(no_detection="released", min_score=case["threshold"])
    for epoch, expected in case["epochs"].items():
        assert LabelSwitch(released).is_over(int(epoch)) == expected["stopped"]
        batches = shown(int(epoch), released)
        same_batches(batches, expected["released_loop"])
        # The average moves once for every batch that was shown.
        assert len(batches) == expected["ema_updates"]
    recommended = TeacherConfig(min_score=case["threshold"])
    same_batches(shown(recommended.first_epochs, recommended), case["recommended"])

    rate = case["learning_rate"]
    optimiser = OptimiserConfig(lr=rate["base"], warmup_updates=rate["warmup_iterations"])
    config = student["weights"], student["train"]["backbone_level0"].shape[1]
    model = golden_student(*config)
    model.config = model.config.model_copy(update={"optimiser": optimiser})
    schedule = StudentStage(model, [one_video(model)]).schedule
    ours = [learning_rate(schedule, update) for update in range(len(rate["first_30"]))]
    equal(np.array(ours), np.array(rate["first_30"]), "first rates", EXACT)
    assert learning_rate(schedule, 2499) == pytest.approx(rate["iteration_2499"], abs=EXACT)


def same_batches(ours: list[list[dict]], theirs: list[list[dict]]) -> None:
    assert [[v["video"] for v in batch] for batch in ours] == [
        [v["video"] for v in batch] for batch in theirs
    ]
    for our_batch, their_batch in zip(ours, theirs, strict=True):
        for our, their in zip(our_batch, their_batch, strict=True):
            assert our["labels"] == their["labels"]
            np.testing.assert_allclose(our["segments"], their["segments"], rtol=0, atol=EXACT)
