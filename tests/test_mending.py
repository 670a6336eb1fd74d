"""Damage that mends itself, neighbours, plugins that fail, refusals before any work: through the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.derivatives.tree import Tree, intact, publish
from hyper_bids.errors import Locked, MissingFiles, OutputNotWritable
from hyper_bids.inputs.volumes import masked_blocks
from hyper_bids.workflow.lock import ParticipantLocks


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "bids"
    words = ["--participants", "1", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "30"]
    words += ["--n-test-faces", "4", "--repeats", "5", "--n-voxels", "120", "--image-shape", "8x7x6", "--snr", "4"]
    assert tools(["simulate", str(folder), *words, "--generator", "identity", "--n-latents", "9"]) == 0
    return folder


def run(folder: Path, tmp_path: Path, *words: str) -> int:
    command = [str(folder), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work"), "-q"]
    return main([*command, "--skip-bids-validation", "--n-permutations", "19", *words])


def test_a_wrong_checksum_at_the_end_of_a_file_is_seen(dataset, tmp_path):
    path = tmp_path / "bold.nii.gz"
    shutil.copyfile(next(dataset.glob("derivatives/fmriprep/sub-01/**/*run-01*preproc_bold.nii.gz")), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + bytes(4) + whole[-4:])
    with pytest.raises(MissingFiles, match="damaged"):
        list(masked_blocks(path, np.ones((8, 7, 6), bool)))


def test_the_same_participant_twice_at_once_is_75(dataset, tmp_path, capsys):
    holder = ParticipantLocks()
    holder.take("01", tmp_path / "work" / "locks")
    assert run(dataset, tmp_path) == 75
    assert f"process {os.getpid()}" in capsys.readouterr().err
    holder.release()
    assert run(dataset, tmp_path, "--generator", "none") == 0


def test_locks_end_with_their_holder(tmp_path):
    code = (
        "from pathlib import Path; from hyper_bids.workflow.lock import ParticipantLocks\n"
        f"ParticipantLocks().take('01', Path({str(tmp_path)!r})); import os; os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code])
    locks = ParticipantLocks()
    locks.take("01", tmp_path)
    with pytest.raises(Locked):
        ParticipantLocks().take("01", tmp_path)
    locks.release()


def make_tree(folder: Path, **contents: str) -> Path:
    tree = Tree(folder)
    for name, text in contents.items():
        tree.path(f"sub-01/func/sub-01_task-t_model-ridge_desc-z_{name}.tsv").write_text(text)
    return tree.manifest()


def test_publishing_is_all_or_nothing(tmp_path, monkeypatch):
    out = tmp_path / "out"
    publish([make_tree(tmp_path / "a", metrics="old", stats="old")], out)
    second = make_tree(tmp_path / "b", metrics="new", stats="new")
    from hyper_bids.derivatives import tree as module

    real, calls = module.stage, []

    def full(target, source):
        calls.append(target)
        if len(calls) == 2:
            raise OutputNotWritable("disk full")
        return real(target, source)

    monkeypatch.setattr(module, "stage", full)
    with pytest.raises(OutputNotWritable):
        publish([second], out)
    found = [path for path in out.rglob("*") if path.is_file()]
    assert len(found) == 2 and {path.read_text() for path in found} == {"old"}


def test_results_of_other_settings_do_not_stay_beside_new_ones(tmp_path):
    out, record = tmp_path / "out", tmp_path / "out" / "files.txt"
    publish([make_tree(tmp_path / "a", metrics="1", recon="1")], out, record)
    other = out / "sub-01" / "func" / "sub-01_task-t_model-other_desc-z_metrics.tsv"
    other.write_text("another decoder's")
    changed, removed = publish([make_tree(tmp_path / "b", metrics="2")], out, record)
    assert changed == 1 and [Path(name).name for name in removed] == ["sub-01_task-t_model-ridge_desc-z_recon.tsv"]
    assert other.is_file(), "results of another decoder stay"


def test_a_tree_with_a_changed_file_is_not_intact(tmp_path):
    manifest = make_tree(tmp_path / "a", metrics="whole")
    assert intact(manifest)
    next((tmp_path / "a" / "tree").rglob("*.tsv")).write_text("who")
    assert not intact(manifest)
    manifest.write_text("{")
    assert not intact(manifest)


def test_a_damaged_work_folder_mends_itself(dataset, tmp_path):
    assert run(dataset, tmp_path) == 0
    steps = tmp_path / "work" / "hyper"
    (steps / "sub_01__faces__pool" / "outputs.json").write_text("")
    manifest = steps / "sub_01__faces__decode__ridge" / "out" / "manifest.json"
    manifest.write_text(manifest.read_text()[:40])
    record = next((steps / "sub_01__faces__designs").glob("result_*.pklz"))
    record.write_bytes(record.read_bytes()[:20])
    before = next((tmp_path / "out").glob("sub-01/func/*_metrics.tsv")).read_bytes()
    assert run(dataset, tmp_path) == 0
    assert next((tmp_path / "out").glob("sub-01/func/*_metrics.tsv")).read_bytes() == before


def test_reports_only_refuses_other_settings(dataset, tmp_path, capsys):
    assert run(dataset, tmp_path) == 0
    assert run(dataset, tmp_path, "--reports-only") == 0
    assert run(dataset, tmp_path, "--reports-only", "--hrf", "glover") == 66
    assert "with these settings" in capsys.readouterr().err
    assert "Glover" not in (tmp_path / "out" / "logs" / "CITATION.md").read_text()
    holder = ParticipantLocks()
    holder.take("01", tmp_path / "work" / "locks")
    assert run(dataset, tmp_path, "--reports-only") == 75
    holder.release()


PLUGINS = """
import numpy as np
class Raises:
    def fit(self, X, Z): raise RuntimeError("boom")
    def predict(self, X): return X
class Wrong:
    def fit(self, X, Z): self.k = Z.shape[1]
    def predict(self, X): return np.zeros((len(X), self.k + 2))
class Mean:
    def fit(self, X, Z): self.mean = Z.mean(axis=0)
    def predict(self, X): return np.tile(self.mean, (len(X), 1))
"""


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("my_plugins:Raises", 65, "Raises failed in fit"),
        ("my_plugins:Wrong", 65, r"needed: finite numbers of shape (4, 9)"),
        ("my_plugins:Mean", 0, ""),
        ("my_broken:Thing", 64, "Cannot load decoder"),
    ],
)
def test_decoders_of_users(dataset, tmp_path, monkeypatch, capsys, name, code, message):
    (tmp_path / "my_plugins.py").write_text(PLUGINS)
    (tmp_path / "my_broken.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    for module in ("my_plugins", "my_broken"):
        sys.modules.pop(module, None)
    assert run(dataset, tmp_path, "--decoder", name) == code
    assert message in capsys.readouterr().err


def test_a_decoder_that_fails_leaves_the_others_results(dataset, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_plugins.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    sys.modules.pop("my_plugins", None)
    assert run(dataset, tmp_path, "--decoder", "my_plugins:Raises", "ridge", "--generator", "none") == 1
    assert "my_plugins:Raises failed; ridge goes on without" in capsys.readouterr().err
    found = [path.name for path in (tmp_path / "out").glob("sub-01/func/*_metrics.tsv")]
    assert found == ["sub-01_task-faces_model-ridge_desc-pixels_metrics.tsv"]
    page = (tmp_path / "out" / "sub-01.html").read_text(encoding="utf-8")
    assert "ridge" in page and "The decoder my_plugins:Raises was asked for too and failed" in page


def test_no_home_no_passwd_entry_and_an_odd_user(dataset, tmp_path):
    """As in a container started with an arbitrary user id."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "bids_app.cli", str(dataset), str(tmp_path / "out"), "participant"]
    command += ["-w", str(tmp_path / "work"), "-q", "--generator", "none", "--n-permutations", "19"]
    for home in ({}, {"HOME": "/nonexistent"}):
        done = subprocess.run(command, env={**environment, **home}, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "sub-01.html").is_file()


@pytest.mark.parametrize("damage", ["", "stimulus_id\tn_rep", "{"])
def test_the_group_names_a_damaged_file(dataset, tmp_path, capsys, damage):
    assert run(dataset, tmp_path, "--generator", "none") == 0
    path = next((tmp_path / "out").glob("sub-01/func/*_metrics.tsv"))
    (path.with_suffix(".json") if damage == "{" else path).write_text(damage)
    assert main([str(dataset), str(tmp_path / "out"), "group"]) == 66
    assert path.stem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--use-plugin", "Nope"], 64, "no such plugin"),
        (["--cross-validate", "stimulus:²"], 64, "whole number"),
        (["--generator", "eigenface"], 66, "--weights"),
        (["--generator", "portrait"], 65, "64"),
        (["--confounds", "motion7"], 64, "motion6"),
    ],
)
def test_what_cannot_work_is_refused_before_the_glm(dataset, tmp_path, capsys, words, code, message):
    assert run(dataset, tmp_path, *words) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "work" / "hyper").exists()


def test_a_filter_file_of_the_wrong_form(dataset, tmp_path, capsys):
    (tmp_path / "filter.json").write_text(json.dumps({"bold": {"run": {"a": 1}}}))
    assert run(dataset, tmp_path, "--bids-filter-file", str(tmp_path / "filter.json")) == 64


def test_confound_strategies_through_the_app(dataset, tmp_path):
    words = ["--confounds", "motion24+scrub", "--fd-threshold", "0.3", "--generator", "none"]
    assert run(dataset, tmp_path, *words) == 0
    facts = json.loads((tmp_path / "work/hyper/sub_01__faces__designs/out/summary.json").read_text())
    moved = [[name for name in found["nuisance"] if name.startswith(("trans", "rot"))] for found in facts["runs"]]
    assert [len(names) for names in moved] == [24, 24, 24]
