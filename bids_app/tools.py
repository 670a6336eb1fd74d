"""``hyper-tools <command>``: what is no BIDS-App level."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run a companion command and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if "--version" in words:
        from hyper_bids import __version__

        print(f"hyper-tools {__version__}")
        return 0
    from bids_app.cli import give_home
    from bids_app.options import report_error
    from hyper_bids.errors import HyperError

    try:
        parsed = make_parser().parse_args(words)
        give_home()
        return COMMANDS[parsed.tool](parsed)
    except HyperError as error:
        return report_error(error, "--debug" in words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # the last line of defence: whatever it is, say what to do
        return report_error(error, "--debug" in words)


def make_parser():
    """Return the parser of all companion commands."""
    from bids_app.options import Parser, add_options
    from hyper_bids.simulate.settings import SimulateSettings

    parser = Parser(prog="hyper-tools", description="Companion commands of the BIDS App hyper.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="tool", metavar="COMMAND", required=True, parser_class=Parser)

    simulate = commands.add_parser("simulate", help="make a BIDS dataset with known truth", prog="hyper-tools simulate")
    simulate.add_argument("out", help="folder to make")
    add_options(simulate, SimulateSettings, "what is simulated")

    generate = commands.add_parser("generate", help="turn latents into pictures", prog="hyper-tools generate")
    generate.add_argument("--generator", required=True, metavar="NAME", help="portrait, identity, eigenface or yours")
    generate.add_argument("--weights", metavar="FILE", help="weights of the generator")
    generate.add_argument("--shape", type=int, nargs="+", metavar="N", help="of identity's pictures: height width [3]")
    generate.add_argument("--latents", required=True, metavar="FILE", help=".npy (n, k), or .tsv with a header")
    generate.add_argument("--out", required=True, metavar="DIR", help="folder for the PNGs and images.npy")
    generate.add_argument("--device", default="cpu", choices=("cpu", "cuda"))

    train = commands.add_parser("train", help="fit a generator to pictures", prog="hyper-tools train")
    train.add_argument("model", choices=("eigenface",))
    train.add_argument("--images", required=True, metavar="DIR", help="folder of pictures")
    train.add_argument("--out", required=True, metavar="FILE", help="weights to write (.npz)")
    train.add_argument("--components", type=int, default=512, metavar="N", help="principal components (512)")
    train.add_argument("--size", type=int, default=64, metavar="PIXELS", help="height and width (64)")
    return parser


def _simulate(parsed) -> int:
    from pathlib import Path

    from bids_app.options import values_of
    from hyper_bids.settings import build_section
    from hyper_bids.simulate.settings import SimulateSettings, check
    from hyper_bids.workflow.simulation import run_simulation

    settings = build_section(SimulateSettings, values_of(parsed, SimulateSettings))
    check(settings)
    out = run_simulation(Path(parsed.out), settings, progress=print)
    print(f"made {out}")
    return 0


def _generate(parsed) -> int:
    from pathlib import Path

    from hyper_bids.workflow.pictures import generate_pictures

    count = generate_pictures(
        parsed.generator,
        Path(parsed.latents),
        Path(parsed.out),
        weights=Path(parsed.weights) if parsed.weights else None,
        shape=parsed.shape,
        device=parsed.device,
    )
    print(f"{count} pictures in {parsed.out}")
    return 0


def _train(parsed) -> int:
    from pathlib import Path

    from hyper_bids.generate import Eigenface

    model = Eigenface.from_folder(Path(parsed.images), parsed.components, parsed.size)
    model.save(Path(parsed.out))
    print(f"{model.n_latents} components of {parsed.images} in {parsed.out}")
    return 0


COMMANDS = {"simulate": _simulate, "generate": _generate, "train": _train}

if __name__ == "__main__":
    sys.exit(main())
