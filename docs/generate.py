"""Write docs/options.md from the settings dataclasses; with --check, fail where it is not up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from bids_app.options import option_table
from hyper_bids.settings import sections
from hyper_bids.simulate.settings import SimulateSettings

HEAD = """# Options

Made by `make docs` from the settings dataclasses in `hyper_bids/settings.py`. The same names
(with underscores) are the keys of a `--config` TOML file, in a section per heading or at its top.
Options of all sections but `execution` can change results and enter the settings digest that
every output carries; paths do not, the content behind them does. `execution` changes no result.

## hyper

"""


def main() -> int:
    """Write the page, or compare it."""
    path = Path(__file__).with_name("options.md")
    simulate = option_table({"simulate": SimulateSettings})
    text = HEAD + option_table(sections()) + "\n## hyper-tools simulate\n\n" + simulate
    if "--check" in sys.argv:
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is not up to date; run make docs", file=sys.stderr)
            return 1
        return 0
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
