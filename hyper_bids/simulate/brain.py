"""A participant's voxels: where they are, what they encode and how they answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.data import Latents, VoxelGrid
from hyper_bids.seeds import generator as seeded
from hyper_bids.simulate.settings import SimulateSettings, parse_shape

VOXEL_SIZE = 3.0
"""mm, isotropic."""

AMPLITUDE_SD = 1.0
"""sd over training stimuli of a tuned voxel's amplitude, in % that a stimulus without end would evoke."""

AMPLITUDE_MEAN = 1.5
"""Mean amplitude of the tuned and of the merely responsive voxels, in %."""

RESPONSIVE_SHARE = 0.5
"""Share of the voxels that are not tuned which answer to every face alike; the rest is silent."""

DELAY_STEP = 0.1
"""Haemodynamic delays are multiples of this, in s, so that voxels of one delay share a design matrix."""


@dataclass(frozen=True, eq=False)
class Brain:
    """The truth about one participant; arrays are over the voxels of ``grid``, in C order.

    The amplitude of voxel v in a trial with latents z is ``bias[v] + z @ W[:, v]``, in % of the voxel's mean.

    Parameters
    ----------
    grid : VoxelGrid with n_voxels
    W : (n_latents, n_voxels)
        In % per unit of the latent; 0 where a voxel is not tuned.
    bias : (n_voxels,) in %
    tuned, responsive : (n_voxels,) bool
        Voxels that encode the latents; voxels that answer at all (the tuned ones among them).
    delay : (n_voxels,) s
        How much later than the canonical response.
    baseline : (n_voxels,)
        Mean signal in scanner units.
    motion_gain : (6, n_voxels)
        Artefact in % per mm (translations) and per 1/50 rad (rotations).
    """

    grid: VoxelGrid
    W: np.ndarray
    bias: np.ndarray
    tuned: np.ndarray
    responsive: np.ndarray
    delay: np.ndarray
    baseline: np.ndarray
    motion_gain: np.ndarray

    def amplitudes(self, latents: np.ndarray) -> np.ndarray:
        """Return noise-free amplitudes ``(n_trials, n_voxels)`` in % of latents ``(n_trials, n_latents)``."""
        return self.bias + latents.astype(float) @ self.W


def make_brain(settings: SimulateSettings, latents: Latents, train: tuple[str, ...], participant: str) -> Brain:
    """Draw a participant's brain.

    The mask is an ellipsoid; tuned voxels lie at its back and bottom, with a border of their own in each participant.
    Weights are isotropic: independent normal, scaled per voxel to `AMPLITUDE_SD` over the training stimuli.
    """
    rng = seeded(settings.random_seed, participant, "brain")
    shape = parse_shape(settings.image_shape)
    grid = VoxelGrid(ellipsoid(shape, settings.n_voxels), _affine(shape))
    n_voxels = grid.n_voxels

    _, y, z = _coordinates(shape)[:, grid.mask]
    rank = np.argsort(np.argsort(0.8 * y + 0.5 * z + 0.25 * _smooth(shape, rng)[grid.mask], kind="stable"))
    n_tuned = round(settings.tuned_share * n_voxels)
    tuned = rank < n_tuned
    responsive = rank < n_tuned + round(RESPONSIVE_SHARE * (n_voxels - n_tuned))

    shown = latents.rows(train).astype(float)
    W = rng.standard_normal((latents.n_latents, n_voxels))
    W *= np.where(tuned, AMPLITUDE_SD / (shown @ W).std(axis=0), 0.0)
    mean = np.where(responsive, AMPLITUDE_MEAN * rng.uniform(0.5, 1.5, n_voxels), 0.0)
    return Brain(
        grid=grid,
        W=W,
        bias=mean - shown.mean(axis=0) @ W,
        tuned=tuned,
        responsive=responsive,
        delay=np.round(rng.normal(0, settings.hrf_jitter, n_voxels) / DELAY_STEP) * DELAY_STEP,
        baseline=1000.0 * (1 + 0.15 * np.clip(_smooth(shape, rng)[grid.mask], -3, 3)),
        motion_gain=rng.standard_normal((6, n_voxels)),
    )


def _coordinates(shape: tuple[int, int, int]) -> np.ndarray:
    """Return x, y and z ``(3, X, Y, Z)``, from -1 to 1 over the volume."""
    axes = [(np.arange(n) - (n - 1) / 2) / (n / 2) for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def ellipsoid(shape: tuple[int, int, int], n_voxels: int) -> np.ndarray:
    """Return a mask of the ``n_voxels`` voxels nearest to the centre, distances in parts of the volume's axes.

    >>> int(ellipsoid((7, 8, 5), 100).sum())
    100
    """
    distance = np.sqrt((_coordinates(shape) ** 2).sum(axis=0)).ravel()
    mask = np.zeros(distance.size, dtype=bool)
    mask[np.argsort(distance.round(9), kind="stable")[:n_voxels]] = True
    return mask.reshape(shape)


def _affine(shape: tuple[int, int, int]) -> np.ndarray:
    """Voxel indices to mm, RAS, the origin in the middle."""
    affine = np.diag([VOXEL_SIZE] * 3 + [1.0])
    affine[:3, 3] = -VOXEL_SIZE * (np.array(shape) - 1) / 2
    return affine


def _smooth(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random field over the volume, mean 0 and sd 1."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(shape), sigma=2.0, mode="reflect")
    return (field - field.mean()) / field.std()
