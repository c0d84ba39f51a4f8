"""The videos as the page plays them: the files themselves, or copies made in the background."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hrpro.errors import DataError, HrproError, VideoError
from hrpro.files import read_json, write_json
from hrpro.pipeline.label.playable import MediaFacts, frame_times, look_at, stamp
from hrpro.pipeline.label.proxies import make_proxy
from hrpro.wording import one_line

NICENESS = 10
_SAVE_EVERY = 100
_FACTS = TypeAdapter(dict[str, MediaFacts])


class _StoppedError(Exception):
    """The program ends, or another video is more urgent: the copy in the making is thrown away."""


class MediaLibrary:
    """Knows how each video is played, and makes copies of those that browsers cannot play.

    One thread looks at the videos, another makes the copies, one at a time and at low priority;
    the video that was asked for last goes first. What they find is kept in the folder.

    Args:
        videos: the files by video id, in the order in which they are worked on.
        folder: where ``media.json`` and ``proxies/`` are kept.
        changed: called with a video id when something new is known of it.
        stream: which of several video streams is shown, in all files; see
            `hrpro.extract.streams.choose_stream`.
    """

    def __init__(
        self,
        videos: Mapping[str, Path],
        folder: Path,
        changed: Callable[[str], None],
        stream: int | None = None,
    ) -> None:
        self._videos = dict(videos)
        self._folder = folder
        self._changed = changed
        self._stream = stream
        self._facts = {
            video_id: facts
            for video_id, facts in self._read_facts().items()
            if video_id in self._videos and facts.fits(self._videos[video_id], stream)
        }
        self._failed: dict[str, str] = {}
        self._progress: dict[str, float] = {}
        self._wanted: list[str] = []
        self._stopping = threading.Event()
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=run, name=f"hrpro-{run.__name__.strip('_')}", daemon=True)
            for run in (self._look_at_all, self._make_proxies)
        ]

    def start(self) -> None:
        """Begin to work in the background."""
        proxies = self._folder / "proxies"
        for leftover in proxies.glob(".*.part*") if proxies.is_dir() else ():
            leftover.unlink(missing_ok=True)  # of a run that was killed
        for thread in self._threads:
            thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """Stop at the next frame; copies that are not complete are removed."""
        self._stopping.set()
        with self._news:
            self._news.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(patience_s)

    def add(self, videos: Mapping[str, Path]) -> None:
        """Take up more videos."""
        with self._news:
            self._videos = {**self._videos, **videos}
            self._news.notify_all()

    def want(self, video_id: str) -> MediaFacts:
        """Return what is known of a video, looking at it now if need be; it goes first from now."""
        facts = self._facts.get(video_id)
        path = self._videos[video_id]
        if facts is None or not facts.fits(path, self._stream):
            facts = self._look_at(video_id)
        with self._news:
            if video_id in self._wanted:
                self._wanted.remove(video_id)
            self._wanted.append(video_id)
            self._news.notify_all()
        return facts

    def state(self, video_id: str) -> dict[str, Any]:
        """Return how a video is played, for the page."""
        facts = self._facts.get(video_id)
        error = self._failed.get(video_id) or (facts.error if facts else None)
        playback = "pending"
        if error:
            playback = "failed"
        elif facts and facts.obstacle is None:
            playback = "direct"
        elif facts and self._proxy(video_id, facts).is_file():
            playback = "proxy"
        progress = 1.0 if playback in ("direct", "proxy") else self._progress.get(video_id, 0.0)
        return {
            **{
                name: getattr(facts, name, None)
                for name in ("duration_s", "fps", "width", "height")
            },
            "playback": playback,
            "progress": round(progress, 4),
            "error": error,
        }

    def in_progress(self) -> list[str]:
        """Return the videos that are being copied now."""
        return list(self._progress)

    def file(self, video_id: str) -> Path | None:
        """Return the file that a browser gets; None while there is none."""
        facts = self.want(video_id)
        playback = self.state(video_id)["playback"]
        if playback == "direct":
            return self._videos[video_id]
        return self._proxy(video_id, facts) if playback == "proxy" else None

    def frame_times(self, video_id: str) -> list[float] | None:
        """Return when each frame of what a browser gets is shown; None: at a constant rate.

        None, too, while there is nothing to be played, or if it cannot be read.
        """
        path = self.file(video_id)
        with suppress(VideoError):
            return frame_times(path, self._facts[video_id].fps) if path else None
        return None

    # ---------------------------------------------------------------- looking at the videos

    def _look_at_all(self) -> None:
        _lower_priority()
        while not self._stopping.is_set():
            new = [video_id for video_id in self._videos if video_id not in self._facts]
            for number, video_id in enumerate(new, start=1):
                if self._stopping.is_set():
                    break
                self._look_at(video_id)
                if number % _SAVE_EVERY == 0:
                    self._save_facts()
            if new:
                self._save_facts()
            with self._news:
                if self._videos.keys() <= self._facts.keys() and not self._stopping.is_set():
                    self._news.wait()

    def _look_at(self, video_id: str) -> MediaFacts:
        path = self._videos[video_id]
        try:
            facts = look_at(path, self._stream)
        except Exception as error:  # a bug in a decoder costs this video, not the program
            size_bytes, mtime_ns = stamp(path)
            facts = MediaFacts(
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
                stream=self._stream,
                error=one_line(error),
            )
        with self._news:
            self._facts[video_id] = facts
            self._failed.pop(video_id, None)
            self._news.notify_all()
        self._changed(video_id)
        return facts

    def _read_facts(self) -> dict[str, MediaFacts]:
        path = self._folder / "media.json"
        with suppress(DataError, ValidationError):  # then everything is looked at again
            if path.is_file():
                return _FACTS.validate_python(read_json(path))
        return {}

    def _save_facts(self) -> None:
        with self._news:
            facts = dict(self._facts)
        with suppress(HrproError):
            write_json(self._folder / "media.json", _FACTS.dump_python(facts, mode="json"))

    # --------------------------------------------------------------------------- the copies

    def _proxy(self, video_id: str, facts: MediaFacts) -> Path:
        name = hashlib.sha256(video_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        stream = "" if facts.stream is None else f"-{facts.stream}"
        name += f"-{facts.size_bytes:x}-{facts.mtime_ns:x}{stream}.mp4"
        return self._folder / "proxies" / name

    def _make_proxies(self) -> None:
        _lower_priority()
        while not self._stopping.is_set():
            with self._news:
                video_id = self._next_to_copy()
                if video_id is None:
                    self._news.wait(10)
                    continue
                self._progress[video_id] = 0.0
            try:
                self._make_proxy(video_id)
            except _StoppedError:
                continue
            except Exception as error:  # the others go on
                reason = one_line(error).removeprefix(f"{self._videos[video_id]}: ")
                self._failed[video_id] = reason
            finally:
                self._progress.pop(video_id, None)
            self._changed(video_id)

    def _next_to_copy(self) -> str | None:
        for video_id in (*reversed(self._wanted), *self._videos):
            facts = self._facts.get(video_id)
            if facts and facts.obstacle and self.state(video_id)["playback"] == "pending":
                return video_id
        return None

    def _somebody_waits_for_another(self, video_id: str) -> bool:
        """Whether a copy that nobody asked for holds up one that somebody did ask for."""
        with self._news:
            if not self._wanted or video_id in self._wanted:
                return False
            return self._next_to_copy() in self._wanted

    def _make_proxy(self, video_id: str) -> None:
        facts = self._facts[video_id]
        proxy = self._proxy(video_id, facts)

        def progress(share: float) -> None:
            if self._stopping.is_set() or self._somebody_waits_for_another(video_id):
                raise _StoppedError
            self._progress[video_id] = share

        duration_s = make_proxy(self._videos[video_id], proxy, progress, self._stream)
        with self._news:
            if self._facts[video_id] is facts:  # the file was not replaced meanwhile
                update = {"duration_s": round(duration_s, 6)}
                self._facts[video_id] = facts.model_copy(update=update)
        self._save_facts()
        for old in proxy.parent.glob(proxy.name.partition("-")[0] + "-*.mp4"):
            if old != proxy:
                old.unlink(missing_ok=True)  # of the file, or the stream, that was there before


def _lower_priority() -> None:
    # On Linux this is a matter of the thread; elsewhere it would slow down the whole program.
    with suppress(AttributeError, OSError):
        if os.uname().sysname == "Linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
