"""Updates of HR-Pro's stage 1, SAL and the student: as they are, and with ``torch.compile``.

    python benchmarks/training_updates.py [hrpro] [sal] [student] [--device cuda] [--dim 2048]

Every update has other videos, as in training. Both forms start from the same weights and draw the
same random numbers. Printed are the first update, which compiles, the median of the others, the
largest relative difference of a loss, and how many operations PyTorch is asked for in an update as
it is: on a GPU most of them are a kernel to launch. (On a CPU attention goes by tiles, of which
each is several.)
"""

from __future__ import annotations

import argparse
import copy
import re
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import localize_training
import sal_training
import student_training
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hrpro.devices import upload
from hrpro.localize.methods.base import Schedule
from hrpro.localize.methods.hrpro import snippet_losses
from hrpro.localize.methods.hrpro.snippet_model import SnippetModel
from hrpro.localize.methods.sal import losses as sal_losses
from hrpro.localize.methods.sal.config import SalLosses, SalNetwork
from hrpro.localize.methods.sal.model import SalModel
from hrpro.localize.methods.sal.pseudo_labels import AdaptiveMask
from hrpro.localize.methods.student import losses as student_losses
from hrpro.localize.methods.student.batch import WindowBatch, padded_length
from hrpro.localize.methods.student.config import StudentConfig
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.nn.compiling import Compiler
from hrpro.localize.nn.precision import Precision, autocast
from hrpro.localize.sampling.fixed_length import perturbed_indices, take
from hrpro.localize.sampling.packing import VideoBatch
from hrpro.localize.training.optimization import build_optimizer

NUM_CLASSES = 20
VIDEOS = 16
SCHEDULE = Schedule(updates=1, batch_videos=VIDEOS, eval_every=1, lr=1e-4)

Losses = Callable[[nn.Module, int], dict[str, Tensor]]
"""Of a network, and the number of the update."""


def hrpro_case(dim: int, device: torch.device) -> tuple[nn.Module, Losses]:
    """Stage 1; a batch is 16 of 64 videos of 50 to 2600 snippets, most of them short."""
    videos = localize_training.make_videos(64, dim, NUM_CLASSES)
    shares = torch.rand(len(videos), generator=torch.Generator().manual_seed(0)) ** 2
    lengths = [max(50, int(share * len(f))) for share, (f, _) in zip(shares, videos, strict=True)]
    videos = [
        (f[:n].to(device), p[:n].to(device)) for n, (f, p) in zip(lengths, videos, strict=True)
    ]

    def losses(model: nn.Module, update: int) -> dict[str, Tensor]:
        order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(update))
        chosen = [videos[v] for v in order[:VIDEOS].tolist()]
        batch = VideoBatch.collate([f for f, _ in chosen], [p for _, p in chosen]).to(device)
        return snippet_losses.training_losses(model, batch)

    return SnippetModel(dim, NUM_CLASSES), losses


def sal_case(dim: int, device: torch.device) -> tuple[nn.Module, Losses]:
    """SAL on 16 videos, sampled anew."""
    videos = [f.to(device) for f, _ in sal_training.make_videos(VIDEOS, dim, NUM_CLASSES)]
    labels = torch.stack([label for _, label in sal_training.make_videos(VIDEOS, 1, NUM_CLASSES)])
    labels = labels.to(device)
    lengths = torch.tensor([len(video) for video in videos])
    config = SalNetwork()

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.mask = SalModel(dim, NUM_CLASSES, config), AdaptiveMask(NUM_CLASSES)

    def losses(model: nn.Module, update: int) -> dict[str, Tensor]:
        chosen = perturbed_indices(lengths, torch.rand(VIDEOS, config.length))
        features, _ = take(videos, upload(chosen, device))
        return sal_losses.training_losses(model.model, model.mask, features, labels, SalLosses())

    return Both(), losses


def student_case(dim: int, device: torch.device) -> tuple[nn.Module, Losses]:
    """The student of own footage; windows end at other steps in every update."""
    videos = student_training.make_videos(8, dim, NUM_CLASSES, 768)
    config = StudentConfig.model_validate({"base": "small"})
    label = torch.ones(len(videos), NUM_CLASSES)

    def losses(model: nn.Module, update: int) -> dict[str, Tensor]:
        stop = 256 + 64 * (update % 8)
        features = [upload(f[:stop], device) for f, _ in videos]
        segments = [s.window(0, stop, 0.75) for _, s in videos]
        length = padded_length(max(map(len, features)), config.pyramid.multiple)
        batch = WindowBatch.collate(features, segments, upload(label, device), length)
        return student_losses.training_losses(model, batch)

    return StudentModel(dim, NUM_CLASSES, config), losses


CASES = {"hrpro": hrpro_case, "sal": sal_case, "student": student_case}

VIEWS = frozenset(
    re.findall(
        r"\w+",
        "view _unsafe_view t transpose unsqueeze squeeze slice select expand split permute detach "
        "split_with_sizes alias unbind as_strided unfold empty new_empty empty_like empty_strided",
    )
)
"""Operations for which nothing is computed."""


class Operations(TorchDispatchMode):
    """Counts the operations that compute something."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += function.__name__.split(".")[0] not in VIEWS
        return function(*args, **(kwargs or {}))


def run(
    model: nn.Module,
    losses: Losses,
    device: torch.device,
    precision: Precision,
    updates: int,
    compiler: Compiler | None,
) -> tuple[list[float], list[Tensor]]:
    """Seconds of each update and its losses."""
    optimizer = build_optimizer(model, SCHEDULE)
    seconds, found = [], []
    for update in range(updates):
        torch.manual_seed(update)
        begin = time.perf_counter()
        optimizer.zero_grad()
        with compiler.at_work() if compiler else nullcontext():
            with autocast(device, precision):
                values = losses(model, update)
            values["total"].backward()
        optimizer.step()
        found.append(torch.stack([value.detach() for value in values.values()]).cpu())
        seconds.append(time.perf_counter() - begin)
    return seconds, found


def main() -> None:
    """Measure the cases named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--updates", type=int, default=20)
    args = parser.parse_args()
    device = torch.device(args.device)
    for name in args.cases or CASES:
        torch.manual_seed(0)
        model, losses = CASES[name](args.dim, device)
        model = model.to(device).train()
        with Operations() as asked, autocast(device, args.precision):
            losses(copy.deepcopy(model), 0)["total"].backward()
        print(f"{name}, {args.dim} channels, {args.precision}, {device}: {asked.count} operations")
        results = []
        for label, compiler in (("as it is", None), ("compiled", Compiler(device))):
            own = copy.deepcopy(model)
            seconds, found = run(own, losses, device, args.precision, args.updates, compiler)
            results.append(torch.stack(found))
            print(
                f"  {label}: first update {seconds[0]:.2f} s, then {max(seconds[1:]):.3f} at most, "
                f"median {statistics.median(seconds[1:]):.4f} s",
                flush=True,
            )
        plain, compiled = results
        difference = ((plain - compiled).abs() / plain.abs().clamp(min=1e-6)).amax()
        print(f"  losses of {args.updates} updates: largest relative difference {difference:.1e}")


if __name__ == "__main__":
    main()
