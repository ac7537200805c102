"""Ledger objects by URI, and the names that complete one.

Owns the ``conclave://`` URIs. Promises that each is a read tool's answer by another name, so that there is no
second way to read. Pure but for the names, which are read with proof.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from consensus import ledger_reader, release_reader
from consensus.listing import listing
from consensus.reader import View
from ledger import statekeys
from ledger.errors import Code, Refused
from ledger.types import JsonObject
from mcp_server.authority_tools import OBJECT_KINDS, identity_of

LISTED_MAX = 100
COMPLETIONS_MAX = 100
URI_BYTES_MAX = 256
LISTS = {
    "clusters": ("get_clusters", "Clusters of the ledger"),
    "releases": ("get_releases", "Status of every release on every cluster"),
    "proposals": ("get_proposals", "Proposals, newest first"),
    "incidents": ("get_incidents", "Freezes and incidents, newest first"),
}
TEMPLATES = {
    "conclave://cluster/{cluster}": "A cluster",
    "conclave://release/{release}": "A release: its newest revision and objects",
    "conclave://proposal/{number}": "A proposal with its difference",
    "conclave://identity/{identity}": "A subject and its keys",
    "conclave://object/{kind}/{name}": "A role, binding, approval rule or break-glass object",
}
TEMPLATE_TOOLS = {
    "cluster": "get_clusters",
    "release": "get_object",
    "proposal": "explain_proposal",
    "identity": "get_object",
    "object": "get_object",
}
_URI = re.compile(r"conclave://([a-z]{1,16})(?:/([A-Za-z0-9-]{1,63}))?(?:/([a-z0-9-]{1,63}))?")


def tool_of(uri: str) -> tuple[str, JsonObject]:
    """Give the tool and the arguments that answer a URI.

    Raises:
        Refused: NAME_UNKNOWN.
    """
    found = _URI.fullmatch(uri) if len(uri) <= URI_BYTES_MAX else None
    if found is not None:
        sort, one, other = found.groups()
        if one is None and sort in LISTS:
            return LISTS[sort][0], {}
        if one is not None and other is None:
            told = _one(sort, one)
            if told is not None:
                return told
        if sort == "object" and other is not None and one in OBJECT_KINDS.values():
            return "get_object", {"kind": one, "name": other}
    raise Refused(
        Code.NAME_UNKNOWN, got="another URI", expected=" | ".join(TEMPLATES), todo="see: resources/list"
    )


def sort_of(template: str) -> str:
    """Give what a template's URIs are of."""
    return template.removeprefix("conclave://").split("/")[0]


def uri_of(argument: str, name: str, given: dict[str, str]) -> str | None:
    """Give the URI of what a completion names; None where it names no object of the ledger."""
    if argument == "name":
        return f"conclave://object/{given.get('kind', '')}/{name}"
    sort = "proposal" if argument == "number" else argument
    return f"conclave://{sort}/{name}" if sort in TEMPLATE_TOOLS else None


def _one(sort: str, name: str) -> tuple[str, JsonObject] | None:
    if sort == "cluster":
        return "get_clusters", {"name": name}
    if sort in ("release", "identity"):
        return "get_object", {"kind": sort.capitalize(), "name": name}
    if sort == "proposal" and name.isdecimal() and len(name) < 10:
        return "explain_proposal", {"number": int(name)}
    return None


def listed(view: View) -> list[tuple[str, str]]:
    """List resources as (URI, what it is): every list, then clusters and releases by name."""
    found = [(f"conclave://{name}", about) for name, (_, about) in LISTS.items()]
    for sort, names in (
        ("cluster", ledger_reader.clusters(view).value),
        ("release", release_reader.all_releases(view).value),
    ):
        found += [(f"conclave://{sort}/{name}", f"{sort.capitalize()} {name}") for name in names[:LISTED_MAX]]
    return found


def completions(view: View, argument: str, begun: str, given: dict[str, str]) -> list[str]:
    """List what an argument of a URI or of a prompt may be, by how it begins.

    Args:
        view: the state to read.
        argument: its name.
        begun: what is typed so far.
        given: the arguments before it.
    """
    return [name for name in _names(view, argument, given) if name.startswith(begun)]


def _names(view: View, argument: str, given: dict[str, str]) -> list[str]:
    kind = given.get("kind", "")
    if argument == "name" and kind in OBJECT_KINDS.values():
        return list(view.read(lambda get: listing(get, statekeys.index_objects(kind))).value)
    reader = _READERS.get(argument)
    return [] if reader is None else list(reader(view))


def _subjects(view: View) -> list[str]:
    dids = view.read(lambda get: listing(get, statekeys.INDEX_IDENTITIES, limit=COMPLETIONS_MAX)).value
    return sorted(identity_of(view, did).name for did in dids)


def _numbers(view: View) -> list[str]:
    return [str(record.number) for record in release_reader.proposals(view, newest=COMPLETIONS_MAX).value]


_READERS: dict[str, Callable[[View], Sequence[str]]] = {
    "cluster": lambda view: ledger_reader.clusters(view).value,
    "release": lambda view: release_reader.all_releases(view).value,
    "identity": _subjects,
    "number": _numbers,
    "kind": lambda _: tuple(OBJECT_KINDS.values()),
}
