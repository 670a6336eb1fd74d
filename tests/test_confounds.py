"""Confound strategies over fMRIPrep's tables, old and new; against nilearn where it can read them."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.inputs.confound_table import OLD_NAMES, OLD_SERIES, modern
from hyper_bids.inputs.confounds import (
    MOTION6,
    STRATEGIES,
    non_steady_state_volumes,
    parse_strategy,
    read_confounds,
    spike_regressors,
)

REAL = {
    "fMRIPrep 1.4": "test_desc-confounds_regressors.tsv",
    "fMRIPrep 21": "test-v21_desc-confounds_timeseries.tsv",
    "no JSON, no dummies": "no_nonsteady_desc-confounds_regressors.tsv",
}
N = 23


def table_of(rng: np.random.Generator) -> pd.DataFrame:
    """A small table in today's names: two leading flags, large steps at volumes 1 and 9."""
    columns = {name: rng.normal(size=N) for name in (*MOTION6, "csf", "white_matter", "global_signal")}
    columns["framewise_displacement"] = [np.nan, *rng.uniform(0, 0.4, N - 1)]
    columns["framewise_displacement"][1] = columns["framewise_displacement"][9] = 0.9
    columns |= {f"a_comp_cor_{k:02d}": rng.normal(size=N) for k in range(7)}
    columns |= {f"cosine{k:02d}": rng.normal(size=N) for k in range(3)}
    columns |= {f"non_steady_state_outlier{k:02d}": (np.arange(N) == k).astype(float) for k in range(2)}
    return pd.DataFrame(columns)


def save(folder: Path, table: pd.DataFrame, masks: dict[str, str] | None = None) -> Path:
    path = folder / "sub-01_task-faces_desc-confounds_timeseries.tsv"
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    if masks is not None:
        path.with_suffix(".json").write_text(json.dumps({name: {"Mask": mask} for name, mask in masks.items()}))
    return path


def older(table: pd.DataFrame) -> pd.DataFrame:
    """The same table in the names of fMRIPrep up to 1.1."""
    old = {new: name for name, new in OLD_NAMES.items()}
    series = {new: name for name, new in OLD_SERIES.items()}

    def rename(name: str) -> str:
        stem = name.rstrip("0123456789")
        return old.get(name) or (series[stem] + name[len(stem):] if stem in series else name)

    return table.rename(columns=rename)


@pytest.fixture
def table(rng) -> pd.DataFrame:
    return table_of(rng)


@pytest.fixture(params=REAL)
def real(request, shared_data) -> Path:
    return shared_data / "confounds" / REAL[request.param]


def arguments(name: str) -> dict:
    return {"columns": ["rot_?", "cosine*"]} if "columns" in name else {}


# --- laws ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
def test_old_names_give_what_new_names_give(tmp_path, table, name):
    new = read_confounds(save(tmp_path, table), name, N, **arguments(name))
    old = read_confounds(save(tmp_path, older(table)), name, N, **arguments(name))
    assert "RotX" in older(table) and not set(older(table)) & {"rot_x", "csf", "cosine00", "a_comp_cor_00"}
    if name == "none":
        assert new is None and old is None
        return
    pd.testing.assert_frame_equal(new.table, old.table)
    assert (new.has_cosines, new.non_steady_state, new.notices) == (old.has_cosines, 2, old.notices)
    np.testing.assert_array_equal(new.scrubbed, old.scrubbed)


@pytest.mark.parametrize("names", [("motion6", "motion24"), ("acompcor", "cosine"), ("motion6", "wmcsf", "scrub")])
def test_a_joined_strategy_is_the_union_of_its_parts(tmp_path, table, names):
    path = save(tmp_path, table)
    parts = [read_confounds(path, name, N).table for name in names]
    joined = read_confounds(path, "+".join(names), N)
    once = pd.concat(parts, axis=1)
    pd.testing.assert_frame_equal(joined.table, once.loc[:, ~once.columns.duplicated()])
    assert joined.table.shape[0] == N and (joined.table.dtypes == np.float64).all()


def test_motion24_by_its_definition(tmp_path, table):
    got = read_confounds(save(tmp_path, table), "motion24", N).table
    x = table[list(MOTION6)].to_numpy()
    steps = np.zeros_like(x)
    for volume in range(1, N):
        steps[volume] = x[volume] - x[volume - 1]
    wanted = np.hstack([x, steps, x * x, steps * steps])
    np.testing.assert_allclose(got.to_numpy(), wanted, rtol=1e-12, atol=1e-15)
    assert list(got.columns[[6, 12, 18]]) == ["trans_x_derivative1", "trans_x_power2", "trans_x_derivative1_power2"]


def test_one_spike_a_volume_whoever_flags_it(tmp_path, table):
    """Volumes 1 and 9 moved; 0 and 1 are flagged by fMRIPrep: three spikes, not four."""
    path = save(tmp_path, table)
    got = read_confounds(path, "scrub", N, fd_threshold=0.5)
    assert got.scrubbed.tolist() == [1, 9] and got.non_steady_state == 2 == non_steady_state_volumes(path, N)
    pd.testing.assert_frame_equal(got.table, spike_regressors([1, 9], N))
    regressed = got.with_non_steady_state_regressed()
    assert sorted(regressed.table.to_numpy().argmax(axis=0)) == [0, 1, 9]
    assert (regressed.table.to_numpy().sum(axis=0) == 1).all() and len(got.table.columns) == 2
    listed = read_confounds(path, "columns+scrub", N, columns=["non_steady*"]).with_non_steady_state_regressed()
    assert sorted(listed.table.to_numpy().argmax(axis=0)) == [0, 1, 9]
    assert read_confounds(path, "scrub", N, fd_threshold=0.9).scrubbed.size == 0, "above, not at, the threshold"
    assert any("2 of 23 volumes scrubbed" in notice and "0.5 mm" in notice for notice in got.notices)


def test_a_spike_takes_its_volume_out_of_the_fit(rng):
    x, y = rng.normal(size=(N, 3)), rng.normal(size=N)
    spiked = np.column_stack([x, spike_regressors([4, 17], N)])
    without = np.delete(np.arange(N), [4, 17])
    wanted = np.linalg.lstsq(x[without], y[without], rcond=None)[0]
    np.testing.assert_allclose(np.linalg.lstsq(spiked, y, rcond=None)[0][:3], wanted, rtol=1e-10)


@pytest.mark.parametrize(
    ("strategy", "has"),
    [("motion6", False), ("acompcor", True), ("cosine", True), ("motion24+acompcor", True), ("columns", True)],
)
def test_cosines_among_the_confounds_are_told(tmp_path, table, strategy, has):
    assert read_confounds(save(tmp_path, table), strategy, N, **arguments(strategy)).has_cosines is has
    short = table.drop(columns=[f"cosine{k:02d}" for k in range(3)])
    if strategy == "acompcor":
        got = read_confounds(save(tmp_path, short), strategy, N)
        assert not got.has_cosines and any("no cosines" in notice for notice in got.notices)
    some = read_confounds(save(tmp_path, table), "columns", N, columns=["cosine01"])
    assert some.has_cosines and any("1 of the table's 3" in notice for notice in some.notices)


def test_flags_after_the_start_are_no_dummies(tmp_path, table):
    table["non_steady_state_outlier01"] = (np.arange(N) == 5).astype(float)
    got = read_confounds(save(tmp_path, table), "motion6", N)
    assert got.non_steady_state == 1 and any("1 volume is flagged" in notice for notice in got.notices)


# --- aCompCor's masks ---------------------------------------------------------------------------------------------


def test_components_of_the_combined_mask_in_the_order_of_their_numbers(tmp_path, table):
    masks = {f"a_comp_cor_{k:02d}": "WM" if k in (0, 3) else "combined" for k in range(7)}
    got = read_confounds(save(tmp_path, table[table.columns[::-1]], masks), "acompcor", N, n_acompcor=3)
    assert list(got.table)[:3] == ["a_comp_cor_01", "a_comp_cor_02", "a_comp_cor_04"] and got.notices == ()
    got = read_confounds(save(tmp_path, table, masks), "acompcor", N, n_acompcor=11)
    assert sum("comp_cor" in name for name in got.table) == 5 and any("instead of 11" in n for n in got.notices)


def test_without_a_json_the_mask_is_not_known_and_that_is_said(tmp_path, table):
    got = read_confounds(save(tmp_path, table), "acompcor", N)
    assert [name for name in got.table if "comp" in name] == [f"a_comp_cor_{k:02d}" for k in range(5)]
    assert any("No JSON" in notice for notice in got.notices)
    named = table.assign(w_comp_cor_00=table["csf"])
    assert read_confounds(save(tmp_path, named), "acompcor", N).notices == (), "since 21 the names tell"


@pytest.mark.parametrize("new", [False, True])
def test_separate_masks_where_there_is_no_combined_one(tmp_path, table, new):
    masks = {f"a_comp_cor_{k:02d}": "CSF" if k < 3 else "WM" for k in range(7)}
    names = ["a_comp_cor_00", "a_comp_cor_01", "a_comp_cor_03", "a_comp_cor_04"]
    if new:
        rename = {name: f"{mask[0].lower()}_comp_cor_{int(name[-2:]) % 3:02d}" for name, mask in masks.items()}
        del table["a_comp_cor_06"]
        table, names = table.rename(columns=rename), [rename[name] for name in names]
        masks = {}
    got = read_confounds(save(tmp_path, table, masks), "acompcor", N, n_acompcor=2)
    assert [name for name in got.table if "comp" in name] == names
    assert any("CSF, WM" in notice for notice in got.notices)


# --- real tables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_reads_every_real_table(real, name):
    got = read_confounds(real, name, 30, **arguments(name))
    if name == "none":
        assert got is None
        return
    moved = name == "scrub"
    assert got.table.shape[0] == 30 and np.isfinite(got.table.to_numpy()).all()
    assert got.table.shape[1] > 0 or (moved and "v21" not in real.name)
    assert got.non_steady_state == {"test_desc": 1, "test-v21_": 3, "no_nonste": 0}[real.name[:9]]


def test_computed_expansions_equal_fmripreps(real, tmp_path):
    """But for one step: somebody zeroed the first volume of `test_desc` after fMRIPrep had taken the differences."""
    whole = pd.read_csv(real, sep="\t")
    six = whole[list(MOTION6)]
    given, computed = (read_confounds(path, "motion24", 30).table for path in (real, save(tmp_path, six)))
    rows = [row for row in range(30) if row != 1 or not (six.iloc[0] == 0).all()]
    assert list(given) == list(computed) and len(rows) >= 29
    np.testing.assert_allclose(computed.iloc[rows], given.iloc[rows], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(given.iloc[1:], whole[list(given)].iloc[1:], rtol=1e-14)
    assert (given.filter(like="derivative1").iloc[0] == 0).all()


@pytest.mark.parametrize("file", [name for name in REAL.values() if "no_non" not in name])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("motion6", {"strategy": ["motion"], "motion": "basic"}),
        ("motion24", {"strategy": ["motion"], "motion": "full"}),
        ("wmcsf", {"strategy": ["wm_csf"], "wm_csf": "basic"}),
        ("cosine", {"strategy": ["high_pass"]}),
        ("acompcor", {"strategy": ["compcor", "high_pass"], "compcor": "anat_combined", "n_compcor": 4}),
        ("motion24+acompcor+wmcsf", {"strategy": ["motion", "high_pass", "compcor", "wm_csf"], "n_compcor": 4}),
    ],
)
def test_columns_and_values_are_nilearns(shared_data, tmp_path, file, ours, theirs):
    got = read_confounds(shared_data / "confounds" / file, ours, 30, n_acompcor=4).table
    wanted, _ = nilearns(shared_data / "confounds" / file, tmp_path, **theirs)
    assert set(got) == set(wanted)
    wanted = wanted[list(got)]
    np.testing.assert_allclose(got.iloc[1:], wanted.iloc[1:], rtol=1e-12)
    plain = [name for name in got if "derivative" not in name]  # there nilearn repeats the second row, we take 0
    np.testing.assert_allclose(got[plain].iloc[0], wanted[plain].iloc[0], rtol=1e-12)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 3.0])
def test_scrubbed_and_dummy_volumes_are_nilearns(real, tmp_path, threshold):
    got = read_confounds(real, "motion6+scrub", 30, fd_threshold=threshold)
    _, kept = nilearns(
        real, tmp_path, strategy=["motion", "scrub"], scrub=0, fd_threshold=threshold, std_dvars_threshold=np.inf
    )
    left_out = {*got.scrubbed.tolist(), *range(got.non_steady_state)}
    assert sorted(set(range(30)) - left_out) == list(range(30) if kept is None else kept)


def nilearns(path: Path, folder: Path, **options):
    """Read a table by nilearn, which wants it beside a BOLD of the same name."""
    from nilearn.interfaces.fmriprep import load_confounds

    suffix = path.stem.rsplit("_", 1)[1]
    for ending in (".tsv", ".json"):
        if path.with_suffix(ending).exists():
            shutil.copyfile(path.with_suffix(ending), folder / f"sub-01_task-a_desc-confounds_{suffix}{ending}")
    bold = folder / "sub-01_task-a_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    bold.touch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_confounds(str(bold), demean=False, **options)


@pytest.mark.parametrize("name", ["haxby", "miyawaki", "sim_ds001761"])
def test_the_test_datasets_tables(shared_data, name):
    path = sorted((shared_data / name / "derivatives").rglob("*_desc-confounds_timeseries.tsv"))[0]
    n_volumes = len(path.read_text().splitlines()) - 1
    got = read_confounds(path, "motion24+scrub", n_volumes, fd_threshold=0.2)
    displacement = pd.read_csv(path, sep="\t")["framewise_displacement"]
    assert got.scrubbed.tolist() == displacement.index[displacement > 0.2].tolist()
    assert got.table.shape == (n_volumes, 24 + len(got.scrubbed)) and not got.has_cosines
    with pytest.raises(InconsistentInput, match=r"no column .*white_matter.* which --confounds wmcsf needs"):
        read_confounds(path, "motion6+wmcsf", n_volumes)


# --- what users get wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "options", "message"),
    [
        ("motion42", {}, "Did you mean 'motion24'.*acompcor, wmcsf, scrub"),
        ("motion6+acompco", {}, "'acompco'.*Did you mean 'acompcor'"),
        ("motion6+", {}, "Unknown confound strategy ''"),
        ("none+motion6", {}, "'none' cannot be joined"),
        ("columns", {}, "needs a list"),
        ("motion6", {"columns": ["csf"]}, "needs 'columns' among them"),
        ("acompcor", {"n_acompcor": 0}, "at least 1, got 0"),
        ("scrub", {"fd_threshold": -0.5}, "0 mm or more, got -0.5"),
        ("scrub", {"fd_threshold": float("nan")}, "got nan"),
    ],
)
def test_wrong_strategies_are_refused_before_the_table_is_read(strategy, options, message):
    with pytest.raises(UsageError, match=message):
        read_confounds(Path("no table"), strategy, N, **options)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("whitematter*", "Close: white_matter"), ("ROT_*", "Close: .*rot_"), ("zzqj", "It has trans_x, trans_y")],
)
def test_a_pattern_without_a_match_names_what_is_close(tmp_path, table, pattern, message):
    with pytest.raises(InconsistentInput, match=message):
        read_confounds(save(tmp_path, table), "columns", N, columns=["csf", pattern])


def test_wildcards_find_old_and_new_names_once(tmp_path, table):
    got = read_confounds(save(tmp_path, older(table)), "columns", N, columns=["Rot[XY]", "rot_x", "?_comp_cor_0[12]"])
    assert list(got.table) == ["rot_x", "rot_y", "a_comp_cor_01", "a_comp_cor_02"]


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("framewise_displacement", 4, np.nan, r"framewise_displacement has no value in row 5 of 23"),
        ("rot_y", 0, np.nan, r"rot_y has no value in row 1"),
        ("csf", 22, np.inf, r"csf has 'inf', which is no finite number, in row 23"),
        ("trans_z", 7, "1,5", r"trans_z has '1,5', which is no finite number, in row 8"),
    ],
)
def test_values_that_cannot_be_used_are_named(tmp_path, table, column, row, value, message):
    table = table.astype(object)
    table.loc[row, column] = value
    path = save(tmp_path, table)
    with pytest.raises(InconsistentInput, match=message):
        read_confounds(path, "motion6+wmcsf+scrub", N)
    assert read_confounds(path, "cosine", N).table.shape == (N, 3), "a column that is not chosen does no harm"


def test_tables_that_do_not_fit(tmp_path, table):
    path = save(tmp_path, table)
    with pytest.raises(InconsistentInput, match="23 rows but the BOLD has 24 volumes"):
        read_confounds(path, "motion6", N + 1)
    path.write_text("trans_x\ttrans_y\n" + "0\t1\t2\n" * N)
    with pytest.raises(InconsistentInput, match="more columns than"):
        read_confounds(path, "motion6", N)
    with pytest.raises(MissingFiles, match="Cannot read the confounds table"):
        read_confounds(tmp_path / "absent.tsv", "motion6", N)
    path = save(tmp_path, table, {})
    path.with_suffix(".json").write_text("{")
    with pytest.raises(MissingFiles, match="which describes the confounds"):
        read_confounds(path, "acompcor", N)
    assert read_confounds(path, "motion6", N) is not None, "only aCompCor needs the JSON"


def test_a_strategy_names_each_part_once():
    assert parse_strategy("motion6+ scrub+motion6") == ("motion6", "scrub")
    old = ("Cosine11", "X", "aCompCor00", "X1")
    assert [modern(name) for name in old] == ["cosine11", "trans_x", "a_comp_cor_00", "X1"]
