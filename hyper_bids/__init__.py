"""Decode what a person saw from fMRI: BIDS in, reconstructions and statistics out.

Importing this package imports nothing heavy; the parts live in sub-packages that
follow the data: ``inputs -> glm -> decode -> generate -> evaluate -> report``.
"""

__version__ = "0.1.0"
