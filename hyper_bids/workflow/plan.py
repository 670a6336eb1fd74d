"""Steps as plain data: a plan can be printed, tested and compared without running."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hyper_bids


@dataclass(frozen=True)
class Output:
    """A named output of another step."""

    step: str
    name: str


Source = Path | Output


@cache
def code_version() -> str:
    """Return the version and a digest of the package's modules.

    A checkout that was brought up to date keeps its version's number, and must not take over what its former code made.
    """
    root, digest = Path(hyper_bids.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{hyper_bids.__version__}+{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class Step:
    """One call of a stage function.

    Parameters
    ----------
    name : unique in the plan; letters, digits and underscores
    target : ``package.module:function``, called as ``f(**inputs, **params, **limits, out_dir=...)``
    inputs : argument -> file, or a tuple of files; their *content* decides whether to recompute
    params : argument -> JSON-ready value; decides likewise
    limits : argument -> JSON-ready value that cannot change the result, and so does not decide
    identity : what decides likewise and is not passed on: digests of files that params name
    outputs : names of the files that the function returns
    label : what a person calls it
    mem_gb, n_procs : what it needs
    version : of the code; another one recomputes
    """

    name: str
    target: str
    inputs: Mapping[str, Source | tuple[Source, ...]] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    label: str = ""
    mem_gb: float = 0.5
    n_procs: int = 1
    version: str = field(default_factory=code_version)

    def sources(self) -> Iterator[tuple[str, Source]]:
        """Yield every input with a flat name: ``responses``, or ``responses__0003`` in a tuple."""
        for name, source in self.inputs.items():
            if isinstance(source, tuple):
                yield from ((f"{name}__{k:04d}", item) for k, item in enumerate(source))
            else:
                yield name, source

    def stamp(self) -> str:
        """Digest of what the step is asked to do and to leave, its input files' content left out."""
        asked = {
            "target": self.target,
            "params": dict(self.params),
            "identity": dict(self.identity),
            "version": self.version,
            "outputs": sorted(self.outputs),
            "inputs": {name: str(source) if isinstance(source, Output) else "" for name, source in self.sources()},
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def parents(self) -> set[str]:
        """Names of the steps that this one waits for."""
        return {source.step for _, source in self.sources() if isinstance(source, Output)}


def regroup(flat: Mapping[str, Path]) -> dict[str, Path | list[Path]]:
    """Undo the flat names of `Step.sources`.

    >>> regroup({"a": 1, "b__0001": 3, "b__0000": 2})
    {'a': 1, 'b': [2, 3]}
    """
    grouped: dict[str, Any] = {}
    for name in sorted(flat):
        base, separator, _ = name.partition("__")
        if separator:
            grouped.setdefault(base, []).append(flat[name])
        else:
            grouped[name] = flat[name]
    return grouped


def check_plan(steps: list[Step]) -> None:
    """Refuse a plan whose names clash or whose outputs are not made by an earlier step."""
    made: dict[str, tuple[str, ...]] = {}
    for step in steps:
        if step.name in made:
            raise ValueError(f"two steps are called {step.name}")
        for name, source in step.sources():
            if isinstance(source, Output) and source.name not in made.get(source.step, ()):
                raise ValueError(f"{step.name}.{name}: no earlier step makes {source.step}.{source.name}")
        made[step.name] = step.outputs


def descendants(steps: list[Step], roots: set[str]) -> set[str]:
    """Return the names of the roots and of all steps that wait for them, directly or not."""
    lost = set(roots)
    for step in steps:
        if step.parents() & lost:
            lost.add(step.name)
    return lost


def describe(steps: list[Step]) -> str:
    """Return the plan as text, a line a step."""
    width = max((len(step.name) for step in steps), default=0)
    return "\n".join(
        f"{step.name:<{width}}  {step.mem_gb:5.2f} GB  after {', '.join(sorted(step.parents())) or '-'}"
        for step in steps
    )
