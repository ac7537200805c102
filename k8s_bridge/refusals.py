"""What the API server refuses, in our own errors.

Owns the one place where an answer that is no success gets its code, its facts and what to do. Promises that
an answer of any form gives an error of bounded size, and that ``permanent`` is told of what the same request
would meet again. Never asks anything.

Source: Kubernetes API concepts (Status); kubernetes notes, trap 4.
"""

from __future__ import annotations

import json

from kubernetes.dynamic.exceptions import DynamicApiError

from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

UNAUTHORIZED, FORBIDDEN, TOO_LARGE = 401, 403, 413
MESSAGE_CHARACTERS_MAX = 240
_LASTING = frozenset({400, 405, 406, 413, 415, 422})
"""Refusals of the request as it is: the same again is refused again. Rights (403) and namespaces (404) may
come without the object or its manifest changing."""
_LASTING_500 = ("failed to create typed patch object", "request is too large")
"""What is answered with 500 for ever: an apply body of a wrong form, an object too large for etcd."""
_GOING = "NamespaceTerminating"
"""The cause of a refusal to make something in a namespace that is being deleted."""
_GOING_TODO = "wait, or remove what holds the namespace's finalizers"


def refused(error: DynamicApiError, about: str, server: str) -> EnvironmentFault:
    """Make our error of an answer that is no success.

    Args:
        error: as the client library raises it.
        about: the object's id.
        server: the API server's address.
    """
    try:
        status = json.loads(error.body or "")
    except (ValueError, TypeError, RecursionError):
        status = {}
    status = status if isinstance(status, dict) else {}
    message, cause = str(status.get("message") or error.reason), _cause(status)
    return EnvironmentFault(
        _code(error.status, cause),
        got=f"{error.status} {_middle_out(message)}",
        expected="the API server to accept the request",
        todo=_GOING_TODO if cause == _GOING else _todo(error.status, message),
        status=error.status,
        reason=str(status.get("reason") or error.reason),
        object=about,
        permanent=error.status in _LASTING or any(text in message for text in _LASTING_500),
        server=server,
    )


def _code(status: int, cause: str) -> Code:
    if cause == _GOING:
        return Code.OBJECT_TERMINATING
    return Code.KUBERNETES_FORBIDDEN if status == FORBIDDEN else Code.KUBERNETES_REFUSED


def _cause(status: JsonObject) -> str:
    """Give the first cause that a refusal names."""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    first = causes[0] if isinstance(causes, list) and causes else None
    return str(first.get("reason")) if isinstance(first, dict) else ""


def _middle_out(message: str) -> str:
    """Shorten a message that quotes whole objects: what it is about is at its ends."""
    if len(message) <= MESSAGE_CHARACTERS_MAX:
        return message
    half = MESSAGE_CHARACTERS_MAX // 2
    return f"{message[:half]} … {message[-half:]}"


def _todo(status: int, message: str) -> str:
    if status == UNAUTHORIZED:
        return "replace the token or certificate that the kubeconfig names; it is read again"
    if status == FORBIDDEN:
        return "have the administrator apply what `conclave bridge manifests` prints, or see the message"
    if status == TOO_LARGE or "request is too large" in message or "Too long" in message:
        return "make the object smaller: a request may have 3 MiB, etcd keeps 1.5 MiB, a ConfigMap 1 MiB"
    return "see the message"
