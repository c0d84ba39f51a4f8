"""Sizes of the student that go together."""

from __future__ import annotations

from typing import Any

from hrpro.localize.methods.student.config import StudentConfig

PRESETS: dict[str, dict[str, Any]] = {
    "fustal": {},
    "fustal-literal": {
        "loss": {"video_topk": "batch", "video_dropout": 0.7},
        "teacher": {"no_detection": "released"},
    },
    "small": {
        "pyramid": {
            "width": 128,
            "mlp_width": 192,
            "num_stem": 1,
            "num_levels": 5,
            "padding": "masked",
            "dropout": 0.1,
        },
        "loss": {"video_weight": 0.2, "normaliser_start": 50.0},
        "window": {"length": 768},
        "optimiser": {
            "lr": 1e-3,
            "warmup_updates": 20,
            "rate": "cosine",
            "ema": 0.99,
            "ema_warmup": True,
        },
        "teacher": {
            "first_epochs": 30,
            "epochs": 50,
            "rule": "points",
            "min_score": 0.1,
            "blend": 0.5,
        },
    },
}
"""``fustal``: as published, in the recommended reading; ``fustal-literal``: as released;
``small``: for own footage with point labels, and for CPUs."""


def student_preset(name: str) -> StudentConfig:
    """A preset's config.

    Raises:
        KeyError: there is no such preset.
    """
    return StudentConfig.model_validate(PRESETS[name])
