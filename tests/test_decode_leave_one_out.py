"""The fast choice of penalties is that of leaving out every trial in float64."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from hyper_bids.decode.leave_one_out import best_penalties

PENALTIES = np.logspace(7, -2, 19)


def exact(X, Z):
    """Leave-one-out errors of ridge with intercept, the naive way: (n_penalties, n_targets)."""
    error = []
    for alpha in PENALTIES:
        S = X - X.mean(axis=0)
        H = 1 / len(X) + S @ np.linalg.solve(S.T @ S + alpha * np.eye(S.shape[1]), S.T)
        error.append((((Z - H @ Z) / (1 - np.diag(H))[:, None]) ** 2).sum(axis=0))
    return np.array(error)


@pytest.mark.parametrize(("n", "n_voxels", "steep"), [(37, 61, 0.0), (61, 23, 0.0), (43, 43, 0.0), (37, 61, 2.0)])
@pytest.mark.parametrize("noise", [0.0, 1.0, 30.0])
def test_penalties_are_those_of_brute_force_and_of_scikit_learn(rng, n, n_voxels, steep, noise):
    X = rng.normal(size=(n, n_voxels)) * np.arange(1, n_voxels + 1) ** -steep * 30
    Z = X @ rng.normal(size=(n_voxels, 83)) / 30 + noise * rng.normal(size=(n, 83))
    X, Z = X - X.mean(axis=0), Z - Z.mean(axis=0)
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    rank = min(n - 1, n_voxels)
    found = best_penalties(U[:, :rank], s[:rank] ** 2, Z, PENALTIES)
    error = exact(X, Z)
    chosen = error[np.searchsorted(-PENALTIES, -found), np.arange(83)]
    np.testing.assert_allclose(chosen, error.min(axis=0), rtol=1e-8)
    if noise:
        theirs = RidgeCV(PENALTIES, alpha_per_target=True).fit(X, Z).alpha_
        np.testing.assert_allclose(found, theirs)


def test_no_responses_at_all():
    found = best_penalties(np.zeros((5, 0)), np.zeros(0), np.arange(10.0).reshape(5, 2) - 4.5, PENALTIES)
    assert found.tolist() == [1e7, 1e7]
