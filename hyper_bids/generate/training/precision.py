"""Device, mixed precision and determinism of a training step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from hyper_bids.errors import UsageError


class Precision:
    """How a step is computed: float32, or mixed on CUDA (Micikevicius et al. 2018).

    bfloat16 has float32's range and needs no scaling; float16's losses are scaled so that small gradients survive.

    Raises
    ------
    UsageError
        Mixed precision without CUDA.
    """

    def __init__(self, precision: str, device: str) -> None:
        self.kind = device.partition(":")[0]
        self.dtype = getattr(torch, precision)
        if precision != "float32" and self.kind != "cuda":
            raise UsageError(f"--precision {precision} needs CUDA; on a {self.kind} training is in float32.")
        self.scaler = torch.amp.GradScaler(self.kind, enabled=precision == "float16")

    def autocast(self) -> AbstractContextManager:
        """Return the block in which networks run."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.kind, dtype=self.dtype)

    def minimise(
        self, loss: Tensor, optimiser: torch.optim.Optimizer, also: tuple[Tensor, list[nn.Parameter]] | None = None
    ) -> None:
        """Take one step of an optimiser; ``also`` is a further loss and the only parameters that learn from it."""
        optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward(retain_graph=also is not None)
        if also is not None:
            self.scaler.scale(also[0]).backward(inputs=also[1])
        self.scaler.step(optimiser)

    def end_of_step(self) -> None:
        """Adapt float16's scale, once all optimisers have taken their step."""
        self.scaler.update()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of a network's parameters in this block; those of its inputs flow."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Use batch norm's running statistics in this block, and compute no gradients."""
    for network in networks:
        network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for network in networks:
            network.train()


@contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Ask CUDA for algorithms that give the same result twice, and leave the settings as they were.

    A CPU needs nothing: with one number of threads its sums are always the same.
    """
    if not device.startswith("cuda"):
        yield
        return
    # cuBLAS reads it when it is first used; PyTorch's page on reproducibility asks for it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]


def adam(network: nn.Module, learning_rate: float, betas: tuple[float, float], epsilon: float) -> torch.optim.Adam:
    """Return Adam (Kingma and Ba 2015) of a network's parameters."""
    return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas, eps=epsilon)
