"""SAL against the values that the published method computed; see the README beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hrpro.localize.methods.sal.config import SalConfig, SalNetwork
from hrpro.localize.methods.sal.inference import (
    SalPrediction,
    class_scores,
    predict,
    propose,
    suppress,
)
from hrpro.localize.methods.sal.losses import label_snippets, mix_labels, sal_losses
from hrpro.localize.methods.sal.model import SalModel, selection_map
from hrpro.localize.methods.sal.pseudo_labels import AdaptiveMask
from hrpro.localize.nn.pooling import topk_mean
from hrpro.localize.proposals.generate import SNIPPET_S, Proposals, predicted_classes
from hrpro.localize.proposals.two_list_nms import TwoListNmsConfig, two_list_nms
from hrpro.localize.sampling.fixed_length import (
    perturbed_bounds,
    perturbed_indices,
    uniform_indices,
)

pytestmark = pytest.mark.shared

LAYERS = {
    "enc": "embed.convolution",
    "enc_rgb": "embed_rgb.convolution",
    "enc_flow": "embed_flow.convolution",
    "cls": "classifier",
    "act_rgb": "actionness_rgb",
    "act_flow": "actionness_flow",
    "fc_cls": "video_classifier",
    "fc_sem": "semantics",
}
"""Our names of the layers, by those of the golden values."""

Arrays = dict[str, np.ndarray]


@pytest.fixture
def read(golden):
    def read(name: str) -> dict[str, Arrays]:
        """The arrays of a file by the part of their name before the first slash, in order."""
        groups: dict[str, Arrays] = {}
        with np.load(golden / "sal" / name, allow_pickle=False) as file:
            for key in file.files:
                group, _, rest = key.partition("/")
                groups.setdefault(group, {})[rest] = file[key]
        return groups

    return read


def steps(groups: dict[str, Arrays], prefix: str) -> list[Arrays]:
    found = [groups[f"{prefix}{i}"] for i in range(len(groups)) if f"{prefix}{i}" in groups]
    assert found
    return found


def double(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


def ours(name: str) -> str:
    layer, _, kind = name.partition(".")
    return f"{LAYERS[layer]}.{kind}"


def network(weights: Arrays) -> tuple[SalModel, SalConfig]:
    """The network of the golden values, without dropout."""
    width, dim, kernel = weights["enc.weight"].shape
    config = SalConfig(
        network=SalNetwork(
            rgb_channels=weights["enc_rgb.weight"].shape[1], width=width, kernel=kernel, dropout=0
        )
    )
    model = SalModel(dim, len(weights["cls.weight"]), config.network).double()
    model.load_state_dict({ours(name): double(values) for name, values in weights.items()})
    return model, config


def with_length(config: SalConfig, length: int) -> SalConfig:
    return config.model_copy(
        update={"network": config.network.model_copy(update={"length": length})}
    )


def assert_close(actual: object, expected: np.ndarray, what: str = "") -> None:
    if isinstance(actual, Tensor):
        actual = actual.detach().numpy()
    assert np.shape(actual) == expected.shape, what
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9, err_msg=what)


def assert_same(actual: object, expected: np.ndarray, what: str = "") -> None:
    np.testing.assert_array_equal(np.asarray(actual), expected, err_msg=what)


def assert_same_rows(actual: np.ndarray, expected: np.ndarray) -> None:
    """Rows of the same numbers, in any order."""

    def in_order(rows: np.ndarray) -> np.ndarray:
        return rows[np.lexsort(np.round(rows, 7).T)]

    assert_close(in_order(actual), in_order(expected))


def new_mask(num_classes: int) -> AdaptiveMask:
    mask = AdaptiveMask(num_classes).double()
    mask.mean.fill_(1 / num_classes)  # it was float32 before
    return mask


def start_moments(mask: AdaptiveMask, step: Arrays) -> None:
    mask.mean.copy_(double(step["running_mean_before"]))
    mask.var.copy_(double(step["running_var_before"]))


def test_golden_training(read):
    groups = read("model.npz")
    model, config = network(groups["weights"])
    training = steps(groups, "step")
    mask = new_mask(training[0]["video_label"].shape[1])
    assert_close(mask.mean, training[0]["running_mean_before"])
    assert_close(mask.var, training[0]["running_var_before"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-4)
    for step in training:
        start_moments(mask, step)
        output = model.training_output(double(step["features"]))
        pseudo, weight = label_snippets(model, mask, output, config.losses)
        mixed, mixed_weight = mix_labels(pseudo, weight)
        losses = sal_losses(
            model, output, double(step["video_label"]), pseudo, weight, config.losses
        )
        optimizer.zero_grad()
        losses["total"].backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        grad_norms = {
            f"grad_norm/{theirs}.{kind}": gradients[f"{layer}.{kind}"].norm()
            for theirs, layer in LAYERS.items()
            for kind in ("weight", "bias")
        }
        grads = {
            f"grad/{name}": gradients[ours(name)].clone()
            for name in ("cls.weight", "act_flow.weight")
        }
        optimizer.step()
        parameters = dict(model.named_parameters())
        videos = output.videos
        background = videos.cas_background
        computed = {
            "running_mean": mask.mean,
            "running_var": mask.var,
            "embedding": videos.embedding,
            "embedding_with_semantics": videos.embedding_with_semantics,
            "bilinear": videos.bilinear,
            "semantic": videos.semantics,
            "cas": videos.cas,
            "cas_background": background,
            "selection_map": videos.selection_map,
            "actionness_rgb": videos.actionness_rgb,
            "actionness_flow": videos.actionness_flow,
            "actionness": videos.actionness,
            "actionness_rgb_mix": output.actionness_rgb_mix,
            "actionness_flow_mix": output.actionness_flow_mix,
            "video_logits": videos.video_logits,
            "video_logits_rgb": output.video_logits_rgb,
            "video_logits_flow": output.video_logits_flow,
            "top_class_logits": videos.top_class_logits,
            "top_background_logits": topk_mean(
                background, config.network.background_topk_ratio, background.softmax(dim=-1)
            ),
            "weight": weight,
            "weight_mix": mixed_weight,
            "loss_mil": losses["class"],
            "loss_background": losses["background"],
            "loss_action": losses["action"],
            "loss_mix": losses["mix"],
            "loss_consistency": losses["consistency"],
            "loss_semantic": losses["semantic"],
            "loss_total": losses["total"],
            **grad_norms,
            **grads,
            "after/cls.weight": parameters[ours("cls.weight")],
            "after/enc_flow.bias": parameters[ours("enc_flow.bias")],
            "after/fc_sem.weight_sum": parameters[ours("fc_sem.weight")].sum(),
        }
        exact = {"pseudo_label": pseudo, "pseudo_label_mix": mixed}
        inputs = {"features", "video_label", "running_mean_before", "running_var_before"}
        known = {*computed, *exact, *inputs, "loss_total_without_first_step"}
        assert set(step) <= known
        for name in computed.keys() & step.keys():
            assert_close(computed[name], step[name], name)
        for name in exact:
            assert_same(exact[name], step[name], name)


def test_golden_loss_of_the_untrained_network(read):
    groups = read("model.npz")
    tried = 0
    for step in steps(groups, "step"):
        if "loss_total_without_first_step" not in step:
            continue
        model, config = network(groups["weights"])
        mask = new_mask(step["video_label"].shape[1])
        start_moments(mask, step)
        output = model.training_output(double(step["features"]))
        labelled = label_snippets(model, mask, output, config.losses)
        labels = double(step["video_label"])
        losses = sal_losses(model, output, labels, *labelled, config.losses)
        assert_close(losses["total"], step["loss_total_without_first_step"])
        tried += 1
    assert tried


def test_golden_adaptive_weight(read):
    sequence = steps(read("adaptive_weight.npz"), "step")
    mask = new_mask(sequence[0]["cas"].shape[-1])
    for step in sequence:
        assert_close(mask(double(step["cas"])), step["weight"])
        assert_close(mask.mean, step["running_mean"])
        assert_close(mask.var, step["running_var"])


def test_golden_sampling(read):
    groups = read("sampling.npz")
    assert groups
    for name, case in groups.items():
        length, num_snippets = (int(part[1:]) for part in name.split("_"))
        videos = torch.tensor([num_snippets])
        low, high = perturbed_bounds(videos, length)
        assert_same(low[0], case["low"], name)
        assert_same(high[0], case["high"], name)
        drawn = perturbed_indices(videos, torch.from_numpy(case["random"]).unsqueeze(0))
        assert_same(drawn[0], case["perturbed"], name)
        assert_same(uniform_indices(num_snippets, length), case["uniform"], name)


def check_detections(
    prediction: SalPrediction, expected: Arrays, config: SalConfig, stride_s: float = SNIPPET_S
) -> None:
    assert_close(prediction.selection_map, expected["selection_map"])
    assert_close(prediction.top_class_logits, expected["top_class_logits"])
    assert_close(prediction.class_score, expected["class_score"])
    predicted = predicted_classes(prediction.class_score, config.proposals.class_threshold)
    assert_same(predicted, np.flatnonzero(expected["predicted"]))
    candidates = propose([prediction], config, stride_s=[stride_s], offset_s=[0.0])
    assert_same_rows(as_rows(candidates), expected["proposals"])
    detections = suppress(candidates, config.nms)
    assert_same_rows(as_rows(detections), expected["detections"])
    kept, decayed = two_list_nms(candidates, config.nms)
    assert_same_rows(as_rows(kept), expected["detections"][expected["kept"]])
    assert_same_rows(as_rows(decayed), expected["detections"][~expected["kept"]])


def as_rows(table: Proposals) -> np.ndarray:
    return np.column_stack([table.start_s, table.end_s, table.label, table.score])


def test_golden_inference_from_given_maps(read):
    config = SalConfig()
    for case in steps(read("inference.npz"), "given"):
        cas, rgb, flow = (
            double(case[name]).unsqueeze(0) for name in ("cas", "actionness_rgb", "actionness_flow")
        )
        selected = selection_map(cas, rgb, flow, config.network.class_share)
        top = topk_mean(cas, config.network.topk_ratio, selected)
        logits = double(case["video_logits"]).unsqueeze(0)
        score = class_scores(top, logits, config.pooled_share)
        prediction = SalPrediction(
            selected[0].numpy(), score[0].numpy(), top[0].numpy(), int(case["length"])
        )
        check_detections(prediction, case, config)


def test_golden_inference_from_features(read):
    model, config = network(read("model.npz")["weights"])
    cases = steps(read("inference.npz"), "video")
    config = with_length(config, len(cases[0]["selection_map"]))
    model.config = config.network
    predictions = predict(model, [double(case["features"]) for case in cases], config)
    for prediction, case in zip(predictions, cases, strict=True):
        check_detections(prediction, case, config)


def test_golden_two_list_nms(read):
    for case in steps(read("two_list_nms.npz"), "case"):
        count = np.zeros(len(case["scores"]))
        candidates = Proposals(count, *case["segments"].T, count, case["scores"])
        for found, name in zip(
            two_list_nms(candidates, TwoListNmsConfig()), ("kept", "decayed"), strict=True
        ):
            rows = np.column_stack([found.start_s, found.end_s, found.score])
            assert_same_rows(rows, case[name])
