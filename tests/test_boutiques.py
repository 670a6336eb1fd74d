"""The Boutiques descriptor: every option, and command lines made from it are the app's own."""

import argparse
import json
import shlex
import subprocess
import sys

import pytest

from bids_app.boutiques import ERROR_CODES, descriptor_text
from bids_app.cli import make_parser, read_settings
from hyper_bids.errors import ERRORS
from hyper_bids.settings import plain

INVOCATION = {
    "bids_dir": "/data",
    "output_dir": "/out",
    "analysis_level": "participant",
    "participant_label": ["01", "02"],
    "alphas": [0.5, 20],
    "n_voxels": 77,
    "no_reliability": True,
    "work_dir": "/scratch/work",
    "mem_gb": "3",
    "dry_run": True,
}
WORDS = (
    "/data /out participant --participant-label 01 02 --alphas 0.5 20 --n-voxels 77 --no-reliability "
    "-w /scratch/work --mem 3G --dry-run"
)


@pytest.fixture(scope="module")
def descriptor():
    return json.loads(descriptor_text(make_parser()))


def render(descriptor, invocation):
    """What the Boutiques tool does with a descriptor and an invocation, naively."""
    line = descriptor["command-line"]
    for entry in descriptor["inputs"]:
        value, flag = invocation.get(entry["id"]), entry.get("command-line-flag", "")
        if value is None:
            text = ""
        elif entry["type"] == "Flag":
            text = flag
        else:
            text = f"{flag} {' '.join(map(str, value)) if entry.get('list') else value}"
        line = line.replace(entry["value-key"], text.strip())
    return shlex.split(line)[1:]


def settings_of(words):
    settings, execution = read_settings(make_parser().parse_args(words))
    return settings, plain(execution)


def test_every_argument_is_an_input_once(descriptor):
    ids = [entry["id"] for entry in descriptor["inputs"]]
    assert len(ids) == len(set(ids))
    both = {action.dest for action in make_parser()._actions if isinstance(action, argparse.BooleanOptionalAction)}
    assert both  # otherwise the two lines below say nothing about --no- forms
    wanted = {action.dest for action in make_parser()._actions} - {"help"} | {f"no_{dest}" for dest in both}
    assert set(ids) == wanted
    assert all(descriptor["command-line"].split().count(entry["value-key"]) == 1 for entry in descriptor["inputs"])
    assert [entry["id"] for entry in descriptor["inputs"]][:3] == ["bids_dir", "output_dir", "analysis_level"]


def test_every_flag_is_one_of_its_options_spellings(descriptor):
    spellings = {word: action for action in make_parser()._actions for word in action.option_strings}
    for entry in descriptor["inputs"]:
        if entry["optional"]:
            assert spellings[entry["command-line-flag"]].dest == entry["id"].removeprefix("no_")


def test_a_rendered_command_line_means_what_the_invocation_says(descriptor):
    assert settings_of(render(descriptor, INVOCATION)) == settings_of(shlex.split(WORDS))


def test_every_exit_code_is_described():
    assert {cls.exit_code for cls in ERRORS.values()} <= set(ERROR_CODES)


def test_image_is_named_inside_it_only(monkeypatch):
    monkeypatch.delenv("HYPER_DOCKER_TAG", raising=False)
    assert "container-image" not in json.loads(descriptor_text(make_parser()))
    monkeypatch.setenv("HYPER_DOCKER_TAG", "hyper:9.9")
    assert json.loads(descriptor_text(make_parser()))["container-image"]["image"] == "hyper:9.9"


def test_the_boutiques_tool_agrees(descriptor, tmp_path):
    pytest.importorskip("boutiques", reason="pip install boutiques")
    descriptor["container-image"] = {"type": "docker", "image": "hyper:9.9"}
    spec, invocation = tmp_path / "hyper.json", tmp_path / "invocation.json"
    spec.write_text(json.dumps(descriptor))
    invocation.write_text(json.dumps(INVOCATION))
    bosh = [sys.executable, "-c", "import sys; from boutiques.bosh import bosh; bosh(sys.argv[1:])"]
    subprocess.run([*bosh, "validate", str(spec)], check=True, capture_output=True)
    del descriptor["container-image"]
    spec.write_text(json.dumps(descriptor))
    simulated = subprocess.run(
        [*bosh, "exec", "simulate", str(spec), "-i", str(invocation)], check=True, capture_output=True, text=True
    ).stdout
    line = next(row for row in simulated.splitlines() if row.startswith("hyper "))
    assert settings_of(shlex.split(line)[1:]) == settings_of(shlex.split(WORDS))
