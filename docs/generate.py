"""Write docs/options.md and docs/presets.md from the code; with --check, fail where they are not up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.options import Parser, option_table
from bids_app.tools import make_parser
from hyper_bids.presets import PRESETS
from hyper_bids.settings import sections

if TYPE_CHECKING:
    from argparse import Action

OPTIONS = """# Options

Made by `make docs` from the settings dataclasses in `hyper_bids/settings/`. The same names
(with underscores) are the keys of a `--config` TOML file, in a section per heading or at its top.
Options of all sections but `execution` can change results and enter the settings digest that
every output carries; paths do not, the content behind them does. `execution` changes no result.
The commands of `hyper-tools` stand [below](#hyper-tools).

## hyper

"""

PRESETS_HEAD = """# Presets

Made by `make docs` from `hyper_bids/presets.py`. `--preset NAME` sets these options as the paper
has them (or, where it is silent, as METHODS says); an option that is given besides it wins, and
`--dry-run` prints what is set and what was overridden. `--preset P --latent-space L` keeps the
system and changes the latent space. A preset whose latents are not in the dataset stops with exit
code 66 and names them; it never takes another space in silence. The latents of `eigenface` and
`identity` are computed from the pictures, so that these two run on any dataset that has some.

hyper: Dado et al. 2022, Sci Rep. dand: Gucluturk et al. 2017, NeurIPS. vaegan: VanRullen and
Reddy 2019, Commun Biol. eigenface: the principal-component baseline of all three (Cowen et al.
2014). identity: pixels as latents, DAND's second baseline.

"""


TOOLS = """
## hyper-tools

From the commands' own parsers. `--debug` shows where an error arose; exit codes are those of hyper.

"""
NOT_SHOWN = ("help", "version")


def tool_tables() -> str:
    """Return a table for every command of hyper-tools: a row an argument, in the order of its ``--help``."""
    return "\n".join(_tables(make_parser()))


def _tables(parser: Parser) -> list[str]:
    """Return the lines of a command, or of the commands in it."""
    commands = parser.commands()
    if commands:
        return [line for command in commands.values() for line in _tables(command)]
    shown = [_row(action) for action in parser.arguments() if action.dest not in NOT_SHOWN]
    lines = [f"### {parser.prog}", "", parser.description, ""]
    return [*lines, *(["| argument | meaning |", "|---|---|", *shown, ""] if shown else [])]


def _row(action: Action) -> str:
    spelled = ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.metavar or action.dest}`"
    text = (action.help or "").replace("%%", "%")
    chosen = [f"`{choice}`" for choice in action.choices or ()]
    parts = [
        f"of {', '.join(chosen)}" if chosen and "One of" not in text else "",
        "required" if action.required and action.option_strings else "",
        f"default {action.default}" if _worth_saying(action.default, text) else "",
    ]
    extra = "; ".join(part for part in parts if part)
    said = "; ".join(part for part in (text, extra) if part)
    return f"| {_cell(spelled)} | {_cell(said).replace('<', '&lt;')} |"


def _worth_saying(default: object, text: str) -> bool:
    named = "(default" in text or f"({default})" in text
    return default not in (None, "==SUPPRESS==", False, True, [], ()) and not named


def preset_table() -> str:
    """Return a table: a row an option, a column a preset."""
    names = list(dict.fromkeys(name for options in PRESETS.values() for name in options))
    lines = ["| option | " + " | ".join(PRESETS) + " |", "|---" * (len(PRESETS) + 1) + "|"]
    for name in names:
        cells = [_cell(options.get(name, "")) for options in PRESETS.values()]
        lines.append(f"| `--{name.replace('_', '-')}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return (" ".join(value) if isinstance(value, list) else str(value)).replace("|", "\\|")


def pages() -> dict[str, str]:
    """File name -> content."""
    return {
        "options.md": OPTIONS + option_table(sections()) + TOOLS + tool_tables(),
        "presets.md": PRESETS_HEAD + preset_table(),
    }


def main() -> int:
    """Write the pages, or compare them."""
    stale = []
    for name, text in pages().items():
        path = Path(__file__).with_name(name)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path))
    for path in stale:
        print(f"{path} is not up to date; run make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
