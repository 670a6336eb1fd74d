"""``hyper-tools evaluate``: the app's scores, tests and audits for anybody's predictions, without any BOLD."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.data import Images, Latents
from hyper_bids.derivatives.sidecars import Provenance
from hyper_bids.derivatives.tree import checksum
from hyper_bids.derivatives.write import write_json, write_tsv
from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing
from hyper_bids.workflow import group_covariates
from hyper_bids.workflow.feature_networks import check_opens, chosen
from hyper_bids.workflow.pairs import Pairs, read_pairs
from hyper_bids.workflow.steps.feature_scores import FeaturesOfShown, described, metric_features
from hyper_bids.workflow.steps.further import Further
from hyper_bids.workflow.steps.protocols import NATURAL_IMAGES, Pictures, write_protocols

if TYPE_CHECKING:
    import pandas as pd

    from hyper_bids.features import Features

PIXELS = (64, 64)
"""Size of the luminance that pictures are identified by."""

OF_LATENTS = "latent_"
NO_LATENTS = "pictures were compared, not latents"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Parameters
    ----------
    true, predicted : two folders of pictures (matched by their names without ending), or latents in the forms of a
        dataset: .npy with an index of the same name, .tsv, .h5, or a folder with a file for every stimulus
    out : folder to write into
    labels : TSV with ``stimulus_id`` and columns that are known of the stimuli
    protocol : a paper's protocol of comparing pictures
    n_permutations, random_seed : of the tests
    features, feature_weights : feature networks and their weight files, paired in order
    device : where they run
    """

    true: Path
    predicted: Path
    out: Path
    labels: Path | None = None
    protocol: str | None = None
    n_permutations: int = 1000
    random_seed: int = 0
    features: tuple[str, ...] = ()
    feature_weights: tuple[str, ...] = ()
    device: str = "auto"


class Folder:
    """A flat output folder, where the app has trees and BIDS names."""

    def __init__(self, out: Path) -> None:
        self.out = Path(out)

    def path(self, name: str) -> Path:
        """Return where the file of that name lies."""
        return self.out / name

    def name(self, suffix: str, extension: str, **_: Any) -> str:
        """Return the name of a table."""
        return f"{suffix}{extension}"


def evaluate_files(request: Request) -> Path:
    """Compare predictions with the truth; write tables and ``evaluate.html``, and return the page.

    Raises
    ------
    UsageError
        Another protocol than there is, a protocol or feature networks for latents, fewer than one permutation.
    MissingFiles, InconsistentInput
        As `pairs.read_pairs`; labels of stimuli that are not compared at all; feature networks that cannot be read.
    """
    from hyper_bids.evaluate.participant import participant_metrics
    from hyper_bids.evaluate.stats import participant_stats
    from hyper_bids.report.evaluate_page import write_evaluate_page

    pairs = _checked(request)
    networks = [item.params(request.device) for item in chosen(request.features, request.feature_weights)]
    labels = _labels(request.labels, pairs)
    extractor = metric_features(networks)
    decoded = _decoded(pairs, extractor)
    seed, n = request.random_seed, request.n_permutations
    metrics, reasons = participant_metrics(decoded)
    stats = participant_stats(decoded, seed=seed, n_permutations=n)
    if pairs.pictures is not None:
        metrics, stats, reasons = _without_latents(metrics, stats, reasons)
    folder, stamp = Folder(request.out), _stamp(request, pairs)
    _write_scores(folder, stamp, metrics, stats, reasons, pairs, extractor)
    further = Further(folder, folder, {}, stamp, null=None, n_permutations=n, seed=seed)
    further.tests(decoded, labels, {"distribution": None, "training_latents": None})
    if pairs.pictures is None:
        further.latents(decoded)
        further.spaces(decoded, {})
    else:
        write_protocols(further, request.protocol, Pictures(*pairs.pictures), networks)
    covariates = _write_covariates(folder, stamp, metrics, labels, pairs, seed)
    audits = _audits(decoded, stats)
    write_json(folder.path("audit.json"), stamp.stamp(Description="is the result what it seems?", **audits))
    asked = {name: str(value) for name, value in asdict(request).items() if value not in (None, ())}
    return write_evaluate_page(
        folder.out, metrics=metrics, stats=stats, covariates=covariates, audits=audits, asked=asked,
        notices=pairs.notices, pictures=pairs.pictures,
    )  # fmt: skip


def _checked(request: Request) -> Pairs:
    from hyper_bids.evaluate.image_protocols import PROTOCOLS

    if request.n_permutations < 1:
        raise UsageError(f"--n-permutations {request.n_permutations}: at least 1 is needed.")
    known = [*PROTOCOLS, NATURAL_IMAGES]
    if request.protocol is not None and request.protocol not in known:
        hint = did_you_mean(request.protocol, known)
        raise UsageError(f"Unknown protocol {request.protocol!r}.{hint} Known: {listing(known, 10)}.")
    networks = chosen(request.features, request.feature_weights, request.protocol)
    check_opens(networks)
    pairs = read_pairs(request.true, request.predicted)
    if request.protocol is not None and pairs.pictures is None:
        raise UsageError(f"--protocol {request.protocol} compares pictures, and latents were given.")
    if networks and pairs.pictures is None:
        raise UsageError(f"--features {networks[0].name} compares pictures, and latents were given.")
    return pairs


def _labels(path: Path | None, pairs: Pairs) -> pd.DataFrame:
    """Return what is known of the stimuli, one row each; no columns where nothing was given."""
    import pandas as pd

    from hyper_bids.inputs.tables import read_table

    rows = pd.DataFrame({"stimulus_id": pd.Series(list(pairs.stimuli), dtype=object)})
    if path is None:
        return rows
    table = read_table(Path(path))
    if "stimulus_id" not in table.columns:
        raise InconsistentInput(f"{path}: no column stimulus_id, only {listing(table.columns)}.")
    double = table["stimulus_id"][table["stimulus_id"].duplicated()]
    if len(double):
        raise InconsistentInput(f"{path}: stimuli listed more than once: {listing(dict.fromkeys(double))}.")
    if not set(table["stimulus_id"]) & set(pairs.stimuli):
        raise InconsistentInput(
            f"{path} names none of the stimuli that are compared: it has {listing(table['stimulus_id'], 3)}, they are "
            f"{listing(pairs.stimuli, 3)}."
        )
    lost = sorted(set(pairs.stimuli) - set(table["stimulus_id"]))
    if lost:
        pairs.notices.append(f"{len(lost)} stimuli have no labels: {listing(lost)}.")
    return rows.merge(table, on="stimulus_id", how="left")


def _decoded(pairs: Pairs, extractor: Features | None) -> Any:
    """Latents as they are; of pictures the luminance at a small size takes their place, for identification."""
    from hyper_bids.evaluate.decoded import Decoded, compare_images
    from hyper_bids.evaluate.resize import luminance_at

    if pairs.latents is not None:
        true, predicted = pairs.latents
        return Decoded(predicted, pairs.stimuli, Latents(true, pairs.stimuli, "given"))
    shown, made = pairs.pictures
    true, predicted = (
        luminance_at([side[label] for label in pairs.stimuli], PIXELS).reshape(len(pairs.stimuli), -1)
        for side in (shown, made)
    )
    space = Latents(true, pairs.stimuli, "pixels")
    features = None if extractor is None else FeaturesOfShown(extractor, shown).compare(made)
    return Decoded(predicted, pairs.stimuli, space, images=compare_images(shown, made), features=features)


def _without_latents(
    metrics: pd.DataFrame, stats: pd.DataFrame, reasons: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Blank what is said of latents where pictures were compared."""
    named = [name for name in metrics.columns if name.startswith(OF_LATENTS)]
    metrics = metrics.assign(**dict.fromkeys(named, np.nan))
    rows = stats["metric"].str.startswith(OF_LATENTS)
    stats = stats.copy()
    stats.loc[rows, [name for name in stats.columns if name not in ("metric", "n", "p_method")]] = np.nan
    stats.loc[rows, "n"] = 0
    stats.loc[rows, "p_method"] = f"not tested: {NO_LATENTS}"
    return metrics, stats, {**reasons, **dict.fromkeys(named, NO_LATENTS)}


def _stamp(request: Request, pairs: Pairs) -> Provenance:
    settings = {
        "protocol": request.protocol, "features": list(request.features),
        "n_permutations": request.n_permutations, "random_seed": request.random_seed,
    }  # fmt: skip
    files = [*pairs.files, *([request.labels] if request.labels else []), *map(Path, request.feature_weights)]
    digest = hashlib.sha256(json.dumps([checksum(path) for path in files]).encode()).hexdigest()[:12]
    said = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return Provenance((str(request.true), str(request.predicted)), digest, said, request.random_seed)


def _write_scores(
    folder: Folder, stamp: Provenance, metrics: pd.DataFrame, stats: pd.DataFrame, reasons: Mapping[str, str],
    pairs: Pairs, extractor: Features | None,
) -> None:  # fmt: skip
    from hyper_bids.evaluate.dictionary import metrics_dictionary, stats_dictionary

    entries = described(metrics_dictionary(metrics.columns, reasons), extractor)
    if pairs.pictures is not None:
        for name in ("pairwise_accuracy", "top1"):
            entries[name]["Description"] += (
                f" Here by the correlation of pictures, of their luminance at {PIXELS[0]} x {PIXELS[1]} pixels."
            )
    write_tsv(folder.path("metrics.tsv"), metrics)
    content = stamp.stamp(Description="scores of every stimulus", Notices=pairs.notices, **entries)
    write_json(folder.path("metrics.json"), content)
    write_tsv(folder.path("stats.tsv"), stats)
    entries = described(stats_dictionary(stats.columns), extractor)
    content = stamp.stamp(Description="every metric with its test", **entries)
    write_json(folder.path("stats.json"), content)


def _write_covariates(
    folder: Folder, stamp: Provenance, metrics: pd.DataFrame, labels: pd.DataFrame, pairs: Pairs, seed: int
) -> pd.DataFrame | None:
    """Test accuracy against labels and, of pictures, complexity; None where nothing is known."""
    import pandas as pd

    from hyper_bids.evaluate.covariates import complexity
    from hyper_bids.workflow.stimulus_covariates import CODEC

    known, protocol = labels.copy(), {}
    if pairs.pictures is not None:
        found = [complexity(Images(pairs.pictures[0][label][None], (label,)), CODEC) for label in pairs.stimuli]
        known["complexity"] = pd.Series([int(item.n_bytes[0]) for item in found], dtype=float)
        protocol = {name: value for name, value in found[0].protocol.items() if name != "Size"}
    if len(known.columns) < 2:
        return None
    table = group_covariates.covariate_rows(metrics.assign(participant_id="given"), known, seed)
    if table.empty:
        return None
    write_tsv(folder.path("covariates.tsv"), table)
    content = stamp.stamp(Description="accuracy against what is known of the stimuli", Complexity=protocol,
                          **group_covariates.COLUMNS)  # fmt: skip
    write_json(folder.path("covariates.json"), content)
    return table


def _audits(decoded: Any, stats: pd.DataFrame) -> dict[str, Any]:
    """Ask what can be asked without the training set."""
    from hyper_bids.audit.baselines import chance_level, shuffled_responses
    from hyper_bids.audit.collapse import dimension_collapse
    from hyper_bids.audit.copies import copies
    from hyper_bids.audit.evidence import Evidence
    from hyper_bids.audit.light import not_assessed

    nothing = np.empty((0, decoded.true.shape[1]))
    evidence = Evidence(
        true=decoded.true, predicted=decoded.predicted, training_mean=nothing, nearest=nothing, training=nothing,
        stimuli=decoded.stimuli, stats=stats.to_dict("records"),
    )  # fmt: skip
    return {
        "Copies": copies(decoded.true, decoded.predicted),
        "DimensionCollapse": dimension_collapse(evidence),
        "ShuffledResponses": shuffled_responses(evidence),
        "ChanceLevel": chance_level(evidence),
        "Overlap": not_assessed("the training set was not given; whether these stimuli were in it is not known"),
    }
