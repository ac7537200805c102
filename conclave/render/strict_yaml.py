"""Strict reading of YAML and JSON files.

Owns the way from the bytes of one file to JSON values. Promises: every fault names file, line and column;
duplicate keys are refused; depth, size, node count and alias expansion are bounded; no tag can make anything
but a JSON value. Built on PyYAML's event stream (libyaml where present), never on its constructors.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from conclave.render.scalars import NotFiniteError, TooManyDigitsError, plain_value
from ledger.errors import Code, Refused
from ledger.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX, MIB
from ledger.types import Json, JsonObject

FILE_BYTES_MAX = 16 * MIB
NODES_PER_FILE_MAX = 1_000_000
"""Scalars, maps and lists of one file with every alias expanded. Argo CD's 1.9 MB manifest has 80,000."""
DEPTH_MAX = JSON_DEPTH_MAX - 8
"""Room for the proposal around the manifest."""

_TAG = "tag:yaml.org,2002:"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, the file's name as shown to people, the line it starts at (from 1)."""

    value: Json
    file: str
    line: int


@dataclass(slots=True)
class _Frame:
    value: JsonObject | list[Json]
    anchor: str | None
    first_node: int
    height: int = 1
    key: str | None = None
    lines: dict[str, int] = field(default_factory=dict)
    merges: list[JsonObject] = field(default_factory=list)


def read_documents(content: bytes, file: str) -> list[Document]:
    """Read every document of a YAML file; empty ones are left out.

    Args:
        content: the file's bytes, UTF-8.
        file: its name for people.

    Raises:
        Refused: YAML_INVALID, LIMIT_EXCEEDED or BODY_NUMBER_OUT_OF_RANGE, with facts file, line and column.
    """
    text = _decode(content, file)
    if file.endswith(".json"):
        return [Document(_read_json(text, file), file, 1)]
    builder = _Builder(file)
    try:
        return [document for document in builder.documents(text) if document.value is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        column = mark.column + 1 if mark else 1
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise _refusal(file, line, column, str(problem)) from error


def _decode(content: bytes, file: str) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{file}: {len(content)} bytes",
            expected=f"at most {FILE_BYTES_MAX} bytes",
            todo="split the file",
            file=file,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise _refusal(file, line, column, "bytes that are not UTF-8") from error


class _Builder:
    """Turns the events of one file into values, without recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.nodes = 0
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Json, int, int]] = {}
        self.root: Json = None
        self.mark: Any = yaml.Mark(file, 0, 0, 0, "", 0)

    def documents(self, text: str) -> Iterator[Document]:
        """Yield each document as it ends."""
        line = 1
        for event in yaml.parse(text, Loader=_LOADER):
            self.mark = event.start_mark or self.mark
            if isinstance(event, yaml.DocumentStartEvent):
                line = 0
                self.anchors = {}
                self.root = None
            elif isinstance(event, yaml.DocumentEndEvent):
                yield Document(self.root, self.file, line)
            else:
                line = line or self.mark.line + 1
                self._take(event)

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._count(1)
            is_merge = event.implicit[0] and event.value == "<<"
            value = "<<" if is_merge else self._scalar(event)
            self._anchor(event.anchor, value, (1, 0))
            self._put(value, merge=is_merge)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open({}, event, "map")
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], event, "seq")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()

    def _open(self, value: JsonObject | list[Json], event: Any, kind: str) -> None:
        if event.tag not in (None, "!", _TAG + kind):
            self._refuse(f"tag {event.tag}")
        if len(self.stack) >= DEPTH_MAX:
            self._limit(f"nesting deeper than {DEPTH_MAX}")
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            self._refuse("a map or list as a key")
        if event.anchor:
            self.anchors.pop(event.anchor, None)
        self.stack.append(_Frame(value, event.anchor, self.nodes))
        self._count(1)

    def _close(self) -> None:
        frame = self.stack.pop()
        if frame.merges and isinstance(frame.value, dict):
            for source in frame.merges:
                for key, value in source.items():
                    frame.value.setdefault(key, value)
        self._anchor(frame.anchor, frame.value, (self.nodes - frame.first_node, frame.height))
        self._raise_parent(frame.height)
        self._put(frame.value)

    def _raise_parent(self, height: int) -> None:
        if self.stack:
            self.stack[-1].height = max(self.stack[-1].height, height + 1)

    def _anchor(self, name: str | None, value: Json, extent: tuple[int, int]) -> None:
        if name:
            self.anchors[name] = (value, *extent)

    def _alias(self, name: str | None) -> None:
        found = self.anchors.get(name or "")
        if found is None:
            self._refuse(f"alias *{name} to an anchor that is unknown or still open")
        value, size, height = found
        self._count(size)
        if len(self.stack) + height > DEPTH_MAX:
            self._limit(f"nesting deeper than {DEPTH_MAX}, aliases expanded")
        self._raise_parent(height)
        self._put(copy.deepcopy(value))

    def _count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > NODES_PER_FILE_MAX:
            self._limit(f"more than {NODES_PER_FILE_MAX} values, aliases expanded")

    def _scalar(self, event: Any) -> Json:
        tag = event.tag
        if tag is None and not event.implicit[0]:
            return event.value
        if tag in ("!", _TAG + "str", _TAG + "timestamp"):
            return event.value
        try:
            value = plain_value(event.value)
        except NotFiniteError:
            self._refuse(f"{event.value}: JSON has no infinity and no not-a-number")
        except TooManyDigitsError:
            self._number_refused(event.value)
        if isinstance(value, int | float) and abs(value) > JSON_INTEGER_MAX:
            self._number_refused(event.value)
        names = {"int": int, "float": int | float, "bool": bool, "null": type(None)}
        if tag is not None:
            wanted = names.get(tag.removeprefix(_TAG))
            if wanted is None or not isinstance(value, wanted):
                self._refuse(f"tag {tag} on {event.value[:40]!r}")
        return value

    def _put(self, value: Json, *, merge: bool = False) -> None:
        if not self.stack:
            self.root = value
            return
        frame = self.stack[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is None:
            self._put_key(frame, value)
        elif frame.key == "<<" and frame.lines.get("<<") == -1:
            self._put_merge(frame, value)
        else:
            frame.value[frame.key] = value
            frame.key = None
        if merge and isinstance(frame.value, dict) and frame.key == "<<":
            frame.lines["<<"] = -1

    def _put_key(self, frame: _Frame, value: Json) -> None:
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int | float):
            value = str(value)
        if not isinstance(value, str):
            self._refuse("a key that is no text")
        if value in frame.lines:
            first = frame.lines[value]
            self._refuse(f"key {value!r} twice" + (f", first at line {first}" if first > 0 else ""))
        frame.key = value
        frame.lines[value] = self.mark.line + 1

    def _put_merge(self, frame: _Frame, value: Json) -> None:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            self._refuse("a merge key << whose value is no map")
        frame.merges.extend(sources)
        frame.key = None

    def _path(self) -> str:
        return "".join(
            f"[{len(frame.value)}]" if isinstance(frame.value, list) else f".{frame.key or ''}"
            for frame in self.stack
        ).lstrip(".")

    def _refuse(self, problem: str) -> NoReturn:
        raise _refusal(self.file, self.mark.line + 1, self.mark.column + 1, problem, self._path())

    def _limit(self, problem: str) -> NoReturn:
        raise _refusal(
            self.file, self.mark.line + 1, self.mark.column + 1, problem, self._path(), Code.LIMIT_EXCEEDED
        )

    def _number_refused(self, text: str) -> NoReturn:
        raise Refused(
            Code.BODY_NUMBER_OUT_OF_RANGE,
            got=f"{self.file}:{self.mark.line + 1}: {text[:40]} at {self._path()}",
            expected="numbers of magnitude below 2^53 (JSON readers differ beyond)",
            todo="quote it if it is an identifier, or write a smaller number",
            file=self.file,
            line=self.mark.line + 1,
            column=self.mark.column + 1,
            path=self._path(),
        )


def _read_json(text: str, file: str) -> Json:
    def no_twins(pairs: list[tuple[str, Json]]) -> JsonObject:
        value = dict(pairs)
        if len(value) != len(pairs):
            keys = [key for key, _ in pairs]
            twin = next(key for key in keys if keys.count(key) > 1)
            raise _refusal(file, 1, 1, f"key {twin!r} twice in one object")
        return value

    def no_constant(name: str) -> NoReturn:
        raise _refusal(file, 1, 1, f"{name}: JSON has no infinity and no not-a-number")

    try:
        value = json.loads(text, object_pairs_hook=no_twins, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise _refusal(file, error.lineno, error.colno, error.msg) from error
    except RecursionError as error:
        raise _refusal(file, 1, 1, f"nesting deeper than {DEPTH_MAX}", "", Code.LIMIT_EXCEEDED) from error
    except ValueError as error:  # CPython's own cap on digits of one integer
        raise _refusal(file, 1, 1, "a number of too many digits") from error
    return _check_json(value, file)


def _check_json(value: Json, file: str) -> Json:
    """Bound depth and numbers of parsed JSON; gives it back with integral floats as integers."""
    root = [value]
    stack: list[tuple[Any, Any, str, int]] = [(root, 0, "", 0)]
    while stack:
        holder, key, path, depth = stack.pop()
        item = holder[key]
        if depth > DEPTH_MAX:
            raise _refusal(file, 1, 1, f"nesting deeper than {DEPTH_MAX}", path[:200], Code.LIMIT_EXCEEDED)
        if isinstance(item, int | float) and not isinstance(item, bool):
            if abs(item) > JSON_INTEGER_MAX:
                raise Refused(
                    Code.BODY_NUMBER_OUT_OF_RANGE,
                    got=f"{file}: number at {path}",
                    expected="numbers of magnitude below 2^53",
                    file=file,
                    path=path,
                )
            holder[key] = int(item) if isinstance(item, float) and item.is_integer() else item
        elif isinstance(item, dict):
            stack.extend((item, name, f"{path}.{name}".lstrip("."), depth + 1) for name in item)
        elif isinstance(item, list):
            stack.extend((item, index, f"{path}[{index}]", depth + 1) for index in range(len(item)))
    return root[0]


def _refusal(
    file: str, line: int, column: int, problem: str, path: str = "", code: Code = Code.YAML_INVALID
) -> Refused:
    facts: dict[str, Json] = {"file": file, "line": line, "column": column}
    if path:
        facts["path"] = path
    return Refused(
        code,
        got=f"{file}:{line}:{column}: {problem}",
        expected="plain YAML or JSON of bounded size, each key once",
        todo="correct the file at that place",
        **facts,
    )
