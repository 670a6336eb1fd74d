"""The contract of a decoder, as checks. Each raises `AssertionError` with what is wrong.

>>> from sklearn.linear_model import LinearRegression
>>> check_decoder(LinearRegression)
"""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np

from hyper_bids.protocols import Decoder


def _planted(seed: int, n_trials: int = 31, n_voxels: int = 17, n_latents: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n_trials, n_latents))
    X = Z @ rng.normal(size=(n_latents, n_voxels)) + 0.3 * rng.normal(size=(n_trials, n_voxels))
    return X.astype(np.float32), Z.astype(np.float32)


def fit_returns_self(make: Callable[[], Decoder]) -> None:
    """``fit`` returns the decoder itself, as scikit-learn's do."""
    X, Z = _planted(1)
    decoder = make()
    assert decoder.fit(X, Z) is decoder, "fit must return self"


def shape_and_units(make: Callable[[], Decoder]) -> None:
    """Predictions have the latents' shape and, on planted data, their scale and place."""
    X, Z = _planted(2)
    shifted = 40 + 7 * Z
    predicted = np.asarray(make().fit(X, shifted).predict(X))
    assert predicted.shape == Z.shape, f"predict returned {predicted.shape} for latents {Z.shape}"
    assert np.isfinite(predicted).all(), "predict returned values that are not finite"
    assert np.abs(predicted.mean(axis=0) - shifted.mean(axis=0)).max() < 7, "predictions are not in the latents' units"


def inputs_untouched(make: Callable[[], Decoder]) -> None:
    """Neither ``fit`` nor ``predict`` changes its arguments."""
    X, Z = _planted(3)
    X_before, Z_before = X.copy(), Z.copy()
    make().fit(X, Z).predict(X)
    assert np.array_equal(X, X_before) and np.array_equal(Z, Z_before), "fit or predict changed its inputs"


def refit_forgets(make: Callable[[], Decoder]) -> None:
    """Fitting again is the same as fitting anew."""
    X1, Z1 = _planted(4)
    X2, Z2 = _planted(5)
    twice, once = make().fit(X1, Z1).fit(X2, Z2), make().fit(X2, Z2)
    assert np.allclose(twice.predict(X2), once.predict(X2), atol=1e-6), "a second fit remembers the first"


def predicts_each_trial_alone(make: Callable[[], Decoder]) -> None:
    """A prediction does not change when other test trials come or go."""
    X, Z = _planted(6)
    decoder = make().fit(X[:20], Z[:20])
    together = np.asarray(decoder.predict(X[20:]))
    for row in range(len(X) - 20):
        alone = np.asarray(decoder.predict(X[20 + row : 21 + row]))
        assert np.allclose(alone[0], together[row], atol=1e-5), f"trial {row} is predicted differently on its own"


def pickling_survives(make: Callable[[], Decoder]) -> None:
    """A fitted decoder can be sent to another process."""
    X, Z = _planted(7)
    decoder = make().fit(X, Z)
    copy = pickle.loads(pickle.dumps(decoder))
    assert np.array_equal(copy.predict(X), decoder.predict(X)), "a pickled decoder predicts differently"


DECODER_CHECKS = (
    fit_returns_self,
    shape_and_units,
    inputs_untouched,
    refit_forgets,
    predicts_each_trial_alone,
    pickling_survives,
)


def check_decoder(make: Callable[[], Decoder]) -> None:
    """Run all checks on decoders made by ``make()``."""
    for check in DECODER_CHECKS:
        check(make)
