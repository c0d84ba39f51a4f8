"""The names of the methods are known without the methods."""

from __future__ import annotations

from hrpro.localize.method_names import METHOD_NAMES
from hrpro.localize.methods import BEST_FOR, METHOD_FOR, METHODS


def test_names_are_those_of_the_registry():
    assert tuple(METHODS) == METHOD_NAMES
    assert {*METHOD_FOR.values(), *BEST_FOR.values()} <= {*METHOD_NAMES}
    assert METHOD_FOR.keys() == BEST_FOR.keys()
