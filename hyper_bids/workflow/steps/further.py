"""Tables beside metrics and stats: further tests, single latents, attributes, covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hyper_bids.derivatives.names import Scope
from hyper_bids.derivatives.sidecars import Provenance, column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_tsv

if TYPE_CHECKING:
    from hyper_bids.evaluate.decoded import Decoded
    from hyper_bids.evaluate.further_refits import FurtherDraws

GROUPS = (2, 10)
"""Numbers of different labels that make a column of stimuli.tsv a grouping of the stimuli."""

_P = {
    "p_value": column("p", "of the test that p_method names"),
    "p_method": column("Method of p", "test, or why there is none"),
    "n": column("n", "how many of the unit"),
    "unit": column("Unit", "what was exchanged or counted: never the pair"),
    "n_permutations": column("Number of permutations", "random ones; 0 where the null is exact"),
    "statistic": column("Statistic", "that was tested"),
}
_CORRECTED = {
    "p_fdr": column("p, false discovery rate", "Benjamini and Hochberg over all rows"),
    "p_max": column("p, family-wise", "by the maximum statistic over all rows"),
    "p_bonferroni": column("p, Bonferroni", "times the number of rows"),
}


class Further:
    """Writes the further tables of one decoder into its tree."""

    def __init__(
        self, tree: Tree, where: Scope, names: Mapping[str, str], stamp: Provenance, *,
        null: FurtherDraws | None, n_permutations: int, seed: int,
    ) -> None:  # fmt: skip
        self.tree, self.where, self.names, self.stamp = tree, where, dict(names), stamp
        self.null, self.n_permutations, self.seed = null, n_permutations, seed

    def write(self, suffix: str, table: pd.DataFrame, text: str, columns: Mapping[str, Any], **facts: Any) -> None:
        """Write a table and its JSON, in which ``columns`` describe it and ``facts`` say more."""
        write_tsv(self.tree.path(self.where.name(suffix, ".tsv", **self.names)), table)
        described = {name: columns[name] for name in table.columns if name in columns}
        content = self.stamp.stamp(Description=text, **facts, **described)
        write_json(self.tree.path(self.where.name(suffix, ".json", **self.names)), content)

    def tests(self, decoded: Decoded, stimuli: pd.DataFrame, references: Mapping[str, Any]) -> None:
        """Exact nulls, k-way identification, groups of stimuli, hard foils, HYPER's random latents."""
        from hyper_bids.evaluate.further_tests import further_tests

        table = further_tests(
            decoded,
            labels=groups_of(stimuli, decoded.candidates),
            distribution=references["distribution"],
            training_latents=references["training_latents"],
            null=self.null,
            n_permutations=self.n_permutations,
            seed=self.seed,
        )
        columns = {
            "test": column("Test", "what is tested, and how"),
            "mean": column("Mean", "over stimuli"),
            "chance": column("Chance", "expected without any information"),
            **_P,
        }
        self.write("furtherstats", table, "tests beside those of stats.tsv", columns)

    def latents(self, decoded: Decoded) -> None:
        """Which single latents are decoded."""
        from hyper_bids.evaluate.further_tests import latent_table

        columns = {
            "name": column("Latent", "dimension of the latent space"),
            "r": column("r", "Pearson correlation of true and decoded values over test stimuli"),
            **_P,
            **_CORRECTED,
        }
        table = latent_table(decoded, null=self.null, n_permutations=self.n_permutations, seed=self.seed)
        self.write("latentstats", table, "every latent by itself", columns)

    def attributes(self, decoded: Decoded, directions: Mapping[str, np.ndarray]) -> None:
        """Attributes with their corrections, and given each other."""
        from hyper_bids.evaluate.attribute_tests import attribute_table, refitted_attribute_table

        if not directions or (decoded.cross_validated and self.null is None):
            return
        true, predicted = decoded.candidate_values[: len(decoded.tested)], means_of(decoded)
        if decoded.cross_validated:
            tables = {"raw": refitted_attribute_table(true, predicted, directions, self.null)}
        else:
            tables = {
                "raw": attribute_table(true, predicted, directions),
                "unit length": attribute_table(true, predicted, directions, unit_length=True),
            }
        table = pd.concat([found.assign(scaling=scaling) for scaling, found in tables.items()], ignore_index=True)
        columns = {
            "attribute": column("Attribute", "direction that the latents are projected on"),
            "r": column("r", "Pearson correlation of true and predicted scores over test stimuli"),
            "partial_r": column("Partial r", "given the true scores of the other attributes"),
            "partial_p": column("p of the partial r", "two-sided t test"),
            "scaling": column("Scaling", "latents as they are, or brought to the length sqrt(number of latents)"),
            **_P,
            **_CORRECTED,
        }
        self.write("attributestats", table, "attributes, corrected over them and given each other", columns)

    def closed_form(self, decoded: Decoded, directions: np.ndarray, eigenvalues: np.ndarray) -> None:
        """All directions that the generator's first layer gives (SeFa); a fixed split only."""
        from hyper_bids.evaluate.direction_tests import closed_form_table

        if decoded.cross_validated:
            return
        table = closed_form_table(decoded.true, decoded.predicted, directions, eigenvalues)
        columns = {
            "direction": column("Direction", "eigenvector of A A', A the first layer; the strongest first"),
            "eigenvalue": column("Eigenvalue", "of A A' with columns of A scaled to unit length"),
            "r": column("r", "Pearson correlation of true and predicted scores over test stimuli"),
            **_P,
            **_CORRECTED,
        }
        self.write("closedformstats", table, "the generator's directions in closed form", columns)

    def classes(
        self, decoded: Decoded, stimuli: pd.DataFrame, trained: Sequence[str], training: np.ndarray
    ) -> None:  # fmt: skip
        """Classes of stimuli.tsv by the sign of a projection (VAE-GAN's gender); a fixed split only."""
        from hyper_bids.evaluate.direction_tests import class_table

        if decoded.cross_validated:
            return
        table = stimuli.set_index("stimulus_id").drop(columns=["filename", "mask_file"], errors="ignore")
        here, there = table.reindex(list(decoded.tested)), table.reindex(list(trained))
        found = class_table(
            decoded.true, means_of(decoded), {name: here[name].tolist() for name in table},
            training, {name: there[name].tolist() for name in table},
            n_permutations=self.n_permutations, seed=self.seed,
        )  # fmt: skip
        if found.empty:
            return
        columns = {
            "label": column("Label", "column of stimuli.tsv with two classes"),
            "positive": column("Positive class", "the class that the direction points to"),
            "border": column("Border", "0, or the middle between the classes' training means"),
            "accuracy": column("Accuracy", "share of test stimuli on their class's side, by decoded latents"),
            "accuracy_true": column("Ceiling", "the same by true latents"),
            **_P,
        }
        self.write("classstats", found, "classes by the side of the border that a latent lies on", columns)

    def spaces(self, decoded: Decoded, others: Mapping[str, np.ndarray]) -> None:
        """Which stimuli lie near each other, decoded, true and in other latent spaces; a fixed split only."""
        from hyper_bids.evaluate.direction_tests import space_table

        if decoded.cross_validated:
            return
        place = {label: row for row, label in enumerate(np.asarray(others.get("stimuli", [])).tolist())}
        rows = [place[label] for label in decoded.tested] if place else []
        values = {name.removeprefix("of_"): array[rows] for name, array in others.items() if name != "stimuli"}
        table = space_table(decoded.true, means_of(decoded), values, n_permutations=self.n_permutations,
                            seed=self.seed)  # fmt: skip
        columns = {
            "first": column("First", "whose distances between stimuli are compared"),
            "second": column("Second", "with those of which"),
            "r": column("r", "Pearson correlation of the two stimulus x stimulus correlation-distance matrices"),
            **_P,
        }
        self.write("spacestats", table, "similarity of latent spaces, by a Mantel test", columns)

    def covariates(self, tested: tuple[str, ...], stimuli: pd.DataFrame, paths: Mapping[str, str]) -> None:
        """What is known of the test stimuli: their columns of stimuli.tsv, and complexity; for the group."""
        from hyper_bids.workflow.stimulus_covariates import stimulus_covariates

        table, protocol = stimulus_covariates(tested, stimuli, paths)
        if len(table.columns) < 2:
            return
        columns = {name: column(name, "column of stimuli.tsv") for name in table.columns}
        columns["stimulus_id"] = column("Stimulus", "test stimulus")
        if protocol:
            said = f"size of the picture as {protocol['Codec']} ({protocol['Encoder']})"
            columns["complexity"] = column("Complexity", said, "bytes")
        text = "what is known of the test stimuli; the group correlates it with accuracy"
        self.write("stimuluscovariates", table, text, columns, Complexity=dict(protocol))


def means_of(decoded: Decoded) -> np.ndarray:
    """Mean prediction of every tested stimulus over its rows: ``(n_tested, n_latents)``."""
    total = np.zeros((len(decoded.tested), decoded.predicted.shape[1]))
    np.add.at(total, decoded.row_stimulus, decoded.predicted)
    return total / np.bincount(decoded.row_stimulus)[:, None]


def groups_of(stimuli: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, list[Any]]:
    """Columns of stimuli.tsv that sort the candidates into groups: 2 to 10 different labels, some of them shared.

    A stimulus without a label (n/a), or alone with its own, has no foils of its group; the others keep theirs.
    """
    table = stimuli.set_index("stimulus_id").drop(columns=["filename", "mask_file"], errors="ignore")
    table = table.reindex(list(labels))
    found = {}
    for name in table.columns:
        counts = table[name].value_counts()
        if GROUPS[0] <= len(counts) <= GROUPS[1] and counts.max() > 1:
            found[name] = table[name].tolist()
    return found
