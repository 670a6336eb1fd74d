"""Checkpoints: a resumed training is the uninterrupted one; others, and damaged files, are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from training_runs import DAND, SIZE, VAEGAN, K, canonical, model_of, pictures_of, single_thread, training

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate.training.checkpoints import load_checkpoint, save_checkpoint
from hyper_bids.generate.training.interruption import Interrupted
from hyper_bids.generate.training.settings import settings_of


@pytest.fixture(autouse=True)
def one_thread():
    with single_thread():
        yield


def stop_after(n: int):
    """Return a function that asks for an end when it is called for the n-th time."""
    calls = iter(range(1, 10_000))

    def stop() -> None:
        if next(calls) == n:
            raise Interrupted(15)

    return stop


@pytest.mark.parametrize("settings", [DAND, VAEGAN], ids=["dand", "vaegan"])
@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path, settings, after):
    whole = training(settings, tmp_path / "whole")
    whole.run()
    interrupted = training(settings, tmp_path / "part", stop=stop_after(after))
    with pytest.raises(Interrupted):
        interrupted.run()
    lines: list[str] = []
    again = training(settings, tmp_path / "part", say=lines.append)
    assert again.resume(required=True) and "going on" in lines[0]
    assert (again.progress.epoch, again.progress.step) == divmod(after - 1, 4)
    again.run()
    for name, array in canonical(whole).items():
        np.testing.assert_array_equal(canonical(again)[name], array, err_msg=name)
    for name in ("losses.tsv", "sheets/epoch-0003.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()


def test_more_epochs_go_on_with_the_same_training(tmp_path):
    longer = settings_of("dand", size=SIZE, width=3, n_latents=K, epochs=4, batch_size=5, held_out=4)
    training(DAND, tmp_path).run()
    on = training(longer, tmp_path)
    on.resume()
    on.run()
    whole = training(longer, tmp_path / "whole")
    whole.run()
    assert all(np.array_equal(canonical(on)[name], array) for name, array in canonical(whole).items())


def test_fewer_epochs_than_the_checkpoint_has_are_spoken_of(tmp_path):
    training(DAND, tmp_path).run()
    for epochs, told in ((1, True), (3, False)):
        lines: list[str] = []
        fewer = settings_of("dand", size=SIZE, width=3, n_latents=K, epochs=epochs, batch_size=5, held_out=4)
        training(fewer, tmp_path, say=lines.append).resume()
        assert any("--epochs 1: the checkpoint is 3 epochs on" in line for line in lines) == told


def test_a_seed_is_another_training(tmp_path):
    other = settings_of("dand", size=SIZE, width=3, n_latents=K, epochs=3, batch_size=5, held_out=4, seed=1)
    one, two = training(DAND, tmp_path / "one"), training(other, tmp_path / "two")
    assert not np.array_equal(canonical(one)["generator.layer2.weight"], canonical(two)["generator.layer2.weight"])


def test_a_checkpoint_of_another_training_is_refused_with_words(tmp_path):
    with pytest.raises(MissingFiles, match="no checkpoint"):
        training(DAND, tmp_path).resume(required=True)
    training(DAND, tmp_path).save()
    other = settings_of("dand", size=SIZE, width=3, n_latents=K, batch_size=6, held_out=4, learning_rate=0.01)
    with pytest.raises(InconsistentInput, match=r"--batch-size was 5, now 6; --learning-rate was 0.001, now 0.01"):
        training(other, tmp_path).resume()
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(InconsistentInput, match="other pictures"):
        load_checkpoint(path, DAND.identity() | {"pictures": "b"})
    content = path.read_bytes()
    for damaged in (content[:-200], content[: len(content) // 2], b"no checkpoint", b""):
        path.write_bytes(damaged)
        with pytest.raises(MissingFiles, match="--restart"):
            training(DAND, tmp_path).resume()


class Marked:
    """Would leave a mark if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path):
    path = save_checkpoint(tmp_path / "checkpoint.pt", {"identity": Marked(tmp_path / "mark")})
    with pytest.raises(MissingFiles, match="no whole checkpoint"):
        load_checkpoint(path, {})
    assert not (tmp_path / "mark").exists()


def test_a_loss_that_is_not_finite_stops_with_words(tmp_path):
    pictures = pictures_of()
    steps = iter(range(100))
    broken = model_of(DAND, pictures, lambda images: images * (math.nan if next(steps) > 9 else 1))
    one = training(DAND, tmp_path, pictures=pictures, model=broken)
    with pytest.raises(UsageError, match=r"generator loss is nan in epoch 2, step 2.*--learning-rate.*checkpoint\.pt"):
        one.run()
    assert load_checkpoint(one.checkpoint, DAND.identity())["progress"]["epoch"] == 1
