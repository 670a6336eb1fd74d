"""The plugin points, as small as they can be. `hyper_bids.testing` checks an implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from hyper_bids.data import Latents, Responses


@runtime_checkable
class VoxelSelector(Protocol):
    """Choose the voxels that a decoder sees, from training data alone."""

    def __call__(self, responses: Responses, latents: Latents | None) -> np.ndarray:
        """Return a boolean mask ``(n_voxels,)``."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """scikit-learn's contract: any of its regressors, or himalaya's, plugs in.

    ``fit`` may also take ``groups`` (n_trials,): runs, for inner cross-validation. ``predict`` may
    also take ``n_repeats`` (n_trials,): how many presentations each row of ``X`` averages.
    """

    def fit(self, X: np.ndarray, Z: np.ndarray) -> Decoder:
        """Learn from ``X`` (n_trials, n_voxels) and ``Z`` (n_trials, n_latents)."""
        ...

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return latents (n_trials, n_latents) in the units of ``Z``, each trial on its own."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Latents -> images.

    Attributes
    ----------
    space : name of the latent space that the generator was made for
    n_latents : int
    range : (low, high) of the float images
    """

    space: str
    n_latents: int
    range: tuple[float, float]

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, height, width, 3)`` in ``range`` from ``(n, n_latents)``."""
        ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """Images -> features of a network."""

    name: str

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return ``(n, k)`` features of uint8 RGB ``(n, height, width, 3)``."""
        ...


@runtime_checkable
class Metric(Protocol):
    """One value per stimulus."""

    name: str
    higher_is_better: bool

    def __call__(self, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` from two aligned arrays of ``n`` rows."""
        ...

