"""Put data, style and script into one HTML file that runs no code but its own."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from hrpro.files import write_text
from hrpro.pipeline.web.bundle import bundle, shared_file

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main id="page"><noscript>This report needs JavaScript; the result files beside it hold the same
numbers.</noscript></main>
<script type="application/json" id="data">{data}</script>
{media}<script>{script}</script>
</body>
</html>
"""


def write_page(path: Path, title: str, data: dict[str, Any], media: dict[str, Path]) -> None:
    """Write a page.

    Nothing in `data` can become markup or code, whatever labels and file names hold, and the
    page's policy lets no script run but the one that is part of it.

    Args:
        path: target.
        title: of the window.
        data: what the scripts show, as JSON can hold it.
        media: videos to put into the page, by the id that `data` calls them.

    Raises:
        HrproError: the file cannot be written.
    """
    folder = files(__package__) / "static"
    script = bundle(folder, "main.js")
    styles = (shared_file("palette.css"), folder / "report.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; media-src 'self' file: blob:; base-uri 'none'; form-action 'none'"
    )
    page = _PAGE.format(
        policy=policy,
        title=html.escape(title),
        style="".join(style.read_text(encoding="utf-8") for style in styles),
        data=_script_safe(data),
        media="".join(_embedded(name, video) for name, video in media.items()),
        script=script,
    )
    write_text(path, page)


def _script_safe(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _embedded(name: str, video: Path) -> str:
    content = base64.b64encode(video.read_bytes()).decode()
    return f'<script type="text/plain" id="{html.escape(name)}">{content}</script>\n'
