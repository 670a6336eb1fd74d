"""HYPER's published data: every layout gives the same numbers, a dataset that the app decodes, and no code run."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parent))
import pggan_files as files

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.inputs.validate import find_validator, validate
from hyper_bids.weights.hyper_data import PARTS, read_hyper_data


def tables(seed: int = 3, n_voxels: int = 30) -> list[np.ndarray]:
    """Responses that are linear in the latents: 80 training rows, 5 test rows, 7 latents."""
    rng = np.random.default_rng(seed)
    train, test = (np.random.default_rng(k).standard_normal((n, 7)).astype(np.float32) for k, n in ((1, 80), (2, 5)))
    w = rng.standard_normal((7, n_voxels))
    x_train = train @ w + rng.standard_normal((80, n_voxels))
    x_test = test @ w + 0.2 * rng.standard_normal((5, n_voxels))
    return [x_train.astype(np.float32), train, x_test.astype(np.float32), test]


def mxnet_array(array: np.ndarray):
    """An object that pickles as MXNet's NDArray."""
    module = sys.modules.setdefault("mxnet.ndarray.ndarray", types.ModuleType("mxnet.ndarray.ndarray"))
    for name in ("mxnet", "mxnet.ndarray"):
        sys.modules.setdefault(name, types.ModuleType(name))
    if not hasattr(module, "NDArray"):

        class NDArray:
            def __init__(self, handle):
                self.handle = handle

            def __reduce__(self):
                return NDArray, (None,), {"handle": bytearray(self.handle)}

        NDArray.__module__, NDArray.__qualname__ = module.__name__, "NDArray"
        module.NDArray = NDArray
    return module.NDArray(files.mxnet_record(np.ascontiguousarray(array)))


LAYOUTS = {
    "arrays": lambda a: a,
    "double": lambda a: a.astype(np.float64),
    "lists": lambda a: a.tolist(),
    "list of rows": lambda a: list(a),
    "rows 1 x n": lambda a: a[:, None],
    "mxnet": mxnet_array,
    "mxnet rows": lambda a: [mxnet_array(row) for row in a],
    "mxnet rows 1 x n": lambda a: [mxnet_array(row[None]) for row in a],
}


def assert_read(path: Path, truth: list[np.ndarray]) -> None:
    read = read_hyper_data(path)
    found = (read.train_responses, read.train_latents, read.test_responses, read.test_latents)
    for name, part, expected in zip(PARTS, found, truth, strict=True):
        assert part.dtype == np.float32 and np.array_equal(part, expected), name


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_numbers(tmp_path, layout, protocol):
    tree = [LAYOUTS[layout](part) for part in tables()]
    path = files.write_pickle(tmp_path / "data_1.dat", tuple(tree) if protocol == 4 else tree, protocol)
    assert_read(path, tables())


def test_the_files_of_the_real_tools(shared_data):
    folder = shared_data.parent / "fixtures" / "hyper_data"
    if not folder.is_dir():
        pytest.skip(f"HYPER's data in its layouts not found at {folder}")
    truth = np.load(folder / "data_truth.npz")
    found = sorted(folder.glob("*.dat"))
    assert len(found) >= 10
    for path in found:
        assert_read(path, [truth[name] for name in PARTS])


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('code was run')",)


@pytest.mark.parametrize(
    ("tree", "error", "says"),
    [
        ([*tables()[:3], Evil()], InconsistentInput, "Nothing was run"),
        (tables()[:3], InconsistentInput, "four tables"),
        ({"X": 1}, InconsistentInput, "four tables"),
        ([tables()[0][:70], *tables()[1:]], InconsistentInput, "do not fit"),
        ([*tables()[:2], tables()[2][:, :9], tables()[3]], InconsistentInput, "do not fit"),
        ([tables()[0] * np.nan, *tables()[1:]], InconsistentInput, "X_tr.*finite"),
        ([tables()[0][:, :, None], *tables()[1:]], InconsistentInput, "X_tr has the shape"),
        ([[[1.0], [1.0, 2.0]], *tables()[1:]], InconsistentInput, "X_tr is no table"),
        ([[["a", "b"]], *tables()[1:]], InconsistentInput, "X_tr is no table"),
        ([3.0, *tables()[1:]], InconsistentInput, "X_tr is no table"),
        ([[], *tables()[1:]], InconsistentInput, "X_tr has the shape"),
    ],
)
def test_other_content_is_named(tmp_path, tree, error, says):
    with pytest.raises(error, match=says):
        read_hyper_data(files.write_pickle(tmp_path / "d.dat", tree))


def test_every_cut_of_a_file_is_an_error(tmp_path):
    whole = pickle.dumps([mxnet_array(part[:4]) for part in tables(n_voxels=3)], protocol=3)
    path = tmp_path / "d.dat"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises((MissingFiles, InconsistentInput)):
            read_hyper_data(path)
    with pytest.raises(MissingFiles, match="not there"):
        read_hyper_data(tmp_path / "none.dat")


# ------------------------------------------------------------------ the dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Two participants who saw the same faces, the second in another order."""
    folder = tmp_path_factory.mktemp("hyper")
    first, second = tables(3), tables(4, n_voxels=41)
    second[0], second[1] = second[0][::-1], second[1][::-1]
    paths = [
        files.write_pickle(folder / "data_1.dat", first, 2),
        files.write_pickle(folder / "data_2.dat", [[mxnet_array(row) for row in part] for part in second], 3),
    ]
    assert tools(["import-hyper", *map(str, paths), "--out", str(folder / "bids")]) == 0
    return folder / "bids"


def test_participants_share_the_faces_that_both_saw(dataset):
    stimuli = pd.read_csv(dataset / "stimuli" / "stimuli.tsv", sep="\t")
    assert stimuli["split"].value_counts().to_dict() == {"train": 80, "test": 5}
    index = pd.read_csv(dataset / "stimuli" / "latents" / "pgganZ.tsv", sep="\t")["stimulus_id"].tolist()
    latents = np.load(dataset / "stimuli" / "latents" / "pgganZ.npy")
    for label, truth in (("01", tables(3)), ("02", tables(4, n_voxels=41))):
        (image,) = dataset.glob(f"derivatives/responses/sub-{label}/func/*_statmap.nii.gz")
        rows = pd.read_csv(str(image).replace(".nii.gz", ".tsv"), sep="\t")
        mask = nib.load(str(image).replace("stat-z_desc-trial_statmap", "desc-brain_mask")).get_fdata() > 0
        x = nib.load(image).get_fdata()[mask].T
        order = slice(None, None, -1 if label == "02" else 1)
        assert np.allclose(x, np.concatenate([truth[0][order], truth[2]]), atol=1e-5)
        z = latents[[index.index(name) for name in rows["stimulus_id"]]]
        assert np.array_equal(z, np.concatenate([truth[1][order], truth[3]]))


def test_the_dataset_is_valid_bids(dataset):
    if find_validator() is None:
        pytest.skip("bids-validator-deno is not installed")
    assert validate(dataset) == []
    assert validate(dataset / "derivatives" / "responses") == []


def test_the_app_decodes_it_and_draws_with_a_network(dataset, tmp_path):
    arrays = files.random_arrays(channels=(8, 6, 4))
    weights = files.write_mxnet(tmp_path / "generator.params", files.mxnet_names(arrays, "child"))
    words = [str(dataset), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work"), "-q"]
    words += ["--responses", str(dataset / "derivatives" / "responses"), "--weights", str(weights)]
    assert main([*words, "--n-permutations", "19", "--no-reliability"]) == 0
    for label in ("01", "02"):
        (stats,) = (tmp_path / "out").glob(f"sub-{label}/func/*_stats.tsv")
        scores = pd.read_csv(stats, sep="\t", na_values="n/a").set_index("metric")["mean"]
        assert scores["latent_correlation"] > 0.9 and scores["pairwise_accuracy"] == 1
        assert len(list((tmp_path / "out").glob(f"sub-{label}/func/*_recon.png"))) == 5


@pytest.mark.parametrize(
    ("names", "code", "says"),
    [
        (["data_1.dat", "more_data_1.dat"], 64, "both participant 01"),
        (["data_1.dat", "wide.dat"], 65, "different dimensions"),
        (["none.dat"], 66, "none.dat"),
    ],
)
def test_files_that_do_not_go_together(tmp_path, capsys, names, code, says):
    for name in ("data_1.dat", "more_data_1.dat"):
        files.write_pickle(tmp_path / name, tables())
    x_train, t_train, x_test, t_test = tables()
    wide = [x_train, np.hstack([t_train, t_train]), x_test, np.hstack([t_test, t_test])]
    files.write_pickle(tmp_path / "wide.dat", wide)
    paths = [str(tmp_path / name) for name in names]
    assert tools(["import-hyper", *paths, "--out", str(tmp_path / "bids")]) == code
    assert says in capsys.readouterr().err and not (tmp_path / "bids").exists()
    assert not list(tmp_path.glob(".bids*"))


def test_a_folder_that_holds_something_is_left_alone(tmp_path, capsys):
    path = files.write_pickle(tmp_path / "data_1.dat", tables())
    assert tools(["import-hyper", str(path), "--out", str(tmp_path)]) == 64
    assert "not empty" in capsys.readouterr().err and sorted(tmp_path.iterdir()) == [path]
