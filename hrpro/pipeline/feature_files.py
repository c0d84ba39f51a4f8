"""``hrpro features``: look into feature files and compare two of one video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hrpro.extract.i3d import FEATURE_DIM
from hrpro.features import read_features, read_sidecar


def describe_features(path: Path) -> dict[str, Any]:
    """Shape, range and sidecar of a feature file, as JSON.

    Raises:
        DataError: the file or its sidecar cannot be used.
    """
    features = read_features(path)
    sidecar = read_sidecar(path)
    finite = np.isfinite(features)
    values = np.where(finite, features, 0)
    return {
        "path": str(path),
        "num_snippets": features.shape[0],
        "dim": features.shape[1],
        "dtype": str(features.dtype),
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean(dtype=np.float64)),
        "share_zero": float((features == 0).mean()),
        "not_finite": int((~finite).sum()),
        "sidecar": sidecar.model_dump(mode="json") if sidecar else None,
    }


def features_info_lines(info: dict[str, Any]) -> list[str]:
    """`describe_features` for people."""
    lines = [
        f"{info['path']}: {info['num_snippets']} snippets x {info['dim']} ({info['dtype']})",
        f"  values {info['min']:.4g} to {info['max']:.4g}, mean {info['mean']:.4g}, "
        f"{info['share_zero']:.0%} zero",
    ]
    if info["not_finite"]:
        lines.append(f"  {info['not_finite']} values are NaN or infinite: extract again")
    sidecar = info["sidecar"]
    if sidecar is None:
        return [*lines, "  no sidecar: nothing says how these features were made"]
    video, fingerprint = sidecar["video"], sidecar["fingerprint"]
    lines.append(
        f"  video {video['path']}: {video['duration_s']:.2f} s, {video['num_frames']} frames "
        f"at {video['fps']} fps"
    )
    marks = [name for name in ("truncated", "padded") if video[name]]
    if video["corrupt_packets"]:
        marks.append(f"{video['corrupt_packets']} corrupt packets skipped")
    if video["lost_s"]:
        marks.append(f"{video['lost_s']:.2f} s of the picture lost")
    if video["start_s"]:
        marks.append(f"the picture starts at {video['start_s']:.2f} s")
    if marks:
        lines.append(f"  {', '.join(marks)}")
    flow = fingerprint["flow"]
    lines.append(
        f"  {fingerprint['backbone']} {','.join(fingerprint['streams'])}, "
        f"{fingerprint['fps']} fps, {fingerprint['snippet']} frames every "
        f"{fingerprint['stride']}, short side {fingerprint['short_side']}, "
        f"crop {fingerprint['crop']}, {fingerprint['precision']}"
        + (f", flow {flow['algorithm']}" if flow else "")
    )
    for stream, weights in fingerprint["weights"].items():
        lines.append(f"  {stream} weights {weights['sha256'][:16]} ({weights['source']})")
    return lines


def compare_features(first: Path, second: Path) -> dict[str, Any]:
    """Compare two feature files of one video over the snippets both have.

    The streams are compared apart when the width is that of two streams of I3D: a re-extraction
    that differs in its flow shows a high RGB and a low flow cosine.

    Raises:
        DataError: a file cannot be used.
    """
    a, b = read_features(first), read_features(second)
    sidecars = read_sidecar(first), read_sidecar(second)
    differences = None
    if sidecars[0] and sidecars[1]:
        differences = sidecars[0].fingerprint.difference(sidecars[1].fingerprint)
    comparison: dict[str, Any] = {
        "first": {"path": str(first), "shape": list(a.shape)},
        "second": {"path": str(second), "shape": list(b.shape)},
        "fingerprint_differences": differences,
        "streams": {},
    }
    length = min(len(a), len(b))
    width = min(a.shape[1], b.shape[1])
    one_stream = any(each and len(each.fingerprint.streams) == 1 for each in sidecars)
    names = ["rgb", "flow"] if width == 2 * FEATURE_DIM and not one_stream else ["all"]
    for index, name in enumerate(names):
        columns = slice(index * width // len(names), (index + 1) * width // len(names))
        x = np.asarray(a[:length, columns], np.float64)
        y = np.asarray(b[:length, columns], np.float64)
        norms = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
        cosine = (x * y).sum(1) / np.maximum(norms[0] * norms[1], 1e-12)
        comparison["streams"][name] = {
            "mean_cosine": float(cosine.mean()),
            "min_cosine": float(cosine.min()),
            "worst_snippet": int(cosine.argmin()),
            "scale": float(norms[1].mean() / max(norms[0].mean(), 1e-12)),
        }
    return comparison


def features_compare_lines(comparison: dict[str, Any]) -> list[str]:
    """`compare_features` for people."""
    lines = [f"{side['path']}: {side['shape']}" for side in _sides(comparison)]
    lengths = {side["shape"][0] for side in _sides(comparison)}
    if len(lengths) > 1:
        lines.append("lengths differ: compared over the snippets that both have")
    for name, numbers in comparison["streams"].items():
        lines.append(
            f"  {name}: cosine mean {numbers['mean_cosine']:.5f}, "
            f"min {numbers['min_cosine']:.5f} (snippet {numbers['worst_snippet']}); "
            f"scale second/first {numbers['scale']:.4f}"
        )
    differences = comparison["fingerprint_differences"]
    if differences is None:
        lines.append("  no fingerprints to compare")
    elif differences:
        lines += [f"  differs in {difference}" for difference in differences]
    else:
        lines.append("  same fingerprint")
    return lines


def _sides(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    return [comparison["first"], comparison["second"]]
