"""Updates with compiled networks, and the way back where that does not work."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from hrpro.localize.methods.base import Stage
from hrpro.localize.nn.compiling import Compiler

_log = logging.getLogger(__name__)

Losses = dict[str, Tensor]

_AGREEMENT = 0.02
"""How far the compiled loss may be from the plain one, as a share of it; bfloat16 rounds to 0.4 %
at each step, and a snippet may cross a threshold."""


class CompiledOrPlain:
    """Makes the gradients of updates with compiled functions as long as that works.

    What an update changes beside gradients is put back before the update is made anew, so that no
    training ends, or goes another way, because a compiler is missing or fails.

    Args:
        stage: in training.
        device: of its model.
    """

    def __init__(self, stage: Stage, device: torch.device) -> None:
        self._stage = stage
        self._compiler: Compiler | None = Compiler(device)

    def __call__(self, make: Callable[[], Losses | None]) -> Losses | None:
        """Make the gradients of an update.

        Args:
            make: makes them, the same whenever it is called; returns the losses.
        """
        if self._compiler is None:
            return make()
        put_back = self._keep()
        try:
            with self._compiler.at_work():
                return make()
        except Exception as error:
            reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        # Here, so that what failed does not keep its memory.
        put_back()
        losses = make()  # if the fault is another, this fails, too
        self._give_up(reason)
        return losses

    def prove(self, make: Callable[[], Losses | None]) -> None:
        """Compile with a batch, compare the losses with the plain ones, and change nothing.

        When training goes on, the same batch as at its begin makes for the same machine code.

        Args:
            make: makes the gradients of the first update.
        """
        put_back = self._keep()
        expected = make()
        put_back()
        found = self(make)
        put_back()
        if expected is not None and found is not None:
            plain, compiled = (float(losses["total"].detach()) for losses in (expected, found))
            if not math.isclose(plain, compiled, rel_tol=_AGREEMENT) and math.isfinite(plain):
                self._give_up(f"its loss is {compiled:.4g} where {plain:.4g} is right")

    def _give_up(self, reason: str) -> None:
        if self._compiler is not None:
            _log.warning("--compile: not possible here, training goes on without (%s)", reason)
        self._compiler = None

    def _keep(self) -> Callable[[], None]:
        """Note what an update changes; what is returned puts it back."""
        stage = self._stage
        buffers = {name: buffer.clone() for name, buffer in stage.model.named_buffers()}
        state = stage.state()
        state.tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}

        def put_back() -> None:
            with torch.no_grad():
                for name, buffer in stage.model.named_buffers():
                    buffer.copy_(buffers[name])
            stage.load_state(state)

        return put_back
