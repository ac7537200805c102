"""The gate: what gets a token, what gets in, and how each refusal is told over HTTP."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest

from ledger.bodies import revocation_body, suspension_body
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from mcp_server import gate as gate_module
from mcp_server import gate_answers, places, serving
from mcp_server.auth.holder import Holder
from mcp_server.auth.limits import PROOF_SECONDS_MAX, TOKEN_SECONDS_MAX
from mcp_server.auth.metadata import Origin
from mcp_server.auth.replay import Replays
from mcp_server.chain import Principal, Unguarded
from mcp_server.gate import Gate, Heads
from mcp_server.standing import Standings
from mcp_server.turn import Turn
from tests.support.ledger import ALICE, ROBOT, Ledger, Subject, envelope
from tests.support.mcp import Speaking, a_story, source_of

ORIGIN = Origin("https://mcp.example:8443")
SECOND_NS = 10**9


class Door:
    """A gate over a ledger, a clock and somebody in front of it."""

    def __init__(self, ledger: Ledger | None = None, *, later_ns: int = 0) -> None:
        self.ledger = ledger or a_story()
        self.now_ns = 1_700_000_000 * SECOND_NS
        source = source_of(Speaking(self.ledger), later_ns=later_ns)
        self.gate = Gate(ORIGIN, Standings(source), Turn(), self.clock)
        self.robot = self.holder(ROBOT)

    def clock(self) -> int:
        return self.now_ns

    def holder(self, subject: Subject, did: str | None = None) -> Holder:
        return Holder(did or subject.did, subject, ORIGIN, self.clock)

    def token(self, holder: Holder | None = None, **changed: str) -> str:
        """Ask for a token."""
        holder = holder or self.robot
        heads = Heads([], [holder.proof("POST", ORIGIN.token_endpoint)])
        answer = run(lambda: self.gate.token(heads, holder.form(**changed)))
        assert answer["token_type"] == "DPoP"
        assert answer["expires_in"] == TOKEN_SECONDS_MAX
        found: str = answer["access_token"]
        return found

    def admit(self, token: str, proof: str | None = None) -> Principal:
        """Ask to be let in."""
        proof = proof or self.robot.proof("POST", ORIGIN.resource, token)
        return self.heads(Heads([f"DPoP {token}"], [proof]))

    def heads(self, heads: Heads) -> Principal:
        found: Principal = run(lambda: self.gate.admit(heads, "POST"))
        return found


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return anyio.run(work)


def code_of(work: Callable[[], object]) -> Code:
    with pytest.raises(ConclaveError) as raised:
        work()
    return raised.value.code


@pytest.mark.requires("mcp.auth-gate")
def test_who_has_a_token_and_its_key_is_let_in() -> None:
    door = Door()
    token = door.token()
    for _ in range(3):
        assert door.admit(token) == Principal(ROBOT.did, ROBOT.key_id)
    door.now_ns += (TOKEN_SECONDS_MAX - 1) * SECOND_NS
    door.admit(token)
    door.now_ns += SECOND_NS
    assert code_of(lambda: door.admit(token)) is Code.TOKEN_EXPIRED


@pytest.mark.requires("mcp.auth-gate")
def test_each_header_is_asked_for_once() -> None:
    door = Door()
    token = door.token()
    proof = door.robot.proof("POST", ORIGIN.resource, token)
    for values in ([], [""], [f"Bearer {token}"], [token], [f"DPoP {token}", f"DPoP {token}"]):
        assert code_of(lambda given=values: door.heads(Heads(given, [proof]))) is Code.TOKEN_MISSING  # type: ignore[misc]
    for values in ([], [proof, proof]):
        heads = Heads([f"DPoP {token}"], values)
        assert code_of(lambda given=heads: door.heads(given)) is Code.DPOP_INVALID  # type: ignore[misc]
    assert door.heads(Heads([f"dpop {token}"], [proof]))


@pytest.mark.requires("mcp.auth-gate")
@pytest.mark.parametrize(
    ("changed", "field", "word"),
    [
        ({"grant_type": "authorization_code"}, "grant_type", "unsupported_grant_type"),
        ({"client_assertion_type": "x"}, "client_assertion_type", "invalid_request"),
        ({"resource": "https://other.example/mcp"}, "resource", "invalid_target"),
        ({"client_id": ALICE.did}, "client_id", "invalid_request"),
        ({"more": "1"}, "body", "invalid_request"),
    ],
)
def test_each_field_of_a_token_request_is_checked(changed: dict[str, str], field: str, word: str) -> None:
    door = Door()
    with pytest.raises(Refused) as raised:
        door.token(None, **changed)
    assert raised.value.code is Code.FIELD_INVALID
    assert raised.value.facts["field"] == field
    told = gate_answers.at_token_endpoint(raised.value)
    assert (told.status, told.content["error"]) == (400, word)


@pytest.mark.requires("mcp.auth-gate")
@pytest.mark.parametrize(
    "form",
    [b"", b"\xff", b"a", b"grant_type=client_credentials&grant_type=client_credentials", b"&" * 9000],
)
def test_what_is_no_form_is_refused(form: bytes) -> None:
    door = Door()
    heads = Heads([], [door.robot.proof("POST", ORIGIN.token_endpoint)])
    assert code_of(lambda: run(lambda: door.gate.token(heads, form))) is Code.FIELD_INVALID


@pytest.mark.requires("mcp.auth-gate")
def test_a_form_without_an_assertion_is_refused() -> None:
    door = Door()
    fields = {"grant_type": "client_credentials"}
    fields["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    heads = Heads([], [door.robot.proof("POST", ORIGIN.token_endpoint)])
    form = urlencode(fields).encode()
    assert code_of(lambda: run(lambda: door.gate.token(heads, form))) is Code.FIELD_INVALID


@pytest.mark.requires("mcp.auth-red")
def test_who_signs_as_somebody_else_gets_no_token() -> None:
    door = Door()
    assert code_of(lambda: door.token(door.holder(ALICE, ROBOT.did))) is Code.KEY_NOT_OF_SIGNER
    assert code_of(lambda: door.token(door.holder(ALICE))) is Code.VERB_NOT_ALLOWED
    mallory = Subject("mallory", "agent", "z")
    assert code_of(lambda: door.token(door.holder(mallory))) is Code.SIGNER_UNKNOWN


@pytest.mark.requires("mcp.auth-red")
def test_a_stolen_token_is_worth_nothing_with_another_key() -> None:
    door = Door()
    token, thief = door.token(), door.holder(ALICE)
    assert (
        code_of(lambda: door.admit(token, thief.proof("POST", ORIGIN.resource, token))) is Code.DPOP_INVALID
    )


@pytest.mark.requires("mcp.auth-red")
def test_a_proof_and_an_assertion_are_used_once() -> None:
    door = Door()
    token = door.token()
    proof = door.robot.proof("POST", ORIGIN.resource, token)
    door.admit(token, proof)
    assert code_of(lambda: door.admit(token, proof)) is Code.AUTH_REPLAYED
    door.now_ns += (PROOF_SECONDS_MAX + 1) * SECOND_NS
    assert code_of(lambda: door.admit(token, proof)) is Code.DPOP_INVALID
    assertion = door.robot.assertion()
    door.token(client_assertion=assertion)
    assert code_of(lambda: door.token(client_assertion=assertion)) is Code.AUTH_REPLAYED


@pytest.mark.requires("mcp.auth-red")
def test_a_token_and_a_proof_for_another_server_are_refused() -> None:
    door, other = Door(), Door()
    token = other.token()
    assert code_of(lambda: door.admit(token)) is Code.TOKEN_INVALID
    mine = door.token()
    elsewhere = door.robot.proof("POST", "https://other.example/mcp", mine)
    assert code_of(lambda: door.admit(mine, elsewhere)) is Code.DPOP_INVALID
    get = door.robot.proof("GET", ORIGIN.resource, mine)
    assert code_of(lambda: door.admit(mine, get)) is Code.DPOP_INVALID


@pytest.mark.requires("mcp.auth-revoked")
@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (revocation_body(ROBOT.did, (ROBOT.key_id,)), Code.KEY_NOT_ACTIVE, 401),
        (suspension_body(ROBOT.did), Code.AGENT_SUSPENDED, 403),
    ],
)
def test_what_the_ledger_took_counts_with_the_next_block(body: bytes, code: Code, status: int) -> None:
    door = Door()
    token = door.token()
    door.admit(token)
    assert [r.code for r in door.ledger.commit(envelope(ALICE, body))] == [0]
    door.ledger.commit()
    with pytest.raises(Refused) as raised:
        door.admit(token)
    assert raised.value.code is code
    assert gate_answers.at_resource(raised.value, ORIGIN).status == status
    assert code_of(door.token) is code


@pytest.mark.requires("mcp.auth-revoked")
def test_nobody_is_let_in_by_a_stale_state() -> None:
    assert code_of(Door(later_ns=3600 * SECOND_NS).token) is Code.STALE


@pytest.mark.requires("mcp.auth-gate")
def test_no_ledger_is_asked_before_a_signature_held() -> None:
    node = Speaking(a_story())
    door = Door()
    door.gate = Gate(ORIGIN, Standings(source_of(node)), Turn(), door.clock)
    token = door.token()
    asked = len(node.asked)
    for work in (
        lambda: door.admit("a.b.c"),
        lambda: door.admit(token, "a.b.c"),
        lambda: door.token(client_assertion="a.b.c"),
        lambda: door.token(door.holder(Subject("x", "agent", "a"), ROBOT.did), client_id=ALICE.did),
    ):
        with pytest.raises(Refused):
            work()
    assert len(node.asked) == asked


@pytest.mark.requires("mcp.auth-gate")
def test_a_challenge_says_how_to_get_in_and_repeats_nothing() -> None:
    missing = gate_answers.at_resource(Refused(Code.TOKEN_MISSING, got="hunter2"), ORIGIN)
    expired = gate_answers.at_resource(Refused(Code.TOKEN_EXPIRED, got="hunter2"), ORIGIN)
    proof = gate_answers.at_resource(Refused(Code.DPOP_INVALID, got="hunter2", field="iat"), ORIGIN)
    metadata = 'resource_metadata="https://mcp.example:8443/.well-known/oauth-protected-resource/mcp"'
    for told in (missing, expired, proof):
        assert told.status == 401
        assert told.headers["www-authenticate"].startswith("DPoP ")
        assert metadata in told.headers["www-authenticate"]
        assert "hunter2" not in json.dumps(told.content) + json.dumps(told.headers)
    assert "error=" not in missing.headers["www-authenticate"]
    assert 'error="invalid_token", error_description="TOKEN_EXPIRED"' in expired.headers["www-authenticate"]
    assert 'error="invalid_dpop_proof"' in proof.headers["www-authenticate"]
    assert proof.content["conclave"]["field"] == "iat"


@pytest.mark.requires("mcp.auth-gate")
@pytest.mark.parametrize(
    ("error", "at_token", "at_resource"),
    [
        (Refused(Code.ASSERTION_INVALID), 401, 401),
        (Refused(Code.SIGNER_UNKNOWN), 401, 401),
        (Refused(Code.AUTH_REPLAYED), 400, 401),
        (Refused(Code.AGENT_SUSPENDED), 400, 403),
        (Refused(Code.LIMIT_EXCEEDED), 429, 429),
        (EnvironmentFault(Code.TIMEOUT), 503, 503),
        (VerificationFailed(Code.STALE), 503, 503),
    ],
)
def test_each_refusal_has_its_status(error: ConclaveError, at_token: int, at_resource: int) -> None:
    assert gate_answers.at_token_endpoint(error).status == at_token
    assert gate_answers.at_resource(error, ORIGIN).status == at_resource


@pytest.mark.requires("mcp.auth-replay")
def test_an_agent_has_one_share_however_many_keys_it_proves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "Replays", partial(Replays, ids_per_key_max=4))
    door = Door()
    for _ in range(2):
        holder = door.holder(ROBOT)
        token = door.token(holder)
        for _ in range(2):
            door.admit(token, holder.proof("POST", ORIGIN.resource, token))
    last = door.holder(ROBOT)
    token = door.token(last)
    proof = last.proof("POST", ORIGIN.resource, token)
    assert code_of(lambda: door.admit(token, proof)) is Code.LIMIT_EXCEEDED


@pytest.mark.requires("mcp.auth-strangers")
def test_strangers_who_ask_without_end_keep_no_agent_from_its_token() -> None:
    door = Door()
    strangers = [door.holder(Subject(f"m{number}", "agent", "z")) for number in range(24)]
    codes: Counter[Code] = Counter()

    def asking(holder: Holder) -> Coroutine[Any, Any, Any]:
        heads = Heads([], [holder.proof("POST", ORIGIN.token_endpoint)])
        return door.gate.token(heads, holder.form())

    async def flood(holder: Holder, ended: anyio.Event) -> None:
        while not ended.is_set():
            await anyio.lowlevel.checkpoint()
            try:
                await asking(holder)
            except ConclaveError as error:
                codes[error.code] += 1

    async def work() -> None:
        ended = anyio.Event()
        async with anyio.create_task_group() as group:
            for holder in strangers:
                group.start_soon(flood, holder, ended)
            for _ in range(6):
                assert (await asking(door.robot))["access_token"]
            ended.set()

    anyio.run(work)
    assert codes.keys() == {Code.SIGNER_UNKNOWN}


@pytest.mark.requires("mcp.auth-strangers")
def test_who_had_a_token_waits_apart_from_strangers_until_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door, lanes = Door(), list[tuple[str, int]]()
    take = door.gate._turn.take

    async def seen(work: Any, lane: str, waiting_max: int) -> Any:
        lanes.append((lane, waiting_max))
        return await take(work, lane, waiting_max)

    monkeypatch.setattr(door.gate._turn, "take", seen)
    door.token()
    door.token()
    gone = revocation_body(ROBOT.did, (ROBOT.key_id,), reason="stolen")
    door.ledger.commit(envelope(ALICE, gone))
    door.ledger.commit()
    for _ in range(2):
        assert code_of(door.token) is Code.KEY_NOT_ACTIVE
    assert [lane for lane, _ in lanes] == ["strangers", "tokens", "tokens", "strangers"]
    assert dict(lanes)["strangers"] >= places.CONNECTIONS_MAX, "one place for each connection there can be"


@pytest.mark.requires("mcp.auth-strangers")
def test_one_key_has_two_places_of_those_who_had_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    door.token()
    codes: list[Code] = []

    async def ask() -> None:
        heads = Heads([], [door.robot.proof("POST", ORIGIN.token_endpoint)])
        try:
            await door.gate.token(heads, door.robot.form())
        except ConclaveError as error:
            codes.append(error.code)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask)
        await ask()

    anyio.run(work)
    assert codes == [Code.LIMIT_EXCEEDED] * 3


@pytest.mark.requires("mcp.auth-replay")
def test_a_clock_set_on_and_back_brings_nothing_back_and_stops_nothing() -> None:
    door, steady_s = Door(), 0
    source = source_of(Speaking(door.ledger))
    door.gate = Gate(ORIGIN, Standings(source), Turn(), door.clock, lambda: steady_s * SECOND_NS)
    door.gate._proofs = Replays(PROOF_SECONDS_MAX + 60, ids_per_key_max=3)
    token, assertion = door.token(), door.robot.assertion()
    door.token(client_assertion=assertion)
    proof = door.robot.proof("POST", ORIGIN.resource, token)
    door.admit(token, proof)
    door.now_ns += 3600 * SECOND_NS
    assert code_of(lambda: door.admit(token)) is Code.TOKEN_EXPIRED
    later = door.token()
    door.now_ns -= 3600 * SECOND_NS
    # Tokens of before and of the time that never was are void, and so are proofs for them.
    for given in (token, later):
        assert code_of(lambda each=given: door.admit(each)) is Code.TOKEN_INVALID  # type: ignore[misc]
    assert code_of(lambda: door.admit(token, proof)) is Code.TOKEN_INVALID
    assert code_of(lambda: door.token(client_assertion=assertion)) is Code.AUTH_REPLAYED
    for _ in range(2):
        steady_s += 200
        door.now_ns += 200 * SECOND_NS
        token = door.token()
        for _ in range(3):
            door.admit(token)
        assert code_of(lambda each=token: door.admit(each)) is Code.LIMIT_EXCEEDED  # type: ignore[misc]


@pytest.mark.requires("mcp.auth-replay")
def test_budgets_and_what_was_used_go_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def guarded(_standings: Standings, clock: Any, *_: Any) -> Any:
        seen.append(clock)
        return Unguarded()

    monkeypatch.setattr(serving, "Guarded", guarded)
    monkeypatch.setattr(serving, "_over_streams", lambda *_: None)
    serving.serve(source_of(Speaking(a_story())), serving.Serving())
    assert seen == [time.monotonic_ns]
