"""A student so small that it learns in seconds."""

from __future__ import annotations

from hrpro.localize.methods.student.config import StudentConfig

TINY = {
    "pyramid": {
        "width": 16,
        "mlp_width": 24,
        "num_stem": 1,
        "num_levels": 4,
        "groups": 4,
        "padding": "masked",
    },
    "heads": {"num_convs": 1, "bins": 8},
    "loss": {"normaliser_start": 20.0},
    "window": {"length": 128, "stride": 16},
    "optimiser": {"lr": 5e-3, "batch_videos": 4, "warmup_updates": 5, "ema_warmup": True},
    "teacher": {"first_epochs": 20, "epochs": 20},
}


def tiny_config(**sections: dict) -> StudentConfig:
    merged = {name: {**TINY.get(name, {}), **sections.get(name, {})} for name in {*TINY, *sections}}
    return StudentConfig.model_validate(merged)
