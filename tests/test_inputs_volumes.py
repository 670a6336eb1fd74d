"""NIfTI as a stream of masked blocks."""

from __future__ import annotations

import numpy as np
import pytest

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.inputs.volumes import masked_blocks


def save(path, data, slope=None, dtype=np.float32, version=1):
    import nibabel as nib

    image = (nib.Nifti1Image if version == 1 else nib.Nifti2Image)(data.astype(dtype), np.diag([2, 2, 2, 1.0]))
    image.header.set_zooms((2, 2, 2, 1.7)[: data.ndim])
    if slope:
        image.header.set_slope_inter(slope, 5.0)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("dtype", "slope"), [(np.float32, None), (np.int16, 0.5), (np.float64, None), (np.uint8, None)]
)
@pytest.mark.parametrize("version", [1, 2])
def test_blocks_equal_nibabel(rng, tmp_path, suffix, dtype, slope, version):
    import nibabel as nib

    path = save(tmp_path / f"bold{suffix}", rng.uniform(0, 250, (4, 5, 3, 37)), slope, dtype, version)
    mask = rng.random((4, 5, 3)) > 0.4
    got = np.concatenate(list(masked_blocks(path, mask, skip=2, block=8)))
    np.testing.assert_allclose(got, nib.load(path).get_fdata()[mask].T[2:], rtol=1e-6)
    assert got.dtype == np.float32 and got.shape == (35, mask.sum())


def test_blocks_that_use_memory_again_hold_the_same(rng, tmp_path):
    path = save(tmp_path / "bold.nii.gz", rng.uniform(0, 250, (4, 5, 3, 37)))
    mask = rng.random((4, 5, 3)) > 0.4
    apart = np.concatenate(list(masked_blocks(path, mask, block=8)))
    blocks, places = [], set()
    for block in masked_blocks(path, mask, block=8, reuse=True):
        blocks.append(block.copy())
        places.add(block.__array_interface__["data"][0])
    np.testing.assert_array_equal(np.concatenate(blocks), apart)
    assert len(places) == 1


def test_a_damaged_file_says_so(rng, tmp_path):
    path = save(tmp_path / "bold.nii.gz", rng.uniform(0, 250, (4, 5, 3, 37)))
    whole = path.read_bytes()
    mask = np.ones((4, 5, 3), bool)
    for damaged in (whole[: len(whole) // 2], whole[:2000] + bytes(64) + whole[2064:], whole[:40]):
        path.write_bytes(damaged)
        with pytest.raises(MissingFiles, match=r"bold\.nii\.gz"):
            list(masked_blocks(path, mask))


def test_a_3d_file_and_another_grid_are_refused(rng, tmp_path):
    flat = save(tmp_path / "flat.nii", rng.uniform(0, 250, (4, 5, 3)))
    with pytest.raises(InconsistentInput, match="3 dimensions"):
        list(masked_blocks(flat, np.ones((4, 5, 3), bool)))
    bold = save(tmp_path / "bold.nii", rng.uniform(0, 250, (4, 5, 3, 7)))
    with pytest.raises(InconsistentInput, match=r"grid \(4, 5, 3\)"):
        list(masked_blocks(bold, np.ones((4, 5, 2), bool)))
