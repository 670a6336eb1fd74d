"""Write docs/outputs.md: every output file and every column, from what the app writes.

    python docs/glossary.py            # runs the app on small simulated datasets with every option that adds a file
    python docs/glossary.py --check    # the same, and fails where the page is not up to date

The words are those of the data dictionaries (the JSON beside every table); only files that have no JSON are
described here. A file or column that has no description stops the script.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("outputs.md")
TESTS = Path(__file__).resolve().parents[1] / "tests"
"""Writers of toy weight files are there."""

HEAD = """# Outputs

Made by `make docs` from the data dictionaries that the app writes. Names in angle brackets stand for labels;
`[_space-<space>][_res-<res>]` follows the task where the BOLD has a space in its name, and `ses-<label>` the
participant where there are sessions. `model-` is the decoder, `desc-` the latent space.

The output is a BIDS-derivative dataset. Every table (`.tsv`) has a `.json` of the same name that describes its
columns and says what it was made from: `Sources` (BIDS URIs of the inputs), `InputDigest` (of their content),
`Settings` (digest of the options that can change the file), `SoftwareVersion`, `RandomSeed`. What could not be
computed is `n/a`, and the JSON says why. Per-stimulus values come first; means are in `_stats.tsv`.

"""

PLAIN = {
    r"dataset_description\.json": "What the dataset is, what made it, and from what (`DatasetLinks`).",
    r"README\.md": "What the files are, for whoever finds the folder.",
    r"\.bidsignore": "What the BIDS validator has no rule for.",
    r"layout_config\.json": "Entities of our own (`stat`, `stim`) for pybids; it picks the file up by itself.",
    r"descriptions\.(tsv|json)": "What every `desc-` label means.",
    r"sub-<label>\.html": "The participant's report: one file, nothing else is needed to read it.",
    r"group\.html": "The group's report.",
    r"logs/CITATION\.(md|bib|html|tex)": "Methods text of what ran, with its references, to copy.",
    r"logs/group_CITATION\.(md|bib)": "The same, and how the participants were taken together.",
    r"logs/group_figures\.txt": "The group's figures and their SHA-256, so that a later run deletes what it replaces.",
    r"logs/sub-<label>/<run>\.log": "Every message of a run, with times and memory.",
    r"logs/sub-<label>/<run>_config\.toml": "All options of that run; give it back with `--config`.",
    r"logs/sub-<label>/files\.txt": "What was published, so that a later run can delete what it replaces.",
    r"logs/sub-<label>/sub-<label>\.lock": "Held while a job works on the participant.",
    r"logs/.*": "Messages of a run.",
    r"(sub-<label>/)?figures/.*": "A figure of the report.",
    r".*_recon\.png": "A reconstruction.",
    r".*_mask\.nii\.gz": "Voxels, on the grid of the BOLD.",
    r".*_statmap\.nii\.gz": "4-D maps; row i of the TSV beside it is volume i.",
    r".*_decoder\.npz": "The fitted decoder; NumPy arrays without pickle. The JSON names the arrays.",
    r".*evaluate.*\.html": "The page of `hyper-tools evaluate`.",
}
"""Files without a dictionary of their own: pattern of the general name -> what they are."""

NUMBERED = re.compile(r"^(z|p)\d+$")
FIXED = "brain|decoding|stimulus|trial|selection|reliability|parametric|recordings"
"""Labels of ``desc-`` that are the app's own, and no latent space."""

LABELS = (
    (r"(?<![0-9A-Za-z])(sub|ses|task|run|space|res)-[0-9A-Za-z]+", r"\1-<label>"),
    (rf"_desc-(?!{FIXED})[0-9A-Za-z]+(?=_)", "_desc-<space>"),
    (r"_model-(?!logistic|all)[0-9A-Za-z]+", "_model-<decoder>"),
    (r"_stim-[0-9A-Za-z]+", "_stim-<label>"),
    (r"_stat-(z|t|beta)(?=_)", "_stat-<z|t|beta>"),
    (r"\d{8}-\d{6}_[0-9a-f-]{36}", "<run>"),
)
BESIDE = (".tsv", ".nii.gz", ".npz", ".png", ".svg")
"""Endings of files that a JSON of the same name describes."""


def general(name: str) -> str:
    """Return a file's name with labels for what differs between participants, tasks, decoders and spaces.

    >>> general("sub-01/func/sub-01_task-faces_model-ridge_desc-portrait_metrics.tsv")
    'sub-<label>/func/sub-<label>_task-<label>_model-<decoder>_desc-<space>_metrics.tsv'
    >>> general("sub-01/figures/sub-01_task-faces_chunk-2_model-ridge_desc-portrait_reconstructions.png")
    'sub-<label>/figures/sub-<label>_task-<label>_chunk-<index>_model-<decoder>_desc-<space>_reconstructions.png'
    """
    if "figures/" in name:  # what a figure shows stands in desc-, or in its suffix
        name = re.sub(r"_stat-[0-9A-Za-z]+_", "_stat-<metric>_", re.sub(*LABELS[0], name))
        name = re.sub(r"_chunk-[0-9]+_", "_chunk-<index>_", name)
        return re.sub(*LABELS[2], re.sub(r"_desc-[0-9A-Za-z]+_(?!figure)", "_desc-<space>_", name))
    for pattern, label in LABELS:
        name = re.sub(pattern, label, name)
    return name


def attribute(column: str) -> str:
    """Return a column's name with a label for what differs between attributes and latents."""
    column = re.sub(r"^attribute_.+_(true|predicted|partial)$", r"attribute_<name>_\1", column)
    return NUMBERED.sub(r"\g<1><number>", column)


def collect(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Return general file name -> column -> entry of its dictionary, of an output folder."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        entries = found.setdefault(general(name), {})
        if path.suffix == ".tsv" and name != "descriptions.tsv":
            words = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            for column in path.read_text(encoding="utf-8").splitlines()[0].split("\t"):
                entry = words.get(column) or words.get(attribute(column))
                if not entry:
                    raise SystemExit(f"{name}: no description of the column {column}")
                entries.setdefault(attribute(column), entry)
        elif name.endswith("_audit.json"):
            entries.update(checks(json.loads(path.read_text(encoding="utf-8"))))
    return found


def checks(audit: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the entries of the checks in an audit: the report's title, and what docs/statistics.md says it asks."""
    from hyper_bids.report.audits import TITLES

    asked = dict(
        re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.with_name("statistics.md").read_text("utf-8"), re.MULTILINE)
    )
    found = {}
    for name, content in audit.items():
        if isinstance(content, dict) and "Status" in content:
            if name not in TITLES or name not in asked:
                raise SystemExit(f"{name}: no title in hyper_bids/report/audits.py, or no row in docs/statistics.md")
            found[name] = {"LongName": TITLES[name], "Description": asked[name]}
    return found


def describe(name: str, columns: dict[str, dict[str, str]], sidecars: dict[str, str]) -> list[str]:
    """Return the lines of a file."""
    text = sidecars.get(name) or next((text for pattern, text in PLAIN.items() if re.fullmatch(pattern, name)), None)
    if text is None and not columns:
        raise SystemExit(f"docs/glossary.py has no words for {name}: add them to PLAIN, or a Description to its JSON")
    lines = [f"### `{name}`", ""]
    text = re.sub(r"\bof \d+ ", "of the ", text or "")  # of this run
    lines += [text[0].upper() + text[1:] + ("" if text[-1] in ".?" else "."), ""] if text else []
    if columns:
        head = "check | title | what it asks" if name.endswith("_audit.json") else "column | | meaning"
        lines += [f"| {head} | unit |", "|---|---|---|---|"]
        lines += [row(column, entry) for column, entry in columns.items()]
        lines.append("")
    return lines


def row(column: str, entry: dict[str, str]) -> str:
    """Return the line of a column; a reason for n/a belongs to one run and is left out."""
    meaning = re.split(r" n/a: ", entry.get("Description", ""))[0]
    if column.startswith("attribute_"):
        meaning = re.sub(r"Attribute \S+,", "Attribute,", meaning)
    long_name = re.sub(r"^Attribute [^,]+,", "Attribute,", entry.get("LongName", ""))
    if column.endswith("<number>"):
        long_name, meaning = (re.sub(r"\d+", "<number>", words) for words in (long_name, meaning))
    cells = (f"`{column}`", long_name, meaning, entry.get("Units", ""))
    shown = [cell if "`" in cell else cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells]
    return f"| {' | '.join(shown)} |"


def descriptions(folders: Iterable[Path]) -> dict[str, str]:
    """Return general name -> Description (of a figure: Alternative) in the JSON beside a file, or in a JSON alone."""
    words = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            text = content.get("Description", content.get("Alternative"))
            name = general(path.relative_to(folder).as_posix())
            if isinstance(text, str):
                for ending in (*BESIDE, ".json"):
                    words.setdefault(name.removesuffix(".json") + ending, text)
    return words


def shown(alternative: str) -> str:
    """Return what a figure shows, whatever the run, the number of voxels and the metric of this one."""
    text = re.sub(r"run-\w+", "a run", re.sub(r"\b\d+ ", "", alternative))
    return re.sub(r"^.* (of every participant and of the group)$", r"a metric \1", text)


def part_of(name: str) -> str:
    """Return the part of the page that a file stands in."""
    if "figures/" in name:
        return "Figures of the report"
    starts = {"logs/": "Logs", "sub-": "Per participant", "task-": "The group", "group": "The group"}
    return next((part for start, part in starts.items() if name.startswith(start)), "The dataset")


def page(folders: list[Path]) -> str:
    """Return the page for what is in these output folders."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for folder in folders:
        for name, columns in collect(folder).items():
            found.setdefault(name, {}).update({c: e for c, e in columns.items() if c not in found.get(name, {})})
    sidecars = descriptions(folders)
    alone = {name for name in found if name.endswith(".json")}
    alone = {name for name in alone if not any(name[:-5] + end in found for end in BESIDE)}
    parts = {"The dataset": [], "Per participant": [], "Figures of the report": [], "The group": [], "Logs": []}
    for name, columns in found.items():
        if name.endswith(".json") and name not in alone:
            continue
        parts[part_of(name)].append((name, columns))
    lines = [HEAD.rstrip("\n"), ""]
    for title, files in parts.items():
        lines += [f"## {title}", ""]
        if title == "Figures of the report":
            lines += ["Each has a JSON with its caption.", ""]
            lines += [*[f"* `{name}`: {shown(sidecars.get(name, 'a figure'))}" for name, _ in files], ""]
            continue
        for name, columns in files:
            lines += describe(name, columns, sidecars)
    return "\n".join(lines).rstrip("\n") + "\n"


SMALL = ("--participants", "2", "--train-runs", "3", "--test-runs", "2", "--n-train-faces", "75", "--n-test-faces", "5",
         "--repeats", "6", "--n-voxels", "80", "--image-shape", "7x6x5", "--snr", "4")  # fmt: skip


def run_everything(folder: Path) -> list[Path]:
    """Run the app with every option that adds files; return the output folders."""
    from bids_app.cli import main
    from bids_app.tools import main as tools

    def must(code: int) -> None:
        if code:
            raise SystemExit(f"a run ended with code {code}")

    bids = str(folder / "bids")
    common = ["-q", "--skip-bids-validation", "--n-permutations", "19"]
    must(tools(["simulate", bids, *SMALL]))
    whole = ["--decoder", "ridge", "map", "--maps", "both", "--learning-curve", "--protocol", "hyper2022"]
    one = ["--participant-label", "01"]
    runs = {
        "all": whole,
        "folds": [*one, "--cross-validate", "run"],
        "parametric": [*one, "--glm", "parametric", "--decoder", "inversion"],
    }
    outs = []
    for name, words in runs.items():
        outs.append(folder / name)
        must(main([bids, str(outs[-1]), "participant", *words, "-w", str(folder / f"work-{name}"), *common]))
    must(main([bids, str(folder / "all"), "group"]))
    outs.append(folder / "networks")
    network, features = toy_networks(folder)
    faces = str(folder / "faces")
    must(tools(["simulate", faces, *SMALL, "--participants", "1", "--generator", "pggan", "--weights", network]))
    drawn = ["--generator", "pggan", "--weights", network, "--feature-weights", *features]
    must(main([faces, str(outs[-1]), "participant", *drawn, "-w", str(folder / "work-networks"), *common]))
    return outs


def toy_networks(folder: Path) -> tuple[str, list[str]]:
    """Write a small random PGGAN, whose directions have a closed form, and two feature networks; return the files."""
    sys.path.append(str(TESTS))
    import feature_files
    import pggan_files

    arrays = pggan_files.random_arrays(seed=8, channels=(6, 5, 4, 3), latents=12)
    network = pggan_files.write_mxnet(folder / "generator.params", pggan_files.mxnet_names(arrays, "child"))
    features = [feature_files.thin_file(name, folder / "features") for name in ("vggface2", "alexnet")]
    return str(network), list(map(str, features))


def main() -> int:
    """Write the page, or compare it."""
    with tempfile.TemporaryDirectory() as scratch:
        text = page(run_everything(Path(scratch)))
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE} is not up to date; run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
