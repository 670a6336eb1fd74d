"""A dense layer trained by Adam on mini-batches, for any loss of its outputs.

The layer is linear, so that its gradient needs no automatic differentiation: with
``D = d loss / d output`` (n_batch, n_latents) it is ``X'D`` for the weights and the sum of
``D`` over the batch for the bias. A loss has to give its value and ``D``, no more.

Adam is Kingma & Ba 2015 with *coupled* weight decay: ``weight_decay * parameter`` is added to
the gradient, of the bias too, before the moments are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8

INITIAL = 0.07
"""Weights start uniform in (-INITIAL, INITIAL), whatever the number of voxels; the bias starts at 0 (HYPER's code)."""


class Loss(Protocol):
    """A loss of the layer's outputs: the mean over the rows that it is given."""

    def value(self, output: Tensor, rows: Tensor) -> Tensor:
        """Scalar loss of ``output`` (n, n_latents), which are predictions of the trials ``rows`` (n,)."""
        ...

    def value_and_gradient(self, output: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and its derivative by ``output``, ``(n, n_latents)``."""
        ...


class SquaredError:
    """Half the *mean* over latents of the squared error: not their sum, which would be n_latents as large."""

    def __init__(self, target: Tensor) -> None:
        self.target = target

    def value(self, output: Tensor, rows: Tensor) -> Tensor:
        return (output - self.target[rows]).square().mean() / 2

    def value_and_gradient(self, output: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        error = output - self.target[rows]
        return error.square().mean() / 2, error / error.numel()


class WeightedSum:
    """``loss + weight * other``."""

    def __init__(self, loss: Loss, other: Loss, weight: float) -> None:
        self.loss, self.other, self.weight = loss, other, weight

    def value(self, output: Tensor, rows: Tensor) -> Tensor:
        return self.loss.value(output, rows) + self.weight * self.other.value(output, rows)

    def value_and_gradient(self, output: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        (one, gradient), (two, more) = (loss.value_and_gradient(output, rows) for loss in (self.loss, self.other))
        return one + self.weight * two, gradient + self.weight * more


@dataclass(frozen=True)
class Schedule:
    """How a layer is trained.

    Parameters
    ----------
    n_epochs : number of epochs; the most, where trials are held out
    batch_size : trials a step; the last batch of an epoch holds the rest, and its loss is the mean over it
    learning_rate, weight_decay : of Adam
    patience : epochs without a lower held-out loss after which training stops
    seed : of the initial weights and of the order of trials, which is drawn anew every epoch
    """

    n_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    seed: int


@dataclass(frozen=True, eq=False)
class Trained:
    """What training found.

    Parameters
    ----------
    weights : (n_voxels, n_latents) float32
    bias : (n_latents,) float32
    curve : (n_epochs_run, 1 or 2) float64, the mean loss of an epoch's batches, each before its step, and
        where trials were held out their loss after the epoch
    best_epoch : number of epochs after which the weights were taken
    """

    weights: np.ndarray
    bias: np.ndarray
    curve: np.ndarray
    best_epoch: int


def train(
    X: Tensor, loss: Loss, n_latents: int, training: np.ndarray, held_out: np.ndarray, schedule: Schedule
) -> Trained:
    """Train a layer on ``X`` (n_trials, n_voxels), on the device where ``X`` is.

    Parameters
    ----------
    training, held_out : row numbers; with any held out, the weights with their lowest loss are kept

    Raises
    ------
    InconsistentInput
        The loss became infinite or NaN.
    """
    import torch

    order = generator(schedule.seed, "adam", "order")
    held = torch.from_numpy(held_out).to(X.device)
    with torch.no_grad():
        layer = _Layer(X, n_latents, schedule)
        best, best_epoch, lowest, curve = layer.copy(), 0, float("inf"), []
        for epoch in range(1, schedule.n_epochs + 1):
            rows = torch.from_numpy(order.permutation(training)).to(X.device)
            curve.append([layer.epoch(rows, loss, schedule.batch_size)])
            if not len(held):
                continue
            curve[-1].append(layer.loss(held, loss, schedule.batch_size))
            if curve[-1][1] < lowest:
                best, best_epoch, lowest = layer.copy(best), epoch, curve[-1][1]
            elif epoch - best_epoch >= schedule.patience:
                break
        if not len(held):
            best, best_epoch = layer.copy(best), schedule.n_epochs
    losses = np.array([[float(value) for value in row] for row in curve])
    weights, bias = (part.cpu().numpy().copy() for part in best)
    if not (np.isfinite(losses).all() and np.isfinite(weights).all() and np.isfinite(bias).all()):
        epoch = int(np.argmin(np.isfinite(losses).all(axis=1))) + 1
        raise InconsistentInput(
            f"Training diverged: the loss is no longer finite at epoch {epoch} of {schedule.n_epochs}. "
            f"Use a learning rate below {schedule.learning_rate:g}, or look for huge values in the responses."
        )
    return Trained(weights, bias, losses, best_epoch)


class _Layer:
    """Weights, their gradients and Adam's moments, all allocated once."""

    def __init__(self, X: Tensor, n_latents: int, schedule: Schedule) -> None:
        import torch

        # Drawn by NumPy: the same start on every device, and torch's own random state is left alone.
        start = generator(schedule.seed, "adam", "weights")
        weights = start.uniform(-INITIAL, INITIAL, (X.shape[1], n_latents)).astype(np.float32)
        self.X = X
        self.weights = torch.from_numpy(weights).to(X.device)
        self.bias = torch.zeros(n_latents, device=X.device)
        self.weights.grad, self.bias.grad = torch.empty_like(self.weights), torch.empty_like(self.bias)
        self.adam = torch.optim.Adam(
            [self.weights, self.bias], lr=schedule.learning_rate, betas=BETAS, eps=EPSILON,
            weight_decay=schedule.weight_decay, fused=True,
        )  # fmt: skip

    def epoch(self, order: Tensor, loss: Loss, batch_size: int) -> Tensor:
        """One step for every batch; the mean loss over the trials."""
        import torch

        total = torch.zeros((), device=order.device)
        for rows in order.split(batch_size):
            X = self.X[rows]
            value, gradient = loss.value_and_gradient(torch.addmm(self.bias, X, self.weights), rows)
            torch.mm(X.T, gradient, out=self.weights.grad)
            torch.sum(gradient, dim=0, out=self.bias.grad)
            self.adam.step()
            total += value * len(rows)
        return total / len(order)

    def loss(self, rows: Tensor, loss: Loss, batch_size: int) -> float:
        """Mean loss of trials that are not trained on."""
        parts = rows.split(batch_size)
        values = [loss.value(self.X[part] @ self.weights + self.bias, part) * len(part) for part in parts]
        return float(sum(values)) / len(rows)

    def copy(self, into: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The parameters as they are now, in memory of their own (that of ``into``, where given)."""
        if into is None:
            return self.weights.clone(), self.bias.clone()
        return into[0].copy_(self.weights), into[1].copy_(self.bias)
