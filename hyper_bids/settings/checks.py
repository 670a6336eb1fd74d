"""What is refused although every single value is of the right type."""

from __future__ import annotations

from hyper_bids.errors import UsageError
from hyper_bids.settings.all_sections import Settings, sections
from hyper_bids.settings.declare import check_least
from hyper_bids.settings.decode import check_decode
from hyper_bids.settings.execution import Execution
from hyper_bids.settings.inputs import check_inputs


def check(settings: Settings, execution: Execution) -> None:
    """Refuse values that are of the right type and cannot be meant.

    Raises
    ------
    UsageError
    """
    for section in sections():
        check_least(execution if section == "execution" else getattr(settings, section))
    check_inputs(settings.inputs)
    check_decode(settings.decode)
    check_parametric(settings)


def check_parametric(settings: Settings) -> None:
    """``--glm parametric`` gives no single-trial responses: refuse what needs them."""
    if settings.glm.glm != "parametric":
        return
    if settings.inputs.responses is not None:
        raise UsageError("--responses gives responses, so no GLM is fitted; leave --glm parametric out.")
    others = [name for name in settings.decode.decoder if name != "inversion"]
    if others:
        raise UsageError(
            f"--glm parametric estimates one weight per latent and voxel and no single-trial responses, which "
            f"--decoder {others[0]} needs. Use --decoder inversion, or --glm auto."
        )
    if settings.inputs.cross_validate is not None:
        raise UsageError("--glm parametric fits all runs at once; it needs a train/test split, not --cross-validate.")
    if settings.glm.noise_model != "ols":
        raise UsageError("--glm parametric is fitted by ordinary least squares; leave --noise-model ar1 out.")
    if settings.glm.hrf not in ("spm", "glover"):
        raise UsageError(f"--glm parametric takes --hrf spm or glover, not {settings.glm.hrf}: one weight per latent.")
    if settings.select.select == "reliability":
        raise UsageError(
            "--select reliability needs single-trial responses; with --glm parametric use gain, top-z or all."
        )
