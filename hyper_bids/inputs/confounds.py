"""Confounds of one run: fMRIPrep's table and a strategy's name to regressors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import count
from hyper_bids.inputs.confound_strategies import (
    COSINES,
    MOTION6,
    STRATEGIES,
    StrategyOptions,
    parse_strategy,
    spikes,
)
from hyper_bids.inputs.confound_table import ConfoundTable, read_table, sidecar

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MOTION6",
    "STRATEGIES",
    "Confounds",
    "non_steady_state_volumes",
    "parse_strategy",
    "read_confounds",
    "sidecar",
    "spike_regressors",
]


@dataclass(frozen=True)
class Confounds:
    """Nuisance regressors of one run, before any volume is dropped.

    Attributes
    ----------
    table : DataFrame (n_volumes, n_confounds) float64; n_confounds may be 0
    has_cosines : whether it holds fMRIPrep's cosines, so that no other drift model is needed
    non_steady_state : how many leading volumes fMRIPrep flags as not yet in steady state
    scrubbed : (n_scrubbed,) int, volumes with too large a framewise displacement, from 0
    notices : what the user should know
    """

    table: pd.DataFrame
    has_cosines: bool
    non_steady_state: int
    scrubbed: np.ndarray
    notices: tuple[str, ...]

    def with_non_steady_state_regressed(self) -> Confounds:
        """Return these with a spike for each leading non-steady-state volume that has none yet."""
        import pandas as pd

        both = {str(name): self.table[name].to_numpy() for name in self.table}
        more = _merged([both, spikes(range(self.non_steady_state), len(self.table))])
        return replace(self, table=pd.DataFrame(more, index=self.table.index, dtype=float))


def read_confounds(
    path: Path,
    strategy: str,
    n_volumes: int,
    *,
    n_acompcor: int = 5,
    fd_threshold: float = 0.5,
    columns: Sequence[str] = (),
) -> Confounds | None:
    """Read the regressors of a strategy from a table of fMRIPrep (1.0 to 25).

    Parameters
    ----------
    path : TSV with one row a volume; its JSON, where there is one, lies beside it
    strategy : names of `STRATEGIES` joined by ``+``, as in ``motion24+acompcor``
    n_volumes : rows that the table must have
    n_acompcor : components for ``acompcor``
    fd_threshold : for ``scrub``: framewise displacement above which a volume gets a spike (mm)
    columns : for ``columns``: names of columns with shell wildcards

    Returns
    -------
    Confounds under the names that fMRIPrep uses since 1.2, each column once and at most one
    spike a volume; or None for ``none``. Columns that never change are left in.

    Raises
    ------
    UsageError
        The strategy or its options do not exist or do not fit.
    MissingFiles
        The table or its JSON cannot be read.
    InconsistentInput
        Wrong number of rows, missing columns, missing or infinite values, or no numbers.
    """
    import pandas as pd

    names = parse_strategy(strategy, columns)
    options = StrategyOptions(n_acompcor, fd_threshold, tuple(columns))
    if names == ("none",):
        return None
    table = read_table(path, n_volumes)
    chosen = [STRATEGIES[name](table, options) for name in names]
    merged = _merged([part.columns for part in chosen])
    leading, remarks = _non_steady_state(table)
    cosines = table.series(COSINES)
    missed = [name for name in cosines if name not in merged]
    if 0 < len(missed) < len(cosines):
        remarks.append(f"The confounds hold {len(cosines) - len(missed)} of the table's {len(cosines)} cosines.")
    return Confounds(
        table=pd.DataFrame(merged, index=range(n_volumes), dtype=float),
        has_cosines=len(missed) < len(cosines),
        non_steady_state=leading,
        scrubbed=np.array([volume for part in chosen for volume in part.scrubbed], dtype=int),
        notices=(*(notice for part in chosen for notice in part.notices), *remarks),
    )


def non_steady_state_volumes(path: Path, n_volumes: int) -> int:
    """Return how many leading volumes a table flags as not in steady state (also of use without confounds).

    Raises
    ------
    MissingFiles, InconsistentInput
        As in `read_confounds`.
    """
    return _non_steady_state(read_table(path, n_volumes))[0]


def spike_regressors(volumes: Sequence[int], n_volumes: int) -> pd.DataFrame:
    """Return ``(n_volumes, len(volumes))``: a column a volume (from 0), 1 there and 0 elsewhere."""
    import pandas as pd

    return pd.DataFrame(spikes(volumes, n_volumes), index=range(n_volumes), dtype=float)


def _non_steady_state(table: ConfoundTable) -> tuple[int, list[str]]:
    """Number of leading flagged volumes, and a notice about flags further on."""
    flagged = np.zeros(len(table), dtype=bool)
    for name in table.series("non_steady_state_outlier"):
        flagged |= table.column(name) != 0
    leading = len(table) if flagged.all() else int(np.argmin(flagged))
    stray = int(flagged[leading:].sum())
    if not stray:
        return leading, []
    flagged = f"{count(stray, 'volume')} {'is' if stray == 1 else 'are'} flagged as not in steady state"
    return leading, [f"{flagged} after the start of the run; not treated."]


def _merged(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """All columns, each name once, and one spike a volume whatever its name."""
    merged: dict[str, np.ndarray] = {}
    spiked: set[int] = set()
    for name, values in (item for part in parts for item in part.items()):
        where = np.flatnonzero(values)
        if len(where) == 1:
            if where[0] in spiked:
                continue
            spiked.add(int(where[0]))
        merged[name] = values
    return merged
