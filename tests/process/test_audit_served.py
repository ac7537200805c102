"""The audited MCP server as a process: calls over its streams, signals, two servers, what the verbs say."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conclave.__main__ import run
from mcp_server.audit.files import logs, read_log
from mcp_server.audit.records import Decision, Outcome
from mcp_server.audit.walk import Walk
from tests.process.test_mcp import MODERN, _post
from tests.support.auditing import intact
from tests.support.ledger import ROBOT

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
VERIFICATION = 3
SIGNALLED = """
import signal, sys
from pathlib import Path
from mcp_server.audit.around import Auditing, audited, own_signer
from mcp_server.audit.writer import AuditLog
write = AuditLog._write
def signalled(*arguments, closes=False, **options):
    if closes:
        signal.raise_signal(signal.SIGTERM)
    write(*arguments, closes=closes, **options)
AuditLog._write = signalled
folder = Path(sys.argv[1])
signer = own_signer(folder)
with audited(Auditing(folder, signer, signer.did, "test-chain")):
    if len(sys.argv) > 2:
        signal.raise_signal(signal.SIGTERM)
"""


class Streams:
    """A server over standard streams, spoken to line by line."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.support.audited_process", str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
        )

    def ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool; give the answer's result or error."""
        params = {"name": name, "arguments": arguments, "_meta": MODERN}
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self, number: signal.Signals | None = None) -> int:
        """End it by a signal, or by the end of its input; give the exit code."""
        if number is not None:
            self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@contextlib.contextmanager
def streams(folder: Path) -> Iterator[Streams]:
    made = Streams(folder)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def calls(folder: Path) -> list[tuple[str, str, str]]:
    """Give name, verdict and end of each call."""
    bodies = [record.body for record in read_log(folder, Walk())]
    ends = {body.call: body.ended.value for body in bodies if isinstance(body, Outcome)}
    return [(body.name, body.verdict.value, ends[body.call]) for body in bodies if isinstance(body, Decision)]


@pytest.mark.requires("audit.wired")
def test_calls_refusals_and_signals_are_in_a_log_that_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "audit"
    ends: list[tuple[signal.Signals | None, int]] = [
        (None, 0),
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGINT, -signal.SIGINT),
        (signal.SIGKILL, -signal.SIGKILL),
    ]
    for number, status in ends:
        with streams(folder) as server:
            assert "result" in server.ask("get_clusters")
            assert "TOOL_NOT_ALLOWED" in json.dumps(server.ask("no_such_tool", token="hunter2"))
            assert server.end(number) == status
    (log,) = logs(folder)
    with streams(folder) as server:
        server.ask("get_clusters")
        with streams(folder) as beside:
            beside.ask("get_clusters")
            assert len(logs(folder)) == 2
            assert run(["audit", "verify", str(folder)]) == 0
            assert "a server writes to it" in capsys.readouterr().out
            beside.end()
        server.end()
    found = intact(log)
    assert (found.walk.counts.starts, found.walk.counts.kills) == (5, 1)
    assert found.walk.is_closed
    expected = [("get_clusters", "allow", "answered"), ("no_such_tool", "refuse", "refused")]
    assert calls(log) == [*expected * 4, expected[0]]
    assert {r.body.principal for r in read_log(log, Walk()) if isinstance(r.body, Decision)} == {ROBOT.did}


@pytest.mark.requires("audit.wired")
@pytest.mark.parametrize("before", [(), ("a signal",)])
def test_a_signal_while_the_log_is_being_closed_waits_for_that(
    tmp_path: Path, before: tuple[str, ...]
) -> None:
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path), *before]
    assert subprocess.run(command, cwd=ROOT, timeout=PATIENCE, check=False).returncode == -signal.SIGTERM
    (log,) = logs(tmp_path)
    assert intact(log).walk.is_closed


@pytest.mark.requires("audit.wired")
def test_a_server_over_http_ends_its_log_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.audited_process", str(tmp_path), "http"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stderr is not None
        port = int(json.loads(process.stderr.readline())["url"].rsplit(":", 1)[1].split("/")[0])
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
        version = {"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/list"}
        assert _post(port, json.dumps(body).encode(), **version)[0] == 200
        process.terminate()
        process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    (log,) = logs(tmp_path)
    assert intact(log).walk.is_closed
    decided = [r.body for r in read_log(log, Walk()) if isinstance(r.body, Decision)]
    assert [(body.sort, body.name, body.principal) for body in decided] == [("list", "tools", None)]


@pytest.mark.requires("audit.wired")
def test_the_verbs_list_and_export_what_was_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "audit"
    with streams(folder) as server:
        server.ask("get_clusters")
        server.ask("no_such_tool")
        server.end()
    assert run(["audit", "show", str(folder), "--verdict", "refuse", "-o", "json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert (item["call"], item["reasons"]) == ("tool no_such_tool", ["TOOL_NOT_ALLOWED"])
    assert run(["audit", "show", str(folder), "--principal", ROBOT.did, "--last", "1"]) == 0
    assert "get_clusters" not in capsys.readouterr().out
    assert run(["audit", "show", str(folder), "--since", "2999-01-01T00:00:00Z", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == []
    given = tmp_path / "arguments.json"
    for text, count in (("{ }", 2), ('{"limit": 3}', 0)):
        given.write_text(text)
        assert run(["audit", "show", str(folder), "--arguments", str(given), "-o", "json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["items"]) == count
    assert run(["audit", "export", str(folder)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    denied = [event for event in events if event.get("event.type") == ["denied"]]
    assert [event["user.id"] for event in denied] == [ROBOT.did]


@pytest.mark.requires("audit.marks")
def test_a_head_that_was_noted_finds_what_was_cut_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "audit"
    with streams(folder) as server:
        server.ask("get_clusters")
        server.end()
    assert run(["audit", "verify", str(folder), "-o", "json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["logs"]
    noted = f"{said['log']}:{said['head']['count']}:{said['head']['hash']}"
    assert run(["audit", "verify", str(folder), "--head", noted, "--key", said["key"]]) == 0
    (path,) = logs(folder)[0].glob("*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert run(["audit", "verify", str(folder)]) == 0, "an end that nobody else knows may be missing"
    assert run(["audit", "verify", str(folder), "--head", noted]) == VERIFICATION
    assert "AUDIT_CUT" in capsys.readouterr().err
    assert run(["audit", "verify", str(folder), "--key", ROBOT.did]) == VERIFICATION
    path.write_bytes(path.read_bytes()[:-3])
    assert run(["audit", "export", str(folder)]) == VERIFICATION
    assert run(["audit", "verify", str(folder), "--head", "x"]) == 2
    assert run(["audit", "verify", str(tmp_path / "none")]) == 4
