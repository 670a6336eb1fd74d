"""Command-line options from settings dataclasses: the one owner of argparse."""

from __future__ import annotations

import argparse
import sys
from dataclasses import MISSING, Field, fields
from typing import Any, NoReturn

from hyper_bids.errors import HyperError, UsageError, did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` (exit 64) instead of exiting with argparse's 2."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.HelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise with the usage in one line and, where it helps, a hint."""
        raise UsageError(f"{message}{self._hint(message)} (see {self.prog} --help)")

    def _hint(self, message: str) -> str:
        if "required" in message or "invalid choice" in message:
            return (
                ". Positional arguments come first: an option that takes several words swallows those that follow it"
            )
        if "unrecognized arguments" in message:
            known = [flag for action in self._actions for flag in action.option_strings]
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
        if not item.metadata:
            continue
        kind, default = item.metadata["kind"], item.default
        keywords: dict[str, Any] = {
            "dest": item.name,
            "default": argparse.SUPPRESS,
            "help": help_text(item).replace("%", "%%"),
        }
        if kind == "flag":
            on_by_default = default is True
            action = argparse.BooleanOptionalAction if on_by_default else "store_true"
            group.add_argument(*flags_of(item), action=action, **keywords)
            continue
        if kind == "count":
            group.add_argument(*flags_of(item), action="count", **keywords)
            continue
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
