"""Was anything tuned on what it was tested on? The app chooses in training data; of what it is given it cannot know."""

from __future__ import annotations

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed


def tuning(evidence: Evidence) -> Light:
    """Say which choices saw test stimuli, or may have.

    ``evidence.tuning`` holds ``folds`` (each with ``inner_folds``: how penalties were chosen, or None), ``decoder``
    and ``select`` (names), ``mask`` and ``roi`` (whether the user gave them), and ``encoder`` (or None).
    """
    facts = evidence.tuning
    if facts is None:
        return not_assessed("how voxels and penalties were chosen is not known")
    unknown, seen = [], []
    if facts.get("encoder") and evidence.cross_validated:
        seen.append(
            f"the latents are principal components of all pictures ({facts['encoder']}), those of the test folds "
            "included; no brain data of them was used"
        )
    if facts.get("mask"):
        unknown.append("the voxels of --mask")
    if facts.get("roi"):
        unknown.append("the region of --roi")
    unknown += [f"what {name} does inside" for name in (facts.get("decoder"), facts.get("select")) if ":" in str(name)]
    if facts.get("parameters"):
        unknown.append("the parameters given to the decoder")
    inner = sorted({str(fold["inner_folds"]) for fold in facts.get("folds", []) if fold.get("inner_folds")})
    chosen = f"voxels are selected ({facts.get('select')}) in the training trials of a fold"
    chosen += f", penalties too: {', '.join(inner)}." if inner else "; no penalty is chosen."
    text = chosen
    if seen:
        text += f" But {'; '.join(seen)}."
    if unknown:
        text += f" Whether test stimuli had a part in {', '.join(unknown)} cannot be checked."
    return light("NOTE" if seen or unknown else "PASS", text, SawTestStimuli=seen, CannotBeChecked=unknown)
