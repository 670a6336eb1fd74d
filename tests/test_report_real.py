"""The reports of recordings that come with the project, in a browser, as `hyper` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from chromium import browser
from page_checks import check_contrast, check_links_to_files, check_prints, check_whole_and_quiet

from bids_app.cli import main

DATASETS = {
    "haxby": ("haxbyprep", "--latent-space", "onehot8", "--cross-validate", "run", "--select", "all"),
    "miyawaki": ("prep", "--cross-validate", "run", "--select", "all"),
    "sim_ds001761": ("prep", "--decoder", "ridge", "map"),
}


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module", params=DATASETS)
def pages(request, shared_data, tmp_path_factory):
    folder, out = shared_data / request.param, tmp_path_factory.mktemp(request.param)
    prep, *words = DATASETS[request.param]
    run = [str(folder), str(out / "out")]
    quiet = ["-q", "--skip-bids-validation"]
    prepared = ["-d", f"prep={folder / 'derivatives' / prep}", "-w", str(out / "work")]
    assert main([*run, "participant", *quiet, *prepared, "--n-permutations", "200", *words]) == 0
    assert main([*run, "group", *quiet]) == 0
    return {"participant": out / "out" / "sub-01.html", "group": out / "out" / "group.html"}


@pytest.mark.parametrize("page", ["participant", "group"])
def test_real_reports_in_a_browser(chrome, pages, page):
    for width in (1400, 400):
        check_whole_and_quiet(chrome, pages[page], width, n_images=2)
    check_links_to_files(chrome, pages[page])
    check_prints(chrome, pages[page], most=60)
    check_contrast(chrome, pages[page])
    assert pages[page].stat().st_size < 15e6
