"""The methods text and its references, built from the settings that ran.

Nothing here depends on a participant's data, so that parallel jobs write the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hyper_bids.presets import PRESETS
from hyper_bids.report.bibliography import bibtex
from hyper_bids.report.citations import REFERENCES, SHORT, Text
from hyper_bids.report.methods_decoding import decoding, encoding
from hyper_bids.report.methods_responses import GIVEN, PARAMETRIC, modes_of, responses

__all__ = ["REFERENCES", "SHORT", "methods_bibtex", "methods_parts", "methods_text"]

LEAD = "Written by hyper from the settings that ran. Free to copy and to change."
"""What the text in a file begins with."""


def methods_parts(
    settings: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], context: Mapping[str, Any]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the titled paragraphs of the methods text, and the references that they cite."""
    text = _written(settings, facts, context)
    paragraphs = [(title, " ".join(sentences)) for title, sentences in text.paragraphs if sentences]
    return paragraphs, [REFERENCES[key] for key in text.used]


def methods_bibtex(settings: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], context: Mapping[str, Any]) -> str:
    """Return the references of `methods_text` as BibTeX."""
    return bibtex(_written(settings, facts, context).used)


def _written(settings: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], context: Mapping[str, Any]) -> Text:
    """Write all paragraphs, with the references that they use."""
    text = Text()
    tasks, modes = list(context.get("tasks", [])), modes_of(settings, facts)
    parametric, given = PARAMETRIC in modes, GIVEN in modes
    text.add("Data and software", [*_software(text, context, tasks, given), _preset(text, settings)])
    text.add("Responses", responses(text, settings, facts, tasks))
    text.add("Latents", encoding(text, settings["inputs"], tasks))
    text.add("Decoding", decoding(text, settings, tasks, parametric, given))
    text.add("Reliability", _reliability(text, settings["evaluate"], tasks, parametric))
    text.add("Reconstruction", _reconstruction(text, tasks))
    text.add("Evaluation", _evaluation(text, settings["evaluate"], tasks, parametric))
    return text


def methods_text(settings: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], context: Mapping[str, Any]) -> str:
    """Return the methods paragraph with its references as Markdown, from what ran.

    Parameters
    ----------
    settings : the sections of `hyper_bids.settings.Settings` as plain values
    facts : what `pool_runs` recorded, one per task (may be empty: then what was asked for is described)
    context : as in `hyper_bids.report.participant.write_report`
    """
    paragraphs, references = methods_parts(settings, facts, context)
    lines = ["# Methods", "", LEAD, ""]
    for title, paragraph in paragraphs:
        lines += [f"**{title}.** {paragraph}", ""]
    lines += ["## References", "", *(f"{number}. {entry}" for number, entry in enumerate(references, 1)), ""]
    return "\n".join(lines)


def _software(
    text: Text, context: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], given: bool
) -> list[str]:
    name = context.get("dataset_name")
    called = f' "{name}"' if name else ""
    version = f" {context['version']}" if context.get("version") else ""
    preprocessed = ", ".join(context.get("derivatives") or {})
    spaces = sorted({str(task["scope"]["space"]) for task in tasks if task["scope"].get("space")})
    where = f" in the space {', '.join(spaces)}" if spaces else " in the space in which they came"
    source = f"Preprocessed BOLD images ({preprocessed})" if preprocessed else "BOLD images"
    return [
        f"The BIDS dataset{called} {text.cite('bids')} was analysed with hyper{version}, which follows "
        f"{text.name('hyper')} in decoding what was seen through the latents of a generative model, and builds "
        f"on PyBIDS {text.cite('pybids')} and Nipype {text.cite('nipype')}.",
        "" if given else f"{source} were used{where}, without further smoothing.",
    ]


_PRESETS = {
    "hyper": ("follows {}", ("hyper",)),
    "dand": ("follows {}", ("dand",)),
    "vaegan": ("follows {}", ("vaegan",)),
    "eigenface": ("decodes principal components, after {}", ("eigenface", "hyper")),
    "identity": ("decodes pixels, the baseline of {}", ("dand",)),
}
"""Preset -> what it does, and whom it follows."""


def _preset(text: Text, settings: Mapping[str, Any]) -> str:
    """Name the preset's paper, and the options that were set otherwise."""
    name = settings["inputs"].get("preset")
    if name is None:
        return ""
    said, keys = _PRESETS[name]
    values = {option: value for section in settings.values() for option, value in section.items()}
    others = [
        f"{option.replace('_', '-')} {_value(values[option])} (preset: {_value(wanted)})"
        for option, wanted in PRESETS[name].items()
        if option in values and values[option] != wanted
    ]
    changed = f"; set otherwise: {', '.join(others)}" if others else ""
    return f"Options are those of the preset {name}, which {said.format(text.name(*keys))}{changed}."


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else f"{value:g}" if isinstance(
        value, float) else str(value)  # fmt: skip


def _reliability(
    text: Text, evaluate: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], parametric: bool
) -> list[str]:
    if parametric or not evaluate.get("reliability"):
        return []
    whose = "all samples" if any(task.get("cross_validate") for task in tasks) else "the test stimuli"
    return [
        f"The reliability of the recordings was measured on single trials of {whose}, where stimuli are repeated. Of "
        "every voxel: the correlation over stimuli between the means of random halves of the repeats (100 halves), "
        f"stepped up to all repeats by the formula of {text.name('spearman')} and {text.name('brown')}; and the noise "
        "ceiling, the share of the variance of mean responses that differences between stimuli can explain "
        f"{text.cite('shrout')}.",
        f"Of the voxels decoded from, as in {text.name('hyper')}, and where stimuli have at least 4 repetitions: with "
        "one repetition left out at a time, logistic regression was trained on 3 to 11 of the other repetitions (at "
        "most as many as there are), as single responses, to name the stimulus; its penalty was chosen by "
        "cross-validation within them.",
        "What noise allows decoded latents to correlate with the true ones is the square root of the reliability of "
        "the predictions from halves of the test repeats, stepped up likewise.",
    ]


def _reconstruction(text: Text, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(task["generator"] for task in tasks if task.get("generator")))
    return [
        f"Pictures were made from the decoded latents by the generator {name}{_generator(text, name)}."
        for name in names
    ]


def _generator(text: Text, name: str) -> str:
    if name == "identity":
        return " (the latents are the pixels)"
    if name == "eigenface":
        return f" (principal components of a set of images, as in {text.name('eigenface')})"
    if name == "portrait":
        return f" (a procedural face, drawn with PyTorch; {text.name('torch')})"
    if name == "pggan":
        return f" (a progressive generative adversarial network; {text.name('pggan')})"
    return ""


PROTOCOLS = {
    "hyper2020": (
        "hyper2020", "both pictures scaled to 224 x 224 and smoothed by a Gaussian of 3 x 3 (sigma 0.8)",
    ),
    "hyper2022": ("hyper", "both scaled to 224 x 224, without the background where masks of the stimuli are given"),
    "dand": ("dand", "both scaled to 64 x 64, correlation over the pixels of all three colours"),
    "vaegan": ("vaegan", "both scaled to 128 x 128"),
    "naturalimages": (
        "", "correlation over RGB pixels and structural similarity at 425 x 425, and two-way identification or "
        "distance by the features of the networks that were given, as natural-image studies do",
    ),
}  # fmt: skip
"""Protocol -> its paper (empty: several), and how it compares pictures (METHODS.md section 6)."""


def _evaluation(
    text: Text, evaluate: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], parametric: bool
) -> list[str]:
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
    if pictures and evaluate.get("protocol"):
        paper, how = PROTOCOLS[evaluate["protocol"]]
        after = f", after {text.name(paper)}" if paper else ""
        sentences.append(f"Pictures were scored by the protocol {evaluate['protocol']} too{after}: {how}.")
    if pictures and (evaluate.get("features") or evaluate.get("feature_weights")):
        asked = evaluate.get("features") or ["the network of the weights that were given"]
        sentences.append(
            f"Features of reconstructions and stimuli ({', '.join(asked)}) were compared by 1 / (1 + d), d the "
            "Euclidean distance, and by the same with the mean squared difference; the sidecars name the network, its "
            "layer and the checksum of its file."
        )
    if evaluate.get("learning_curve") and not parametric:
        sentences.append(
            "For the learning curve decoders were trained anew on 1/8, 1/4 and 1/2 of the training trials, nested and "
            "with the same share of every run, from the selection of voxels on."
        )
    refitted = ", refitting every fold to permuted labels in training and test alike" if refits else ""
    sentences += [
        f"p-values of metrics are one-sided and permute whole stimuli (up to {n} permutations{refitted}), with "
        f"p = (1 + b) / (1 + n) {text.cite('phipson')}; they are not corrected for the number of metrics.",
        "Attributes, where there are any, were tested by Pearson correlation of true and predicted scores (two-sided t "
        "test).",
        "95 % intervals are over stimuli: of means by bootstrap, with percentiles expanded for small samples "
        f"{text.cite('hesterberg')}; of proportions by the formula of {text.name('agresti')}; of correlations and of "
        "pairwise identification by jackknife.",
        f"Every random number derives from the seed {evaluate['random_seed']}.",
    ]
    return sentences
