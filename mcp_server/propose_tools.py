"""What a model can ask the ledger for: one function a tool, from read arguments to a proven receipt.

Promises that each asks and nothing more: people approve elsewhere, with their own keys, and no answer of a
model stands for theirs; and that a dry run says nothing to the ledger. What comes back says what is missing,
what a person types, and when to look again.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from consensus import release_reader, scopes
from consensus.reader import View
from consensus.speaking import Answer
from consensus.submit import ProvenReceipt
from ledger.agent_actions import About
from ledger.bodies import judgement_body, observation_body
from ledger.changes import Release, read_release
from ledger.errors import Code, Refused
from ledger.records import ReleaseRecord, ReleaseState
from ledger.types import ActionKind, JsonObject
from mcp_server.edits import Edits, Image, release_object
from mcp_server.fencing import check_bare
from mcp_server.guard.reach import Reach, reach_of
from mcp_server.node_words import heard
from mcp_server.proposal_tools import RETRY_AFTER_SECONDS, compared, identities_of
from mcp_server.proposer import Proposer, Wanted, not_spoken_for
from mcp_server.read_tools import Asked, Entry

OPERATIONS = ("scale", "rollback", "pause")
_HEARD = ("missing", "approvers", "risk")
_NEEDS = {"scale": ("object", "replicas"), "rollback": ("toRevision",), "pause": ()}


def propose_release(asked: Asked) -> Sequence[Entry]:
    """Propose a release or a change of one."""
    given = asked.arguments
    check_bare(given.get("objects", ()), "arguments.objects")
    edits = Edits(
        images=tuple(
            Image(each["object"], each["container"], each["image"]) for each in given.get("images", ())
        ),
        objects=tuple(given.get("objects", ())),
        remove=tuple(given.get("remove", ())),
        clusters=tuple(given.get("clusters", ())),
        namespace=given.get("namespace"),
    )
    return [lambda: _propose_release(asked, edits, "propose_release")]


def request_change(asked: Asked) -> Sequence[Entry]:
    """Ask for a scale, a rollback or a pause of a release."""
    given, wanted = asked.arguments, asked.arguments["operation"]
    if wanted == "pause" and given.get("dryRun"):
        raise Refused(
            Code.FIELD_UNKNOWN,
            got="a dry run of a note to people",
            expected="a pause without it",
            field="arguments.dryRun",
        )
    for name in ("object", "replicas", "toRevision"):
        if (name in given) != (name in _NEEDS[wanted]):
            raise Refused(
                Code.FIELD_MISSING if name not in given else Code.FIELD_UNKNOWN,
                got="a field too few or too many",
                expected=f"for {wanted}: {', '.join(_NEEDS[wanted]) or 'nothing more than a reason'}",
                field=f"arguments.{name}",
            )
    if wanted == "scale":
        edits = Edits(replicas=((given["object"], given["replicas"]),))
        return [lambda: _propose_release(asked, edits, "request_change")]
    if wanted == "rollback":
        return [lambda: _rollback(asked)]
    return [lambda: _observed(asked, About.PAUSE_REQUESTED, asked.arguments["reason"])]


def withdraw_proposal(asked: Asked) -> Sequence[Entry]:
    """Take back a proposal of one's own."""
    return [lambda: _withdrawn(asked)]


def report_observation(asked: Asked) -> Sequence[Entry]:
    """Write down what one saw."""
    return [lambda: _observed(asked, About.OBSERVATION, asked.arguments["text"])]


def _propose_release(asked: Asked, edits: Edits, tool: str) -> JsonObject:
    name = asked.arguments["release"]
    record = _record(asked.view, name)
    old = None if record is None else _as_signed(asked.view, record, record.revision)
    made = release_object(name, old, edits, renderer=_renderer())
    new = read_release(made, image_digest_required=False, where="arguments")
    return _asked_for(asked, tool, {"release": made}, (record, old, new))


def _rollback(asked: Asked) -> JsonObject:
    name, number = asked.arguments["release"], asked.arguments["toRevision"]
    record = release_reader.release_record(asked.view, name).value
    if number > record.revision:
        raise Refused(
            Code.REVISION_UNKNOWN,
            got=number,
            expected=f"1 … {record.revision}",
            field="arguments.toRevision",
        )
    old, new = (_as_signed(asked.view, record, each) for each in (record.revision, number))
    change: JsonObject = {"rollback": {"release": name, "toRevision": number}}
    return _asked_for(asked, "request_change", change, (record, old, new))


def _withdrawn(asked: Asked) -> JsonObject:
    principal, proposer = speaker_of(asked)
    record = release_reader.proposal(asked.view, asked.arguments["number"]).value
    if record.proposer != principal:
        raise Refused(
            Code.ARGUMENT_NOT_ALLOWED,
            got="a proposal of another's",
            expected="one of the caller's own",
            todo="tell the people who approve: report_observation",
            field="arguments.number",
        )
    body = judgement_body(
        ActionKind.REJECTION,
        record.id,
        record.digest,
        record.requirement,
        reason=asked.arguments.get("reason", ""),
    )
    proven = proposer.say(principal, body)
    return {"number": record.number, **_told(proven)}


def _observed(asked: Asked, about: About, text: str) -> JsonObject:
    principal, proposer = speaker_of(asked)
    name = asked.arguments.get("release")
    proven = proposer.say(principal, observation_body(about.value, text, release=name))
    human = f"conclave pause {name}" if about is About.PAUSE_REQUESTED else "conclave get observations"
    return {"about": about.value, **_told(proven), "forAHuman": human}


def speaker_of(asked: Asked) -> tuple[str, Proposer]:
    """Give who asks, and what speaks for it.

    Raises:
        Refused: TOOL_NOT_ALLOWED where nobody asks, or nothing here speaks for it.
    """
    if asked.principal is None or asked.proposer is None or not asked.proposer.speaks_for(asked.principal):
        raise not_spoken_for()
    return asked.principal, asked.proposer


def _record(view: View, name: str) -> ReleaseRecord | None:
    try:
        found = release_reader.release_record(view, name).value
    except Refused as refusal:
        if refusal.code is not Code.RELEASE_UNKNOWN:
            raise
        return None
    return found if found.state is not ReleaseState.DELETED else None


def _as_signed(view: View, record: ReleaseRecord, number: int) -> Release:
    """Give the content of a release's revision as its proposer signed it."""
    revision = view.read(lambda get: scopes.revision_record(get, record.name, number)).value
    found = release_reader.proposed(view, revision.content).value.change
    assert isinstance(found, Release), "the content of a revision is a release"
    return found


def _asked_for(
    asked: Asked, tool: str, change: JsonObject, made: tuple[ReleaseRecord | None, Release | None, Release]
) -> JsonObject:
    """Propose a change that makes ``made`` (record, content now, content then) of a release."""
    principal, proposer = speaker_of(asked)
    record, old, new = made
    reach = reach_of(old, new, () if record is None else record.clusters)
    against = 0 if record is None else record.revision
    wanted = Wanted(tool, change, reach, asked.arguments["reason"], against)
    if asked.arguments.get("dryRun"):
        return _rehearsed(asked, made, reach, proposer.rehearse(principal, wanted))
    proposed = proposer.propose(principal, wanted)
    number = proposed.proven.receipt.number
    found: JsonObject = {
        "number": number,
        "proposal": proposed.proven.receipt.proposal,
        **_told(proposed.proven),
    }
    if proposed.answer is not None:
        found["nodeSays"] = heard(proposed.answer.value, identities_of(asked.view), *_HEARD)
    return {
        **found,
        "forAHuman": f"conclave approve {number}",
        "next": f"explain_proposal with number {number}",
        "retryAfterSeconds": RETRY_AFTER_SECONDS,
    }


def _rehearsed(
    asked: Asked,
    made: tuple[ReleaseRecord | None, Release | None, Release],
    reach: Reach,
    answer: Answer | None,
) -> JsonObject:
    record, old, new = made
    return {
        "dryRun": True,
        "release": new.name,
        "revision": 0 if record is None else record.revision,
        "clusters": list(reach.clusters),
        "objects": compared(asked, () if old is None else old.manifests, new.manifests),
        "nodeSays": heard({} if answer is None else answer.value, identities_of(asked.view), *_HEARD),
    }


def _told(proven: ProvenReceipt) -> JsonObject:
    state = proven.receipt.state
    return {"state": None if state is None else state.value, "height": proven.height}


def _renderer() -> str:
    try:
        return f"conclave mcp {metadata.version('conclave')}"
    except metadata.PackageNotFoundError:
        return "conclave mcp"
