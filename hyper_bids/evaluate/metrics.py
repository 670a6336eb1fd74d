"""The built-in metrics, by name: one row here is a column of metrics.tsv and a row of stats.tsv."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hyper_bids.evaluate import identification, image, latent


@dataclass(frozen=True)
class BuiltinMetric:
    """A metric of `hyper_bids.protocols.Metric`, with what files and reports say about it.

    Attributes
    ----------
    domain : "latent", "feature" or "image"
        What it compares: (n, n_latents), (n, n_features) or luminance (n, height, width).
    rows : (true, predicted) -> (n,)
    matrix : (predicted (m, ...), true (n, ...)) -> (m, n)
        Every prediction against every true one.
    is_similarity : bool
        Whether it has a value for a zero and for a random prediction.
    limits : (low, high)
        Values that it can have; no interval goes beyond.
    """

    name: str
    long_name: str
    description: str
    domain: str
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray]
    matrix: Callable[[np.ndarray, np.ndarray], np.ndarray]
    is_similarity: bool = True
    higher_is_better: bool = True
    units: str = "arbitrary"
    limits: tuple[float, float] = (0.0, 1.0)

    def __call__(self, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` from two aligned arrays of n rows."""
        return self.rows(true, predicted)

    @property
    def dictionary(self) -> dict[str, str]:
        """Entry of a BIDS data dictionary."""
        return {"LongName": self.long_name, "Description": self.description, "Units": self.units}


_BUILT_IN = (
    BuiltinMetric(
        "latent_similarity",
        "Latent similarity",
        "1 / (1 + Euclidean norm of predicted minus true latent); 1 is identity (Dado et al. 2022).",
        "latent",
        latent.latent_similarity,
        latent.latent_similarity_matrix,
    ),
    BuiltinMetric(
        "latent_similarity_mse",
        "Latent similarity, MSE form",
        "1 / (1 + mean squared difference of predicted and true latent); 1 is identity (HYPER's released code). "
        "A zero prediction scores about 0.50 for standard normal latents.",
        "latent",
        latent.latent_similarity_mse,
        latent.latent_similarity_mse_matrix,
    ),
    BuiltinMetric(
        "latent_correlation",
        "Latent correlation",
        "Pearson r of predicted and true latent over the latent's dimensions; n/a for one dimension or a constant "
        "latent.",
        "latent",
        latent.latent_correlation,
        latent.latent_correlation_matrix,
        limits=(-1.0, 1.0),
    ),
    BuiltinMetric(
        "latent_cosine",
        "Latent cosine",
        "Cosine of the angle between predicted and true latent; n/a for a latent of length zero.",
        "latent",
        latent.latent_cosine,
        latent.latent_cosine_matrix,
        limits=(-1.0, 1.0),
    ),
    BuiltinMetric(
        "feature_similarity",
        "Feature similarity",
        "1 / (1 + Euclidean norm of the difference of a network's features of reconstruction and stimulus).",
        "feature",
        latent.latent_similarity,
        latent.latent_similarity_matrix,
    ),
    BuiltinMetric(
        "feature_similarity_mse",
        "Feature similarity, MSE form",
        "1 / (1 + mean squared difference of a network's features of reconstruction and stimulus).",
        "feature",
        latent.latent_similarity_mse,
        latent.latent_similarity_mse_matrix,
    ),
    BuiltinMetric(
        "pixel_correlation",
        "Pixel correlation",
        "Pearson r of luminance (Rec. 601) of reconstruction and stimulus over pixels, both resized bilinearly with "
        "antialias to the protocol's size; n/a for a uniform image.",
        "image",
        image.pixel_correlation,
        image.pixel_correlation_matrix,
        limits=(-1.0, 1.0),
    ),
    BuiltinMetric(
        "ssim",
        "Structural similarity",
        "SSIM (Wang et al. 2004) of reconstruction and stimulus on luminance: 11 x 11 Gaussian window of sigma 1.5, "
        "K1 0.01, K2 0.03, L 255, population covariance, 5 px cropped at each border, at the protocol's size.",
        "image",
        image.ssim,
        image.ssim_matrix,
        limits=(-1.0, 1.0),
    ),
    BuiltinMetric(
        "pairwise_accuracy",
        "Pairwise identification",
        "Share of the other candidates whose latent correlates less with the prediction than the true one's, ties one "
        "half; candidates are all distinct stimuli tested in any fold.",
        "latent",
        identification.pairwise_accuracy,
        identification.pairwise_accuracy_matrix,
        is_similarity=False,
        units="proportion",
    ),
    BuiltinMetric(
        "top1",
        "Full identification",
        "1 where the true stimulus's latent correlates more with the prediction than every other candidate's, else 0.",
        "latent",
        identification.top1,
        identification.top1_matrix,
        is_similarity=False,
        units="proportion",
    ),
)

METRICS: dict[str, BuiltinMetric] = {metric.name: metric for metric in _BUILT_IN}
"""Name -> metric, in the order of the columns of metrics.tsv."""


def within_limits(metric: str, interval: tuple[float, float]) -> tuple[float, float]:
    """Return an interval without values that the metric cannot have; of an unknown metric, as it is.

    >>> within_limits("pairwise_accuracy", (0.85, 1.13)), within_limits("another", (0.85, 1.13))
    ((0.85, 1.0), (0.85, 1.13))
    """
    if metric not in METRICS:
        return interval
    low, high = (float(np.clip(value, *METRICS[metric].limits)) for value in interval)
    return low, high
