"""What of a ledger object a model gets to see, and how much.

Owns the dropping of what says nothing, the digests in place of what looks like a secret, and the byte budget.
Promises that the same input gives the same output, that no answer is larger than its budget, that whatever
was cut says so, and that the forms of secrets are those of the guard (``mcp_server.guard.secret_patterns``):
what it would withhold an answer for is a digest before. Pure: the key of the digests is an argument.
"""

from __future__ import annotations

import hmac
import json
import re
import unicodedata
from collections.abc import Callable
from hashlib import sha256

from ledger.types import Json, JsonObject
from mcp_server.guard import secret_patterns
from mcp_server.guard.fence import is_fenced, shortened

_DROPPED = frozenset({"managedFields"})
_SECRET_NAME = re.compile(
    r"(?i)(password|passwd|passphrase|secret|token|api[-_.]?key|private[-_.]?key|access[-_.]?key|credentials?)$"
)
_STEPS = ((2048, 128), (512, 32), (128, 8), (48, 2), (16, 1))
"""How many characters of a text and items of a list stay, tried in turn until an item fits."""
_DIGEST_CHARACTERS = 16


def clean(value: Json, key: bytes) -> Json:
    """Give ``value`` without nulls and managed fields, secrets as digests, invisible characters spelt out.

    Args:
        value: JSON.
        key: of the digests; one for a process, so that they compare within it and cannot be guessed outside.
    """
    return _clean(value, "", lambda text: _digest(text, key))


def withholds(value: Json) -> bool:
    """Tell whether ``clean`` puts a digest in place of anything in ``value``."""
    found: list[str] = []

    def taken(text: str) -> str:
        found.append(text)
        return ""

    _clean(value, "", taken)
    return bool(found)


def size(value: Json) -> int:
    """Give the bytes of ``value`` as it goes over the wire."""
    return len(dump(value).encode())


def dump(value: Json) -> str:
    """Give compact JSON; a text that is no Unicode was spelt out by ``clean``."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fit(item: JsonObject, bytes_max: int) -> JsonObject:
    """Give ``item`` if it fits, else as much of it as does, with ``truncated`` set.

    Args:
        item: cleaned JSON.
        bytes_max: the budget; at least a hundred.
    """
    if size(item) <= bytes_max:
        return item
    for characters, items in _STEPS:
        cut: JsonObject = {**_cut(item, characters, items), "truncated": True}
        if size(cut) <= bytes_max:
            return cut
    kept: JsonObject = {"truncated": True}
    for name, value in item.items():
        plain = value if type(value) in (int, bool) else None
        short = value[: _STEPS[-1][0]] if type(value) is str else plain
        if short is not None and size({**kept, name: short}) <= bytes_max:
            kept[name] = short
    return kept


def _clean(value: Json, name: str, digest: Callable[[str], str]) -> Json:
    if type(value) is dict:
        # {"name": "DB_PASSWORD", "value": "…"} is how a container is given one.
        label = value.get("name")
        spoken = label if type(label) is str and "value" in value else ""
        return {
            _key(key, digest): _clean(item, spoken if key == "value" and spoken else key, digest)
            for key, item in value.items()
            if item is not None and key not in _DROPPED
        }
    if type(value) is list:
        return [_clean(item, name, digest) for item in value if item is not None]
    if type(value) is not str:
        return value
    if value and (_SECRET_NAME.search(name) or _is_secret(name, value)):
        return digest(value)
    return _visible(value)


def _key(key: str, digest: Callable[[str], str]) -> str:
    return digest(key) if secret_patterns.find(key) else _visible(key)


def _is_secret(name: str, value: str) -> bool:
    """Tell whether a value has a secret's form, alone or beside its name as in ``"auth":"…"``."""
    return bool(
        secret_patterns.find_plain(f'"{name}":"{value}"')
        or secret_patterns.is_secret_by_name(name, value)
        or (secret_patterns.may_encode(value) and secret_patterns.find(value))
    )


def _digest(text: str, key: bytes) -> str:
    made = hmac.new(key, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()
    return f"[secret {made[:_DIGEST_CHARACTERS]}]"


def _visible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or _is_shown(c) else f"\\u{{{ord(c):x}}}" for c in text)


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _cut(value: Json, characters: int, items: int) -> Json:
    if type(value) is str:
        if is_fenced(value):
            return shortened(value, characters)
        left = len(value) - characters
        return value if left <= 0 else f"{value[:characters]}… [{left} characters more]"
    if type(value) is list:
        kept = [_cut(item, characters, items) for item in value[:items]]
        return kept if len(value) <= items else [*kept, f"… [{len(value) - items} more]"]
    if type(value) is dict:
        names = list(value)[: max(items, 16)]
        kept_fields = {name[:characters]: _cut(value[name], characters, items) for name in names}
        return (
            kept_fields
            if len(names) == len(value)
            else kept_fields | {"…": f"{len(value) - len(names)} more"}
        )
    return value
