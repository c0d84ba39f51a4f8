"""Drawing of the demo videos: a figure of limbs in a room, under a camera that shakes a bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from hrpro.pipeline.demo.motions import ARM, CHANNELS, SHIN, THIGH, TORSO

WIDTH, HEIGHT = 192, 144
MARGIN = 8  # pixels of background around the picture, for the camera to move in
_SUBPIXEL_BITS = 4

HEAD_RADIUS, FOOT = 0.075, 0.07

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Look:
    """How a figure looks and where it stands; colours are RGB."""

    height: float
    """Pixels from the feet to the top of the head."""
    x: float
    ground: float
    """Pixel row of the ground."""
    mirrored: bool
    """Whether it faces left."""
    thickness: float
    """Of the limbs, as a share of `height`."""
    skin: Color
    shirt: Color
    trousers: Color


@dataclass(frozen=True)
class Scene:
    """A figure, what is behind it, and how the camera shakes."""

    look: Look
    background: np.ndarray
    """uint8 RGB `[HEIGHT + 2 MARGIN, WIDTH + 2 MARGIN, 3]`."""
    shake: float
    """Largest movement of the camera, in pixels."""
    seed: int
    """Decides the way of the camera."""


def make_scene(rng: np.random.Generator) -> Scene:
    """Make up a scene."""
    height = HEIGHT * rng.uniform(0.55, 0.7)
    background = _background(rng)
    look = Look(
        height=height,
        x=WIDTH / 2 + rng.uniform(-5, 5),
        ground=HEIGHT * rng.uniform(0.86, 0.95),
        mirrored=bool(rng.integers(2)),
        thickness=rng.uniform(0.05, 0.075),
        skin=_pick(rng, [(240, 200, 170), (205, 150, 115), (140, 90, 60), (255, 220, 190)]),
        shirt=_vivid(rng, background),
        trousers=_vivid(rng, background),
    )
    return Scene(look, background, rng.uniform(0.3, 2.0), int(rng.integers(2**31)))


def draw(scene: Scene, poses: np.ndarray) -> Iterator[np.ndarray]:
    """Yield one picture, uint8 RGB `[HEIGHT, WIDTH, 3]`, for each row of `poses` `[F, 14]`."""
    camera = _camera_path(scene, len(poses))
    joints = skeleton(poses, scene.look) + camera[:, None]
    fixed = np.round(joints * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    for offset, points in zip(camera, fixed, strict=True):
        shift = np.array([[1, 0, offset[0] - MARGIN], [0, 1, offset[1] - MARGIN]])
        picture = cv2.warpAffine(scene.background, shift, (WIDTH, HEIGHT))
        _draw_figure(picture, points, scene.look)
        yield picture


# Joints in the order of `skeleton`.
_ARMS = {"l": [0, 2, 4], "r": [1, 3, 5]}  # shoulder, elbow, hand
_LEGS = {"l": [6, 8, 10, 12], "r": [7, 9, 11, 13]}  # hip, knee, ankle, toe
_TORSO = [0, 1, 7, 6]
_HEAD = 14


def skeleton(poses: np.ndarray, look: Look) -> np.ndarray:
    """Place the joints of poses `[F, 14]` in the picture.

    Returns:
        `[F, 15, 2]` pixel positions (x, y): shoulders, elbows, hands, hips, knees, ankles and
        toes, each left and right, then the head.
    """
    pose = dict(zip(CHANNELS, poses.T, strict=True))
    torso_angle = np.pi - pose["turn"] - pose["lean"]  # straight up is pi from straight down
    neck = TORSO * _direction(torso_angle)
    head = (TORSO + 1.5 * HEAD_RADIUS) * _direction(torso_angle)
    joints = np.zeros((len(poses), 15, 2))
    for side, sign in enumerate((-1, 1)):
        name = "lr"[side]
        across = sign * pose["width"][:, None] * _direction(np.pi / 2 - pose["turn"])
        arm = pose[f"arm_{name}"] - pose["turn"] - pose["lean"]
        leg = pose[f"leg_{name}"] - pose["turn"]
        shin = leg + pose[f"knee_{name}"]
        shoulder, hip = neck + 0.085 * across, 0.05 * across
        elbow = shoulder + ARM * _direction(arm)
        knee = hip + THIGH * _direction(leg)
        ankle = knee + SHIN * _direction(shin)
        outward = np.where(pose["width"] > 0.7, 0.5 * sign, 1.0)  # seen from the front, feet splay
        toe = ankle + FOOT * outward[:, None] * _direction(shin + np.pi / 2)
        hand = elbow + ARM * _direction(arm + pose[f"elbow_{name}"])
        for index, joint in enumerate((shoulder, elbow, hand, hip, knee, ankle, toe)):
            joints[:, 2 * index + side] = joint
    joints[:, _HEAD] = head
    joints[..., 0] = (joints[..., 0] + pose["x"][:, None]) * pose["facing"][:, None]
    lowest = joints[..., 1].min(axis=1)  # feet or hands: whatever is lowest stands on the ground
    joints[..., 1] += (pose["lift"] - lowest)[:, None]
    side = -1 if look.mirrored else 1
    return joints * [side * look.height, -look.height] + [look.x, look.ground]


def _direction(angle: np.ndarray) -> np.ndarray:
    """Return unit vectors `[F, 2]` (forward, up) of angles from straight down."""
    return np.stack([np.sin(angle), -np.cos(angle)], axis=-1)


def _draw_figure(picture: np.ndarray, points: np.ndarray, look: Look) -> None:
    limb = max(2, round(look.thickness * look.height))
    one = 1 << _SUBPIXEL_BITS

    def lines(indices: list[int], color: Color, thickness: int) -> None:
        chain = points[indices].reshape(-1, 1, 2)
        cv2.polylines(picture, [chain], False, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

    def disc(index: int, radius: float, color: Color) -> None:
        center = (int(points[index, 0]), int(points[index, 1]))
        size = round(radius * one)
        cv2.circle(picture, center, size, color, -1, cv2.LINE_AA, _SUBPIXEL_BITS)

    def side(name: str, shade: float) -> None:
        lines(_LEGS[name], _shaded(look.trousers, shade), limb)
        lines(_ARMS[name], _shaded(look.shirt, shade * 0.9), max(2, limb - 1))
        disc(_ARMS[name][-1], 0.6 * limb, _shaded(look.skin, shade))

    side("l", 0.75)  # the far side is darker
    torso = points[_TORSO]
    cv2.fillPoly(picture, [torso], look.shirt, cv2.LINE_AA, _SUBPIXEL_BITS)
    lines([*_TORSO, _TORSO[0]], look.shirt, limb + 2)
    disc(_HEAD, HEAD_RADIUS * look.height, look.skin)
    side("r", 1.0)


def _camera_path(scene: Scene, num_frames: int) -> np.ndarray:
    """Return pixel offsets `[F, 2]`: slow drift with a little tremor."""
    rng = np.random.default_rng(scene.seed)
    frame = np.arange(num_frames)[:, None]
    periods = np.array([240.0, 70.0, 17.0]) * rng.uniform(0.7, 1.4, (2, 3))  # frames
    starts = rng.uniform(0, 2 * np.pi, (2, 3))
    waves = np.sin(2 * np.pi * frame[..., None] / periods + starts)  # [F, 2, 3]
    return scene.shake * waves @ np.array([0.6, 0.3, 0.1])


def _background(rng: np.random.Generator) -> np.ndarray:
    """Paint a wall and a floor with shading, texture and some furniture."""
    height, width = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    horizon = round(height * rng.uniform(0.62, 0.8))
    picture = np.empty((height, width, 3), np.float32)
    picture[:horizon] = rng.uniform(80, 210) + rng.uniform(-35, 35, 3)
    picture[horizon:] = rng.uniform(50, 160) + rng.uniform(-30, 30, 3)
    for _ in range(rng.integers(1, 5)):
        color = tuple(map(float, rng.uniform(40, 230, 3)))
        x, y = int(rng.integers(width)), horizon + int(rng.integers(-8, 12))
        size_x, size_y = int(rng.integers(6, 28)), int(rng.integers(10, 60))
        if rng.integers(2):
            cv2.rectangle(picture, (x - size_x, y - size_y), (x + size_x, y), color, -1)
        else:
            cv2.ellipse(picture, (x, y - size_y // 2), (size_x, size_y // 2), 0, 0, 360, color, -1)
    for cells, strength in ((3, 25.0), (24, 8.0), (80, 5.0)):  # light, stains, grain
        coarse = rng.normal(0, strength, (cells, cells, 1)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(cv2.GaussianBlur(picture, (3, 3), 0), 0, 255).astype(np.uint8)


def _vivid(rng: np.random.Generator, background: np.ndarray) -> Color:
    """Pick a strong colour that stands out from the background."""
    behind = background.reshape(-1, 3).mean(axis=0)
    colors = rng.integers(0, 256, (12, 3))
    contrast = np.abs(colors - behind).sum(axis=1)
    red, green, blue = colors[contrast.argmax()].tolist()
    return red, green, blue


def _pick(rng: np.random.Generator, colors: list[Color]) -> Color:
    return colors[int(rng.integers(len(colors)))]


def _shaded(color: Color, share: float) -> Color:
    red, green, blue = (round(share * value) for value in color)
    return red, green, blue
