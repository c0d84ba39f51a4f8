"""Bring everything that is labelled in line with classes that were renamed, merged or deleted.

``dataset.yaml`` is written first, and by itself says what is to be done; all of this can be done
again, so that whatever was interrupted is finished by the next start.
"""

from __future__ import annotations

from collections.abc import Mapping

from hrpro.pipeline.datasets.classes import Renamed, current_name
from hrpro.pipeline.label.state import SHOWS, Interval, Labels, Point, Review, Value, Values


def rename_values(labels: Labels, renamed: Renamed) -> dict[str, Values]:
    """Return what the labels of each video become, as far as they change."""
    changes = {
        video_id: {
            name: value
            for name, value in under_present_names(of_video.values, renamed).items()
            if value != of_video.get(name)
        }
        for video_id, of_video in labels.videos.items()
    }
    return {video_id: values for video_id, values in changes.items() if values}


def under_present_names(values: Mapping[str, Value | None], renamed: Renamed) -> Values:
    """Return values under the present names of their classes; those of deleted ones are None."""
    present: Values = {}
    for name, value in values.items():
        if not name.startswith(SHOWS):
            present[name] = _renamed(value, renamed)
            continue
        label = name.removeprefix(SHOWS)
        new = current_name(label, renamed)
        if new != label:
            present[name] = None
        if new is not None:  # of classes that are merged, one that is shown is enough
            present[f"{SHOWS}{new}"] = value or present.get(f"{SHOWS}{new}")
    return present


def _renamed(value: Value | None, renamed: Renamed) -> Value | None:
    if not isinstance(value, Point | Interval | Review):
        return value
    label = current_name(value.label, renamed)
    return None if label is None else value.model_copy(update={"label": label})
