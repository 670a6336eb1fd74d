"""Options of the GLM, from BOLD and events to responses."""

from __future__ import annotations

from dataclasses import dataclass

from hyper_bids.settings.declare import option


@dataclass(frozen=True)
class GLMSettings:
    """BOLD and events -> responses."""

    glm: str = option(
        "auto",
        "lsa: one regressor per trial; lss: one model per trial; "
        "auto: lsa where the trial regressors' median variance inflation is at most 5, else lss; "
        "parametric: one model over all runs with the latents as modulators, for --decoder inversion",
        choices=("auto", "lsa", "lss", "parametric"),
    )
    lss_rest: str = option(
        "one",
        "in lss, the other trials as one regressor, or as one per trial type",
        choices=("one", "condition"),
    )
    hrf: str = option(
        "spm",
        "haemodynamic response function; +derivative adds its derivative in time, +derivatives that in dispersion too; "
        "fir: one bin a TR over 20 s, the response being the mean of the bins from 4 to 8 s",
        choices=(
            "spm", "spm+derivative", "spm+derivatives", "glover", "glover+derivative", "glover+derivatives", "fir",
        ),
    )  # fmt: skip
    noise_model: str = option(
        "ols", "noise model of the GLM: ordinary least squares, or first-order autoregressive", choices=("ols", "ar1")
    )
    drift: str = option("cosine", "model of slow drifts", choices=("cosine", "polynomial", "none"))
    drift_order: int = option(3, "order of the polynomial drift", kind="int", metavar="N", least=0)
    high_pass: float = option(
        128.0,
        "cut-off period of the cosine drift model in seconds; 0: no drift model",
        kind="float",
        metavar="SECONDS",
        least=0,
    )
    confounds: str = option(
        "motion6",
        "confounds from fMRIPrep's table (none, and said so, where there is no table): none, motion6, motion24, "
        "acompcor, wmcsf, scrub, cosine, columns, joined by + as in motion24+acompcor",
    )
    confound_columns: tuple[str, ...] = option(
        (), "columns of the table for --confounds columns; wildcards as in w_comp_cor_0[0-4]", kind="list"
    )
    n_acompcor: int = option(5, "number of aCompCor components", kind="int", metavar="N", least=1)
    fd_threshold: float = option(
        0.5,
        "framewise displacement (mm) above which scrub models a volume by a regressor of its own",
        kind="float",
        least=0,
    )
    non_steady_state: str = option(
        "regress",
        "volumes that the table flags as not in steady state: a regressor each, leave them out, or keep them",
        choices=("regress", "drop", "keep"),
    )
    dummy_scans: int = option(0, "volumes to leave out at the start of each run", kind="int", metavar="N", least=0)
    response: str = option("z", "the response of a trial: z, t or beta (in % of the mean)", choices=("z", "t", "beta"))
