"""What every verb shares: the session, and the options ``--home``, ``--as`` and ``-o``.

Owns the options that mean the same everywhere, before or after the verb. Promises that every verb's help ends
with its examples. Imports nothing heavy: help must come at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from conclave.output import FORMATS, Output
from ledger.errors import ConclaveError

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[Any], Any]
DEFAULT_HOME = ".conclave"


@dataclass(slots=True)
class Session:
    """What the options say; the one mutable thing of a call."""

    home: Path
    as_name: str | None
    output: Output

    @classmethod
    def from_environment(cls) -> Session:
        """Give the session that no option has touched."""
        home = os.environ.get("CONCLAVE_HOME") or DEFAULT_HOME
        return cls(Path(home), os.environ.get("CONCLAVE_AS") or None, Output())


class Verb(click.Command):
    """A command whose help ends with examples, one a line as typed."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        del ctx
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


class VerbGroup(Verb, click.Group):
    """A group of verbs whose own help ends with examples too."""


def verb(name: str, *examples: str, output: Option | None = None) -> Callable[[Callable[..., Any]], Verb]:
    """Make a verb of a function whose first argument is the ``Session``; ``output`` is its own ``-o``."""

    def make(function: Callable[..., Any]) -> Verb:
        command = click.command(name, cls=Verb, examples=examples, context_settings=CONTEXT)
        made: Verb = command(shared(click.pass_obj(function), output=output))
        return made

    return make


CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def shared(function: F, *, output: Option | None = None) -> F:
    """Add ``--home``, ``--as`` and ``-o`` to a command; ``output`` in place of the usual ``-o``."""
    for option in (
        output
        or click.option(
            "-o", "--output", type=click.Choice(FORMATS), callback=_output, expose_value=False, help="Format."
        ),
        click.option(
            "--as",
            "as_",
            metavar="NAME",
            callback=_as,
            expose_value=False,
            shell_complete=subject_names,
            help="Who signs [CONCLAVE_AS].",
        ),
        click.option(
            "--home",
            type=click.Path(path_type=Path),
            metavar="DIR",
            callback=_home,
            expose_value=False,
            help=f"The ledger's folder [CONCLAVE_HOME, else ./{DEFAULT_HOME}].",
        ),
    ):
        function = option(function)
    return function


def asked_format(arguments: list[str]) -> Output:
    """Read the wanted format from raw arguments, so that even a usage error is printed in it."""
    for index, argument in enumerate(arguments):
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        for name in FORMATS:
            if argument in {f"-o{name}", f"-o={name}", f"--output={name}"}:
                return Output(name)
            if argument in {"-o", "--output"} and following == name:
                return Output(name)
    return Output(is_terminal=sys.stdout.isatty())


def subject_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a subject; nothing where the home cannot be read."""
    from conclave.home import load

    try:
        home = load(ctx.find_root().obj.home)
    except ConclaveError:
        return []
    return [subject.name for subject in home.subjects if subject.name.startswith(incomplete)]


def _output(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        ctx.obj.output = Output(value)


def _as(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj.as_name = value


def _home(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.obj.home = value
