"""The networks that turn snippets into features, all behind one interface.

============  ====================================================  =========  ==================
backbone      network                                               streams    frames per snippet
============  ====================================================  =========  ==================
``i3d``       Inception-I3D (Carreira and Zisserman, CVPR 2017)     rgb, flow  all
``i3d_r50``   ResNet-50 inflated in time                            rgb        8
``slow_r50``  Slow pathway of SlowFast (Feichtenhofer, ICCV 2019)   rgb        8
``x3d_xs``    X3D-XS (Feichtenhofer, CVPR 2020)                     rgb        4
``x3d_s``     X3D-S                                                 rgb        13
``x3d_m``     X3D-M                                                 rgb        16
``x3d_l``     X3D-L                                                 rgb        16
============  ====================================================  =========  ==================

All but ``i3d`` come from pytorchvideo. They were trained on frames that are further apart than
those of a snippet of 16 at 25 fps, every 5th to 12th at 30 fps; the frames that they see are spread
evenly over the snippet, so a longer snippet comes closer to that.

The features are the input of the network's classifier, averaged over time and space: 1024 numbers
for ``i3d``, 2048 for the others. X3D has 432 channels in front of the projection in its head and
2048 behind it; its classifier sees the latter.

The classes are those of Kinetics-400 in alphabetical order, for every backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stream = Literal["rgb", "flow"]

FlowWeights = Literal["kinetics400", "cross-modal"]


@dataclass(frozen=True)
class Backbone:
    """A network for snippets, and what it wants them to be like."""

    name: str
    streams: tuple[Stream, ...] = ("rgb",)
    """What it can look at."""
    dim: int = 2048
    """Width of the features of one stream."""
    num_classes: int = 400
    num_frames: int | None = None
    """Frames it sees of every snippet, evenly spaced; None for all."""
    short_side: int = 256
    """Pixels of the shorter side after the resize, unless the recipe says otherwise."""
    crop: int = 224
    """Pixels of the centre crop, likewise: the size it was trained with."""
    mean: float = 0.45
    """Pixels between 0 and 1 are normalised to ``(pixel - mean) / std``."""
    std: float = 0.225

    def frames_of(self, snippet: int) -> list[int]:
        """Which frames of a snippet of that length the network sees: 8 of 16 are every 2nd."""
        count = self.num_frames or snippet
        return [index * snippet // count for index in range(count)]


# Frames and sizes as in the model zoo of pytorchvideo and in the papers. X3D resizes to the
# smallest side that it was trained with.
BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("i3d", streams=("rgb", "flow"), dim=1024, mean=0.5, std=0.5),
        Backbone("i3d_r50", num_frames=8),
        Backbone("slow_r50", num_frames=8),
        Backbone("x3d_xs", num_frames=4, short_side=182, crop=160),
        Backbone("x3d_s", num_frames=13, short_side=182, crop=160),
        Backbone("x3d_m", num_frames=16),
        Backbone("x3d_l", num_frames=16, short_side=356, crop=312),
    )
}
"""Backbones by name."""
