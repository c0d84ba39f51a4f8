"""Settings of the student that go together."""

from __future__ import annotations

from typing import Any

BASES: dict[str, dict[str, Any]] = {
    "published": {},
    "released": {
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
        "detection": {"sigma": 0.3},
        "window": {"length": 768, "stride": 8},
        "pseudo": {"density": {"keep_best": True}},
        "optimiser": {
            "min_epoch_updates": 6,
            "lr": 1e-3,
            "warmup_updates": 20,
            "rate": "cosine",
            "ema": 0.99,
            "ema_warmup": True,
        },
        "teacher": {
            "first_epochs": 30,
            "epochs": 50,
            "min_score": 0.1,
            "blend": 0.5,
            "known_classes": True,
        },
    },
}
"""``published``: FuSTAL's, where its release does what it evidently means; ``released``: with the
release's slips, too; ``small``: for own footage, and for CPUs."""
