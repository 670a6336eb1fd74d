"""``hyper-tools evaluate``: scores, tests and audits of predictions that somebody brings, without any BOLD."""

from __future__ import annotations

from typing import Any


def add_evaluate(commands: Any) -> None:
    """Add the command to the subparsers of ``hyper-tools``."""
    from bids_app.options import add_command

    words = "score and test predictions against the truth: pictures or latents, without any BOLD"
    parser = add_command(commands, "evaluate", words)
    forms = "a folder of pictures, or latents: .npy (index: a .tsv of the same name), .tsv, .h5, or a folder of them"
    parser.add_argument("--true", required=True, metavar="DIR|FILE", help=forms)
    parser.add_argument(
        "--predicted", required=True, metavar="DIR|FILE", help="the same; pictures are matched by name without ending"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the tables and evaluate.html")
    parser.add_argument(
        "--labels", metavar="FILE", help="TSV with stimulus_id and labels: groups to identify among, ratings"
    )
    parser.add_argument(
        "--protocol", metavar="NAME",
        help="also score pictures as a paper did: hyper2020, hyper2022, dand, vaegan, naturalimages",
    )  # fmt: skip
    parser.add_argument(
        "--features", nargs="+", action="extend", default=[], metavar="NAME[:LAYER]",
        help="networks whose features of pictures are compared: vggface2, vggface, vgg16, alexnet, inception, clip, "
        "efficientnet, swav; the first that recognises faces (else the first) fills feature_similarity",
    )  # fmt: skip
    parser.add_argument(
        "--feature-weights", nargs="+", action="extend", default=[], metavar="FILE",
        help="their weight files, in the same order; without --features a file says itself which network it is",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where networks run")
    parser.add_argument("--n-permutations", type=int, default=1000, metavar="N", help="of stimuli (1000)")
    parser.add_argument("--random-seed", type=int, default=0, metavar="N", help="root of every random number (0)")


def run_evaluate(parsed: Any) -> int:
    """Evaluate what was asked for; return the exit code."""
    from pathlib import Path

    from hyper_bids.workflow.evaluate_files import Request, evaluate_files

    page = evaluate_files(
        Request(
            true=Path(parsed.true),
            predicted=Path(parsed.predicted),
            out=Path(parsed.out),
            labels=Path(parsed.labels) if parsed.labels else None,
            protocol=parsed.protocol,
            n_permutations=parsed.n_permutations,
            random_seed=parsed.random_seed,
            features=tuple(parsed.features),
            feature_weights=tuple(parsed.feature_weights),
            device=parsed.device,
        )
    )
    print(f"evaluated; open {page}")
    return 0
