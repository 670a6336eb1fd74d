"""``--encoder``: latents from the pictures themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.derivatives.write import write_json, write_npz
from hyper_bids.workflow import files


def encode_stimuli(
    *, trials: Path, encoder: str, n_components: int, image_size: int, images: Mapping[str, str], out_dir: Path
) -> dict[str, Path]:
    """Compute the latents of all sample stimuli.

    Principal components are those of the *training* pictures. Where the design is
    cross-validated every stimulus is trained on in some fold: then they are those of all
    pictures (of pictures only: no response enters), which the facts say.

    Outputs: ``latents`` (npz), ``weights`` (npz: the generator's, empty for identity), ``facts`` (JSON).
    """
    from hyper_bids.generate import Eigenface
    from hyper_bids.generate.eigenface import square_pixels
    from hyper_bids.generate.images import read_image

    events = files.load_table(trials)
    samples = events[events["role"] == "sample"]
    stimuli = tuple(sorted(set(samples["stimulus_id"])))
    trained = set(samples.loc[samples["split"] != "test", "stimulus_id"])
    # One picture at a time: a thousand of 1024 pixels do not fit into memory.
    pixels = np.concatenate([square_pixels(read_image(Path(images[label]))[None], image_size) for label in stimuli])
    pixels = pixels.astype(np.float32)
    notices: list[str] = []
    weights = out_dir / "weights.npz"
    if encoder == "identity":
        values = pixels.reshape(len(pixels), -1)
        write_npz(weights, {})
    else:
        learned = np.array([label in trained for label in stimuli])
        model = Eigenface.fit(pixels[learned], n_components, image_size)
        values = model.encode(pixels)
        model.save(weights)
        if model.n_latents < n_components:
            notices.append(f"{learned.sum()} training pictures have {model.n_latents} principal components, not more.")
        if (samples["split"] == "cv").any():
            notices.append("The principal components are those of all pictures: every one is trained on in some fold.")
    facts = {"encoder": encoder, "image_size": image_size, "n_latents": int(values.shape[1]), "notices": notices}
    return {
        "latents": files.save_latents(out_dir / "latents.npz", Latents(values, stimuli, encoder)),
        "weights": weights,
        "facts": write_json(out_dir / "facts.json", facts),
    }
