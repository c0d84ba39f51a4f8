"""What the dataset that a model was trained on says of its classes by now: names and colours.

A trained model keeps the names that it has learned. Where the dataset is still there, what has
become of them since is told, with the remedy: to train again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hrpro.errors import HrproError
from hrpro.localize.data.config import read_dataset_config
from hrpro.pipeline.results.events import recommended_rules, with_rules
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.videos_folder import DATASET_YAML
from hrpro.wording import some


@dataclass(frozen=True)
class ClassFacts:
    """Attributes:
    dataset: folder that the model was trained on; None if it is gone or not known.
    colors: ``#rrggbb`` by class, as far as people have chosen them.
    renamed: classes of the model that have another name now, or None where they were deleted.
    """

    dataset: Path | None = None
    colors: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What the result file says of the model; nothing where there is nothing to say."""
        return {"colors": dict(self.colors)} if self.colors else {}

    def notes(self, model: str) -> Iterator[str]:
        """Yield what a person should know before using the model, line by line.

        Args:
            model: the folder, as the person named it.
        """
        if not self.renamed:
            return
        what = some(
            f"{old!r} is {'deleted' if new is None else repr(new)}"
            for old, new in sorted(self.renamed.items())
        )
        yield (
            f"note: {model} was trained before classes of {self.dataset} changed ({what}); a "
            f"trained model keeps its names: hrpro train --dataset {self.dataset} makes a new one"
        )


def class_facts(classes: Sequence[str], metrics: Mapping[str, Any]) -> ClassFacts:
    """Look up what has become of the classes of a model.

    Args:
        classes: of the model.
        metrics: of the model folder, which names the dataset.
    """
    about = metrics.get("dataset")
    if not isinstance(about, Mapping):
        return ClassFacts()
    stored = about.get("colors")
    colors = stored if isinstance(stored, Mapping) else {}
    folder = Path(str(about.get("folder")))
    try:
        if not (folder / DATASET_YAML).is_file():
            return ClassFacts(colors=colors)
        config = read_dataset_config(folder)
    except (HrproError, OSError):  # whatever is there now is not that dataset any more
        return ClassFacts(colors=colors)
    renamed = {name: new for name, new in config.renamed.items() if name in classes}
    return ClassFacts(folder, {**colors, **config.label.colors}, renamed)


def under_present_names(results: Results, renamed: Mapping[str, str | None]) -> Results:
    """Return the results of a model by the names that a dataset has now; deleted classes go."""
    if not renamed:
        return results
    model = results.model
    if rules := recommended_rules(model):
        thresholds = {renamed.get(old, old): value for old, value in rules.thresholds.items()}
        kept = {label: value for label, value in thresholds.items() if label is not None}
        model = with_rules(model, rules.model_copy(update={"thresholds": kept}))
    videos = tuple(_renamed(video, renamed) for video in results.videos)
    return replace(results, videos=videos, model=model)


def _renamed(video: VideoResult, renamed: Mapping[str, str | None]) -> VideoResult:
    def follow(found: Sequence[Detection]) -> tuple[Detection, ...]:
        return tuple(
            replace(each, label=label)
            for each in found
            if (label := renamed.get(each.label, each.label)) is not None
        )

    events = None if video.events is None else follow(video.events)
    curves = video.curves
    if curves is not None:
        values = {
            label: curve
            for name, curve in curves.classes.items()
            if (label := renamed.get(name, name)) is not None
        }
        curves = replace(curves, classes=values)
    return replace(video, detections=follow(video.detections), events=events, curves=curves)
