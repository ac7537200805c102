"""``status``, ``events`` and ``wait``: two axes, reasons, what changes as it changes, exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import click
import pytest

from conclave import __main__ as program
from conclave import watching
from conclave.command import Session
from conclave.completion import cluster_names, release_or_proposal_names
from conclave.output import Output
from conclave.standing import Sync, sync_of
from conclave.verbs import wait as wait_verb
from consensus.subscription import Pace
from ledger.actions import Report
from ledger.bodies import report_body
from ledger.errors import Code, EnvironmentFault
from ledger.records import DesiredRecord, DesiredState, ReleaseRecord, ReleaseState, ReportRecord
from ledger.types import Did, JsonObject
from tests.support.ledger import EAST, envelope
from tests.unit.conclave.desk import CONFIG_MAP, Desk

OBJECT = "v1/ConfigMap/default/a"
Turn = Callable[[], object]


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> Iterator[Callable[..., None]]:
    """Let things happen while somebody watches, one between two looks, in no time; then the watching ends."""
    waiting: list[Turn] = []

    def wait(seconds: float) -> bool:
        assert seconds > 0
        if not waiting:
            return True
        waiting.pop(0)()
        return False

    def now() -> int:
        return desk.ledger.chain.now_ns

    monkeypatch.setattr(watching, "PACE", Pace(wait=wait, wall_ns=now))
    monkeypatch.setattr(wait_verb, "clock_s", lambda: 0.0)
    yield lambda *happen: waiting.extend(happen)
    assert not waiting, "not everything happened"


def report(desk: Desk, outcome: str = "applied", health: str = "current", code: int = 0, **more: Any) -> None:
    """Have the bridge of east report on one object."""
    done = more.pop("done", "created" if outcome == "applied" else "failed")
    item = {"object": OBJECT, "outcome": done, "health": health, "code": code}
    facts: JsonObject = {"revision": 1, "sequence": 1} | more
    said = Report("east", "guestbook", facts["revision"], facts["sequence"], outcome, health, (item,))
    assert [r.code for r in desk.ledger.commit(envelope(EAST, report_body(said)))] == [0]
    desk.ledger.commit()


def lines(desk: Desk, *arguments: str) -> list[JsonObject]:
    """Run a watching command for a program; give its documents, one a line."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert program.run([*arguments, "--home", str(desk.path), "-o", "json"]) == 0
    return [json.loads(line) for line in said.getvalue().splitlines()]


def aside(desk: Desk, *arguments: str) -> JsonObject:
    """Run a command while another is shown; give its document."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert program.run([*arguments, "--home", str(desk.path), "-o", "json"]) == 0
    found: JsonObject = json.loads(said.getvalue())
    return found


def upgrade(desk: Desk) -> str:
    """Propose another content; give the proposal's number."""
    source = desk.write("guestbook/config.yaml", CONFIG_MAP | {"data": {"key": "2"}})
    return str(aside(desk, "propose", str(source.parent), "--cluster=east", "--as=alice")["number"])


def approve(desk: Desk, number: str) -> None:
    """Have a proposal approved by two organisations."""
    aside(desk, "approve", number, "--as=bob")
    aside(desk, "approve", number, "--as=carol")


def records(**changes: Any) -> tuple[ReleaseRecord, DesiredRecord, ReportRecord]:
    """Give records of a release that is as it should be, but for ``changes`` of either."""
    release = ReleaseRecord("web", "web", 2, ("east",), 1, ReleaseState.ACTIVE)
    desired = DesiredRecord("east", "web", 2, DesiredState.PRESENT, prune=False, time=100)
    item = {"object": OBJECT, "outcome": "created", "health": "current", "code": 0}
    told = ReportRecord("east", "web", 2, 1, "applied", "current", (item,), (), 9, 110, Did("did:key:z"))
    names = {"release": release, "desired": desired, "report": told}
    for name, value in changes.items():
        names[name] = replace(names[name], **value)  # type: ignore[type-var]
    return names["release"], names["desired"], names["report"]  # type: ignore[return-value]


@pytest.mark.requires("cli.status-axes")
@pytest.mark.parametrize(
    ("changes", "sync", "why"),
    [
        ({}, Sync.SYNCED, "revision 2 is in place"),
        ({"report": {"health": "failed"}}, Sync.SYNCED, "revision 2 is in place"),
        ({"report": {"revision": 1}}, Sync.OUT_OF_SYNC, "reported revision 1, wanted revision 2"),
        ({"report": {"outcome": "partial"}}, Sync.OUT_OF_SYNC, "no object is in place"),
        (
            {
                "report": {
                    "outcome": "partial",
                    "objects": ({"object": "x", "outcome": "conflict", "health": "unknown", "code": 415},),
                }
            },
            Sync.OUT_OF_SYNC,
            "1 object not in place (OBJECT_CLAIMED)",
        ),
        (
            {"desired": {"state": DesiredState.DELETED}, "report": {"time": 99}},
            Sync.OUT_OF_SYNC,
            "no report since it was deleted",
        ),
        ({"desired": {"state": DesiredState.DELETED}}, Sync.OUT_OF_SYNC, "no report since it was deleted"),
        (
            {"desired": {"state": DesiredState.DELETED}, "report": {"outcome": "partial"}},
            Sync.OUT_OF_SYNC,
            "the deletion partial",
        ),
    ],
)
def test_sync_says_whether_a_cluster_is_what_the_ledger_wants_and_nothing_of_health(
    changes: JsonObject, sync: Sync, why: str
) -> None:
    verdict = sync_of(*records(**changes))
    assert verdict.sync is sync
    assert why in verdict.reason


@pytest.mark.requires("cli.status-axes")
def test_without_a_report_sync_is_unknown_and_before_its_rollout_a_cluster_is_out_of_sync() -> None:
    release, desired, _ = records()
    assert sync_of(release, desired, None).sync is Sync.UNKNOWN
    assert sync_of(release, None, None).sync is Sync.OUT_OF_SYNC
    gone = replace(release, state=ReleaseState.DELETED)
    assert sync_of(gone, None, None).sync is Sync.SYNCED


@pytest.mark.requires("cli.status-axes")
def test_status_shows_the_axes_apart_and_why_each_object_is_not_as_it_should_be(desk: Desk) -> None:
    desk.release("east")
    (row,) = desk.run("status")["items"]
    assert (row["sync"], row["health"]) == ("unknown", None)
    assert "Unknown" in desk.show("status")
    states = desk.run("status", "guestbook")["items"][0]["objectStates"]
    assert [(s["object"], s["sync"], s["reason"]) for s in states] == [
        (OBJECT, "unknown", "not reported yet")
    ]
    report(desk, "failed", "in_progress", int(Code.KUBERNETES_REFUSED))
    (row,) = desk.run("status", "guestbook")["items"]
    assert (row["sync"], row["health"]) == ("out_of_sync", "in_progress")
    (state,) = row["objectStates"]
    assert (state["sync"], state["code"], state["reason"]) == (
        "out_of_sync",
        "KUBERNETES_REFUSED",
        "KUBERNETES_REFUSED",
    )
    shown = desk.show("status", "guestbook").split()
    assert {"OutOfSync", "InProgress", OBJECT, "KUBERNETES_REFUSED"} <= set(shown)
    folder = desk.path / "bridges" / "east"
    folder.mkdir(parents=True)
    account: JsonObject = {"releases": {"guestbook": {"objects": [{"object": OBJECT, "reason": "no quota"}]}}}
    (folder / "bridge-status.json").write_text(json.dumps(account))
    state = desk.run("status", "guestbook")["items"][0]["objectStates"][0]
    assert state["reason"] == "KUBERNETES_REFUSED: no quota"
    report(desk, health="failed", sequence=2)
    account = {"releases": {"guestbook": {"unhealthy": {OBJECT: {"health": "failed", "reason": "crashes"}}}}}
    (folder / "bridge-status.json").write_text(json.dumps(account))
    (row,) = desk.run("status", "guestbook")["items"]
    assert (row["sync"], row["health"], row["objectStates"][0]["reason"]) == ("synced", "failed", "crashes")


@pytest.mark.requires("cli.watch")
def test_a_program_gets_a_document_a_line_for_what_changed_only(
    desk: Desk, turns: Callable[..., None]
) -> None:
    desk.release("east")
    turns(desk.ledger.commit, lambda: report(desk), desk.ledger.commit, lambda: upgrade(desk))
    told = lines(desk, "status", "--watch")
    assert [row["sync"] for document in told for row in document["items"]] == ["unknown", "synced"]


@pytest.mark.requires("cli.watch")
def test_people_behind_a_pipe_get_the_lines_that_changed_and_a_terminal_is_redrawn(
    desk: Desk, turns: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.release("east", "west")
    turns(desk.ledger.commit, lambda: report(desk))
    shown = desk.show("status", "--watch").splitlines()
    assert [line.split()[:3] for line in shown] == [
        ["guestbook", "east", "Unknown"],
        ["guestbook", "west", "Unknown"],
        ["guestbook", "east", "Synced"],
    ]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    turns(desk.ledger.commit)
    drawn = desk.show("status", "--watch").split("\x1b[H\x1b[2J\x1b[3J")
    assert [part.count("guestbook") for part in drawn] == [0, 2, 2]


@pytest.mark.requires("cli.watch")
def test_a_node_that_is_away_is_said_and_what_does_not_verify_ends_it(
    desk: Desk, turns: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    desk.release("east")

    def away(_: Any) -> Any:
        raise EnvironmentFault(Code.RPC_UNREACHABLE, got="nobody")

    def gone() -> None:
        desk.ledger.commit()
        desk.node.lies["abci_query"] = away

    def back() -> None:
        desk.node.lies.clear()
        report(desk)

    turns(gone, back)
    assert [row["sync"] for d in lines(desk, "status", "--watch") for row in d["items"]] == [
        "unknown",
        "synced",
    ]

    def lie() -> None:
        desk.ledger.commit()
        desk.node.lies["abci_query"] = lambda answer: replace(answer, value=b"{}")

    turns(lie)

    assert program.run(["status", "--watch", "--home", str(desk.path)]) == 3
    assert "PROOF_INVALID" in capsys.readouterr().err


@pytest.mark.requires("cli.events")
def test_events_tell_who_did_what_and_come_from_proven_records(desk: Desk) -> None:
    desk.release("east")
    report(desk)
    desk.run("freeze", "stop-7", "--reason", "ticket 7", "--as", "bob")
    told = desk.run("events")["items"]
    assert [(e["kind"], e["by"]) for e in told] == [
        ("proposal", "alice"),
        ("approval", "bob"),
        ("approval", "carol"),
        ("execution", "machine"),
        ("report", "east-bridge"),
        ("freeze", "bob"),
    ]
    assert told == sorted(told, key=lambda event: event["height"])
    assert all(event["time"] for event in told)
    assert [e["kind"] for e in desk.run("events", "guestbook")["items"]] == [e["kind"] for e in told]
    shown = desk.show("events")
    assert "proposal 1 carried out as revision 1" in shown
    assert "east: revision 1 applied, current" in shown
    assert desk.refused("events", "nothing") == "RELEASE_UNKNOWN"
    desk.node.lies["abci_query"] = lambda answer: replace(answer, value=b"{}")
    assert desk.refused("events", status=3) == "PROOF_INVALID"


@pytest.mark.requires("cli.events")
def test_whoever_watches_events_is_told_each_once_reports_that_are_overwritten_too(
    desk: Desk, turns: Callable[..., None]
) -> None:
    desk.release("east")
    turns(
        lambda: report(desk, health="in_progress"),
        desk.ledger.commit,
        lambda: report(desk, sequence=2),
        lambda: aside(desk, "reject", upgrade(desk), "--as=carol"),
    )
    told = [(e["kind"], e.get("health")) for e in lines(desk, "events", "--watch")]
    assert told == [
        ("proposal", None),
        ("approval", None),
        ("approval", None),
        ("execution", None),
        ("report", "in_progress"),
        ("report", "current"),
        ("proposal", None),
        ("rejection", None),
    ]


@pytest.mark.requires("cli.wait")
def test_wait_ends_when_it_is_there(desk: Desk, turns: Callable[..., None]) -> None:
    desk.release("east")
    turns(desk.ledger.commit, lambda: report(desk, health="in_progress"), lambda: report(desk, sequence=2))
    found = desk.run("wait", "guestbook", "--for=healthy")
    assert (found["reached"], found["revision"]) == (True, 1)
    assert found["clusters"][0]["sync"] == "synced"
    assert desk.run("wait", "guestbook", "--for=applied", "--timeout", "0")["reached"] is True
    number = upgrade(desk)
    desk.run("approve", number, "--as", "bob")
    turns(
        lambda: aside(desk, "approve", number, "--as=carol"),
        lambda: report(desk, revision=2, sequence=3),
    )

    assert "guestbook revision 2 is healthy" in desk.show("wait", number, "--for=healthy")
    assert desk.run("wait", f"proposal/{number}")["state"] == "final"
    assert desk.run("wait", "release/guestbook", "--for=complete", "--timeout=0")["revision"] == 2


@pytest.mark.requires("cli.wait")
def test_wait_says_that_the_time_is_over_with_code_4(desk: Desk) -> None:
    desk.release("east")
    error = desk.run("wait", "guestbook", "--timeout", "0", status=4)["error"]
    assert (error["name"], error["facts"]["reached"]) == ("TIMEOUT", False)
    assert "no report yet" in error["got"]


@pytest.mark.requires("cli.wait")
def test_wait_ends_at_once_with_code_1_when_it_can_come_no_more(
    desk: Desk, turns: Callable[..., None]
) -> None:
    number = str(
        desk.run(
            "propose",
            str(desk.write("guestbook/config.yaml", CONFIG_MAP).parent),
            "--cluster=east",
            "--as=alice",
        )["number"]
    )
    turns(lambda: aside(desk, "reject", number, "--as=carol"))
    assert desk.refused("wait", number, "--for=final") == "PROPOSAL_NOT_OPEN"
    assert desk.run("wait", number, "--for=closed", "--timeout=0")["state"] == "rejected"
    desk.release("east")
    turns(lambda: approve(desk, upgrade(desk)))
    assert desk.refused("wait", "guestbook", "--for=healthy") == "REVISION_CONFLICT"
    turns(lambda: report(desk, "failed", "failed", int(Code.KUBERNETES_REFUSED), revision=2, sequence=1))
    assert desk.refused("wait", "guestbook", "--for=healthy") == "ROLLOUT_STATE_CONFLICT"
    desk.approve(desk.run("delete", "guestbook", "--prune", "--as", "alice"))
    assert desk.refused("wait", "guestbook", "--for=applied") == "RELEASE_NOT_ACTIVE"
    report(desk, revision=2, sequence=2)
    late = desk.refused("wait", "guestbook", "--for=gone", "--timeout=0", status=4)
    assert late == "TIMEOUT", "a report of what ran, sent before the bridge knew"
    turns(lambda: report(desk, revision=2, sequence=3, done="deleted"))
    assert desk.run("wait", "guestbook", "--for=gone")["reached"] is True
    assert desk.refused("wait", "nothing") == "RELEASE_UNKNOWN"
    assert desk.refused("wait", "99") == "PROPOSAL_UNKNOWN"


@pytest.mark.requires("cli.wait")
@pytest.mark.parametrize(
    "arguments",
    [
        ("guestbook", "--for=final"),
        ("thing/1",),
        ("1", "--cluster=east"),
        ("guestbook", "--timeout=soon"),
        ("guestbook", "--timeout=8d"),
        ("guestbook", "--for=happy"),
    ],
)
def test_what_cannot_be_waited_for_is_wrong_usage(desk: Desk, arguments: tuple[str, ...]) -> None:
    desk.release("east")
    assert desk.refused("wait", *arguments, status=2) == "USAGE"


@pytest.mark.requires("cli.wait")
def test_only_the_named_clusters_count(desk: Desk) -> None:
    desk.release("east", "west")
    report(desk)
    assert desk.run("wait", "guestbook", "--cluster=east", "--timeout=0")["reached"] is True
    assert desk.refused("wait", "guestbook", "--timeout=0", status=4) == "TIMEOUT"
    assert desk.refused("wait", "guestbook", "--cluster=north", "--timeout=0") == "CLUSTER_UNKNOWN"


@pytest.mark.requires("cli.completion")
def test_names_of_releases_proposals_and_clusters_complete(desk: Desk) -> None:
    desk.release("east")
    context = click.Context(click.Command("x"), obj=Session(desk.path, None, Output()))
    parameter = click.Argument(["target"])
    assert release_or_proposal_names(context, parameter, "") == ["guestbook", "1"]
    assert release_or_proposal_names(context, parameter, "1") == ["1"]
    assert cluster_names(context, parameter, "w") == ["west"]
    context.obj.home = desk.path / "nowhere"
    assert release_or_proposal_names(context, parameter, "") == []
    assert cluster_names(context, parameter, "") == []


@pytest.mark.requires("cli.watch")
def test_lists_and_histories_are_watched_too(desk: Desk, turns: Callable[..., None]) -> None:
    desk.release("east")
    number = upgrade(desk)
    turns(desk.ledger.commit, lambda: aside(desk, "approve", number, "--as=bob"))
    told = lines(desk, "get", "proposals", "--watch")
    assert [len(document["items"][0]["approvals"]) for document in told] == [0, 1]
    turns(lambda: aside(desk, "approve", number, "--as=carol"), desk.ledger.commit)
    told = lines(desk, "history", "guestbook", "--watch")
    assert [[item["revision"] for item in document["items"]] for document in told] == [[1], [2, 1]]
    turns(desk.ledger.commit)
    assert len(desk.show("history", "guestbook", "--watch").splitlines()) == 2


@pytest.mark.requires("cli.completion")
def test_names_of_what_get_reads_complete(desk: Desk) -> None:
    desk.release("east")
    command = program.cli.get_command(click.Context(program.cli), "get")
    assert command is not None
    context = click.Context(command, obj=Session(desk.path, None, Output()))
    (argument,) = [parameter for parameter in command.params if parameter.name == "name"]
    for kind, word, found in (
        ("release", "g", "guestbook"),
        ("proposals", "", "1"),
        ("clusters", "w", "west"),
    ):
        context.params["kind"] = kind
        assert [item.value for item in argument.shell_complete(context, word)] == [found]
    context.params["kind"] = "nothing"
    assert argument.shell_complete(context, "") == []
