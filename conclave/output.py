"""What the command line prints.

Owns the one renderer of documents (json, yaml, table). Promises: machine formats carry the whole document
and nothing else; colour and boxes only on a terminal and never under NO_COLOR; text that came from the
ledger cannot move a terminal's cursor. Never decides what to show.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ledger.types import Json

Format = Literal["table", "json", "yaml"]
FORMATS: tuple[Format, ...] = ("table", "json", "yaml")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_STYLES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1", "add": "32", "remove": "31"}
_WORDS = {
    "good": {"final", "applied", "current", "yes", "ready", "alive", "Synced", "Current"},
    "bad": {"failed", "rejected", "conflict", "no", "dead", "OutOfSync", "Failed", "error", "critical"},
    "warn": {"open", "partial", "in_progress", "stale", "pending", "expired", "InProgress", "warning"},
}


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how to print."""

    format: Format = "table"
    is_terminal: bool = field(default_factory=_is_terminal)

    @property
    def has_colour(self) -> bool:
        """Tell whether escape sequences may be written (https://no-color.org)."""
        return self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def is_table(self) -> bool:
        """Tell whether people read this, not programs."""
        return self.format == "table"

    def document(self, value: Json) -> bool:
        """Print ``value`` if a machine format was asked for; tell whether it was."""
        if self.format == "json":
            print(json.dumps(value, indent=2, ensure_ascii=False))
        elif self.format == "yaml":
            print(to_yaml(value), end="")
        return not self.is_table

    def record(self, value: Json) -> None:
        """Print one document of several in a machine format: a line of JSON, or a YAML document."""
        if self.format == "json":
            print(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        elif self.format == "yaml":
            print("---\n" + to_yaml(value), end="")

    def clear(self) -> None:
        """Empty the screen of a terminal, to draw it anew."""
        if self.is_terminal:
            print("\x1b[H\x1b[2J\x1b[3J", end="")

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line for people; nothing in a machine format."""
        if self.is_table:
            print(self.styled(printable(text), style))

    def note(self, text: str) -> None:
        """Print one line of progress on standard error, for people."""
        if self.is_table:
            sys.stderr.write(printable(text) + "\n")

    def styled(self, text: str, style: str) -> str:
        """Give ``text`` in a style where colour may be written."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and self.has_colour else text

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print rows under upper-case headings, in aligned columns."""
        texts = [[printable(cell_text(value)) for value in row] for row in rows]
        if self.has_colour:
            _rich_table(columns, texts)
            return
        widths = [max([len(name), *(len(row[index]) for row in texts)]) for index, name in enumerate(columns)]
        for row in [[name.upper() for name in columns], *texts]:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip())


def to_yaml(value: Json) -> str:
    """Give ``value`` as block YAML, keys in their order."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    plain = json.loads(json.dumps(value))  # enumerations of text become text
    return str(yaml.dump(plain, Dumper=dumper, sort_keys=False, allow_unicode=True, width=10_000))


def printable(text: str) -> str:
    """Give ``text`` with control and direction characters shown as escapes; line ends and tabs stay."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def duration(seconds: float) -> str:
    """Give a length of time as people write it, such as ``12s``, ``3m``, ``2h`` or ``5d``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def cell_text(value: object) -> str:
    """Give a value as the text of a cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value) or "-"
    return str(value).replace("\n", " ")


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name.upper(), overflow="fold")
    names = {word: style for style, words in _WORDS.items() for word in words}
    colours = {"good": "green", "bad": "red", "warn": "yellow"}
    for row in rows:
        table.add_row(*(Text(cell, style=colours.get(names.get(cell, ""), "")) for cell in row))
    Console().print(table)
