"""hrpro finds what happens when in untrimmed video and learns new actions from one click each.

From Python, functions do what the commands of the same names do (see ``hrpro.api``)::

    hrpro.detect("my_video.mp4").to_dataframe()
    hrpro.extract("videos/", out="features/")
    hrpro.train("my_dataset", run_dir="runs/mine")
    hrpro.evaluate(model="runs/mine", dataset="my_dataset").mean_ap
    hrpro.clips("result.json", "clips/")
    hrpro.stats("result.json").to_dataframe()

Data flows one way: ``cli`` and ``api`` -> ``pipeline`` -> {``extract``, ``localize``}.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect import Signature

    from hrpro.api import detect, evaluate, extract, train
    from hrpro.api_answers import clips, stats

__version__ = "0.1.0"
__all__ = ["clips", "detect", "evaluate", "extract", "stats", "train"]
_ANSWERS = ("clips", "stats")


def __getattr__(name: str) -> Any:
    """Import the functions when one is asked for: ``import hrpro`` itself stays fast."""
    if name in __all__:
        return getattr(
            import_module("hrpro.api_answers" if name in _ANSWERS else "hrpro.api"), name
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallableRoom(ModuleType):
    """A package of this name that can be called like the function of the same name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _function_of(self)(*args, **kwargs)

    @property
    def __signature__(self) -> Signature:
        from inspect import signature

        return signature(_function_of(self))


def _function_of(room: ModuleType) -> Any:
    return getattr(import_module("hrpro.api"), room.__name__.rpartition(".")[2])


# ``hrpro.extract`` is a package, too: Python puts it where the function would be.
import_module("hrpro.extract").__class__ = _CallableRoom
