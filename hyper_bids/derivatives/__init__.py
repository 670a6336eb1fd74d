"""BIDS names, sidecars and atomic writes of the output dataset."""
