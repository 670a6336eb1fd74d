"""The stages, as plain functions: where the science folders meet. Read this page first.

    build_designs -> find_voxels -> fit_run (each run) -> pool_runs
      -> decode_latents -> refit_null -> reconstruct -> evaluate    (each decoder)
      -> report_participant

Each takes files and JSON-ready parameters, writes under ``out_dir`` and returns its
output files by name. What belongs in the output dataset lies in a tree (see
`hyper_bids.derivatives.tree`). Nothing here knows the engine that calls it.
"""

from hyper_bids.workflow.steps.decoding import decode_latents
from hyper_bids.workflow.steps.designs import build_designs
from hyper_bids.workflow.steps.evaluation import evaluate
from hyper_bids.workflow.steps.null import refit_null
from hyper_bids.workflow.steps.pictures import reconstruct
from hyper_bids.workflow.steps.reporting import report_participant
from hyper_bids.workflow.steps.responses import find_voxels, fit_run, pool_runs

__all__ = [
    "build_designs",
    "decode_latents",
    "evaluate",
    "find_voxels",
    "fit_run",
    "pool_runs",
    "reconstruct",
    "refit_null",
    "report_participant",
]
