"""The methods text about responses: how BOLD became what was decoded, or where the maps came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hyper_bids.report.citations import Text

GIVEN, PARAMETRIC = "given", "parametric"

RESPONSES = {"z": "z values with the same tail probability as t", "t": "t values", "beta": "percent signal change"}


def modes_of(settings: Mapping[str, Any], facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how responses came about, from what ran or else from what was asked for."""
    if facts:
        return list(dict.fromkeys(str(fact["mode"]) for fact in facts))
    return [GIVEN if settings["inputs"].get("responses") else str(settings["glm"]["glm"])]


def responses(
    text: Text, settings: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return the sentences about responses.

    Parameters
    ----------
    settings : the sections of the settings as plain values
    facts : of the pooling step, one per task; may be empty
    tasks : of the report's context
    """
    modes, glm = modes_of(settings, facts), settings["glm"]
    if GIVEN in modes:
        return _given(facts)
    if PARAMETRIC in modes:
        return _parametric(text, glm, facts, tasks)
    return _single_trials(text, glm, modes, facts, tasks)


KINDS = {"z": "z values", "t": "t values", "beta": "regression coefficients"}


def given_kind(facts: Mapping[str, Any]) -> str:
    """Say what the maps that were given hold.

    >>> given_kind({"stat": "z", "level": "trial"})
    'z values, a map per trial'
    """
    what = KINDS.get(str(facts.get("stat")), f"maps called {facts.get('stat')}")
    level = facts.get("level")
    return f"{what}, a map per {level}" if level else what


def _given(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    kinds = list(dict.fromkeys(given_kind(fact) for fact in facts if fact.get("stat")))
    said = f" ({' and '.join(kinds)})" if kinds else ""
    return [
        f"Responses were not estimated here: response maps that existed already were decoded{said}. How they were "
        "made is described with them."
    ]


def _parametric(
    text: Text, glm: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]
) -> list[str]:
    return [
        f"One general linear model was fitted to all runs together {text.cite('vaegan')}: a regressor for the training "
        "stimuli, the latents as parametric modulators of it (centred at their mean over training trials, not "
        "orthogonalised), and a regressor for each test stimulus.",
        "Repeated trials that were left out of the analysis, and each further trial type, baseline included, had one "
        "regressor.",
        f"Events were convolved with {_response_function(text, glm['hrf'])} at their own onsets and durations.",
        _nuisance(glm, facts, tasks, " of every run"),
        "The model was fitted by ordinary least squares from sums over runs. Responses are percent signal change: the "
        "coefficient of each test stimulus minus that of baseline events, where there are any.",
        _computed_masks(text, tasks),
    ]


def _single_trials(
    text: Text, glm: Mapping[str, Any], modes: list[str], facts: Sequence[Mapping[str, Any]],
    tasks: Sequence[Mapping[str, Any]],
) -> list[str]:  # fmt: skip
    noise = "ordinary least squares"
    if glm.get("noise_model") == "ar1":
        noise = "least squares after whitening by a first-order autoregressive model of the residuals of each voxel"
    chosen = (
        "The choice was made from the designs alone: one model of all trials where the median variance inflation of "
        "the trial regressors is at most 5, else one model per trial."
    )
    return [
        *(_mode(text, mode, glm) for mode in modes),
        chosen if glm["glm"] == "auto" and facts else "",
        f"Events were convolved with {_response_function(text, glm['hrf'])} at their own onsets and durations.",
        _nuisance(glm, facts, tasks, ""),
        f"Models were fitted by {noise}, run by run, and responses are {RESPONSES[glm['response']]}.",
        "Events that are no samples were modelled as one regressor per trial type, baseline events not at all.",
        _computed_masks(text, tasks),
    ]


def _computed_masks(text: Text, tasks: Sequence[Mapping[str, Any]]) -> str:
    recordings = [recording for task in tasks for recording in task["recordings"]]
    if not any("mask" in recording and recording["mask"] is None for recording in recordings):
        return ""
    return f"Where a run had no brain mask, nilearn computed one from its mean image {text.cite('nilearn')}."


def _mode(text: Text, mode: str, glm: Mapping[str, Any]) -> str:
    rest = "one regressor" if glm["lss_rest"] == "one" else "one regressor per trial type"
    if mode == "lsa":
        return (
            "Single-trial responses were estimated in one model per run with a regressor for every trial (least "
            f"squares, all; {text.name('mumford')})."
        )
    if mode == "lss":
        return (
            f"Single-trial responses were estimated with one model per trial, in which all other trials share {rest} "
            f"(least squares, separate; {text.name('mumford', 'turner')})."
        )
    return "Single-trial responses were estimated by general linear models."


def _response_function(text: Text, name: str) -> str:
    base, _, further = name.partition("+")
    if base == "fir":
        return (
            "finite impulse responses, one bin a volume (a trial's response is the mean of the bins from 4 to 8 s),"
        )
    named = {"glover": "Glover's haemodynamic response", "spm": "SPM's canonical haemodynamic response"}
    known = f"{named[base]} {text.cite(base)}"
    added = {"derivative": "its derivative in time", "derivatives": "its derivatives in time and dispersion"}
    return f"{known} and {added[further]}" if further else known


_STRATEGIES = {
    "motion6": "six motion parameters",
    "motion24": "six motion parameters, their differences, and the squares of both",
    "acompcor": "{n_acompcor} aCompCor components with the cosines that they were computed with",
    "wmcsf": "the mean signals of white matter and cerebrospinal fluid",
    "scrub": "one regressor for each volume with a framewise displacement above {fd_threshold:g} mm",
    "cosine": "fMRIPrep's cosines",
    "columns": "the columns {columns} of the confounds table",
}


def _nuisance(
    glm: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]], whose: str
) -> str:
    names = {name for fact in facts for run in fact["runs"] for name in run["nuisance"]}
    used = not facts or bool(names - {"constant"} - {name for name in names if name.startswith("drift_")})
    parts = []
    if glm["confounds"] != "none" and used:
        columns = ", ".join(glm.get("confound_columns") or ())
        parts = [
            _STRATEGIES.get(name, name).format(**{**glm, "columns": columns}) for name in glm["confounds"].split("+")
        ]
    if not facts or any(name.startswith("drift_") for name in names):
        if glm.get("drift", "cosine") == "polynomial":
            parts.append(f"polynomials of time up to order {glm['drift_order']}")
        elif glm.get("drift", "cosine") == "cosine" and glm["high_pass"]:
            parts.append(f"cosines with periods down to {glm['high_pass']:g} s")
    # said wherever a table could flag volumes: whether one does differs between participants, the text may not
    tabled = any(recording.get("confounds") for task in tasks for recording in task["recordings"])
    steady = glm.get("non_steady_state") if tabled else "keep"
    if steady == "regress":
        parts.append("one regressor for each leading volume that fMRIPrep flagged as not in steady state")
    parts.append("a constant")
    dummy = f" The first {glm['dummy_scans']} volumes of each run were left out." if glm["dummy_scans"] else ""
    if steady == "drop":
        dummy += " Leading volumes that fMRIPrep flagged as not in steady state were left out."
    listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return f"Nuisance regressors{whose} were {listed}.{dummy}"
