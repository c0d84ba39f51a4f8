"""How the figure of the demo videos moves: poses over time, without a pixel of it.

A pose is a row of the channels of `CHANNELS`. Angles are in radians and count from straight down,
positive to where the figure faces; lengths are shares of the figure's height.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CHANNELS = (
    "facing",  # 1 right, -1 left, in between while it turns round
    "width",  # 0 seen from the side, 1 from the front
    "x",  # of the hip, from where the figure stands
    "lift",  # of the lowest point, above the ground
    "turn",  # of the whole body, forward
    "lean",  # of the torso and the arms, forward
    "arm_l",
    "arm_r",
    "elbow_l",  # against the upper arm
    "elbow_r",
    "leg_l",
    "leg_r",
    "knee_l",  # against the thigh; negative, as knees bend
    "knee_r",
)
SHIN, THIGH, TORSO, ARM = 0.24, 0.24, 0.30, 0.16  # ARM: upper arm, and again the forearm

Motion = Callable[[np.ndarray], np.ndarray]  # phase [F], 2 pi for each repetition -> poses [F, 14]


def poses(num_frames: int, **channels: np.ndarray | float) -> np.ndarray:
    """Return poses `[num_frames, 14]` with these channels; the others are 0 (facing: 1)."""
    result = np.zeros((num_frames, len(CHANNELS)))
    for name, values in ({"facing": 1.0} | channels).items():
        result[:, CHANNELS.index(name)] = values
    return result


def cartwheel(phase: np.ndarray) -> np.ndarray:
    """Turn over sideways on the hands, once for each repetition, there and back."""
    turn = np.pi * (1 - np.cos(phase / 2))
    # The angle starts again at -pi, so that a pose after it is not several turns away.
    wrapped = np.remainder(turn + np.pi, 2 * np.pi) - np.pi
    arms, legs = 2.5, 0.5
    return poses(
        len(phase),
        width=1,
        x=0.06 * np.sin(phase / 2),
        turn=wrapped,
        arm_l=-arms,
        arm_r=arms,
        leg_l=-legs,
        leg_r=legs,
    )


def jumping_jacks(phase: np.ndarray) -> np.ndarray:
    """Jump to legs apart and hands over the head, and back."""
    apart = _there_and_back(phase)
    arms, legs = 0.2 + 2.7 * apart, 0.06 + 0.5 * apart
    return poses(
        len(phase),
        width=1,
        lift=0.07 * np.abs(np.sin(phase)),
        arm_l=-arms,
        arm_r=arms,
        leg_l=-legs,
        leg_r=legs,
    )


def push_ups(phase: np.ndarray) -> np.ndarray:
    """Lower and raise the straight body on the hands."""
    shoulder = 2 * ARM * (0.97 - 0.62 * _there_and_back(phase))  # height over the ground
    turn = np.pi / 2 - np.arcsin(shoulder / (SHIN + THIGH + TORSO))
    bend = np.arccos(shoulder / (2 * ARM))
    arms, elbows = turn - bend, 2 * bend
    return poses(len(phase), turn=turn, arm_l=arms, arm_r=arms, elbow_l=elbows, elbow_r=elbows)


def running(phase: np.ndarray) -> np.ndarray:
    """Run on the spot, seen from the side; a repetition is a step of either leg."""
    swing = np.sin(phase)
    return poses(
        len(phase),
        lift=0.05 * np.abs(np.cos(phase)),
        lean=0.2,
        arm_l=-1.0 * swing,
        arm_r=1.0 * swing,
        elbow_l=1.4,
        elbow_r=1.4,
        leg_l=0.35 + 0.85 * swing,
        leg_r=0.35 - 0.85 * swing,
        knee_l=-0.9 - 0.8 * np.cos(phase),
        knee_r=-0.9 + 0.8 * np.cos(phase),
    )


def squatting(phase: np.ndarray) -> np.ndarray:
    """Go down to a deep bend of the knees with the arms forward, and up again."""
    depth = _there_and_back(phase)
    legs, knees, arms = 1.75 * depth, -2.35 * depth, 0.1 + 2.1 * depth
    return poses(
        len(phase),
        width=0.3,
        lean=0.65 * depth,
        arm_l=arms,
        arm_r=arms,
        leg_l=legs,
        leg_r=legs,
        knee_l=knees,
        knee_r=knees,
    )


def waving(phase: np.ndarray) -> np.ndarray:
    """Wave with both arms over the head, from side to side."""
    swing = np.sin(phase)
    return poses(
        len(phase),
        width=1,
        lean=0.1 * swing,
        arm_l=-2.6 - 0.35 * swing,
        arm_r=2.6 - 0.35 * swing,
        elbow_l=-0.1 - 0.6 * np.sin(phase - 0.4),
        elbow_r=0.1 - 0.6 * np.sin(phase - 0.4),
        leg_l=-0.12,
        leg_r=0.12,
    )


# Class -> its motion, and its repetitions per second at normal speed.
MOTIONS: dict[str, tuple[Motion, float]] = {
    "cartwheel": (cartwheel, 0.7),
    "jumping jacks": (jumping_jacks, 1.0),
    "push-ups": (push_ups, 0.8),
    "running": (running, 1.6),
    "squatting": (squatting, 0.9),
    "waving": (waving, 1.4),
}


def act(label: str, num_frames: int, fps: float, speed: float) -> np.ndarray:
    """Return poses `[num_frames, 14]` of whole repetitions, as near to `speed` as they allow.

    Args:
        label: a class of `MOTIONS`.
        num_frames: length.
        fps: frames per second.
        speed: 1 is normal.
    """
    motion, rate = MOTIONS[label]
    repetitions = max(1, round(rate * speed * num_frames / fps))
    return motion(np.linspace(0, 2 * np.pi * repetitions, num_frames))


def idle(num_frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Return poses `[num_frames, 14]` of nothing in particular: stand, sway, stroll to and fro."""
    time_s = np.arange(num_frames) / fps
    wobble = np.sin(2 * np.pi * (rng.uniform(0.15, 0.4) * time_s + rng.uniform()))
    kind = rng.choice(["stand", "sway", "stroll"])
    if kind == "stroll":
        return _stroll(time_s, rng)
    sway = 0.02 if kind == "stand" else 0.08
    arms, legs = 0.12 + 0.04 * wobble, 0.1
    return poses(
        num_frames,
        width=rng.choice([0.4, 1.0]),
        x=0.5 * sway * wobble,
        lean=sway * wobble,
        arm_l=-arms,
        arm_r=arms,
        leg_l=-legs - 0.5 * sway * wobble,
        leg_r=legs - 0.5 * sway * wobble,
    )


def _stroll(time_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Walk slowly to one side, turn round, and come back."""
    share = time_s / time_s[-1]
    pace = np.clip(4 * np.minimum(share, 1 - share), 0, 1) * np.clip(8 * abs(share - 0.5), 0, 1)
    swing = 0.35 * pace * np.sin(2 * np.pi * rng.uniform(0.6, 0.9) * time_s)
    return poses(
        len(time_s),
        facing=np.clip(10 * (0.5 - share), -1, 1),
        width=0.2,
        x=min(0.3, 0.1 * time_s[-1]) * _there_and_back(2 * np.pi * share),
        arm_l=-0.6 * swing,
        arm_r=0.6 * swing,
        elbow_l=0.2,
        elbow_r=0.2,
        leg_l=swing,
        leg_r=-swing,
        knee_l=-0.3 * pace - 0.5 * swing,
        knee_r=-0.3 * pace + 0.5 * swing,
    )


def join(parts: list[np.ndarray], is_action: list[bool], blend: int) -> np.ndarray:
    """Join parts `[F_i, 14]` to one `[F, 14]` without jumps.

    The idle parts give way: over up to `blend` frames at their ends they come from the last pose
    of the action before and go to the first pose of the action after.
    """
    result = [part.copy() for part in parts]
    for number, part in enumerate(result):
        if is_action[number]:
            continue
        length = min(blend, len(part) // 2)
        weight = _there_and_back(np.pi * np.arange(1, length + 1) / (length + 1))[:, None]
        if number > 0:
            part[:length] += (1 - weight) * (parts[number - 1][-1] - part[:length])
        if number + 1 < len(parts):
            tail = part[len(part) - length :]
            tail += weight * (parts[number + 1][0] - tail)
    return np.concatenate(result)


def _there_and_back(phase: np.ndarray) -> np.ndarray:
    """Rise from 0 to 1 at phase pi and fall back to 0 at 2 pi, smoothly."""
    return (1 - np.cos(phase)) / 2
