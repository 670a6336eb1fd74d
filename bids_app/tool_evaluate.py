"""``hyper-tools evaluate``: scores, tests and audits of predictions that somebody brings, without any BOLD."""

from __future__ import annotations

from typing import Any


def add_evaluate(commands: Any) -> None:
    """Add the command to the subparsers of ``hyper-tools``."""
    words = "score and test predictions against the truth: pictures or latents, without any BOLD"
    parser = commands.add_parser("evaluate", help=words, prog="hyper-tools evaluate")
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
        "--protocol", metavar="NAME", help="also score pictures as a paper did: hyper2020, hyper2022, dand, vaegan"
    )
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
        )
    )
    print(f"evaluated; open {page}")
    return 0
