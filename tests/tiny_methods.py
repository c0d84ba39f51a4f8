"""Settings with which each method learns a tiny dataset (`tiny_datasets`) in seconds."""

from __future__ import annotations

import json

STUDENT = {
    "student.pyramid.width": 32,
    "student.pyramid.mlp_width": 32,
    "student.pyramid.num_stem": 1,
    "student.pyramid.num_levels": 3,
    "student.window.stride": 8,
    "student.window.length": 96,
    "student.optimiser.lr": 6e-3,
    "student.optimiser.warmup_updates": 5,
    "student.optimiser.batch_videos": 4,
    "student.optimiser.eval_every": 20,
    "student.optimiser.ema": 0.9,
    "student.detection.max_per_level": 100,
    "student.detection.min_score": 0.01,
    "student.teacher.first_epochs": 18,
    "student.teacher.epochs": 24,
}
SAL = {
    "generator.lr": 5e-3,
    "generator.updates": 60,
    "generator.batch_videos": 4,
    "generator.network.length": 40,
    "generator.network.width": 16,
    "generator.network.dropout": 0.2,
    "generator.losses.pseudo_extra": 5,
    "generator.losses.evidence_ratio": None,
    "student.pseudo.density.min_score": 0.2,
}
HRPRO = {
    "generator.lr": 4e-3,
    "generator.updates": 25,
    "generator.eval_every": 25,
    "generator.snippet.num_blocks": 1,
    "generator.stage2.epochs": 1,
    "generator.stage2.lr": 1e-3,
    "generator.proposals.score_thresholds": [0.1, 0.2],
    "generator.proposals.attention_thresholds": [0.2, 0.4, 0.6, 0.8],
}
FUSTAL = {
    "generator.lr": 5e-3,
    "generator.updates": 60,
    "generator.eval_every": 60,
    "generator.batch_videos": 8,
    "generator.network.length": 40,
    "generator.network.width": 16,
    "generator.network.dropout": 0.2,
    "generator.network.topk_ratio": 8,
}


def _alone(behind: dict[str, object]) -> dict[str, object]:
    """Settings of a method out of those that it has behind a student."""
    prefix = "generator."
    return {k.removeprefix(prefix): v for k, v in behind.items() if k.startswith(prefix)}


TINY: dict[str, dict[str, object]] = {
    "hrpro": _alone(HRPRO),
    "sal": _alone(SAL),
    "hrpro+student": {**HRPRO, **STUDENT},
    "sal+student": {**SAL, **STUDENT},
    "fustal": {**FUSTAL, **STUDENT},
    "student": STUDENT,
}


def overrides(method: str, more: dict[str, object] | None = None) -> list[str]:
    """The settings of a method as ``--set`` takes them, its name first.

    Args:
        method: its name.
        more: what goes on top.
    """
    settings = {**TINY[method], **(more or {})}
    texts = [f"localize.{key}={json.dumps(value)}" for key, value in settings.items()]
    return [f"localize.method={method}", "localize.precision=float32", *texts]
