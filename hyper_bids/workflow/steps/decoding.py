"""Responses to decoded latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.derivatives.names import Scope, model_label
from hyper_bids.derivatives.sidecars import Provenance, column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_npz, write_tsv
from hyper_bids.errors import UsageError
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.bottleneck import rank_scores
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of

LAYER_DECODERS = ("adam", "layer")
"""Decoders that can be trained on the activations of a generator's layer."""

EPOCHS = ("n_epochs", "best_epoch")
"""What a decoder that is trained in epochs says of a fit."""

LINEAR = ("coef_", "intercept_", "alpha_")
"""Attributes that are a linear decoder, in scikit-learn's names."""

ARRAYS = {
    "coef_": "(n_latents, n_selected) weights on responses",
    "intercept_": "(n_latents,) in the units of the latents",
    "alpha_": "(n_latents,) ridge penalties",
    "loss_curve_": "(n_epochs, 1 or 2) training loss, and that of the trials that were held out",
    "weights_": "(n_latents + 1, n_selected) W: responses per unit of each latent, and the bias row",
    "mu_": "(n_latents,) centre of the latents",
    "axes_": "(n_latents, rank) directions of the standardised training latents",
    "loadings_": "(rank, n_selected) encoding weights over the square root of the noise variance",
    "whitener_": "(n_selected,) what responses are multiplied by",
    "response_mean_": "(n_selected,) what is subtracted from responses before",
    "latent_mean_": "(n_latents,)",
    "latent_scale_": "(n_latents,)",
    "noise_": "(n_selected,) noise variance, as a share of the voxel's variance",
    "averaged_": "(n_selected,) share of the noise that averaging over repeats reduces",
}
"""What the arrays of a decoder's file are."""


def decoder_factory(
    name: str,
    decode: Mapping[str, Any],
    *,
    seed: int = 0,
    device: str = "cpu",
    space: Latents | None = None,
    picture: Mapping[str, Any] | None = None,
) -> Callable[[], Any]:
    """Return what makes a new decoder of that name with these settings.

    Parameters
    ----------
    seed, device : of decoders that are trained
    space, picture : the latents and the generator's description, for a loss at one of its layers
    """
    from hyper_bids.decode import DECODERS, make_decoder
    from hyper_bids.registry import resolve
    from hyper_bids.settings import plugin_parameters

    cls = resolve(name, DECODERS, "decoder", ("fit", "predict"))
    if name not in DECODERS:
        given = plugin_parameters(decode).get(name, {})
        try:
            cls(**given)
        except Exception as error:  # whatever a user's class does when it is made
            raise UsageError(
                f"Decoder {name!r} cannot be made with {given}: {type(error).__name__}: {error}."
            ) from error
        return lambda: cls(**given)
    trained_on_layer = decode.get("loss_layer") is not None and name in LAYER_DECODERS
    model = _layer_model(picture, space) if trained_on_layer else None
    declared = ((picture or {}).get("declaration") or {}).get("Generator") or {}
    pixels = (space is not None and space.space == "identity") or declared.get("Name") == "identity"
    return lambda: make_decoder(name, decode, seed=seed, device=device, layer_model=model, pixels=pixels)


def _layer_model(picture: Mapping[str, Any] | None, space: Latents | None) -> Any:
    """The generator, for a decoder that is trained on the activations of one of its layers."""
    from hyper_bids.workflow.steps.pictures import picture_generator

    if picture is None or space is None:
        raise UsageError("--loss-layer needs the generator of this latent space: give --generator and --weights.")
    generator = picture_generator(picture, space)
    if not callable(getattr(generator, "activations", None)):
        raise UsageError(
            f"The generator {picture['generator']} has no layers whose activations a decoder could be trained on "
            "(--loss-layer, --decoder layer). Generators that have: pggan, or your own with a method activations."
        )
    return generator


def folds_of(trials: pd.DataFrame, cross_validate: str | None, seed: int) -> list[Any]:
    """Return the folds that ``--cross-validate`` asks for, or the one train/test split."""
    from hyper_bids.decode.folds import make_folds
    from hyper_bids.settings import parse_cross_validation

    unit, n_folds = parse_cross_validation(cross_validate) if cross_validate else (None, None)
    return make_folds(trials, unit, n_folds, seed)


def decode_latents(
    *, values: Path, samples: Path, grid: Path, voxels: Path, responses_facts: Path, latents: Path, decoder: str,
    decode: Mapping[str, Any], cross_validate: str | None, picture: Mapping[str, Any] | None, device: str,
    reliability: bool, scope: Mapping[str, Any], provenance: Mapping[str, Any], out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Fit the decoder and predict the test stimuli, in every fold.

    Outputs: ``rows`` (tsv), ``predicted`` (npy), ``guesses`` (npz: what the decoder has to
    beat, what it learned from, and its scores at every rank), ``facts`` (JSON), ``tree`` (decoder weights,
    decoded latents).
    """
    from hyper_bids.decode.crossvalidate import decode as decode_folds

    responses, space = files.load_responses(values, samples, grid), files.load_latents(latents)
    folds, seed = folds_of(responses.trials, cross_validate, provenance["seed"]), provenance["seed"]
    make = decoder_factory(decoder, decode, seed=seed, device=device, space=space, picture=picture)
    decoded = decode_folds(responses, space, folds, np.asarray(files.load_array(voxels)), make)
    facts = _decoder_facts(decoder, decoded, responses, space)
    if reliability:
        facts["noise_ceiling"] = _ceiling(responses, decoded, space, bool(cross_validate), seed)
    trained = responses.trials.loc[responses.trials["split"] != "test", "stimulus_id"]
    return _written(
        decoder, decoded, responses.grid, space, facts, trained, bool(cross_validate),
        files.load_json(responses_facts)["mode"], scope, provenance, out_dir,
        for_audits=rank_scores(decoded, responses, space),
    )  # fmt: skip


def decode_parametric(
    *, values: Path, samples: Path, grid: Path, voxels: Path, weights: Path, statistics: Path, responses_facts: Path,
    trials: Path, latents: Path, decoder: str, decode: Mapping[str, Any], cross_validate: None,
    scope: Mapping[str, Any], provenance: Mapping[str, Any], out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Invert the parametric model's weights: latents of the test stimuli from their patterns.

    Outputs: as `decode_latents`.
    """
    from hyper_bids.decode.crossvalidate import decode_by_model
    from hyper_bids.decode.inversion import Inversion

    patterns, space = files.load_responses(values, samples, grid), files.load_latents(latents)
    seen = np.asarray(files.load_array(voxels))[0]
    model = files.load_arrays(statistics, ("mu",))
    fitted = Inversion.from_weights(np.asarray(files.load_array(weights))[:, seen], model["mu"])
    events = files.load_table(trials)
    trained = events.loc[(events["role"] == "sample") & (events["split"] == "train"), "stimulus_id"]
    decoded = decode_by_model(patterns, space, fitted, seen, trained)
    facts = _decoder_facts(decoder, decoded, patterns, space)
    facts |= {"n_trials": int((events["role"] == "sample").sum()), "n_stimuli": int(events["stimulus_id"].nunique())}
    facts["folds"][0]["n_train"] = len(trained)
    return _written(
        decoder, decoded, patterns.grid, space, facts, trained, False, files.load_json(responses_facts)["mode"], scope,
        provenance, out_dir,
    )  # fmt: skip


def _ceiling(responses: Responses, decoded: Any, space: Latents, cross_validated: bool, seed: int) -> dict[str, Any]:
    """The correlation with the truth that noise in the test responses allows, from both halves of their repeats."""
    from hyper_bids.decode.crossvalidate import predict
    from hyper_bids.decode.split_half import decoder_ceiling

    if cross_validated:
        return {"reason": "the folds of a cross-validated design hold too few repeats each to be halved."}
    fit = decoded.fits[0]
    test = responses.of(np.sort(np.concatenate(list(fit.fold.test.values()))))
    seen = Responses(test.values[:, fit.voxels], test.trials, test.grid.within(fit.voxels))
    found = decoder_ceiling(lambda X: predict(fit.decoder, X, space.n_latents), seen, seed=seed)
    if found.reason:
        return {"reason": found.reason}
    return {
        "reason": "",
        "median_latent_ceiling": _rounded(_median(found.latent_ceiling)),
        "median_stimulus_ceiling": _rounded(_median(found.stimulus_ceiling)),
        "latent_ceiling": [_rounded(value) for value in found.latent_ceiling],
    }


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _written(
    decoder: str, decoded: Any, grid: VoxelGrid, space: Latents, facts: dict[str, Any], trained: pd.Series,
    cross_validated: bool, mode: str, scope: Mapping[str, Any], provenance: Mapping[str, Any], out_dir: Path,
    for_audits: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Write what a decoder learned and predicted, for the output and for the next stages.

    Parameters
    ----------
    for_audits : what goes beside the guesses, for `evaluate` alone
    """
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    names = {"model": model_label(decoder), "desc": space.space}
    facts["trial_model"] = mode
    _write_decoder(tree, where, names, decoded, grid, facts, stamp)
    _write_latents(tree, where, names, decoded, cross_validated, stamp)
    guesses = {
        "training_mean": decoded.training_mean,
        "nearest": decoded.nearest,
        "trained": np.array(list(dict.fromkeys(trained)), dtype=str),
        **(for_audits or {}),
    }
    return {
        "rows": files.save_table(out_dir / "rows.tsv", decoded.rows),
        "predicted": files.save_array(out_dir / "predicted.npy", decoded.values),
        "guesses": write_npz(out_dir / "guesses.npz", guesses),
        "facts": write_json(out_dir / "facts.json", facts),
        "tree": tree.manifest(),
    }


def _decoder_facts(name: str, decoded: Any, responses: Responses, latents: Latents) -> dict[str, Any]:
    folds = []
    for fit in decoded.fits:
        alpha = getattr(fit.decoder, "alpha_", None)
        folds.append(
            {
                "fold": fit.fold.name,
                "n_train": len(fit.fold.train),
                "n_test": len(fit.fold.test),
                "n_voxels": int(fit.voxels.sum()),
                "median_alpha": None if alpha is None else float(np.median(alpha)),
                "inner_folds": _inner_folds(fit),
                **{name: getattr(fit.decoder, f"{name}_") for name in EPOCHS if hasattr(fit.decoder, f"{name}_")},
            }
        )
    notices = [notice for fit in decoded.fits for notice in getattr(fit.decoder, "notices_", ())]
    return {
        "decoder": name,
        "notices": list(dict.fromkeys(notices)),
        "alone_difference": max(fit.alone_difference for fit in decoded.fits),
        "n_latents": latents.n_latents,
        "n_trials": len(responses.trials),
        "n_stimuli": len(set(responses.trials["stimulus_id"])),
        "constant_latents": list(decoded.constant),
        "folds": folds,
    }


def _inner_folds(fit: Any) -> str | None:
    """How the penalties were chosen, with the groups by their name (runs or stimuli)."""
    text = getattr(fit.decoder, "inner_folds_", None)
    return None if text is None else text.replace("groups", fit.inner)


def _write_decoder(
    tree: Tree, where: Scope, names: dict[str, str], decoded: Any, grid: VoxelGrid, facts: dict[str, Any],
    stamp: Provenance,
) -> None:  # fmt: skip
    arrays: dict[str, np.ndarray] = {"mask": grid.mask, "affine": grid.affine}
    for number, fit in enumerate(decoded.fits):
        arrays[f"voxels_{number:03d}"] = fit.voxels
        for attribute in (*getattr(fit.decoder, "LEARNED", LINEAR), "loss_curve_"):
            if (learned := getattr(fit.decoder, attribute, None)) is not None:
                arrays[f"{attribute.rstrip('_')}_{number:03d}"] = np.asarray(learned, dtype=np.float32)
    write_npz(tree.path(where.name("decoder", ".npz", **names)), arrays)
    content = stamp.stamp(
        Description="fitted decoder, one set of arrays per fold; numpy .npz without pickle",
        Arrays={
            "mask": "(X, Y, Z) voxels with responses",
            "affine": "(4, 4) voxel indices to mm",
            "voxels_<fold>": "(n_voxels,) which of them the decoder saw",
            **_described(arrays),
        },
        **{"".join(word.capitalize() for word in key.split("_")): value for key, value in facts.items()},
    )
    write_json(tree.path(where.name("decoder", ".json", **names)), content)


def _described(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """What the arrays of each fold are, of those that there are."""
    names = {name: name.rstrip("_") for name in ARRAYS}
    return {f"{short}_<fold>": ARRAYS[name] for name, short in names.items() if f"{short}_000" in arrays}


def _write_latents(
    tree: Tree, where: Scope, names: dict[str, str], decoded: Any, cross_validated: bool, stamp: Provenance
) -> None:
    table = decoded.rows[["stimulus_id"]].copy()
    table["split"] = "cv" if cross_validated else "test"
    table["fold"] = decoded.rows["fold"].replace("", "n/a")
    width = max(4, len(str(decoded.values.shape[1] - 1)))
    latent_names = [f"z{k:0{width}d}" for k in range(decoded.values.shape[1])]
    table = pd.concat([table, pd.DataFrame(decoded.values, columns=latent_names)], axis=1)
    write_tsv(tree.path(where.name("latents", ".tsv", **names)), table)
    described = {
        "stimulus_id": column("Stimulus", "test stimulus that the row is decoded for"),
        "split": column("Split", "test, or cv where the design is cross-validated"),
        "fold": column("Fold", "fold of the cross-validation that the row was tested in"),
        **{name: column(f"Latent {k}", f"decoded value of dimension {k}") for k, name in enumerate(latent_names)},
    }
    text = "latents decoded from the mean response over a stimulus's repeats, in the units of the latent file"
    write_json(tree.path(where.name("latents", ".json", **names)), stamp.stamp(Description=text, **described))
