"""Many clips in one call: time, memory, and whether each is what was asked for.

    python benchmarks/clips.py --events 200 --minutes 10

Draws a video with a flash and a beep at every second, cuts events out of it, and compares: how far
the length of a clip is from that of its event, in pictures, and the beep from the flash, in
milliseconds. `--copy` and `--reel` as in ``hrpro clips``.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from hrpro.extract.decode import probe
from hrpro.pipeline.clips.plan import ClipOptions
from hrpro.pipeline.clips.run import ClipOutputs, clips_of
from hrpro.pipeline.results.model import Detection, Results, VideoResult

FPS, RATE = 25, 48_000
WIDTH, HEIGHT = 480, 270
BEEP_S = 0.04


def draw(path: Path, seconds: int) -> None:
    """Write a video in which a square moves over noise."""
    noise = np.random.default_rng(0).integers(96, 160, (HEIGHT, 2 * WIDTH), dtype=np.uint8)
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "28"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.gop_size = 250
        sound = file.add_stream("aac", rate=RATE)
        sound.layout = "mono"
        for number in range(seconds * FPS):
            left = number % WIDTH
            picture = np.repeat(noise[:, left : left + WIDTH, None], 3, axis=2)
            picture[80:180, 5 * number % 380 :][:, :100] = number % 256
            if number % FPS == 0:
                picture[:40] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            file.mux(video.encode(frame))
            times_s = np.arange(number * RATE // FPS, (number + 1) * RATE // FPS) / RATE
            tone = np.where(times_s % 1 < BEEP_S, np.sin(2000 * np.pi * times_s), 0.0)
            heard = av.AudioFrame.from_ndarray(
                tone[None].astype(np.float32), format="fltp", layout="mono"
            )
            heard.sample_rate, heard.pts = RATE, number * RATE // FPS
            heard.time_base = Fraction(1, RATE)
            file.mux(sound.encode(heard))
        file.mux(video.encode(None))
        file.mux(sound.encode(None))


def beep_offsets_ms(path: Path) -> list[float]:
    """By how much each beep of a clip comes after its flash."""
    with av.open(str(path)) as file:
        flashes_s = [
            float(frame.pts * frame.time_base)
            for frame in file.decode(video=0)
            if frame.to_ndarray(format="gray")[:30].mean() > 230
        ]
    with av.open(str(path)) as file:
        parts = [(frame.pts, frame.to_ndarray()[0]) for frame in file.decode(audio=0)]
    samples = np.zeros(max(pts + len(part) for pts, part in parts))
    for pts, part in parts:
        samples[max(pts, 0) : pts + len(part)] = part[max(0, -pts) :]
    loud_s = np.flatnonzero(np.abs(samples) > 0.3) / RATE
    if not len(loud_s):
        return []
    onsets_s = loud_s[np.r_[True, np.diff(loud_s) > 0.5]]
    whole = (flash for flash in flashes_s if flash > BEEP_S)  # not cut off at the begin
    return [1000 * min((onset - flash for onset in onsets_s), key=abs) for flash in whole]


def main() -> None:
    """Draw, cut, compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--copy", action="store_true")
    parser.add_argument("--reel", choices=["class", "video", "all"])
    arguments = parser.parse_args()
    options = ClipOptions(copy=arguments.copy, reel=arguments.reel, tolerance_s=10)
    dice = random.Random(0)
    step_s = 60 * arguments.minutes / arguments.events
    events = []
    for number in range(arguments.events):
        start_s = step_s * (number + 0.3 * dice.random())
        length_s = step_s * dice.uniform(0.4, 0.7)
        label = dice.choice(("jump", "run", "throw"))
        events.append(Detection(label, 1.0, start_s, start_s + length_s))
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder, "video.mp4")
        draw(video, 60 * arguments.minutes)
        results = Results((VideoResult("video", str(video), events=tuple(events)),))
        began, began_cpu = time.perf_counter(), time.process_time()
        made = clips_of(results, ClipOutputs(Path(folder, "out")), options)
        took, took_cpu = time.perf_counter() - began, time.process_time() - began_cpu
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cut_s = sum(clip.duration_s or 0 for clip in made.clips)
        print(f"{made.line()}; {cut_s:.0f} s of clips in {took:.1f} s ({took_cpu:.1f} s of CPU)")
        print(f"{peak_mib:.0f} MiB at most")
        if arguments.reel is None:
            asked = [clip.end_s - clip.start_s for clip in made.clips]
            got = [probe(clip.path).duration_s or 0.0 for clip in made.clips]
            errors = [abs(a - b) * FPS for a, b in zip(asked, got, strict=True)]
            print(f"length: at most {max(errors):.2f} pictures off")
        offsets = [abs(ms) for clip in made.clips for ms in beep_offsets_ms(clip.path)]
        print(f"sound: at most {max(offsets):.2f} ms off, over {len(offsets)} beeps")


if __name__ == "__main__":
    main()
