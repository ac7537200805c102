"""A node's unproven word, as far as a model may hear it.

Owns which parts of a dry run are handed on and in which form, and this server's own words for a refusal that
a node tells. Promises that no text of a node reaches a model: of what it says only numbers, names that the
ledger proves and words that we know are left. Pure. Source: docs/spec/ledger.md §4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger import shape
from ledger.authority.scope import Risk
from ledger.errors import Code, Refused
from ledger.limits import IDENTITIES_MAX, JSON_INTEGER_MAX
from ledger.receipt import code_of
from ledger.types import Json, JsonObject, ProposalState

NOTE = "the answering node's word, not a proof"
_APPROVERS_MAX = min(64, IDENTITIES_MAX)
_ROLES_MAX = 64
_DEFAULT = ("a proposal that the ledger's rules let pass", "docs/spec/codes.md says what the code means")
_REFUSALS: dict[Code, tuple[str, str]] = {
    Code.PERMISSION_DENIED: ("a role that lets the agent propose this", "ask an operator; propose less"),
    Code.NO_RULE_MATCHES: ("an approval rule that judges this", "ask an operator for a rule"),
    Code.AGENT_SUSPENDED: ("an agent that is not suspended", "a person looks at the audit and lifts it"),
    Code.AGENT_MAY_NOT_APPROVE: ("what an agent may do", "ask people: they approve, and reject"),
    Code.VERB_NOT_ALLOWED: ("what an agent may do", "ask a person"),
    Code.REQUIREMENT_CHANGED: ("the requirement as it is now", "look again and repeat it"),
    Code.PROPOSAL_UNKNOWN: ("a proposal of the ledger", "see get_proposals"),
    Code.PROPOSAL_NOT_OPEN: ("a proposal that is open", "see explain_proposal"),
    Code.PROPOSAL_EXPIRED: ("a proposal that is open", "propose again"),
    Code.RELEASE_UNKNOWN: ("a release of the ledger", "see get_releases"),
    Code.REVISION_UNKNOWN: ("a revision of the release", "see get_history"),
    Code.RELEASE_NOT_ACTIVE: ("a release that is not withdrawn or deleted", "propose it anew"),
    Code.RELEASE_CLUSTERS_CHANGED: ("all clusters of the newest revision, or more", "name them all"),
    Code.REVISION_CONFLICT: ("a change of the newest revision", "look at it and propose again"),
    Code.CLUSTER_UNKNOWN: ("clusters of the ledger", "see get_clusters"),
    Code.TARGETS_EMPTY: ("labels that a cluster has", "name the clusters"),
    Code.IMAGE_NOT_PINNED: ("every image as name@sha256:…", "find the digest"),
    Code.SECRET_WITH_DATA: ("a Secret without data", "a person creates the data on the cluster"),
    Code.OBJECT_INVALID: ("objects that can be part of a release", "correct the objects"),
    Code.OBJECT_DUPLICATE: ("each object once", "keep one"),
    Code.OBJECT_CLAIMED: ("objects that no other release has", "name them otherwise"),
    Code.FROZEN: ("a release that no freeze covers", "see get_incidents; people lift a freeze"),
    Code.MEMPOOL_BUSY: ("a node with room", "try again later"),
}


def in_our_words(refusal: Refused) -> Refused:
    """Give a refusal that a node told, by its code alone; that it is a node's word stands in ``todo``."""
    expected, todo = _REFUSALS.get(refusal.code, _DEFAULT)
    return Refused(refusal.code, expected=expected, todo=f"{todo} ({NOTE})")


Known = Callable[[Sequence[str]], Sequence[str]]
"""Gives those of some names that the ledger proves to be identities'."""


def heard(said: JsonObject, known: Known, *names: str) -> JsonObject:
    """Give of a node's answer what is asked for by name and has its form; the rest is left out.

    Args:
        said: a dry run's answer.
        known: judges names of people: one that a node made up could tell a model anything.
        names: of ``code``, ``missing``, ``approvers``, ``state`` and ``risk``.
    """
    found: JsonObject = {"proven": False, "note": NOTE}
    for name in names:
        if name in said:
            try:
                found |= _approvers(said[name], known) if name == "approvers" else _READERS[name](said[name])
            except Refused:
                # A lie or another version: either way nothing a model should read.
                continue
    return found


def _code(value: Json) -> JsonObject:
    code = code_of(value) if type(value) is int else None
    return {} if code is None else {"code": int(code), "name": code.name}


def _missing(value: Json) -> JsonObject:
    given = shape.fields(value, "missing", required=("humans", "organisations", "quorum"))
    roles = shape.array(given["quorum"], "missing.quorum", items_max=_ROLES_MAX)
    quorum = [shape.fields(role, "missing.quorum", required=("role", "count")) for role in roles]
    return {
        "missing": {
            "humans": _number(given["humans"]),
            "organisations": _number(given["organisations"]),
            "quorum": [
                {"role": shape.name(role["role"], "role"), "count": _number(role["count"])} for role in quorum
            ],
        }
    }


def _number(value: Json) -> int:
    return shape.integer(value, "missing", at_least=0, at_most=JSON_INTEGER_MAX)


def _approvers(value: Json, known: Known) -> JsonObject:
    names = shape.array(value, "approvers", items_max=IDENTITIES_MAX)
    found = [shape.name(name, "approvers") for name in names]
    more = len(found) - _APPROVERS_MAX
    approvers = list(known(found[:_APPROVERS_MAX]))
    return {"approvers": approvers} | ({"moreApprovers": more} if more > 0 else {})


_READERS: dict[str, Callable[[Json], JsonObject]] = {
    "code": _code,
    "missing": _missing,
    "state": lambda value: {"state": shape.choice(value, "state", [state.value for state in ProposalState])},
    "risk": lambda value: {"risk": shape.choice(value, "risk", [risk.value for risk in Risk])},
}
