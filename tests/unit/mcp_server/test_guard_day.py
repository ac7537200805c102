"""No alarm about the ordinary: a day of an agent by the printed policy, over the real tools and answers.

Nothing is loosened for it: the policy is what ``conclave mcp policy --propose`` prints, kept by a ledger in
memory; budgets are as printed, and a clock spreads the calls over the day.
"""
# ruff: noqa: S311 - repeatable traffic

from __future__ import annotations

import base64
import functools
import itertools
import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger import manifest
from ledger.authority.scope import kind_of_manifest
from ledger.bodies import release_body
from ledger.types import JsonObject
from mcp_server import pruning
from mcp_server.answering import ANSWER_BYTES_MAX, FRAME_BYTES_MAX, Answer, Caller, answer
from mcp_server.catalogue import BY_NAME
from mcp_server.chain import Call
from mcp_server.edits import EDITS_MAX
from mcp_server.fencing import check_bare, fenced
from mcp_server.guarding import Guarded
from mcp_server.policies import Scope
from mcp_server.proposer import Proposer
from mcp_server.standing import Standings
from tests.support.guarding import objects_in
from tests.support.ledger import ALICE, CAROL, ROBOT, Ledger, a_release, envelope
from tests.support.mcp import KEY, Speaking, a_story, let_propose, source_of

ROOT = Path(__file__).resolve().parents[3]
INPUTS = Path(os.environ.get("CONCLAVE_SHARED", str(ROOT.parent / "shared"))) / "inputs"
SECOND_NS = 10**9
CALLS = 10_000
DAY_SECONDS = 86_400
AGENT, AGENT_KEY = ROBOT.did, ROBOT.key_id
Asked = tuple[str, JsonObject]
REAL = [document for _, document in objects_in(INPUTS)] if INPUTS.is_dir() else []
SHOPS = tuple(f"{part}-{number}" for part in ("api", "cache", "db", "web") for number in range(3))
SECTIONS = ("identities", "roles", "bindings", "rules", "parameters")


def _kind(document: JsonObject) -> str:
    return kind_of_manifest(document["apiVersion"], document["kind"])


def encoded(source: random.Random, count: int) -> str:
    return base64.b64encode(source.randbytes(count)).decode()


def image(source: random.Random) -> str:
    return f"registry.internal/shop@sha256:{source.randbytes(32).hex()}"


def deployment(name: str, shown: str) -> JsonObject:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": shown}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": name, "annotations": {"checksum/config": "0f" * 32}},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod},
    }


def settings(source: random.Random, namespace: str) -> JsonObject:
    """Give a ConfigMap as charts make them: a text, and base64 where a file is no text."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": namespace},
        "data": {"app.conf": "listen = 8080\nmode = quick", "ca.b64": encoded(source, 900)},
        "binaryData": {"logo.png": encoded(source, 3000)},
    }


def a_shop(source: random.Random, name: str) -> JsonObject:
    release = a_release(name)
    release["spec"]["manifests"] = [settings(source, name), deployment(name, image(source))]
    return release


class Clock:
    """Nanoseconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


@dataclass(frozen=True)
class Told:
    """A call and the answer to it."""

    tool: str
    given: JsonObject
    answer: Answer

    @functools.cached_property
    def has_base64(self) -> bool:
        return "binaryData" in json.dumps([self.given, self.answer.content])


class Desk:
    """An agent at a server: what it asks is judged as the server judges, by the policy that is printed."""

    def __init__(self, ledger: Ledger, kinds: Iterable[str]) -> None:
        # Namespaces and clusters are open; what is left are the looks for harm, loops and budgets.
        let_propose(ledger, Scope(["*"], ["*"], sorted(kinds)))
        self.ledger, self.clock = ledger, Clock()
        self.source = source_of(Speaking(ledger))
        self.guard = Guarded(Standings(self.source), self.clock)
        self.proposer = Proposer(self.source.rpc, self.source.reader, {ROBOT.did: [ROBOT]})

    def told(self, tool: str, given: JsonObject) -> Told:
        """Let the server answer."""
        caller = Caller(AGENT, self.proposer)
        return Told(tool, given, answer(self.source, BY_NAME[tool], given, caller=caller))

    def judged(self, tool: str, given: JsonObject, found: Answer) -> None:
        """Judge a call and this answer to it; nothing may be said of either."""
        call = Call("tool", tool, given, AGENT, AGENT_KEY)
        assert self.guard.before(call) == (), (tool, given)
        assert self.guard.after(call, found.content, found.shown).warnings == (), (tool, given)


def reads() -> Iterator[Asked]:
    """Give what an agent asks that looks after a fleet, of every tool that reads."""
    names = ("guestbook", *SHOPS)
    yield from (("get_clusters", given) for given in ({}, {"name": "east"}, {"name": "west"}))
    yield from (("get_releases", given) for given in ({}, {"problems": True}, {"cluster": "east"}))
    yield from (("get_incidents", given) for given in ({}, {"limit": 5}))
    yield from (("get_authority", {"section": section}) for section in SECTIONS)
    yield from (
        ("get_proposals", given) for given in ({}, {"state": "open"}, {"fields": ["number", "state"]})
    )
    yield from (("explain_proposal", {"number": number}) for number in range(1, len(names) + 4))
    yield from (("search_audit", {"subject": subject}) for subject in ("alice", "carol"))
    yield "get_object", {"kind": "Cluster", "name": "east"}
    yield "get_object", {"kind": "Identity", "name": ROBOT.name}
    for name in names:
        yield "get_releases", {"release": name}
        yield "get_history", {"release": name}
        yield "get_proposals", {"release": name}
        yield "search_audit", {"release": name, "limit": 20}
        yield "get_object", {"kind": "Release", "name": name}
        yield "export_proof", {"what": "release", "name": name}
    for name in SHOPS:
        for each in (f"v1/ConfigMap/{name}/settings", f"apps/v1/Deployment/{name}/web"):
            yield "get_object", {"kind": "Release", "name": name, "object": each}


def asks(source: random.Random) -> Iterator[Asked]:
    """Give what the same agent proposes and says, of every tool that writes but the taking back."""
    for name in SHOPS[:6]:
        web = {"object": f"apps/v1/Deployment/{name}/web", "container": "web", "image": image(source)}
        more = {"release": name, "reason": f"a new logo, see https://wiki.internal/{name}"}
        yield "propose_release", {**more, "objects": [settings(source, name)]}
        yield "propose_release", {"release": name, "reason": "1.4.2 fixes the leak", "images": [web]}
    scaled = {"operation": "scale", "object": "apps/v1/Deployment/web-1/web", "replicas": 4}
    tried = {"objects": [settings(source, "api-2")], "reason": "what would it need?", "dryRun": True}
    yield "propose_release", {**tried, "release": "api-2"}
    yield "request_change", {**scaled, "release": "web-1", "reason": "load rises since 09:00"}
    yield (
        "request_change",
        {"operation": "rollback", "release": "guestbook", "toRevision": 2, "reason": "slow"},
    )
    yield "request_change", {"operation": "pause", "release": "db-0", "reason": "errors rise"}
    yield "report_observation", {"text": f"web-1 runs {image(source)}: 3 of 4 pods ready", "release": "web-1"}


def anew(source: random.Random, given: JsonObject) -> JsonObject:
    """Give a proposal of the same form with content that nobody saw before."""
    if "objects" in given:
        return {**given, "objects": [settings(source, given["release"])]}
    if "images" in given:
        return {**given, "images": [{**each, "image": image(source)} for each in given["images"]]}
    return given


@dataclass(frozen=True)
class Day:
    """The desk, and what is read and said at it with the server's own answers."""

    desk: Desk
    read: list[Told]
    said: list[Told]


@pytest.fixture(scope="module")
def day() -> Day:
    source, ledger = random.Random(7), a_story()
    for name in SHOPS:
        ledger.approve(envelope(ALICE, release_body(a_shop(source, name))), (ALICE, CAROL))
    ledger.commit()
    desk = Desk(ledger, {_kind(each) for each in REAL} | {"ConfigMap", "Deployment.apps"})
    read = [desk.told(*asked) for asked in reads()]
    said = []
    for asked in asks(source):
        said.append(desk.told(*asked))
        (item,) = said[-1].answer.content["items"]
        if "number" in item:
            # Before people judge it or the agent takes it back, it looks at what it asked for.
            said.append(desk.told("explain_proposal", {"number": item["number"]}))
            said.append(desk.told("withdraw_proposal", {"number": item["number"]}))
    return Day(desk, read, said)


def _plan(source: random.Random, day: Day) -> Iterator[tuple[int, Told]]:
    """Give seconds to wait and what comes then; now and then it is a quick round of all releases."""
    turns = itertools.cycle(day.said)
    rounds = itertools.cycle(("get_history", "get_releases", "search_audit"))
    while True:
        for _ in range(400):
            each = next(turns) if source.random() < 0.08 else source.choice(day.read)
            yield source.randint(1, 2 * DAY_SECONDS // CALLS), each
        tool = next(rounds)
        yield from ((1, each) for each in day.read if each.tool == tool and "release" in each.given)


@pytest.mark.requires("guard.no-false-alarm")
def test_a_day_by_the_printed_policy_raises_nothing(day: Day) -> None:
    assert {each.tool for each in (*day.read, *day.said)} == set(BY_NAME), "every tool of the catalogue"
    source, clock = random.Random(11), day.desk.clock
    begun, with_base64 = clock.now_ns, 0
    for wait, each in itertools.islice(_plan(source, day), CALLS):
        clock.now_ns += wait * SECOND_NS
        with_base64 += each.has_base64
        day.desk.judged(each.tool, anew(source, each.given), each.answer)
    assert abs((clock.now_ns - begun) // SECOND_NS - DAY_SECONDS) < DAY_SECONDS // 10
    assert with_base64 > CALLS // 20


@pytest.mark.skipif(not REAL, reason="the real manifests are not here")
@pytest.mark.requires("guard.no-false-alarm")
def test_every_real_manifest_passes_both_ways_by_the_printed_policy(day: Day) -> None:
    assert len(REAL) >= 85
    answered = next(each.answer for each in day.said if each.tool == "propose_release")
    whole = [REAL[at : at + EDITS_MAX] for at in range(0, len(REAL), EDITS_MAX)]
    for objects in (*([each] for each in REAL), *whole):
        # Twenty an hour of such a tool, says the policy.
        day.desk.clock.now_ns += 181 * SECOND_NS
        check_bare(objects, "arguments.objects")
        given: JsonObject = {"release": "web-1", "reason": "as upstream has it", "objects": objects}
        day.desk.judged("propose_release", given, answered)
    for each in REAL:
        day.desk.clock.now_ns += 9 * SECOND_NS
        asked: JsonObject = {"kind": "Release", "name": "web-1", "object": manifest.object_id(each)}
        shown = fenced(pruning.clean({"object": asked["object"], "manifest": each}, KEY))
        item = pruning.fit(shown, ANSWER_BYTES_MAX - FRAME_BYTES_MAX)
        day.desk.judged("get_object", asked, Answer({"items": [item], "readAt": {"height": 9}}, {}))
