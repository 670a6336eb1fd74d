"""Regions of an atlas and grey matter, as voxels of the BOLD: against nibabel's resampling."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to

from hyper_bids.data import VoxelGrid
from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.inputs.atlas import load_atlas, parse_roi, roi_counts, roi_mask
from hyper_bids.inputs.grey_matter import find_grey_matter, grey_matter

SHAPE, AFFINE = (7, 8, 9), np.array([[-3.0, 0, 0, 11], [0, 3, 0, -12], [0, 0, 3.1, -10], [0, 0, 0, 1]])
TABLE = "index\tname\n1\tV1\n2\tV2\n3\tFFA left\n40\t7\n50\tOutside\n"


@pytest.fixture
def grid(rng):
    return VoxelGrid(rng.random(SHAPE) < 0.7, AFFINE, "MNI152NLin2009cAsym")


@pytest.fixture
def atlas(tmp_path, rng):
    """Label image of the BOLD's grid, 0 to 3, 7 (in no table) and 40 (called "7"), with its table."""
    volume = rng.choice([0, 1, 2, 3, 7, 40], size=SHAPE).astype(np.int16)
    path = tmp_path / "space-MNI152NLin2009cAsym_dseg.nii.gz"
    nib.save(nib.Nifti1Image(volume, AFFINE), path)
    path.with_name("space-MNI152NLin2009cAsym_dseg.tsv").write_text(TABLE)
    return path, volume


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("V1", [1]), ("FFA left", [3]), ("2", [2]), ("1-3", [1, 2, 3]), ("2-39", [2, 3, 7]), ("7", [40]),
        ("V1,V2", [1, 2]),
    ],
)  # fmt: skip
def test_names_indices_and_ranges_on_the_same_grid(atlas, grid, label, wanted):
    """A name comes before an index: "7" is the name of region 40."""
    path, volume = atlas
    mask, found = roi_mask(f"{path}:{label}", grid)
    np.testing.assert_array_equal(mask, np.isin(volume[grid.mask], wanted))
    assert found.notices == ()


@pytest.mark.parametrize("turned", [0.0, 0.3])
def test_another_grid_gets_the_nearest_label_and_that_is_said(atlas, grid, turned):
    path, volume = atlas
    turn = np.array([[np.cos(turned), -np.sin(turned), 0], [np.sin(turned), np.cos(turned), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * 1.7, (-9.13, -11.27, -9.41)
    other = VoxelGrid(np.ones((13, 11, 14), bool), affine, grid.space)
    found = load_atlas(path, other)
    # scipy gives the outer half of the border voxels to the outside: a border of zeros keeps it in.
    border = AFFINE @ np.block([[np.eye(3), -np.ones((3, 1))], [np.zeros((1, 3)), 1]])
    padded = nib.Nifti1Image(np.pad(volume, 1), border)
    theirs = resample_from_to(padded, ((13, 11, 14), affine), order=0, mode="constant", cval=0)
    np.testing.assert_array_equal(other.unmask(found.labels), np.asarray(theirs.dataobj))
    assert len(np.unique(found.labels)) == 6 and "nearest neighbour" in found.notices[0]


def test_counts_add_up_to_the_grid_and_to_the_mask(atlas, grid, rng):
    found = load_atlas(atlas[0], grid)
    selected = rng.random(grid.n_voxels) < 0.3
    table = roi_counts(selected, found)
    assert table["label"].tolist() == ["V1", "V2", "FFA left", "7", "7", "n/a"]
    assert table["n_voxels"].sum() == grid.n_voxels and table["n_selected"].sum() == selected.sum()
    assert table["n_selected"][1] == selected[found.labels == 2].sum()
    with pytest.raises(InconsistentInput, match="A mask of shape"):
        roi_counts(selected[1:], found)


@pytest.mark.parametrize(
    ("text", "path", "labels"),
    [
        ("a_dseg.nii.gz:V1, V2", "a_dseg.nii.gz", ("V1", "V2")),
        (r"C:\my data\a.nii:3-5", r"C:\my data\a.nii", ("3-5",)),
        ("/odd:dir.nii/b.nii.gz:lh:V1", "/odd:dir.nii/b.nii.gz", ("lh:V1",)),
    ],
)
def test_the_colon_after_the_suffix_parts_atlas_and_labels(text, path, labels):
    assert parse_roi(text) == (Path(path), labels)


@pytest.mark.parametrize("text", ["a.nii.gz", "a.nii.gz:", "a.nii.gz: ,", "V1", "a.mgz:V1"])
def test_what_is_no_region_is_refused(text):
    with pytest.raises(UsageError, match="ATLAS:LABEL"):
        parse_roi(text)


def test_unknown_and_empty_regions_are_named(atlas, grid):
    path, _ = atlas
    with pytest.raises(UsageError, match=r"Did you mean 'FFA left'.*V1 \(1\)"):
        roi_mask(f"{path}:FFA lef", grid)
    with pytest.raises(UsageError, match="no label '99'"):
        roi_mask(f"{path}:99", grid)
    with pytest.raises(InconsistentInput, match=r"region Outside .* no voxel inside the brain mask"):
        roi_mask(f"{path}:V1,Outside", grid)


def test_the_look_up_table_is_found_by_inheritance_and_without_one_labels_are_indices(tmp_path, grid):
    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.float32) % 3
    path = tmp_path / "tpl-MNI152NLin2009cAsym_res-02_atlas-X_dseg.nii"
    nib.save(nib.Nifti1Image(volume, AFFINE), path)
    bare = load_atlas(path, grid)
    assert bare.mask(["2"]).sum() == (volume[grid.mask] == 2).sum() and "no look-up table" in bare.notices[0]
    with pytest.raises(UsageError, match="labels are indices; it holds 1, 2"):
        bare.mask(["V1"])
    (tmp_path / "tpl-MNI152NLin2009cAsym_dseg.tsv").write_text("index\tname\n1\twrong\n")
    (tmp_path / "tpl-MNI152NLin2009cAsym_atlas-X_dseg.tsv").write_text("index\tname\n1\tV1\n")
    (tmp_path / "tpl-MNI152NLin2009cAsym_atlas-Y_dseg.tsv").write_text("index\tname\n1\tother\n")
    assert load_atlas(path, grid).names == {1: "V1"}


@pytest.mark.parametrize(
    ("table", "said"),
    [("id\tname\n1\tV1\n", "columns index and name"), ("index\tname\nx\tV1\n", "whole number"),
     ("index\tname\n1\tV1\n1\tV2\n", "there twice")],
)  # fmt: skip
def test_faulty_tables_are_refused(atlas, grid, table, said):
    Path(str(atlas[0]).replace(".nii.gz", ".tsv")).write_text(table)
    with pytest.raises(InconsistentInput, match=said):
        load_atlas(atlas[0], grid)


def test_images_that_are_no_atlas_of_this_space_are_refused(tmp_path, atlas, grid, rng):
    probability, four = tmp_path / "p.nii.gz", tmp_path / "four.nii.gz"
    nib.save(nib.Nifti1Image(rng.random(SHAPE).astype(np.float32), AFFINE), probability)
    nib.save(nib.Nifti1Image(np.ones((*SHAPE, 2), np.int16), AFFINE), four)
    for path, said in ((probability, "no integers"), (four, "3-D label image")):
        with pytest.raises(InconsistentInput, match=said):
            load_atlas(path, grid)
    with pytest.raises(MissingFiles, match="does not exist"):
        load_atlas(tmp_path / "no.nii.gz", grid)
    with pytest.raises(InconsistentInput, match="in space MNI152NLin2009cAsym, the BOLD in T1w"):
        load_atlas(atlas[0], VoxelGrid(grid.mask, AFFINE, "T1w"))
    assert "not checked" in load_atlas(atlas[0], VoxelGrid(grid.mask, AFFINE)).notices[0]


# --- grey matter ----------------------------------------------------------------------------------


@pytest.fixture
def probabilities(tmp_path, rng):
    path, affine = tmp_path / "sub-01_label-GM_probseg.nii.gz", AFFINE.copy()
    affine[:3, :3] *= 0.55
    affine[:3, 3] += (1.3, -0.7, 0.4)
    nib.save(nib.Nifti1Image(rng.random((14, 15, 16)).astype(np.float32), affine), path)
    return path


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_grey_matter_is_interpolated_linearly_as_nibabel_does(probabilities, grid, threshold):
    mask, said = grey_matter(probabilities, grid, threshold)
    theirs = resample_from_to(nib.load(probabilities), (SHAPE, AFFINE), order=1, mode="constant", cval=0)
    np.testing.assert_array_equal(mask, theirs.get_fdata()[grid.mask] >= threshold)
    assert 0 < mask.sum() < grid.n_voxels and f"{threshold:g} or more" in said[0] and "interpolated" in said[0]


def test_grey_matter_on_the_same_grid_is_read_as_it_is(tmp_path, grid, rng):
    values = rng.random(SHAPE).astype(np.float32)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "gm.nii.gz")
    mask, _ = grey_matter(tmp_path / "gm.nii.gz", grid)
    np.testing.assert_array_equal(mask, values[grid.mask] >= 0.5)
    with pytest.raises(InconsistentInput, match="no voxel"):
        grey_matter(tmp_path / "gm.nii.gz", grid, 1.0)
    nib.save(nib.Nifti1Image(100 * values, AFFINE), tmp_path / "percent.nii.gz")
    with pytest.raises(InconsistentInput, match="between 0 and 1"):
        grey_matter(tmp_path / "percent.nii.gz", grid)


def test_grey_matter_is_found_by_participant_and_space(tmp_path):
    def touch(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    mni = touch("sub-01/anat/sub-01_space-MNI152NLin2009cAsym_res-2_label-GM_probseg.nii.gz")
    t1w = touch("sub-01/anat/sub-01_label-GM_probseg.nii.gz")
    session = touch("sub-01/ses-b/anat/sub-01_ses-b_label-GM_probseg.nii.gz")
    other = touch("sub-02/ses-a/anat/sub-02_ses-a_label-GM_probseg.nii.gz")
    touch("sub-01/anat/sub-01_label-WM_probseg.nii.gz")
    assert find_grey_matter(tmp_path, "01", "MNI152NLin2009cAsym") == (mni, ())
    path, said = find_grey_matter(tmp_path, "01", "T1w")
    assert path == t1w != session and "2 maps" in said[0]
    assert find_grey_matter(tmp_path, "02", "T1w", ["a"]) == (other, ())
    for participant, space, sessions in (("02", "T1w", ["b"]), ("03", "T1w", []), ("01", "fsLR", []), ("01", None, [])):
        path, said = find_grey_matter(tmp_path, participant, space, sessions)
        assert path is None and said
