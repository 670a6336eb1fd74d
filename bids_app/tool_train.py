"""``hyper-tools train``: a generator of one's own from a folder of pictures."""

from __future__ import annotations

from typing import Any

NETWORKS = ("dand", "vaegan")
ONLY_DAND = ("space_images", "features", "feature_layer", "feature_weights", "loss_features", "loss_layer",
             "loss_weights")  # fmt: skip
ONLY_EIGENFACE = ("images", "out", "components", "size")
COMMON = ("epochs", "batch_size", "learning_rate", "size", "width", "crop", "held_out", "seed", "precision", "device")


def add_train(commands: Any) -> None:
    """Add the command to the subparsers of ``hyper-tools``."""
    from bids_app.options import add_command

    parser = add_command(commands, "train", "train a generator on a folder of pictures")
    parser.add_argument("model", choices=("dand", "vaegan", "eigenface"), help="what to train")
    parser.add_argument("--images", required=True, metavar="DIR", help="folder of pictures, with its subfolders")
    words = "weights to write: .safetensors (dand, vaegan) or .npz (eigenface); checkpoint and sheets go beside it"
    parser.add_argument("--out", required=True, metavar="FILE", help=words)
    words = "latents (dand 699, vaegan 1024, eigenface 512; of dand and eigenface at most one fewer than pictures)"
    parser.add_argument("--components", type=int, metavar="N", help=words)
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="height and width (dand 64, vaegan 128, eigenface 64)"
    )

    how = parser.add_argument_group("how a network is trained", "Defaults are the papers'; docs/generators.md.")
    how.add_argument("--epochs", type=int, metavar="N", help="dand 100, vaegan 15")
    how.add_argument("--batch-size", type=int, metavar="N", help="64")
    how.add_argument("--learning-rate", type=float, metavar="X", help="Adam's: dand 0.001, vaegan 0.0003")
    how.add_argument("--width", type=int, metavar="N", help="channels of the largest maps: dand 64, vaegan 192")
    how.add_argument("--crop", type=float, metavar="X", help="share of the centre square to keep: dand 1, vaegan 0.8")
    how.add_argument("--held-out", type=int, metavar="N", help="pictures that are only looked at, for the sheets (16)")
    how.add_argument(
        "--loss", nargs="+", action="extend", default=[], metavar="TERM=WEIGHT",
        help="dand: discriminator=100 adversarial=100 feature=0.01 pixel=2e-6; vaegan: discriminator=1 "
        "adversarial=0.001 feature=1 divergence=0.005",
    )  # fmt: skip
    how.add_argument("--seed", type=int, metavar="N", help="root of every random number (0)")
    how.add_argument("--device", choices=("auto", "cpu", "cuda"), help="cpu")
    how.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), help="float32; the others are mixed, on CUDA only"
    )
    how.add_argument("--resume", action="store_true", help="an error if there is no checkpoint; one is taken anyway")
    how.add_argument("--restart", action="store_true", help="throw away checkpoint, losses and sheets; start anew")
    how.add_argument("--skip-bad-images", action="store_true", help="leave out files that are no images, and say so")

    of_dand = parser.add_argument_group("dand", "Its latents are features of a network, and so is a part of its loss.")
    of_dand.add_argument("--feature-weights", metavar="FILE", help="VGG-Face's, for the latents")
    of_dand.add_argument("--features", metavar="NAME", help="another network for the latents, or NAME:LAYER (vggface)")
    of_dand.add_argument("--feature-layer", metavar="LAYER", help="and its layer (fc6)")
    of_dand.add_argument("--loss-weights", metavar="FILE", help="ImageNet VGG-16's, for the loss")
    of_dand.add_argument("--loss-features", metavar="NAME", help="another network for the loss, or NAME:LAYER (vgg16)")
    of_dand.add_argument("--loss-layer", metavar="LAYER", help="and its layer (relu3_3)")
    of_dand.add_argument(
        "--space-images", metavar="DIR", help="pictures that the PCA is fitted on: the experiment's (default: --images)"
    )


def run_train(parsed: Any) -> int:
    """Train what was asked for; return the exit code, 128 and the signal's number where one interrupted it."""
    _check_meant_for(parsed)
    if parsed.model == "eigenface":
        return _eigenface(parsed)
    from pathlib import Path

    from hyper_bids.workflow.training import TrainingRequest, train

    paths = {
        "space_images": parsed.space_images, "feature_weights": parsed.feature_weights,
        "loss_weights_file": parsed.loss_weights,
    }  # fmt: skip
    named = ("features", "feature_layer", "loss_features", "loss_layer", *COMMON)
    given = {name: getattr(parsed, name) for name in named if getattr(parsed, name) is not None}
    request = TrainingRequest(
        parsed.model, Path(parsed.images), Path(parsed.out), n_latents=parsed.components, resume=parsed.resume,
        restart=parsed.restart, skip_bad_images=parsed.skip_bad_images, loss=_weights(parsed.loss), **given,
        **{name: Path(path) for name, path in paths.items() if path is not None},
    )  # fmt: skip
    outcome = train(request, say=_say)
    _say(outcome.message)
    return 128 + outcome.signal if outcome.signal else 0


def _say(line: str) -> None:
    print(line, flush=True)  # a log file shows where the training is


def _check_meant_for(parsed: Any) -> None:
    """Refuse an option that the model has not, instead of ignoring it."""
    from hyper_bids.errors import UsageError

    others = {
        "dand": (),
        "vaegan": ONLY_DAND,
        "eigenface": (*ONLY_DAND, *(set(COMMON) - set(ONLY_EIGENFACE)), "loss", "resume", "restart", "skip_bad_images"),
    }
    for name in others[parsed.model]:
        if getattr(parsed, name):
            raise UsageError(f"{parsed.model} has no --{name.replace('_', '-')}. Leave it out.")


def _weights(words: list[str]) -> dict[str, float]:
    from hyper_bids.errors import UsageError

    found = {}
    for word in words:
        term, equals, weight = word.partition("=")
        try:
            found[term] = float(weight)
        except ValueError as error:
            raise UsageError(f"--loss {word}: write TERM=WEIGHT, as in feature=0.01.") from error
        if not equals:
            raise UsageError(f"--loss {word}: write TERM=WEIGHT, as in feature=0.01.")
    return found


def _eigenface(parsed: Any) -> int:
    from pathlib import Path

    from hyper_bids.generate import Eigenface

    n_components = 512 if parsed.components is None else parsed.components
    model = Eigenface.from_folder(Path(parsed.images), n_components, 64 if parsed.size is None else parsed.size)
    model.save(Path(parsed.out))
    print(f"{model.n_latents} components of {parsed.images} in {parsed.out}")
    return 0
