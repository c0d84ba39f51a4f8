"""Public data sets: what they hold and where their published files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hrpro.errors import UsageError

RELEASE = "https://github.com/pipixin321/HR-Pro"
_RAW = (
    "https://raw.githubusercontent.com/pipixin321/HR-Pro/"
    "1abb331d8c8aa13366e465abf2f15d013b3455a2/dataset"
)
_POINTS = "point_labels/point_gaussian.csv"


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded straight to its place, pinned by its checksum."""

    target: str
    """Path in the dataset folder."""
    url: str
    sha256: str


@dataclass(frozen=True)
class DriveArchive:
    """An archive of features on Google Drive. Its checksum is not published."""

    drive_id: str
    file_name: str
    what: str

    @property
    def page(self) -> str:
        """Address to open in a browser."""
        return f"https://drive.google.com/file/d/{self.drive_id}/view"


@dataclass(frozen=True)
class KnownDataset:
    """A public data set in the layout HR-Pro published."""

    name: str
    preset: str
    title: str
    folders: tuple[str, ...]
    """Names its folder usually has."""
    num_train: int
    num_test: int
    num_points: int
    files: tuple[RemoteFile, ...]
    archive: DriveArchive | None
    manual: tuple[str, ...]
    """What no program can fetch: one sentence each, what to download and where to put it."""


def _files(folder: str, sha256_by_target: dict[str, str]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(target, f"{_RAW}/{folder}/{target}", sha256)
        for target, sha256 in sha256_by_target.items()
    )


_GROUND_TRUTH_MANUAL = (
    "gt_full.json: the ground truth in ActivityNet JSON, only needed to measure mAP and to convert "
    "frames to seconds. If the archive does not hold it, the original annotations are with SF-Net "
    "(https://github.com/Flowerfan/SF-Net). Without it, put 'fps: {fps}' into dataset.yaml."
)

DATASETS = (
    KnownDataset(
        name="thumos14",
        preset="thumos",
        title="THUMOS14, 20 sports, 24 hours",
        folders=("thumos14", "THUMOS14"),
        num_train=200,
        num_test=210,
        num_points=3003,
        files=_files(
            "THUMOS14",
            {
                "gt_full.json": "3b025685a07fb98fc58d2399fb5fa9493c2168632d8ae1a8c3f4689897d2fbb2",
                "split_train.txt": (
                    "5b11e290eb24c93c79f23cb1aecc8b85be4c13b47d7cf3b35e30601c1663f4c0"
                ),
                "split_test.txt": (
                    "51bad9afadc6545a26833fd1f47b51d0458a05baee5c23ec8f3f8b8693e27f31"
                ),
                "Ambiguous_test.txt": (
                    "0329d864abdd0d2ffc2feb5eed7c0d1ae6e85954860fdec99780e1ecd76c7fb4"
                ),
                _POINTS: "5f5e0a3b2419a14fc22659502689db2781ed6532d7c6836d5c6b9b6a8caa401f",
            },
        ),
        archive=DriveArchive(
            "1RkIk8KHxAacZBe4qjtbOTmxa5ulFeX2Z",
            "thumos_features.tar.gz",
            "two-stream I3D features as HR-Pro used them",
        ),
        manual=(),
    ),
    KnownDataset(
        name="gtea",
        preset="gtea",
        title="GTEA, 7 kitchen actions seen by the person who does them",
        folders=("gtea", "GTEA"),
        num_train=21,
        num_test=7,
        num_points=367,
        files=_files(
            "GTEA",
            {
                "split_train.txt": (
                    "a9e2aebaa1b243931fb0f6fbbc94ccb93cbc15129c052d50250806c775067b8c"
                ),
                "split_test.txt": (
                    "ad3d56a4ddc6bbfab24582c55cb9e82d113ca7ec8c284e3d407068077f52ba49"
                ),
                _POINTS: "70322e08b95999281f1df30149f10336d7fb87ab9df5f74e8544c4591375ca0e",
            },
        ),
        archive=DriveArchive("1YUmmSK70ozLrSvvIpo64ruJb3ZFrvFzm", "gtea_features", "I3D features"),
        manual=(_GROUND_TRUTH_MANUAL.format(fps=15),),
    ),
    KnownDataset(
        name="beoid",
        preset="beoid",
        title="BEOID, 34 interactions with objects seen by the person who does them",
        folders=("beoid", "BEOID"),
        num_train=46,
        num_test=12,
        num_points=594,
        files=_files(
            "BEOID",
            {
                "split_train.txt": (
                    "4b67d394c0f6b476350e8c7a5fc7aa333bf54ed036dbcdd29a8ea0820a0c0976"
                ),
                "split_test.txt": (
                    "462b4d5383f702b2bcbd829e5d16d50a952b36e4854ecb9bf256b96b5096b743"
                ),
                _POINTS: "b298306438b15c26739d163df4f874b6c98bd3cdc3ca31e834059c2428fc7f3c",
            },
        ),
        archive=DriveArchive("1Xf7-Cg-7urpFVI9T4bqjZp3FdAiIaN4c", "beoid_features", "I3D features"),
        manual=(_GROUND_TRUTH_MANUAL.format(fps=30),),
    ),
    KnownDataset(
        name="activitynet13",
        preset="activitynet",
        title="ActivityNet 1.3, 200 everyday activities",
        folders=("activitynet13", "activitynet", "ActivityNet1.3"),
        num_train=9032,
        num_test=4427,
        num_points=13904,
        files=_files(
            "ActivityNet1.3",
            {
                "split_train.txt": (
                    "decfb5d2df8f7cb9d8cae71856865066359bee55e386d5fad21d56299a33ffbd"
                ),
                "split_test.txt": (
                    "7a7ccccad74fb9a2657bc5ff2ac2e6ef969ca351853cf36e3fc9876fcf8a1a61"
                ),
                _POINTS: "b8900eb8d6c6537a67449a29901f89c95110546db87d9f20f74d46e7513b0ff3",
            },
        ),
        archive=None,
        manual=(
            "activity_net.v1-3.min.json: the ground truth, from http://activity-net.org "
            "(Download). Put it into the folder as it is.",
            "features: I3D features of ActivityNet 1.3 are linked by ACM-Net "
            "(https://github.com/ispc-lab/ACM-Net, section Dataset: Baidu Wangpan, password man7). "
            "Put them as features/train/NAME.npy and features/test/NAME.npy, with the names of "
            "the two split files.",
        ),
    ),
)


def find_known(name: str) -> KnownDataset | None:
    """Find a public data set by its name, its preset or its usual folder name."""
    wanted = name.casefold()
    for dataset in DATASETS:
        if wanted in {dataset.name, dataset.preset, *map(str.casefold, dataset.folders)}:
            return dataset
    return None


def dataset_folder(dataset: str | Path, data_root: str | Path = ".") -> tuple[Path, str | None]:
    """Find the folder that ``--dataset`` means, and the preset of a public data set.

    Args:
        dataset: a folder, or the name or preset of a public data set.
        data_root: where the folders of public data sets lie, by their usual names.

    Raises:
        UsageError: neither a folder nor a known name, or the known one is not there.
    """
    folder = Path(dataset)
    if folder.is_dir():
        return folder, None
    known = find_known(str(dataset))
    if known is None:
        raise UsageError(
            f"{dataset}: neither a dataset folder nor a data set by that name; "
            "see 'hrpro dataset list' for those, or name a folder with videos/ and points.csv"
        )
    candidates = [Path(data_root, name) for name in (*known.folders, known.preset)]
    there = next((path for path in candidates if path.is_dir()), None)
    if there is None:
        raise UsageError(
            f"{candidates[0]}: not there; get it with 'hrpro dataset fetch {known.name}', or say "
            "where it is with --data-root"
        )
    return there, known.preset
