"""``conclave logs``: what the processes of ``conclave up`` wrote, as entries.

Promises that lines of several logs come in the order of their times, and that whatever a line holds cannot
move a terminal's cursor. Reads through ``conclave.log_files``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from time import sleep

import click

from conclave.command import Session, verb
from conclave.completion import process_names
from conclave.durations import Duration
from conclave.home import Home, load
from conclave.log_files import LogFile, Reader, log_files, merged
from conclave.log_lines import LEVELS, Entry, is_at_least
from conclave.output import Output
from ledger.errors import Code, Refused
from ledger.types import JsonObject

POLL_S = 0.25
SINCE_S_MAX = 366 * 86_400.0
LINES_MAX = 100_000
_FIELD_CHARACTERS_MAX = 400
_STYLES = {"error": "bad", "warning": "warn", "debug": "dim"}


@verb(
    "logs",
    "conclave logs",
    "conclave logs bridge-east --follow",
    "conclave logs node --level warning --since 10m",
    "conclave logs node-0/cometbft --tail 20 -o json",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=process_names)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is appended, until Ctrl-C.")
@click.option("--level", type=click.Choice(LEVELS), default="debug", help="This level and graver ones.")
@click.option(
    "--tail",
    type=click.IntRange(0, LINES_MAX),
    default=100,
    show_default=True,
    metavar="LINES",
    help="The last so many lines of all together.",
)
@click.option("--since", type=Duration(SINCE_S_MAX), metavar="TIME", help="Only the last 90s, 10m, 2h, 1d.")
def command(
    session: Session, names: tuple[str, ...], level: str, tail: int, since: float | None, *, follow: bool
) -> None:
    """Show the logs of what "conclave up" started: validators, clusters' API servers, bridges.

    NAME is node-0 (with node-0/app and node-0/cometbft), bridge-CLUSTER, or cluster-CLUSTER (with
    cluster-CLUSTER/kube-apiserver and others); node, bridge and cluster mean all of that kind. All where none
    is named.

    Lines are read as entries: time (UTC), level, component, event, fields. A line without a level counts as
    info; one without a time belongs to the line before it. With -o json, entries are items of one document;
    with --follow too, one JSON object a line.

    These are Conclave's own processes. The logs of Pods are Kubernetes' business: kubectl logs.
    """
    home = load(session.home)
    readers = [Reader(log) for log in _chosen(home, names)]
    least = None if since is None else _moment(since)

    def is_shown(entry: Entry) -> bool:
        return is_at_least(entry.level, level) and (least is None or (entry.time or "") >= least)

    # Whoever filters wants the last lines of what is left, not what is left of the last lines.
    found = merged(readers, tail, is_shown)
    output = session.output
    if not follow:
        if not output.document({"items": [entry.to_json() for entry in found]}):
            _show(output, found)
        return
    _show(output, found)
    while True:
        sleep(POLL_S)
        known = {reader.log.name for reader in readers}
        readers += [Reader(log) for log in _chosen(home, names) if log.name not in known]
        fresh = [entry for reader in readers for entry in reader.more()]
        fresh.sort(key=lambda entry: entry.time or "")
        _show(output, filter(is_shown, fresh))


def _chosen(home: Home, names: tuple[str, ...]) -> list[LogFile]:
    """Give the logs that the names mean.

    Raises:
        Refused: NAME_UNKNOWN.
    """
    logs = log_files(home)
    for name in names:
        if not any(log.is_of(name) for log in logs):
            raise Refused(
                Code.NAME_UNKNOWN,
                got=name,
                expected=", ".join(log.name for log in logs) or "no log yet",
                todo="start everything with: conclave up",
            )
    return [log for log in logs if not names or any(log.is_of(name) for name in names)]


def _moment(since_s: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=since_s)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _show(output: Output, entries: Iterable[Entry]) -> None:
    for entry in entries:
        if output.is_table:
            output.line(_text(entry), _STYLES.get(entry.level or "", ""))
        else:
            output.record(entry.to_json())
    sys.stdout.flush()


def _text(entry: Entry) -> str:
    head = [entry.time or "-", entry.source, (entry.level or "-").upper()]
    if entry.component is not None:
        head.append(f"{entry.component}:")
    return "  ".join([*head[:3], " ".join([*head[3:], entry.event, *_fields(entry.fields)])])


def _fields(fields: JsonObject) -> list[str]:
    texts = []
    for name, value in fields.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = text if text and " " not in text else json.dumps(text, ensure_ascii=False)
        more = "…" if len(text) > _FIELD_CHARACTERS_MAX else ""
        texts.append(f"{name}={text[:_FIELD_CHARACTERS_MAX]}{more}")
    return texts
