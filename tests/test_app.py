"""The whole way, through the command line, on a small simulated dataset."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.inputs.validate import find_validator

SMALL = [
    "--participants", "2", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "50", "--n-test-faces", "5",
    "--repeats", "6", "--n-voxels", "300", "--image-shape", "10x9x8", "--snr", "4",
]  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "bids"
    assert tools(["simulate", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def done(dataset) -> Path:
    """Output folder after participant and group."""
    out = dataset.parent / "out"
    work = dataset.parent / "work"
    assert main([str(dataset), str(out), "participant", "-w", str(work), "--n-permutations", "99"]) == 0
    assert main([str(dataset), str(out), "group"]) == 0
    return out


def tree_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "logs" not in path.relative_to(folder).parts
    }


def table(folder: Path, pattern: str) -> pd.DataFrame:
    (path,) = folder.glob(pattern)
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def test_the_output_is_what_the_specification_says(done):
    stem = "sub-01/func/sub-01_task-faces_"
    wanted = ["dataset_description.json", "README.md", ".bidsignore", "layout_config.json", "descriptions.tsv",
              "descriptions.json", "sub-01.html", "group.html", "logs/CITATION.md"]  # fmt: skip
    for name in ("desc-brain_mask", "desc-decoding_mask", "stat-z_desc-stimulus_statmap"):
        wanted += [f"{stem}{name}.nii.gz", f"{stem}{name}.json"]
    wanted += [f"{stem}stat-z_desc-stimulus_statmap.tsv", f"{stem}model-ridge_desc-portrait_audit.json"]
    for name in ("latents.tsv", "metrics.tsv", "stats.tsv", "recon.tsv", "decoder.npz"):
        wanted += [f"{stem}model-ridge_desc-portrait_{part}" for part in (name, name.split(".")[0] + ".json")]
    for name in ("groupmetrics", "groupstats"):
        wanted += [f"task-faces_model-ridge_desc-portrait_{name}.{kind}" for kind in ("tsv", "json")]
    missing = [name for name in wanted if not (done / name).is_file()]
    assert not missing
    assert len(list(done.glob("sub-01/func/*_recon.png"))) == 5
    assert list(done.glob("logs/sub-01/*.log")) and list(done.glob("logs/sub-01/*_config.toml"))


@pytest.mark.skipif(find_validator() is None, reason="bids-validator-deno is not installed")
def test_the_output_is_valid_bids(done):
    report = subprocess.run(
        [find_validator(), str(done), "--format", "json", "--ignoreWarnings"], capture_output=True, text=True
    )
    errors = [issue for issue in json.loads(report.stdout)["issues"]["issues"] if issue["severity"] == "error"]
    assert not errors


def test_pybids_finds_every_file_through_its_entities(dataset, done):
    from bids import BIDSLayout

    layout = next(iter(BIDSLayout(dataset, derivatives=done).derivatives.values()))
    found = {Path(path) for path in layout.get(return_type="file")}
    there = {path for path in done.rglob("*") if path.is_file()}
    assert {path.name for path in there - found} == {"layout_config.json", ".bidsignore"}
    for query, n in (
        ({"suffix": "statmap", "stat": "z", "desc": "stimulus", "extension": ".nii.gz"}, 2),
        ({"suffix": "metrics", "model": "ridge", "desc": "portrait", "extension": ".tsv"}, 2),
        ({"suffix": "recon", "stim": "test1", "extension": ".png"}, 2),
        ({"suffix": "mask", "desc": "decoding", "subject": "01", "extension": ".nii.gz"}, 1),
        ({"suffix": "groupstats", "model": "ridge", "extension": ".tsv"}, 1),
    ):
        assert len(layout.get(**query)) == n, query


def test_every_column_is_described_and_every_json_says_what_it_was_made_from(done):
    for path in [*done.glob("sub-*/func/*.json"), *done.glob("task-*.json")]:
        content = json.loads(path.read_text())
        assert {"Sources", "Settings", "SoftwareVersion", "RandomSeed"} <= set(content), path.name
        if path.with_suffix(".tsv").is_file():
            header = path.with_suffix(".tsv").read_text().split("\n")[0].split("\t")
            undescribed = [name for name in header if not {"LongName", "Description"} <= set(content.get(name, {}))]
            assert not undescribed, f"{path.name}: {undescribed}"


def test_the_columns_are_the_specifications(done):
    metrics = table(done, "sub-01/func/*_metrics.tsv")
    assert list(metrics.columns[:12]) == [
        "stimulus_id", "n_repeats", "latent_similarity", "latent_similarity_mse", "latent_correlation",
        "latent_cosine", "feature_similarity", "feature_similarity_mse", "pixel_correlation", "ssim",
        "pairwise_accuracy", "top1",
    ]  # fmt: skip
    stats = table(done, "sub-01/func/*_stats.tsv")
    columns = ["metric", "n", "mean", "sem", "ci_low", "ci_high", "chance", "null_mean", "null_sd", "p_value",
               "p_method", "ceiling"]  # fmt: skip
    assert list(stats.columns) == columns
    assert list(table(done, "task-*_groupstats.tsv").columns) == ["participant_id", *columns]
    assert set(table(done, "task-*_groupstats.tsv")["participant_id"]) == {"sub-01", "sub-02", "group"}


def test_row_i_of_the_table_is_volume_i_of_the_maps(done):
    rows = table(done, "sub-01/func/*_desc-stimulus_statmap.tsv")
    image = nib.load(next(done.glob("sub-01/func/*_desc-stimulus_statmap.nii.gz")))
    assert image.shape == (10, 9, 8, len(rows)) and list(rows["volume_index"]) == list(range(len(rows)))
    assert (rows.loc[rows["split"] == "test", "n_repeats"] == 6).all()
    mask = np.asarray(nib.load(next(done.glob("sub-01/func/*_desc-brain_mask.nii.gz"))).dataobj) > 0
    assert mask.sum() == 300 and (np.asarray(image.dataobj)[~mask] == 0).all()


def test_the_saved_decoder_gives_the_saved_latents(done):
    """Weights, maps and latents fit together: what is written is what was used."""
    with np.load(next(done.glob("sub-01/func/*_decoder.npz")), allow_pickle=False) as saved:
        decoder = dict(saved)
    maps = np.asarray(nib.load(next(done.glob("sub-01/func/*_desc-stimulus_statmap.nii.gz"))).dataobj)
    rows = table(done, "sub-01/func/*_desc-stimulus_statmap.tsv")
    latents = table(done, "sub-01/func/*_latents.tsv").set_index("stimulus_id").filter(regex="^z")
    X = maps[decoder["mask"]].T[:, decoder["voxels_000"]]
    predicted = X @ decoder["coef_000"].T + decoder["intercept_000"]
    tested = rows["split"] == "test"
    np.testing.assert_allclose(predicted[tested], latents.loc[rows.loc[tested, "stimulus_id"]], atol=2e-4)


def test_the_planted_latents_are_decoded(done):
    stats = table(done, "sub-01/func/*_stats.tsv").set_index("metric")
    for metric in ("latent_correlation", "pairwise_accuracy", "latent_dimension_correlation"):
        row = stats.loc[metric]
        assert row["p_value"] <= 0.02 and row["mean"] > row["null_mean"] + 2 * row["null_sd"], metric


def test_a_second_run_recomputes_and_rewrites_nothing(dataset, done, capsys):
    results = [path for path in done.rglob("*") if path.is_file() and path.suffix != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in results}
    inputs = dataset.parent / "work" / "hyper"
    made = {path: path.stat().st_mtime_ns for path in inputs.rglob("outputs.json")}
    assert made
    words = [str(dataset), str(done), "participant", "-w", str(dataset.parent / "work"), "--n-permutations", "99"]
    assert main(words) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in made.items()), "a step was run again"
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()), "a result was written again"


def test_two_runs_with_one_seed_give_identical_files(dataset, done, tmp_path):
    other = tmp_path / "out"
    command = [str(dataset), str(other), "participant", "-w", str(tmp_path / "work"), "--n-permutations", "99"]
    assert main([*command, "--n-cpus", "1"]) == 0
    assert main([str(dataset), str(other), "group"]) == 0
    ours, theirs = tree_of(done), tree_of(other)
    for tree in (ours, theirs):
        tree.pop("dataset_description.json")  # holds the path to the input, relative to the output
    different = [name for name in ours if ours[name] != theirs.get(name) and not name.endswith(".html")]
    assert set(ours) == set(theirs) and not different


def test_the_input_is_left_alone_and_may_be_read_only(dataset, tmp_path):
    before = tree_of(dataset)
    copy = tmp_path / "bids"
    shutil.copytree(dataset, copy)
    for folder, _, names in os.walk(copy):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o444)
        os.chmod(folder, 0o555)
    assert main([str(copy), str(tmp_path / "out"), "participant", "--participant-label", "01", "-w",
                 str(tmp_path / "work"), "--n-permutations", "19"]) == 0  # fmt: skip
    assert tree_of(copy) == before
    for folder, _, _ in os.walk(copy):
        os.chmod(folder, 0o755)


def test_dry_run_says_what_it_would_do_and_writes_nothing(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(dataset), str(out), "participant", "--dry-run", "-w", str(tmp_path / "work")]) == 0
    text = capsys.readouterr().out
    for wanted in ("sub-01 task-faces: 3 runs", "train: 50 trials of 50 stimuli", "test: 30 trials of 5 stimuli",
                   "64 dimensions", "predicted peak memory", "generator: portrait"):  # fmt: skip
        assert wanted in text
    assert not any(tmp_path.iterdir())


def test_several_decoders_share_the_responses(dataset, tmp_path, capsys):
    out, work = tmp_path / "out", tmp_path / "work"
    words = ["--participant-label", "sub-02", "--decoder", "ridge", "sklearn.linear_model:Ridge"]
    words += ["--generator", "none", "--maps", "trial", "--n-permutations", "19"]
    assert main([str(dataset), str(out), "participant", "-w", str(work), *words]) == 0
    assert len(list(out.glob("sub-02/func/*_metrics.tsv"))) == 2
    assert len(list(out.glob("sub-02/func/*desc-trial_statmap.nii.gz"))) == 3
    assert not list(out.glob("sub-02/func/*_recon.png"))
    assert len(list((work / "hyper").glob("*fit*"))) == 3
    assert "Both decoders predicted the latents" in (out / "sub-02.html").read_text()


def test_cross_validation_over_stimuli_keeps_them_apart(dataset, tmp_path):
    out = tmp_path / "out"
    words = [str(dataset), str(out), "participant", "--participant-label", "01", "-w", str(tmp_path / "work"),
             "--cross-validate", "stimulus:4", "--n-permutations", "49", "--generator", "none"]  # fmt: skip
    assert main(words) == 0
    latents = table(out, "sub-01/func/*_latents.tsv")
    assert latents["fold"].nunique() == 4 and latents["stimulus_id"].is_unique and len(latents) == 55
    stats = table(out, "sub-01/func/*_stats.tsv").set_index("metric")
    assert "refits" in stats.loc["pairwise_accuracy", "p_method"]
    assert "tested on 55 stimuli, each predicted once." in (out / "sub-01.html").read_text()


# --- what bad input gets --------------------------------------------------------------------------


@pytest.fixture
def broken(dataset, tmp_path) -> Path:
    copy = tmp_path / "broken"
    shutil.copytree(dataset, copy)
    return copy


def run(folder: Path, tmp_path: Path, *words: str) -> int:
    command = [str(folder), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work")]
    return main([*command, "--n-permutations", "19", *words])


def test_a_damaged_run_fails_its_participant_and_the_other_finishes(broken, tmp_path, capsys):
    path = sorted(broken.glob("derivatives/fmriprep/sub-01/**/*_desc-preproc_bold.nii.gz"))[0]
    path.write_bytes(path.read_bytes()[:4000])
    assert run(broken, tmp_path) == 1
    error = capsys.readouterr().err
    assert path.name in error and "incomplete" in error
    last = error.strip().splitlines()[-1]
    assert last.startswith("error: sub-01: not finished: ") and len(last) < 200, "the failure is said again at the end"
    assert (tmp_path / "out" / "sub-02.html").is_file()
    assert not (tmp_path / "out" / "sub-01").exists() and not (tmp_path / "out" / "sub-01.html").exists()
    assert list((tmp_path / "out" / "logs" / "sub-01").glob("crash-*.txt"))
    shutil.copyfile(sorted((broken / "sub-01").rglob("*_bold.nii.gz"))[0], path)
    assert run(broken, tmp_path) == 0, "after the repair the same command goes on"


def test_confounds_of_another_length(broken, tmp_path, capsys):
    path = sorted(broken.glob("derivatives/fmriprep/sub-01/**/*confounds_timeseries.tsv"))[0]
    path.write_text("\n".join(path.read_text().split("\n")[:-5]) + "\n")
    assert run(broken, tmp_path, "--participant-label", "01") == 65
    assert "rows but the BOLD has" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda z: z * np.nan, 65, "not finite"),
        (lambda z: z[:, :-1], 65, "64"),
        (lambda z: z[:-1], 65, "row"),
    ],
)
def test_bad_latents(broken, tmp_path, capsys, change, code, message):
    path = broken / "stimuli" / "latents" / "portrait.npy"
    np.save(path, change(np.load(path)))
    assert run(broken, tmp_path) == code
    assert message in capsys.readouterr().err and not list((tmp_path / "out").glob("sub-*"))


def test_nan_and_constant_voxels_are_left_out_and_said(broken, tmp_path, capsys):
    path = sorted(broken.glob("derivatives/fmriprep/sub-01/**/*_desc-preproc_bold.nii.gz"))[0]
    image = nib.load(path)
    mask_path = sorted(broken.glob("derivatives/fmriprep/sub-01/**/*brain_mask.nii.gz"))[0]
    mask = np.asarray(nib.load(mask_path).dataobj) > 0
    data = image.get_fdata(dtype=np.float32)
    where = np.argwhere(mask)
    data[tuple(where[0])] = np.nan
    data[tuple(where[1])] = 700.0
    nib.save(nib.Nifti1Image(data, image.affine, nib.Nifti1Header()), path)
    header = nib.load(path)
    header.header.set_zooms((*header.header.get_zooms()[:3], 1.5))
    assert run(broken, tmp_path, "--participant-label", "01") == 0
    brain = nib.load(next((tmp_path / "out").glob("sub-01/func/*desc-brain_mask.nii.gz")))
    assert np.asarray(brain.dataobj).sum() == 298


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--participant-label", "99"], 18, "01"),
        (["--latent-space", "portrit"], 64, "portrait"),
        (["--decoder", "rigde"], 64, "Did you mean 'ridge'"),
        (["--mask", "/nowhere/mask.nii.gz"], 66, "does not exist"),
        (["--generator", "portrat"], 64, "Did you mean 'portrait'"),
        (["-d", "/nowhere"], 66, "/nowhere"),
    ],
)
def test_wrong_words_and_missing_files(dataset, tmp_path, capsys, words, code, message):
    assert run(dataset, tmp_path, *words) == code
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("sub-*"))


def test_folders_that_would_harm_the_input(dataset, tmp_path, capsys):
    assert main([str(dataset), str(dataset), "participant"]) == 64
    assert main([str(dataset), str(tmp_path / "out"), "participant", "-w", str(dataset / "work")]) == 64
    assert main([str(tmp_path / "nothing"), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work")]) == 66


def test_an_output_that_cannot_be_written(dataset, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is needed")
    assert main([str(dataset), str(blocked / "out"), "participant", "-w", str(tmp_path / "work")]) == 73


def test_group_before_participant(dataset, done, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert main([str(dataset), str(tmp_path / "out"), "group"]) == 66
    assert main([str(dataset), str(done), "group", "--participant-label", "01", "07"]) == 66
    assert "sub-07" in capsys.readouterr().err


def test_an_invalid_dataset_is_refused(broken, tmp_path, capsys):
    if find_validator() is None:
        pytest.skip("bids-validator-deno is not installed")
    (broken / "sub-01" / "func" / "nonsense.txt").write_text("no BIDS name")
    assert run(broken, tmp_path) == 16
    assert run(broken, tmp_path, "--skip-bids-validation", "--participant-label", "02") == 0


def test_reports_only_needs_the_work_folder(dataset, done, tmp_path, capsys):
    words = [str(dataset), str(done), "participant", "--n-permutations", "99", "--participant-label", "01"]
    page = (done / "sub-01.html").read_bytes()
    assert main([*words, "-w", str(dataset.parent / "work"), "--reports-only"]) == 0
    assert len((done / "sub-01.html").read_bytes()) > 0.9 * len(page)
    capsys.readouterr()
    for asked in ("--reports-only", "--boilerplate-only"):
        assert main([*words, "-w", str(tmp_path / "elsewhere"), asked]) == 66
        error = capsys.readouterr().err
        assert f"{asked} reads what a finished run left" in error and "holds no finished run of sub-01" in error
        assert f"the same command without {asked}" in error and "__" not in error, "no step is named by its folder"


def test_reports_only_puts_back_results_that_the_output_lacks(dataset, done, tmp_path, capsys):
    """Into an output that lost tables, and into an empty one: what the run had written is there again."""
    copy, empty = tmp_path / "copy", tmp_path / "empty"
    shutil.copytree(done, copy)
    lost = list(copy.glob("sub-01/func/*stats.tsv"))
    assert lost
    for path in lost:
        path.unlink()
    words = ["participant", "--n-permutations", "99", "--participant-label", "01", "--reports-only"]
    for out in (copy, empty):
        assert main([str(dataset), str(out), *words, "-w", str(dataset.parent / "work")]) == 0
        ours, theirs = tree_of(done), tree_of(out)
        names = [name for name in ours if name.startswith("sub-01/")]
        assert [name for name in names if ours[name] != theirs.get(name)] == []
        assert (out / "dataset_description.json").is_file()
        assert f"missing or changed in {out}, and put back from" in capsys.readouterr().err
    assert main([str(dataset), str(copy), *words, "-w", str(dataset.parent / "work")]) == 0
    assert "put back" not in capsys.readouterr().err


def test_a_damaged_work_folder_makes_no_report(dataset, done, tmp_path, capsys):
    work, out = tmp_path / "work", tmp_path / "out"
    shutil.copytree(dataset.parent / "work", work, symlinks=True)
    next(work.glob("hyper/sub_01__*/out/tree/**/*_stats.tsv")).write_text("")
    words = ["participant", "--n-permutations", "99", "--participant-label", "01", "--reports-only"]
    assert main([str(dataset), str(out), *words, "-w", str(work)]) == 66
    error = capsys.readouterr().err
    assert "only a part of a run (not: " in error and not list(out.glob("sub-*"))


def test_resume_after_a_kill(dataset, done, tmp_path):
    """Killed in the middle, the same command gives what an uninterrupted run gives."""
    import signal
    import time

    out, work = tmp_path / "out", tmp_path / "work"
    command = [sys.executable, "-m", "bids_app.cli", str(dataset), str(out), "participant", "-w", str(work),
               "--n-permutations", "99"]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 600
    while time.time() < deadline and len(list((work / "hyper").glob("*/outputs.json"))) < 4:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in (work / "hyper").glob("*/outputs.json")}
    assert len(finished) >= 4 and not list(out.glob("sub-*.html"))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    kept = sum(path.stat().st_mtime_ns == stamp for path, stamp in finished.items())
    assert kept >= len(finished) - 1
    ours, theirs = tree_of(done), tree_of(out)
    names = [name for name in theirs if not name.endswith((".html", "dataset_description.json"))]
    assert names and [name for name in names if ours[name] != theirs[name]] == []


@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_a_stopped_run_leaves_no_process_behind(dataset, tmp_path, number):
    import signal
    import time

    import psutil

    work = tmp_path / "work"
    command = [sys.executable, "-m", "bids_app.cli", str(dataset), str(tmp_path / "out"), "participant"]
    command += ["-w", str(work)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 600
    while time.time() < deadline and not list((work / "hyper").glob("*/outputs.json")):
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(getattr(signal, number))
    _, said = process.communicate(timeout=600)
    if number == "SIGTERM":
        told = "stopped; give the same command again and it goes on where it was\n"
        assert process.returncode == 143 and said.endswith(told), "nothing after it, of leaked semaphores for one"
    _, alive = psutil.wait_procs(children, timeout=120)
    assert not alive


def test_a_run_fitted_in_several_passes_is_the_same(dataset, done, tmp_path):
    from hyper_bids.settings import GLMSettings, identity_of
    from hyper_bids.workflow import steps

    work = dataset.parent / "work" / "hyper"
    designs, voxels = work / "sub_01__faces__designs" / "out", work / "sub_01__faces__voxels" / "out"
    bold = sorted(dataset.glob("derivatives/fmriprep/sub-01/**/*run-02*preproc_bold.nii.gz"))[0]
    made = steps.fit_run(
        designs=designs / "designs.npz",
        summary=designs / "summary.json",
        grid=voxels / "grid.npz",
        recording={"participant": "01", "label": "run-02", "bold": str(bold)},
        index=1,
        glm=identity_of(GLMSettings()),
        n_passes=3,
        out_dir=tmp_path,
    )
    whole = np.load(work / "sub_01__faces__fit__run_02" / "out" / "responses.npy")
    np.testing.assert_allclose(np.load(made["responses"]), whole, atol=1e-5)


def test_a_memory_limit_that_cannot_be_met_is_an_error_before_any_work(dataset, tmp_path, capsys):
    assert run(dataset, tmp_path, "--mem", "0.5G") == 64
    assert "--mem allows 0.5 GB" in capsys.readouterr().err
    assert not (tmp_path / "work" / "hyper").exists()


def test_ar1_polynomial_drift_and_derivatives_run_through_the_app(dataset, tmp_path):
    words = ["--participant-label", "01", "--noise-model", "ar1", "--drift", "polynomial", "--hrf", "spm+derivative"]
    assert run(dataset, tmp_path, *words, "--generator", "none") == 0
    (path,) = (tmp_path / "out").glob("sub-01/func/*desc-stimulus_statmap.json")
    content = json.loads(path.read_text())
    assert (content["Estimator"], content["Drift"], content["HRF"]) == ("ar1", "polynomial", "spm+derivative")
