"""TSV files: what separates their columns."""

from __future__ import annotations

import pytest

from hyper_bids.errors import InconsistentInput
from hyper_bids.inputs.tables import read_numbers, read_table


@pytest.mark.parametrize("sign", [" ", "  ", ",", ";", ", "])
@pytest.mark.parametrize("read", [read_table, lambda path: read_numbers(path, "onset")])
def test_other_signs_than_tabs_are_told(tmp_path, sign, read):
    path = tmp_path / "events.tsv"
    path.write_text(f"onset{sign}duration\n1{sign}2\n")
    with pytest.raises(InconsistentInput, match=r"events\.tsv: no tab in its first line.*tab-separated"):
        read(path)


def test_one_column_needs_no_tab(tmp_path):
    path = tmp_path / "names.tsv"
    path.write_text("stimulus_id\nface 01\nface 02, left\n")
    assert read_table(path)["stimulus_id"].tolist() == ["face 01", "face 02, left"]
