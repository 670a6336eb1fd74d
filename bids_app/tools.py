"""``hyper-tools <command>``: what is no BIDS-App level."""

from __future__ import annotations

import sys

from bids_app.tool_check import add_check, run_check
from bids_app.tool_evaluate import add_evaluate, run_evaluate
from bids_app.tool_train import add_train, run_train


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
    from bids_app.options import Parser, add_command, add_options
    from hyper_bids.simulate.settings import SimulateSettings

    parser = Parser(prog="hyper-tools", description="Companion commands of the BIDS App hyper.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="tool", metavar="COMMAND", required=True)

    simulate = add_command(commands, "simulate", "make a BIDS dataset with known truth")
    simulate.add_argument("out", help="folder to make")
    add_options(simulate, SimulateSettings, "what is simulated")
    drawn = simulate.add_argument_group("how pictures are drawn", "Of networks; --generator may be a file.")
    drawn.add_argument("--weights", metavar="FILE", help="weights of the generator (or name the file as --generator)")
    _add_drawing(drawn)

    generate = add_command(commands, "generate", "turn latents into pictures")
    names = "pggan, vaegan, dand, stylegan2, onnx, eigenface, portrait, identity, a weight file, package.module:Class"
    generate.add_argument("--generator", required=True, metavar="NAME|FILE", help=names)
    generate.add_argument(
        "--weights", metavar="FILE", help="weights of the generator; a TensorFlow V2 checkpoint by .index or prefix"
    )
    generate.add_argument("--shape", type=int, nargs="+", metavar="N", help="of identity's pictures: height width [3]")
    generate.add_argument("--latents", required=True, metavar="FILE", help=".npy (n, k), or .tsv with a header")
    generate.add_argument("--out", required=True, metavar="DIR", help="folder for the PNGs and images.npy")
    generate.add_argument(
        "--layer", metavar="K", help="also write activations.npy: 0 to 9, ends of blocks; L1 to L19, weight layers"
    )
    _add_drawing(generate)
    generate.add_argument("--latent", choices=("z", "w"), help="which of StyleGAN2's the latents are (z)")
    generate.add_argument("--compile", action="store_true", help="compile the network: slow start, then faster")
    generate.add_argument(
        "--edit", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="move the latents along an attribute to this score, as in smile=3, or by this much, as in age+=-1",
    )
    generate.add_argument(
        "--keep", nargs="+", action="extend", default=[], metavar="NAME", help="attributes that no edit may change"
    )
    generate.add_argument(
        "--attributes", nargs="+", action="extend", default=[], metavar="FILE",
        help="boundaries, .npy files named after the attribute (default: the generator's own)",
    )

    _add_models(commands)
    add_train(commands)
    add_evaluate(commands)
    add_check(commands)

    imported = add_command(commands, "import-hyper", "HYPER's published data into a dataset for --responses")
    imported.add_argument("files", nargs="+", metavar="FILE", help="data_1.dat data_2.dat: one per participant")
    imported.add_argument("--out", required=True, metavar="DIR", help="dataset to make")
    return parser


def _add_drawing(parser) -> None:
    """Add how a network is run; what is not given stays None."""
    parser.add_argument("--resolution", type=int, metavar="N", help="stop at pictures of N pixels, e.g. 256")
    parser.add_argument(
        "--precision", default="float32", choices=("float32", "bfloat16"), help="arithmetic of the network"
    )
    parser.add_argument("--truncation", type=float, metavar="PSI", help="StyleGAN2's psi, 0 (the mean face) to 1")
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"), help="where the network runs")


def _add_models(commands) -> None:
    from bids_app.options import add_command

    models = add_command(commands, "models", "what weight files there are, and what a file is")
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)

    add_command(actions, "list", "the published files: name, size, licence, page, checksum")

    inspect = add_command(actions, "inspect", "what a weight file is")
    inspect.add_argument("file", metavar="FILE", help="weights in any format that hyper reads; no code in it is run")
    inspect.add_argument("--json", action="store_true", help="as JSON")

    verify = add_command(actions, "verify", "compare a file's checksum")
    verify.add_argument("file", metavar="FILE", help="any file; a published one under its own name needs no option")
    verify.add_argument("--sha256", metavar="HEX", help="what it should be (default: what is known of the file's name)")
    verify.add_argument("--as", dest="key", metavar="NAME", help="compare with this published file")

    convert = add_command(actions, "convert", "into safetensors: no code, quick to read")
    convert.add_argument("file", metavar="FILE", help="weights in any format that hyper reads; the file stays as it is")
    convert.add_argument("--out", required=True, metavar="FILE", help="ends in .safetensors")
    convert.add_argument("--member", metavar="NAME", help="which network of a checkpoint (default: the average)")

    fetch = add_command(actions, "fetch", "download a file, resuming what broke off, and verify it")
    fetch.add_argument("what", metavar="NAME|URL", help="a published file's name, or an address")
    fetch.add_argument("--url", help="the address of a published file, as its authors' page says")
    fetch.add_argument("--out", default=".", metavar="DIR|FILE", help="where to (default: here)")
    fetch.add_argument("--sha256", metavar="HEX", help="what it should be (default: what is known)")


def _simulate(parsed) -> int:
    from pathlib import Path

    from bids_app.options import values_of
    from hyper_bids.settings import build_section
    from hyper_bids.simulate.settings import SimulateSettings, check
    from hyper_bids.workflow.simulation import run_simulation

    settings = build_section(SimulateSettings, values_of(parsed, SimulateSettings))
    check(settings)
    out = run_simulation(
        Path(parsed.out),
        settings,
        progress=print,
        weights=Path(parsed.weights) if parsed.weights else None,
        drawing=_drawing_of(parsed),
    )
    print(f"made {out}")
    return 0


def _generate(parsed) -> int:
    from pathlib import Path

    from hyper_bids.workflow.pictures import PictureRequest, generate_pictures

    request = PictureRequest(
        parsed.generator,
        weights=Path(parsed.weights) if parsed.weights else None,
        shape=tuple(parsed.shape or ()),
        compiled=parsed.compile,
        latent=parsed.latent,
        layer=parsed.layer,
        attributes=tuple(Path(name) for name in parsed.attributes),
        edits=tuple(parsed.edit),
        keep=tuple(parsed.keep),
        **_drawing_of(parsed),
    )
    count = generate_pictures(request, Path(parsed.latents), Path(parsed.out))
    print(f"{count} pictures in {parsed.out}")
    return 0


def _drawing_of(parsed) -> dict:
    return {name: getattr(parsed, name) for name in ("resolution", "precision", "truncation", "device")}


def _models(parsed) -> int:
    from pathlib import Path

    from hyper_bids.workflow import models

    if parsed.action == "list":
        print("\n".join(models.list_published()))
    elif parsed.action == "inspect":
        _print_found(models.inspect_file(Path(parsed.file)), parsed.json)
    elif parsed.action == "verify":
        print(models.verify_file(Path(parsed.file), parsed.sha256, parsed.key))
    elif parsed.action == "convert":
        print(models.convert_file(Path(parsed.file), Path(parsed.out), parsed.member))
    else:
        fetched = models.fetch_file(parsed.what, Path(parsed.out), url=parsed.url, sha256=parsed.sha256, say=print)
        print(fetched)
    return 0


def _print_found(found: dict, as_json: bool) -> None:
    import json

    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for name, value in found.items():
        for number, line in enumerate(value if isinstance(value, list) and name == "Notes" else [value]):
            print(f"{name if number == 0 else '':<12}{line}")


def _import_hyper(parsed) -> int:
    from pathlib import Path

    from hyper_bids.workflow.import_hyper import import_hyper

    out = import_hyper([Path(name) for name in parsed.files], Path(parsed.out))
    print(f"made {out}; decode it with: hyper {out} OUTPUT participant --responses {out / 'derivatives' / 'responses'}")
    return 0


COMMANDS = {
    "evaluate": run_evaluate,
    "check": run_check,
    "simulate": _simulate,
    "generate": _generate,
    "train": run_train,
    "models": _models,
    "import-hyper": _import_hyper,
}

if __name__ == "__main__":
    sys.exit(main())
