"""What the versions of PyAV call the same thing."""

from __future__ import annotations

from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from hrpro.extract import pyav
from hrpro.extract.pyav import Hardware, decodes_exactly, open_input, rational

pytestmark = pytest.mark.core


class AVRational:
    """Stands in for the type of PyAV 19: false where unknown, and not a `numbers.Rational`."""

    def __init__(self, numerator: int, denominator: int) -> None:
        self.numerator, self.denominator = numerator, denominator

    def __bool__(self) -> bool:
        return self.numerator != 0 and self.denominator != 0


def test_a_rate_is_a_fraction_whatever_pyav_calls_it():
    assert rational(Fraction(30000, 1001)) == Fraction(30000, 1001)
    rate = rational(AVRational(30000, 1001))
    assert isinstance(rate, Fraction) and rate == Fraction(30000, 1001)


def test_an_unknown_rate_is_none_whatever_pyav_calls_it():
    for unknown in (None, AVRational(0, 1), AVRational(0, 0), AVRational(1, 0)):
        assert rational(unknown) is None


@pytest.fixture
def opened(monkeypatch):
    """What files are opened with, and the GPUs whose context is the current one meanwhile."""
    calls, current = [], []

    @contextmanager
    def context(gpu):
        current.append(gpu)
        yield
        current.pop()

    monkeypatch.setattr(pyav, "_context_of_torch", context)
    monkeypatch.setattr(
        av, "open", lambda url, **options: calls.append((options.get("hwaccel"), current[:]))
    )
    return calls


def open_with(hardware):
    open_input("file:a.mp4", container_options={}, codec_options={}, hardware=hardware)


@pytest.mark.skipif(pyav._MAJOR < 18, reason="PyAV 17 is not used with hardware")
def test_a_decoder_that_keeps_its_frames_shares_the_context_of_torch(opened):
    open_with(Hardware(1, keeps_frames=True))
    [(hwaccel, current)] = opened
    assert (hwaccel.is_hw_owned, hwaccel.device_id, current) == (True, 1, [1])
    assert hwaccel.options == {"primary_ctx": "0", "current_ctx": "1"}


@pytest.mark.skipif(pyav._MAJOR < 18, reason="PyAV 17 is not used with hardware")
def test_a_decoder_whose_frames_are_copied_has_its_own_context(opened):
    open_with(Hardware())
    open_with(None)
    (hwaccel, current), without = opened
    assert (hwaccel.is_hw_owned, hwaccel.options, current) == (False, {}, [])
    assert without == (None, [])


def test_an_old_pyav_is_not_trusted_with_hardware(opened, monkeypatch):
    monkeypatch.setattr(pyav, "_MAJOR", 17)
    with pytest.raises(NotImplementedError, match="PyAV 17"):
        open_with(Hardware())
    open_with(None)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("name", "is_hwaccel", "exact"),
    [
        ("h264", True, True),
        ("hevc", True, True),
        ("h264", False, False),
        ("mpeg2video", True, False),
    ],
)
def test_hardware_decodes_what_has_one_right_result(name, is_hwaccel, exact):
    codec = SimpleNamespace(canonical_name=name)
    stream = SimpleNamespace(codec_context=SimpleNamespace(codec=codec, is_hwaccel=is_hwaccel))
    assert decodes_exactly(stream) == exact
