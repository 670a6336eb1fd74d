"""Draw docs/demo.png from the demo's results: python docs/picture.py build/demo docs/demo.png."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

TILE, GAP, LEFT, TOP = 112, 6, 92, 20
ROWS = ("shown", "decoded", "ceiling")
INK = (30, 30, 30)


def read(path: Path) -> Image.Image:
    """Return a picture at the size of a tile."""
    return Image.open(path).convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)


def chosen(scores: pd.DataFrame) -> list[str]:
    """Two best, two in the middle, two worst by latent correlation: no cherries."""
    names = scores.sort_values("latent_correlation", ascending=False)["stimulus_id"].tolist()
    middle = len(names) // 2
    return [*names[:2], *names[middle - 1 : middle + 1], *names[-2:]]


def ceilings(bids: Path, stimuli: list[str]) -> dict[str, Image.Image]:
    """What the generator draws from the true latents."""
    from hyper_bids.data import Latents
    from hyper_bids.generate import make_generator
    from hyper_bids.generate.images import render

    rows = pd.read_csv(bids / "stimuli/latents/portrait.tsv", sep="\t", dtype=str)["stimulus_id"].tolist()
    latents = np.load(bids / "stimuli/latents/portrait.npy")[[rows.index(name) for name in stimuli]]
    generator = make_generator("portrait", space="portrait", n_latents=latents.shape[1])
    images = render(generator, Latents(latents, tuple(stimuli), "portrait"))
    tiles = [Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.LANCZOS) for pixels in images.pixels]
    return dict(zip(stimuli, tiles, strict=True))


def draw(demo: Path, out: Path) -> None:
    """Write the picture."""
    bids, func = demo / "bids", demo / "out" / "sub-01" / "func"
    (scores,) = func.glob("*model-ridge_desc-portrait_metrics.tsv")
    (recon,) = func.glob("*model-ridge_desc-portrait_recon.tsv")
    metrics = pd.read_csv(scores, sep="\t", dtype={"stimulus_id": str}, na_values="n/a")
    files = pd.read_csv(recon, sep="\t", dtype=str).set_index("stimulus_id")
    r = metrics.set_index("stimulus_id")["latent_correlation"]
    names = chosen(metrics)
    top = ceilings(bids, names)
    canvas = Image.new("RGB", (LEFT + len(names) * (TILE + GAP), TOP + len(ROWS) * (TILE + GAP)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for row, label in enumerate(ROWS):
        pen.text((LEFT - 10, TOP + row * (TILE + GAP) + TILE // 2), label, INK, font, anchor="rm")
    for column, name in enumerate(names):
        left = LEFT + column * (TILE + GAP)
        pen.text((left + TILE // 2, 2), f"r {r[name]:.2f}", INK, font, anchor="ma")
        shown = read(bids / "stimuli" / files.loc[name, "stim_file"])
        for row, tile in enumerate((shown, read(demo / "out" / files.loc[name, "recon_file"]), top[name])):
            canvas.paste(tile, (left, TOP + row * (TILE + GAP)))
    canvas.save(out, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
