"""The door of the MCP server attacked: who is not let in, and what is no message.

Each attack meets its code, reaches nothing, and is counted in the audit.
"""

from __future__ import annotations

import base64
import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator

import pytest

from ledger.bodies import revocation_body, suspension_body
from ledger.errors import Code
from mcp_server import framing, listener, places, web
from mcp_server.audit import limits
from mcp_server.audit.records import Refusals
from tests.redteam.mcp_target import PATIENCE, Target, config_map, propose
from tests.support.ledger import ALICE, EAST, ROBOT, Subject, envelope

MALLORY = Subject("mallory", "agent", "z")
LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()


def sent_raw(target: Target, heads: dict[str, str], content: bytes | Iterator[bytes]) -> bytes:
    """Send a request that promises or brings too much; give the answer, however the sending ended."""
    host, port = target.origin.url.removeprefix("http://").split(":")
    is_chunked = not isinstance(content, bytes)
    heads = {"host": f"{host}:{port}", **heads, **({"transfer-encoding": "chunked"} if is_chunked else {})}
    told = "".join(f"{name}: {value}\r\n" for name, value in heads.items())
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"POST /mcp HTTP/1.1\r\n{told}\r\n".encode())
        answer = b""
        with contextlib.suppress(ConnectionError):
            for part in [content] if isinstance(content, bytes) else content:
                connection.sendall(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
                if select.select([connection], [], [], 0)[0]:
                    break
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    return answer


# -- who calls ------------------------------------------------------------------------------------


@pytest.mark.requires("mcp.red-door")
def test_who_is_somebody_else_or_nobody_gets_no_token(target: Target) -> None:
    with target.nothing_written():
        for said, code in (
            (target.token(target.holder(ALICE, ROBOT.did)), Code.KEY_NOT_OF_SIGNER),
            (target.token(target.holder(ALICE)), Code.VERB_NOT_ALLOWED),
            (target.token(target.holder(MALLORY)), Code.SIGNER_UNKNOWN),
            (target.token(target.holder(MALLORY, ROBOT.did)), Code.KEY_NOT_OF_SIGNER),
            (target.token(client_id=ALICE.did), Code.FIELD_INVALID),
            (target.token(client_assertion=target.robot.assertion(sub=ALICE.did)), Code.ASSERTION_INVALID),
        ):
            assert said.code == code.name, said.content
    seen = target.refused_at_the_door()
    assert seen.keys() == {
        "ASSERTION_INVALID",
        "FIELD_INVALID",
        "KEY_NOT_OF_SIGNER",
        "SIGNER_UNKNOWN",
        "VERB_NOT_ALLOWED",
    }
    assert seen["KEY_NOT_OF_SIGNER"] == 2
    assert not target.decisions()


@pytest.mark.requires("mcp.red-door")
def test_a_stolen_token_a_replay_and_a_forged_principal_open_nothing(target: Target) -> None:
    token, url = target.own_token, target.origin.resource
    thief, robot = target.holder(MALLORY), target.robot
    first = robot.proof("POST", url, token)
    assert target.post(LIST, proof=first).status == 200
    decided = len(target.decisions())
    head, claims, signature = token.split(".")
    named = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": ALICE.did}
    forged = base64.urlsafe_b64encode(json.dumps(named).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    assertion = robot.assertion()
    assert target.token(client_assertion=assertion).status == 200
    expected = [
        (target.post(LIST, proof=thief.proof("POST", url, token)), Code.DPOP_INVALID),
        (target.post(LIST, proof=first), Code.AUTH_REPLAYED),
        (target.token(client_assertion=assertion), Code.AUTH_REPLAYED),
        (target.post(LIST, proof=robot.proof("GET", url, token)), Code.DPOP_INVALID),
        (
            target.post(LIST, proof=robot.proof("POST", target.origin.token_endpoint, token)),
            Code.DPOP_INVALID,
        ),
        (target.post(LIST, token=f"{head}.{forged}.{signature}"), Code.TOKEN_INVALID),
        (target.post(LIST, token=f"{none}.{forged}."), Code.TOKEN_INVALID),
        (target.post(LIST, token=robot.assertion(aud=url)), Code.TOKEN_INVALID),
        (target.post(LIST, authorization=f"Bearer {token}"), Code.TOKEN_MISSING),
        (target.post(LIST, authorization=""), Code.TOKEN_MISSING),
    ]
    target.time.ahead_s = 700
    expected.append((target.post(LIST), Code.TOKEN_EXPIRED))
    for said, code in expected:
        assert (said.status >= 400, said.code) == (True, code.name), said.content
    assert target.refused_at_the_door() == {
        "AUTH_REPLAYED": 2,
        "DPOP_INVALID": 3,
        "TOKEN_EXPIRED": 1,
        "TOKEN_INVALID": 3,
        "TOKEN_MISSING": 2,
    }
    assert len(target.decisions()) == decided
    assert not [name for name in target.folder.rglob("*.jsonl") if token in name.read_text()]


@pytest.mark.requires("mcp.red-door")
def test_a_revoked_key_and_a_suspended_agent_are_out_with_the_next_request(target: Target) -> None:
    assert target.call("get_clusters").status == 200
    cut = suspension_body(ROBOT.did, code=int(Code.LOOP_DETECTED), evidence="ab" * 32)
    assert [each.code for each in target.ledger.commit(envelope(EAST, cut))] == [0]
    target.ledger.commit()
    suspended = propose(target, config_map())
    assert (suspended.status, suspended.code) == (403, Code.AGENT_SUSPENDED.name)
    gone = revocation_body(ROBOT.did, (ROBOT.key_id,), reason="stolen")
    assert [each.code for each in target.ledger.commit(envelope(ALICE, gone))] == [0]
    target.ledger.commit()
    assert propose(target, config_map()).code == Code.KEY_NOT_ACTIVE.name
    assert target.token().code == Code.KEY_NOT_ACTIVE.name
    assert target.refused_at_the_door() == {"AGENT_SUSPENDED": 1, "KEY_NOT_ACTIVE": 2}
    assert len(target.decisions()) == 1


@pytest.mark.requires("mcp.red-door", "mcp.suspended")
def test_who_the_ledger_lets_in_again_is_let_in_by_the_guard_too(target: Target) -> None:
    codes = [
        target.call("get_object", kind="Release", name="guestbook", object=f"v1/ConfigMap/x/{n}").code
        for n in range(40)
    ]
    assert codes[-1] == Code.AGENT_SUSPENDED.name
    cut = suspension_body(ROBOT.did, code=int(Code.LOOP_DETECTED), evidence="ab" * 32)
    assert [each.code for each in target.ledger.commit(envelope(EAST, cut))] == [0]
    target.ledger.commit()
    assert target.call("get_clusters").status == 403
    target.ledger.configure(remove=(("Suspension", ROBOT.name),))
    target.ledger.commit()
    said = target.call("get_clusters")
    assert (said.status, said.code) == (200, None)


@pytest.mark.requires("audit.repeats")
def test_who_is_cut_off_and_goes_on_calling_is_counted_and_fills_no_disk(target: Target) -> None:
    begun, made = time.monotonic(), 150
    codes = [target.call("get_object", kind="Release", name="guestbook", object="v1/ConfigMap/x/y").code]
    codes += [target.call("get_clusters", limit=0).code for _ in range(made - 1)]
    assert codes[-1] == Code.AGENT_SUSPENDED.name
    counted = target.refused_at_the_door()
    written = [each for each in target.decisions() if each.verdict.value in ("refuse", "suspend")]
    passed = len(target.decisions()) - len(written)
    assert passed + len(written) + sum(counted.values()) == made
    # What is refilled meanwhile, and the one that cuts it off, come to the share of one caller.
    assert len(written) <= limits.REFUSED_CALLS_MAX + 2 + (time.monotonic() - begun) / 9
    assert [each for each in written if each.reasons[0].get("cause")], "the record that says why is there"
    assert counted.keys() == {Code.AGENT_SUSPENDED.name}


@pytest.mark.requires("mcp.red-door")
def test_a_flood_at_the_door_costs_the_audit_a_record_a_second(target: Target) -> None:
    begun = time.monotonic()
    for number in range(150):
        assert target.post(LIST, token=f"x{number}.y.z", proof="p").code == Code.TOKEN_INVALID.name
    assert target.refused_at_the_door() == {"TOKEN_INVALID": 150}
    records = [body for body in target.log() if isinstance(body, Refusals)]
    assert len(records) <= 2 + (time.monotonic() - begun)
    assert target.call("get_clusters").code is None


# -- what is sent ---------------------------------------------------------------------------------


@pytest.mark.requires("mcp.red-door")
def test_who_sends_slowly_is_cut_off_and_others_are_served(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS_MAX", PATIENCE)
    monkeypatch.setattr(web, "BODY_SECONDS_MAX", PATIENCE)
    where = target.origin.url.removeprefix("http://").split(":")
    address = (where[0], int(where[1]))
    token = target.own_token
    host = f"POST /mcp HTTP/1.1\r\nhost: {where[0]}:{where[1]}\r\n"

    def half_a_body() -> bytes:
        proof = target.robot.proof("POST", target.origin.resource, token)
        return (
            f"{host}authorization: DPoP {token}\r\ndpop: {proof}\r\ncontent-type: application/json\r\n"
            "accept: application/json\r\ncontent-length: 900\r\n\r\n{"
        ).encode()

    with contextlib.ExitStack() as stack:

        def sending(part: bytes) -> socket.socket:
            opened = stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
            with contextlib.suppress(ConnectionError):
                opened.sendall(part)  # it may be cut off already
            return opened

        for part in [host.encode()] * 20 + [half_a_body()]:
            sending(part)
        assert target.call("get_clusters").code is None, "they wait for nobody"
        # One limit at a time is made short: what comes in time on the other side of it stays in time.
        monkeypatch.setattr(web, "BODY_SECONDS_MAX", 0.3)
        late = sending(half_a_body())
        told = b""
        while part := late.recv(4096):
            told += part
        monkeypatch.setattr(listener, "HEAD_SECONDS_MAX", 0.3)
        for connection in [sending(host.encode()) for _ in range(20)]:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(4096) == b""
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b'"TIMEOUT"' in told
    assert target.refused_at_the_door() == {"TIMEOUT": 1}
    assert len(target.decisions()) == 1


@pytest.mark.requires("mcp.red-door")
def test_a_hundred_megabytes_are_refused_after_their_head(target: Target) -> None:
    size = 100 * 2**20

    def endless() -> Iterator[bytes]:
        for _ in range(size // 2**16):
            yield b" " * 2**16

    heads = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    for content, more in ((b" " * 2**10, {"content-length": str(size)}), (endless(), {})):
        token = target.own_token
        proof = target.robot.proof("POST", target.origin.resource, token)
        told = {**heads, "authorization": f"DPoP {token}", "dpop": proof, **more}
        sent = sent_raw(target, told, content)
        assert b" 413 " in sent.split(b"\r\n")[0], sent[:200]
        assert b'"BODY_TOO_LARGE"' in sent
    assert target.refused_at_the_door() == {"BODY_TOO_LARGE": 2}
    assert target.call("get_clusters").code is None


@pytest.mark.requires("mcp.red-door")
def test_what_is_no_message_reaches_nothing(target: Target) -> None:
    twice = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}'
    counts: dict[str, int] = {}
    for content, code in (
        (twice, Code.BODY_NOT_JSON),
        (LIST.replace(b'"params"', b'"params\\ud800"'), Code.BODY_NOT_JSON),
        (b"[" * 5000 + b"]" * 5000, Code.BODY_TOO_DEEP),
        (b"[" + LIST + b"," + LIST + b"]", Code.FIELD_INVALID),
        (b'{"jsonrpc":"2.0","id":1,"result":{"approved":true}}', Code.FIELD_INVALID),
        (b"x" * (framing.MESSAGE_BYTES_MAX + 1), Code.BODY_TOO_LARGE),
    ):
        said = target.post(content)
        assert (said.status in (400, 413), said.code) == (True, code.name)
        counts[code.name] = counts.get(code.name, 0) + 1
    assert target.refused_at_the_door() == counts
    assert not target.decisions()


@pytest.mark.requires("mcp.worded")
def test_whatever_is_refused_has_our_code_is_counted_and_repeats_nothing(target: Target) -> None:
    secret = "ghp_" + "a1B2" * 9
    url, json_type = target.origin.resource, {"content-type": "application/json"}
    answers = [
        target.ask(secret, {}),
        target.ask("tools/call", {"name": secret, "arguments": [secret]}),
        target.ask("resources/subscribe", {"uri": f"conclave://{secret}"}),
        target.ask("completion/complete", {"ref": {"type": secret}}),
        target.post(LIST, accept=secret, mcp_protocol_version="2026-07-28"),
        target.post(LIST, mcp_protocol_version=secret),
    ]
    assert [said.code in Code.__members__ for said in answers] == [True] * 6, answers
    told = [json.dumps(said.content) for said in answers]
    plain = [
        target.http.post(url, content=b"{}", headers={**json_type, "host": f"{secret}.example"}),
        target.http.post(url, content=b"{}", headers={**json_type, "origin": f"http://{secret}"}),
        target.http.post(url, content=b"{}", headers={"content-type": f"text/{secret}"}),
        target.http.get(f"{target.origin.url}/{secret}"),
        target.http.delete(url),
        target.http.post(target.origin.token_endpoint, content=b"x", headers={"content-type": secret}),
    ]
    assert [answer.status_code for answer in plain] == [421, 403, 400, 404, 405, 400]
    fields = ["host", "origin", "content-type", "path", "method"]
    assert [answer.json()["error"]["data"]["field"] for answer in plain[:5]] == fields
    assert plain[5].json()["conclave"]["field"] == "body"
    raw = b""
    for head in (b"GET / HTTP/9.9\r\n\r\n", b"\x00%b\r\n\r\n" % secret.encode()):
        host, port = target.origin.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(head)
            while part := connection.recv(4096):
                raw += part
    assert raw.count(b'"name":"FIELD_INVALID"') == 2, raw
    told += [answer.text for answer in plain] + [raw.decode()]
    assert not [text for text in told if secret in text]
    assert sum(target.refused_at_the_door().values()) == len(answers) + len(plain) + 2
    assert not target.decisions()


@pytest.mark.requires("mcp.places", "mcp.red-door")
def test_more_silent_connections_than_there_are_places_lock_nobody_out(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "FIRST_BYTE_SECONDS_MAX", PATIENCE)
    monkeypatch.setattr(listener, "HEAD_SECONDS_MAX", PATIENCE)
    host, port = target.origin.url.removeprefix("http://").split(":")
    token = target.own_token
    parts = (
        b"",
        b"POST /token HTTP/1.1\r\n",
        f"POST /token HTTP/1.1\r\nhost: {host}:{port}\r\n"
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\n".encode(),
    )
    with contextlib.ExitStack() as stack:
        for number in range(3 * places.CONNECTIONS_MAX // 2):
            # From several addresses, so that no share of one peer keeps the places free.
            source = (f"127.0.0.{2 + number % 4}", 0)
            opened = socket.create_connection((host, int(port)), PATIENCE, source_address=source)
            stack.enter_context(opened)
            with contextlib.suppress(ConnectionError):
                opened.sendall(parts[number % 3])
        assert target.call("get_clusters").code is None
        assert target.post(LIST, token=token).status == 200
    monkeypatch.setattr(listener, "FIRST_BYTE_SECONDS_MAX", 0.2)
    with socket.create_connection((host, int(port)), PATIENCE) as silent:
        assert silent.recv(1) == b"", "who says nothing is let go soon"
