"""Names of files made of names of videos and classes, which hold slashes, ``CON`` and worse."""

from __future__ import annotations

import re
import unicodedata

MOST_BYTES = 140
"""Of a whole name: encrypted home folders allow 143, other file systems 255."""
# Not allowed on Windows, or not printable.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x7f]')
# Windows keeps these for devices, also with a suffix.
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(?= *(\.|$))", re.I)


def safe_name(text: str, most_bytes: int = 100) -> str:
    """Return a name, without a suffix, that every file system takes and that hides nothing.

    Args:
        text: any text; letters of all languages stay as they are.
        most_bytes: cut the name to so many bytes of UTF-8.

    Returns:
        The name; empty if nothing of the text can stay.
    """
    text = unicodedata.normalize("NFC", text)
    kept = "".join("_" if unicodedata.category(each)[0] == "C" else each for each in text)
    name = shortened(_FORBIDDEN.sub("_", kept).strip(". "), most_bytes)
    return _RESERVED.sub(r"\1_", name, count=1) if _RESERVED.match(name) else name


def shortened(name: str, most_bytes: int) -> str:
    """Cut a name to so many bytes of UTF-8, between two characters, not before a dot or blank."""
    return name.encode()[:most_bytes].decode(errors="ignore").rstrip(". ")


class DistinctNames:
    """Gives out names of which no two are one file, even where ``A`` and ``a`` are the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unlike_others(self, name: str, suffix: str = "", folder: str = "") -> str:
        """Return the name with its suffix; with a number, from 2, if it was given out before.

        Args:
            name: as `safe_name` gives it.
            suffix: with its dot.
            folder: in which the name has to be unlike others.
        """
        number, unique = 1, name
        while (key := self._key(folder, unique + suffix)) in self._taken:
            number += 1
            end = f"-{number}"
            unique = shortened(name, MOST_BYTES - len((end + suffix).encode())) + end
        self._taken.add(key)
        return unique + suffix

    @staticmethod
    def _key(folder: str, name: str) -> str:
        return unicodedata.normalize("NFC", f"{folder}/{name}").casefold()
