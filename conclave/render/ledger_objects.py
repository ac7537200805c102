"""Ledger objects an operator wrote: roles, bindings, rules, identities … in YAML files.

Owns telling them from a release's manifests, and the order in which they are put. Promises that a source is
either all ledger objects or none. Never judges their specs: the ledger does.
"""

from __future__ import annotations

from pathlib import Path

from conclave.render import yaml_files
from conclave.render.sources import CHART_NAME, KUSTOMIZATION_NAMES, RELEASE_NAMES, is_file, is_folder
from conclave.render.strict_yaml import Document
from ledger.changes import PUT_KINDS, read_change
from ledger.errors import Code, Refused
from ledger.types import API_VERSION, JsonObject

_GROUP = API_VERSION.partition("/")[0]
_ORDER = (
    "Cluster",
    "Identity",
    "Role",
    "RoleBinding",
    "ApprovalRule",
    "BreakGlass",
    "Parameters",
    "Validator",
    "Upgrade",
    "AgentPolicy",
)
"""What others name comes first, whatever the files are called."""
assert sorted(_ORDER) == sorted(PUT_KINDS)


def find(path: Path) -> list[JsonObject] | None:
    """Read the ledger objects in a file or folder; None where it holds something else.

    Raises:
        Refused: YAML_INVALID, USAGE for a mixture, LIMIT_EXCEEDED, OBJECT_DUPLICATE, a field code.
    """
    special = (*RELEASE_NAMES, *KUSTOMIZATION_NAMES, CHART_NAME)
    if path.name in special or (is_folder(path) and any(is_file(path / name) for name in special)):
        return None
    documents, _ = yaml_files.read(path, frozenset())
    ours = [document for document in documents if _is_ours(document)]
    if not ours:
        return None
    if len(ours) != len(documents):
        other = next(document for document in documents if not _is_ours(document))
        raise Refused(
            Code.USAGE,
            got=f"{path}: ledger objects, and other documents such as {other.file}:{other.line}",
            expected="a source of ledger objects only, or a release",
            todo="put them into folders of their own, and propose each",
        )
    put = sorted((document.value for document in ours), key=lambda value: _ORDER.index(value["kind"]))
    read_change({"configure": {"put": put}}, str(path), image_digest_required=False)
    return put


def _is_ours(document: Document) -> bool:
    value = document.value
    if not isinstance(value, dict) or value.get("kind") not in _ORDER:
        return False
    return str(value.get("apiVersion", "")).partition("/")[0] == _GROUP
