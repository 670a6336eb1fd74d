"""HYPER's decoder: a dense layer trained by Adam (Dado et al. 2022, and their released code).

Raw responses in, raw latents out, with a bias. The loss is half the *mean* over latents of the
squared error, mean over the batch, so that with n trials, K latents and weight decay wd the
stationary point is ridge regression with alpha = n K wd, bias penalised like a weight.

With a generator (HYPER 2020) the loss of one of its layers is added; see `layer_loss`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.decode.dense import Loss, Schedule, SquaredError, Trained, WeightedSum, train
from hyper_bids.decode.layer_loss import DifferentiableGenerator, LayerLoss, exact_convolutions
from hyper_bids.decode.linear import LinearDecoder, checked
from hyper_bids.devices import checked_device
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import torch

STEP_OPERATIONS = 1e7
"""What a step costs beside its products, in operations: a tenth of a millisecond (measured)."""

STOPPING = ("epochs", "held-out")
SCALING = ("auto", "none", "unit")

NEAR_STANDARD = 0.1
"""How far from 0 and 1 the means and sds of standard normal latents may be, sampling error apart (`latent_scaling`)."""


@dataclass(frozen=True, eq=False)
class LatentScaling:
    """``target = (latent - offset) / scale``; undone on the weights after the fit.

    Parameters
    ----------
    kind : "none" (latents as they are) or "unit" (centred, unit training variance)
    offset, scale : (n_latents,) float64; a constant latent has its mean and 0
    """

    kind: str
    offset: np.ndarray
    scale: np.ndarray

    def targets(self, Z: np.ndarray) -> np.ndarray:
        """Latents ``(n, n_latents)`` as the layer is to predict them, float32; 0 for constant ones."""
        return ((Z - self.offset) / np.where(self.scale > 0, self.scale, np.inf)).astype(np.float32)


def latent_scaling(Z: np.ndarray, rule: str) -> LatentScaling:
    """Decide from training latents ``(n_trials, n_latents)`` how the fit scales them.

    ``auto`` uses standard normal latents as they are, and any others centred and scaled to unit
    variance: a step of Adam is of one size whatever the latents' units. They count as standard
    normal where over the latents that vary the root mean squares of the means and of
    (standard deviations - 1) are both at most ``0.1 + 3 / sqrt(n_trials)``.
    """
    Z = Z.astype(np.float64)
    mean, sd = Z.mean(axis=0), Z.std(axis=0)
    varies = np.ptp(Z, axis=0) > 0
    mean = np.where(varies, mean, Z[0])
    if rule == "auto":
        allowed = NEAR_STANDARD + 3 / np.sqrt(len(Z))
        far = [np.sqrt(np.mean(part[varies] ** 2)) if varies.any() else 0.0 for part in (mean, sd - 1)]
        rule = "none" if max(far) <= allowed else "unit"
    if rule == "none":
        return LatentScaling(rule, np.where(varies, 0.0, mean), varies.astype(np.float64))
    return LatentScaling(rule, mean, np.where(varies, sd, 0.0))


class Adam(LinearDecoder):
    """Dense layer from voxels to latents, trained by Adam on the latents, and on a generator's layer if given.

    The defaults are HYPER's. A latent that is constant over training is predicted by its mean. With fewer
    trials than ``batch_size`` an epoch is one batch of them all, and `notices_` says so.

    Parameters
    ----------
    n_epochs : epochs to train; with ``stopping="held-out"`` the most
    batch_size : trials a step, in an order drawn anew every epoch; the last batch holds the rest
    learning_rate, weight_decay : of Adam; the decay is coupled (L2), on weights and bias
    stopping : ``epochs``: exactly ``n_epochs``. ``held-out``: some training groups are held out of the fit, training
        stops when their loss has not fallen for ``patience`` epochs, and the weights with their lowest loss are kept
    held_out : share of the groups held out, at least one
    patience : in epochs
    scale_latents : ``auto`` (see `latent_scaling`), ``none`` or ``unit``
    layer_model : a frozen `DifferentiableGenerator` on ``device``, for a loss at one of its layers as well
    layer : the name of that layer
    layer_weight : weight of the layer's loss; the latents' is 1
    crop : central share of the layer's maps, in height and width, that its loss sees
    seed : of initial weights, order of trials and choice of held-out groups; torch's own random state is not used.
        The same seed gives the same bits on the same device with the same number of threads
    device : cpu, cuda or cuda:N

    Attributes
    ----------
    coef_ : (n_latents, n_voxels) float32, in the units of X and Z
    intercept_ : (n_latents,) float64
    loss_curve_ : (n_epochs_, 1 or 2) float64: training loss (mean over the epoch's batches, each before its step),
        and the held-out trials' loss after the epoch, in the units of the fit (`latent_scaling_`)
    loss_names_ : names of its columns
    n_epochs_ : epochs run
    best_epoch_ : epochs after which the weights were taken
    latent_scaling_ : "none" or "unit"
    held_out_ : labels of the groups held out
    inner_folds_ : how many groups were held out, in words; None where none were
    notices_ : what a reader of the results has to know
    """

    def __init__(
        self,
        n_epochs: int = 1500,
        batch_size: int = 30,
        learning_rate: float = 1e-5,
        weight_decay: float = 0.01,
        stopping: str = "epochs",
        held_out: float = 0.1,
        patience: int = 25,
        scale_latents: str = "auto",
        layer_model: DifferentiableGenerator | None = None,
        layer: str | int | None = None,
        layer_weight: float = 1.0,
        crop: float = 0.5,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.stopping = stopping
        self.held_out = held_out
        self.patience = patience
        self.scale_latents = scale_latents
        self.layer_model = layer_model
        self.layer = layer
        self.layer_weight = layer_weight
        self.crop = crop
        self.seed = seed
        self.device = device

    def fit(self, X: np.ndarray, Z: np.ndarray, groups: np.ndarray | None = None) -> Adam:
        """Learn from ``X`` (n_trials, n_voxels) and ``Z`` (n_trials, n_latents).

        Parameters
        ----------
        groups : (n_trials,) labels of runs (or stimuli), of which whole ones are held out; None: single trials

        Raises
        ------
        UsageError
            A parameter is out of its range, or the device is not there.
        InconsistentInput
            Numbers of rows differ, values are not finite, there are too few trials or groups, training diverged,
            or the generator does not fit.
        """
        import torch

        self._check_parameters()
        X, Z = checked(X, Z, np.float32)
        device = torch.device(checked_device(self.device))
        training, held, self.held_out_, self.inner_folds_ = self._split(groups, len(X))
        scaling = latent_scaling(Z, self.scale_latents)
        responses = _tensor(X, device)
        with exact_convolutions(device):
            loss = self._loss(Z, scaling, device)
            found = train(responses, loss, Z.shape[1], training, held, self._schedule())
        self.coef_ = np.ascontiguousarray(found.weights.T * scaling.scale[:, None], dtype=np.float32)
        self.intercept_ = found.bias * scaling.scale + scaling.offset
        self.n_features_in_ = X.shape[1]
        self.latent_scaling_ = scaling.kind
        self.loss_curve_, self.best_epoch_, self.n_epochs_ = found.curve, found.best_epoch, len(found.curve)
        self.loss_names_ = ("training", "held-out")[: found.curve.shape[1]]
        self.notices_ = self._notices(found, len(training))
        return self

    def _loss(self, Z: np.ndarray, scaling: LatentScaling, device: torch.device) -> Loss:
        latent = SquaredError(_tensor(scaling.targets(Z), device))
        if self.layer_model is None:
            return latent
        return WeightedSum(latent, self._layer_loss(Z, scaling, device), self.layer_weight)

    def _layer_loss(self, Z: np.ndarray, scaling: LatentScaling, device: torch.device) -> LayerLoss:
        offset, scale = (_tensor(part.astype(np.float32), device) for part in (scaling.offset, scaling.scale))
        return LayerLoss(self.layer_model, self.layer, self.crop, _tensor(Z, device), offset, scale)

    def _schedule(self) -> Schedule:
        return Schedule(self.n_epochs, self.batch_size, self.learning_rate, self.weight_decay, self.patience, self.seed)

    def _split(
        self, groups: np.ndarray | None, n_trials: int
    ) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], str | None]:
        if self.stopping == "epochs":
            return np.arange(n_trials), np.zeros(0, dtype=int), (), None
        return hold_out(groups, n_trials, self.held_out, self.seed)

    def _notices(self, found: Trained, n_training: int) -> tuple[str, ...]:
        notices = []
        if n_training < self.batch_size:
            notices.append(
                f"{n_training} training trials are fewer than the batch size of {self.batch_size}: "
                "every epoch was one batch of them all"
            )
        if self.stopping == "held-out" and found.best_epoch + self.patience > self.n_epochs:
            notices.append(
                f"the held-out loss was lowest at epoch {found.best_epoch} and had no {self.patience} further epochs "
                f"to show that it had stopped falling before training ended at {self.n_epochs}"
            )
        return tuple(notices)

    def refit_operations(self, n_trials: int, n_voxels: int, n_latents: int) -> float:
        """Floating-point operations of one fit: three products a trial and epoch, and what a step costs at least.

        >>> Adam(n_epochs=10).refit_operations(60, 100, 8) < Adam(n_epochs=20).refit_operations(60, 100, 8)
        True
        """
        n_steps = -(-n_trials // self.batch_size)
        return self.n_epochs * (6.0 * n_trials * n_voxels * n_latents + STEP_OPERATIONS * n_steps)

    def _check_parameters(self) -> None:
        positive = {name: getattr(self, name) for name in ("n_epochs", "batch_size", "learning_rate", "patience")}
        for name, value in positive.items():
            if not value > 0 or not np.isfinite(value):
                raise UsageError(f"Decoder {type(self).__name__}: {name} must be positive, got {value}.")
        if not 0 <= self.weight_decay < np.inf:
            raise UsageError(f"Decoder {type(self).__name__}: weight_decay must be 0 or more, got {self.weight_decay}.")
        for name, allowed in (("stopping", STOPPING), ("scale_latents", SCALING)):
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"Decoder {type(self).__name__}: {name} is {getattr(self, name)!r}; needed: {', '.join(allowed)}."
                )
        if not 0 < self.held_out < 1:
            raise UsageError(f"Decoder {type(self).__name__}: held_out must be between 0 and 1, got {self.held_out}.")
        self._check_layer()

    def _check_layer(self) -> None:
        name = type(self).__name__
        if (self.layer_model is None) != (self.layer is None):
            raise UsageError(f"Decoder {name}: a layer loss needs both layer_model (a generator) and layer.")
        if not 0 < self.crop <= 1:
            raise UsageError(f"Decoder {name}: crop must be above 0 and at most 1, got {self.crop}.")
        if not 0 <= self.layer_weight < np.inf:
            raise UsageError(f"Decoder {name}: layer_weight must be 0 or more, got {self.layer_weight}.")


def hold_out(
    groups: np.ndarray | None, n_trials: int, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], str]:
    """Choose training groups to hold out, whole, by a seeded draw.

    Returns
    -------
    training, held : row numbers
    labels : of the groups held out, sorted
    words : how many of how many

    Raises
    ------
    InconsistentInput
        There are fewer than two groups, or fewer than two trials would be left.
    """
    kind = "trials" if groups is None else "groups"
    groups = np.arange(n_trials) if groups is None else np.asarray(groups)
    if groups.shape != (n_trials,):
        raise InconsistentInput(f"{n_trials} training trials but group labels of shape {groups.shape}.")
    names, labels = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise InconsistentInput(
            f"Stopping on held-out data needs at least 2 groups of training trials, found {len(names)}: {names[0]}. "
            "Train for a fixed number of epochs instead."
        )
    n_held = min(max(1, round(share * len(names))), len(names) - 1)
    chosen = generator(seed, "adam", "held out").permutation(len(names))[:n_held]
    is_held = np.isin(labels.reshape(-1), chosen)
    if (~is_held).sum() < 2:
        raise InconsistentInput(
            f"Holding out {n_held} of {len(names)} {kind} leaves {(~is_held).sum()} training trial, of at least 2. "
            "Train for a fixed number of epochs instead."
        )
    held_names = tuple(str(name) for name in names[np.sort(chosen)])
    return np.flatnonzero(~is_held), np.flatnonzero(is_held), held_names, f"{n_held} of {len(names)} {kind} held out"


def _tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The array on the device; never written to. Locked arrays are copied, which torch would warn of."""
    import torch

    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
