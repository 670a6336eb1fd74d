"""Which devices are taken, with and without CUDA: the machine that the tests run on does not matter."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from hyper_bids.devices import checked_device
from hyper_bids.errors import UsageError


@pytest.fixture
def cuda(monkeypatch):
    """Let PyTorch find so many CUDA devices."""

    def found(n: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)

    return found


def test_auto_is_cuda_where_there_is_one(cuda):
    cuda(0)
    assert checked_device("auto") == "cpu" == checked_device("cpu")
    cuda(2)
    assert checked_device("auto") == "cuda"
    assert [checked_device(device) for device in ("cpu", "cuda", "cuda:0", "cuda:1")] == [
        "cpu",
        "cuda",
        "cuda:0",
        "cuda:1",
    ]


@pytest.mark.parametrize(
    ("n", "device", "says"),
    [
        (0, "cuda", "finds no CUDA device"),
        (0, "cuda:1", "finds no CUDA device"),
        (2, "cuda:2", "finds 2 CUDA devices"),
        *((n, device, "Unknown device") for n in (0, 2) for device in ("", "tpu", "meta", "cpu:0", "cuda:", "cuda:x")),
    ],
)
def test_devices_that_there_are_not(cuda, n, device, says):
    cuda(n)
    with pytest.raises(UsageError, match=says):
        checked_device(device)


def test_the_processor_needs_no_torch():
    code = "import sys, hyper_bids.devices as d; d.checked_device('cpu'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
