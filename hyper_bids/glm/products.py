"""What is kept of a run: sums over its volumes, made in one pass.

A run enters as blocks of volumes, masked, float32. Each block is turned into float64 a tile of
voxels at a time, which stays in the processor's cache while it is multiplied. Sums are float64
until they are sums against orthonormal columns, and what these explain is taken off ``y'y`` in
float64 too. After that they may be rounded to float32: it is as if the data had been.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.glm.columns import RunColumns, run_columns
from hyper_bids.glm.design import RunDesign

TILE = 4096
"""Voxels of a tile."""

STEP = 16
"""Volumes that are multiplied at once with those events' columns that are not 0 in them."""

CONSTANT = 1e-13
"""Share of a voxel's sum of squares below which its variation is rounding: it is constant."""


@dataclass(frozen=True, eq=False)
class CrossProducts:
    """What is kept of a run: enough for every linear model inside the basis.

    With Y the signal minus an offset of each voxel, q_t row t of the basis:

    Parameters
    ----------
    basis : (n_volumes, rank) float64, Q: orthonormal columns
    projected : (rank, n_voxels), ``C = sum_t q_t y_t``
    squares : (n_voxels,) float64, ``sum_t y_t^2``
    residual : (n_voxels,) float64, what the basis leaves of ``squares``
    mean : (n_voxels,) float64, the voxel's mean signal
    valid : (n_voxels,) bool, False where a voxel is NaN, infinite or constant
    lagged : (rank, n_voxels), ``D = sum_t (q_(t-1) + q_(t+1)) y_t``; None unless asked for
    lag_product : (n_voxels,) float64, ``sum_t y_t y_(t+1) - C'D``, as good as float64 although C and D
        be rounded; zeros unless asked for
    last : (n_voxels,) float64, the last volume's y
    """

    basis: np.ndarray
    projected: np.ndarray
    squares: np.ndarray
    residual: np.ndarray
    mean: np.ndarray
    valid: np.ndarray
    lagged: np.ndarray | None
    lag_product: np.ndarray
    last: np.ndarray

    @property
    def n_volumes(self) -> int:
        return len(self.basis)


@dataclass(frozen=True, eq=False)
class _Term:
    """Some volumes of a block times some columns: ``sums[first : first + width] += values' y[volumes]``."""

    volumes: slice
    first: int
    values: np.ndarray

    def add(self, y: np.ndarray, sums: np.ndarray) -> None:
        from scipy.linalg.blas import dgemm

        into = sums[self.first : self.first + self.values.shape[1]]
        dgemm(1.0, y[self.volumes].T, self.values, beta=1.0, c=into.T, overwrite_c=1)


@dataclass(frozen=True, eq=False)
class _Stage:
    """What a block of volumes does to the sums.

    Parameters
    ----------
    n_before : columns under way before, the lasting ones included
    n_open : of these, the events'
    n_new : events' columns that begin in the block
    done : the columns that are over at its end
    terms : products to be added to the sums of the columns from ``done.start`` on
    solve : (n_done, n_done) that makes of the done columns' sums those of the basis
    take_off : (n_left, n_done), the basis in the columns that go on
    """

    n_before: int
    n_open: int
    n_new: int
    done: slice
    terms: list[_Term]
    solve: np.ndarray
    take_off: np.ndarray


class _Schedule:
    """Which columns begin and end in which block; ``width`` rows of sums a column, ``most`` columns under way."""

    def __init__(self, columns: RunColumns, lagged: bool) -> None:
        self.columns, self.width = columns, 2 if lagged else 1
        self.values = columns.values
        if lagged:
            beside = np.zeros_like(columns.values)
            beside[1:] += columns.values[:-1]
            beside[:-1] += columns.values[1:]
            self.values = np.stack([columns.values, beside], axis=2).reshape(len(beside), -1)
        used = self.values[:, : columns.n_events * self.width] != 0
        used = used.reshape(len(used), columns.n_events, self.width).any(axis=2)
        self.begins = used.argmax(axis=0)
        self.ends = np.maximum.accumulate(len(used) - used[::-1].argmax(axis=0)) if used.size else self.begins
        self.begun = self.over = 0
        volumes = np.arange(1, len(used) + 1)
        open_after = np.searchsorted(self.begins, volumes) - np.searchsorted(self.ends, volumes, side="right")
        self.most = int(open_after.max()) + columns.values.shape[1] - columns.n_events

    def stage(self, start: int, stop: int) -> _Stage:
        """Plan the volumes from ``start`` to ``stop``."""
        n_events, rank = self.columns.n_events, self.columns.triangle.shape[1]
        begun = int(np.searchsorted(self.begins, stop))
        over = rank if stop == len(self.values) else int(np.searchsorted(self.ends, stop, side="right"))
        done, rest = slice(self.over, over), slice(over, rank if over == rank else begun)
        triangle = self.columns.triangle
        lasting = triangle[done, rank if over == rank else n_events :]
        found = _Stage(
            n_before=self.begun - self.over + rank - n_events,
            n_open=self.begun - self.over,
            n_new=begun - self.begun,
            done=done,
            terms=self._terms(slice(start, stop), begun),
            solve=np.linalg.inv(triangle[done, done]).T,
            take_off=np.hstack([triangle[done, rest], lasting]).T.copy(),
        )
        self.begun, self.over = begun, over
        return found

    def _terms(self, volumes: slice, begun: int) -> list[_Term]:
        """The products of a block: events a few volumes at a time if that is less, lasting columns at once."""
        first, last = self.over * self.width, begun * self.width
        values, lasting = self.values[volumes, first:last], self.values[volumes, self.columns.n_events * self.width :]
        whole = slice(0, len(values))
        steps = [slice(start, min(start + STEP, len(values))) for start in range(0, len(values), STEP)]
        spans = [(step, *_span(values[step])) for step in steps]
        banded = sum((step.stop - step.start) * (stop - start) for step, start, stop in spans)
        if 2 * banded > values.size:
            spans = [(whole, 0, values.shape[1])]
        terms = [_Term(step, start, np.asfortranarray(values[step, start:stop])) for step, start, stop in spans]
        terms.append(_Term(whole, last - first, np.asfortranarray(lasting)))
        return [term for term in terms if term.values.shape[1]]


def _span(values: np.ndarray) -> tuple[int, int]:
    """First and last + 1 of the columns that are not 0."""
    used = np.flatnonzero(values.any(axis=0))
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)


class _Rooms:
    """Memory for arrays that are needed again and again: fresh memory costs more than what is done in it."""

    def __init__(self) -> None:
        self._rooms: dict[str, np.ndarray] = {}

    def array(self, name: str, n_rows: int, n_columns: int, dtype: type = np.float64) -> np.ndarray:
        """Return an array of any content; it holds until the same name is asked for again."""
        size = n_rows * n_columns
        if name not in self._rooms or len(self._rooms[name]) < size:
            self._rooms[name] = np.empty(size, dtype)
        return self._rooms[name][:size].reshape(n_rows, n_columns)


class _Sums:
    """Accumulates `CrossProducts` block by block; ``chosen`` (n_voxels,): which voxels of a block (None: all)."""

    def __init__(
        self, columns: RunColumns, first: np.ndarray, lagged: bool, dtype: type, chosen: np.ndarray | None = None
    ) -> None:
        self.chosen, first = chosen, first[:STEP]
        if chosen is not None:
            first = np.take(first, chosen, axis=1)  # in C order, where sums over volumes round as those of all do
        n_voxels = first.shape[1]
        # The constant is in every design, so any offset is allowed; one near the mean keeps the sums small.
        # Of a constant voxel it is the constant itself.
        offset = first.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.offset = np.where(np.isfinite(offset), offset, np.float32(0.0))
        self.columns, self.schedule, self.seen = columns, _Schedule(columns, lagged), 0
        rank, width = columns.basis.shape[1], self.schedule.width
        self.tiles = [slice(start, min(start + TILE, n_voxels)) for start in range(0, n_voxels, TILE)]
        self.under_way = np.zeros(width * self.schedule.most * n_voxels)
        self.kept = [np.empty((rank, n_voxels), dtype=dtype) for _ in range(width)]
        self.squares, self.explained = np.zeros(n_voxels), np.zeros(n_voxels)
        self.total, self.lag_product, self.last = np.zeros(n_voxels), np.zeros(n_voxels), np.zeros(n_voxels)
        self.of_constant, self.rooms = columns.basis.sum(axis=0), _Rooms()

    def add(self, block: np.ndarray) -> None:
        """Add consecutive volumes ``(n, n_voxels)``."""
        stage = self.schedule.stage(self.seen, self.seen + len(block))
        for voxels in self.tiles:
            y = self._centred(block, voxels)
            self._add_products(stage, y, voxels)
            self.squares[voxels] += np.einsum("tv,tv->v", y, y)
            if len(self.kept) > 1:
                self.lag_product[voxels] += np.einsum("tv,tv->v", y[:-1], y[1:])
                self.lag_product[voxels] += self.last[voxels] * y[0]
            self.last[voxels] = y[-1]
        self.seen += len(block)

    def _centred(self, block: np.ndarray, voxels: slice) -> np.ndarray:
        """Return the block minus the offset in float64. The difference of two float32 numbers of one
        voxel is exact in float32, or as good as the data."""
        shape = len(block), voxels.stop - voxels.start
        narrow, wide = self.rooms.array("narrow", *shape, np.float32), self.rooms.array("wide", *shape)
        if self.chosen is None:
            np.subtract(block[:, voxels], self.offset[voxels], out=narrow)
        else:
            np.take(block, self.chosen[voxels], axis=1, out=narrow, mode="clip")
            narrow -= self.offset[voxels]
        wide[...] = narrow
        return wide

    def _add_products(self, stage: _Stage, y: np.ndarray, voxels: slice) -> None:
        """Add a block to a tile's sums, and turn those that are done into sums against the basis."""
        width, n = self.schedule.width, y.shape[1]
        before, after = (self._under_way(voxels, rows) for rows in (stage.n_before, len(stage.take_off)))
        n_open, n_rows, n_done = stage.n_open * width, stage.n_before + stage.n_new, len(stage.solve)
        sums = self.rooms.array("sums", n_rows * width, n)
        lasting = n_open + stage.n_new * width
        sums[:n_open], sums[n_open:lasting], sums[lasting:] = before[:n_open], 0.0, before[n_open:]
        for term in stage.terms:
            term.add(y, sums)
        sums = sums.reshape(n_rows, width * n)
        done = np.matmul(stage.solve, sums[:n_done], out=self.rooms.array("done", n_done, width * n))
        taken_off = np.matmul(stage.take_off, done, out=self.rooms.array("off", n_rows - n_done, width * n))
        np.subtract(sums[n_done:], taken_off, out=after.reshape(n_rows - n_done, width * n))
        self._keep(stage.done, voxels, *done.reshape(n_done, width, n).transpose(1, 0, 2))

    def _under_way(self, voxels: slice, n_columns: int) -> np.ndarray:
        """A tile's sums against the columns that are not over."""
        most = self.schedule.most * self.schedule.width
        rows = n_columns * self.schedule.width
        n = voxels.stop - voxels.start
        return self.under_way[most * voxels.start :][: rows * n].reshape(rows, n)

    def _keep(self, rows: slice, voxels: slice, projected: np.ndarray, lagged: np.ndarray | None = None) -> None:
        """Take over sums against columns of the basis."""
        self.kept[0][rows, voxels] = projected
        self.explained[voxels] += np.einsum("pv,pv->v", projected, projected)
        self.total[voxels] += self.of_constant[rows] @ projected
        if lagged is not None:
            self.kept[1][rows, voxels] = lagged
            # C'D of the rounded C and the exact D: the residuals' product at lag one is stationary in C.
            projected[...] = self.kept[0][rows, voxels]
            self.lag_product[voxels] -= np.einsum("pv,pv->v", projected, lagged)

    def finished(self) -> CrossProducts:
        """Return what was summed."""
        variation = self.squares - self.total**2 / self.seen
        valid = np.isfinite(variation) & (variation > CONSTANT * self.squares)
        projected, *lagged = self.kept
        return CrossProducts(
            self.columns.basis,
            projected,
            self.squares,
            self.squares - self.explained,
            self.offset + self.total / self.seen,
            valid,
            lagged[0] if lagged else None,
            self.lag_product,
            self.last,
        )


def accumulate(
    blocks: Iterable[np.ndarray],
    design: RunDesign,
    label: str = "run",
    noise_model: str = "ols",
    dtype: type = np.float64,
) -> CrossProducts:
    """Read a run once.

    Parameters
    ----------
    blocks : arrays (n_block, n_voxels) float32, consecutive volumes of the masked run; each is used up
        before the next is asked for
    design : its design; dummy scans are already left out of both
    label : for messages
    noise_model : ``ols``, or ``ar1``, which keeps the products at a lag of one too
    dtype : of the sums that are kept; float32 takes half the memory and is enough for `hyper_bids.glm.fit`

    Raises
    ------
    InconsistentInput
        The number of volumes is not the design's.
    """
    return _read(blocks, [None], design, label, noise_model, dtype)[0]


def accumulate_apart(
    blocks: Iterable[np.ndarray],
    parts: Sequence[np.ndarray],
    design: RunDesign,
    label: str = "run",
    noise_model: str = "ols",
    dtype: type = np.float64,
) -> list[CrossProducts]:
    """Read a run once, for several sets of voxels apart: what one gives does not depend on the others, to the last bit.

    Parameters
    ----------
    parts : each (n_part,) int, columns of the blocks
    blocks, design, label, noise_model, dtype, and what is raised : as for `accumulate`
    """
    return _read(blocks, parts, design, label, noise_model, dtype)


def _read(
    blocks: Iterable[np.ndarray], parts: Sequence[np.ndarray | None], design: RunDesign, label: str, noise_model: str,
    dtype: type,
) -> list[CrossProducts]:  # fmt: skip
    columns = run_columns(design)
    needed, seen, sums = len(columns.values), 0, []
    with np.errstate(invalid="ignore", over="ignore"):
        for block in blocks:
            sums = sums or [_Sums(columns, block, noise_model == "ar1", dtype, chosen) for chosen in parts]
            seen += len(block)
            if seen > needed:
                raise InconsistentInput(_wrong_length(label, f"more than {needed}", needed))
            for each in sums:
                each.add(block)
        if not sums or seen != needed:
            raise InconsistentInput(_wrong_length(label, str(seen), needed))
        return [each.finished() for each in sums]


def _wrong_length(label: str, found: str, needed: int) -> str:
    return (
        f"{label}: {found} volumes were read but the design has {needed} rows; "
        "check dummy scans or pass --dummy-scans N."
    )
