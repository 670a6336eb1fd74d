"""Every option of the app, declared once.

The command line, the TOML file, the Boutiques descriptor and the option table of the
documentation are generated from these dataclasses. One frozen dataclass per stage
holds what changes results: its fields enter the digest (but for paths, whose
*content* is recorded instead). `Execution` holds what never changes a result.

This module imports the standard library only: ``hyper --help`` must be quick.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hyper_bids.errors import UsageError, did_you_mean, listing
from hyper_bids.presets import PRESET_NAMES, PRESETS


def option(
    default: Any,
    text: str,
    *,
    kind: str = "str",
    flags: tuple[str, ...] = (),
    choices: tuple[str, ...] | None = None,
    metavar: str | None = None,
    strip: str = "",
    identity: bool | None = None,
) -> Any:
    """Declare one option.

    Parameters
    ----------
    default : value when the option is not given
    text : one-line help, shown by ``--help`` and in the documentation
    kind : ``str``, ``int``, ``float``, ``flag``, ``path``, ``list``, ``floats`` or ``memory``
        How text becomes a value; or ``count``. ``list`` takes one or more words; ``table`` a JSON object of objects.
    flags : spellings besides ``--field-name``
    choices : allowed values
    strip : prefix that users may leave in ("sub-")
    identity : whether the value enters the digest; default: all but paths
    """
    if identity is None:
        identity = kind != "path"
    metadata = {
        "help": text,
        "kind": kind,
        "flags": flags,
        "choices": choices,
        "metavar": metavar,
        "strip": strip,
        "identity": identity,
    }
    return field(default=default, metadata=metadata)


COMPONENTS, DAND_COMPONENTS = 512, 699
"""Principal components of the eigenface baseline, and of DAND's latent space (Gucluturk et al. 2017)."""


@dataclass(frozen=True)
class InputSettings:
    """What is read, and how trials are named, split and folded."""

    preset: str | None = option(
        None,
        "a published system: sets the options of docs/presets.md; what is given besides it wins",
        choices=PRESET_NAMES,
        identity=False,
    )
    session_label: tuple[str, ...] = option(
        (),
        "sessions to use, with or without 'ses-' (default: all)",
        kind="list",
        flags=("--session_label", "--session-id", "--session_id"),
        strip="ses-",
    )
    bids_filter_file: Path | None = option(
        None, "JSON file with entities per query (bold, events, mask, confounds), as in fMRIPrep", kind="path"
    )
    derivatives: tuple[str, ...] = option(
        (),
        "preprocessed data in fMRIPrep's layout; NAME becomes the key in DatasetLinks "
        "(default: BIDS_DIR/derivatives/fmriprep where it exists; none: the BOLD as it came)",
        kind="list",
        flags=("-d",),
        metavar="[NAME=]PATH",
        identity=False,
    )
    space: str | None = option(
        None,
        "which preprocessed BOLD: LABEL, LABEL:res-X, or orig for files without space- "
        "(default: T1w if there, else the only one)",
        metavar="LABEL[:res-X]",
    )
    overlay: Path | None = option(
        None, "a partial BIDS root with events sidecars, stimuli/ files and stimuli.tsv, merged last", kind="path"
    )
    latents: tuple[str, ...] = option(
        (), "one latent file as a shortcut for an overlay", kind="list", metavar="NAME=FILE", identity=False
    )
    latent_space: str | None = option(None, "which latent space to decode (default: the only one)")
    latent_generator: str | None = option(
        None, "decode the latent space whose Generator.Name in the events sidecar is this one (set by the presets)"
    )
    encoder: str | None = option(
        None,
        "compute the latents from the stimulus images instead of reading them: eigenface (principal components of the "
        "training images), identity (pixels), dand (principal components of their VGG-Face features, which need "
        "--feature-weights), or vaegan (the encoder in --weights)",
        choices=("eigenface", "identity", "dand", "vaegan"),
    )
    n_components: int | None = option(
        None,
        "components of --encoder eigenface and dand (fewer images: their number - 1) (default: 512; dand: 699)",
        kind="int",
        metavar="N",
    )
    image_size: int = option(64, "height and width to which --encoder scales the images", kind="int", metavar="N")
    responses: Path | None = option(
        None,
        "folder of response maps that exist already (_statmap.nii.gz with a TSV; an earlier run's, or other programs' "
        "betas in that form), decoded instead of fitting a GLM",
        kind="path",
    )
    stim_key: str | None = option(
        None, "events column that names the stimulus, with an optional regular expression", metavar="COLUMN[:REGEX]"
    )
    train_trial_types: tuple[str, ...] = option((), "trial types to train on", kind="list")
    test_trial_types: tuple[str, ...] = option((), "trial types to test on", kind="list")
    cross_validate: str | None = option(
        None,
        "instead of a train/test split: run, session (leave one out) or stimulus[:K] (K folds, default 10)",
        metavar="{run,session,stimulus[:K]}",
    )
    strict: bool = option(False, "treat identical pictures in the training and the test set as an error", kind="flag")

    def __post_init__(self) -> None:
        """Fill in what depends on the encoder."""
        if self.n_components is None:
            object.__setattr__(self, "n_components", DAND_COMPONENTS if self.encoder == "dand" else COMPONENTS)


@dataclass(frozen=True)
class GLMSettings:
    """BOLD and events -> responses."""

    glm: str = option(
        "auto",
        "lsa: one regressor per trial; lss: one model per trial; "
        "auto: lsa where the trial regressors' median variance inflation is at most 5, else lss; "
        "parametric: one model over all runs with the latents as modulators, for --decoder inversion",
        choices=("auto", "lsa", "lss", "parametric"),
    )
    lss_rest: str = option(
        "one",
        "in lss, the other trials as one regressor, or as one per trial type",
        choices=("one", "condition"),
    )
    hrf: str = option(
        "spm",
        "haemodynamic response function; +derivative adds its derivative in time, +derivatives that in dispersion too; "
        "fir: one bin a TR over 20 s, the response being the mean of the bins from 4 to 8 s",
        choices=(
            "spm", "spm+derivative", "spm+derivatives", "glover", "glover+derivative", "glover+derivatives", "fir",
        ),
    )  # fmt: skip
    noise_model: str = option(
        "ols", "noise model of the GLM: ordinary least squares, or first-order autoregressive", choices=("ols", "ar1")
    )
    drift: str = option("cosine", "model of slow drifts", choices=("cosine", "polynomial", "none"))
    drift_order: int = option(3, "order of the polynomial drift", kind="int", metavar="N")
    high_pass: float = option(
        128.0, "cut-off period of the cosine drift model in seconds; 0: no drift model", kind="float", metavar="SECONDS"
    )
    confounds: str = option(
        "motion6",
        "confounds from fMRIPrep's table (none, and said so, where there is no table): none, motion6, motion24, "
        "acompcor, wmcsf, scrub, cosine, columns, joined by + as in motion24+acompcor",
    )
    confound_columns: tuple[str, ...] = option(
        (), "columns of the table for --confounds columns; wildcards as in w_comp_cor_0[0-4]", kind="list"
    )
    n_acompcor: int = option(5, "number of aCompCor components", kind="int", metavar="N")
    fd_threshold: float = option(
        0.5, "framewise displacement (mm) above which scrub models a volume by a regressor of its own", kind="float"
    )
    non_steady_state: str = option(
        "regress",
        "volumes that the table flags as not in steady state: a regressor each, leave them out, or keep them",
        choices=("regress", "drop", "keep"),
    )
    dummy_scans: int = option(0, "volumes to leave out at the start of each run", kind="int", metavar="N")
    response: str = option("z", "the response of a trial: z, t or beta (in % of the mean)", choices=("z", "t", "beta"))


@dataclass(frozen=True)
class SelectSettings:
    """Which voxels the decoder sees, chosen in the fold from training data alone."""

    select: str = option(
        "top-z",
        "top-z: the voxels with the largest mean response over training trials; gain: those that respond to training "
        "stimuli and whose response the latents explain (F test); reliability: the largest split-half reliability over "
        "repeated training stimuli; all: the brain mask",
        choices=("top-z", "gain", "reliability", "all"),
    )
    n_voxels: int | None = option(
        None,
        "how many voxels are kept, all where there are fewer (default: 4096; gain: all that pass both tests)",
        kind="int",
        metavar="N",
    )
    mask: Path | None = option(None, "NIfTI mask on the grid of the BOLD; only voxels inside it are used", kind="path")
    roi: str | None = option(
        None,
        "regions of an atlas, a label image with its look-up TSV; only voxels inside them are used",
        metavar="ATLAS:LABEL,...",
    )


@dataclass(frozen=True)
class DecodeSettings:
    """Responses -> latents."""

    decoder: tuple[str, ...] = option(
        ("ridge",),
        "one or more decoders: ridge, ols, adam, layer, map, inversion, or your own as package.module:Class",
        kind="list",
    )
    alphas: tuple[float, ...] = option(
        tuple(10.0 ** (-2 + 0.5 * k) for k in range(19)),
        "ridge penalties to choose from (default: 19 from 1e-2 to 1e7)",
        kind="floats",
    )
    shared_alpha: bool = option(False, "one ridge penalty for all latents instead of one per latent", kind="flag")
    n_epochs: int = option(1500, "epochs of adam and layer (at most, with --stopping held-out)", kind="int")
    stopping: str = option(
        "held-out",
        "adam and layer: held-out stops when the loss on held-out training runs no longer falls; epochs runs all",
        choices=("held-out", "epochs"),
    )
    patience: int = option(20, "epochs without improvement after which held-out stops", kind="int", metavar="N")
    batch_size: int = option(30, "trials per batch of adam and layer", kind="int", metavar="N")
    learning_rate: float = option(1e-5, "learning rate of adam and layer", kind="float")
    weight_decay: float = option(0.01, "weight decay of adam and layer, coupled, on weights and bias", kind="float")
    loss_layer: str | None = option(
        None,
        "layer of the generator whose activations enter adam's loss besides the latents, or are layer's whole loss "
        "(pggan: L1 to L19)",
    )
    layer_weight: float = option(1.0, "weight of the layer's loss in adam", kind="float")
    repeat_noise: bool = option(
        True, "map: the mean of m repeats of a test stimulus has 1/m of the noise variance", kind="flag"
    )
    parameters: str = option(
        "",
        'arguments of your own decoders, as JSON: {"package.module:Class": {"alpha": 3}}; in the TOML file a table '
        '[decode.parameters."package.module:Class"]',
        kind="table",
        metavar="JSON",
    )


@dataclass(frozen=True)
class GenerateSettings:
    """Latents -> images."""

    generator: str | None = option(
        None,
        "pggan, vaegan, dand, stylegan2, onnx, eigenface, identity, portrait, a weight FILE, package.module:Class or "
        "none (default: the latent space's own, where that is built in or its weights are given)",
    )
    weights: Path | None = option(
        None,
        "weights of the generator, a published file (see hyper-tools models list); for eigenface a file made by "
        "hyper-tools train, or a folder",
        kind="path",
    )
    resolution: int | None = option(
        None, "stop at pictures of this many pixels, e.g. 256 (default: the network's own)", kind="int", metavar="N"
    )
    precision: str = option(
        "float32", "numbers that the network computes with; bfloat16 is faster", choices=("float32", "bfloat16")
    )
    truncation: float | None = option(
        None, "StyleGAN2's psi, 0 (the mean face) to 1 (default: 1, nothing truncated)", kind="float", metavar="PSI"
    )

    def __post_init__(self) -> None:
        """Take ``--generator FILE`` as ``--generator file --weights FILE``: paths are no part of the digest."""
        name = self.generator
        if name is None or ":" in name or not (os.sep in name or Path(name).suffix):
            return
        if self.weights is not None:
            raise UsageError(f"--generator {name} is a weight file; leave out --weights {self.weights}.")
        object.__setattr__(self, "generator", "file")
        object.__setattr__(self, "weights", Path(os.path.abspath(name)))


@dataclass(frozen=True)
class EvaluateSettings:
    """True and predicted -> scores, tests and confidence."""

    n_permutations: int = option(1000, "permutations of stimuli for the p-values", kind="int", metavar="N")
    attributes: tuple[str, ...] = option(
        (),
        "unit normals of attribute hyperplanes as .npy files named after the attribute (default: the generator's own)",
        kind="list",
        metavar="FILE",
        identity=False,
    )
    protocol: str | None = option(
        None,
        "also score by a paper's protocol (image size, smoothing, background, features); naturalimages: the standard "
        "set of natural-image papers, with the networks of --features",
        choices=("hyper2020", "hyper2022", "dand", "vaegan", "naturalimages"),
    )
    features: tuple[str, ...] = option(
        (),
        "networks whose features of pictures are compared: vggface2, vggface, vgg16, alexnet, inception, clip, "
        "efficientnet, swav; the first that recognises faces (else the first) fills feature_similarity",
        kind="list",
        metavar="NAME[:LAYER]",
    )
    feature_weights: tuple[str, ...] = option(
        (),
        "their weight files, in the same order, published ones (see hyper-tools models list); without --features a "
        "file says itself which network it is",
        kind="list",
        metavar="FILE",
        identity=False,
    )
    learning_curve: bool = option(False, "also train on 1/8, 1/4 and 1/2 of the training trials", kind="flag")
    reliability: bool = option(
        True, "reliability of the recordings and noise ceilings, where stimuli are repeated", kind="flag"
    )
    allow_mixed: bool = option(
        False, "group: take participants of different versions or settings together, and say so", kind="flag",
        identity=False,
    )
    random_seed: int = option(0, "root of every random number", kind="int", metavar="N")

    def __post_init__(self) -> None:
        """Make the paths of weights absolute, as those of single files are."""
        files = tuple(os.path.abspath(os.path.expanduser(path)) for path in self.feature_weights)
        object.__setattr__(self, "feature_weights", files)


@dataclass(frozen=True)
class OutputSettings:
    """What is written besides tables and reports."""

    maps: str = option(
        "stimulus",
        "response maps to write: one per stimulus, one per trial (large), both or none",
        choices=("stimulus", "trial", "both", "none"),
    )


@dataclass(frozen=True)
class Settings:
    """All options that change results, a section each."""

    inputs: InputSettings = field(default_factory=InputSettings)
    glm: GLMSettings = field(default_factory=GLMSettings)
    select: SelectSettings = field(default_factory=SelectSettings)
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    generate: GenerateSettings = field(default_factory=GenerateSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    output: OutputSettings = field(default_factory=OutputSettings)

    def digest(self, *names: str) -> str:
        """Return 12 hex digits that change when a setting that changes results does.

        Parameters
        ----------
        names : sections to look at (default: all). A stage's outputs carry the digest of the
            sections that can change them, so that another one's options do not touch them.

        >>> Settings().digest() == Settings().digest()
        True
        >>> other = Settings(glm=GLMSettings(hrf="glover"))
        >>> Settings().digest() == other.digest(), Settings().digest("decode") == other.digest("decode")
        (False, True)
        """
        parts = {name: identity_of(getattr(self, name)) for name in names or [item.name for item in fields(self)]}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Execution:
    """How and where the work is done; nothing here changes a result."""

    participant_label: tuple[str, ...] = option(
        (),
        "participants to process, with or without 'sub-' (default: all)",
        kind="list",
        flags=("--participant_label",),
        strip="sub-",
    )
    task_id: tuple[str, ...] = option(
        (),
        "tasks to process (default: every task whose events name latents)",
        kind="list",
        flags=("-t", "--task_id"),
        strip="task-",
    )
    work_dir: Path | None = option(
        None,
        "folder for intermediate files, from which an interrupted run resumes (default: ./hyper_work)",
        kind="path",
        flags=("-w", "--work_dir"),
    )
    clean_work_dir: bool = option(
        False, "delete the intermediate files of the participants that succeeded", kind="flag"
    )
    n_cpus: int | None = option(
        None,
        "number of processes (default: the CPUs that this process may use)",
        kind="int",
        flags=("--nprocs", "--nthreads", "--n_cpus"),
        metavar="N",
    )
    omp_nthreads: int = option(1, "threads per process", kind="int", flags=("--omp_nthreads",), metavar="N")
    mem_mb: float | None = option(
        None,
        "memory limit: MB, or with a unit as in 16G (--mem-gb: GB; default: what this process may use)",
        kind="memory",
        flags=("--mem_mb", "--mem"),
        metavar="SIZE",
    )
    device: str = option("auto", "where generators run", choices=("auto", "cpu", "cuda"))
    use_plugin: str | None = option(None, "nipype execution plugin (MultiProc, Linear, SLURM, ...)")
    nipype_plugin_file: Path | None = option(
        None, "JSON or YAML file with nipype's plugin and plugin_args", kind="path"
    )
    skip_bids_validation: bool = option(
        False, "do not run the BIDS validator on the input", kind="flag", flags=("--skip_bids_validation",)
    )
    bids_database_dir: Path | None = option(
        None, "folder for pybids databases, one per dataset and selection", kind="path"
    )
    stop_on_first_crash: bool = option(False, "stop when a step fails instead of finishing the others", kind="flag")
    reports_only: bool = option(False, "write only the reports, from results that exist", kind="flag")
    boilerplate_only: bool = option(
        False, "write only logs/CITATION.md, the methods text", kind="flag", flags=("--boilerplate_only",)
    )
    dry_run: bool = option(False, "print what would be done and write nothing", kind="flag")
    config: Path | None = option(
        None, "TOML file with options; the command line wins", kind="path", flags=("--config-file",)
    )
    verbose: int = option(0, "print more", kind="count", flags=("-v",))
    quiet: bool = option(False, "print warnings and errors only", kind="flag", flags=("-q",))
    debug: bool = option(False, "show tracebacks and every message of the libraries", kind="flag")


def sections() -> dict[str, type]:
    """Section name -> dataclass, in the order of the science; ``execution`` last."""
    return {
        "inputs": InputSettings,
        "glm": GLMSettings,
        "select": SelectSettings,
        "decode": DecodeSettings,
        "generate": GenerateSettings,
        "evaluate": EvaluateSettings,
        "output": OutputSettings,
        "execution": Execution,
    }


def owners() -> dict[str, str]:
    """Field name -> its section; names are unique over all sections."""
    return {item.name: section for section, cls in sections().items() for item in fields(cls)}


def plain(settings: Any) -> dict[str, Any]:
    """Return a dataclass as JSON-ready values (paths as text, tuples as lists)."""

    def convert(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        return list(value) if isinstance(value, tuple) else value

    return {item.name: convert(getattr(settings, item.name)) for item in fields(settings)}


def identity_of(settings: Any) -> dict[str, Any]:
    """Return the values of a stage's settings that enter the digest."""
    names = {item.name for item in fields(settings) if item.metadata.get("identity", True)}
    return {name: value for name, value in plain(settings).items() if name in names}


def parse_memory(text: str | float) -> float:
    """Return MB from ``16G``, ``1.5 GB``, ``800M`` or a bare number of MB.

    >>> parse_memory("1.5G"), parse_memory("800M"), parse_memory(512)
    (1536.0, 800.0, 512.0)
    """
    words = str(text).strip().upper().removesuffix("B").removesuffix("I").strip()
    factor = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}.get(words[-1:])
    try:
        value = float(words if factor is None else words[:-1]) * (factor or 1.0)
    except ValueError:
        raise UsageError(f"Cannot read {text!r} as an amount of memory; write 16G, 800M or a number of MB.") from None
    if not 0 < value < float("inf"):
        raise UsageError(f"A memory limit must be positive, got {text!r}.")
    return value


def convert(name: str, value: Any, metadata: Any) -> Any:
    """Turn a word of the command line, or a value of the TOML file, into the field's value.

    Raises
    ------
    UsageError
        Naming the option, what came and what is needed.
    """
    kind = metadata["kind"]
    flag = "--" + name.replace("_", "-")
    try:
        if kind == "flag":
            if not isinstance(value, bool):
                raise ValueError("true or false")
            return value
        if kind == "table":
            return _plugin_tables(flag, value)
        if kind in ("list", "floats"):
            words = [value] if isinstance(value, (str, int, float)) else list(value)
            if kind == "floats":
                return tuple(_finite(word) for word in words)
            return tuple(str(word).removeprefix(metadata["strip"]) for word in words)
        if kind in ("int", "count"):
            if isinstance(value, bool) or float(value) != int(float(value)):
                raise ValueError("a whole number")
            value = int(float(value))
        elif kind == "float":
            value = _finite(value)
        elif kind == "memory":
            value = parse_memory(value)
        else:
            value = Path(os.path.abspath(os.path.expanduser(str(value)))) if kind == "path" else str(value)
    except (TypeError, ValueError, OverflowError):
        needed = {"flag": "true or false", "int": "a whole number", "float": "a number", "floats": "numbers"}.get(kind)
        raise UsageError(f"{flag}: {value!r} is not {needed}.") from None
    choices = metadata["choices"]
    if choices and value not in choices:
        raise UsageError(f"{flag}: {value!r} is not one of {', '.join(choices)}.{did_you_mean(str(value), choices)}")
    return value


def _plugin_tables(flag: str, value: Any) -> str:
    """``{"package.module:Class": {argument: value}}`` as JSON: frozen, like every other setting."""
    try:
        tables = json.loads(value or "{}") if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise UsageError(f"{flag}: {value!r} is no JSON ({error}).") from None
    if not isinstance(tables, Mapping) or not all(isinstance(inner, Mapping) for inner in tables.values()):
        raise UsageError(f'{flag}: an object per decoder is needed, {{"package.module:Class": {{"argument": 1}}}}.')
    return json.dumps(tables, sort_keys=True) if tables else ""


def plugin_parameters(decode: DecodeSettings | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the arguments of the user's own decoders: ``{"package.module:Class": {argument: value}}``."""
    text = decode["parameters"] if isinstance(decode, Mapping) else decode.parameters
    return json.loads(text or "{}")


def _finite(value: Any) -> float:
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("finite")
    return number


def build_section(cls: type, values: dict[str, Any]) -> Any:
    """Make one settings dataclass from ``{field name: raw value}``; the rest keeps its default."""
    metadata = {item.name: item.metadata for item in fields(cls)}
    return cls(**{name: convert(name, value, metadata[name]) for name, value in values.items()})


def layered(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the options of several sources together, the last wins; each brings its preset with it.

    What a source gives beside a preset wins over that preset. A preset's latents give way to
    ``--latent-space`` and ``--latents`` of the same source or of one above it; those of ``dand`` are computed from the
    pictures where the weights of the feature network are given.

    >>> layered([{"glm": "lsa"}, {"preset": "hyper", "n_voxels": 100}])["glm"]
    'lss'
    >>> "latent_generator" in layered([{"preset": "hyper", "latent_space": "mine"}])
    False
    """
    values: dict[str, Any] = {}
    for layer in layers:
        name = layer.get("preset")
        if name is not None:
            convert("preset", name, {"kind": "str", "choices": PRESET_NAMES})
            values.update(PRESETS[name])
        if layer.get("latent_space") or layer.get("latents"):
            values.pop("encoder", None)
        if layer.get("latent_space") or layer.get("latents") or layer.get("encoder"):
            values.pop("latent_generator", None)
        values.update(layer)
    if values.get("latent_generator") == "dand" and values.get("preset") == "dand" and values.get("feature_weights"):
        del values["latent_generator"]
        values["encoder"] = "dand"
    return values


def build(values: dict[str, Any]) -> tuple[Settings, Execution]:
    """Make the settings from ``{field name: raw value}``; what is not named keeps its default."""
    where = owners()
    unknown = [name for name in values if name not in where]
    if unknown:
        raise UsageError(
            f"Unknown option {unknown[0]!r}.{did_you_mean(unknown[0], where)} See hyper --help for all of them."
        )
    parts = {}
    for section, cls in sections().items():
        known = {item.name for item in fields(cls)}
        parts[section] = build_section(cls, {name: value for name, value in values.items() if name in known})
    execution = parts.pop("execution")
    settings = Settings(**parts)
    check(settings, execution)
    return settings, execution


def check(settings: Settings, execution: Execution) -> None:
    """Refuse values that are of the right type and cannot be meant."""
    inputs, glm, decode = settings.inputs, settings.glm, settings.decode
    if inputs.cross_validate is not None:
        parse_cross_validation(inputs.cross_validate)
    for flag, value, least in (
        ("--n-voxels", 1 if settings.select.n_voxels is None else settings.select.n_voxels, 1),
        ("--n-components", inputs.n_components, 1),
        ("--image-size", inputs.image_size, 8),
        ("--n-epochs", decode.n_epochs, 1),
        ("--patience", decode.patience, 1),
        ("--batch-size", decode.batch_size, 1),
        ("--weight-decay", decode.weight_decay, 0),
        ("--layer-weight", decode.layer_weight, 0),
        ("--dummy-scans", glm.dummy_scans, 0),
        ("--high-pass", glm.high_pass, 0),
        ("--drift-order", glm.drift_order, 0),
        ("--n-acompcor", glm.n_acompcor, 1),
        ("--fd-threshold", glm.fd_threshold, 0),
        ("--n-permutations", settings.evaluate.n_permutations, 1),
        ("--omp-nthreads", execution.omp_nthreads, 1),
        ("--n-cpus", 1 if execution.n_cpus is None else execution.n_cpus, 1),
        ("--random-seed", settings.evaluate.random_seed, 0),
    ):
        if value < least:
            raise UsageError(f"{flag} must be at least {least}, got {value}.")
    alphas = settings.decode.alphas
    if not alphas or min(alphas) <= 0:
        raise UsageError(f"--alphas must be positive numbers, got {listing(alphas)}.")
    if decode.learning_rate <= 0:
        raise UsageError(f"--learning-rate must be positive, got {decode.learning_rate}.")
    if len(set(decode.decoder)) != len(decode.decoder):
        raise UsageError(f"--decoder names one twice: {', '.join(decode.decoder)}.")
    if "layer" in decode.decoder and decode.loss_layer is None:
        raise UsageError("--decoder layer needs --loss-layer: the generator's layer whose activations are compared.")
    unused = [name for name in plugin_parameters(decode) if name not in decode.decoder]
    if unused:
        raise UsageError(f"--parameters names {unused[0]!r}, which is no --decoder.")
    if inputs.encoder is not None and inputs.latents:
        raise UsageError("--encoder computes the latents and --latents reads them; give one of the two.")
    check_parametric(settings)


def check_parametric(settings: Settings) -> None:
    """``--glm parametric`` gives no single-trial responses: refuse what needs them."""
    if settings.glm.glm != "parametric":
        return
    if settings.inputs.responses is not None:
        raise UsageError("--responses gives responses, so no GLM is fitted; leave --glm parametric out.")
    others = [name for name in settings.decode.decoder if name != "inversion"]
    if others:
        raise UsageError(
            f"--glm parametric estimates one weight per latent and voxel and no single-trial responses, which "
            f"--decoder {others[0]} needs. Use --decoder inversion, or --glm auto."
        )
    if settings.inputs.cross_validate is not None:
        raise UsageError("--glm parametric fits all runs at once; it needs a train/test split, not --cross-validate.")
    if settings.glm.noise_model != "ols":
        raise UsageError("--glm parametric is fitted by ordinary least squares; leave --noise-model ar1 out.")
    if settings.glm.hrf not in ("spm", "glover"):
        raise UsageError(f"--glm parametric takes --hrf spm or glover, not {settings.glm.hrf}: one weight per latent.")
    if settings.select.select == "reliability":
        raise UsageError(
            "--select reliability needs single-trial responses; with --glm parametric use gain, top-z or all."
        )


def parse_cross_validation(text: str) -> tuple[str, int | None]:
    """Return the unit of the folds and, for stimulus folds, their number.

    >>> parse_cross_validation("stimulus:5"), parse_cross_validation("run")
    (('stimulus', 5), ('run', None))
    """
    unit, _, number = text.partition(":")
    if unit not in ("run", "session", "stimulus") or (number and unit != "stimulus"):
        raise UsageError(f"--cross-validate: {text!r} is not run, session or stimulus[:K].")
    if unit != "stimulus":
        return unit, None
    if number and (not (number.isascii() and number.isdecimal()) or int(number) < 2):
        raise UsageError(f"--cross-validate: {text!r}: the number of folds must be a whole number of at least 2.")
    return unit, int(number or 10)


def read_toml(path: Path) -> dict[str, Any]:
    """Read options from a TOML file: top-level, or in the sections of `sections`.

    Raises
    ------
    UsageError
        The file cannot be read, or names a section or an option that does not exist.
    """
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Cannot read --config {path}: {error}") from error
    values: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            if key not in sections():
                raise UsageError(f"{path}: unknown section [{key}].{did_you_mean(key, sections())}")
            known = [item.name for item in fields(sections()[key])]
            for name, inner in value.items():
                if name.replace("-", "_") not in known:
                    raise UsageError(f"{path}: unknown option {name!r} in [{key}].{did_you_mean(name, known)}")
                values[name.replace("-", "_")] = inner
        else:
            values[key.replace("-", "_")] = value
    return values


def _plugin_lines(parameters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, inner in parameters.items():
        lines += ["", f"[decode.parameters.{json.dumps(name)}]"]
        lines += [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in inner.items()]
    return lines


def write_toml(settings: Settings, execution: Execution) -> str:
    """Return all options as TOML that ``--config`` reads back."""
    lines = []
    for section in sections():
        part = execution if section == "execution" else getattr(settings, section)
        lines.append(f"[{section}]")
        for name, value in plain(part).items():
            if value is not None and name not in ("config", "dry_run", "parameters"):
                lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
        if section == "decode":
            lines += _plugin_lines(plugin_parameters(settings.decode))
        lines.append("")
    return "\n".join(lines)


def replace(settings: Any, **changes: Any) -> Any:
    """Return a copy of a settings dataclass with some fields changed."""
    return dataclasses.replace(settings, **changes)
