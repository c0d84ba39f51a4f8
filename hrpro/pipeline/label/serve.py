"""``hrpro label``: serve the label page on this machine until Ctrl-C."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import uvicorn

from hrpro.errors import UsageError
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.label.app import create_app
from hrpro.pipeline.label.project import Project

HOST = "127.0.0.1"


def label(
    folder: str | Path,
    *,
    model: str | Path | None = None,
    port: int | None = None,
    reaction_s: float | None = None,
    stream: int | None = None,
    browser: bool = True,
    announce: Callable[[str], None] = print,
    reporter: Reporter | None = None,
) -> None:
    """Serve the label page of a dataset; return at Ctrl-C. Nothing can be lost by that.

    Args:
        folder: the dataset.
        model: model folder whose detections are offered as suggestions; None takes those that
            were made last, if there are any.
        port: None takes the one of the last time if it is free, so that a page that is still open
            goes on by itself.
        reaction_s: seconds from an action to the key press, instead of the dataset's own.
        stream: index of the video stream to show and to suggest for, where a file has several;
            see `hrpro.extract.streams.choose_stream`.
        browser: open the page in the default browser.
        announce: called with the address of the page.
        reporter: where the progress of the suggestions goes.

    Raises:
        UsageError: the port is taken, or the dataset cannot be labelled; see `Project`.
        DataError: a file of the dataset is damaged.
    """
    with (
        closing(Project(folder, reaction_s, stream=stream)) as project,
        _listen(port, project.page.port) as listener,
    ):
        if model is not None:
            # Only here: a page without a model needs not wait for the networks to be imported.
            from hrpro.pipeline.label.suggest import suggest
            from hrpro.pipeline.workers.launch import WorkerOptions

            workers = WorkerOptions(workers=None)
            suggest(folder, model, stream=stream, workers=workers, reporter=reporter)
            project.load_suggestions()
        token = project.page.token
        port = listener.getsockname()[1]
        url = f"http://{HOST}:{port}/?token={token}"
        config = uvicorn.Config(
            create_app(project, token, port),
            access_log=False,
            lifespan="off",
            log_level="critical",
            server_header=False,
            timeout_graceful_shutdown=1,
        )

        def started() -> None:
            announce(url)
            if browser:
                # A thread, because some browsers keep their caller waiting.
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        project.announce(url, port)
        project.media.start()
        with suppress(KeyboardInterrupt):  # uvicorn passes it on once it has stopped
            _Server(config, started).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it is ready: from then on, Ctrl-C ends it in order."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()


def _listen(port: int | None, wished: int | None) -> socket.socket:
    """Return a socket that only this machine can reach.

    Args:
        port: this one; None takes a free one.
        wished: take this one if it is free.
    """
    if port is None and wished is not None:
        with suppress(UsageError):
            return _listen(wished, None)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port or 0))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(
            f"port {port}: cannot be used ({error}); choose another --port, or none"
        ) from error
    return listener
