"""The MCP server that is attacked: gate, guard, audit and proposer on a real socket, over a ledger in memory.

Owns starting and ending it inside this process, speaking to it as the robot or as a thief, and reading what
the audit kept. Nothing of the server is replaced but the node below it and the clock of gate and guard.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from ledger.errors import Code
from ledger.types import JsonObject
from mcp_server import listener, web
from mcp_server.audit.around import Auditing, audited, own_signer
from mcp_server.audit.door import Door
from mcp_server.audit.files import check
from mcp_server.audit.records import Body, Decision, Outcome, Refusals, Verdict
from mcp_server.auth.holder import Holder
from mcp_server.auth.metadata import Origin
from mcp_server.gate import Gate
from mcp_server.guarding import Guarded, Remembered
from mcp_server.listening import LOOPBACK, Listening
from mcp_server.policies import Scope
from mcp_server.proposer import Proposer
from mcp_server.server import build
from mcp_server.standing import Standings
from mcp_server.turn import Turn
from tests.support.auditing import trusting
from tests.support.ledger import ROBOT, Ledger, Subject
from tests.support.mcp import Speaking, a_story, let_propose, source_of

PATIENCE = 60.0
REVISION = "2026-07-28"
_META = "io.modelcontextprotocol/"
_FORM = "application/x-www-form-urlencoded"
KINDS = ["ConfigMap", "Deployment.apps", "Secret"]


class Time:
    """The clock of gate and guard, which a test moves on."""

    def __init__(self) -> None:
        self.ahead_s = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_s * 10**9


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: HTTP status, the name of the code it was refused with, and all of it."""

    status: int
    code: str | None
    content: Any

    @property
    def item(self) -> JsonObject:
        found: JsonObject = self.content["result"]["structuredContent"]["items"][0]
        return found

    @property
    def warnings(self) -> list[str]:
        return [each["name"] for each in self.content["result"]["_meta"]["conclave.internal/warnings"]]


@dataclass
class Target:
    """A running server."""

    origin: Origin
    ledger: Ledger
    folder: Path
    time: Time
    told: Remembered
    door: Door
    _token: str | None = None

    def __post_init__(self) -> None:
        self.robot = self.holder(ROBOT)
        # No connection is kept: the server ends one that is idle for seconds, at any moment from there on.
        self.http = httpx2.Client(timeout=PATIENCE, limits=httpx2.Limits(max_keepalive_connections=0))

    def holder(self, subject: Subject, did: str | None = None) -> Holder:
        return Holder(did or subject.did, subject, self.origin, self.time.now_ns)

    def token(self, holder: Holder | None = None, **changed: str) -> Said:
        """Ask for a token."""
        who = holder or self.robot
        proof = who.proof("POST", self.origin.token_endpoint)
        heads = {"dpop": proof, "content-type": _FORM}
        return _said(self.http.post(self.origin.token_endpoint, content=who.form(**changed), headers=heads))

    @property
    def own_token(self) -> str:
        """The robot's token, asked for once."""
        if self._token is None:
            self._token = self.token().content["access_token"]
        return self._token

    def later(self, seconds: int) -> None:
        """Let time pass; a token is asked for anew."""
        self.time.ahead_s += seconds
        self._token = None

    def post(
        self, content: bytes, *, token: str | None = None, proof: str | None = None, **heads: str
    ) -> Said:
        """Send a message with this token and proof; the robot's own where none are given."""
        token = self.own_token if token is None else token
        proof = self.robot.proof("POST", self.origin.resource, token) if proof is None else proof
        told = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        told |= {"authorization": f"DPoP {token}", "dpop": proof}
        told |= {name.replace("_", "-"): value for name, value in heads.items()}
        return _said(self.http.post(self.origin.resource, content=content, headers=told))

    def ask(self, method: str, params: JsonObject, *, can: JsonObject | None = None) -> Said:
        """Ask for something by the newest revision, as a client that can do ``can``."""
        meta = {
            f"{_META}protocolVersion": REVISION,
            f"{_META}clientCapabilities": can or {},
            f"{_META}clientInfo": {"name": "attacker", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        heads = {"mcp_protocol_version": REVISION, "mcp_method": method}
        name = params.get("name", params.get("uri"))
        if name is not None and not name.isascii():
            name = f"=?base64?{base64.b64encode(name.encode()).decode()}?="
        return self.post(
            json.dumps(message).encode(), **heads, **({} if name is None else {"mcp_name": name})
        )

    def call(self, tool: str, **arguments: Any) -> Said:
        """Call a tool as the robot."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def answered(self, tool: str, content: Any, *, form: str = "missing", **given: Any) -> Said:
        """Call a tool with an accepted form as the client sends it back; ``given`` is what it said before."""
        params: JsonObject = {"name": tool, "arguments": given}
        params["inputResponses"] = {form: {"action": "accept", "content": content}}
        return self.ask("tools/call", params, can={"elicitation": {"form": {}}})

    def log(self) -> list[Body]:
        """Read the whole audit, judged as ``conclave audit verify`` judges it."""
        found: list[Body] = []
        folders = sorted(path for path in self.folder.iterdir() if path.is_dir())
        told = check(folders, trusting(), lambda _log, record: found.append(record.body))
        assert [each.error for each in told] == [None]
        return found

    def decisions(self) -> list[Decision]:
        return [body for body in self.log() if isinstance(body, Decision)]

    def outcomes(self) -> list[Outcome]:
        return [body for body in self.log() if isinstance(body, Outcome)]

    def refused_at_the_door(self) -> dict[str, int]:
        """Give what the audit has of refusals at the door, by code; waits for what is not written yet."""
        until = time.monotonic() + PATIENCE
        while self.door.waiting and time.monotonic() < until:
            time.sleep(0.05)
        found: dict[str, int] = {}
        for body in self.log():
            for name, count in body.codes.items() if isinstance(body, Refusals) else ():
                found[name] = found.get(name, 0) + count
        return found

    def expect(self, said: Said, code: Code, verdict: Verdict = Verdict.REFUSE) -> None:
        """Say that a call was refused with this code, and that the audit shows just that."""
        assert said.code == code.name, said.content
        decision, outcome = self.decisions()[-1], self.outcomes()[-1]
        assert (decision.principal, decision.key) == (ROBOT.did, ROBOT.key_id)
        assert decision.verdict is verdict, decision
        assert outcome.call == decision.call
        by_whom = decision if verdict in (Verdict.REFUSE, Verdict.SUSPEND) else outcome
        assert [reason["name"] for reason in by_whom.reasons][:1] == [code.name]
        assert by_whom.reasons[0]["code"] == int(code)

    @contextlib.contextmanager
    def nothing_written(self) -> Iterator[None]:
        """Say that the ledger stays as it is."""
        before = self.ledger.height, dict(self.ledger.values[self.ledger.height])
        yield
        assert (self.ledger.height, self.ledger.values[self.ledger.height]) == before


def _said(answer: httpx2.Response) -> Said:
    content = answer.json() if answer.content else None
    return Said(answer.status_code, _code_in(content), content)


def _code_in(content: Any) -> str | None:
    if not isinstance(content, dict):
        return None
    if "conclave" in content:
        return str(content["conclave"]["name"])
    if isinstance(content.get("error"), dict):
        told = content["error"].get("data")
        return str(told.get("name")) if isinstance(told, dict) else None
    result = content.get("result", {})
    if result.get("isError"):
        return str(result["_meta"]["conclave.internal/error"]["name"])
    return None


def a_ledger() -> Ledger:
    """Give the story's ledger, on which the robot may propose for the guestbook on the cluster east."""
    return let_propose(a_story(), Scope(["guestbook"], ["east"], KINDS))


@contextlib.contextmanager
def attacked(folder: Path) -> Iterator[Target]:
    """Start a server; it ends with the block."""
    ledger, clock, told, door = a_ledger(), Time(), Remembered(), Door()
    source = source_of(Speaking(ledger))
    listening = Listening(LOOPBACK, 0)
    bound = listener.listen(listening)
    origin, turn = Origin(listening.origin(bound.getsockname()[1])), Turn()
    standings, signer = Standings(source), own_signer(folder)
    proposer = Proposer(source.rpc, source.reader, {ROBOT.did: [ROBOT]})
    auditing = Auditing(folder, signer, signer.did, ledger.chain.chain_id, door=door)
    with audited(auditing) as around:
        assert around is not None
        chain = around(Guarded(standings, clock.now_ns, told))
        served = build(source, chain, turn=turn, proposer=proposer)
        gate = Gate(origin, standings, turn, clock.now_ns)
        server = listener.server_of(web.application(served, gate, door), count=door.refused)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        target = Target(origin, ledger, folder, clock, told, door)
        try:
            yield target
        finally:
            target.http.close()
            server.should_exit = True
            thread.join(PATIENCE)
        assert not thread.is_alive()
    target.log()


def config_map(data: JsonObject | None = None, **metadata: Any) -> JsonObject:
    told = {"name": "more", "namespace": "guestbook", **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": told, "data": data or {"a": "1"}}


def propose(target: Target, *objects: JsonObject, **changed: Any) -> Said:
    given = {"release": "guestbook", "reason": "more", "objects": list(objects), **changed}
    return target.call("propose_release", **given)
