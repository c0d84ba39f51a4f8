"""Where a report may go."""

from __future__ import annotations

from pathlib import Path

from hrpro.errors import UsageError
from hrpro.files import check_writable


def check_report_path(path: Path) -> None:
    """Refuse a report that could not be written.

    Raises:
        UsageError: the name does not end in .html, or its folder cannot be written.
    """
    if path.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"{path}: a report is a web page; give it a name that ends in .html")
    check_writable(path)
