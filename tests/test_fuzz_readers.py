"""Users' files, cut off and with random bytes and words: read, or refused with an error for people, in bounded memory.

``python tests/fuzz_inputs.py FOLDER SEED N NAME ...`` does the same with more copies.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
N = 40
GROUPS = {
    "events": ["events", "sidecar", "stimuli.tsv"],
    "latents": ["latents npy", "latents index", "latents tsv", "latents tsv.gz", "latents h5"],
    "vectors": ["latent vectors npy", "latent vectors tsv", "boundary"],
    "confounds": ["confounds", "confounds sidecar"],
    "images": ["nii", "nii.gz", "NIfTI-2", "mask", "mask gz", "tissue", "maps", "maps table", "atlas", "atlas table"],
    "options": ["config", "filter"],
}


def test_every_reader_is_in_a_group():
    from fuzz_inputs import READERS

    assert sorted(name for names in GROUPS.values() for name in names) == sorted(READERS)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("seed", [20261121])
def test_altered_files_are_read_or_refused(tmp_path, group, seed):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(HERE / "fuzz_inputs.py"), str(tmp_path), str(seed), str(N)]
    done = subprocess.run([*command, *GROUPS[group]], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {line.split("\t")[0]: [int(word) for word in line.split("\t")[1:]] for line in done.stdout.splitlines()}
    assert list(found) == GROUPS[group]
    assert all(sum(counts) > 1.5 * N and counts[1] > N / 4 for counts in found.values()), found


@pytest.mark.parametrize("shape", [(32767, 32767, 32767, 32767), (30000, 20000, 3, 500)])
@pytest.mark.parametrize("name", ["big.nii", "big.nii.gz"])
def test_a_header_that_announces_more_than_the_file_holds(tmp_path, name, shape):
    import nibabel as nib

    from hyper_bids.errors import MissingFiles
    from hyper_bids.inputs.volumes import read_header

    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with nib.openers.Opener(tmp_path / name, "wb") as stream:
        stream.write(header.binaryblock + bytes(4 + 4000))
    with pytest.raises(MissingFiles, match=r"its header announces .* the file holds"):
        read_header(tmp_path / name)


def test_an_image_of_zeros_is_not_taken_for_too_short(tmp_path):
    import nibabel as nib

    from hyper_bids.inputs.volumes import read_header

    nib.save(nib.Nifti1Image(np.zeros((91, 83, 67, 11), np.float32), np.eye(4)), tmp_path / "zero.nii.gz")
    assert read_header(tmp_path / "zero.nii.gz").shape == (91, 83, 67, 11)
