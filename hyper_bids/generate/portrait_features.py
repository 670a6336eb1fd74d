"""From 64 latents to the features of a drawn face: the map whose hyperplanes are known by construction.

The latents are rotated by a fixed orthonormal basis. The first five rotated scores are the attributes,
the other 59 are one visible feature each, so that every latent moves every feature a little.
"""

from __future__ import annotations

import hashlib
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

ATTRIBUTES = ("gender", "age", "eyeglasses", "smile", "pose")
"""Positive is: masculine, older, with glasses, smiling, turned to the right of the picture."""

FEATURES = (
    "skin_tone", "skin_warmth", "hair_light", "hair_red", "hair_length", "hair_volume", "hair_curl", "hair_part",
    "fringe_depth", "fringe_sweep", "hair_gloss", "hair_sides", "face_width", "face_length", "jaw_width",
    "jaw_square", "chin_size", "cheekbone", "eye_size", "eye_open", "eye_distance", "eye_slant", "eye_height",
    "iris_hue", "iris_light", "iris_size", "gaze_x", "gaze_y", "brow_thickness", "brow_angle", "brow_arch",
    "brow_height", "brow_length", "nose_length", "nose_width", "nose_tip", "nose_bridge", "lip_upper", "lip_lower",
    "lip_colour", "mouth_width", "mouth_height", "freckles", "blush", "beard", "roll", "pitch", "ear_size",
    "back_hue", "back_light", "back_angle", "light_side", "shirt_hue", "shirt_light", "neckline", "glasses_round",
    "glasses_colour", "jewellery", "stripes",
)  # fmt: skip

N_LATENTS = len(ATTRIBUTES) + len(FEATURES)

# Fair to deep; the tone moves along them.
SKIN_TONES = ((0.99, 0.85, 0.75), (0.96, 0.77, 0.62), (0.87, 0.64, 0.46), (0.69, 0.46, 0.31), (0.47, 0.30, 0.21))
HAIR_TONES = ((0.10, 0.085, 0.10), (0.23, 0.14, 0.10), (0.40, 0.24, 0.14), (0.63, 0.43, 0.22), (0.88, 0.71, 0.42))
LIP_TONES = ((0.78, 0.40, 0.36), (0.84, 0.31, 0.35), (0.72, 0.17, 0.26))
IRIS_TONES = ((0.24, 0.13, 0.07), (0.45, 0.28, 0.12), (0.33, 0.45, 0.24), (0.24, 0.47, 0.62), (0.42, 0.55, 0.64))
FRAME_TONES = ((0.09, 0.09, 0.12), (0.35, 0.17, 0.09), (0.62, 0.12, 0.16), (0.10, 0.24, 0.45))


def basis() -> np.ndarray:
    """Return the fixed orthonormal ``(64, 64)`` basis; column j is the direction of feature j.

    A Hadamard matrix (Sylvester 1867) with signs flipped per row by the bits of a hash, over 8: exact in floating
    point, the same on every machine and with every library version, and every direction mixes all latents.

    >>> b = basis()
    >>> bool((b.T @ b == np.eye(64)).all())
    True
    """
    index = np.arange(N_LATENTS)
    common_bits = np.array([[bin(i & j).count("1") for j in index] for i in index])
    bits = np.unpackbits(np.frombuffer(hashlib.sha256(b"hyper portrait basis").digest()[:8], np.uint8))
    signs = 1.0 - 2.0 * bits
    order = np.argsort([hashlib.sha256(f"column {j}".encode()).digest().hex() for j in index])
    return (signs[:, None] * (1.0 - 2.0 * (common_bits % 2)) / math.sqrt(N_LATENTS))[:, order]


def scores_of(latents: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return name -> score ``(n, 1, 1, 1)`` of ``(n, 64)`` latents, in float64 (alone equals in a batch)."""
    import torch

    rotation = torch.as_tensor(basis(), device=latents.device)
    scores = latents.to(torch.float64) @ rotation
    return {name: scores[:, i, None, None, None] for i, name in enumerate(ATTRIBUTES + FEATURES)}


def features_of(latents: torch.Tensor) -> SimpleNamespace:
    """Return the geometry ``(n, 1, 1, 1)`` and colours ``(n, 3, 1, 1)`` of the faces of ``(n, 64)`` latents.

    Lengths are in half picture widths; x points right, y down, the origin is the middle of the picture.
    """
    s = scores_of(latents)
    face = SimpleNamespace()
    _attributes(face, s)
    _head(face, s)
    _hair(face, s)
    _eyes_and_brows(face, s)
    _nose_and_mouth(face, s)
    _skin(face, s)
    _surroundings(face, s)
    for name, value in vars(face).items():
        setattr(face, name, value.to(latents.dtype))
    return face


def _span(score: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Map a standard normal score to a uniform value between low and high (normal distribution function)."""
    import torch

    return low + (high - low) * 0.5 * (1.0 + torch.erf(score / math.sqrt(2.0)))


def _step(score: torch.Tensor, middle: float, slope: float) -> torch.Tensor:
    return (slope * (score - middle)).sigmoid()


def _mix(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return first + share * (second - first)


def _along(tones: tuple[tuple[float, ...], ...], place: torch.Tensor) -> torch.Tensor:
    """Blend the tones smoothly; ``place`` 0 is the first and 1 the last."""
    import torch

    tones_ = torch.tensor(tones, dtype=place.dtype, device=place.device)
    stops = torch.linspace(0.0, 1.0, len(tones), dtype=place.dtype, device=place.device)
    width = 0.55 / (len(tones) - 1)
    weights = torch.softmax(-0.5 * ((place.reshape(-1, 1) - stops) / width) ** 2, dim=1)
    return (weights @ tones_)[:, :, None, None]


def _wheel(place: torch.Tensor, light: torch.Tensor, colourful: float) -> torch.Tensor:
    """Return a colour of hue ``place`` (one turn is 1): a cosine palette, smooth around the wheel."""
    import torch

    phases = torch.tensor([0.0, 1.0 / 3.0, 2.0 / 3.0], dtype=place.dtype, device=place.device)[None, :, None, None]
    return light * (1.0 + colourful * torch.cos(2.0 * math.pi * (place - phases)))


def _attributes(face: SimpleNamespace, s: dict[str, torch.Tensor]) -> None:
    face.male = _step(s["gender"], 0.0, 2.8)
    face.age = _step(s["age"], 0.0, 1.1)
    face.young = _step(s["age"], -0.9, -1.6)
    face.wrinkles = _step(s["age"], 0.85, 2.2)
    face.grey = _step(s["age"], 1.0, 2.4)
    face.receding = _step(s["age"], 1.3, 1.6) * face.male.square()
    face.glasses = _step(s["eyeglasses"], 0.0, 5.0)
    face.smile = (s["smile"] / 1.3).tanh()
    face.grin = _step(s["smile"], 0.75, 2.6)
    face.yaw = 0.45 * (s["pose"] / 1.6).tanh()


def _head(face: SimpleNamespace, s: dict[str, torch.Tensor]) -> None:
    face.width = _span(s["face_width"], 0.395, 0.445) + 0.012 * face.male + 0.008 * face.young
    face.jaw_drop = _span(s["face_length"], 0.53, 0.60) + 0.025 * face.male - 0.095 * face.young
    face.skull = 0.60 + 0.0 * face.male
    face.taper = _span(s["jaw_width"], 0.40, 0.25) - 0.12 * face.male - 0.10 * face.wrinkles - 0.06 * face.young
    face.square = _span(s["jaw_square"], 2.0, 2.35) + 0.60 * face.male
    face.chin = _span(s["chin_size"], 0.3, 1.0)
    face.cheekbone = _span(s["cheekbone"], 0.0, 1.0)
    face.roll = _span(s["roll"], -0.10, 0.10)
    face.pitch = _span(s["pitch"], -0.03, 0.03)
    face.ear = _span(s["ear_size"], 0.105, 0.145) + 0.012 * face.male + 0.015 * face.wrinkles
    face.neck = 0.165 + 0.055 * face.male - 0.050 * face.young
    face.shoulders = 0.64 + 0.14 * face.male - 0.16 * face.young


def _hair(face: SimpleNamespace, s: dict[str, torch.Tensor]) -> None:
    female = 1.0 - face.male
    long = female * _step(s["hair_length"], -0.3, 2.2)
    face.hair_end = 0.02 + 0.10 * _span(s["hair_length"], 0.0, 1.0) + 0.42 * female + 0.36 * long
    face.curtain = -0.13 + 0.07 * _span(s["hair_sides"], 0.0, 1.0) + 0.75 * female + 0.35 * long
    face.curtain_power = 6.5 - 1.5 * female * _span(s["hair_sides"], 0.0, 1.0)
    face.volume = (_span(s["hair_volume"], 0.06, 0.20) + 0.02 * female) * (1.0 - 0.75 * face.receding)
    face.side_volume = 0.012 + 0.35 * face.volume * (0.35 + 0.65 * female) + 0.03 * long
    face.flare = long * _span(s["hair_sides"], -0.02, 0.12)
    face.curl = _step(s["hair_curl"], 0.35, 1.8)
    face.part = _span(s["hair_part"], -0.24, 0.24)
    face.hairline = -0.40 + _span(s["fringe_depth"], -0.06, 0.13) - 0.05 * face.male - 0.45 * face.receding
    face.sweep = _span(s["fringe_sweep"], -0.35, 0.35) * (1.0 - 0.7 * face.receding)
    face.gloss = _span(s["hair_gloss"], 0.25, 1.0)
    pigment = _along(HAIR_TONES, _span(s["hair_light"], 0.0, 1.0) * (1.05 - 0.8 * _span(s["skin_tone"], 0.0, 1.0)))
    red = pigment * pigment.new_tensor([1.35, 0.80, 0.55])[None, :, None, None]
    pigment = _mix(pigment, red, _step(s["hair_red"], 0.9, 2.2))
    white = pigment.new_tensor([0.80, 0.80, 0.82])[None, :, None, None]
    face.hair_colour = _mix(pigment, white, 0.93 * face.grey)
    face.brow_colour = _mix(0.75 * pigment, 0.78 * white, 0.75 * face.grey)


def _eyes_and_brows(face: SimpleNamespace, s: dict[str, torch.Tensor]) -> None:
    female = 1.0 - face.male
    face.eye_x = _span(s["eye_distance"], 0.172, 0.205)
    face.eye_y = _span(s["eye_height"], -0.05, 0.0) + 0.055 * face.young
    face.eye_rx = _span(s["eye_size"], 0.086, 0.106) + 0.006 * female + 0.009 * face.young
    openness = _span(s["eye_open"], 0.86, 1.14) * (1.0 + 0.16 * female + 0.26 * face.young - 0.14 * face.wrinkles)
    face.eye_ry = 0.056 * openness
    face.squint = 0.018 * face.smile.clamp(min=0.0) * (1.0 + face.grin)
    face.slant = _span(s["eye_slant"], -0.16, 0.20) - 0.16 * face.wrinkles
    face.iris_r = _span(s["iris_size"], 0.043, 0.050) + 0.004 * face.young
    face.iris_colour = _along(IRIS_TONES, _span(s["iris_hue"], 0.0, 1.0)) * _span(s["iris_light"], 0.75, 1.3)
    face.gaze_x = _span(s["gaze_x"], -0.022, 0.022)
    face.gaze_y = _span(s["gaze_y"], -0.007, 0.007)
    face.lashes = 0.25 + 0.75 * female
    face.brow_thickness = _span(s["brow_thickness"], 0.015, 0.023) + 0.013 * face.male - 0.005 * face.young
    face.brow_angle = _span(s["brow_angle"], -0.20, 0.14) + 0.08 * face.male - 0.05 * face.young
    face.brow_arch = _span(s["brow_arch"], 0.6, 2.2) + 1.0 * female
    face.brow_y = _span(s["brow_height"], -0.17, -0.115) + 0.012 * (face.male - face.grin) + 0.038 * face.young
    face.brow_length = _span(s["brow_length"], 0.095, 0.125)


def _nose_and_mouth(face: SimpleNamespace, s: dict[str, torch.Tensor]) -> None:
    female = 1.0 - face.male
    face.nose_y = _span(s["nose_length"], 0.155, 0.235) + 0.012 * face.wrinkles - 0.012 * face.young
    face.nose_w = _span(s["nose_width"], 0.062, 0.096) + 0.014 * face.male + 0.006 * face.wrinkles - 0.008 * face.young
    face.nose_tip = _span(s["nose_tip"], 0.035, 0.056) + 0.005 * face.male
    face.nose_bridge = _span(s["nose_bridge"], 0.3, 1.0)
    face.mouth_y = _span(s["mouth_height"], 0.335, 0.375) - 0.025 * face.young
    face.mouth_w = _span(s["mouth_width"], 0.134, 0.172) * (1.0 + 0.10 * face.smile + 0.16 * face.grin)
    thin = 1.0 - 0.35 * face.wrinkles
    face.lip_upper = (_span(s["lip_upper"], 0.023, 0.043) + 0.010 * female) * thin * (1.0 - 0.25 * face.grin)
    face.lip_lower = (_span(s["lip_lower"], 0.036, 0.060) + 0.012 * female) * thin
    face.mouth_open = 0.078 * face.grin
    face.mouth_curve = 0.050 * face.smile + 0.012 * face.smile.square() + 0.013


def _skin(face: SimpleNamespace, s: dict[str, torch.Tensor]) -> None:
    female = 1.0 - face.male
    warm = _span(s["skin_warmth"], -1.0, 1.0)
    tint = warm.new_tensor([0.015, -0.012, -0.04])[None, :, None, None]
    skin = _along(SKIN_TONES, _span(s["skin_tone"], 0.0, 1.0)) * (1.0 + warm * tint * 1.6)
    pale = skin.new_tensor([0.93, 0.86, 0.82])[None, :, None, None]
    face.skin = _mix(skin, skin * pale + 0.03, 0.45 * face.wrinkles)
    face.shadow = face.skin * face.skin.new_tensor([0.76, 0.62, 0.58])[None, :, None, None]
    face.light = face.skin + (1.0 - face.skin) * 0.45
    natural = face.skin * face.skin.new_tensor([0.86, 0.60, 0.58])[None, :, None, None]
    lipstick = _along(LIP_TONES, _span(s["lip_colour"], 0.0, 1.0))
    face.lips = _mix(natural, _mix(natural, lipstick, 0.75), 0.15 + 0.85 * female)
    face.freckles = _step(s["freckles"], 0.9, 2.2) * (1.0 - 0.5 * face.wrinkles)
    face.blush = _span(s["blush"], 0.10, 0.42) * (0.5 + 0.5 * female) + 0.16 * face.young
    face.beard = face.male * (1.0 - 0.9 * face.young) * _step(s["beard"], 0.3, 3.0)
    face.stubble = face.male * (1.0 - 0.9 * face.young) * 0.30


def _surroundings(face: SimpleNamespace, s: dict[str, torch.Tensor]) -> None:
    hue = _span(s["back_hue"], 0.0, 1.0)
    light = _span(s["back_light"], 0.50, 0.84)
    face.back_near = _wheel(hue, light, 0.18)
    face.back_far = _wheel(hue + 0.10, light * 0.70, 0.22)
    face.back_angle = _span(s["back_angle"], -1.2, 1.2)
    face.light_x = _span(s["light_side"], -1.0, 1.0)
    face.shirt = _wheel(_span(s["shirt_hue"], 0.1, 1.1), _span(s["shirt_light"], 0.22, 0.74), 0.36)
    face.neckline = _span(s["neckline"], 0.0, 1.0)
    face.stripes = _step(s["stripes"], 0.6, 2.5)
    face.glasses_round = _span(s["glasses_round"], 2.1, 4.5)
    face.frame = _along(FRAME_TONES, _span(s["glasses_colour"], 0.0, 1.0))
    face.earrings = (1.0 - face.male) * _step(s["jewellery"], 0.0, 3.0)
