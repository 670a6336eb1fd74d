"""Epochs, batches, progress and checkpoints of any training; what a step does is the model's.

Nothing is drawn from a running stream: the order of an epoch and the noise of a step are children of the seed, named
by epoch and step. A checkpoint then needs no random state, and a resumed run is the uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hyper_bids.errors import MissingFiles, UsageError
from hyper_bids.generate.training.checkpoints import load_checkpoint, save_checkpoint
from hyper_bids.generate.training.image_folder import Pictures, split, to_uint8
from hyper_bids.generate.training.interruption import Interrupted
from hyper_bids.generate.training.precision import deterministic
from hyper_bids.generate.training.settings import TrainingSettings
from hyper_bids.generate.training.sheets import pixel_correlation, write_sheet, write_table
from hyper_bids.seeds import child_seed, generator
from hyper_bids.weights.canonical import Weights

SAY_EVERY = 15.0
SAVE_EVERY = 600.0
"""Seconds."""


class Model(Protocol):
    """What is trained: `DANDTraining`, `VAEGANTraining`."""

    terms: tuple[str, ...]
    device: str

    def step(self, rows: np.ndarray, images: Any, noise_seed: int) -> dict[str, Any]: ...
    def reconstruct(self, rows: np.ndarray, images: Any) -> Any: ...
    def weights(self, notes: tuple[str, ...]) -> Weights: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


@dataclass
class Progress:
    """Where a training stands: the next step is ``step`` of ``epoch``, both from 0."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] | None = None
    history: list[dict[str, float]] | None = None

    def __post_init__(self) -> None:
        self.sums = dict(self.sums or {})
        self.history = list(self.history or [])


class Training:
    """A model, its pictures and its folder.

    Parameters
    ----------
    folder : Path
        For ``checkpoint.pt``, ``losses.tsv`` and ``sheets/``.
    identity : mapping
        What a checkpoint must agree in.
    say : function of a line
    stop : function that raises `Interrupted` where somebody asked for an end
    """

    def __init__(
        self,
        model: Model,
        pictures: Pictures,
        settings: TrainingSettings,
        folder: Path,
        identity: dict[str, Any],
        *,
        say: Callable[[str], None] = lambda line: None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.model, self.pictures, self.settings = model, pictures, settings
        self.folder, self.identity = Path(folder), identity
        self.say, self.stop = say, stop
        self.rows, self.held_out = split(len(pictures), settings.held_out, settings.seed)
        self.progress = Progress()
        self._took: list[float] = []

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def resume(self, required: bool = False) -> bool:
        """Go on from the folder's checkpoint; return whether there was one.

        Raises
        ------
        MissingFiles
            It is damaged, or there is none and one is ``required``.
        InconsistentInput
            It is another training's.
        """
        if not self.checkpoint.is_file():
            if required:
                raise MissingFiles(f"--resume: there is no checkpoint {self.checkpoint}. Leave --resume out.")
            return False
        content = load_checkpoint(self.checkpoint, self.identity)
        self.model.restore(content["model"])
        self.progress = Progress(**content["progress"])
        self.say(f"going on from {self.checkpoint}: epoch {self.progress.epoch + 1}, step {self.progress.step}")
        where = self.progress
        if (where.epoch, where.step) > (self.settings.epochs, 0):
            more = f" and {where.step} steps" if where.step else ""
            self.say(
                f"--epochs {self.settings.epochs}: the checkpoint is {where.epoch} epochs{more} on, and these are the "
                "weights that are written. For fewer, start anew with --restart, or with another --out."
            )
        return True

    def run(self) -> None:
        """Train until the last epoch is over.

        Raises
        ------
        Interrupted
            Somebody asked for an end; a checkpoint was written.
        UsageError
            A loss is not finite any more.
        OutputNotWritable
        """
        with deterministic(self.model.device):
            while self.progress.epoch < self.settings.epochs:
                self._epoch()
                self._end_epoch()

    def save(self) -> None:
        """Write the checkpoint."""
        progress = {name: getattr(self.progress, name) for name in ("epoch", "step", "sums", "history")}
        save_checkpoint(self.checkpoint, {"identity": self.identity, "progress": progress, "model": self.model.state()})

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the rows of each step of an epoch; all rows come, but for a last batch that is not full."""
        order = generator(self.settings.seed, "order", epoch).permutation(self.rows)
        size = min(self.settings.batch_size, len(order))
        return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]

    def _epoch(self) -> None:
        batches = self.batches(self.progress.epoch)
        said, saved = time.monotonic(), time.monotonic()
        while self.progress.step < len(batches):
            self._between_steps()
            began = time.monotonic()
            self._step(batches[self.progress.step])
            self._took = [*self._took[-99:], time.monotonic() - began]
            if time.monotonic() - said > SAY_EVERY:
                self._say_where(len(batches))
                said = time.monotonic()
            if time.monotonic() - saved > SAVE_EVERY:
                self.save()
                saved = time.monotonic()

    def _between_steps(self) -> None:
        try:
            self.stop()
        except Interrupted:
            self.save()
            raise

    def _step(self, rows: np.ndarray) -> None:
        where = self.progress
        noise = child_seed(self.settings.seed, "noise", where.epoch, where.step)
        losses = {name: float(value) for name, value in self.model.step(rows, self.images(rows), noise).items()}
        wrong = [name for name, value in losses.items() if not math.isfinite(value)]
        if wrong:
            kept = f"The checkpoint before it is {self.checkpoint}." if self.checkpoint.is_file() else ""
            raise UsageError(
                f"The {wrong[0]} loss is {losses[wrong[0]]} in epoch {where.epoch + 1}, step {where.step + 1}: the "
                f"training has diverged. Lower --learning-rate (now {self.settings.learning_rate:g})"
                f"{'' if self.settings.precision == 'float32' else ', or use --precision float32'}. {kept}".rstrip()
            )
        for name, value in losses.items():
            where.sums[name] = where.sums.get(name, 0.0) + value
        where.step += 1

    def images(self, rows: np.ndarray) -> Any:
        """Return pictures as a float32 tensor ``(n, 3, size, size)``, 0 to 255, on the model's device."""
        import torch

        pixels = torch.from_numpy(np.array(self.pictures.pixels[rows]))
        return pixels.to(self.model.device).permute(0, 3, 1, 2).float().contiguous()

    def reconstructions(self, rows: np.ndarray) -> np.ndarray:
        """Return reconstructions ``(n, size, size, 3)`` uint8 of pictures."""
        size = self.settings.batch_size
        parts = (rows[start : start + size] for start in range(0, len(rows), size))
        made = [self.model.reconstruct(part, self.images(part)).permute(0, 2, 3, 1).cpu().numpy() for part in parts]
        return to_uint8(np.concatenate(made))

    def _end_epoch(self) -> None:
        where, n_steps = self.progress, self.progress.step
        originals, made = np.array(self.pictures.pixels[self.held_out]), self.reconstructions(self.held_out)
        row = {"epoch": where.epoch + 1} | {name: where.sums[name] / n_steps for name in self.model.terms}
        row["held_out_correlation"] = float(pixel_correlation(originals, made).mean())
        row["held_out_rmse"] = float(np.sqrt(np.square(originals.astype(float) - made).mean()))
        where.history.append(row)
        where.epoch, where.step, where.sums = where.epoch + 1, 0, {}
        write_sheet(self.folder / "sheets" / f"epoch-{where.epoch:04d}.png", originals, made)
        write_table(self.folder / "losses.tsv", where.history)
        self.save()
        shown = "  ".join(f"{name} {row[name]:.4g}" for name in (*self.model.terms, "held_out_correlation"))
        self.say(f"epoch {where.epoch}/{self.settings.epochs} done  {shown}{self._left(0, n_steps)}")

    def _say_where(self, n_steps: int) -> None:
        where = self.progress
        shown = "  ".join(f"{name} {where.sums[name] / where.step:.4g}" for name in self.model.terms)
        self.say(
            f"epoch {where.epoch + 1}/{self.settings.epochs} step {where.step}/{n_steps}  {shown}"
            f"{self._left(where.step, n_steps)}"
        )

    def _left(self, step: int, n_steps: int) -> str:
        """Return the time left in words, from the last steps' mean."""
        steps = (self.settings.epochs - self.progress.epoch) * n_steps - step
        return f"  {in_words(steps * sum(self._took) / len(self._took))} left" if self._took and steps else ""


def in_words(seconds: float) -> str:
    """Return a duration for people.

    >>> in_words(4), in_words(200), in_words(7300)
    ('4 s', '3 min 20 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
