"""What is painted on the skin of a drawn face: cheeks, beard, wrinkles, mouth, nose, eyes, brows.

One short painter per part, in the coordinates ``u, v`` of the head's surface (`portrait_drawing`).
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from hyper_bids.generate.portrait_shapes import TINY, Sheet, blob, ellipse, inside, stroke


def paint_features(head: Sheet, face: SimpleNamespace) -> None:
    """Everything that is painted on the skin."""
    bare = head.pixels
    paint_cheeks(head, face)
    paint_beard(head, face)
    paint_wrinkles(head, face)
    for painter, window in (
        (paint_mouth, (-0.5, 0.16, 0.5, 0.56)),
        (paint_nose, (-0.5, -0.22, 0.5, 0.40)),
        (paint_eyes, (-0.6, -0.24, 0.6, 0.18)),
        (paint_brows, (-0.6, -0.36, 0.6, 0.06)),
    ):
        part, place = head.crop(*window)
        painter(part, face)
        head.insert(part, place)
    head.pixels = bare + head["skin"] * (head.pixels - bare)


def paint_cheeks(head: Sheet, face: SimpleNamespace) -> None:
    """Blush, the light on cheekbones and chin, freckles."""
    u, v = head["u"], head["v"]
    au = (u.square() + TINY).sqrt()
    raised = 0.02 * face.smile
    rosy = face.skin * u.new_tensor([1.02, 0.66, 0.62])[None, :, None, None]
    cheek = blob(au - 0.235, v - 0.175 + raised, 0.085, 0.065)
    head.paint(rosy, face.blush * (1.0 + 0.6 * face.smile.clamp(min=0.0)) * cheek)
    bone = blob(au - 0.225, v - 0.085 + raised, 0.07, 0.03)
    head.paint(face.light, (0.16 + 0.16 * face.cheekbone) * bone)
    head.paint(face.light, (0.10 + 0.22 * face.chin) * blob(u, v - face.jaw_drop + 0.085, 0.05, 0.03))
    u, v = u + 0.012 * (v * 37.0 + 9.0 * u).sin(), v + 0.010 * (u * 41.0 - 8.0 * v).sin()
    dots = (u * 92.0 + v * 21.0).sin() * (v * 97.0 - u * 27.0).sin() * (0.7 + 0.3 * (u * 23.0 + v * 31.0).sin())
    where = blob(au - 0.17, v - 0.14, 0.13, 0.06) + 0.6 * blob(u, v - 0.09, 0.09, 0.05)
    head.paint(face.shadow * 0.85, face.freckles * (24.0 * (dots - 0.42)).sigmoid() * where.clamp(max=1.0) * 0.8)


def paint_beard(head: Sheet, face: SimpleNamespace) -> None:
    """A shadow of stubble on every man, a full beard with moustache on some."""
    u, v = head["u"], head["v"]
    line = 0.30 - 1.3 * u.square() * (u.square() * 12.0).clamp(max=1.6) + 0.0 * v
    jaw = ((v - line) * 32.0).sigmoid()
    lip = v - face.mouth_y
    bare = blob(u / (face.mouth_w * 1.05), (lip + 0.01) / 0.075, 0.8, 0.75)
    moustache = blob(u / (face.mouth_w * 0.95), (lip + 0.065) / 0.030, 0.8, 0.9)
    cover = (jaw * (1.0 - 0.9 * bare) + moustache).clamp(max=1.0)
    blue = face.skin * 0.62 + 0.22 * face.hair_colour
    head.paint(blue, face.stubble * cover)
    grain = 0.88 + 0.30 * u * face.light_x - 0.5 * (v - 0.45) + 0.03 * (u * 47.0).sin() * (v * 41.0 + u * 31.0).sin()
    head.paint(face.hair_colour * grain, 0.92 * face.beard * cover)


def paint_wrinkles(head: Sheet, face: SimpleNamespace) -> None:
    """Forehead lines, crow's feet, bags under the eyes, folds from nose to mouth, and sagging cheeks."""
    u, v = head["u"], head["v"]
    au = (u.square() + TINY).sqrt()
    old, dark, edge = face.wrinkles, face.shadow * 0.86, head.edge
    wave = 0.012 * (u * 19.0).cos()
    for height, length, depth in ((-0.345, 0.19, 0.7), (-0.295, 0.23, 0.85), (-0.245, 0.20, 0.8)):
        head.paint(dark, depth * 0.75 * old * stroke(u / length, v - height - wave, 0.0075, edge))
    for tilt in (-0.55, -0.05, 0.45):
        t = (au - face.eye_x - face.eye_rx - 0.045) / 0.040
        off = v - face.eye_y - 0.01 - tilt * (au - face.eye_x - face.eye_rx + 0.015)
        head.paint(dark, 0.75 * old * stroke(t, off, 0.006, edge))
    t = (au - face.eye_x) / 0.095
    bag = v - face.eye_y - face.eye_ry - 0.042 + 0.032 * t.square()
    head.paint(dark, (0.12 + 0.70 * old) * stroke(t, bag, 0.007, edge))
    head.paint(face.shadow, 0.35 * old * blob(t * 0.095, bag + 0.012, 0.07, 0.018))
    crease = (0.08 + 0.45 * face.smile.clamp(min=0.0) + 0.9 * old).clamp(max=1.0)
    t = (v - 0.285) / 0.105
    fold = au - 0.145 - 0.045 * t - 0.028 * t.square() - 0.022 * face.smile
    head.paint(dark, 0.75 * crease * stroke(t, fold, 0.008, edge))
    t = (v - 0.455) / 0.05
    head.paint(dark, 0.6 * old * stroke(t, au - face.mouth_w - 0.012 - 0.012 * t, 0.007, edge))
    head.paint(face.shadow, 0.30 * old * blob(au - 0.26, v - 0.33, 0.05, 0.10))


def paint_mouth(part: Sheet, face: SimpleNamespace) -> None:
    """Lips along a curve that rises or falls at the corners; a grin opens them and shows teeth."""
    u, v, edge = part["u"] - 0.03 * face.yaw.sin(), part["v"], part.edge
    t = u / face.mouth_w
    dome = (1.0 - t.square()).clamp(min=0.0)
    ends = ((1.03 - (t.square() + TINY).sqrt()) * 40.0).sigmoid()
    middle = face.mouth_y + face.mouth_curve * (0.45 - t.square())
    bow = 1.0 - 0.34 * blob(t, 0.0 * t, 0.16, 1.0)
    gap_top = middle - 0.35 * face.mouth_open * dome
    gap_bottom = middle + 0.65 * face.mouth_open * dome
    lip_top = gap_top - face.lip_upper * dome * bow
    lip_bottom = gap_bottom + face.lip_lower * (dome + 1e-4).sqrt() * dome
    part.paint(face.shadow, 0.45 * ends * blob(t, (v - lip_bottom - 0.022) / 0.014, 0.42, 1.0))
    upper = inside(lip_top - v, edge) * inside(v - middle, edge) * ends
    lower = inside(middle - v, edge) * inside(v - lip_bottom, edge) * ends
    part.paint(face.lips * 0.86, upper)
    part.paint(face.lips, lower)
    shine = blob(t, (v - 0.5 * (gap_bottom + lip_bottom)) / 0.009, 0.35, 1.0)
    part.paint(face.lips + (1.0 - face.lips) * 0.45, 0.5 * shine * lower)
    gap = inside(gap_top - v, edge) * inside(v - gap_bottom, edge) * ends * (3.0 * face.grin).tanh()
    part.paint(face.lips * 0.28, gap)
    teeth = inside(v - gap_top - 0.66 * face.mouth_open * dome, edge)
    part.paint(v.new_tensor([0.97, 0.96, 0.93])[None, :, None, None], 0.97 * gap * teeth)
    line = stroke(t / 1.06, v - middle, 0.0085, edge)
    part.paint(face.lips * 0.45, 0.85 * (1.0 - face.grin) * line)
    corners = blob((t.square() + TINY).sqrt() - 1.03, (v - middle) / 0.014, 0.07, 1.0)
    part.paint(face.shadow * 0.8, 0.6 * corners)


def paint_nose(part: Sheet, face: SimpleNamespace) -> None:
    """Bridge, tip, wings and nostrils; further out towards the tip, so the nose turns more than the face."""
    v, edge = part["v"], part.edge
    along = ((v + 0.10) / (face.nose_y + 0.10)).clamp(0.0, 1.15)
    u = part["u"] - face.yaw.sin() * (0.02 + 0.085 * along.square())
    dark, width = face.shadow, 0.030 + (face.nose_w - 0.040) * along.square()
    far = face.yaw * 3.0 - face.light_x
    away = (2.5 * far).tanh()
    span = ((v + 0.12) * 26.0).sigmoid() * ((face.nose_y - 0.005 - v) * 40.0).sigmoid()
    flank = u * away - width
    side = blob(flank, 0.0 * v, 0.020, 1.0) * span
    part.paint(dark, (0.30 + 0.35 * face.nose_bridge) * side)
    ridge = blob(u + 0.006 * away, 0.0 * v, 0.013, 1.0) * span
    part.paint(face.light, (0.22 + 0.33 * face.nose_bridge) * ridge)
    under = blob(u, v - face.nose_y - 0.028, face.nose_w * 0.85, 0.016)
    part.paint(dark, 0.65 * under)
    tip = inside(ellipse(u, v - face.nose_y + 0.012, face.nose_tip, face.nose_tip * 0.86), 0.012)
    part.paint(face.skin * 1.02, 0.65 * tip)
    au = (u.square() + TINY).sqrt()
    wing = inside(ellipse(au - face.nose_w + 0.022, v - face.nose_y + 0.004, 0.025, 0.027), 0.008)
    part.paint(face.skin * 0.95, 0.65 * wing)
    t = (v - face.nose_y) / 0.033
    curve = au - face.nose_w - 0.006 + 0.022 * t.square()
    part.paint(dark * 0.85, 0.80 * stroke(t, curve, 0.0075, edge))
    nostril = ellipse(au - face.nose_w * 0.52, v - face.nose_y - 0.017 + 0.25 * (au - 0.04), 0.019, 0.0095)
    part.paint(dark * 0.42, 0.85 * inside(nostril, edge))
    part.paint(face.light, 0.6 * blob(u - 0.006 * face.light_x, v - face.nose_y + 0.022, 0.015, 0.012))


def paint_eyes(part: Sheet, face: SimpleNamespace) -> None:
    """Both eyes at once, in mirrored coordinates (only the gaze knows left from right)."""
    u, v, edge = part["u"], part["v"], part.edge
    a = (u.square() + TINY).sqrt() - face.eye_x
    t = a / face.eye_rx
    b = v - face.eye_y + face.slant * a
    dome = (1.0 - t.square()).clamp(min=0.0)
    top = -face.eye_ry * dome * (1.0 - 0.18 * t)
    bottom = (0.72 * face.eye_ry - face.squint) * dome
    socket = blob(a, b + 0.045, face.eye_rx * 0.95, 0.040)
    part.paint(face.shadow, (0.34 + 0.18 * face.male + 0.2 * face.wrinkles) * socket)
    ends = ((1.0 - (t.square() + TINY).sqrt()) * 25.0).sigmoid()
    opening = inside(top - b, edge) * inside(b - bottom, edge) * ends
    white = a.new_tensor([0.97, 0.965, 0.955])[None, :, None, None] - 0.04 * face.wrinkles
    part.paint(white, opening)
    _paint_iris(part, face, a - face.gaze_x * torch.where(u < 0.0, -1.0, 1.0), b, opening)
    part.paint(face.shadow * 0.55, 0.55 * opening * blob(b - top, 0.0 * t, 0.016, 1.0))
    lash = face.hair_colour * 0.25 + 0.02
    thickness = 0.0085 + 0.0065 * face.lashes * (0.6 + 0.5 * t)
    part.paint(lash, 0.95 * stroke(t / 1.09, b - top - 0.003, thickness, edge, taper=0.75))
    wing = stroke((t - 1.12) / 0.26, b - top + 0.18 * (a - face.eye_rx * 0.9), 0.010, edge, taper=0.8)
    part.paint(lash, 0.85 * face.lashes.square() * wing)
    part.paint(face.shadow * 0.7, 0.55 * stroke(t / 1.02, b - bottom, 0.006, edge))
    crease = b - top * 1.05 + 0.026 - 0.012 * face.wrinkles
    part.paint(face.shadow * 0.75, 0.65 * stroke(t / 1.08, crease, 0.0065, edge))


def _paint_iris(part: Sheet, face: SimpleNamespace, a: Tensor, b: Tensor, opening: Tensor) -> None:
    edge = part.edge
    b = b - face.gaze_y + 0.006
    radius = (a.square() + b.square() + TINY).sqrt()
    part.paint(face.iris_colour * 0.42, opening * inside(radius - face.iris_r, edge))
    lower = 0.75 + 9.0 * b
    part.paint(face.iris_colour * lower.clamp(0.5, 1.4), opening * inside(radius - face.iris_r * 0.84, edge))
    part.paint(0.04 + 0.0 * face.iris_colour, opening * inside(radius - face.iris_r * 0.46, edge))
    glint = inside(ellipse(part["u"].sign() * a - 0.014 * face.light_x, b + 0.015, 0.0105, 0.0105), edge)
    part.paint(1.0 + 0.0 * face.iris_colour, 0.95 * opening * glint)


def paint_brows(part: Sheet, face: SimpleNamespace) -> None:
    """Two tapering strokes above the eyes."""
    u, v, edge = part["u"], part["v"], part.edge
    a = (u.square() + TINY).sqrt() - face.eye_x - 0.008
    t = a / face.brow_length
    middle = face.brow_y - 0.016 - face.brow_angle * a + 0.012 * face.brow_arch * (t.square() - 0.25 * t)
    thickness = face.brow_thickness * (1.0 - 0.42 * t)
    alpha = stroke(t, v - middle, thickness, edge * 1.3, taper=0.45)
    part.paint(face.brow_colour, (0.90 - 0.2 * face.grey) * alpha)
