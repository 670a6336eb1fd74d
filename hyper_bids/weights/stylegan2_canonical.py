"""The canonical StyleGAN2 (the generator with RGB skips), and how three publications' names become it.

Every run-time factor is inside the numbers: learning-rate multipliers and 1 / sqrt(fan_in) of dense layers, the 1 of
the style's bias, the strength of the noise. Weights of modulated convolutions keep their own scale, because the
demodulation divides it out again (with an epsilon that sees it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Refused, Weights, as_float32

ADA, TENSORFLOW, ROSINALITY = "NVIDIA's StyleGAN2", "NVIDIA's TensorFlow StyleGAN2", "rosinality's StyleGAN2"
OPTIONS: dict[str, float] = {"conv_clamp": 0.0}
"""``conv_clamp``: activations are cut at this value either way; 0 is never (16-bit networks have 256)."""

MAX_RESOLUTION = 4096
MAX_LAYERS = 64
LR_MULTIPLIER = 0.01
BLUR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0


def stylegan2(
    arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str, notes: tuple[str, ...] = ()
) -> Weights:
    """Return checked canonical weights.

    ``mapping.fc{i}``, ``mapping.embed`` (where there are labels), ``mapping.average (D,)`` (where there is one),
    ``const (C, 4, 4)``; for r = 4, 8, ...: ``b{r}.conv0`` (not at 4), ``b{r}.conv1``, each with ``weight (out, in, 3,
    3)``, ``bias``, ``affine.weight (in, D)``, ``affine.bias``, and ``noise (r, r)`` where there is one; ``b{r}.torgb``
    with a weight ``(colours, in, 1, 1)`` and no noise, at the last resolution and any others.

    Raises
    ------
    Refused
        An array is missing, unknown, of another shape, or not finite.
    """
    checked = {name: as_float32(name, array, "this StyleGAN2") for name, array in arrays.items()}
    required, optional = _mapping_shapes(checked)
    for shapes, more in zip((required, optional), _synthesis_shapes(checked), strict=True):
        shapes |= more
    missing = sorted(set(required) - set(checked))
    if missing:
        raise Refused(f"it looks like a StyleGAN2, but lacks {', '.join(missing[:3])}")
    known = required | optional
    for name, array in checked.items():
        if name not in known:
            raise Refused(f"it looks like a StyleGAN2, but has {name[:60]}, which is not read: export it to ONNX")
        if array.shape != known[name]:
            raise Refused(f"{name} of this StyleGAN2 has shape {array.shape}, but its neighbours need {known[name]}")
    try:
        clamp = float(options.get("conv_clamp") or 0.0)
    except (TypeError, ValueError) as error:
        raise Refused("its clamp is no number") from error
    if not 0 <= clamp < 1e30:
        raise Refused(f"this StyleGAN2 says that its activations are cut at {clamp}")
    return Weights("stylegan2", checked, {"conv_clamp": clamp}, origin, notes)


def _length(arrays: Mapping[str, np.ndarray], name: str, axis: int = 0) -> int:
    array = arrays.get(name)
    return array.shape[axis] if array is not None and array.ndim > axis else 0


def _mapping_shapes(arrays: Mapping[str, np.ndarray]) -> tuple[dict, dict]:
    n_layers = sum(re.fullmatch(r"mapping\.fc\d{1,2}\.weight", name) is not None for name in arrays)
    if not 0 < n_layers <= MAX_LAYERS:
        raise Refused(f"it looks like a StyleGAN2 with a mapping of {n_layers} layers")
    required: dict[str, tuple[int, ...]] = {}
    before = _length(arrays, "mapping.fc0.weight", 1)
    n_embedded = _length(arrays, "mapping.embed.bias")
    if not 0 <= n_embedded < before:
        raise Refused("it looks like a StyleGAN2, but its mapping takes no latents")
    for i in range(n_layers):
        width = _length(arrays, f"mapping.fc{i}.bias")
        required |= {f"mapping.fc{i}.weight": (width, before), f"mapping.fc{i}.bias": (width,)}
        before = width
    n_labels = _length(arrays, "mapping.embed.weight", 1)
    embed = {"mapping.embed.weight": (n_embedded, n_labels), "mapping.embed.bias": (n_embedded,)}
    return required | (embed if n_embedded or n_labels else {}), {"mapping.average": (before,)}


def resolutions(arrays: Mapping[str, np.ndarray]) -> list[int]:
    """Return 4, 8, ... up to the last resolution that has a convolution."""
    found = [int(match[1]) for name in arrays if (match := re.fullmatch(r"b(\d{1,4})\.conv1\.weight", name))]
    last = max(found, default=0)
    if last < 4 or last & (last - 1) or last > MAX_RESOLUTION:
        raise Refused(f"it looks like a StyleGAN2 of {last} pixels, which cannot be")
    return [1 << i for i in range(2, last.bit_length())]


def _synthesis_shapes(arrays: Mapping[str, np.ndarray]) -> tuple[dict, dict]:
    sizes = resolutions(arrays)
    n_styles = _length(arrays, f"mapping.fc{sum(1 for name in arrays if name.startswith('mapping.fc')) // 2 - 1}.bias")
    before = _length(arrays, "const")
    required: dict[str, tuple[int, ...]] = {"const": (before, 4, 4)}
    optional: dict[str, tuple[int, ...]] = {}
    colours = _length(arrays, f"b{sizes[-1]}.torgb.bias")
    if colours not in (1, 3):
        raise Refused(f"this StyleGAN2 makes {colours} colours, not 1 or 3")
    for size in sizes:
        for layer in ("conv1",) if size == 4 else ("conv0", "conv1"):
            name = f"b{size}.{layer}"
            width = _length(arrays, f"{name}.bias")
            required |= _layer_shapes(name, width, before, 3, n_styles)
            optional[f"{name}.noise"] = (size, size)
            before = width
        shapes = _layer_shapes(f"b{size}.torgb", colours, before, 1, n_styles)
        if size == sizes[-1] or f"b{size}.torgb.weight" in arrays:
            required |= shapes
    return required, optional


def _layer_shapes(name: str, width: int, before: int, kernel: int, n_styles: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.weight": (width, before, kernel, kernel),
        f"{name}.bias": (width,),
        f"{name}.affine.weight": (before, n_styles),
        f"{name}.affine.bias": (before,),
    }


# --- the three publications -------------------------------------------------------------------------------------------


class _Parts:
    """Arrays by their published names, taken one by one so that what is left over can be named."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.left = dict(arrays)
        self.result: dict[str, np.ndarray] = {}

    def take(self, name: str, n_dims: int | None = None) -> np.ndarray:
        if name not in self.left:
            raise Refused(f"it looks like a StyleGAN2, but lacks {name[:60]}")
        array = self.left.pop(name)
        if array.dtype.kind not in "fiu" or (n_dims is not None and array.ndim != n_dims):
            raise Refused(f"{name[:60]} of this StyleGAN2 has {array.ndim} dimensions of type {array.dtype}")
        return array.astype(np.float32)

    def dense(self, name: str, weight: np.ndarray, bias: np.ndarray, multiplier: float = 1.0, shift: float = 0.0):
        """Set a dense layer ``(out, in)`` with its gain, multiplier / sqrt(in), inside."""
        gain = np.float32(multiplier / max(weight.shape[-1], 1) ** 0.5)
        self.result[f"{name}.weight"] = weight * gain
        self.result[f"{name}.bias"] = bias * np.float32(multiplier) + np.float32(shift)

    def noise(self, name: str, noise: np.ndarray, strength: np.ndarray) -> None:
        if strength.size != 1 or noise.ndim < 2:
            raise Refused(f"the noise of {name} of this StyleGAN2 has another form")
        self.result[f"{name}.noise"] = noise.reshape(noise.shape[-2:]) * strength.reshape(())

    def nothing_left(self) -> None:
        if self.left:
            raise Refused(
                f"it looks like a StyleGAN2, but has {min(self.left)[:60]}, which is not read: export it to ONNX"
            )


def _first(array: np.ndarray, n_dims: int) -> np.ndarray:
    """Return the array without leading axes of length one."""
    while array.ndim > n_dims and array.shape[0] == 1:
        array = array[0]
    return array


def _multiplier(settings: Mapping[str, object]) -> float:
    value = settings.get("lr_multiplier", LR_MULTIPLIER)
    if not isinstance(value, int | float) or not 0 < value < 1e6:
        raise Refused("the learning-rate multiplier of its mapping is no number")
    return float(value)


def _numbered(names: Mapping[str, np.ndarray], pattern: str) -> list[int]:
    return sorted({int(match[1]) for name in names if (match := re.fullmatch(pattern, name))})


def _checked_blurs(parts: _Parts, pattern: str) -> None:
    """Take the resampling filters, which are stored though they are constants; another filter is another network."""
    for name in [name for name in parts.left if re.search(pattern, name)]:
        kernel = parts.take(name)
        total = kernel.sum()
        if kernel.shape != (4, 4) or not total or not np.allclose(kernel / total, BLUR, atol=1e-4):
            raise Refused("its resampling filter is not [1, 3, 3, 1], so it is no StyleGAN2 that is read here")


def from_ada(candidate: Candidate) -> Weights | None:
    """Return the StyleGAN2 of NVIDIA's PyTorch names (StyleGAN2-ADA, and StyleGAN3's repository), or None."""
    if not {"synthesis.b4.const", "mapping.fc0.weight", "synthesis.b4.conv1.affine.weight"} <= set(candidate.arrays):
        return None
    parts = _Parts(candidate.arrays)
    _checked_blurs(parts, r"\.resample_filter$")
    multiplier = _multiplier(candidate.settings)
    for i in _numbered(parts.left, r"mapping\.fc(\d{1,2})\.weight"):
        weight, bias = parts.take(f"mapping.fc{i}.weight", 2), parts.take(f"mapping.fc{i}.bias", 1)
        parts.dense(f"mapping.fc{i}", weight, bias, multiplier)
    if "mapping.embed.weight" in parts.left:
        parts.dense("mapping.embed", parts.take("mapping.embed.weight", 2), parts.take("mapping.embed.bias", 1))
    if "mapping.w_avg" in parts.left:
        parts.result["mapping.average"] = _average(parts.take("mapping.w_avg"))
    parts.result["const"] = parts.take("synthesis.b4.const", 3)
    for size in _numbered(parts.left, r"synthesis\.b(\d{1,4})\.conv1\.weight"):
        for layer in ("conv0", "conv1", "torgb"):
            if f"synthesis.b{size}.{layer}.weight" in parts.left:
                _ada_layer(parts, f"b{size}.{layer}")
    parts.nothing_left()
    return stylegan2(parts.result, candidate.settings, ADA, _notes(candidate))


def _average(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2 and len(array):  # one for each label: their mean
        array = array.mean(axis=0)
    return _first(array, 1)


def _ada_layer(parts: _Parts, name: str) -> None:
    source = f"synthesis.{name}"
    weight = parts.take(f"{source}.weight", 4)
    is_rgb = name.endswith("torgb")
    parts.result[f"{name}.weight"] = weight / np.float32(max(weight[0].size, 1) ** 0.5) if is_rgb else weight
    parts.result[f"{name}.bias"] = parts.take(f"{source}.bias", 1)
    affine = parts.take(f"{source}.affine.weight", 2), parts.take(f"{source}.affine.bias", 1)
    parts.dense(f"{name}.affine", *affine)
    if f"{source}.noise_const" in parts.left:
        parts.noise(name, parts.take(f"{source}.noise_const", 2), parts.take(f"{source}.noise_strength"))


def from_rosinality(candidate: Candidate) -> Weights | None:
    """Return the StyleGAN2 of rosinality's PyTorch names, with ``latent_avg`` where it was beside them, or None."""
    if not {"input.input", "conv1.conv.modulation.weight", "style.1.weight"} <= set(candidate.arrays):
        return None
    parts = _Parts(candidate.arrays)
    _checked_blurs(parts, r"\.(blur|upsample)\.kernel$")
    for i in _numbered(parts.left, r"style\.(\d{1,2})\.weight"):
        weight, bias = parts.take(f"style.{i}.weight", 2), parts.take(f"style.{i}.bias", 1)
        parts.dense(f"mapping.fc{i - 1}", weight, bias, _multiplier(candidate.settings))
    if "latent_avg" in parts.left:
        parts.result["mapping.average"] = _average(parts.take("latent_avg"))
    parts.result["const"] = _first(parts.take("input.input"), 3)
    has_noise = "noises.noise_0" in parts.left
    n_levels = 1 + len(_numbered(parts.left, r"to_rgbs\.(\d{1,2})\.bias"))
    layers = {"conv1": "b4.conv1", "to_rgb1": "b4.torgb"}
    for k in range(n_levels - 1):
        size = 8 << k
        layers |= {f"convs.{2 * k}": f"b{size}.conv0", f"convs.{2 * k + 1}": f"b{size}.conv1"}
        layers[f"to_rgbs.{k}"] = f"b{size}.torgb"
    convolutions = [source for source, name in layers.items() if "torgb" not in name]
    for source, name in layers.items():
        noise = convolutions.index(source) if has_noise and source in convolutions else None
        _rosinality_layer(parts, source, name, noise)
    parts.nothing_left()
    notes = () if has_noise else ("The file has no noise maps: images are made without noise.",)
    return stylegan2(parts.result, {}, ROSINALITY, (*_notes(candidate), *notes))


def _rosinality_layer(parts: _Parts, source: str, name: str, noise: int | None) -> None:
    weight = _first(parts.take(f"{source}.conv.weight", 5), 4)
    parts.result[f"{name}.weight"] = weight / np.float32(max(weight[0].size, 1) ** 0.5)
    is_rgb = name.endswith("torgb")
    bias = parts.take(f"{source}.bias" if is_rgb else f"{source}.activate.bias")
    parts.result[f"{name}.bias"] = bias.reshape(-1)
    modulation = f"{source}.conv.modulation"
    parts.dense(f"{name}.affine", parts.take(f"{modulation}.weight", 2), parts.take(f"{modulation}.bias", 1))
    if is_rgb:
        return
    strength = parts.take(f"{source}.noise.weight")
    if noise is not None:
        parts.noise(name, parts.take(f"noises.noise_{noise}"), strength)


def from_tensorflow(candidate: Candidate) -> Weights | None:
    """Return the StyleGAN2 of TensorFlow's variables (components' names before theirs), or None.

    The kernel of an enlarging convolution is turned round: TensorFlow's code does so before its transposed
    convolution.
    """
    needed = {"synthesis/4x4/Const/const", "synthesis/4x4/Conv/mod_weight", "mapping/Dense0/weight"}
    if not needed <= set(candidate.arrays):
        return None
    settings = candidate.settings
    kernel = settings.get("resample_kernel")
    if settings.get("normalize_latents", True) is False or (kernel is not None and list(kernel) != [1, 3, 3, 1]):
        raise Refused("it is a StyleGAN2 with settings that are not read: export it to ONNX")
    parts = _Parts({name: array for name, array in candidate.arrays.items() if name.rpartition("/")[2] != "lod"})
    multiplier = _multiplier({"lr_multiplier": settings.get("mapping_lrmul", LR_MULTIPLIER)})
    for i in _numbered(parts.left, r"mapping/Dense(\d{1,2})/weight"):
        weight, bias = parts.take(f"mapping/Dense{i}/weight", 2), parts.take(f"mapping/Dense{i}/bias", 1)
        parts.dense(f"mapping.fc{i}", weight.T, bias, multiplier)
    if "mapping/LabelEmbed/weight" in parts.left:
        weight, bias = parts.take("mapping/LabelEmbed/weight", 2), parts.take("mapping/LabelEmbed/bias", 1)
        parts.dense("mapping.embed", weight.T, bias)
    if "dlatent_avg" in parts.left:
        parts.result["mapping.average"] = _average(parts.take("dlatent_avg"))
    parts.result["const"] = _first(parts.take("synthesis/4x4/Const/const", 4), 3)
    _tensorflow_layer(parts, "4x4/Conv", "b4.conv1", 0)
    for size in (4, *_numbered(parts.left, r"synthesis/(\d{1,4})x\1/Conv1/weight")):
        first = 2 * (size.bit_length() - 1) - 5  # number of the noise of Conv0_up
        if size > 4:
            _tensorflow_layer(parts, f"{size}x{size}/Conv0_up", f"b{size}.conv0", first)
            _tensorflow_layer(parts, f"{size}x{size}/Conv1", f"b{size}.conv1", first + 1)
        if f"synthesis/{size}x{size}/ToRGB/weight" in parts.left:
            _tensorflow_layer(parts, f"{size}x{size}/ToRGB", f"b{size}.torgb", None)
    parts.nothing_left()
    return stylegan2(parts.result, settings, TENSORFLOW, _notes(candidate))


def _tensorflow_layer(parts: _Parts, source: str, name: str, noise: int | None) -> None:
    source = f"synthesis/{source}"
    weight = parts.take(f"{source}/weight", 4)  # (k, k, in, out)
    weight = weight[::-1, ::-1] if source.endswith("Conv0_up") else weight
    weight = weight.transpose(3, 2, 0, 1)
    parts.result[f"{name}.weight"] = weight / np.float32(max(weight[:1].size, 1) ** 0.5)
    parts.result[f"{name}.bias"] = parts.take(f"{source}/bias", 1)
    affine = parts.take(f"{source}/mod_weight", 2).T, parts.take(f"{source}/mod_bias", 1)
    parts.dense(f"{name}.affine", *affine, shift=1.0)
    if noise is not None and f"{source}/noise_strength" in parts.left:
        parts.noise(name, parts.take(f"synthesis/noise{noise}", 4), parts.take(f"{source}/noise_strength"))


def from_canonical(candidate: Candidate) -> Weights | None:
    """Return the StyleGAN2 of a flat dictionary of canonical names, or None."""
    if not {"const", "b4.conv1.affine.weight", "mapping.fc0.weight"} <= set(candidate.arrays):
        return None
    return stylegan2(candidate.arrays, candidate.settings, "StyleGAN2", _notes(candidate))


def _notes(candidate: Candidate) -> tuple[str, ...]:
    return (f"Network {candidate.member}.",) if candidate.member else ()
