"""Drawing a face from its features: one short painter per part, back to front.

Two frames of coordinates. ``x, y`` belong to the head (the picture, rolled and pitched): outlines use them.
``u, v`` are painted on the head: it is a cylinder of radius `RADIUS` that turns by the yaw, so that whatever is drawn
in ``u, v`` moves, and narrows on the far side, as a real face does. What stands out from the head (nose, glasses)
is shifted further: parallax.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from hyper_bids.generate.portrait_features import features_of
from hyper_bids.generate.portrait_shapes import (
    TINY,
    Sheet,
    blob,
    ellipse,
    inside,
    stroke,
    superellipse,
    superellipse_norm,
)

RADIUS = 0.47
ZOOM = 0.88
EDGE_IN_PIXELS = 0.42


def draw(latents: Tensor, resolution: int) -> Tensor:
    """Return pictures ``(n, 3, resolution, resolution)`` in 0 to 1 of latents ``(n, 64)``."""
    face = features_of(latents)
    sheet = _blank(face, resolution)
    paint_background(sheet, face)
    _frames(sheet, face)
    paint_back_hair(sheet, face)
    paint_body(sheet, face)
    paint_ears(sheet, face)
    head, place = sheet.crop(-0.78, -0.80, 0.78, 0.80)
    paint_head(head, face)
    paint_features(head, face)
    sheet.insert(head, place)
    paint_front_hair(sheet, face)
    head, place = sheet.crop(-0.78, -0.36, 0.78, 0.34)
    paint_glasses(head, face)
    sheet.insert(head, place)
    return sheet.pixels.clamp(0.0, 1.0)


def _blank(face: SimpleNamespace, resolution: int) -> Sheet:
    like = face.yaw
    columns = ((np.arange(resolution) + 0.5) * (2.0 / resolution) - 1.0) * ZOOM
    rows = columns + 0.03
    x = torch.as_tensor(columns, dtype=like.dtype, device=like.device)[None, None, None, :]
    y = torch.as_tensor(rows, dtype=like.dtype, device=like.device)[None, None, :, None]
    pixels = like.new_zeros((len(like), 3, resolution, resolution))
    edge = EDGE_IN_PIXELS * ZOOM * 2.0 / resolution
    return Sheet(pixels, {"x": x, "y": y, "px": x, "py": y}, rows, columns, edge)


def _frames(sheet: Sheet, face: SimpleNamespace) -> None:
    """Add the head's frame x, y (roll about the neck) and the surface's u, v (yaw)."""
    px, py = sheet["px"], sheet["py"] - 0.02
    sin, cos = face.roll.sin(), face.roll.cos()
    x = cos * px + sin * (py - 0.7)
    y = cos * (py - 0.7) - sin * px + 0.7
    chin = ((y + 0.1) * 2.5).tanh() * 0.5 + 0.5
    front = x - face.yaw * 0.085 * chin
    radius = RADIUS - 0.13 * ((y - 0.14) * 9.0).sigmoid()
    depth = radius.square() - front.square()
    depth = (0.5 * (depth + (depth.square() + 0.004).sqrt())).sqrt()
    sheet.maps.update(x=front, y=y, back_x=x + 0.05 * face.yaw)
    sheet.maps["u"] = front * face.yaw.cos() - depth * face.yaw.sin()
    sheet.maps["v"] = y - face.pitch
    sheet.maps["hair_norm"], sheet.maps["hair_d"] = _hair_outline(sheet, face)


# Behind the head ------------------------------------------------------------------------------------------------


def paint_background(sheet: Sheet, face: SimpleNamespace) -> None:
    """Two-colour gradient in a direction, with a soft halo behind the head."""
    x, y = sheet["px"], sheet["py"]
    along = x * face.back_angle.sin() + y * face.back_angle.cos()
    sheet.pixels = face.back_near + (along * 1.6).sigmoid() * (face.back_far - face.back_near)
    sheet.paint(face.back_near * 0.6 + 0.4, 0.55 * blob(x, y + 0.1, 0.55, 0.6))


def _hair_outline(sheet: Sheet, face: SimpleNamespace) -> tuple[Tensor, Tensor]:
    """Norm (1 on the outline) and distance of the hair's silhouette: a cap, then a column that hangs down."""
    x, y = sheet["back_x"], sheet["y"] + 0.14
    down = (y.square() + 0.01).sqrt()
    below, above = 0.5 * (down + y), 0.5 * (down - y)
    angle = torch.atan2(x, -y)
    bumps = (angle * 14.0).sin() + 0.6 * (angle * 23.0 + 1.0).sin()
    waves = (y * 17.0).sin() * below
    ends = ((face.hair_end + 0.10 - y) * 9.0).sigmoid()
    hang = face.flare * below + face.curl * (0.03 * waves + 0.013 * bumps * ends)
    half_width = face.width + 0.012 + (face.side_volume + hang) * ends - 0.05 * (1.0 - ends)
    top = 0.47 + face.volume + 0.015 * face.curl * bumps
    norm = ((x / half_width).square() + (above / top).square() + TINY).sqrt()
    return norm, (norm - 1.0) * half_width


def _strands(sheet: Sheet, face: SimpleNamespace) -> Tensor:
    """Fine waves along the hair, -1 to 1, fanning out from the parting."""
    x, y = sheet["back_x"] - 0.6 * face.part, sheet["y"]
    fan = torch.atan2(x, (y + 0.80).square().add(0.05).sqrt())
    wobble = face.curl * (y * 16.0 + 5.0 * x).sin()
    return (
        0.45 * (fan * 19.0 + 1.6 * wobble + 0.5).sin()
        + 0.35 * (fan * 43.0 + 2.0 * wobble + 1.0).sin()
        + 0.20 * (fan * 83.0 + 2.0 * wobble + 4.0 * y).sin()
    )


def paint_back_hair(sheet: Sheet, face: SimpleNamespace) -> None:
    """The hair behind neck and shoulders."""
    x, y = sheet["back_x"], sheet["y"]
    sheet.maps["strands"] = _strands(sheet, face)
    end = face.hair_end + 0.02 * sheet["strands"] - 0.25 * x.square() - y
    alpha = inside(sheet["hair_d"], sheet.edge) * inside(-end, sheet.edge)
    fade = 0.62 + 0.10 * sheet["strands"] * face.gloss + 0.12 * (-3.0 * y).tanh()
    sheet.paint(face.hair_colour * fade, alpha)


def paint_body(sheet: Sheet, face: SimpleNamespace) -> None:
    """Neck, shoulders in a shirt, and the shadow that the head throws on them."""
    body, place = sheet.crop(-1.0, 0.25, 1.0, 1.0)
    x, y = body["px"], body["py"]
    drop = (y - 0.60).clamp(min=0.0)
    neck_width = face.neck + 0.9 * drop.square() + 0.03 * (y - 0.55).clamp(min=0.0)
    neck = inside(x.abs() - neck_width, body.edge) * (30.0 * (y - 0.2)).sigmoid()
    side = x * face.light_x
    body.paint(face.skin * (0.93 + 0.12 * (3.0 * side).tanh()), neck)
    cast = inside(ellipse(x - 0.05 * face.yaw, y - 0.42, 0.36, 0.27), 0.03)
    body.paint(face.shadow, 0.75 * cast * neck)
    _paint_shirt(body, face)
    sheet.insert(body, place)


def _paint_shirt(body: Sheet, face: SimpleNamespace) -> None:
    x, y = body["px"], body["py"]
    slope = 0.74 + 0.20 * (x / face.shoulders).square() + 0.5 * (x.abs() - face.shoulders).clamp(min=0.0).square() * 9
    cloth = inside(slope - y, body.edge)
    depth = 0.80 + 0.16 * face.neckline
    curve = x.abs() * (1.1 + 0.4 * face.neckline) + 2.0 * x.square()
    opening = y - (depth - curve)
    cloth = cloth * inside(-opening, body.edge)
    body.paint(face.skin, inside(slope - y, body.edge) * inside(opening, body.edge))
    fold = 0.94 + 0.14 * (2.5 * x * face.light_x).tanh() - 0.10 * (3.0 * (y - 0.9))
    body.paint(face.shirt * fold, cloth)
    bands = (4.0 * (y * 42.0).sin()).sigmoid()
    body.paint(face.shirt * 0.45 + 0.5, 0.75 * face.stripes * bands * cloth)
    hem = inside((opening - 0.022).abs() - 0.022, body.edge) * cloth
    body.paint(face.shirt * 0.72, 0.9 * hem)
    body.paint(face.shirt * 0.35, 0.5 * cloth * blob(x, y - 0.70, 0.35, 0.07))


def paint_ears(sheet: Sheet, face: SimpleNamespace) -> None:
    """Both ears, behind the head: turning hides the far one and shows more of the near one."""
    part, place = sheet.crop(-0.72, -0.28, 0.72, 0.36)
    y = part["y"] - 0.05
    for side in (-1.0, 1.0):
        near = -side * face.yaw
        x = (part["back_x"] - side * (face.width + 0.012 + 0.05 * near)) * side
        x = x - 0.12 * y * -1.0
        width = face.ear * (0.46 + 0.25 * near)
        part.paint(face.skin * 0.95, inside(ellipse(x, y, width, face.ear), part.edge))
        part.paint(face.shadow, 0.75 * inside(ellipse(x - 0.006, y + 0.006, 0.55 * width, 0.66 * face.ear), 0.012))
        lobe = inside(ellipse(x - 0.012, y - face.ear - 0.022, 0.020, 0.024), part.edge)
        gold = x.new_tensor([0.95, 0.78, 0.35])[None, :, None, None]
        part.paint(gold, face.earrings * lobe)
    sheet.insert(part, place)


# The head --------------------------------------------------------------------------------------------------------


def _head_norm(sheet: Sheet, face: SimpleNamespace) -> Tensor:
    """0 in the middle of the head, 1 on its outline."""
    x, y = sheet["x"], sheet["y"]
    low = y > 0.0
    t = (y / face.jaw_drop).clamp(min=0.0)
    cheek = 0.018 * face.cheekbone * blob(0.0 * x, y - 0.10, 1.0, 0.12)
    narrowing = face.taper * t.square() * (1.0 + 0.25 * (1.0 - face.chin) * t)
    width = face.width * (1.0 - narrowing) + cheek
    height = torch.where(low, face.jaw_drop, face.skull)
    power = torch.where(low, face.square, torch.full_like(face.square, 2.0))
    return superellipse_norm(x, y, width, height, power)


def paint_head(head: Sheet, face: SimpleNamespace) -> None:
    """The skin, lit from one side above, darker to its edge."""
    x, y = head["x"], head["y"]
    norm = _head_norm(head, face)
    radius = (x.square() + y.square() + TINY).sqrt()
    mask = inside(radius * (1.0 - 1.0 / norm), head.edge)
    head.maps["skin"] = mask
    lit = face.light_x * x / face.width - 0.55 * y / face.jaw_drop
    side = (1.3 * lit).tanh()
    rim = ((norm - 0.93) * 14.0).sigmoid()
    colour = face.skin * (1.0 + 0.055 * side)
    colour = colour + (0.42 * rim * (1.0 - 0.55 * side)) * (face.shadow - colour)
    head.paint(colour, mask)
    head.paint(face.shadow, 0.32 * mask * ((-lit - 0.55) * 6.0).sigmoid())
    head.paint(face.light, 0.30 * mask * blob(x - 0.12 * face.light_x, y + 0.30, 0.20, 0.12))


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


# In front of the head ---------------------------------------------------------------------------------------------


def paint_front_hair(sheet: Sheet, face: SimpleNamespace) -> None:
    """The hair on forehead and temples, down to the hairline; long hair falls over the cheeks."""
    head, place = sheet.crop(-0.85, -1.0, 0.85, 1.0)
    u, v, edge = head["u"], head["v"], head.edge
    across = (u - face.part) / (face.width - face.part * (8.0 * (u - face.part)).tanh())
    reach = (across.square() + 0.002).sqrt()
    side = reach.pow(face.curtain_power)
    fall = face.curtain - face.hairline
    line = face.hairline + fall * side + face.sweep * (u - face.part) * (1.0 - reach).clamp(min=0.0)
    line = line + (0.008 + 0.016 * face.curl) * head["strands"]
    steep = (1.0 + (fall * face.curtain_power * side / (reach * face.width)).square()).sqrt()
    d_line = (v - line) / steep
    end = inside(head["y"] - face.hair_end - 0.02 * head["strands"] + 0.25 * head["back_x"].square(), edge)
    cover = inside(head["hair_d"], edge) * end
    head.paint(face.shadow * 0.8, 0.45 * cover * (-(d_line - 0.012) * 55.0).sigmoid())
    alpha = cover * inside(d_line, edge)
    head.paint(_hair_shading(head, face), alpha)
    sheet.insert(head, place)


def _hair_shading(head: Sheet, face: SimpleNamespace) -> Tensor:
    """Colour of the hair in front: strands, a band of gloss, darker to the outline."""
    norm, strands = head["hair_norm"], head["strands"]
    ring = blob(norm - 0.76 + 0.02 * strands, 0.0 * norm, 0.085, 1.0) * ((-head["y"] - 0.15) * 8.0).sigmoid()
    lit = (1.6 * (head["back_x"] * face.light_x - 0.3 * head["y"])).tanh()
    value = 0.94 + 0.15 * lit + 0.12 * strands - 0.22 * ((norm - 0.93) * 22.0).sigmoid()
    gloss = face.gloss * ring * (0.55 + 0.35 * strands)
    return face.hair_colour * value + gloss * (0.17 + 0.50 * face.hair_colour)


def paint_glasses(head: Sheet, face: SimpleNamespace) -> None:
    """Frames, bridge, temples, tinted lenses with a streak of light; opacity is the sigmoid of the score."""
    v, edge = head["v"], head.edge
    u = head["u"] - 0.06 * face.yaw.sin()
    au = (u.square() + TINY).sqrt()
    a, b = au - 0.192, v - face.eye_y - 0.012
    skin = inside(head["x"].abs() - face.width * 1.02, edge) * face.glasses
    outline = superellipse(a, b, 0.142 + 0.0 * face.eye_rx, 0.118 + 0.0 * face.eye_rx, face.glasses_round)
    lens = inside(outline, edge)
    glass = face.frame * 0.35 + 0.62
    head.paint(glass, 0.13 * lens * skin)
    streak = inside((a * 0.8 + b + 0.02).abs() - 0.018, edge) + inside((a * 0.8 + b - 0.045).abs() - 0.007, edge)
    head.paint(torch.ones_like(face.frame), 0.26 * streak * lens * skin)
    head.paint(face.shadow * 0.6, 0.30 * skin * inside((outline - 0.010).abs() - 0.012, 0.01))
    rim = inside(outline.abs() - 0.0155, edge)
    bridge = stroke(u / 0.075, b + 0.030 - 2.2 * u.square(), 0.014, edge, taper=0.0)
    temple = inside((b + 0.035).abs() - 0.013, edge) * inside(0.330 - au, edge)
    head.paint(face.frame, skin * (1.0 - (1.0 - rim) * (1.0 - bridge) * (1.0 - temple)))
