"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Whether a test passes does not depend on how busy the machine is.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

SHARED = Path(os.environ.get("HRPRO_SHARED", Path(__file__).parents[2] / "shared"))


IN_CI = os.environ.get("CI", "").lower() in {"true", "1"}
REQUIRE_CUDA = os.environ.get("HRPRO_REQUIRE_CUDA", "").lower() in {"true", "1"}


def missing(what: str) -> None:
    """Skip where something cannot be had; in CI, where it must be had, fail."""
    pytest.fail(what) if IN_CI else pytest.skip(what)


NEEDS = {
    "shared": "shared",
    "golden": "shared",
    "rgb_weights": "network",
    "browser": "browser",
    "cuda": "cuda",
}
"""Marker of the tests that ask for a fixture, themselves or by way of another one."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by what they need.

    Those in a browser are tried again: on a busy machine it loses a key press or a moment now and
    then. A fault of the page fails each time.
    """
    can_try_again = config.pluginmanager.hasplugin("rerunfailures")
    for item in items:
        for fixture, marker in NEEDS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
        if can_try_again and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Say in one line which file of the shared data is not there."""
    try:
        return (yield)
    except Exception as error:
        name_what_is_missing(error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """See `pytest_runtest_setup`."""
    try:
        return (yield)
    except Exception as error:
        name_what_is_missing(error)
        raise


def name_what_is_missing(error: BaseException | None) -> None:
    """Whether an error, or what caused it, is about a file that the shared data folder lacks."""
    while error is not None:
        texts = [str(error), str(getattr(error, "filename", "") or "")]
        for path in re.findall(re.escape(str(SHARED)) + r"[^'\":;,\n]*", "\n".join(texts)):
            if not Path(path.rstrip()).exists():
                missing(f"needs {path.rstrip()}, which is not there (set HRPRO_SHARED)")
        error = error.__cause__ or error.__context__


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """The name of a device; the test runs on each that is here."""
    if request.param == "cuda":
        require_cuda()
    return request.param


@pytest.fixture
def cuda() -> str:
    """The name of the GPU, for tests that make no sense elsewhere."""
    require_cuda()
    return "cuda"


def require_cuda() -> None:
    """Skip where there is no GPU, or fail where one was said to be."""
    import torch

    if not torch.cuda.is_available():
        text = "needs a GPU that CUDA can use"
        pytest.fail(f"{text} (HRPRO_REQUIRE_CUDA)") if REQUIRE_CUDA else pytest.skip(text)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data that the golden and real-video tests read."""
    if not (SHARED / "data").is_dir():
        missing(f"needs the shared data folder {SHARED} (set HRPRO_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden values, computed with the published method."""
    folder = Path(os.environ.get("HRPRO_GOLDEN", SHARED / "data" / "golden"))
    if not folder.is_dir():
        missing(f"needs the folder of golden values {folder} (set HRPRO_GOLDEN)")
    return folder


@pytest.fixture(scope="session")
def rgb_weights():
    """The real RGB weights, out of the normal cache, fetched first if they are not there."""
    from hrpro.extract.weights.download import UnreachableError
    from hrpro.extract.weights.library import load_weights

    try:
        return load_weights("rgb", progress=False)
    except UnreachableError as error:
        missing(f"needs the network once: {error}")


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window."""
    from browser import CHROMIUM, chromium

    if CHROMIUM is None:
        missing("needs the Chromium browser: apt-get install chromium")
    with chromium() as started:
        yield started
