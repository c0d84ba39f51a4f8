"""The doctor reports everything, and never falls ill itself."""

from __future__ import annotations

import builtins
import shutil
import sys

import pytest

from hrpro.errors import WeightsError
from hrpro.extract.weights import library as weights
from hrpro.pipeline import doctor
from hrpro.pipeline.doctor import diagnose


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HRPRO_CACHE", str(tmp_path / "cache"))


def checks() -> dict[str, doctor.Check]:
    found = diagnose()
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def test_this_installation():
    found = checks()
    for name in ("python", "hrpro", "torch", "torchvision", "pytorchvideo", "opencv", "av", "cpu"):
        assert found[name].status == "ok", found[name]
        assert found[name].detail
    assert "libavcodec" in found["av"].detail
    assert "FFmpeg" in found["av"].detail
    assert "usable cores" in found["cpu"].detail
    assert "libx264" in found["h264 encoder"].detail
    assert {"extra test", "extra dev"} <= set(found)


def test_whatever_is_not_ok_comes_with_a_remedy():
    for check in diagnose():
        assert (check.status == "ok") == (check.remedy == ""), check


def test_absent_weights(tmp_path):
    found = checks()
    assert (found["rgb weights"].status, found["flow weights"].status) == ("missing", "warn")
    assert found["rgb weights"].remedy == "hrpro weights fetch rgb"
    assert found["cache"].status == "ok"
    assert str(tmp_path / "cache") in found["cache"].detail


def test_present_weights(monkeypatch, tmp_path):
    name = "i3d-rgb-kinetics400"
    record = weights.CachedWeights(name, "rgb", "file", "0" * 64, "hrpro", "1" * 64, 51_000_000)
    present = {"rgb": record}.get
    monkeypatch.setattr(weights, "find_weights", present)
    check = checks()["rgb weights"]
    assert check.status == "ok"
    assert f"{name}, 51 MB" in check.detail


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    check = checks()["cache"]
    assert check.status == "warn"
    assert "HRPRO_CACHE" in check.remedy


def test_a_full_disk(monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=5_000_000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    check = checks()["cache"]
    assert check.status == "warn"
    assert "0.0 GB free" in check.detail


@pytest.mark.parametrize(("module", "name"), [("cv2", "opencv"), ("av", "av")])
def test_a_package_that_does_not_load(monkeypatch, module, name):
    real_import = builtins.__import__

    def broken(wanted, *args, **kwargs):
        if wanted == module:
            raise ImportError(f"lib{module}.so: cannot open shared object file")
        return real_import(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    monkeypatch.setattr(
        doctor.importlib, "import_module", lambda wanted: broken(wanted) or sys.modules[wanted]
    )
    found = checks()
    assert found[name].status == "missing"
    assert "cannot open shared object file" in found[name].detail
    assert "pip install" in found[name].remedy
    assert found["torch"].status == "ok"


def test_an_encoder_that_is_not_in_the_build(monkeypatch):
    monkeypatch.setattr(doctor, "_H264_ENCODERS", ("no-such-encoder",))
    check = checks()["h264 encoder"]
    assert check.status == "warn"
    assert "--render" in check.detail


def test_an_examination_that_fails_is_one_row(monkeypatch):
    def _broken():
        raise WeightsError("first line\nsecond line")
        yield

    monkeypatch.setattr(doctor, "_EXAMINATIONS", (_broken, doctor._python))
    assert [(check.name, check.status) for check in diagnose()] == [
        ("broken", "missing"),
        ("python", "ok"),
    ]
    assert diagnose()[0].detail == "first line"


def test_an_absent_extra_names_the_packages(monkeypatch):
    requires = ["torch>=2.6", 'ray; extra == "ray"', "no-such-project>=1 ; extra == 'web'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: requires)
    found = checks()
    assert found["extra web"].status == "warn"
    assert found["extra web"].remedy == "python -m pip install no-such-project"
