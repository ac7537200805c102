"""External programs for the command line.

Owns the passage from ``runtime.tools`` to the error tree. Promises that a program that cannot be had is an
``EnvironmentFault`` that says what to do, and that building shows its progress on standard error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ledger.errors import Code, EnvironmentFault
from runtime.tools import Progress, Tool, ToolError, find

__all__ = ["Tool", "program"]


def program(tool: Tool, progress: Progress | None = None) -> Path:
    """Find ``tool``, building it if need be; ``progress`` gets a line every few seconds.

    Raises:
        EnvironmentFault: TOOL_MISSING or TOOL_BUILD_FAILED.
    """
    try:
        return find(tool, progress=progress or _say, environ=os.environ)
    except ToolError as error:
        code = Code.TOOL_BUILD_FAILED if error.code == "TOOL_BUILD_FAILED" else Code.TOOL_MISSING
        raise EnvironmentFault(
            code, got=error.got, expected=error.expected, todo=error.todo, tool=tool.label
        ) from error


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
