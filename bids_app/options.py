"""Command-line options from settings dataclasses: the one owner of argparse."""

from __future__ import annotations

import argparse
import sys
from dataclasses import MISSING, Field, fields
from typing import Any, NoReturn

from hyper_bids.errors import HyperError, UsageError, did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` (exit 64) instead of exiting with argparse's 2, and can be read.

    What argparse keeps to itself is looked at here alone: `arguments` and `commands` are for whoever describes a
    parser (the documentation, the Boutiques descriptor, tests).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.HelpFormatter, **kwargs)
        self._commands: argparse._SubParsersAction[Parser] | None = None

    def add_subparsers(self, **kwargs: Any) -> Any:
        """Take the first word as a command with a parser of its own, of this class."""
        self._commands = super().add_subparsers(parser_class=Parser, **kwargs)
        return self._commands

    def arguments(self) -> list[argparse.Action]:
        """Return the arguments in the order in which they were added, those of groups among them."""
        return [action for action in self._actions if action is not self._commands]

    def commands(self) -> dict[str, Parser]:
        """Return command -> its parser; empty where there are none."""
        return dict(self._commands.choices) if self._commands else {}

    def error(self, message: str) -> NoReturn:
        """Raise with the usage in one line and, where it helps, a hint."""
        raise UsageError(f"{message}{self._hint(message)} (see {self.prog} --help)")

    def _hint(self, message: str) -> str:
        if "required" in message or "invalid choice" in message:
            return (
                ". Positional arguments come first: an option that takes several words swallows those that follow it"
            )
        if "unrecognized arguments" in message:
            known = [flag for action in self.arguments() for flag in action.option_strings]
            for word in message.split(":", 1)[1].split():
                if word.startswith("-"):
                    return f".{did_you_mean(word, known)}"
        return ""


def flags_of(item: Field[Any]) -> list[str]:
    """Return all spellings of an option, the plain one first."""
    return ["--" + item.name.replace("_", "-"), *item.metadata["flags"]]


def add_options(parser: argparse.ArgumentParser, cls: type, title: str) -> None:
    """Add an option for every field of a settings dataclass; what is not given stays unset."""
    group = parser.add_argument_group(title, (cls.__doc__ or "").strip().splitlines()[0])
    for item in fields(cls):
        if item.metadata:
            _add_option(group, item)


def add_one_option(parser: argparse.ArgumentParser, cls: type, name: str) -> None:
    """Add the option of a single field of a settings dataclass, spelled and described as in ``hyper``."""
    (item,) = (item for item in fields(cls) if item.name == name)
    _add_option(parser, item)


def _add_option(group: Any, item: Field[Any]) -> None:
    kind = item.metadata["kind"]
    keywords: dict[str, Any] = {
        "dest": item.name,
        "default": argparse.SUPPRESS,
        "help": help_text(item).replace("%", "%%"),
    }
    if kind == "flag":
        keywords["action"] = argparse.BooleanOptionalAction if item.default is True else "store_true"
    elif kind == "count":
        keywords["action"] = "count"
    else:
        keywords["metavar"] = item.metadata["metavar"] or _metavar(item)
    if kind in ("list", "floats"):
        keywords.update(nargs="+", action="extend")
    group.add_argument(*flags_of(item), **keywords)


def _metavar(item: Field[Any]) -> str:
    choices = item.metadata["choices"]
    if choices:
        return "{" + ",".join(choices) + "}"
    return {"path": "PATH", "int": "N", "float": "X", "floats": "X"}.get(item.metadata["kind"], "NAME")


def help_text(item: Field[Any]) -> str:
    """Return an option's help with its default, as ``--help`` and the documentation show it."""
    text, default = item.metadata["help"], item.default
    plain = default is MISSING or default is None or default == () or isinstance(default, bool) or "(default" in text
    if plain:
        return text
    shown = " ".join(str(value) for value in default) if isinstance(default, tuple) else default
    return f"{text} (default: {shown})"


def add_command(commands: Any, name: str, words: str) -> Parser:
    """Add a command to what `Parser.add_subparsers` returned; ``words`` stand in the list of commands and in its help.

    Parameters
    ----------
    words : what it does, a clause without capital and full stop
    """
    sentence = f"{words[0].upper()}{words[1:]}.".replace("%", "%%")
    return commands.add_parser(name, help=words.replace("%", "%%"), description=sentence)


def values_of(namespace: argparse.Namespace, cls: type) -> dict[str, Any]:
    """Return the options of one dataclass that were given."""
    return {item.name: getattr(namespace, item.name) for item in fields(cls) if hasattr(namespace, item.name)}


def option_table(sections: dict[str, type]) -> str:
    """Return the reference of all options as a Markdown table per section."""
    lines = []
    for name, cls in sections.items():
        lines += [f"### {name}", "", (cls.__doc__ or "").strip().splitlines()[0], ""]
        lines += ["| option | meaning |", "|---|---|"]
        for item in fields(cls):
            spellings = ", ".join(f"`{flag}`" for flag in flags_of(item))
            choices = item.metadata["choices"]
            allowed = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
            lines.append(f"| {spellings} | {help_text(item).replace('|', chr(92) + '|')}.{allowed} |")
        lines.append("")
    return "\n".join(lines)


def report_error(error: Exception, debug: bool) -> int:
    """Print an error for people and return its exit code (70 for a fault of ours)."""
    if isinstance(error, HyperError):
        if debug:
            _traceback(error)
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    _traceback(error)
    print(
        f"error: {type(error).__name__}: {error}\n"
        "This is a fault of hyper, not of your data. Please report it with the lines above.",
        file=sys.stderr,
    )
    return 70


def _traceback(error: Exception) -> None:
    import traceback

    traceback.print_exception(error)
