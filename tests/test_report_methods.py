"""The methods text: every choice that the app offers has its words and its references, and no others."""

from __future__ import annotations

import pytest

from hyper_bids import settings as settings_module
from hyper_bids.decode import DECODERS, SELECTORS
from hyper_bids.evaluate.reliability import FEWEST_REPEATS, FEWEST_TRAINED, N_REPEATS
from hyper_bids.presets import PRESETS
from hyper_bids.report import methods, methods_decoding
from hyper_bids.report.citations import REFERENCES, SHORT
from hyper_bids.report.methods import methods_text


def plain(**changed):
    values, _ = settings_module.build(settings_module.layered([changed]))
    return {name: settings_module.plain(getattr(values, name)) for name in settings_module.plain(values)}


def context(generator=None, cross_validate=None, **more):
    task = {"scope": {"space": None}, "generator": generator, "cross_validate": cross_validate, "recordings": []}
    return {"tasks": [{**task, **more}], "dataset_name": "Toys", "version": "9.9", "derivatives": {}}


PARAMETRIC = {"glm": "parametric", "decoder": ["inversion"]}
SAID = [
    ({"decoder": ["ols"]}, ["ordinary least squares with an intercept", "weights of least norm"], {"penrose"}),
    (
        {"decoder": ["adam"], "n_epochs": 70, "batch_size": 12, "learning_rate": 0.002, "weight_decay": 0.5},
        ["batches of 12 trials", "learning rate of 0.002 and a weight decay of 0.5", "at most 70 epochs",
         "had not fallen for 20 epochs"],
        {"adam", "stopping"},
    ),
    ({"decoder": ["adam"], "stopping": "epochs"}, ["on weights and bias, for 1500 epochs."], {"adam"}),
    (
        {"decoder": ["adam"], "loss_layer": "L7", "layer_weight": 0.3},
        ["squared error, plus 0.3 times half the mean squared difference between what layer L7"], {"hyper2020"},
    ),
    ({"decoder": ["layer"], "loss_layer": "L2"}, ["layer L2 of the frozen generator", "no term compared"],
     {"hyper2020"}),
    ({"decoder": ["map"]}, ["maximum a posteriori", "was taken to be 1/m of a single trial's"], {"dand"}),
    ({"decoder": ["map"], "repeat_noise": False}, ["as noisy as a single trial"], {"dand"}),
    ({"decoder": ["inversion"]}, ["estimated by least squares of single-trial responses on the latents"], {"vaegan"}),
    (PARAMETRIC, ["estimated by the model of all runs", "One general linear model was fitted to all runs together",
                  "minus that of baseline events", "one coefficient over all its repeats"], {"vaegan"}),
    ({**PARAMETRIC, "select": "top-z"}, ["largest t of training stimuli against baseline"], {"vaegan"}),
    ({"select": "gain"}, ["one-sided t test, p < 0.05", "F test, p < 0.05", "chosen from grey matter"], {"vaegan"}),
    ({"select": "gain", "n_voxels": 70}, ["The 70 voxels with the largest F"], {"vaegan"}),
    ({"select": "reliability"}, ["The 4096 voxels with the largest split-half reliability"], {"spearman", "brown"}),
    ({"select": "all"}, ["All voxels of the brain mask were decoded from."], set()),
    ({"n_voxels": 12}, ["The 12 voxels with the largest mean response over training trials"], {"hyper"}),
    ({"roi": "/atlases/visual.nii.gz:V1,V2", "mask": "/m.nii.gz"},
     ["inside a mask given by the user and the regions V1, V2 of the atlas visual.nii.gz were"], set()),
    ({"encoder": "eigenface", "n_components": 9}, ["first 9 principal components", "of the training pictures"],
     {"turk", "eigenface"}),
    ({"encoder": "identity", "image_size": 32}, ["latents are the pixels of the stimuli, scaled to 32 x 32"], set()),
    ({"alphas": ["10"]}, ["the penalty was 10."], {"ridge"}),
    ({"learning_curve": True}, ["1/8, 1/4 and 1/2 of the training trials"], set()),
    ({"reliability": True},
     ["The reliability of the recordings was measured",
      f"where stimuli have at least {FEWEST_REPEATS} repetitions: with one repetition left out",
      f"trained on {FEWEST_TRAINED} to {N_REPEATS - 1} of the other"], {"shrout"}),
    ({"decoder": ["mine.code:Net"], "parameters": {"mine.code:Net": {"depth": 3}}},
     ["by the decoder mine.code:Net with depth = 3."], set()),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "said", "cited"), SAID)
def test_methods_say_every_choice_and_cite_its_work(changed, said, cited):
    text = methods_text(plain(**changed), [], context())
    body, _, listed = text.partition("## References")
    assert [words for words in said if words not in body] == []
    assert [key for key in cited if REFERENCES[key] not in listed] == []
    assert all((SHORT[key] in body) == (REFERENCES[key] in listed) for key in REFERENCES)
    assert "None" not in body and ".." not in body and "  " not in body


@pytest.mark.parametrize("level", ["trial", "stimulus"])
def test_methods_of_given_responses_describe_no_glm(level):
    facts = [{"mode": "given", "runs": [], "stat": "z", "level": level}]
    for settings, told in ((plain(), facts), (plain(responses="/maps"), [])):
        body = methods_text(settings, told, context()).partition("## References")[0]
        assert "response maps that existed already were decoded" in body
        assert "Decoders were trained on the responses to the training stimuli" in body
        assert not any(words in body for words in ("Events were", "Nuisance", "BOLD images", "Models were fitted"))
    body = methods_text(plain(), facts, context())
    assert f"(z values, a map per {level})" in body


def test_switched_off_parts_are_not_described():
    off = methods_text(plain(reliability=False), [], context())
    parametric = methods_text(plain(**PARAMETRIC, learning_curve=True), [], context())
    for text in (off, parametric):
        assert "reliability of the recordings" not in text.lower()
    assert "learning curve" not in parametric and "single trials" not in parametric.partition("## Ref")[0]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_its_paper_and_what_was_set_otherwise(name):
    body = methods_text(plain(preset=name), [], context()).partition("## References")[0]
    assert f"Options are those of the preset {name}, which " in body and "set otherwise" not in body
    body = methods_text(plain(preset=name, high_pass=99.0), [], context())
    assert "set otherwise: high-pass 99 (preset: 128)." in body
    assert "preset" not in methods_text(plain(), [], context())


@pytest.mark.parametrize("protocol", methods.PROTOCOLS)
def test_a_protocol_is_described_where_there_are_pictures(protocol):
    settings = plain(protocol=protocol)
    assert f"by the protocol {protocol} too" in methods_text(settings, [], context("portrait"))
    assert "protocol" not in methods_text(settings, [], context())


def test_every_choice_of_the_app_has_its_words():
    assert set(methods_decoding.DECODERS) == set(DECODERS)
    choices = {item.name: item.metadata["choices"] for cls in settings_module.sections().values()
               for item in cls.__dataclass_fields__.values()}  # fmt: skip
    assert set(methods.PROTOCOLS) == set(choices["protocol"])
    assert set(methods._PRESETS) == set(PRESETS)
    decoding = [methods_text(plain(select=rule), [], context()).partition("**Decoding.**")[2] for rule in SELECTORS]
    assert len({text.partition("Latents were predicted")[0] for text in decoding}) == len(SELECTORS)
