"""``hrpro report``: pages of result files, and an index of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from hrpro.errors import UsageError
from hrpro.localize.config import resolve_dataset
from hrpro.pipeline.evaluate import Truth, truth_of_dataset, truth_of_file
from hrpro.pipeline.report.content import EMBEDDED_BYTES, Content, run_content
from hrpro.pipeline.report.page import write_page
from hrpro.pipeline.report.paths import check_report_path
from hrpro.pipeline.results.events import EventOptions
from hrpro.pipeline.results.formats import per_video_paths, read_results
from hrpro.pipeline.results.model import Results
from hrpro.videos_folder import videos_folder


def report(
    result_files: Sequence[Path],
    out: Path,
    *,
    dataset: str | None = None,
    data_root: Path = Path(),
    ground_truth: Path | None = None,
    subset: str | None = None,
    videos: Path | None = None,
    embed_bytes: int = EMBEDDED_BYTES,
    events: EventOptions | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write the report of one or several result files.

    One file gives one page. Several give a page each, ``OUT.NAME.html``, and `out` is an index
    that compares them.

    Args:
        result_files: in any format that can be read.
        out: the page.
        dataset: folder or name of the data set whose test videos they are measured on.
        data_root: where the folders of public data sets lie.
        ground_truth: ActivityNet JSON to measure on, instead of a data set.
        subset: of the ground truth; see `truth_of_file`.
        videos: folder in which the videos are looked for first.
        embed_bytes: put videos into a page up to this size together.
        events: make events of the detections, or take those away that there are.
        tell: takes lines on what was left out of the files.

    Returns:
        The files, the one to open first.

    Raises:
        UsageError: options that do not go together.
        HrproError: a file cannot be read or written.
    """
    check_report_path(out)
    if len({path.resolve() for path in result_files}) < len(result_files):
        raise UsageError("a result file is given twice")
    events = events or EventOptions()
    runs = {path: events.apply(read_results(path, tell=tell)) for path in result_files}
    detected = [video.video_id for results in runs.values() for video in results.videos]
    truth = _truth(dataset, data_root, ground_truth, subset, detected)
    if dataset is not None and videos is None:
        folder, _ = resolve_dataset(dataset, data_root=data_root)
        videos = videos_folder(folder)
    if len(runs) == 1:
        ((path, results),) = runs.items()
        write_run(path.name, results, out, truth, videos, embed_bytes)
        return [out]
    names = _distinct_names(result_files)
    pages = per_video_paths(out, names)
    contents = []
    for name, results, page in zip(names, runs.values(), pages, strict=True):
        contents.append(write_run(name, results, page, truth, videos, embed_bytes))
    index = [
        {
            "name": name,
            "page": quote(page.name),
            "num_videos": len(content.data["videos"]),
            "num_detections": sum(len(video.detections) for video in results.videos),
            "evaluation": content.data["evaluation"],
        }
        for name, page, content, results in zip(names, pages, contents, runs.values(), strict=True)
    ]
    write_page(out, "hrpro report", {"runs": index}, {})
    return [out, *pages]


def write_run(
    name: str,
    results: Results,
    page: Path,
    truth: Truth | None = None,
    videos: Path | None = None,
    embed_bytes: int = EMBEDDED_BYTES,
) -> Content:
    """Write the page of one run; see `run_content` for the arguments.

    Raises:
        HrproError: the page cannot be written.
    """
    content = run_content(name, results, page, truth, videos, embed_bytes)
    write_page(page, f"{name} - hrpro report", content.data, content.media)
    return content


def _truth(
    dataset: str | None,
    data_root: Path,
    ground_truth: Path | None,
    subset: str | None,
    detected: Sequence[str],
) -> Truth | None:
    if dataset is not None and ground_truth is not None:
        raise UsageError("--dataset and --ground-truth both say what to measure on; give one")
    if ground_truth is not None:
        return truth_of_file(ground_truth, subset, detected=detected)
    if subset is not None:
        raise UsageError("--subset goes with --ground-truth")
    if dataset is not None:
        folder, config = resolve_dataset(dataset, data_root=data_root)
        return truth_of_dataset(folder, config.dataset)
    return None


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """The stems, with their folders where two are equal."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return [path.with_suffix("").as_posix().strip("/") for path in paths]
