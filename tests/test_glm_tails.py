"""From t to z: the tail is kept, far beyond where a probability underflows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hyper_bids.glm.tails import exact_z, z_from_t


@pytest.mark.parametrize("dof", [1, 4, 37, 530, 3000])
def test_z_has_the_tail_of_t(dof):
    t = np.concatenate([np.linspace(-60, 60, 4001), [0.0]])
    z = z_from_t(t, dof)
    p = stats.t.sf(np.abs(t), dof)
    safe = p > 1e-290
    np.testing.assert_allclose(np.abs(z[safe]), stats.norm.isf(p[safe]), atol=1e-6)
    assert (np.diff(z[:-1]) > 0).all() and np.isfinite(z).all()
    np.testing.assert_allclose(z, -z_from_t(-t, dof))


@pytest.mark.parametrize("dof", [1, 4, 37, 530, 3000])
def test_z_of_float32_is_as_good_as_float32(dof):
    t = np.concatenate([np.linspace(-70, 70, 40001), [0.0, 1e-8, -1e-30]]).astype(np.float32)
    wanted = exact_z(t.astype(float), dof)
    np.testing.assert_allclose(z_from_t(t, dof), wanted, rtol=4e-7, atol=5e-7)
    place = t.copy()
    assert z_from_t(place, dof, out=place) is place
    np.testing.assert_array_equal(place, z_from_t(t, dof))


def test_z_beyond_the_table_goes_on_growing_and_keeps_nan():
    z = z_from_t(np.array([61.0, 300.0, 5000.0, np.nan], dtype=np.float32), 200)
    assert z.dtype == np.float32 and 24 < z[0] < z[1] < z[2] and np.isnan(z[3])
