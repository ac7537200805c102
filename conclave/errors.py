"""How the command line says that something went wrong.

Owns exit codes and the text of failures. Promises: a person sees code, what was got, what was expected
and what to do; a program sees the same as JSON on standard output under ``-o json``; nobody sees a
traceback unless CONCLAVE_DEBUG=1.

Exit codes: 0 done, 1 refused by a rule, 2 wrong usage, 3 verification failed, 4 the surroundings failed,
70 a fault of ours, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback

import click

from conclave.output import Output, printable
from ledger.errors import (
    NO_ROOM,
    Code,
    ConclaveError,
    EnvironmentFault,
    Refused,
    VerificationFailed,
    unwritable,
)
from ledger.types import JsonObject

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_VERIFICATION = 3
EXIT_ENVIRONMENT = 4
EXIT_OURS = 70
EXIT_INTERRUPTED = 130
LISTED_MAX = 50
"""Entries of a listing fact (unpinned images, objects) shown to a person."""


def exit_code(error: ConclaveError) -> int:
    """Give the exit code of an error."""
    if error.code is Code.USAGE:
        return EXIT_USAGE
    if error.code is Code.PROPOSAL_UNDER_APPROVED:
        return EXIT_REFUSED
    if isinstance(error, VerificationFailed):
        return EXIT_VERIFICATION
    return EXIT_ENVIRONMENT if isinstance(error, EnvironmentFault) else EXIT_REFUSED


def tell(error: ConclaveError, output: Output) -> int:
    """Print the error; give the exit code."""
    _trace()
    if output.is_table or not _documented(output, {"error": to_json(error)}):
        write_error("\n".join(_lines(error)) + "\n")
    return exit_code(error)


def tell_usage(error: click.ClickException, output: Output) -> int:
    """Print an error of usage; give the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        write_error(error.format_message() + "\n")
        return EXIT_USAGE
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = "conclave" if context is None else context.command_path
    message = " ".join(error.format_message().split())
    return tell(Refused(Code.USAGE, got=message, todo=f"see: {path} --help"), output)


def tell_unexpected(error: Exception, output: Output) -> int:
    """Print what may only be a fault of ours; give the exit code. A closed pipe or a full disk is none."""
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return 0
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return tell(unwritable(error), output)
    _trace()
    text = f"{type(error).__name__}: {error}"
    todo = "this is a fault of conclave: run again with CONCLAVE_DEBUG=1 and report the trace"
    if output.is_table:
        write_error(printable(f"error: INTERNAL\n  got:      {text}\n  to do:    {todo}\n"))
    else:
        output.document({"error": {"code": EXIT_OURS, "name": "INTERNAL", "got": text, "todo": todo}})
    return EXIT_OURS


def ensure_streams() -> None:
    """Give the process streams to write to where it was started with closed ones."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  open as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  open as long as the process lives


def write_error(text: str) -> None:
    """Write to standard error, if anyone can be told at all."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def flush(status: int) -> int:
    """Write out what is still held back; give the exit code, which a disk without room changes."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        _drop_output()
        return tell(unwritable(error), Output("table"))
    return status


def _drop_output() -> None:
    """Let the interpreter's own last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _documented(output: Output, document: JsonObject) -> bool:
    """Print a document; tell whether it could be."""
    try:
        output.document(document)
        sys.stdout.flush()
    except OSError:
        _drop_output()
        return False
    return True


def to_json(error: ConclaveError) -> JsonObject:
    """Give the error as JSON; a fact that is none is shown as text."""
    document: JsonObject = json.loads(json.dumps(error.to_json(), default=str))
    return document


def _lines(error: ConclaveError) -> list[str]:
    parts = error.to_json()
    lines = [f"error: {parts['name']} ({parts['code']})"]
    for label, value in (("got", parts["got"]), ("expected", parts["expected"])):
        if value:
            lines.append(f"  {label + ':':<9} {value}")
    for name, value in sorted(error.facts.items()):
        if isinstance(value, list) and value:
            lines += [f"  {name}:", *_listed(value)]
        elif value not in (None, "", [], {}) and str(value) not in str(parts["got"]):
            lines.append(f"  {name + ':':<9} {value}")
    if parts["todo"]:
        lines.append(f"  to do:    {parts['todo']}")
    return [printable(line) for line in lines]


def _listed(values: list[object]) -> list[str]:
    shown = [
        "    " + ("  ".join(str(item) for item in value.values()) if isinstance(value, dict) else str(value))
        for value in values[:LISTED_MAX]
    ]
    more = len(values) - LISTED_MAX
    return shown + ([f"    … and {more} more"] if more > 0 else [])


def _trace() -> None:
    if os.environ.get("CONCLAVE_DEBUG") == "1":
        traceback.print_exc()
