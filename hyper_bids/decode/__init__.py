"""Responses + latents -> latents: voxel selection, folds, decoders.

``DECODERS`` and ``SELECTORS`` are the built-ins; tests loop over them, so that a new
entry is tested by existing.
"""

from hyper_bids.decode.ridge import Ridge
from hyper_bids.decode.select import TopZ, all_voxels

DECODERS: dict[str, type] = {"ridge": Ridge}

SELECTORS = {"top-z": TopZ, "all": lambda n_voxels: all_voxels}
"""Name -> factory taking ``n_voxels`` and returning a `hyper_bids.protocols.VoxelSelector`."""
