"""Drawing a face from its features, back to front: outlines here, what is on the skin in `portrait_skin`.

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
from hyper_bids.generate.portrait_skin import paint_features

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
