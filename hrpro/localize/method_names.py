"""The names of the methods, for those who only look whether there is such a one.

`hrpro.localize.methods` has the methods themselves, and takes PyTorch to import.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from hrpro.errors import UsageError

METHOD_NAMES = ("hrpro", "sal", "fustal", "hrpro+student", "sal+student", "student")


def unknown_method(name: object, known: Iterable[str] = METHOD_NAMES) -> UsageError:
    """The error that there is no such method; names the one that was probably meant."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return UsageError(f"localize.method: no method {name!r}{guess} (known: {', '.join(known)})")
