"""The canonical PGGAN: which arrays there must be, and which options."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.canonical import Refused, Weights, as_float32, width

OPTIONS: dict[str, float | bool | int] = {
    "epsilon": 1e-8,
    "normalize_latents": True,
    "pixelnorm": True,
    "leak": 0.2,
    "tanh": False,
    "lod": 0.0,
    "n_labels": 0,
}
"""What the arrays do not tell, with the values of the paper's finished networks."""

MAX_LEVELS = 12


def pggan(
    arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str, notes: tuple[str, ...] = ()
) -> Weights:
    """Return checked canonical weights: ``dense``, ``conv``, ``block{i}.conv0/1`` and ``torgb{i}``.

    Raises
    ------
    Refused
        An array is missing, unknown, of another shape, or not finite; an option is out of range.
    """
    checked = {name: as_float32(name, array, "this PGGAN") for name, array in arrays.items()}
    n_levels = sum(name.endswith(".conv0.weight") for name in checked) + 1
    shapes = _shapes(checked, n_levels)
    modules = {name.rpartition(".")[0] for name in checked if name.startswith("torgb")}
    pairs = {f"{module}.{part}" for module in modules for part in ("weight", "bias")}
    missing = sorted((set(shapes) | pairs) - set(checked))
    if missing or n_levels > MAX_LEVELS:
        raise Refused(f"it looks like a PGGAN of {n_levels} levels, but lacks {', '.join(missing[:3]) or 'an end'}")
    for name, array in checked.items():
        if array.shape != shapes.get(name, _optional(name, checked, n_levels)):
            raise Refused(
                f"{name} of this PGGAN has shape {array.shape}, but the layers beside it need "
                f"{shapes.get(name, _optional(name, checked, n_levels))}"
            )
    if checked[f"torgb{n_levels - 1}.bias"].shape[0] not in (1, 3):
        raise Refused(f"this PGGAN makes {checked[f'torgb{n_levels - 1}.bias'].shape[0]} colours, not 1 or 3")
    return Weights("pggan", checked, _checked_options(options, n_levels), origin, notes)


def _shapes(arrays: Mapping[str, np.ndarray], n_levels: int) -> dict[str, tuple[int, ...]]:
    """Return the arrays that must be there and the shapes that their own output widths imply."""
    first = width(arrays, "dense") // 16
    n_inputs = arrays["dense.weight"].shape[-1] if "dense.weight" in arrays and arrays["dense.weight"].ndim else -1
    shapes: dict[str, tuple[int, ...]] = {"dense.weight": (16 * first, n_inputs), "dense.bias": (16 * first,)}
    layers = ["conv", *(f"block{i}.conv{k}" for i in range(1, n_levels) for k in (0, 1))]
    before = first
    for layer in layers:
        shapes |= {f"{layer}.weight": (width(arrays, layer), before, 3, 3), f"{layer}.bias": (width(arrays, layer),)}
        before = width(arrays, layer)
    last = f"torgb{n_levels - 1}"
    return shapes | {f"{last}.weight": (width(arrays, last), before, 1, 1), f"{last}.bias": (width(arrays, last),)}


def _optional(name: str, arrays: Mapping[str, np.ndarray], n_levels: int) -> tuple[int, ...] | None:
    """Return the shape that the RGB layer of a lower level must have, None for a name that no PGGAN has."""
    level, _, part = name.removeprefix("torgb").partition(".")
    levels = {str(i) for i in range(n_levels)}
    if not name.startswith("torgb") or level not in levels or part not in ("weight", "bias"):
        return None
    below = "conv" if int(level) == 0 else f"block{int(level)}.conv1"
    colours = len(arrays[f"torgb{n_levels - 1}.bias"])
    return (colours, len(arrays[f"{below}.bias"]), 1, 1) if part == "weight" else (colours,)


def _checked_options(options: Mapping[str, object], n_levels: int) -> dict[str, object]:
    result: dict[str, object] = {}
    for name, default in OPTIONS.items():
        value = options.get(name, default)
        try:
            result[name] = type(default)(value)
        except (TypeError, ValueError) as error:
            raise Refused(f"this PGGAN says {name} = {str(value)[:20]}, which makes no sense") from error
    sane = 0 <= result["lod"] <= n_levels - 1 and 0 < result["epsilon"] < 1 and 0 <= result["leak"] <= 1
    if not sane or result["n_labels"] < 0:
        raise Refused(f"this PGGAN says lod {result['lod']}, epsilon {result['epsilon']}, leak {result['leak']}")
    return result


def repeated(bias: np.ndarray) -> np.ndarray:
    """Return a bias per channel as one per unit of the dense layer: 16 pixels each."""
    return np.repeat(np.asarray(bias).reshape(-1), 16)
