"""Which rooms may know of which: see docs/architecture.md. Read off the imports, lazy ones too."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import hrpro

ROOT = Path(hrpro.__file__).parent
METHODS = "hrpro.localize.methods"
VERBS = "hrpro.pipeline.(verbs)"
"""The modules directly in ``pipeline/``."""

FORBIDDEN = [
    ("hrpro.extract", "hrpro.localize"),
    ("hrpro.localize", "hrpro.extract"),
    ("hrpro.extract", "hrpro.pipeline"),
    ("hrpro.localize", "hrpro.pipeline"),
    ("hrpro.pipeline", "hrpro.cli"),
    ("hrpro.pipeline", "hrpro.api"),
    ("hrpro.api", "hrpro.cli"),
    ("hrpro.localize.data", "hrpro.localize.evaluation"),
    ("hrpro.localize.data", METHODS),
    ("hrpro.localize.sampling", METHODS),
    ("hrpro.localize.nn", METHODS),
    ("hrpro.localize.proposals", METHODS),
    ("hrpro.localize.evaluation", METHODS),
    (METHODS, "hrpro.localize.training"),
    ("hrpro.pipeline.workers", VERBS),
    ("hrpro.pipeline.results", VERBS),
    ("hrpro.pipeline.render", VERBS),
    ("hrpro.pipeline.console", VERBS),
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def imports_of(name: str) -> set[str]:
    """The modules of this package that a module imports, anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
    # The package itself is the front door: it names the API for type checkers, and imports nothing.
    return found & MODULES.keys() - {name, "hrpro"}


GRAPH = {name: imports_of(name) for name in MODULES}


def within(name: str, room: str) -> bool:
    if room == VERBS:
        return name.startswith("hrpro.pipeline.") and MODULES[name].parent.name == "pipeline"
    return name == room or name.startswith((f"{room}.", f"{room}_"))


def test_the_imports_were_read():
    assert len(GRAPH) > 100
    assert "hrpro.extract.i3d" in GRAPH["hrpro.extract.snippet_network"]
    assert within("hrpro.cli_shared", "hrpro.cli")
    assert within("hrpro.pipeline.detect", VERBS)
    assert not within("hrpro.pipeline.results.model", VERBS)


@pytest.mark.parametrize(("room", "unknown"), FORBIDDEN)
def test_a_room_does_not_know_another(room, unknown):
    arrows = [
        f"{name} -> {imported}"
        for name, imports in GRAPH.items()
        if within(name, room)
        for imported in sorted(imports)
        if within(imported, unknown)
    ]
    assert arrows == []


def test_no_method_knows_another_but_by_the_registry():
    """The student takes any generator, and gets it from the registry."""
    rooms = {path.name for path in (ROOT / "localize" / "methods").iterdir() if path.is_dir()}
    rooms.discard("__pycache__")
    assert "hrpro" in rooms
    arrows = [
        f"{name} -> {imported}"
        for name, imports in GRAPH.items()
        for room in rooms
        if within(name, f"{METHODS}.{room}")
        for imported in sorted(imports)
        for other in rooms - {room}
        if within(imported, f"{METHODS}.{other}")
    ]
    assert arrows == []


def test_there_is_no_circle():
    try:
        tuple(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
