"""The root of the output dataset: files that are the same for every job that writes there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hyper_bids import __version__
from hyper_bids.derivatives.write import write_json, write_text

BIDS_VERSION = "1.10.1"

IGNORED = ("*.html", "figures", "*_statmap.*", "*_model-*", "layout_config.json")
"""What the validator has no rule for. ``figures`` without a slash: with one it does not match."""

LAYOUT_CONFIG = {
    "name": "hyper",
    "entities": [
        {"name": "stat", "pattern": "[_/\\\\]stat-([a-zA-Z0-9]+)"},
        {"name": "stim", "pattern": "[_/\\\\]stim-([a-zA-Z0-9+]+)"},
    ],
}
"""Picked up by pybids by itself, so that every file is found by its entities."""

DESCRIPTIONS = {
    "desc-brain": "voxels inside the brain in every run",
    "desc-decoding": "voxels that the decoder saw, in any fold",
    "desc-stimulus": "one response per stimulus: the mean of its single-trial maps over all runs",
    "desc-trial": "one response per trial",
}


def describe_latent_space(space: str) -> dict[str, str]:
    """Return the row of descriptions.tsv for files that belong to a latent space."""
    return {f"desc-{space}": f"decoded through the latent space {space}"}


def write_root(output: Path, source: dict[str, Any], links: dict[str, str], descriptions: dict[str, str]) -> None:
    """Write dataset_description.json, README.md, .bidsignore, layout_config.json and descriptions.

    Parameters
    ----------
    source : the input's dataset_description.json
    links : DatasetLinks, name -> URI
    descriptions : rows of descriptions.tsv; those that are there already are kept

    Notes
    -----
    Nothing here depends on which participants a job processes, so that parallel jobs
    write the same bytes.
    """
    output = Path(output)
    write_json(output / "dataset_description.json", dataset_description(source, links))
    write_text(output / ".bidsignore", "\n".join(IGNORED) + "\n")
    write_json(output / "layout_config.json", LAYOUT_CONFIG)
    write_text(output / "README.md", _readme(source))
    rows = {**_known_descriptions(output), **DESCRIPTIONS, **descriptions}
    lines = ["desc_id\tdescription", *(f"{name}\t{text}" for name, text in sorted(rows.items()))]
    write_text(output / "descriptions.tsv", "\n".join(lines) + "\n")
    write_json(
        output / "descriptions.json",
        {
            "desc_id": {"LongName": "desc entity", "Description": "label of the desc- entity, with its prefix"},
            "description": {"LongName": "description", "Description": "what files with this entity hold"},
        },
    )


def dataset_description(source: dict[str, Any], links: dict[str, str]) -> dict[str, Any]:
    """Return the content of dataset_description.json."""
    generated: dict[str, Any] = {
        "Name": "hyper",
        "Version": __version__,
        "Description": "decodes what was seen from fMRI, through the latents of a generative model",
    }
    tag = os.environ.get("HYPER_DOCKER_TAG")
    container = os.environ.get("APPTAINER_NAME") or os.environ.get("SINGULARITY_NAME")
    if tag or container:
        generated["Container"] = {"Type": "docker", "Tag": tag} if tag else {"Type": "apptainer", "Tag": container}
    origin = {
        key: value
        for key, value in (("DOI", _doi(source.get("DatasetDOI"))), ("Version", source.get("Version")))
        if value
    }
    description: dict[str, Any] = {
        "Name": f"hyper: {source.get('Name', 'unnamed dataset')}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated],
        "SourceDatasets": [origin or {"URL": links.get("raw", "bids:raw:")}],
        "DatasetLinks": links,
        "HowToAcknowledge": "Cite what logs/CITATION.md names.",
    }
    description.update({key: source[key] for key in ("Authors", "License") if source.get(key)})
    return description


def _doi(text: Any) -> str:
    if not isinstance(text, str):
        return ""
    bare = text.strip().removeprefix("https://doi.org/").removeprefix("http://doi.org/").removeprefix("doi:")
    return f"doi:{bare}" if bare else ""


def _known_descriptions(output: Path) -> dict[str, str]:
    path = output / "descriptions.tsv"
    if not path.is_file():
        return {}
    rows = [line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines()[1:] if "\t" in line]
    return {name: text for name, text in rows}


def _readme(source: dict[str, Any]) -> str:
    return f"""# Decoded: {source.get('Name', 'unnamed dataset')}

Made by hyper {__version__} from fMRI responses and the latents of the stimuli.
Open `sub-<label>.html` for a participant, `group.html` for the group.

| file | what it holds |
|---|---|
| `*_desc-brain_mask` | voxels inside the brain in every run |
| `*_desc-decoding_mask` | voxels that the decoder saw |
| `*_desc-stimulus_statmap`, `*_desc-trial_statmap` | response maps; row i of the TSV is volume i |
| `*_desc-selection_statmap` | what voxels were selected by, a volume per fold |
| `*_desc-reliability_statmap` | split-half reliability and noise ceiling of every voxel, where stimuli are repeated |
| `*_desc-parametric_statmap` | how well the parametric model explains each voxel (`--glm parametric`) |
| `*_decoder.npz` | the fitted weights |
| `*_latents.tsv` | decoded latents, a row per test stimulus (and fold) |
| `*_metrics.tsv` | scores, a row per test stimulus (and fold) |
| `*_stats.tsv` | a row per metric, with its test |
| `*_furtherstats.tsv`, `*_latentstats.tsv`, `*_attributestats.tsv` | further tests, latents, attributes |
| `*_classstats.tsv`, `*_closedformstats.tsv`, `*_spacestats.tsv` | classes, directions, similar spaces |
| `*_protocolmetrics.tsv` | scores as a paper computes them (`--protocol`) |
| `*_learningcurve.tsv` | scores from parts of the training trials (`--learning-curve`) |
| `*_desc-recordings_reliability.tsv` | which stimulus it was, named from single responses |
| `*_stimuluscovariates.tsv` | ratings and complexity of the test stimuli, for the group |
| `*_audit.json` | is the result what it seems? |
| `*_recon.png`, `*_recon.tsv` | reconstructions and which stimulus each belongs to |
| `task-*_groupmetrics.tsv`, `task-*_groupstats.tsv` | all participants, and the group's tests |
| `task-*_groupcomparison.tsv`, `task-*_groupcovariates.tsv` | decoders compared; what makes a stimulus easy |

Every TSV has a JSON that describes its columns and says what it was made from.
"""
