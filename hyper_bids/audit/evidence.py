"""What the audits look at: predictions, training latents, and what is known of the design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Evidence:
    """One decoder's test rows and all that could make them look better than they are.

    Parameters
    ----------
    true, predicted : (n_rows, n_latents) of the test rows
    training_mean : (n_rows, n_latents) mean training latent of the row's fold
    nearest : (n_rows, n_latents) the fold's training latent nearest to the prediction
    training : (n_stimuli, n_latents) distinct training latents (cross-validated: of all folds)
    stimuli : n_rows labels
    folds : n_rows labels, empty where the split is fixed
    shared_stimuli : stimuli that are in the training and the test set
    same_content : sentences on pictures that are the same under two names; None where none could be compared
    alone_difference : largest change of a prediction when its trial is predicted alone
    constant_latents : latents that do not vary over a fold's training trials
    null_notices : what limits the null distribution
    null_remarks : how it was made where that is not as always
    stats : rows of stats.tsv: ``metric  mean  chance  null_mean  null_sd  p_value  p_method  ceiling``
    nuisances : name -> (n_rows, q) what the design or the head did while the row's trials were recorded
    nuisances_missing : name -> why it is not there
    tuning : what was chosen, and on which data: see `tuning.tuning`; None where it is not known
    rank_curve : ``Ranks`` and, at each, means over stimuli, or ``Refusal``: why there are none; see
        `bottleneck.bottleneck`. None where the decoder was not fitted here to single trials
    controls : control -> how well its signal identifies the latents: see `controls.controls`
    controls_missing : control -> why it is not there
    normal_prior : whether the latent space is declared standard normal
    seed : root seed of permutations
    """

    true: np.ndarray
    predicted: np.ndarray
    training_mean: np.ndarray
    nearest: np.ndarray
    training: np.ndarray
    stimuli: Sequence[str]
    folds: Sequence[str] = ()
    shared_stimuli: Sequence[str] = ()
    same_content: Sequence[str] | None = None
    alone_difference: float = 0.0
    constant_latents: Sequence[int] = ()
    null_notices: Sequence[str] = ()
    null_remarks: Sequence[str] = ()
    stats: Sequence[Mapping[str, Any]] = ()
    nuisances: Mapping[str, np.ndarray] = field(default_factory=dict)
    nuisances_missing: Mapping[str, str] = field(default_factory=dict)
    tuning: Mapping[str, Any] | None = None
    rank_curve: Mapping[str, Any] | None = None
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    controls_missing: Mapping[str, str] = field(default_factory=dict)
    normal_prior: bool = False
    seed: int = 0

    @property
    def cross_validated(self) -> bool:
        """Whether rows belong to folds."""
        return len(self.folds) > 0

    @cached_property
    def unseen(self) -> np.ndarray:
        """(n_rows,) whether the row's stimulus was in no training set that its decoder saw.

        A stimulus that is tested in several folds is in the training set of each of them.
        """
        if not self.cross_validated:
            shared = set(self.shared_stimuli)
            return np.array([label not in shared for label in self.stimuli], dtype=bool)
        folds_of: dict[str, set[str]] = {}
        for label, fold in zip(self.stimuli, self.folds, strict=True):
            folds_of.setdefault(label, set()).add(fold)
        return np.array([len(folds_of[label]) == 1 for label in self.stimuli], dtype=bool)

    @cached_property
    def groups(self) -> list[list[str]]:
        """Sets of stimuli that never share a fold with one another, each sorted; one set where all are connected.

        Of interest where a stimulus is tested in several folds (runs, sessions); else every fold is its own set.
        """
        together: list[set[str]] = []
        shown: dict[str, set[str]] = {}
        for label, fold in zip(self.stimuli, self.folds, strict=True):
            shown.setdefault(fold, set()).add(label)
        for members in shown.values():
            touching = [group for group in together if group & members]
            together = [group for group in together if not group & members]
            together.append(members.union(*touching))
        return sorted((sorted(group) for group in together), key=lambda group: (-len(group), group))

    @cached_property
    def statistics(self) -> dict[str, Mapping[str, Any]]:
        """Metric -> its row of stats.tsv."""
        return {str(row["metric"]): row for row in self.stats}
