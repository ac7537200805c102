"""A panel of nodes: who is asked, who confirms, what halts, what each may cost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus.incident import FILE_NAME, IncidentFile
from consensus.light.types import LightBlock
from consensus.peers import PEERS_MAX, PanelSettings
from consensus.reader import VerifiedReader
from consensus.rpc import open_panel
from consensus.trust_store import TrustRoot, TrustStore
from consensus.witness import Panel
from ledger import statekeys
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused
from tests.support.attacks import (
    GROUND,
    INVENTED,
    MEMBERS,
    TARGET,
    Peer,
    Ticks,
    amnesia,
    decided,
    equivocation,
    liars,
    lunatic_far,
    misled_by,
    panel_of,
    reader_over,
)
from tests.support.chain import Chain, set_of
from tests.support.ledger import Ledger

LEDGER = decided()
KEY = statekeys.ledger_object("Cluster", "east")
ATTACK = lunatic_far(LEDGER.chain, liars("over 1/3"))
NONSENSE = lunatic_far(LEDGER.chain, liars("under 1/3"))


def honest(*names: str) -> list[Peer]:
    """Give honest nodes."""
    return [Peer(name, LEDGER) for name in names]


def liar(name: str = "liar", blocks: dict[int, LightBlock] | None = None) -> Peer:
    """Give a node that shows a forged target."""
    return Peer(name, LEDGER, blocks or ATTACK)


def down(name: str, code: Code = Code.RPC_UNREACHABLE) -> Peer:
    """Give a node that does not answer."""
    peer = Peer(name, LEDGER)
    peer.fault = EnvironmentFault(code, got="down", endpoint=name)
    return peer


def fails(act: Callable[[], object]) -> ConclaveError:
    """Give what ``act`` is refused with."""
    with pytest.raises(ConclaveError) as caught:
        act()
    return caught.value


def believed(folder: Path) -> int:
    """Give the newest height kept."""
    state = TrustStore(folder / "trust.json").load()
    assert state is not None
    return state.newest.height if state.newest else 0


@pytest.mark.requires("reader.witnesses", "witness.told")
def test_a_witness_that_proves_another_chain_stops_the_reader(tmp_path: Path) -> None:
    asked, witness, other = [liar(), *honest("w1", "w2")]
    reader = reader_over(panel_of([asked, witness, other], tmp_path), LEDGER, tmp_path)
    refusal = fails(lambda: reader.at(TARGET - 1))
    assert refusal.code is Code.HEADERS_DIVERGED
    assert refusal.facts["primary"], refusal.facts["witness"] == ("liar", "w1")
    assert believed(tmp_path) == GROUND
    hashes = [accused_hash(peer) for peer in (asked, witness, other)]
    true = LEDGER.chain.trusted(TARGET).hash
    forged = ATTACK[TARGET].signed_header.commit.block_id.hash
    assert hashes == [[true], [forged], [forged, true]]
    kept = IncidentFile(tmp_path / FILE_NAME).read()
    assert {(s["against"], s["to"], s["answer"]) for s in kept["sent"]} == {
        ("liar", "w1", "accepted"),
        ("liar", "w2", "accepted"),
        ("w1", "liar", "accepted"),
        ("w1", "w2", "accepted"),
    }
    assert [item["evidence"] for item in kept["accused"]] == [witness.evidence[0], asked.evidence[0]]


def accused_hash(peer: Peer) -> list[bytes]:
    """Give the hashes of the blocks accused in what a node was sent."""
    found = [
        e["value"]["ConflictingBlock"]["signed_header"]["commit"]["block_id"]["hash"] for e in peer.evidence
    ]
    return [bytes.fromhex(text) for text in found]


@pytest.mark.requires("witness.told")
def test_a_node_that_takes_no_evidence_changes_nothing(tmp_path: Path) -> None:
    witness, deaf, strict = honest("w1", "deaf", "strict")
    deaf.lies["broadcast_evidence"] = lambda _: _raise(EnvironmentFault(Code.RPC_UNREACHABLE))
    strict.lies["broadcast_evidence"] = lambda _: _raise(EnvironmentFault(Code.RPC_REFUSED))
    ticks = Ticks()
    reader = reader_over(panel_of([liar(), witness, deaf, strict], tmp_path, ticks=ticks), LEDGER, tmp_path)
    assert fails(lambda: reader.header(TARGET)).code is Code.HEADERS_DIVERGED
    sent = IncidentFile(tmp_path / FILE_NAME).read()["sent"]
    answers = {(s["to"], s["answer"]) for s in sent}
    assert answers == {
        ("liar", "accepted"),
        ("w1", "accepted"),
        ("deaf", "RPC_UNREACHABLE"),
        ("strict", "RPC_REFUSED"),
    }
    assert strict.asked.count("broadcast_evidence") == 3 * 2
    assert ticks.now < 60


def _raise(error: ConclaveError) -> Any:
    raise error


@pytest.mark.requires("witness.told")
def test_telling_ends_in_time_and_the_incident_is_kept_before(tmp_path: Path) -> None:
    ticks = Ticks()
    slow = honest("w1")[0]

    def wait(_: Any) -> Any:
        assert IncidentFile(tmp_path / FILE_NAME).read()["accused"]
        ticks.now += 61
        raise EnvironmentFault(Code.RPC_REFUSED)

    slow.lies["broadcast_evidence"] = wait
    reader = reader_over(panel_of([liar(), slow, *honest("w2")], tmp_path, ticks=ticks), LEDGER, tmp_path)
    fails(lambda: reader.header(TARGET))
    sent = IncidentFile(tmp_path / FILE_NAME).read()["sent"]
    assert [s["answer"] for s in sent] == ["RPC_REFUSED", "TIMEOUT", "TIMEOUT", "TIMEOUT"]


@pytest.mark.requires("witness.told")
def test_evidence_is_renewed_when_the_newest_commit_was_not_yet_kept(tmp_path: Path) -> None:
    """A node judges against the commit in its store, which for the newest height may hold other votes."""
    ledger, first = decided(misled_by("equivocation")), decided()
    forged = equivocation(ledger.chain, liars("over 1/3"))
    witness = Peer("w", ledger)
    asked: list[int] = []

    def newest(block: LightBlock) -> LightBlock:
        asked.append(block.height)
        return first.chain.blocks[TARGET] if block.height == TARGET and asked.count(TARGET) == 1 else block

    def judge(evidence: Any) -> Any:
        if len(evidence["value"]["ByzantineValidators"]) != len(liars("over 1/3")):
            raise EnvironmentFault(Code.RPC_REFUSED)
        return evidence

    witness.lies = {"light_block": newest, "broadcast_evidence": judge}
    reader = reader_over(panel_of([Peer("l", ledger, forged), witness], tmp_path), ledger, tmp_path)
    refusal = fails(lambda: reader.header(TARGET))
    assert len(witness.evidence) == 1
    kept = IncidentFile(tmp_path / FILE_NAME).read()
    assert kept["accused"][0]["evidence"] == witness.evidence[0]
    assert len(refusal.facts["accused"]["l"]["byzantine"]) == len(liars("over 1/3"))


@pytest.mark.requires("witness.halts")
def test_an_incident_halts_what_was_believed_and_every_other_reader(tmp_path: Path) -> None:
    reader = reader_over(panel_of([liar(), *honest("w1")], tmp_path), LEDGER, tmp_path)
    assert reader.header(GROUND).height == GROUND
    fails(lambda: reader.header(TARGET))
    for act in (lambda: reader.header(GROUND), lambda: reader.at(GROUND)):
        assert fails(act).code is Code.HEADERS_DIVERGED
    restarted = reader_over(panel_of(honest("h1", "h2"), tmp_path), LEDGER, tmp_path)
    refusal = fails(lambda: restarted.header(TARGET))
    assert refusal.code is Code.HEADERS_DIVERGED
    assert refusal.facts["file"] == str(tmp_path / FILE_NAME)
    assert {side: len(said["byzantine"]) for side, said in refusal.facts["accused"].items()} == {
        "liar": len(liars("over 1/3")),
        "w1": len(MEMBERS),
    }
    kept = IncidentFile(tmp_path / FILE_NAME).resolve()
    assert kept is not None
    assert IncidentFile(kept).read()["height"] == TARGET
    assert restarted.header(TARGET).hash == LEDGER.chain.trusted(TARGET).hash


@pytest.mark.requires("witness.halts")
@pytest.mark.parametrize("content", [b"", b"{}", b'{"format":1,"checksum":""}', b"\xff" * 40, b"[" * 9000])
def test_a_damaged_incident_halts_too(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    for peers in (honest("one"), honest("h1", "h2")):
        reader = reader_over(panel_of(peers, tmp_path), LEDGER, tmp_path)
        assert fails(lambda reader=reader: reader.header(TARGET)).code is Code.HEADERS_DIVERGED  # type: ignore[misc]


@pytest.mark.requires("witness.halts")
def test_an_incident_altered_by_one_digit_is_damaged(tmp_path: Path) -> None:
    reader = reader_over(panel_of([liar(), *honest("w1")], tmp_path), LEDGER, tmp_path)
    fails(lambda: reader.header(TARGET))
    path = tmp_path / FILE_NAME
    assert IncidentFile(path).read()["height"] == TARGET
    value = json.loads(path.read_bytes())
    value["height"] += 1
    path.write_text(json.dumps(value))
    assert IncidentFile(path).read() == {}


@pytest.mark.requires("witness.halts")
def test_an_incident_that_cannot_be_kept_halts_this_process(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    panel = panel_of([liar(), *honest("w1")], gone)
    reader = reader_over(panel, LEDGER, tmp_path)
    assert "HOME_INVALID" in fails(lambda: reader.header(TARGET)).facts["notKept"]
    assert fails(lambda: reader.header(GROUND)).code is Code.HEADERS_DIVERGED


@pytest.mark.requires("witness.confirms")
def test_a_header_counts_when_one_witness_shows_it(tmp_path: Path) -> None:
    peers = [*honest("asked"), liar("w1", NONSENSE), down("w2"), *honest("w3")]
    reader = reader_over(panel_of(peers, tmp_path), LEDGER, tmp_path)
    assert reader.at(TARGET - 1).get(KEY).value
    assert "light_block" in peers[3].asked
    alone = reader_over(panel_of(honest("asked"), tmp_path), LEDGER, tmp_path)
    assert alone.header(TARGET).height == TARGET


@pytest.mark.requires("witness.confirms", "witness.none-left")
@pytest.mark.parametrize("witness", [liar("w", NONSENSE), down("w"), down("w", Code.RPC_ANSWER_TOO_LARGE)])
def test_nothing_is_believed_when_no_witness_agrees(witness: Peer, tmp_path: Path) -> None:
    panel = panel_of([*honest("asked"), witness], tmp_path)
    reader = reader_over(panel, LEDGER, tmp_path)
    assert reader.header(GROUND)
    assert fails(lambda: reader.header(TARGET)).code is Code.NO_WITNESS_AGREES
    assert believed(tmp_path) == GROUND
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.requires("witness.none-left")
def test_when_everybody_lied_nobody_is_asked(tmp_path: Path) -> None:
    peers = [liar(name, NONSENSE) for name in ("l1", "l2", "l3")]
    reader = reader_over(panel_of(peers, tmp_path), LEDGER, tmp_path)
    assert fails(lambda: reader.header(TARGET)).code is Code.NEXT_VALIDATORS_MISMATCH
    asked = [list(peer.asked) for peer in peers]
    assert fails(lambda: reader.header(TARGET)).code is Code.NO_WITNESS_AGREES
    assert asked == [peer.asked for peer in peers]


@pytest.mark.requires("witness.first-header")
def test_two_first_headers_of_the_genesis_validators_halt(tmp_path: Path) -> None:
    one, other = Ledger(Chain(MEMBERS)), Ledger(Chain(MEMBERS))
    one.commit()
    other.chain.append(data_hash=INVENTED)
    root = TrustRoot(one.chain.chain_id, 1, None, set_of(MEMBERS))

    def reader(folder: str, *peers: Peer) -> VerifiedReader:
        (tmp_path / folder).mkdir()
        store = TrustStore(tmp_path / folder / "trust.json")
        store.ensure(root)
        return VerifiedReader(panel_of(peers, tmp_path / folder), store, clock=lambda: one.chain.now_ns)

    a, b, c = (Peer(name, ledger) for name, ledger in (("a", one), ("b", one), ("c", other)))
    assert reader("same", a, b).header(1).hash == one.chain.trusted(1).hash
    assert fails(lambda: reader("two", a, c).header(1)).code is Code.HEADERS_DIVERGED
    assert (tmp_path / "two" / FILE_NAME).exists()
    assert fails(lambda: reader("none", a, down("d")).header(1)).code is Code.NO_WITNESS_AGREES
    pruned = Peer("pruned", Ledger(Chain(MEMBERS)))
    assert reader("pruned", pruned, a, b).header(1).height == 1


@pytest.mark.requires("witness.lag")
def test_a_witness_behind_is_waited_for(tmp_path: Path) -> None:
    ticks = Ticks()
    late = honest("late")[0]
    seen = LEDGER.chain.blocks

    def block(found: LightBlock) -> LightBlock:
        if found.height == TARGET and ticks.now < 2:
            raise EnvironmentFault(Code.RPC_REFUSED)
        return found

    late.lies["light_block"] = block
    late.lies["status"] = lambda status: dataclasses.replace(status, height=TARGET - 1 + (ticks.now >= 2))
    reader = reader_over(panel_of([*honest("asked"), late], tmp_path, ticks=ticks), LEDGER, tmp_path)
    assert reader.header(TARGET).header == seen[TARGET].header
    assert 2 <= ticks.now < 3


@pytest.mark.requires("witness.lag")
def test_a_witness_that_stays_behind_confirms_nothing(tmp_path: Path) -> None:
    ticks = Ticks()
    short = Ledger(Chain(MEMBERS))
    while short.height < TARGET - 1:
        short.commit()
    panel = panel_of([*honest("asked"), Peer("short", short)], tmp_path, ticks=ticks)
    reader = reader_over(panel, LEDGER, tmp_path)
    assert fails(lambda: reader.header(TARGET)).code is Code.NO_WITNESS_AGREES
    assert 5 <= ticks.now < 6
    assert panel.endpoint == "short"
    assert reader.header(TARGET - 1).height == TARGET - 1


@pytest.mark.requires("witness.rotation")
@pytest.mark.parametrize(
    "code", [Code.RPC_UNREACHABLE, Code.RPC_ANSWER_INVALID, Code.RPC_ANSWER_TOO_LARGE, Code.TIMEOUT]
)
def test_a_node_asked_that_fails_is_replaced(code: Code, tmp_path: Path) -> None:
    panel = panel_of([down("dead", code), *honest("h1", "h2")], tmp_path)
    reader = reader_over(panel, LEDGER, tmp_path)
    assert reader.at().get(KEY).value
    assert panel.endpoint == "h1"


@pytest.mark.requires("witness.rotation")
def test_a_node_that_lies_about_state_or_height_is_replaced(tmp_path: Path) -> None:
    peers = honest("h1", "h2", "h3")
    panel = panel_of(peers, tmp_path)
    reader = reader_over(panel, LEDGER, tmp_path)
    view = reader.at()
    peers[0].lies["abci_query"] = lambda answer: dataclasses.replace(answer, value=b"{}")
    assert view.get(KEY).value not in (b"{}", None)
    assert panel.endpoint == "h2"
    assert panel.witnesses == ("h3",)
    peers[1].lies["status"] = lambda status: dataclasses.replace(status, height=1)
    assert reader.newest_height() == TARGET
    assert panel.endpoint == "h3"


@pytest.mark.requires("witness.rotation")
def test_a_node_that_withholds_newer_headers_is_asked_once(tmp_path: Path) -> None:
    peers = honest("h1", "h2", "h3")
    peers[0].lies["status"] = lambda status: dataclasses.replace(status, height=GROUND + 1)
    reader = reader_over(
        panel_of(peers, tmp_path), LEDGER, tmp_path, lambda: LEDGER.chain.now_ns + 59 * 10**9
    )
    old = reader.at()
    assert (old.height, old.is_stale) == (GROUND, True)
    assert reader.at().height == TARGET - 1


@pytest.mark.requires("witness.rotation")
def test_a_node_that_claims_heights_nobody_has_is_not_asked_again(tmp_path: Path) -> None:
    peers = honest("h1", "h2", "h3")
    peers[0].lies["status"] = lambda status: dataclasses.replace(status, height=10**9)
    reader = reader_over(panel_of(peers, tmp_path), LEDGER, tmp_path)
    assert fails(reader.at).code is Code.RPC_REFUSED
    assert reader.at().height == TARGET - 1


@pytest.mark.requires("witness.rotation")
def test_a_useless_witness_loses_its_place_to_one_in_reserve(tmp_path: Path) -> None:
    ticks = Ticks()
    settings = PanelSettings(witnesses_max=2, faults_max=2)
    peers = [*honest("asked"), down("dead"), *honest("w"), *honest("reserve")]
    panel = panel_of(peers, tmp_path, settings, ticks)
    reader = reader_over(panel, LEDGER, tmp_path)
    assert panel.witnesses == ("dead", "w")
    for height in (GROUND + 1, GROUND + 2):
        reader.header(height)
    assert panel.witnesses == ("w", "reserve")
    ticks.wait(settings.rest_seconds + 1)
    assert panel.witnesses == ("dead", "w")


@pytest.mark.requires("witness.rotation")
def test_a_witness_that_lied_rests_long_and_at_once(tmp_path: Path) -> None:
    ticks = Ticks()
    panel = panel_of([*honest("asked", "w"), liar("l", NONSENSE)], tmp_path, ticks=ticks)
    reader_over(panel, LEDGER, tmp_path).header(TARGET)
    assert panel.witnesses == ("w",)
    ticks.wait(PanelSettings().rest_seconds + 1)
    assert panel.witnesses == ("w",)


@pytest.mark.requires("witness.rotation")
def test_our_own_faults_are_held_against_nobody(tmp_path: Path) -> None:
    late = [LEDGER.chain.now_ns + 400 * 24 * 3600 * 10**9]
    panel = panel_of(honest("h1", "h2"), tmp_path)
    reader = reader_over(panel, LEDGER, tmp_path, lambda: late[0])
    assert fails(lambda: reader.header(TARGET)).code is Code.TRUST_EXPIRED
    late[0] = LEDGER.chain.blocks[GROUND].header.time_ns - 3600 * 10**9
    for _ in range(5):
        assert fails(lambda: reader.header(TARGET)).code is Code.HEADER_FROM_FUTURE
    late[0] = LEDGER.chain.now_ns
    assert reader.header(TARGET).height == TARGET


@pytest.mark.requires("witness.bounded")
def test_a_node_is_left_after_so_many_requests_or_so_long(tmp_path: Path) -> None:
    settings = PanelSettings(requests_max=2, faults_max=1)
    wanders = liar("wanders", NONSENSE)
    panel = panel_of([wanders, *honest("h1", "h2")], tmp_path, settings)
    assert reader_over(panel, LEDGER, tmp_path).header(TARGET).hash == LEDGER.chain.trusted(TARGET).hash
    assert wanders.asked.count("light_block") == 1 + 2, "the root of trust, then the bound"
    assert panel.endpoint == "h1"

    ticks = Ticks()
    slow = liar("slow", NONSENSE)

    def drag(block: LightBlock) -> LightBlock:
        ticks.now += 30
        return block

    slow.lies["light_block"] = drag
    (tmp_path / "s").mkdir()
    settings = PanelSettings(seconds_max=50.0, faults_max=1)
    panel = panel_of([slow, *honest("h1", "h2")], tmp_path / "s", settings, ticks)
    assert reader_over(panel, LEDGER, tmp_path / "s").header(TARGET).height == TARGET
    assert ticks.now < 100


@pytest.mark.requires("witness.bounded")
def test_a_panel_is_of_a_few_different_nodes(tmp_path: Path) -> None:
    for peers in ([], honest("a", "a"), honest(*(str(n) for n in range(PEERS_MAX + 1)))):
        with pytest.raises(Refused) as refused:
            panel_of(peers, tmp_path)
        assert refused.value.code is Code.USAGE
    peers = honest("a", "b")
    panel: Panel = panel_of(peers, tmp_path)
    assert panel.endpoint == "a"
    assert open_panel(["http://a:1", "http://a:1", "http://b:2"], tmp_path).witnesses == ("http://b:2",)
    panel.close()
    assert [peer.closed for peer in peers] == [True, True]


@pytest.mark.requires("attack.amnesia-withheld")
def test_evidence_that_names_nobody_is_kept_and_not_sent(tmp_path: Path) -> None:
    ledger = decided(misled_by("amnesia"))
    peers = [Peer("l", ledger, amnesia(ledger.chain, liars("over 1/3"))), Peer("w", ledger)]
    reader = reader_over(panel_of(peers, tmp_path), ledger, tmp_path)
    fails(lambda: reader.header(TARGET))
    kept = IncidentFile(tmp_path / FILE_NAME).read()
    assert [item["kind"] for item in kept["accused"]] == ["amnesia", "amnesia"]
    assert [s["answer"] for s in kept["sent"]] == ["withheld", "withheld"]
    assert [peer.evidence for peer in peers] == [[], []]


@pytest.mark.requires("witness.told", "attack.names")
def test_the_honest_who_were_misled_are_not_named(tmp_path: Path) -> None:
    ledger = decided(misled_by("equivocation"))
    forged = equivocation(ledger.chain, liars("over 1/3"))
    witness = Peer("w", ledger)
    reader = reader_over(panel_of([Peer("l", ledger, forged), witness], tmp_path), ledger, tmp_path)
    refusal = fails(lambda: reader.header(TARGET))
    named = [s.address.hex().upper() for s in liars("over 1/3")]
    said = {"kind": "equivocation", "byzantine": named}
    assert refusal.facts["accused"] == {"l": said, "w": said}
