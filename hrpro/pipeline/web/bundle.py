"""Join the JavaScript modules of a page into one script, for a page that is a single file."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w/]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LEFT_OVER = re.compile(r"^(?:import|export)\b", re.MULTILINE)


def shared_file(name: str) -> Traversable:
    """Return a file that all pages have, such as ``palette.css``."""
    return files(__package__) / "static" / name


def bundle(folder: Traversable, entry: str) -> str:
    """Return a classic script that does what the module `entry` and what it imports do.

    Each module becomes a function of its own, so that its names stay its own. Modules may say
    ``import { a, b } from "./x.js";`` and put ``export`` before a function, class or const;
    ``./web/x.js`` is a module that the pages share. Circles are not possible.

    Args:
        folder: where the modules of the page are.
        entry: file name of the module to start with.

    Raises:
        ValueError: a module uses another form of import or export.
    """
    done: dict[str, str] = {}

    def add(name: str) -> str:
        """Add a module after those it imports; return the variable that holds its exports."""
        variable = "$" + re.sub(r"\W", "_", name)
        if name not in done:
            shared = name.removeprefix("web/")
            file = folder / name if shared == name else shared_file(shared)
            source = file.read_text(encoding="utf-8")
            source = _IMPORT.sub(lambda found: f"const {found[1]} = {add(found[2])};\n", source)
            exports = ", ".join(found[2] for found in _EXPORT.finditer(source))
            source = _EXPORT.sub(r"\1", source)
            if _LEFT_OVER.search(source):
                raise ValueError(f"{name}: only imports and exports by name can be joined")
            done[name] = f"const {variable} = (() => {{\n{source}return {{ {exports} }};\n}})();\n"
        return variable

    add(entry)
    return '"use strict";\n' + "".join(done.values())
