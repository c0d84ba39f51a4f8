"""The doctor reports everything, and never falls ill itself."""

from __future__ import annotations

import builtins
import shutil
import sys
from email.message import Message

import numpy
import pytest

from hrpro.errors import UsageError, WeightsError
from hrpro.extract import arithmetic
from hrpro.extract.weights import library as weights
from hrpro.pipeline import doctor, tried_versions
from hrpro.pipeline.doctor import diagnose

pytestmark = pytest.mark.core


@pytest.fixture(autouse=True)
def quick_arithmetic(monkeypatch):
    """These tests ask many times; the computation has tests of its own."""
    right = arithmetic.ArithmeticReport(1.0, 0.999, arithmetic.WEIGHTS)
    monkeypatch.setattr(arithmetic, "check_arithmetic", lambda *compute: right)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HRPRO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def room_on_the_disk(monkeypatch):
    """However full the disk of the machine is that runs the tests."""
    leave_free(monkeypatch, 50_000_000_000)


def leave_free(monkeypatch, num_bytes: int):
    usage = shutil.disk_usage("/")._replace(free=num_bytes)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)


def checks() -> dict[str, doctor.Check]:
    found = diagnose()
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def test_this_installation():
    found = checks()
    for name in (
        "python",
        "hrpro",
        "torch",
        "torchvision",
        "pytorchvideo",
        "opencv",
        "av",
        "cpu",
        "arithmetic",
    ):
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
    leave_free(monkeypatch, 5_000_000)
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
        ("arithmetic", "ok"),
    ]
    assert diagnose()[0].detail == "first line"


def metadata_of(monkeypatch, requires, extras=()):
    """Let hrpro's metadata ask for these."""
    monkeypatch.setattr(tried_versions.metadata, "requires", lambda name: requires)
    message = Message()
    for extra in extras:
        message["Provides-Extra"] = extra
    monkeypatch.setattr(doctor.metadata, "metadata", lambda name: message)


def test_an_absent_extra_names_the_packages(monkeypatch):
    requires = ["torch>=2.6", 'ray; extra == "ray"', "no-such-project>=1 ; extra == 'web'"]
    metadata_of(monkeypatch, requires, ["ray", "web"])
    found = checks()
    assert found["extra web"].status == "warn"
    assert found["extra web"].remedy == "python -m pip install no-such-project"


def test_a_version_below_the_bound_is_a_failure_with_the_remedy(monkeypatch):
    metadata_of(monkeypatch, ["numpy>=1000", "torch>=2.6", "no-such-project>=3"])
    monkeypatch.setitem(tried_versions.NEWEST, "torch", "1000")  # whichever is there
    found = checks()
    assert found["numpy version"].status == "missing"
    assert found["numpy version"].remedy == 'python -m pip install "numpy>=1000"'
    assert found["no-such-project version"].remedy == 'python -m pip install "no-such-project>=3"'
    assert "torch version" not in found
    assert found["versions"].detail == "1 as tried"


def test_a_version_newer_than_those_tried_is_a_note(monkeypatch):
    metadata_of(monkeypatch, ["numpy>=1", "pandas>=1"])
    monkeypatch.setitem(tried_versions.NEWEST, "numpy", "1.0")
    check = checks()["versions"]
    assert check.status == "ok"
    assert f"newer: numpy {numpy.__version__} (tried up to 1.0)" in check.detail


def test_a_python_newer_than_those_tried_is_a_note(monkeypatch):
    assert "newer" not in checks()["python"].detail
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.99.1")
    assert "3.99.1, newer than" in checks()["python"].detail


def test_every_dependency_has_a_lower_bound_and_a_newest_version_that_was_tried():
    wanted = list(tried_versions.requirements())
    assert {each.name for each in wanted} == set(tried_versions.NEWEST)
    for each in wanted:
        assert [bound.operator for bound in each.specifier] == [">="], each
        assert each.specifier.contains(tried_versions.NEWEST[each.name]), each


def test_wrong_arithmetic_is_a_failure(monkeypatch):
    wrong = arithmetic.ArithmeticReport(0.8, 0.999, arithmetic.FORMULA)
    monkeypatch.setattr(arithmetic, "check_arithmetic", lambda *compute: wrong)

    def ask(*compute: str) -> doctor.Check:
        return {check.name: check for check in diagnose("cpu", *compute)}["arithmetic"]

    found = ask("bfloat16")
    assert found.status == "missing"
    assert "cosine 0.80000" in found.detail and "--precision float32" in found.remedy
    found = ask("bfloat16", "2d")
    assert "2-D convolutions" in found.detail and "--convolutions 3d" in found.remedy


def test_a_device_that_is_not_there_is_the_callers_mistake():
    with pytest.raises(UsageError, match="cuda:99"):
        diagnose("cuda:99")
