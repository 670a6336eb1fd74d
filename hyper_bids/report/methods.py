"""The methods paragraph and its references, built from the settings that ran.

Nothing here depends on a participant's data, so that parallel jobs write the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REFERENCES = {
    "bids": "Gorgolewski KJ, Auer T, Calhoun VD, et al. (2016). The brain imaging data structure, a format for "
    "organizing and describing outputs of neuroimaging experiments. Scientific Data 3:160044. "
    "https://doi.org/10.1038/sdata.2016.44",
    "pybids": "Yarkoni T, Markiewicz CJ, de la Vega A, et al. (2019). PyBIDS: Python tools for BIDS datasets. Journal "
    "of Open Source Software 4(40):1294. https://doi.org/10.21105/joss.01294",
    "nipype": "Gorgolewski K, Burns CD, Madison C, et al. (2011). Nipype: a flexible, lightweight and extensible "
    "neuroimaging data processing framework in Python. Frontiers in Neuroinformatics 5:13. "
    "https://doi.org/10.3389/fninf.2011.00013",
    "spm": "Friston KJ, Fletcher P, Josephs O, Holmes A, Rugg MD, Turner R (1998). Event-related fMRI: characterizing "
    "differential responses. NeuroImage 7(1):30-40. https://doi.org/10.1006/nimg.1997.0306",
    "glover": "Glover GH (1999). Deconvolution of impulse response in event-related BOLD fMRI. NeuroImage "
    "9(4):416-429. https://doi.org/10.1006/nimg.1998.0419",
    "mumford": "Mumford JA, Turner BO, Ashby FG, Poldrack RA (2012). Deconvolving BOLD activation in event-related "
    "designs for multivoxel pattern classification analyses. NeuroImage 59(3):2636-2643. "
    "https://doi.org/10.1016/j.neuroimage.2011.08.076",
    "turner": "Turner BO, Mumford JA, Poldrack RA, Ashby FG (2012). Spatiotemporal activity estimation for multivoxel "
    "pattern analysis with rapid event-related designs. NeuroImage 62(3):1429-1438. "
    "https://doi.org/10.1016/j.neuroimage.2012.05.057",
    "nilearn": "Abraham A, Pedregosa F, Eickenberg M, et al. (2014). Machine learning for neuroimaging with "
    "scikit-learn. Frontiers in Neuroinformatics 8:14. https://doi.org/10.3389/fninf.2014.00014",
    "hyper": "Dado T, Güçlütürk Y, Ambrogioni L, Ras G, Bosch S, van Gerven M, Güçlü U (2022). Hyperrealistic neural "
    "decoding for reconstructing faces from fMRI activations via the GAN latent space. Scientific Reports 12:141. "
    "https://doi.org/10.1038/s41598-021-03938-w",
    "ridge": "Hoerl AE, Kennard RW (1970). Ridge regression: biased estimation for nonorthogonal problems. "
    "Technometrics 12(1):55-67. https://doi.org/10.1080/00401706.1970.10488634",
    "eigenface": "Cowen AS, Chun MM, Kuhl BA (2014). Neural portraits of perception: reconstructing face images from "
    "evoked brain activity. NeuroImage 94:12-22. https://doi.org/10.1016/j.neuroimage.2014.03.018",
    "ssim": "Wang Z, Bovik AC, Sheikh HR, Simoncelli EP (2004). Image quality assessment: from error visibility to "
    "structural similarity. IEEE Transactions on Image Processing 13(4):600-612. "
    "https://doi.org/10.1109/TIP.2003.819861",
    "phipson": "Phipson B, Smyth GK (2010). Permutation p-values should never be zero: calculating exact p-values when "
    "permutations are randomly drawn. Statistical Applications in Genetics and Molecular Biology 9(1):39. "
    "https://doi.org/10.2202/1544-6115.1585",
    "torch": "Paszke A, Gross S, Massa F, et al. (2019). PyTorch: an imperative style, high-performance deep learning "
    "library. Advances in Neural Information Processing Systems 32.",
}

SHORT = {
    "bids": "Gorgolewski et al. 2016", "pybids": "Yarkoni et al. 2019", "nipype": "Gorgolewski et al. 2011",
    "spm": "Friston et al. 1998", "glover": "Glover 1999", "mumford": "Mumford et al. 2012",
    "turner": "Turner et al. 2012", "nilearn": "Abraham et al. 2014", "hyper": "Dado et al. 2022",
    "ridge": "Hoerl & Kennard 1970", "eigenface": "Cowen et al. 2014", "ssim": "Wang et al. 2004",
    "phipson": "Phipson & Smyth 2010", "torch": "Paszke et al. 2019",
}  # fmt: skip


class _Text:
    """Sentences with the references they use, in the order of use."""

    def __init__(self) -> None:
        self.paragraphs: list[tuple[str, list[str]]] = []
        self.used: list[str] = []

    def cite(self, *keys: str) -> str:
        self.used += [key for key in keys if key not in self.used]
        return "(" + "; ".join(SHORT[key] for key in keys) + ")"

    def add(self, title: str, sentences: Sequence[str]) -> None:
        self.paragraphs.append((title, [sentence for sentence in sentences if sentence]))


def methods_parts(
    settings: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], context: Mapping[str, Any]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the titled paragraphs of the methods text, and the references that they cite."""
    text = _Text()
    tasks = list(context.get("tasks", []))
    text.add("Data and software", _software(text, context, tasks))
    text.add("Responses", _responses(text, settings["glm"], facts, tasks))
    text.add("Decoding", _decoding(text, settings, tasks))
    text.add("Reconstruction", _reconstruction(text, tasks))
    text.add("Evaluation", _evaluation(text, settings["evaluate"], tasks))
    paragraphs = [(title, " ".join(sentences)) for title, sentences in text.paragraphs if sentences]
    return paragraphs, [REFERENCES[key] for key in text.used]


def methods_text(settings: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], context: Mapping[str, Any]) -> str:
    """Return the methods paragraph with its references as Markdown, from what ran.

    Parameters
    ----------
    settings : the sections of `hyper_bids.settings.Settings` as plain values
    facts : what `pool_runs` recorded, one per task (may be empty: then what was asked for is described)
    context : as in `hyper_bids.report.participant.write_report`
    """
    paragraphs, references = methods_parts(settings, facts, context)
    lines = ["# Methods", "", "Written by hyper from the settings that ran. Free to copy and to change.", ""]
    for title, paragraph in paragraphs:
        lines += [f"**{title}.** {paragraph}", ""]
    lines += ["## References", "", *(f"{number}. {entry}" for number, entry in enumerate(references, 1)), ""]
    return "\n".join(lines)


def _software(text: _Text, context: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    name = context.get("dataset_name") or "the dataset"
    version = f" {context['version']}" if context.get("version") else ""
    preprocessed = ", ".join(context.get("derivatives") or {})
    spaces = sorted({str(task["scope"]["space"]) for task in tasks if task["scope"].get("space")})
    where = f" in the space {', '.join(spaces)}" if spaces else " in the space in which they came"
    source = f"Preprocessed BOLD images ({preprocessed})" if preprocessed else "BOLD images"
    return [
        f"The BIDS dataset {name} {text.cite('bids')} was analysed with hyper{version}, which follows "
        f"{text.cite('hyper')[1:-1]} in decoding what was seen through the latents of a generative model, and builds "
        f"on PyBIDS {text.cite('pybids')} and Nipype {text.cite('nipype')}.",
        f"{source} were used{where}, without further smoothing.",
    ]


def _responses(
    text: _Text, glm: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]
) -> list[str]:
    modes = list(dict.fromkeys(fact["mode"] for fact in facts)) or [glm["glm"]]
    sentences = [_mode(text, mode, glm) for mode in modes]
    if glm["glm"] == "auto" and facts:
        sentences.append(
            "The choice was made from the designs alone: one model of all trials where the median variance inflation "
            "of the trial regressors is at most 5, else one model per trial."
        )
    noise = "ordinary least squares"
    if glm.get("noise_model") == "ar1":
        noise = "least squares after whitening by a first-order autoregressive model of the residuals of each voxel"
    response = {"z": "z values with the same tail probability as t", "t": "t values", "beta": "percent signal change"}
    sentences += [
        f"Events were convolved with {_response_function(text, glm['hrf'])} at their own onsets and durations.",
        _nuisance(glm, facts, tasks),
        f"Models were fitted by {noise}, run by run, and responses are {response[glm['response']]}.",
        "Events that are no samples were modelled as one regressor per trial type, baseline events not at all.",
    ]
    if any("mask" in recording and recording["mask"] is None for task in tasks for recording in task["recordings"]):
        cited = text.cite("nilearn")
        sentences.append(f"Where a run had no brain mask, nilearn computed one from its mean image {cited}.")
    return sentences


def _mode(text: _Text, mode: str, glm: Mapping[str, Any]) -> str:
    rest = "one regressor" if glm["lss_rest"] == "one" else "one regressor per trial type"
    if mode == "lsa":
        return (
            "Single-trial responses were estimated in one model per run with a regressor for every trial (least "
            f"squares, all; {text.cite('mumford')[1:-1]})."
        )
    if mode == "lss":
        return (
            f"Single-trial responses were estimated with one model per trial, in which all other trials share {rest} "
            f"(least squares, separate; {text.cite('mumford', 'turner')[1:-1]})."
        )
    return "Single-trial responses were estimated by general linear models."


def _response_function(text: _Text, name: str) -> str:
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
    glm: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]
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
    return f"Nuisance regressors were {listed}.{dummy}"


def _decoding(text: _Text, settings: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    select, decode = settings["select"], settings["decode"]
    sentences = [
        f"The {select['n_voxels']} voxels with the largest mean response over training trials were decoded from "
        "(all voxels where there are fewer)."
        if select["select"] == "top-z"
        else "All voxels of the brain mask were decoded from."
    ]
    if select.get("mask"):
        sentences.append("Only voxels inside a mask given by the user were considered.")
    for name in decode["decoder"]:
        if name == "ridge":
            alphas = sorted(decode["alphas"])
            per = "for all latents together" if decode["shared_alpha"] else "for each latent"
            sentences.append(
                f"Latents were predicted by ridge regression {text.cite('ridge')}, with voxels centred and scaled and "
                f"latents centred by training statistics; the penalty was chosen {per} among {len(alphas)} values from "
                f"{alphas[0]:.3g} to {alphas[-1]:.3g} by cross-validation within the training data, over runs where "
                "there are several."
            )
        else:
            sentences.append(f"Latents were predicted by the decoder {name}.")
    sentences += [_split(task.get("cross_validate")) for task in _distinct(tasks, "cross_validate")]
    sentences.append("Voxel selection, scaling and penalties saw training data only.")
    return sentences


def _distinct(tasks: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    return list({str(task.get(key)): task for task in tasks}.values())


def _split(cross_validate: str | None) -> str:
    if not cross_validate:
        return (
            "Decoders were trained on single trials of the training stimuli and tested on the mean response to each "
            "test stimulus over its repeats."
        )
    unit, _, number = cross_validate.partition(":")
    if unit == "stimulus":
        return f"Decoding was cross-validated over stimuli in {number or 10} folds."
    return f"Decoding was cross-validated: one {unit} at a time was left out, and its responses averaged per stimulus."


def _reconstruction(text: _Text, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    sentences = []
    for task in _distinct(tasks, "generator"):
        name = task.get("generator")
        if name is None:
            continue
        how = _generator(text, name)
        sentences.append(f"Pictures were made from the decoded latents by the generator {name}{how}.")
    return sentences


def _generator(text: _Text, name: str) -> str:
    if name == "identity":
        return " (the latents are the pixels)"
    if name == "eigenface":
        return f" (principal components of a set of images, as in {text.cite('eigenface')[1:-1]})"
    if name == "portrait":
        return f" (a procedural face, drawn with PyTorch; {text.cite('torch')[1:-1]})"
    return ""


def _evaluation(text: _Text, evaluate: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    pictures = any(task.get("generator") for task in tasks)
    refits = any(task.get("cross_validate") for task in tasks)
    n = evaluate["n_permutations"]
    sentences = [
        "Predicted and true latents were compared by Pearson correlation and by identification: the share of the other "
        "candidates whose latents correlate less with the prediction than the true ones do (pairwise), and whether the "
        "true ones beat all others (full).",
    ]
    if pictures:
        sentences.append(
            "Reconstructions and stimuli were compared in luminance by Pearson correlation over pixels and by "
            f"structural similarity {text.cite('ssim')}."
        )
    refitted = ", refitting every fold to permuted labels in training and test alike" if refits else ""
    sentences += [
        f"p-values of metrics are one-sided and permute whole stimuli (up to {n} permutations{refitted}), with "
        f"p = (1 + b) / (1 + n) {text.cite('phipson')}; they are not corrected for the number of metrics.",
        "Attributes, where there are any, were tested by Pearson correlation of true and predicted scores (two-sided t "
        "test).",
        "Intervals are 95 % percentile bootstraps over stimuli.",
        f"Every random number derives from the seed {evaluate['random_seed']}.",
    ]
    return sentences
