"""What is fuzzed: functions from bytes, each of which raises nothing but our own refusals.

Owns the targets and their seeds. Promises that a target checks more than the absence of an exception: what is
accepted is the one form of what it means.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import rfc8785

from abci_app.check import open_envelope
from abci_app.framing import FrameDecoder, frame
from consensus import trust_log
from consensus.light.encoding import header_hash
from consensus.light.parse import parse_light_block
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import Options
from consensus.light.verdict import Ok
from consensus.light.verifier import verify
from consensus.proof_file.form import Kind
from consensus.trust_entries import TrustRoot, header_entry, read_entries, root_entry, to_bytes
from ledger import agent_policy, bodies, canonical, envelope
from ledger.actions import Proposal
from ledger.changes import Configure
from ledger.errors import ConclaveError, Refused, VerificationFailed
from state import proof as proofs
from state.spec import SMT
from state.tree import Tree
from tests.support.agents import policy_object
from tests.support.chain import Chain, set_of, signers
from tests.support.memory_state import CONSTANTS
from tests.support.proof_files import a_ledger, exported, questions, verdict
from tests.support.subjects import AGENT, ALICE, NODE, Pen, seal

FRAME_BYTES_MAX = 4096
_CONTENT = {f"key{number}".encode(): b"value" for number in range(20)}
_TREE = Tree.build(_CONTENT.items())


def frames(content: bytes) -> None:
    """ABCI framing: any split gives the same messages, and they re-frame to what was sent."""
    whole, split = FrameDecoder(FRAME_BYTES_MAX), FrameDecoder(FRAME_BYTES_MAX)
    messages = _drain(whole, [content])
    assert messages == _drain(split, [content[i : i + 3] for i in range(0, len(content), 3)])
    assert _drain(FrameDecoder(FRAME_BYTES_MAX), [b"".join(map(frame, messages))]) == messages


def _drain(decoder: FrameDecoder, chunks: list[bytes]) -> list[bytes]:
    messages: list[bytes] = []
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            while (message := decoder.take()) is not None:
                messages.append(message)
    except Refused:
        pass
    return messages


def canonicaliser(content: bytes) -> None:
    """What is loaded is exactly what RFC 8785 writes."""
    try:
        value = canonical.load(content)
    except Refused:
        return
    assert rfc8785.dumps(value) == content


def envelopes(content: bytes) -> None:
    """What is opened encodes to the same bytes; the whole door refuses or opens."""
    try:
        assert envelope.encode(envelope.decode(content)) == content
        open_envelope(content, CONSTANTS)
    except Refused:
        pass


def signed_bodies(content: bytes) -> None:
    """Any body, signed by somebody: refused, or an action; a policy in it has one form or is refused."""
    with contextlib.suppress(Refused):
        action = open_envelope(seal(ALICE, content or b"{}", 1), CONSTANTS).action
        if isinstance(action, Proposal) and isinstance(action.change, Configure):
            for wanted in action.change.put:
                policy = agent_policy.read_policy(wanted.spec)
                assert agent_policy.read_policy(agent_policy.to_json(policy)) == policy


def state_proofs(content: bytes) -> None:
    """No bytes prove a lie: neither another value, nor the absence of what is there."""
    for lie in (_prove_other_value, _prove_absence_of_present, _prove_presence_of_absent):
        try:
            lie(content)
        except (VerificationFailed, Refused):
            continue
        raise AssertionError(f"{lie.__name__} was believed")


def _prove_other_value(content: bytes) -> None:
    proofs.verify_membership(SMT, _TREE.root, proofs.parse_proof(content), b"key1", b"another")


def _prove_absence_of_present(content: bytes) -> None:
    proofs.verify_non_membership(SMT, _TREE.root, proofs.parse_proof(content), b"key1")


def _prove_presence_of_absent(content: bytes) -> None:
    proofs.verify_membership(SMT, _TREE.root, proofs.parse_proof(content), b"absent", b"value")


def _proof_seeds() -> list[bytes]:
    keys = (b"key1", b"key7", b"absent")
    return [_TREE.prove(key, _CONTENT.__getitem__).SerializeToString() for key in keys]


def light_blocks(content: bytes) -> None:
    """No bytes make the verifier believe a header of a height but the one that was signed."""
    try:
        block = parse_light_block(canonical.parse(content))
    except (VerificationFailed, Refused):
        return
    for ground in (1, block.height - 1):
        if 0 < ground <= _CHAIN.height:
            verdict = verify(block, _CHAIN.trusted(ground), Options(), _CHAIN.now_ns)
            if isinstance(verdict, Ok):
                assert header_hash(block.header) == _CHAIN.trusted(block.height).hash


def proof_files(content: bytes) -> None:
    """No bytes make the judge say anything but what the ledger holds."""
    try:
        judged = verdict(_LEDGER, content)
    except ConclaveError:
        return
    for header in judged.headers:
        assert header.hash == _LEDGER.chain.trusted(header.height).hash
    if judged.question.kind is Kind.KEY:
        held = _LEDGER.values[judged.state_height].get(judged.question.name.encode())
        assert judged.finding.value == held


def _proof_file_seeds() -> list[bytes]:
    asked = questions("00" * 32)
    return [exported(_LEDGER, asked[name]).content for name in ("key", "absence", "headers", "release")]


def trust_logs(content: bytes) -> None:
    """Any bytes are a log's state, or damage with its place."""
    try:
        contents, tip = trust_log.scan(content)
        state, entries = read_entries(contents)
    except trust_log.Damaged:
        return
    assert tip.end <= len(content)
    assert len(entries) == len(contents)
    assert state.root.height >= 1


def _log_seed() -> bytes:
    entries = [root_entry(_ROOT)]
    before = None
    for height in range(1, 4):
        trusted = _CHAIN.trusted(height)
        entries.append(header_entry(trusted, height, before))
        before = trusted
    return trust_log.framed(map(to_bytes, entries), trust_log.Tip())[0]


def _block_json(height: int) -> bytes:
    block = _CHAIN.blocks[height]
    return json.dumps(
        {
            "signed_header": signed_header_json(block.signed_header),
            "validators": validators_json(block.validators),
            "next_validators": validators_json(block.validators),
        }
    ).encode()


def _agent_bodies() -> list[bytes]:
    return [
        bodies.configure_body([policy_object("agent", AGENT.did, NODE.did)]),
        bodies.suspension_body(AGENT.did, code=905, evidence="ab" * 32, reason="it repeats itself"),
        bodies.anchor_body("ab" * 32, 7, "cd" * 32),
        bodies.observation_body("pause-requested", "it fails", release="web"),
    ]


_CHAIN = Chain(signers("a", "b"))
_CHAIN.extend(4)
_ROOT = TrustRoot(_CHAIN.chain_id, 1, None, set_of(_CHAIN.members[1]))
_LEDGER = a_ledger()
_PROPOSAL = Pen().propose(ALICE)
_BODY = envelope.decode(_PROPOSAL).body
TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "frames": (frames, [frame(b"hello"), frame(b"") * 3, b"\xff" * 11]),
    "canonical": (canonicaliser, [_BODY, b'[1e+21,-0.5,"\\u0000"]', b'{"\xf0\x9f\x98\x80":1}']),
    "envelope": (envelopes, [_PROPOSAL]),
    "body": (signed_bodies, [_BODY, *_agent_bodies()]),
    "proof": (state_proofs, _proof_seeds()),
    "light": (light_blocks, [_block_json(2), _block_json(4)]),
    "proof-file": (proof_files, _proof_file_seeds()),
    "trust-log": (trust_logs, [_log_seed()]),
}
"""By name: the target and bytes to begin from."""
