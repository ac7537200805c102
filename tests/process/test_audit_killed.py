"""The audit of calls in a process that is killed, and on a disk without room."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.errors import Code
from mcp_server.audit.files import read_log, segments
from mcp_server.audit.records import Decision, Outcome
from mcp_server.audit.walk import Walk
from tests.support.auditing import intact, key_in, start

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 6
PATIENCE_S = 240
_SERVER = """
import resource, sys, time
from pathlib import Path
from ledger.errors import EnvironmentFault
from mcp_server.audit.writer import Settings
from tests.support.auditing import Ticking, start
folder, bytes_max = Path(sys.argv[1]), int(sys.argv[2])
server = start(folder, settings=Settings(head_records=7, segment_bytes=20_000))
if bytes_max:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))
for number in range(100_000):
    try:
        call = server.call(number=number)
    except EnvironmentFault as fault:
        print(fault.code.name, flush=True)
        if bytes_max and number > 400:
            break
        continue
    print(call.id, flush=True)
"""


def _started(folder: Path, bytes_max: int = 0) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _SERVER, str(folder), str(bytes_max)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


@pytest.mark.requires("audit.killed")
def test_after_kill_9_every_call_that_was_served_is_there_and_the_rest_is_said(tmp_path: Path) -> None:
    key_in(tmp_path)
    served: list[str] = []
    for number in range(ROUNDS):
        process = _started(tmp_path)
        assert process.stdout is not None
        served += [process.stdout.readline().decode().strip() for _ in range(3 + 11 * number)]
        process.send_signal(signal.SIGKILL)
        # What it served until the signal came counts too; the last line may be broken off. Read through the
        # same buffer as before: communicate() goes past it, and begins in the middle of a line.
        rest = process.stdout.read().decode().splitlines(keepends=True)
        served += [line.strip() for line in rest if line.endswith("\n")]
        process.stdout.close()
        process.wait()
    last = start(tmp_path)
    last.call()
    last.log.close()
    found = intact(last.folder)
    bodies = [record.body for record in read_log(last.folder, Walk())]
    answered = {body.call for body in bodies if isinstance(body, Outcome)}
    assert set(served) <= answered
    assert len(served) >= ROUNDS * 3
    assert found.walk.counts.kills == ROUNDS
    decided = {body.call for body in bodies if isinstance(body, Decision)}
    assert len(decided - answered) == found.walk.counts.unfinished


@pytest.mark.requires("audit.fail-closed")
def test_on_a_disk_without_room_calls_are_refused_and_the_log_stays_whole(tmp_path: Path) -> None:
    key_in(tmp_path)
    # No file may be larger than this, and one is only begun anew at 20,000 bytes: sooner or later none fits.
    process = _started(tmp_path, bytes_max=9_000)
    told = process.communicate(timeout=PATIENCE_S)[0].decode().split()
    assert Code.DISK_FULL.name in told
    first = told.index(Code.DISK_FULL.name)
    assert first > 3
    assert set(told[first:]) == {Code.DISK_FULL.name}, "nothing is served unaudited"
    again = start(tmp_path)
    again.call()
    again.log.close()
    outcomes = {r.body.call for r in read_log(again.folder, Walk()) if isinstance(r.body, Outcome)}
    assert set(told[:first]) <= outcomes
    intact(again.folder)


@pytest.mark.requires("audit.wired")
def test_the_verb_says_where_a_log_is_broken_and_loads_no_network_client(tmp_path: Path) -> None:
    server = start(tmp_path)
    server.call()
    server.log.close()
    script = (
        "import sys; from conclave.__main__ import run; status = run(sys.argv[1:]);"
        "print(sorted({'urllib3', 'mcp', 'kubernetes'} & set(sys.modules)), file=sys.stderr);"
        "sys.exit(status)"
    )
    given = ["audit", "verify", str(tmp_path / "audit"), "--any-key", "-o", "json"]
    command = [sys.executable, "-c", script, *given]
    good = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=PATIENCE_S, check=False)
    assert (good.returncode, good.stderr.strip()) == (0, b"[]")
    newest = segments(server.folder)[-1]
    content = newest.read_bytes()
    newest.write_bytes(content.replace(b'"allow"', b'"warn"'))
    bad = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=PATIENCE_S, check=False)
    assert bad.returncode == 3
    said = json.loads(bad.stdout)
    assert said["verdict"] == "AUDIT_RECORD_INVALID"
    assert said["logs"][0]["error"]["facts"]["line"] == 4
