"""``hyper-tools check``: what it says of datasets with and without our keys, and whether its template is right."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.tools import main as tools
from hyper_bids.inputs.declaration import KEY
from hyper_bids.inputs.key import KEY_FIELDS, StimulusKey, stimulus_key
from hyper_bids.inputs.split import SPLIT_FIELDS, split_rule
from hyper_bids.settings import InputSettings
from hyper_bids.workflow.check import check_dataset
from hyper_bids.workflow.sidecar_template import guess_split, key_candidates

KEYS = ("StimulusKey", "StimulusSplit", KEY)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check") / "bids"
    words = ["--participants", "2", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "13", "--n-test-faces",
             "5", "--repeats", "3", "--n-voxels", "40", "--image-shape", "5x6x4", "--design", "vaegan"]  # fmt: skip
    assert tools(["simulate", str(folder), *words]) == 0
    return folder


@pytest.fixture
def stripped(simulated, tmp_path):
    """The dataset without a word of ours: no keys, no table of stimuli."""
    folder = tmp_path / "plain"
    shutil.copytree(simulated, folder, symlinks=True)
    strip(folder)
    (folder / "stimuli" / "stimuli.tsv").unlink()
    return folder


def strip(folder):
    for path in folder.glob("task-*_events.json"):
        path.chmod(0o644)
        content = json.loads(path.read_text())
        path.write_text(json.dumps({name: value for name, value in content.items() if name not in KEYS}))


def content_of(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(capsys, *words):
    code = tools(["check", *map(str, words)])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def decoded(text, head="hyper would"):
    return [line.partition(head)[2].strip() for line in text.splitlines() if line.strip().startswith(head)]


def test_a_dataset_with_everything_lacks_nothing(simulated, capsys):
    code, text = run(capsys, simulated)
    assert code == 0 and text.rstrip().endswith("Nothing is missing.")
    (line,) = decoded(text)
    assert line.startswith("sub-01, sub-02: train on 13 trials of 13 stimuli, test on 15 trials of 5 stimuli")
    assert "brain masks     6 of 6 runs" in text and "confounds       6 of 6 runs" in text and "TR 2 s" in text


def test_the_template_of_a_plain_dataset_gives_what_its_own_keys_gave(simulated, stripped, tmp_path, capsys):
    (before,) = decoded(run(capsys, simulated)[1])
    untouched = content_of(stripped)
    overlay = tmp_path / "overlay"
    code, text = run(capsys, stripped, "--template", overlay)
    assert code == 65 and "No events sidecar of the tasks found (faces) names latents" in text
    assert decoded(text, "not declared") == ["StimulusKey, StimulusSplit, StimulusLatents"]
    assert content_of(stripped) == untouched, "nothing is written into the dataset"
    code, text = run(capsys, stripped, "--overlay", overlay)
    (after,) = decoded(text)
    assert code == 0 and after.partition("; generator")[0] == before.partition("; generator")[0]


@pytest.mark.parametrize("agreeing", [True, False])
def test_a_template_names_train_and_test_where_stimuli_tsv_says_the_same(stripped, tmp_path, capsys, agreeing):
    index = next((stripped / "stimuli" / "latents").glob("*.tsv"))
    stimuli = pd.read_csv(index, sep="\t")["stimulus_id"]
    sets = [name.rstrip("0123456789") if agreeing else "train" if "test" in name else "test" for name in stimuli]
    table = pd.DataFrame({"stimulus_id": stimuli, "split": sets})
    table.to_csv(stripped / "stimuli" / "stimuli.tsv", sep="\t", index=False)
    _, text = run(capsys, stripped, "--template", tmp_path / "overlay", "--skip-bids-validation")
    split = json.loads((tmp_path / "overlay" / "task-faces_events.json").read_text())["StimulusSplit"]
    assert (split.get("Train"), split.get("Test")) == ((["train"], ["test"]) if agreeing else (None, None))
    said = "Train: train; Test: test, by the names of the trial types"
    generator = "Generator: portrait, by the name of the latent space portrait"
    assert decoded(text, "guessed") == [said, generator][not agreeing :]


@pytest.mark.parametrize("train", [["train"], "train"])
def test_what_the_sidecar_declares_is_not_called_a_guess(stripped, capsys, train):
    (path,) = stripped.glob("task-*_events.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "StimulusSplit": {"Train": train, "Test": "test"}}))
    _, text = run(capsys, stripped, "--skip-bids-validation")
    assert decoded(text, "guessed") == ["Generator: portrait, by the name of the latent space portrait"]
    assert decoded(text, "declared") == ["StimulusSplit"] and "t, r, a" not in text


def test_the_same_problem_of_several_participants_is_told_once(simulated, tmp_path, capsys):
    folder = tmp_path / "bids"
    shutil.copytree(simulated, folder)
    path = folder / "task-faces_events.json"
    content = json.loads(path.read_text())
    content["StimulusSplit"] = {"Column": "trial_type", "Train": ["nothing"], "Test": ["nor this"]}
    path.write_text(json.dumps(content))
    code, text = run(capsys, folder, "--skip-bids-validation")
    assert code == 65 and text.count("PROBLEM (65)") == 1 and "2 problem" not in text
    assert "  PROBLEM (65)    sub-01: " in text and "Likewise, with other numbers: sub-02." in text


def test_latents_that_are_still_to_be_made_get_an_index_to_fill(stripped, tmp_path, capsys):
    shutil.rmtree(stripped / "stimuli" / "latents")
    overlay = tmp_path / "overlay"
    code, text = run(capsys, stripped, "--template", overlay, "--skip-bids-validation")
    assert code == 65 and "none under stimuli/ that hold all 18 stimuli" in text
    rows = pd.read_csv(overlay / "stimuli" / "latents" / "faces.tsv", sep="\t")["stimulus_id"]
    assert len(rows) == 18 and rows.is_unique
    assert json.loads((overlay / "task-faces_events.json").read_text())[KEY]["mySpace"]["Index"] == "latents/faces.tsv"


def test_stimuli_without_latents_are_named(simulated, tmp_path, capsys):
    folder = tmp_path / "bids"
    shutil.copytree(simulated, folder)
    index = next((folder / "stimuli" / "latents").glob("*.tsv"))
    assert "test3" in index.read_text().split()
    index.write_text(index.read_text().replace("test3", "another"))
    code, text = run(capsys, folder, "--skip-bids-validation")
    assert code == 65 and "no latents for 1 of 18 stimuli: test3" in text


def test_annexed_bold_is_66_with_the_line_that_gets_it(simulated, tmp_path, capsys):
    folder = tmp_path / "bids"
    shutil.copytree(simulated, folder)
    path = sorted((folder / "derivatives").rglob("*desc-preproc_bold.nii.gz"))[0]
    path.unlink()
    path.symlink_to("../../../../.git/annex/objects/x/MD5E-s1--0/MD5E-s1--0.nii.gz")
    code, text = run(capsys, folder, "--skip-bids-validation")
    assert code == 66 and "datalad get -d" in text and path.name in text
    assert len(decoded(text)) == 1, "what does not need the BOLD is checked all the same"


def test_a_task_without_events_is_no_problem_beside_one_with_latents(simulated, tmp_path, capsys):
    folder = tmp_path / "bids"
    shutil.copytree(simulated, folder)
    bold = sorted((folder / "sub-01" / "func").glob("*_bold.nii.gz"))[0]
    shutil.copy(bold, bold.with_name("sub-01_task-rest_bold.nii.gz"))
    code, text = run(capsys, folder, "--skip-bids-validation")
    assert code == 0 and "task-rest\n  events          none: nothing to decode" in text


def test_templates_are_never_written_into_the_dataset_nor_over_a_file(simulated, tmp_path, capsys):
    code, text = run(capsys, simulated, "--template", simulated / "code", "--skip-bids-validation")
    assert code == 64 and "lies inside the dataset" in text and not (simulated / "code").exists()
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    code, text = run(capsys, simulated, "--template", mine, "--skip-bids-validation")
    assert code == 73 and "is there already" in text and mine.read_text() == "{}"
    code, text = run(capsys, simulated, "--template", tmp_path / "new.json", "--skip-bids-validation")
    assert code == 0 and set(json.loads((tmp_path / "new.json").read_text())) == set(KEYS)


def test_columns_that_some_runs_lack_are_counted(simulated, tmp_path, capsys):
    folder = tmp_path / "bids"
    shutil.copytree(simulated, folder)
    path = sorted((folder / "sub-01" / "func").glob("*_events.tsv"))[0]
    rows = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    rows.assign(catch="0").to_csv(path, sep="\t", index=False)
    code, text = run(capsys, folder, "--skip-bids-validation", "--template", tmp_path / "overlay")
    assert code == 0 and f"catch ({len(rows)} rows)" in text


@pytest.fixture
def maps(simulated, tmp_path):
    """Responses to every trial of both participants, with the least that their tables need."""
    for label in ("01", "02"):
        events = pd.concat(pd.read_csv(path, sep="\t") for path in simulated.glob(f"sub-{label}/func/*_events.tsv"))
        events = events[events["trial_type"].isin(["train", "test"]) & (events["oneback"] == 0)]
        stem = tmp_path / "betas" / f"sub-{label}" / f"sub-{label}_task-faces_stat-beta_desc-trial_statmap"
        stem.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.ones((2, 2, 2, len(events)), np.float32), np.eye(4)), f"{stem}.nii.gz")
        rows = pd.DataFrame({"stimulus_id": events["stim_id"], "split": events["trial_type"]})
        rows.to_csv(f"{stem}.tsv", sep="\t", index=False)
    return tmp_path / "betas"


def test_given_responses_need_neither_bold_nor_events(simulated, maps, tmp_path, capsys):
    (of_bold,) = decoded(run(capsys, simulated, "--skip-bids-validation")[1])
    bare = tmp_path / "bare"
    shutil.copytree(simulated, bare, ignore=shutil.ignore_patterns("sub-*", "derivatives"))
    code, text = run(capsys, bare, "--responses", maps, "--skip-bids-validation")
    (of_maps,) = decoded(text)
    assert code == 0 and of_maps == of_bold, "the same trials, stimuli and latents as from the events"
    assert "2 of 2 participants: stat-beta_desc-trial" in text


def test_what_given_responses_lack(simulated, maps, tmp_path, capsys):
    words = (simulated, "--responses", maps, "--skip-bids-validation")
    code, text = run(capsys, *words, "--task-id", "rest")
    assert code == 18 and "--task-id: rest has no response maps; there are: faces." in text, "as hyper says it"
    table = next((maps / "sub-02").glob("*.tsv"))
    table.write_text(table.read_text().replace("test3", "another"))
    code, text = run(capsys, *words)
    assert code == 65 and "sub-02" in text and "another" in text and len(decoded(text)) == 1, "sub-01 is all right"
    table.unlink()
    code, text = run(capsys, *words)
    assert code == 66 and "has no table" in text
    none = tmp_path / "none"
    code, text = run(capsys, simulated, "--responses", none, "--skip-bids-validation")
    assert code == 66 and f"--responses {none} does not exist." in text


def test_one_of_several_statistics_is_chosen_as_hyper_has_it(simulated, maps, capsys):
    for path in list(maps.rglob("*stat-beta*")):
        shutil.copy(path, path.with_name(path.name.replace("stat-beta", "stat-t")))
    words = (simulated, "--responses", maps, "--skip-bids-validation", "--task-id", "faces")
    code, text = run(capsys, *words)
    assert code == 64 and "sub-01, sub-02: There are response maps of beta, t. Choose one with --response." in text
    assert text.count("PROBLEM") == 1, "of the task it is not said that it has no maps"
    code, text = run(capsys, *words, "--response", "t")
    assert code == 0 and "2 of 2 participants: stat-t_desc-trial" in text
    code, text = run(capsys, *words, "--response", "p")
    assert code == 64 and "--response" in text
    code, text = run(capsys, *words[:-1], "rest", "--response", "t")
    assert code == 18 and "there are: faces." in text


# ------------------------------------------------------------------ a sidecar that is half written


def edited(simulated, folder, change):
    shutil.copytree(simulated, folder)
    path = folder / "task-faces_events.json"
    path.write_text(change(path.read_text()))
    return folder


@pytest.mark.parametrize(
    ("name", "typed", "hint"),
    [
        (KEY, "StimulusLatent", f"Did you mean '{KEY}'?"),
        ('"Train"', '"train"', "'train' is not read. Did you mean 'Train'?"),
        ('"File"', '"Path"', "'Path' is not read"),
    ],
)
def test_a_misspelt_key_is_pointed_at(simulated, tmp_path, capsys, name, typed, hint):
    folder = edited(simulated, tmp_path / "bids", lambda text: text.replace(name, typed))
    code, text = run(capsys, folder, "--skip-bids-validation")
    assert code == 65 and hint in text
    assert "is not read" not in run(capsys, simulated, "--skip-bids-validation")[1]


def test_a_misspelt_column_is_pointed_at(simulated, tmp_path, capsys):
    def change(text):
        return json.dumps({**json.loads(text), "StimulusKey": {"Column": "stim_di"}})

    folder = edited(simulated, tmp_path / "bids", change)
    code, text = run(capsys, folder, "--skip-bids-validation")
    assert code == 65 and "no events column 'stim_di'. Did you mean 'stim_id'?" in text
    code, text = run(capsys, folder, "--skip-bids-validation", "--stim-key", "stim_id")
    assert code == 0 and "stim_di" not in text, "the option takes the place of the key"


def test_the_fields_pointed_at_are_those_that_are_read():
    class Asked(dict):
        def get(self, name, default=None):
            asked.add(name)
            return super().get(name, default)

    for read, key, fields in ((stimulus_key, "StimulusKey", KEY_FIELDS), (split_rule, "StimulusSplit", SPLIT_FIELDS)):
        asked: set[str] = set()
        read({key: Asked()}, InputSettings())
        assert asked == set(fields)


def test_events_with_spaces_for_tabs_are_told_once(simulated, tmp_path, capsys):
    folder = tmp_path / "bids"
    shutil.copytree(simulated, folder)
    path = sorted((folder / "sub-01" / "func").glob("*_events.tsv"))[0]
    path.write_text(path.read_text().replace("\t", "  "))
    code, text = run(capsys, folder, "--skip-bids-validation")
    assert code == 65 and f"{path.name}: no tab in its first line" in text
    assert text.count("PROBLEM") == 1 and "hyper would     sub-02:" in text


def test_the_way_on_is_said(stripped, tmp_path, capsys):
    code, text = run(capsys, stripped, "--skip-bids-validation")
    assert code == 65 and "--template FOLDER" in text.splitlines()[-1]
    code, text = run(capsys, stripped, "--skip-bids-validation", "--template", tmp_path / "overlay")
    assert code == 65 and "Next:" not in text and "Read it, correct it" in text


def test_what_is_no_dataset(tmp_path, capsys):
    assert run(capsys, tmp_path / "nothing")[0] == 66
    assert run(capsys, tmp_path)[0] == 16
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    assert run(capsys, tmp_path)[0] == 18


# ------------------------------------------------------------------ real datasets


@pytest.mark.parametrize("name, space", [("haxby", "onehot8"), ("miyawaki", "pixels100")])
def test_a_dataset_without_a_split_is_told_of_folds(shared_data, name, space, capsys):
    code, text = run(capsys, shared_data / name, "--latent-space", space, "--skip-bids-validation")
    assert code == 65 and "by --cross-validate run" in text and "decode in folds" in text
    words = ("--latent-space", space, "--cross-validate", "run", "--skip-bids-validation")
    assert run(capsys, shared_data / name, *words)[0] == 0


def test_the_whole_real_ds001761_as_it_comes(shared_data, tmp_path):
    """No sidecar, no BOLD: the counts are those of SPEC section 2 item 9."""
    with tarfile.open(shared_data / "ds001761_tree.tar.gz") as tree:
        tree.extractall(tmp_path, filter="tar")
    found = check_dataset(tmp_path, InputSettings(), tasks=["faces"], validated=False)
    (task,) = found.tasks
    counts = {"sub-01": (8606, 810), "sub-02": (7800, 1000), "sub-03": (7644, 980), "sub-04": (7722, 990)}
    lines = "\n".join(task.lines)
    for label, (train, test) in counts.items():
        assert f"{label}: train on {train} trials of {train} stimuli, test on {test} trials of 20 stimuli" in lines
    assert [problem.exit_code for problem in task.problems] == [66, 65] and found.exit_code == 65
    split = {"Column": "trial_type", "Train": ["train_face"], "Test": ["test_face"], "Ignore": ["Fix", "Img"],
             "Baseline": ["Fix"], "DropWhere": {"oneback": [1]}}  # fmt: skip
    assert task.keys["StimulusSplit"] == split
    assert len(task.stimuli) == 8606 + 7800 + 7644 + 7722 + 4 * 20


# ------------------------------------------------------------------ guesses


@pytest.mark.parametrize(
    "columns, first, n_stimuli",
    [
        ({"stim_file": ["a.png", "b.png"], "stim_id": ["a", "b"]}, "stim_id", 2),
        ({"stim_file": ["s1/r1/a.jpg", "s2/r9/a.jpg", "s1/r1/b.jpg"]}, "stim_file", 2),
        ({"response": ["yes", "no"], "picture": ["cat", "dog"], "hed": ["x", "y"]}, "picture", 2),
        ({"what": ["one.mp4", "two.mp4", None], "oneback": ["0", "1", "0"]}, "what", 2),
        ({"trial_type": ["face", "house", "cat"]}, "trial_type", 3),
    ],
)
def test_the_key_is_looked_for_where_a_person_would_look(columns, first, n_stimuli):
    best = key_candidates(pd.DataFrame(columns))[0]
    assert (best.column, best.n_stimuli) == (first, n_stimuli)


def test_no_column_names_a_stimulus():
    assert key_candidates(pd.DataFrame({"onset": [1.0], "response_time": ["0.3"]})) == []


def test_a_split_is_guessed_only_where_both_sides_are_named():
    def events(types):
        return pd.DataFrame({"trial_type": types, "stim_id": [None if "ix" in name else f"s{name}" for name in types]})

    key = StimulusKey("stim_id")
    both = guess_split(events(["Train", "my_test", "fix", "imagery"]), key, by_stimulus=False)
    assert (both["Train"], both["Test"], both["Ignore"]) == (["Train"], ["my_test"], ["fix", "imagery"])
    assert both["Baseline"] == ["fix"]
    one = guess_split(events(["train", "face", "fix"]), key, by_stimulus=False)
    assert "Train" not in one and one["Ignore"] == ["fix"]
    assert "Train" not in guess_split(events(["train", "test"]), key, by_stimulus=True)
