"""All options, a section a stage: those that change results and have a digest, and the execution."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields

from hyper_bids.settings.declare import identity_of
from hyper_bids.settings.decode import DecodeSettings
from hyper_bids.settings.evaluate import EvaluateSettings
from hyper_bids.settings.execution import Execution
from hyper_bids.settings.generate import GenerateSettings
from hyper_bids.settings.glm import GLMSettings
from hyper_bids.settings.inputs import InputSettings
from hyper_bids.settings.output import OutputSettings
from hyper_bids.settings.select import SelectSettings


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
