"""From a tool's name and arguments to an answer within its budget, with what proves it.

Owns the order of one call: read the arguments, open a proven view, list, prune, fence, select, fit, say
where to go on. Promises that an answer is never larger than ``ANSWER_BYTES_MAX`` (a proof file asked for
aside), that pages of one list are of one height, and that a stale answer says so. Knows no protocol.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consensus.reader import View
from ledger.errors import Code, Refused
from ledger.limits import KIB
from ledger.types import JsonObject, sha256
from mcp_server import pruning
from mcp_server.catalogue import BY_NAME, Tool
from mcp_server.fencing import fenced
from mcp_server.projection import project
from mcp_server.proposer import Proposer
from mcp_server.read_tools import Asked, Entry
from mcp_server.shown import shown
from mcp_server.source import Source

META_KEY = "conclave.internal/read"
ANSWER_BYTES_MAX = 24 * KIB
"""Of one answer's JSON; some six thousand tokens."""
FRAME_BYTES_MAX = KIB
"""What an answer holds besides its entries."""
LOOKED_AT_MAX = 200
"""Entries that one call makes, those that a filter leaves out too."""
PAGE_SECONDS_MAX = 10.0
"""After which no further entry is begun: a node may be slow without lying."""
KEYS_LISTED_MAX = 32
_PAGE_SIZE = 25
_CURSOR = re.compile(r"([1-9][0-9]{0,15})\.([0-9]{1,9})")
_STALE = "STALE: no newer block is known; the chain rests, or the node withholds what is newer"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answers, what a client may keep of its proof, and the objects that it shows (``shown``)."""

    content: JsonObject
    meta: JsonObject
    shown: tuple[str, ...] = ()


def tool_named(name: str) -> Tool:
    """Find a tool.

    Raises:
        Refused: NAME_UNKNOWN.
    """
    found = BY_NAME.get(name)
    if found is None:
        raise Refused(
            Code.NAME_UNKNOWN, got="another name", expected=", ".join(BY_NAME), todo="see: tools/list"
        )
    return found


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls (None: nobody known), and what speaks for agents here (None: this server only reads)."""

    did: str | None = None
    proposer: Proposer | None = None


def answer(
    source: Source,
    tool: Tool,
    given: object,
    *,
    caller: Caller | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Answer a call.

    Args:
        source: the ledger.
        tool: which.
        given: arguments as they came, unread.
        caller: who calls.
        clock: gives seconds.

    Raises:
        Refused: what the arguments break, or what the ledger does not have.
        VerificationFailed, EnvironmentFault: as ``View.read``.
    """
    read, late = tool.read(given), clock() + PAGE_SECONDS_MAX
    height, start = _place(read)
    view = source.view(height)
    who = caller or Caller()
    asked = Asked(source, view, read, who.did, who.proposer)
    entries = tool.run(asked)
    # A proof file is whole or useless; its own limit holds.
    bytes_max = None if read.get("inline") else ANSWER_BYTES_MAX - FRAME_BYTES_MAX
    items, objects, end = _page(asked, tool, entries[start:], bytes_max, lambda: clock() > late)
    end += start
    content: JsonObject = {"items": items}
    if end < len(entries):
        content["next"] = f"{view.height}.{end}"
    note = tool.note(asked)
    if note is not None:
        content["note"] = note
    return Answer(content | {"readAt": _read_at(view, height)}, {META_KEY: _meta(view)}, objects)


def _place(read: JsonObject) -> tuple[int | None, int]:
    """Give the height asked for and the place in the list; a cursor holds both."""
    at: int | None = read.get("at")
    if "cursor" not in read:
        return at, 0
    found = _CURSOR.fullmatch(read["cursor"])
    if found is None or at not in (None, int(found[1])):
        raise Refused(
            Code.FIELD_INVALID,
            got="another cursor",
            expected="`next` of an answer, and no other height in `at`",
            field="arguments.cursor",
        )
    return int(found[1]), int(found[2])


def _page(
    asked: Asked,
    tool: Tool,
    entries: Sequence[Entry],
    bytes_max: int | None,
    is_late: Callable[[], bool],
) -> tuple[list[JsonObject], tuple[str, ...], int]:
    """Give the first entries, what they show and how many were looked at; one at least, whatever it costs."""
    limit = asked.arguments.get("limit", _PAGE_SIZE)
    found: list[JsonObject] = []
    objects: dict[str, None] = {}
    left, place = bytes_max, 0
    while place < min(len(entries), LOOKED_AT_MAX) and len(found) < limit and not (place and is_late()):
        made = entries[place]()
        if made is not None:
            item = fenced(pruning.clean(made, asked.source.digest_key))
            if "fields" in asked.arguments:
                item = project(item, asked.arguments["fields"], tool.told)
            if left is not None:
                if found and pruning.size(item) > left:
                    break
                item = pruning.fit(item, left)
                left -= pruning.size(item) + 1
            found.append(item)
            objects |= dict.fromkeys(shown(tool.name, asked.arguments, made))
        place += 1
    return found, tuple(objects), place


def _read_at(view: View, asked: int | None) -> JsonObject:
    found: JsonObject = {"height": view.height, "ageSeconds": view.age_ns // 10**9}
    if asked is not None:
        return found | {"asOf": True}
    return found | ({"stale": _STALE} if view.is_stale else {})


def _meta(view: View) -> JsonObject:
    keys = [key.decode("ascii", "replace") for key in view.keys_read]
    return {
        "chainId": view.chain_id,
        "height": view.height,
        "ageSeconds": view.age_ns // 10**9,
        "isStale": view.is_stale,
        "proof": {
            "height": view.height,
            "provenBy": view.height + 1,
            "keys": keys[:KEYS_LISTED_MAX],
            "keyCount": len(keys),
            "keysDigest": sha256("\n".join(keys).encode()).hex(),
        },
    }
