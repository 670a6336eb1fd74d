"""The methods text about decoding: latents, voxels, decoders, split."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from hyper_bids.report.citations import Text

DEFAULT_N_VOXELS = 4096
"""How many voxels a rule by rank keeps where nothing else is asked for (METHODS.md section 3)."""


def encoding(text: Text, inputs: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how latents were computed from the pictures; nothing where they were read."""
    name, size = inputs.get("encoder"), inputs.get("image_size")
    if name is None:
        return []
    if name == "identity":
        return [f"The latents are the pixels of the stimuli, scaled to {size} x {size} (RGB, 0 to 1)."]
    if name == "vaegan":
        return [f"The latents of the stimuli were computed by the auto-encoder's encoder {text.cite('vaegan')}."]
    folds = any(task.get("cross_validate") for task in tasks)
    whose = "all pictures, of which every one is trained on in some fold" if folds else "the training pictures"
    if name == "dand":
        return [
            f"Latents were computed from the stimuli, after {text.name('dand')}: scores of up to "
            f"{inputs['n_components']} principal components, each of unit variance, of the features of a "
            f"face-recognition network (VGG-Face, fc6). The components are those of the generator's weights where "
            f"these were given, else of {whose}."
        ]
    return [
        f"Latents were computed from the stimuli: scores of the first {inputs['n_components']} principal components "
        f"(fewer where there are fewer pictures) of {whose}, scaled to {size} x {size} pixels (RGB), each component "
        f"to unit variance {text.cite('turk', 'eigenface')}."
    ]


def decoding(
    text: Text, settings: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], parametric: bool, given: bool
) -> list[str]:
    """Return the sentences about voxels, decoders and the split.

    Parameters
    ----------
    settings : the sections of the settings as plain values
    tasks : of the report's context
    parametric : whether responses are those of one model over all runs
    given : whether they are maps that existed already
    """
    select, decode = settings["select"], settings["decode"]
    sentences = [_selection(text, select, parametric), _region(select)]
    for name in decode["decoder"]:
        described = DECODERS.get(name, _plugin)
        sentences.append(described(text, {**decode, "name": name}, parametric))
    split = _parametric_split if parametric else _given_split if given else _trial_split
    sentences += [split(task.get("cross_validate")) for task in _distinct(tasks, "cross_validate")]
    sentences.append("Voxel selection, scaling and penalties saw training data only.")
    return sentences


def _selection(text: Text, select: Mapping[str, Any], parametric: bool) -> str:
    rule, asked = select["select"], select["n_voxels"]
    n, fewer = asked or DEFAULT_N_VOXELS, "were decoded from (all voxels where there are fewer)."
    if rule == "top-z" and parametric:
        return f"The {n} voxels with the largest t of training stimuli against baseline {fewer}"
    if rule == "top-z":
        said = f"The {n} voxels with the largest mean response over training trials, as in {text.name('hyper')},"
        return f"{said} {fewer}"
    if rule == "reliability":
        return (
            f"The {n} voxels with the largest split-half reliability over repeated training stimuli (mean of 100 "
            f"random halves, stepped up to all repeats; {text.name('spearman', 'brown')}) {fewer}"
        )
    if rule == "gain" and asked:
        return (
            f"The {n} voxels with the largest F of the latents beyond the mean response to training stimuli, after "
            f"{text.name('vaegan')}, {fewer} {_GREY}"
        )
    if rule == "gain":
        return (
            "Voxels were decoded from in which training stimuli raised the response (one-sided t test, p < 0.05) and "
            "the latents explained more of it than its mean over training stimuli does (F test, p < 0.05), not "
            f"corrected for the number of voxels, after {text.name('vaegan')}. {_GREY}"
        )
    return "All voxels of the brain mask were decoded from."


_GREY = (
    "They were chosen from grey matter (probability of at least 0.5) where a tissue map in the space of the BOLD was "
    "found, else from the brain mask."
)


def _region(select: Mapping[str, Any]) -> str:
    parts = ["a mask given by the user"] if select.get("mask") else []
    if select.get("roi"):
        atlas, _, labels = str(select["roi"]).rpartition(":")
        named = ", ".join(labels.split(","))
        parts.append(f"the region{'s' if ',' in labels else ''} {named} of the atlas {PurePath(atlas).name}")
    return f"Only voxels inside {' and '.join(parts)} were considered." if parts else ""


def _ridge(text: Text, decode: Mapping[str, Any], parametric: bool) -> str:
    alphas = sorted(decode["alphas"])
    per = "for all latents together" if decode["shared_alpha"] else "for each latent"
    chosen = f"the penalty was {alphas[0]:.3g}."
    if len(alphas) > 1:
        chosen = (
            f"the penalty was chosen {per} among {len(alphas)} values from {alphas[0]:.3g} to {alphas[-1]:.3g} by "
            "cross-validation within the training data, over runs where there are several."
        )
    return (
        f"Latents were predicted by ridge regression {text.cite('ridge')}, with voxels centred and scaled and latents "
        f"centred by training statistics; {chosen}"
    )


def _ols(text: Text, decode: Mapping[str, Any], parametric: bool) -> str:
    return (
        "Latents were predicted by ordinary least squares with an intercept, and where voxels outnumber trials by the "
        f"weights of least norm {text.cite('penrose')}."
    )


def _adam(text: Text, decode: Mapping[str, Any], parametric: bool) -> str:
    loss = "half the mean over latents of the squared error"
    if decode.get("loss_layer"):
        loss += f", plus {decode['layer_weight']:g} times {_layer_loss(text, decode)}"
    return f"{_dense(text, decode, 'adam')} The loss was {loss}."


def _layer(text: Text, decode: Mapping[str, Any], parametric: bool) -> str:
    return (
        f"{_dense(text, decode, 'layer')} The loss was {_layer_loss(text, decode)} alone: no term compared the latents "
        "themselves."
    )


def _layer_loss(text: Text, decode: Mapping[str, Any]) -> str:
    return (
        f"half the mean squared difference between what layer {decode['loss_layer']} of the frozen generator makes of "
        f"predicted and of true latents, in the central half of its height and width {text.cite('hyper2020')}"
    )


def _dense(text: Text, decode: Mapping[str, Any], name: str) -> str:
    n = decode["n_epochs"]
    stopped = f"for {n} epochs"
    if decode["stopping"] == "held-out":
        stopped = (
            f"for at most {n} epochs, until the loss on held-out training data (a tenth of the training runs, or of "
            f"the stimuli where there is one run, at least one) had not fallen for {decode['patience']} epochs; the "
            f"weights with the lowest such loss were kept {text.cite('stopping')}"
        )
    return (
        f"Latents were predicted by a linear layer with a bias (decoder {name}, after {text.name('hyper')}), trained "
        f"by Adam {text.cite('adam')} on batches of {decode['batch_size']} trials in an order drawn anew every epoch, "
        f"with a learning rate of {decode['learning_rate']:g} and a weight decay of {decode['weight_decay']:g} on "
        f"weights and bias, {stopped}. Responses were not scaled; latents that are not standard normal were centred "
        "and scaled for training, and scaled back."
    )


def _map(text: Text, decode: Mapping[str, Any], parametric: bool) -> str:
    repeats = (
        "The noise variance of the mean of m repeats was taken to be 1/m of a single trial's."
        if decode["repeat_noise"]
        else "The mean of several repeats was taken to be as noisy as a single trial."
    )
    return (
        f"Latents were predicted by maximum a posteriori estimation {text.cite('dand')}: responses given latents are "
        "a linear encoding with noise that is independent between voxels, latents are standard normal beforehand, and "
        "both were standardised by training statistics. Encoding weights were those of least squares on single "
        "training trials; where these leave too few degrees of freedom for the noise, and for latents that are "
        f"pixels, those of ridge regression, with noise from leave-one-out residuals. {repeats}"
    )


def _inversion(text: Text, decode: Mapping[str, Any], parametric: bool) -> str:
    whose = (
        "estimated by the model of all runs"
        if parametric
        else "estimated by least squares of single-trial responses on the latents"
    )
    return (
        "Latents were predicted by the least-squares inverse of the encoding weights, of the latents and of a "
        f"constant, {whose} {text.cite('vaegan')}."
    )


def _plugin(text: Text, decode: Mapping[str, Any], parametric: bool) -> str:
    given = json.loads(decode.get("parameters") or "{}").get(decode["name"]) or {}
    arguments = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    return f"Latents were predicted by the decoder {decode['name']}{f' with {arguments}' if arguments else ''}."


DECODERS: dict[str, Callable[[Text, Mapping[str, Any], bool], str]] = {
    "ridge": _ridge, "ols": _ols, "adam": _adam, "layer": _layer, "map": _map, "inversion": _inversion,
}  # fmt: skip
"""Decoder -> its sentence, from the text, the settings of the section ``decode``, and whether the GLM is parametric."""


def _distinct(tasks: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    return list({str(task.get(key)): task for task in tasks}.values())


def _parametric_split(cross_validate: str | None) -> str:
    return (
        "The encoding weights are those of the training stimuli; decoding was tested on the response to each test "
        "stimulus, one coefficient over all its repeats."
    )


def _given_split(cross_validate: str | None) -> str:
    return _trial_split(cross_validate).replace("single trials of", "the responses to")


def _trial_split(cross_validate: str | None) -> str:
    if not cross_validate:
        return (
            "Decoders were trained on single trials of the training stimuli and tested on the mean response to each "
            "test stimulus over its repeats."
        )
    unit, _, number = cross_validate.partition(":")
    if unit == "stimulus":
        return f"Decoding was cross-validated over stimuli in {number or 10} folds."
    return f"Decoding was cross-validated: one {unit} at a time was left out, and its responses averaged per stimulus."
