"""Photograph reports for docs/reports.md: python docs/screenshots.py NAME=OUTPUT_DIR ...

Of every output folder: the beginning of the first participant's page and of the group's, 1400 pixels wide, saved at
half of that as docs/reports/NAME_participant.png and NAME_group.png. Needs Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

SIZE = (1400, 1900)
COLOURS = 160
"""Of the palette, spread over those of the page, which is mostly white; full colour would be four times the size."""


def photograph(browser: str, page: Path, picture: Path) -> None:
    """Save the beginning of a page."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={folder}/profile", f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={shot}",
            page.absolute().as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        half = Image.open(shot).convert("RGB").resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.LANCZOS)
    picture.parent.mkdir(exist_ok=True)
    half.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(picture, optimize=True)


def main(words: list[str]) -> int:
    """Photograph the reports of every output folder."""
    browser = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
    if browser is None or not words or not all("=" in word for word in words):
        print(__doc__ if browser else "no Chromium on this machine", file=sys.stderr)
        return 64
    folder = Path(__file__).parent / "reports"
    for name, _, output in (word.partition("=") for word in words):
        pages = {"participant": min(Path(output).glob("sub-*.html")), "group": Path(output) / "group.html"}
        for level, page in pages.items():
            photograph(browser, page, folder / f"{name}_{level}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
