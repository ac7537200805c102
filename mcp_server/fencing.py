"""What in an answer somebody else wrote in free words, and so is shown fenced.

Owns which texts those are: reasons and notes of people and agents, messages of clusters, and the annotations
of objects, however deep and in differences too. Promises that each is fenced once, after secrets were taken
out and before anything is chosen or cut; that a word that can only be a name stays bare; and the same output
for the same input. Pure. Source: docs/spec/mcp-guard.md §6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ledger.errors import Code, Refused
from ledger.types import Json, JsonObject
from mcp_server.guard.fence import fence, is_fenced

_FREE = frozenset({"reason", "text", "message"})
_CONTENT = frozenset({"manifest", "spec", "from", "to"})
"""Below these stands what people signed: names there are the object's own."""
_ANNOTATIONS = "annotations"
_BARE = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._:/@=+]{0,62}|\[secret [0-9a-f]{16}\]|")
_STEPS = re.compile(r"[.\[\]]")


def fenced(item: JsonObject) -> JsonObject:
    """Give an entry of an answer with every text in it that somebody else wrote between two lines."""
    found: JsonObject = _fenced(item, "", is_content=False)
    return found


def check_bare(objects: Sequence[JsonObject], where: str) -> None:
    """Check that nothing of a fence was copied into the annotations of objects.

    Raises:
        Refused: FIELD_INVALID.
    """
    for number, each in enumerate(objects):
        if _has_fence(each, is_annotation=False):
            raise Refused(
                Code.FIELD_INVALID,
                got="an annotation as it was shown, fenced",
                expected="the text alone",
                todo="leave out the first and the last line, and `| ` before each line",
                field=f"{where}[{number}]",
            )


def _fenced(value: Json, source: str, *, is_content: bool) -> Json:
    if type(value) is dict:
        return {
            key: _fenced(
                inner,
                source or _source_of(key, value, is_content=is_content),
                is_content=is_content or key in _CONTENT,
            )
            for key, inner in value.items()
        }
    if type(value) is list:
        return [_fenced(inner, source, is_content=is_content) for inner in value]
    if source and type(value) is str and not _BARE.fullmatch(value):
        return fence(value, source)
    return value


def _source_of(key: str, beside: JsonObject, *, is_content: bool) -> str:
    if key == _ANNOTATIONS:
        return "annotation"
    if key in ("from", "to") and _ANNOTATIONS in _STEPS.split(str(beside.get("path", ""))):
        return "annotation"
    return key if key in _FREE and not is_content else ""


def _has_fence(value: Json, *, is_annotation: bool) -> bool:
    if type(value) is dict:
        return any(
            _has_fence(inner, is_annotation=is_annotation or key == _ANNOTATIONS)
            for key, inner in value.items()
        )
    if type(value) is list:
        return any(_has_fence(inner, is_annotation=is_annotation) for inner in value)
    return is_annotation and type(value) is str and is_fenced(value)
