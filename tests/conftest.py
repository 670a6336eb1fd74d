"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 600


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture
def ends() -> Iterator[None]:
    """Fail a test that never ends. No bound on speed: what it guards takes seconds on the slowest machine."""

    def give_up(*_: object) -> None:
        pytest.fail(f"not ended after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real test data, or a visible skip where it is not there."""
    folder = Path(os.environ.get("HYPER_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"test data not found at {folder}; set HYPER_TEST_DATA")
    return folder
