"""``conclave logs``: every form of line, files that grow and are cut off, filters, names."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import click
import pytest

from conclave import __main__ as program
from conclave import log_files
from conclave.command import Session
from conclave.completion import process_names
from conclave.log_files import LINE_BYTES_MAX, LogFile, Reader
from conclave.log_lines import Entry, parse
from conclave.output import Output
from conclave.verbs import logs
from ledger.types import JsonObject
from tests.unit.conclave.desk import Desk

OURS = json.dumps(
    {
        "ts": "2026-11-26T11:29:34.383Z",
        "level": "warning",
        "component": "bridge",
        "event": "held",
        "code": 522,
    }
)
COMET = (
    "E[2026-11-26|11:29:41.181] executed block                               "
    'module=state height=2 msg="it said \\"no\\"" app_hash=CD02'
)
KLOG = 'W1126 11:29:40.065746   25698 server.go:178] "Starting" version="v1.36.3" err="a b"'
ETCD = '{"level":"warn","ts":"2026-11-26T11:29:33.231149Z","caller":"embed/config.go:1207","msg":"rejected"}'


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Local time is one and a half hours before UTC."""
    monkeypatch.setenv("TZ", "ZZZ+1:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.requires("cli.logs")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (OURS, ("2026-11-26T11:29:34.383Z", "warning", "bridge", "held", {"code": 522})),
        (
            COMET,
            (
                "2026-11-26T12:59:41.181Z",
                "error",
                "state",
                'it said "no"',
                {"height": "2", "app_hash": "CD02"},
            ),
        ),
        (
            KLOG,
            (
                "2026-11-26T12:59:40.065Z",
                "warning",
                "server.go:178",
                "Starting",
                {"version": "v1.36.3", "err": "a b"},
            ),
        ),
        (
            ETCD,
            ("2026-11-26T11:29:33.231Z", "warning", None, "rejected", {"caller": "embed/config.go:1207"}),
        ),
        (
            "devkube:  1307 ms  etcd ready",
            (None, None, None, "devkube:  1307 ms  etcd ready", {}),
        ),
        (
            "Traceback (most recent call last):",
            (None, "error", None, "Traceback (most recent call last):", {}),
        ),
        ('{"ts": 7, "level": []}', (None, None, None, "", {})),
        ("[" * 5000, (None, None, None, "[" * 5000, {})),
        ('{"a":' * 5000, (None, None, None, '{"a":' * 5000, {})),
        ("W9999 99:99:99.999999 1 x.go:1] y", (None, "warning", "x.go:1", "y", {})),
        ("\ud800", (None, None, None, "\ufffd\ufffd\ufffd", {})),
    ],
)
def test_every_form_of_line_is_an_entry(line: str, expected: tuple[Any, ...]) -> None:
    found = parse("x", line.encode("utf-8", "surrogatepass"), 2026)
    assert (found.time, found.level, found.component, found.event, found.fields) == expected


def reader(path: Path) -> Reader:
    return Reader(LogFile("x", path))


def said(entries: Any) -> list[str]:
    return [entry.event for entry in entries]


def anything(_: Entry) -> bool:
    return True


@pytest.mark.requires("cli.logs")
def test_a_line_is_given_once_and_whole_and_a_log_begun_anew_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("one\ntwo\nthr")
    follower = reader(path)
    assert said(follower.last(10, anything)) == ["one", "two"]
    with path.open("a") as file:
        file.write("ee\nfour\n")
    assert said(follower.more()) == ["three", "four"]
    assert said(follower.more()) == []
    path.write_text("anew\n")  # cut off, as runtime.logfile does it
    assert said(follower.more()) == ["anew"]
    other = tmp_path / "y.log"
    other.write_text("another file\nof that name\n")
    other.replace(path)
    assert said(follower.more()) == ["another file", "of that name"]
    path.unlink()
    assert said(follower.more()) == []


@pytest.mark.requires("cli.logs")
def test_long_lines_and_long_logs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"x" * (3 * LINE_BYTES_MAX) + b"\nshort\n")
    assert [len(event) for event in said(reader(path).last(10, anything))] == [LINE_BYTES_MAX, 5]
    follower = reader(path)
    path.write_bytes(b"y" * (2 * LINE_BYTES_MAX))
    assert [len(event) for event in said(follower.more())] == [LINE_BYTES_MAX]
    with path.open("ab") as file:
        file.write(b"y" * LINE_BYTES_MAX + b"\nnext\n")
    assert said(follower.more()) == ["next"]
    monkeypatch.setattr(log_files, "READ_BYTES_MAX", 20)
    path.write_text("".join(f"line {n}\n" for n in range(100)))
    assert said(reader(path).last(10, anything)) == ["line 98", "line 99"]


@pytest.mark.requires("cli.logs")
def test_what_has_no_time_goes_on_with_the_line_before_it(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text(f'first\n{OURS}\nTraceback (most recent call last):\n  File "x"\n')
    found = [(entry.time, entry.level) for entry in reader(path).last(10, anything)]
    at = "2026-11-26T11:29:34.383Z"
    assert found == [(None, None), (at, "warning"), (at, "error"), (at, "error")]


def write_logs(desk: Desk) -> None:
    """Make the logs of a home."""
    for name, lines in {
        "nodes/node0/log/node.log": [
            '{"ts": "2026-11-26T11:00:01.000Z", "level": "info", "event": "started"}'
        ],
        "nodes/node0/log/app.log": [
            '{"ts": "2026-11-26T11:00:02.000Z", "level": "debug", "event": "listens"}'
        ],
        "bridges/east/log/bridge.log": [OURS],
        "clusters/east.log": ["devkube: \x1b[2Jready"],
        "clusters/east/log/etcd.log": [ETCD],
    }.items():
        path = desk.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def sources(answer: JsonObject) -> list[str]:
    return [str(entry["source"]) for entry in answer["items"]]


class HalfPastEleven(datetime):
    """The moment at which somebody looks."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> HalfPastEleven:
        return cls(2026, 11, 26, 11, 30, tzinfo=UTC).astimezone(tz)


@pytest.mark.requires("cli.logs")
def test_logs_are_merged_by_time_and_filtered_by_name_and_level(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "datetime", HalfPastEleven)
    write_logs(desk)
    assert sources(desk.run("logs")) == [
        "cluster-east",
        "node-0",
        "node-0/app",
        "cluster-east/etcd",
        "bridge-east",
    ]
    assert sources(desk.run("logs", "node")) == ["node-0", "node-0/app"]
    assert sources(desk.run("logs", "node-0/app", "bridge-east")) == ["node-0/app", "bridge-east"]
    assert sources(desk.run("logs", "--level", "warning")) == ["cluster-east/etcd", "bridge-east"]
    assert sources(desk.run("logs", "--tail", "1")) == ["bridge-east"]
    assert sources(desk.run("logs", "--tail", "0")) == []
    assert sources(desk.run("logs", "--tail", "1", "--level", "debug", "node")) == ["node-0/app"]
    assert sources(desk.run("logs", "--since", "1s")) == []
    assert sources(desk.run("logs", "--since", "26s")) == ["bridge-east"]
    assert sources(desk.run("logs", "--since", "1h")) == [
        "node-0",
        "node-0/app",
        "cluster-east/etcd",
        "bridge-east",
    ]
    shown = desk.show("logs")
    assert "2026-11-26T11:29:34.383Z  bridge-east  WARNING  bridge: held code=522" in shown
    assert "\x1b[2J" not in shown
    assert desk.refused("logs", "nod") == "NAME_UNKNOWN"
    assert desk.refused("logs", "--level", "loud", status=2) == "USAGE"


@pytest.mark.requires("cli.logs")
def test_a_follower_is_told_what_is_appended_and_of_logs_that_come(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_logs(desk)

    def append(name: str, line: str) -> None:
        path = desk.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(line + "\n")

    happen = [
        lambda: append("bridges/east/log/bridge.log", OURS.replace("held", "goes on")),
        lambda: append("bridges/west/log/bridge.log", OURS.replace("held", "begins")),
        lambda: append("nodes/node0/log/node.log", "of no interest"),
    ]

    def sleep(_: float) -> None:
        if not happen:
            raise KeyboardInterrupt
        happen.pop(0)()

    monkeypatch.setattr(logs, "sleep", sleep)
    arguments = ["logs", "bridge", "--follow", "--home", str(desk.path), "-o", "json"]
    assert program.run(arguments) == 130
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(entry["source"], entry["event"]) for entry in told] == [
        ("bridge-east", "held"),
        ("bridge-east", "goes on"),
        ("bridge-west", "begins"),
    ]


@pytest.mark.requires("cli.completion")
def test_names_of_logs_complete(desk: Desk) -> None:
    write_logs(desk)
    context = click.Context(click.Command("x"), obj=Session(desk.path, None, Output()))
    assert process_names(context, click.Argument(["names"]), "node-0") == ["node-0", "node-0/app"]
    context.obj.home = desk.path / "nowhere"
    assert process_names(context, click.Argument(["names"]), "") == []
