"""The stages, as plain functions: where the science folders meet. Read this page first.

    [encode_stimuli]
      -> build_designs -> find_voxels -> fit_run (each run) -> pool_runs         responses of single trials, or
      -> build_parametric_designs -> find_voxels -> add_runs -> solve_parametric  one model over all runs, or
      -> read_responses                                                           maps that exist
      -> select_voxels -> measure_reliability, draw_carpet, [decode_controls]
      -> decode_latents | decode_parametric -> refit_null -> [draw_learning_curve]
           -> reconstruct -> evaluate -> draw_evidence                            (each decoder)
      -> report_participant

Each takes files and JSON-ready parameters, writes under ``out_dir`` and returns its
output files by name. What belongs in the output dataset lies in a tree (see
`hyper_bids.derivatives.tree`). Nothing here knows the engine that calls it.
"""

from hyper_bids.workflow.steps.controls import decode_controls
from hyper_bids.workflow.steps.curve import draw_learning_curve
from hyper_bids.workflow.steps.decoding import decode_latents, decode_parametric
from hyper_bids.workflow.steps.designs import build_designs
from hyper_bids.workflow.steps.encoding import encode_stimuli
from hyper_bids.workflow.steps.evaluation import evaluate
from hyper_bids.workflow.steps.figures import draw_carpet, draw_evidence
from hyper_bids.workflow.steps.given import read_responses
from hyper_bids.workflow.steps.null import refit_null
from hyper_bids.workflow.steps.parametric import add_runs, build_parametric_designs, solve_parametric
from hyper_bids.workflow.steps.pictures import reconstruct
from hyper_bids.workflow.steps.reliability import measure_reliability
from hyper_bids.workflow.steps.reporting import report_participant
from hyper_bids.workflow.steps.responses import find_voxels, fit_run, pool_runs
from hyper_bids.workflow.steps.selection import select_voxels

__all__ = [
    "add_runs",
    "build_designs",
    "build_parametric_designs",
    "decode_controls",
    "decode_latents",
    "decode_parametric",
    "draw_carpet",
    "draw_evidence",
    "draw_learning_curve",
    "encode_stimuli",
    "evaluate",
    "find_voxels",
    "fit_run",
    "measure_reliability",
    "pool_runs",
    "read_responses",
    "reconstruct",
    "refit_null",
    "report_participant",
    "select_voxels",
    "solve_parametric",
]
