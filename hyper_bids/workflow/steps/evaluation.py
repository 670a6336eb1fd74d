"""Scores, tests and audit of one decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.audit.controls import GLOBAL, OUTSIDE
from hyper_bids.data import Images
from hyper_bids.derivatives.names import model_label
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_npz, write_tsv
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.bottleneck import rank_curve
from hyper_bids.workflow.steps.feature_scores import FeaturesOfShown, described, metric_features
from hyper_bids.workflow.steps.further import Further
from hyper_bids.workflow.steps.nuisances import nuisances_of
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of
from hyper_bids.workflow.steps.pictures import shown_pictures
from hyper_bids.workflow.steps.protocols import Pictures, read_masks, write_protocols


def evaluate(
    *, rows: Path, predicted: Path, guesses: Path, decoder_facts: Path, latents: Path, decoder: str,
    cross_validated: bool, picture: Mapping[str, Any] | None, declaration: Mapping[str, Any],
    stimulus_paths: Mapping[str, str], stimuli: Path, protocol: str | None,
    attributes: list[str], n_permutations: int, scope: Mapping[str, Any], provenance: Mapping[str, Any],
    out_dir: Path, pictures: Path | None = None, draws: Path | None = None, null_facts: Path | None = None,
    further: Path | None = None, other_spaces: Path | None = None,
    trials: Path | None = None, recordings: Sequence[Mapping[str, Any]] = (),
    same_content: Sequence[str] | None = None, tuning: Mapping[str, Any] | None = None,
    features: Sequence[Mapping[str, Any]] = (), masks: Mapping[str, str] | None = None,
    controls: Path | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Score every test stimulus and test every metric.

    ``trials`` (all events), ``recordings`` (with their confounds), ``same_content`` (what was found when pictures
    were compared; None where none could be) and ``tuning`` (how things were chosen) are for the audits, as are
    ``controls`` (of `decode_controls`). ``features`` are the networks that were asked for, ``masks`` the files of the
    stimuli's background masks.

    ``provenance`` has, besides, ``before_decoder``: the digest of the settings up to the voxels, by which the group
    knows which decoders had the same responses.

    Outputs: ``tree`` (metrics.tsv, stats.tsv, audit.json, and the further tables) and ``nulls`` (npz: metric -> its
    null values, ``(n_permutations,)``, for the figures; a working file, not published).
    """
    from hyper_bids.evaluate.decoded import Decoded, compare_images
    from hyper_bids.evaluate.dictionary import metrics_dictionary, stats_dictionary
    from hyper_bids.evaluate.further_refits import read_draws
    from hyper_bids.evaluate.participant import participant_metrics
    from hyper_bids.evaluate.resize import luminance_at
    from hyper_bids.evaluate.stats import References, Refits, null_distributions, participant_stats

    space, table = files.load_latents(latents), files.load_table(rows)
    values = np.asarray(files.load_array(predicted))
    held = files.load_arrays(guesses)
    trained = held["trained"].tolist()
    training = space.rows(trained)
    references = {"distribution": declaration.get("Distribution"), "training_latents": training}
    compared, recon, of_features, extractor = None, None, None, None
    shown: dict[str, np.ndarray] = {}
    if pictures is not None:
        drawn = files.load_arrays(pictures)
        labels = tuple(drawn["stimuli"].tolist())
        shown = shown_pictures(stimulus_paths, labels)
        if shown:
            recon = Images(drawn["recon"], labels)
            compared = compare_images(shown, recon)
            references["ceiling"] = {"image": compare_images(shown, Images(drawn["ceiling"], labels))}
            references["zero"] = {"image": luminance_at(drawn["zero"])}
            references["random"] = {"image": luminance_at(drawn["random"])}
            extractor = metric_features(features)
        if extractor is not None:
            seen = FeaturesOfShown(extractor, shown)
            of_features = seen.compare(dict(zip(labels, drawn["recon"], strict=True)))
            references["ceiling"]["feature"] = seen.compare(dict(zip(labels, drawn["ceiling"], strict=True)))
            for kind in ("zero", "random"):
                references[kind]["feature"] = extractor.features(drawn[kind])
    decoded = Decoded(
        predicted=values,
        stimuli=tuple(table["stimulus_id"]),
        latents=space,
        folds=tuple(table["fold"]) if cross_validated else None,
        n_repeats=table["n_repeats"].to_numpy(int),
        images=compared,
        features=of_features,
        directions=attribute_directions(picture, attributes, space.n_latents),
    )
    null_said = files.load_json(null_facts) if null_facts is not None else {}
    refits = None
    if draws is not None:
        refits = Refits(statistics=files.load_arrays(draws), untested=null_said.get("untested", {}))
    metrics, reasons = participant_metrics(decoded)
    nulls = null_distributions(decoded, refits=refits, seed=provenance["seed"], n_permutations=n_permutations)
    stats = participant_stats(decoded, references=References(**references), seed=provenance["seed"], nulls=nulls)
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    names = {"model": model_label(decoder), "desc": space.space}
    write_tsv(tree.path(where.name("metrics", ".tsv", **names)), metrics)
    entries = described(metrics_dictionary(metrics.columns, reasons), extractor)
    text = "scores of every test stimulus"
    known_of = {
        "TrialModel": files.load_json(decoder_facts)["trial_model"],
        "SettingsBeforeDecoder": provenance["before_decoder"],
    }
    content = stamp.stamp(Description=text, **known_of, **entries)
    write_json(tree.path(where.name("metrics", ".json", **names)), content)
    write_tsv(tree.path(where.name("stats", ".tsv", **names)), stats)
    entries = described(stats_dictionary(stats.columns), extractor)
    content = stamp.stamp(Description="every metric with its test", **entries)
    write_json(tree.path(where.name("stats", ".json", **names)), content)
    null = read_draws(files.load_arrays(further)) if further is not None else None
    known = files.load_table(stimuli)
    beside = Further(tree, where, names, stamp, null=null, n_permutations=n_permutations, seed=provenance["seed"])
    beside.tests(decoded, known, references)
    beside.latents(decoded)
    beside.attributes(decoded, decoded.directions or {})
    beside.classes(decoded, known, trained, training)
    beside.spaces(decoded, files.load_arrays(other_spaces) if other_spaces is not None else {})
    if pictures is not None and "directions" in drawn:
        beside.closed_form(decoded, drawn["directions"], drawn["eigenvalues"])
    if recon is not None:
        pairs = Pictures(shown, dict(zip(recon.stimuli, recon.pixels, strict=True)), read_masks(masks or {}))
        write_protocols(beside, protocol, pairs, features)
    beside.covariates(decoded.tested, known, stimulus_paths)
    checks = _audits(
        decoded, held, files.load_json(decoder_facts), space.rows(trained), stats,
        shared_stimuli=sorted(set(table["stimulus_id"]) & set(trained)),
        null_notices=null_said.get("notices", []),
        null_remarks=null_said.get("remarks", []),
        nuisances=_nuisances(table, trials, recordings, cross_validated),
        same_content=same_content, tuning=tuning, seed=provenance["seed"], **_controls(controls),
        normal_prior=declaration.get("Distribution") == "normal",
    )  # fmt: skip
    content = stamp.stamp(Description="is the result what it seems?", **checks)
    write_json(tree.path(where.name("audit", ".json", **names)), content)
    kept = {name: null.draws for name, null in nulls.items() if len(null.draws)}
    return {"tree": tree.manifest(), "nulls": write_npz(out_dir / "nulls.npz", kept)}


def _audits(
    decoded: Any, held: Mapping[str, np.ndarray], facts: Mapping[str, Any], training: np.ndarray, stats: Any,
    *, nuisances: tuple[dict[str, np.ndarray], dict[str, str]], tuning: Mapping[str, Any] | None, **known: Any,
) -> dict[str, Any]:  # fmt: skip
    """Ask whether the result is what it seems."""
    from hyper_bids.audit.checks import audit
    from hyper_bids.audit.evidence import Evidence

    return audit(
        Evidence(
            true=decoded.true,
            predicted=decoded.predicted,
            training_mean=held["training_mean"],
            nearest=held["nearest"],
            training=training,
            stimuli=decoded.stimuli,
            folds=decoded.folds or (),
            alone_difference=facts["alone_difference"],
            constant_latents=facts["constant_latents"],
            stats=stats.to_dict("records"),
            rank_curve=rank_curve(held, decoded, stats, facts),
            nuisances=nuisances[0],
            nuisances_missing=nuisances[1],
            tuning=None if tuning is None else {**tuning, "decoder": facts["decoder"], "folds": facts["folds"]},
            **known,
        )
    )


def _nuisances(
    rows: Any, trials: Path | None, recordings: Sequence[Mapping[str, Any]], cross_validated: bool
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    if trials is None:
        return {}, {}
    return nuisances_of(rows, files.load_table(trials), recordings, cross_validated)


def _controls(controls: Path | None) -> dict[str, Any]:
    """What signals without the stimulus hold of the latents, and why it is not known of others."""
    if controls is None:
        why = "the parametric model estimates no responses of single training trials"
        return {"controls_missing": dict.fromkeys((GLOBAL, OUTSIDE), why)}
    facts = files.load_json(controls)
    return {"controls": facts["found"], "controls_missing": facts["missing"]}


def attribute_directions(
    picture: Mapping[str, Any] | None, attributes: list[str], n_latents: int
) -> dict[str, np.ndarray]:
    """Attribute hyperplanes: the user's files, else those that the generator knows by construction."""
    from hyper_bids.generate import builtin_attributes
    from hyper_bids.inputs.attributes import read_directions

    if attributes:
        return read_directions([Path(path) for path in attributes], n_latents)
    known = builtin_attributes(picture["generator"]) if picture else None
    return known or {}
