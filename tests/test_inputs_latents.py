"""Every form of latents gives the same matrix; everything wrong with them is named."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles, UsageError
from hyper_bids.inputs.declaration import LatentSpace, choose_space, latent_spaces
from hyper_bids.inputs.latents import load_latents
from hyper_bids.settings import InputSettings

STIMULI = ["b", "001", "NA", "a"]
VALUES = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
NEEDED = ["NA", "a", "001"]  # row "b" is not needed


def _table(stimuli=STIMULI, values=VALUES) -> str:
    head = "stimulus_id\t" + "\t".join(f"z{k}" for k in range(values.shape[1]))
    rows = [s + "\t" + "\t".join(repr(float(v)) for v in row) for s, row in zip(stimuli, values, strict=True)]
    return "\n".join([head, *rows]) + "\n"


def _write(folder: Path, form: str, stimuli=STIMULI, values=VALUES) -> dict:
    latents = folder / "latents"
    latents.mkdir(parents=True, exist_ok=True)
    names = "stimulus_id\n" + "\n".join(stimuli) + "\n"
    if form in ("npy", "npy+index", "uri"):
        np.save(latents / "z.npy", values)
        (latents / ("other.tsv" if form == "npy+index" else "z.tsv")).write_text(names)
        index = {"Index": "latents/other.tsv"} if form == "npy+index" else {}
        return {"File": "bids::stimuli/latents/z.npy" if form == "uri" else "latents/z.npy", **index}
    if form == "tsv":
        (latents / "z.tsv").write_text(_table(stimuli, values))
        return {"File": "latents/z.tsv"}
    if form == "tsv.gz":
        (latents / "z.tsv.gz").write_bytes(gzip.compress(_table(stimuli, values).encode()))
        return {"File": "latents/z.tsv.gz"}
    if form == "h5":
        import h5py

        with h5py.File(latents / "z.h5", "w") as file:
            file["group/z"] = values
            file["ids"] = np.array(stimuli, dtype="S")
        return {"File": "latents/z.h5", "Dataset": "group/z", "IndexDataset": "ids"}
    for stimulus, row in zip(stimuli, values, strict=True):
        if form == "each.npy":
            np.save(latents / f"z-{stimulus}.npy", row)
        else:
            (latents / f"z-{stimulus}.tsv").write_text(_table([stimulus], row[None]))
    return {"File": "latents/z-{stimulus_id}." + form.removeprefix("each.")}


FORMS = ["npy", "npy+index", "uri", "tsv", "tsv.gz", "h5", "each.npy", "each.tsv"]


def _load(folder: Path, content: dict, needed=NEEDED, folders=None):
    spaces = latent_spaces({"StimulusLatents": {"z": content}}, InputSettings())
    return load_latents(spaces["z"], needed, folders or [folder])


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_needed_rows_sorted(tmp_path: Path, form: str) -> None:
    latents, declaration = _load(tmp_path, {**_write(tmp_path, form), "Dimension": 3})
    assert latents.stimuli == ("001", "NA", "a")
    np.testing.assert_allclose(latents.values, VALUES[[1, 2, 3]], rtol=1e-6)
    assert declaration["Dimension"] == 3


@pytest.mark.parametrize("form", FORMS)
def test_errors_name_dimension_missing_and_not_finite(tmp_path: Path, form: str) -> None:
    content = _write(tmp_path, form)
    with pytest.raises(InconsistentInput, match=r"3 latents per stimulus, .*Dimension 4"):
        _load(tmp_path, {**content, "Dimension": 4})
    with pytest.raises(InconsistentInput, match=r"no latents for 1 of 2 stimuli: zebra"):
        _load(tmp_path, content, needed=["a", "zebra"])
    spoilt = VALUES.copy()
    spoilt[3, 1] = np.nan
    _write(tmp_path, form, values=spoilt)
    with pytest.raises(InconsistentInput, match=r"not finite .*: a\."):
        _load(tmp_path, content)
    assert _load(tmp_path, content, needed=["001"])[0].stimuli == ("001",)


@pytest.mark.parametrize("form", ["npy", "tsv", "tsv.gz", "h5"])
def test_duplicates_also_behind_a_prefix(tmp_path: Path, form: str) -> None:
    content = _write(tmp_path, form, stimuli=["a", "001", "NA", "stim-a"])
    with pytest.raises(InconsistentInput, match=r"more than once .*: a\."):
        _load(tmp_path, content)


def test_prefix_is_stripped_in_the_index(tmp_path: Path) -> None:
    content = _write(tmp_path, "npy", stimuli=[f"stim-{s}" for s in STIMULI])
    assert _load(tmp_path, content)[0].stimuli == ("001", "NA", "a")


def test_the_overlay_comes_first(tmp_path: Path) -> None:
    content = _write(tmp_path / "dataset", "npy")
    _write(tmp_path / "overlay", "npy", values=VALUES + 5)
    latents, _ = _load(tmp_path, content, folders=[tmp_path / "overlay", tmp_path / "dataset"])
    np.testing.assert_array_equal(latents.values, (VALUES + 5)[[1, 2, 3]])


@pytest.mark.parametrize(
    ("file", "needed"),
    [
        ("../secret.npy", ["a"]),
        ("latents/../../secret.npy", ["a"]),
        ("/etc/secret.npy", ["a"]),
        ("C:\\secret.npy", ["a"]),
        ("latents\\..\\..\\secret.npy", ["a"]),
        ("bids::stimuli/../secret.npy", ["a"]),
        ("bids::stimuli/%2e%2e/secret.npy", ["a"]),
        ("bids::sub-01/secret.npy", ["a"]),
        ("bids:other:stimuli/z.npy", ["a"]),
        ("BIDS::stimuli/../../z.npy", ["a"]),
        ("latents/{stimulus_id}.npy", ["../../secret"]),
        ("{stimulus_id}.npy", ["/etc/secret"]),
        ("", ["a"]),
    ],
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, file: str, needed: list[str]) -> None:
    stimuli = tmp_path / "stimuli"
    stimuli.mkdir()
    np.save(tmp_path / "secret.npy", np.zeros((1, 3)))
    with pytest.raises(InconsistentInput, match=r"leads out|not of the form|empty"):
        _load(stimuli, {"File": file}, needed=needed)
    if file and "{" not in file:
        _write(stimuli, "npy")
        with pytest.raises(InconsistentInput, match=r"leads out|not of the form"):
            _load(stimuli, {"File": "latents/z.npy", "Index": file})


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "z.tsv").write_text("stimulus_id\na\n")

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.save(tmp_path / "z.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(InconsistentInput, match="never loaded"):
        _load(tmp_path, {"File": "z.npy"}, needed=["a"])
    (tmp_path / "z.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InconsistentInput, match="never loaded"):
        _load(tmp_path, {"File": "z.npy"}, needed=["a"])
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("array", "index", "message"),
    [
        (np.zeros(4), "stimulus_id\na\n", "2-D"),
        (np.zeros((2, 3)), "stimulus_id\na\n", "2 rows, but its index names 1"),
        (np.zeros((1, 3), dtype=complex), "stimulus_id\na\n", "real numbers"),
        (np.zeros((1, 3)), "id\na\n", "no column stimulus_id"),
        (np.zeros((1, 3)), "stimulus_id\nn/a\n", "empty or n/a"),
        (np.zeros((1, 3)), "", "is empty"),
        (np.full((1, 3), 1e300), "stimulus_id\na\n", "not finite"),
    ],
)
def test_matrices_and_indices_that_do_not_fit(tmp_path: Path, array: np.ndarray, index: str, message: str) -> None:
    np.save(tmp_path / "z.npy", array)
    (tmp_path / "z.tsv").write_text(index)
    with pytest.raises(InconsistentInput, match=message):
        _load(tmp_path, {"File": "z.npy"}, needed=["a"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("z.npy", b"garbage", "plain .npy"),
        ("z.h5", b"garbage", "HDF5"),
        ("z.tsv.gz", b"garbage", "tab-separated"),
        ("z.tsv", b"z0\tstimulus_id\n1\ta\n", "first column"),
        ("z.tsv", b"stimulus_id\tz0\na\tx\n", "must hold numbers"),
        ("z.tsv", b"stimulus_id\tz0\tz1\na\t1\n", "3 columns in the header"),
        ("z.tsv", b"stimulus_id\tz0\na\t1\t2\n", "2 columns in the header"),
        ("z.mat", b"x", "not from this kind"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    if name == "z.npy":
        (tmp_path / "z.tsv").write_text("stimulus_id\na\n")
    with pytest.raises(InconsistentInput, match=message) as caught:
        _load(tmp_path, {"File": name}, needed=["a"])
    assert str(tmp_path / name) in str(caught.value)


def test_h5_links_to_other_files_are_refused(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file["z"] = VALUES
    with h5py.File(tmp_path / "z.h5", "w") as file:
        file["latents"] = h5py.ExternalLink(str(tmp_path / "elsewhere.h5"), "z")
        file["stimulus_id"] = np.array(STIMULI, dtype="S")
    with pytest.raises(InconsistentInput, match="another file"):
        _load(tmp_path, {"File": "z.h5"})


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFiles, match="not there"):
        _load(tmp_path / "stimuli", {"File": "latents/z.npy"})
    content = _write(tmp_path / "stimuli", "npy")
    (tmp_path / "stimuli/latents/z.npy").unlink()
    (tmp_path / "stimuli/latents/z.npy").symlink_to("../../.git/annex/objects/x/MD5E-s1--0.npy")
    with pytest.raises(MissingFiles, match=f"datalad get -d {tmp_path}"):
        _load(tmp_path / "stimuli", content)


def test_shortcut_takes_the_place_of_all_declared_spaces(tmp_path: Path) -> None:
    _write(tmp_path, "npy")
    metadata = {"StimulusLatents": {"z": {"File": "x.npy", "Generator": {"Name": "g"}}, "y": {"File": "y.npy"}}}
    spaces = latent_spaces(metadata, InputSettings(latents=(f"z={tmp_path}/latents/z.npy",)))
    space = choose_space(spaces, None, "faces")
    latents, declaration = load_latents(space, NEEDED, [tmp_path / "nowhere"])
    np.testing.assert_array_equal(latents.values, VALUES[[1, 2, 3]])
    assert declaration["Generator"] == {"Name": "g"}
    _write(tmp_path, "each.npy")
    spaces = latent_spaces({}, InputSettings(latents=(f"z={tmp_path}/latents/z-{{stimulus_id}}.npy",)))
    np.testing.assert_array_equal(load_latents(spaces["z"], NEEDED, [])[0].values, VALUES[[1, 2, 3]])
    with pytest.raises(InconsistentInput, match="leads out"):
        load_latents(spaces["z"], ["../x"], [])


@pytest.mark.parametrize(
    ("declared", "options", "error", "message"),
    [
        ({}, {}, InconsistentInput, "StimulusLatents"),
        ({"a": {"File": "a.npy"}, "b": {"File": "b.npy"}}, {}, UsageError, "a, b"),
        ({"abc": {"File": "a.npy"}}, {"latent_space": "abd"}, UsageError, "Did you mean 'abc'"),
        ({"a-b": {"File": "a.npy"}}, {}, InconsistentInput, "letters, digits"),
        ({"a": {"File": "a.npy"}, "A": {"File": "b.npy"}}, {}, InconsistentInput, "case alone"),
        ({"a": {"File": 3}}, {}, InconsistentInput, "File"),
        ({"a": {"File": "a.npy", "Dimension": "3"}}, {}, InconsistentInput, "Dimension"),
        ({"a": {"File": "a.npy", "Generator": "pggan"}}, {}, InconsistentInput, "Generator"),
        ([], {}, InconsistentInput, "object"),
        ({}, {"latents": ("a",)}, UsageError, "NAME=FILE"),
        ({}, {"latents": ("a=x.npy", "a=y.npy")}, UsageError, "twice"),
    ],
)
def test_declarations_that_cannot_be_used(declared, options: dict, error: type[HyperError], message: str) -> None:
    inputs = InputSettings(**options)
    with pytest.raises(error, match=message):
        choose_space(latent_spaces({"StimulusLatents": declared}, inputs), inputs.latent_space, "faces")


def test_the_named_space_is_chosen() -> None:
    spaces = {name: LatentSpace(name, {"File": f"{name}.npy"}) for name in ("a", "b")}
    assert choose_space(spaces, "b", "faces") is spaces["b"]
