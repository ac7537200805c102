"""The shape of a kubeconfig file, checked before the Kubernetes client reads it.

Owns the plain words for what is wrong with one: the client's own loader answers a file of another shape with
whatever exception it runs into. Promises that a file of any bytes, size or depth passes or is refused with
the field. It resolves nothing: names, credentials and relative paths are the loader's.

Source: client-go tools/clientcmd/api/v1 (Config).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ledger.errors import Code, EnvironmentFault
from ledger.limits import MIB

FILE_BYTES_MAX = 4 * MIB
"""Certificates and keys may stand in it."""
DEPTH_MAX = 64
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LISTS = {"clusters": "cluster", "contexts": "context", "users": "user"}
_KINDS = {dict: "a map", list: "a list", str: "plain text", type(None): "nothing"}


def check(path: str) -> None:
    """Check that the file ``path`` looks like a kubeconfig.

    Raises:
        EnvironmentFault: KUBECONFIG_INVALID, with the file, and the field or the line.
    """
    config = _load(path)
    if not isinstance(config, dict):
        raise invalid(path, f"a file that holds {_kind(config)}", "a map with clusters, contexts and users")
    if config.get("kind", "Config") != "Config":
        raise invalid(path, f"kind {config['kind']}", "kind Config", field="kind")
    for name, inner in _LISTS.items():
        entries = config.get(name)
        if entries is None:
            continue  # another file of KUBECONFIG may have it, and a user is not always needed
        if not isinstance(entries, list):
            raise invalid(path, _kind(entries), "a list", field=name)
        for index, entry in enumerate(entries):
            _check_entry(path, entry, inner, f"{name}[{index}]")


def invalid(path: str, got: object, expected: str, **facts: Any) -> EnvironmentFault:
    """Make the refusal of a kubeconfig."""
    return EnvironmentFault(
        Code.KUBECONFIG_INVALID,
        got=got,
        expected=expected,
        todo="name a kubeconfig with --kubeconfig or KUBECONFIG, or run inside a pod with a service account",
        file=path,
        **facts,
    )


def _check_entry(path: str, entry: object, inner: str, where: str) -> None:
    if not isinstance(entry, dict):
        raise invalid(path, _kind(entry), f"a map with name and {inner}", field=where)
    if not isinstance(entry.get("name"), str):
        raise invalid(path, _kind(entry.get("name")), "text", field=f"{where}.name")
    value = entry.get(inner)
    if not isinstance(value, dict) and not (inner == "user" and value is None):
        raise invalid(path, _kind(value), "a map", field=f"{where}.{inner}")
    if inner == "cluster":
        server = value.get("server") if isinstance(value, dict) else None
        if not isinstance(server, str) or not server.startswith(("https://", "http://")):
            shown = server if isinstance(server, str) else _kind(server)
            raise invalid(
                path, shown, "the address of an API server, https://…", field=f"{where}.cluster.server"
            )


def _load(path: str) -> Any:
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else error
        raise invalid(path, got, "a file that can be read") from None
    if len(content) > FILE_BYTES_MAX:
        raise invalid(path, f"more than {FILE_BYTES_MAX} bytes", f"at most {FILE_BYTES_MAX}")
    try:
        _check_bounds(path, content)
        return yaml.load(content, Loader=_LOADER)  # noqa: S506  the safe loader, in C where present
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = {} if mark is None else {"line": mark.line + 1}
        raise invalid(path, getattr(error, "problem", None) or error, "a YAML file", **where) from None


def _check_bounds(path: str, content: bytes) -> None:
    """Refuse depth and aliases: what is built from the events is then no larger than the file."""
    depth = 0
    for event in yaml.parse(content, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX or isinstance(event, yaml.AliasEvent):
            got = "an alias" if depth <= DEPTH_MAX else f"more than {DEPTH_MAX} levels"
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise invalid(path, got, "a kubeconfig", line=line)


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")
