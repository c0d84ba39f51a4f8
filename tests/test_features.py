"""Feature files, sidecars and fingerprints."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpro.errors import DataError, HrproError
from hrpro.features import (
    Fingerprint,
    Sidecar,
    VideoFacts,
    WeightsId,
    read_features,
    read_sidecar,
    sidecar_path,
    write_features,
)

RGB = {"rgb": WeightsId(sha256="a" * 64, source="one place")}


def sidecar(**changes) -> Sidecar:
    return Sidecar(fingerprint=Fingerprint(weights=RGB, **changes), video=VideoFacts(fps="25"))


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "a.video.npy"
    features = np.random.default_rng(0).random((5, 8), dtype=np.float32)
    write_features(path, features, sidecar(stride=8))
    np.testing.assert_array_equal(read_features(path), features)
    assert read_sidecar(path) == sidecar(stride=8)
    assert read_sidecar(path).snippet_stride_s == pytest.approx(0.32)
    assert sidecar_path(path).name == "a.video.json"
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.video.json", "a.video.npy"]


def test_difference_names_the_setting_and_ignores_where_weights_came_from():
    one = Fingerprint(weights=RGB)
    assert one.difference(Fingerprint(weights=RGB, precision="bfloat16")) == []
    elsewhere = {"rgb": WeightsId(sha256="a" * 64, source="another place")}
    assert one.difference(Fingerprint(weights=elsewhere)) == []
    (difference,) = one.difference(Fingerprint(weights=RGB, stride=8))
    assert difference == "stride: 16 != 8"
    other = {"rgb": WeightsId(sha256="b" * 64)}
    assert "weights of rgb" in one.difference(Fingerprint(weights=other))[0]


def test_features_made_elsewhere_have_no_sidecar(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    assert read_sidecar(tmp_path / "a.npy") is None


def write_bad(path, kind: str) -> None:
    if kind == "pickled":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "truncated":
        np.save(path, np.zeros((100, 8), np.float32))
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "vector":
        np.save(path, np.zeros(5, np.float32))
    elif kind == "integers":
        np.save(path, np.zeros((5, 3), np.int64))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("hello")
    elif kind == "archive":
        with path.open("wb") as file:
            np.savez(file, a=np.zeros(3))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pickled", "pickled"),
        ("truncated", "truncated"),
        ("vector", r"\[5\]"),
        ("integers", "int64"),
        ("empty", "not a .npy|truncated"),
        ("text", "not a .npy|pickled"),
        ("archive", "archive"),
        ("missing", "no such"),
    ],
)
def test_bad_feature_files_are_named(tmp_path, kind, message):
    path = tmp_path / "bad.npy"
    write_bad(path, kind)
    with pytest.raises(DataError, match=message) as caught:
        read_features(path)
    assert "bad.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(data=st.binary(max_size=300))
def test_any_bytes_give_a_clear_error_or_an_array(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + data)
    with contextlib.suppress(DataError):
        read_features(path)


header_values = {
    "descr": st.sampled_from(
        [
            "<f4",
            "<f8",
            ">f4",
            "<f2",
            "|O",
            "|V8",
            "<U9999999",
            "|S0",
            "<M8[s]",
            "x",
            "",
            "[('a','<f4')]",
        ]
    )
    | st.text(max_size=6),
    "fortran_order": st.sampled_from([True, False, 0, None, "no"]),
    "shape": st.lists(st.integers(-3, 2**70), max_size=4).map(tuple) | st.integers() | st.none(),
}


@given(
    header=st.fixed_dictionaries(header_values) | st.dictionaries(st.text(max_size=4), st.none()),
    version=st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"]),
    length_error=st.sampled_from([0, 0, 0, 1, -5, 60_000]),
    body=st.binary(max_size=64),
)
def test_any_npy_header_gives_a_clear_error_or_an_array(
    tmp_path_factory, header, version, length_error, body
):
    text = f"{header!r}\n".encode("utf-8", "surrogatepass")
    size = max(0, len(text) + length_error)
    length = size.to_bytes(2 if version == b"\x01\x00" else 4, "little")
    path = tmp_path_factory.getbasetemp() / "header.npy"
    path.write_bytes(b"\x93NUMPY" + version + length + text + body)
    try:
        features = read_features(path)
    except DataError as error:
        assert "header.npy" in str(error)
    else:
        assert features.ndim == 2 and features.dtype.kind == "f" and features.nbytes <= len(body)


@given(data=st.data())
def test_damaged_files_give_clear_errors_only(tmp_path_factory, data):
    """Flipped bytes and cuts, in the features and in the sidecar."""
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / "a.npy"
    write_features(path, np.ones((3, 4), np.float32), sidecar())
    target = data.draw(st.sampled_from([path, sidecar_path(path)]))
    content = bytearray(target.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    target.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for read in (read_features, read_sidecar):
        with contextlib.suppress(DataError):
            read(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(value=json_values, key=st.sampled_from(["fingerprint", "video", "dim", "nothing"]))
def test_any_json_gives_a_clear_error_or_a_sidecar(tmp_path_factory, value, key):
    path = tmp_path_factory.mktemp("fuzz") / "x.npy"
    whole = sidecar().model_dump(mode="json")
    sidecar_path(path).write_text(json.dumps({**whole, key: value}))
    try:
        read_sidecar(path)
    except DataError as error:
        assert "x.json" in str(error)


def test_a_failed_write_leaves_the_old_features(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    write_features(path, np.ones((2, 3), np.float32), sidecar())

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(HrproError, match="No space left"):
        write_features(path, np.zeros((2, 3), np.float32), sidecar())
    assert read_features(path)[0, 0] == 1
    assert read_sidecar(path) == sidecar()
    assert len(list(tmp_path.iterdir())) == 2
