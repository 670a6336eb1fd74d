"""Options are declared once; command line, TOML and documentation follow."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from bids_app.cli import main, make_parser, read_settings
from bids_app.options import option_table
from hyper_bids import __version__
from hyper_bids.errors import UsageError
from hyper_bids.settings import Execution, GLMSettings, Settings, build, identity_of, read_toml, sections, write_toml

ROOT = Path(__file__).resolve().parents[1]
POSITIONALS = ["/data", "/out", "participant"]


def parse(*words):
    return read_settings(make_parser().parse_args([*POSITIONALS, *words]))


def test_every_option_is_on_the_command_line_in_the_docs_and_in_the_descriptor(capsys):
    main(["--bids-exec-spec"])
    described = {entry["id"] for entry in json.loads(capsys.readouterr().out)["inputs"]}
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    known = {action.dest for action in make_parser()._actions}
    for cls in sections().values():
        for item in fields(cls):
            assert item.name in known and item.name in described
            assert f"`--{item.name.replace('_', '-')}`" in text
            assert len(item.metadata["help"]) > 8


def test_every_option_is_read_somewhere():
    sources = [path for folder in ("hyper_bids", "bids_app") for path in (ROOT / folder).rglob("*.py")]
    code = "\n".join(path.read_text() for path in sources)
    for cls in sections().values():
        for item in fields(cls):
            uses = code.count(f".{item.name}") + code.count(f'"{item.name}"')
            assert uses >= 1, f"{item.name} is declared and never used"


def test_the_option_reference_is_up_to_date():
    assert option_table(sections()) in (ROOT / "docs" / "options.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("flag", ["--participant-label", "--participant_label"])
@pytest.mark.parametrize("words", [["01", "02"], ["sub-01", "sub-02"], ["sub-01", "02"]])
def test_participants_in_all_forms(flag, words):
    assert parse(flag, *words)[1].participant_label == ("01", "02")
    assert parse(flag, words[0], flag, words[1])[1].participant_label == ("01", "02")


@pytest.mark.parametrize("flag", ["--session-label", "--session_label", "--session-id", "--session_id"])
def test_sessions_in_all_forms(flag):
    assert parse(flag, "ses-03")[0].inputs.session_label == ("03",)


@pytest.mark.parametrize(
    ("words", "mb"),
    [(["--mem", "16G"], 16384), (["--mem-mb", "800"], 800), (["--mem", "1.5GB"], 1536), (["--mem-gb", "2"], 2048)],
)
def test_memory_in_all_forms(words, mb):
    assert parse(*words)[1].mem_mb == mb


@pytest.mark.parametrize("flag", ["--nprocs", "--nthreads", "--n-cpus", "--n_cpus"])
def test_processes_in_all_forms(flag):
    assert parse(flag, "3")[1].n_cpus == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--glm", "lsaa"], "Did you mean 'lsa'"),
        (["--n-voxels", "many"], "is not a whole number"),
        (["--n-voxels", "0"], "at least 1"),
        (["--alphas", "1", "-3"], "positive"),
        (["--cross-validate", "fold"], "not run, session or stimulus"),
        (["--mem", "lots"], "amount of memory"),
        (["--decodr", "ridge"], "Did you mean '--decoder'"),
        (["--high-pass", "nan"], "is not a number"),
        (["--decoder", "ridge", "ridge"], "twice"),
    ],
)
def test_what_is_wrong_is_said(words, message):
    with pytest.raises(UsageError, match=message):
        parse(*words)


def test_positionals_swallowed_by_a_list_get_a_hint(capsys):
    assert main(["--participant-label", "01", "/data", "/out", "participant"]) == 64
    assert "Positional arguments come first" in capsys.readouterr().err


def test_abbreviations_are_not_guessed(capsys):
    assert main([*POSITIONALS, "--participant", "01"]) == 64


def test_toml_below_the_command_line(tmp_path):
    config = tmp_path / "hyper.toml"
    config.write_text('n-voxels = 100\n[glm]\nhrf = "glover"\ndummy_scans = 2\n')
    settings, _ = parse("--config", str(config), "--dummy-scans", "3")
    assert (settings.select.n_voxels, settings.glm.hrf, settings.glm.dummy_scans) == (100, "glover", 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[glmm]\nhrf='spm'", "Did you mean 'glm'"), ("[glm]\nhrff='spm'", "Did you mean 'hrf'"), ("hrf=", "Cannot read")],
)
def test_a_wrong_toml_is_said(tmp_path, text, message):
    config = tmp_path / "hyper.toml"
    config.write_text(text)
    with pytest.raises(UsageError, match=message):
        parse("--config", str(config))


def test_what_a_run_writes_reads_back(tmp_path):
    words = ["--glm", "lss", "--decoder", "ridge", "sklearn.linear_model:Ridge", "--mask", "m.nii", "-v"]
    settings, execution = parse(*words)
    config = tmp_path / "config.toml"
    config.write_text(write_toml(settings, execution))
    assert build(read_toml(config)) == (settings, execution)


def test_paths_and_execution_do_not_enter_the_digest():
    assert parse("--overlay", "/a")[0].digest() == parse("--overlay", "/b", "--n-cpus", "7")[0].digest()
    assert parse("--select", "all")[0].digest() != Settings().digest()
    assert "mask" not in identity_of(Settings().select)
    assert set(identity_of(GLMSettings())) == {item.name for item in fields(GLMSettings)}


def test_the_defaults_are_the_specifications():
    settings, execution = parse()
    assert (settings.glm.glm, settings.glm.hrf, settings.glm.noise_model) == ("auto", "spm", "ols")
    assert (settings.glm.high_pass, settings.glm.confounds, settings.glm.response) == (128, "motion6", "z")
    assert (settings.select.select, settings.select.n_voxels, settings.decode.decoder) == ("top-z", None, ("ridge",))
    assert len(settings.decode.alphas) == 19 and settings.output.maps == "stimulus"
    assert execution == Execution()


def test_version_and_help_exit_with_0():
    for words in (["--version"], ["--help"], ["participant", "--version"]):
        done = subprocess.run([sys.executable, "-m", "bids_app.cli", *words], capture_output=True, text=True)
        assert done.returncode == 0 and ("hyper" in done.stdout)
    assert __version__ in subprocess.run(
        [sys.executable, "-m", "bids_app.cli", "--version"], capture_output=True, text=True
    ).stdout
