"""The conformance door: ``python -m tests.conformance SUITE < cases.jsonl > verdicts.jsonl``.

One JSON object a line in, one a line out, same order, same ``id``. Only translates: each suite calls the
product's own functions. Promises to answer every line and to exit 0 once it has; a case that cannot be
read, and any case of an unknown suite, is ``"refused"``.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

Suite = Callable[[dict[str, Any]], dict[str, Any]]
LINE_BYTES_MAX = 256 * 1024 * 1024
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def suite_named(name: str) -> Suite | None:
    """Give a suite's ``answer``, or None where the product has no such part."""
    if not _NAME.fullmatch(name):
        return None
    try:
        module = importlib.import_module(f"tests.conformance.suites.{name}")
    except ModuleNotFoundError:
        return None
    found: Suite = module.answer
    return found


def answer_line(suite: Suite | None, line: bytes) -> dict[str, Any]:
    """Answer one line, whatever it holds."""
    try:
        case = json.loads(line)
    except (ValueError, RecursionError):
        return {"id": None, "verdict": "refused"}
    if not isinstance(case, dict):
        return {"id": None, "verdict": "refused"}
    identifier = case.get("id")
    if suite is None:
        return {"id": identifier, "verdict": "refused"}
    try:
        return {"id": identifier, **suite(case)}
    except Exception as error:  # noqa: BLE001 - the door never crashes; the name shows what to repair
        return {"id": identifier, "verdict": "refused", "error": type(error).__name__}


def run(name: str, source: BinaryIO, target: BinaryIO) -> None:
    """Answer every line of ``source`` on ``target``."""
    suite = suite_named(name)
    while line := source.readline(LINE_BYTES_MAX):
        if line.strip():
            target.write(json.dumps(answer_line(suite, line)).encode() + b"\n")
            target.flush()


def main() -> int:
    """Run the suite named on the command line."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m tests.conformance SUITE < cases.jsonl > verdicts.jsonl\n")
        return 2
    run(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
