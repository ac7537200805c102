"""Does something leave that should not: secrets, and content that hides what it is?

Owns the look through arguments and answers. Promises that a small or ordinary value costs a few searches of
its text; only what may hold something is walked. Facts say where and what kind, never what.
Source: docs/spec/mcp-guard.md §4.
"""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

from ledger.agent_policy import ExfiltrationLimits, ToolPolicy
from ledger.agent_rules import ObjectsRule
from ledger.errors import Code, Refused
from ledger.types import Json
from mcp_server.guard import disguise, opaque, secret_patterns, shape
from mcp_server.guard.limits import PIECE_CHARS_MIN
from mcp_server.guard.shape import Path, place, spell
from mcp_server.guard.state import Draft

OBJECT_PATHS = ("**.caBundle", "**.image", "data.*", "binaryData.*")
"""Where objects hold what looks random: certificates, images by digest, the content of ConfigMaps."""
_ANSWER_PATHS = ("**.caBundle", "**.image", "**.data.*", "**.binaryData.*")
_WHITE = re.compile(r"\\[nrt]")
_SEPARATOR = "\x1f"


class Leaving(NamedTuple):
    """What random-looking content there is: new pieces and identifiers, and characters where they belong."""

    characters: int
    identifiers: int
    allowed: int
    marks: tuple[bytes, ...]


def check_arguments(
    arguments: Json, text: str, tool: ToolPolicy, draft: Draft, limits: ExfiltrationLimits
) -> None:
    """Look through arguments and charge what looks random to the principal.

    Raises:
        Refused: TEXT_DISGUISED, SECRET_FOUND or EXFILTRATION_SUSPECTED with the path of the value.
    """
    if disguise.may_hide(text):
        _check_disguise(arguments)
    plain = _unescaped(text)
    _check_secrets(arguments, plain, "arguments")
    if opaque.may_hold(plain):
        _charge(_leaving(arguments, _paths_of(tool), draft, limits), draft, limits)


def check_answer(result: Json, text: str, tool: ToolPolicy, limits: ExfiltrationLimits) -> str:
    """Look through an answer; give where it has hidden characters, nothing where it has none.

    Raises:
        Refused: SECRET_FOUND or EXFILTRATION_SUSPECTED with the path of the value.
    """
    plain = _unescaped(text)
    _check_secrets(result, plain, "answer")
    if '"Secret"' in text:
        _check_secret_objects(result)
    if sum(map(len, opaque.find(plain).pieces)) > limits.answer_characters_max:
        _check_answer_pieces(result, (*_ANSWER_PATHS, *tool.opaque_paths), limits)
    if disguise.may_hide(text):
        return next((place(t) for t in shape.texts(result) if disguise.disguised(t.text)), "")
    return ""


def _check_disguise(value: Json) -> None:
    for text in shape.texts(value):
        found = disguise.disguised(text.text, is_name=text.name is None)
        if found:
            raise Refused(
                Code.TEXT_DISGUISED,
                got=found,
                expected="text that is what it seems",
                todo="leave the character out",
                field=place(text),
            )


def _unescaped(text: str) -> str:
    """Give JSON text as the patterns read it: quotes and ends of line within texts as they were."""
    return _WHITE.sub("\n", text).replace('\\"', '"')


def _check_secrets(value: Json, plain: str, what: str) -> None:
    if secret_patterns.find(plain):
        for found in shape.texts(value):
            kind = secret_patterns.find(found.text)
            if kind:
                raise _secret(place(found), kind)
        # Only together do a field's name and its value look like one.
        raise _secret(what, secret_patterns.find(plain))
    if secret_patterns.may_name(plain):
        for path, text, name in shape.texts(value):
            if name and secret_patterns.is_secret_by_name(name, text):
                raise _secret(spell(path), "by-name")


def _check_secret_objects(root: Json) -> None:
    pending = [root]
    while pending:
        value = pending.pop()
        if type(value) is list:
            pending.extend(value)
        elif type(value) is dict:
            if value.get("kind") == "Secret" and any(
                map(_has_content, map(value.get, ("data", "stringData")))
            ):
                raise _secret("answer", "secret-object")
            pending.extend(value.values())


_IN_PLACE = re.compile(r"\[secret [0-9a-f]{16}\]")


def _has_content(content: Json) -> bool:
    """Tell whether a Secret's content is there and is not what stands in its place."""
    if type(content) is not dict:
        return bool(content)
    return not all(type(v) is str and _IN_PLACE.fullmatch(v) for v in content.values())


def _leaving(value: Json, paths: tuple[str, ...], draft: Draft, limits: ExfiltrationLimits) -> Leaving:
    characters = identifiers = allowed = 0
    marks: dict[bytes, None] = {}
    known: dict[str, opaque.Found] = {}
    for at in shape.texts(value):
        if len(at.text) < PIECE_CHARS_MIN:
            continue
        found = known.get(at.text) or known.setdefault(at.text, opaque.find(at.text))
        if found is opaque.NOTHING:
            continue
        here = sum(map(len, found.pieces))
        if here and _is_allowed(at.path, paths):
            allowed += here
        elif here > limits.value_characters_max:
            raise _suspected(place(at), here, f"at most {limits.value_characters_max} characters in a value")
        else:
            for piece in found.pieces:
                mark = opaque.mark(piece)
                if mark not in draft.pieces and mark not in marks:
                    marks[mark] = None
                    characters += len(piece)
        for identifier in found.identifiers:
            mark = opaque.mark(identifier)
            if mark not in draft.pieces and mark not in marks:
                marks[mark] = None
                identifiers += 1
    return Leaving(characters, identifiers, allowed, tuple(marks))


def _charge(leaving: Leaving, draft: Draft, limits: ExfiltrationLimits) -> None:
    short = draft.pay(
        (
            ("*/opaqueCharacters", limits.opaque_characters, leaving.characters),
            ("*/identifiers", limits.identifiers, leaving.identifiers),
            ("*/allowedCharacters", limits.allowed_characters, leaving.allowed),
        )
    )
    if short is not None:
        name, rate, _ = short
        amounts = dict(zip(_CHARGED, (leaving.characters, leaving.identifiers, leaving.allowed), strict=True))
        raise _suspected(
            "arguments", amounts[name], f"at most {rate.capacity} new in {rate.per_seconds} s", sum=name[2:]
        )
    draft.remember_pieces(leaving.marks)


_CHARGED = ("*/opaqueCharacters", "*/identifiers", "*/allowedCharacters")


def _check_answer_pieces(value: Json, paths: tuple[str, ...], limits: ExfiltrationLimits) -> None:
    total = 0
    for at in shape.texts(value):
        here = sum(map(len, opaque.find(at.text).pieces))
        if here and not (_is_allowed(at.path, paths) or _is_allowed(_in_object(value, at.path), paths)):
            total += here
            if total > limits.answer_characters_max:
                raise _suspected(
                    place(at), total, f"at most {limits.answer_characters_max} characters in an answer"
                )


def _in_object(answer: Json, path: Path) -> Path:
    """Give where a text of a difference is in its object, as the entry's ``path`` tells; else where it is.

    Only where this server puts differences: what others wrote never stands there.
    """
    place_of = 2 + (path[2:3] == ("difference",))
    if path[place_of : place_of + 3 : 2] != ("objects", "paths") or path[place_of + 4 :][:1] not in _CHANGED:
        return path
    entry: Any = answer
    for step in path[: place_of + 4]:
        entry = entry[step]
    where = str(entry.get("path", ""))
    top, _, inner = where.partition(".")
    # Names in a ConfigMap, and those of annotations, may have dots.
    if top in _NAMING:
        return (top, *([inner] if inner else []), *path[place_of + 5 :])
    return (*where.split("."), *path[place_of + 5 :])


_CHANGED = (("from",), ("to",))
_NAMING = ("data", "binaryData", "metadata")


@functools.lru_cache(maxsize=1024)
def _paths_of(tool: ToolPolicy) -> tuple[str, ...]:
    objects = [rule.path.replace("[]", ".*") for rule in tool.arguments if isinstance(rule, ObjectsRule)]
    return (*tool.opaque_paths, *(f"{base}.*.{inner}" for base in objects for inner in OBJECT_PATHS))


def _is_allowed(path: Path, patterns: tuple[str, ...]) -> bool:
    return _compiled(patterns).fullmatch("".join(f"{p}{_SEPARATOR}" for p in path)) is not None


@functools.lru_cache(maxsize=1024)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join("".join(map(_step, p.split("."))) for p in patterns) or r"(?!)")


def _step(step: str) -> str:
    if step == "**":
        return rf"(?:[^{_SEPARATOR}]*{_SEPARATOR})*"
    return (rf"[^{_SEPARATOR}]*" if step == "*" else re.escape(step)) + _SEPARATOR


def _secret(where: str, kind: str) -> Refused:
    return Refused(
        Code.SECRET_FOUND,
        got=f"what looks like a secret ({kind})",
        expected="no key, token or password",
        todo="name a Secret of the cluster instead; if it was real, replace it",
        field=where,
        kind=kind,
    )


def _suspected(where: str, amount: int, expected: str, **facts: str) -> Refused:
    return Refused(
        Code.EXFILTRATION_SUSPECTED,
        got=f"{amount} that look random",
        expected=expected,
        todo="say it in words; an operator can allow the path in the agent's policy",
        field=where,
        **facts,
    )
