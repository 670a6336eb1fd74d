"""Every option of the app, declared once.

The command line, the TOML file, the Boutiques descriptor and the option table of the
documentation are generated from these dataclasses. One frozen dataclass per stage, in a
module of its own, holds what changes results: its fields enter the digest (but for paths,
whose *content* is recorded instead). `Execution` holds what never changes a result. Beside the
stages: `declare` (one option), `all_sections`, `values` (words to values), `sources` (presets, file and
command line together), `checks`, `toml_file`.

This package imports the standard library only: ``hyper --help`` must be quick.
"""

from hyper_bids.settings.all_sections import Settings as Settings
from hyper_bids.settings.all_sections import owners as owners
from hyper_bids.settings.all_sections import sections as sections
from hyper_bids.settings.declare import identity_of as identity_of
from hyper_bids.settings.declare import option as option
from hyper_bids.settings.declare import plain as plain
from hyper_bids.settings.declare import replace as replace
from hyper_bids.settings.decode import DecodeSettings as DecodeSettings
from hyper_bids.settings.decode import plugin_parameters as plugin_parameters
from hyper_bids.settings.evaluate import EvaluateSettings as EvaluateSettings
from hyper_bids.settings.execution import Execution as Execution
from hyper_bids.settings.generate import GenerateSettings as GenerateSettings
from hyper_bids.settings.glm import GLMSettings as GLMSettings
from hyper_bids.settings.inputs import InputSettings as InputSettings
from hyper_bids.settings.inputs import parse_cross_validation as parse_cross_validation
from hyper_bids.settings.output import OutputSettings as OutputSettings
from hyper_bids.settings.select import SelectSettings as SelectSettings
from hyper_bids.settings.sources import build as build
from hyper_bids.settings.sources import layered as layered
from hyper_bids.settings.toml_file import read_toml as read_toml
from hyper_bids.settings.toml_file import write_toml as write_toml
from hyper_bids.settings.values import build_section as build_section
