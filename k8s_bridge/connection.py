"""The wire to the Kubernetes API server: finding it, asking it, bounding what it says.

Owns the configuration (a file, ``KUBECONFIG``, the pod's own account), one connection pool and the one place
where foreign errors become ours. Promises that every request has a deadline, that an answer is read only up
to a bound, and that a server which asks for patience gets it within a bound. Never decides what to ask;
never writes a discovery cache to a shared temporary folder, as the stock discoverer does.

Source: kubernetes notes §3 (half-open connections, 429 on fresh definitions), traps 3, 4 and 8.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import urllib3
import yaml
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.config import ConfigException
from kubernetes.config.incluster_config import load_incluster_config
from kubernetes.config.kube_config import load_kube_config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError

from k8s_bridge import kubeconfig as kubeconfigs
from k8s_bridge.bounds import CONNECT_TIMEOUT_S, PATIENT, Bounds, Timeouts
from k8s_bridge.credentials import Credentials
from k8s_bridge.lease import NETWORK_S
from k8s_bridge.refusals import UNAUTHORIZED, refused
from ledger.errors import Code, EnvironmentFault
from ledger.limits import MIB
from ledger.types import JsonObject

ANSWER_BYTES_MAX = 64 * MIB
"""A list of 4096 objects; one object is at most 1.5 MiB in etcd."""
EVENT_BYTES_MAX = 8 * MIB
UNRECEIVED_S = NETWORK_S
"""What the server's machine did not acknowledge for this long is dropped, by the kernel and for good."""
RETRY_AFTER_S_MAX = 10.0
POOL_SIZE = 300
"""Above the watches; a connection is only made when it is needed."""
Body = JsonObject | list[JsonObject] | None
_PATIENCE = frozenset({429, 503, 504})
_READ_CHUNK_BYTES = 64 * 1024
_EXPECTED = "a kubeconfig with a current context, its cluster and its user"


class Connection:
    """One API server, reached through one pool; safe to use from several threads."""

    def __init__(
        self,
        configuration: Configuration,
        sleep: Callable[[float], None] = time.sleep,
        credentials: Credentials | None = None,
    ) -> None:
        self._credentials = credentials
        self._sleep = sleep
        self._use(configuration)

    def _use(self, configuration: Configuration) -> None:
        configuration.retries = False
        configuration.client_go_retries = False
        configuration.connection_pool_maxsize = POOL_SIZE
        configuration.socket_options = _socket_options()
        self.server: str = configuration.host
        self._api = ApiClient(configuration)
        self._api.user_agent = "conclave-bridge"
        # Our own discovery (client.py) needs no cache file; the stock one keeps it in a shared folder.
        self._dynamic: Any = DynamicClient(self._api, discoverer=_no_discovery)  # type: ignore[no-untyped-call]

    def ask(
        self,
        method: str,
        path: str,
        *,
        about: str = "",
        body: Body = None,
        bounds: Bounds = PATIENT,
        **options: Any,
    ) -> tuple[int, JsonObject]:
        """Send one request and give the status and the JSON object of a 2xx answer.

        Args:
            method: HTTP method.
            path: absolute path.
            about: the object's id, for the error's facts.
            body: sent as JSON.
            bounds: how long it may take, and whether it may be sent at all.
            options: what ``DynamicClient.request`` turns into headers and parameters.

        Raises:
            EnvironmentFault: KUBERNETES_UNREACHABLE, or KUBERNETES_REFUSED with status, reason and object;
                what ``bounds`` raises.
        """
        for attempt in range(bounds.retries_max + 1):
            try:
                with bounds.attempt() as timeouts:
                    response = self._send(method, path, body, timeouts, options)
                    return response.status, _json(_read(response, ANSWER_BYTES_MAX), self.server)
            except DynamicApiError as error:
                delay = _retry_after_s(error)
                if error.status not in _PATIENCE or delay is None or attempt == bounds.retries_max:
                    raise self._translated(error, about) from None
                self._sleep(delay)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._translated(error, about) from None
        raise AssertionError("the last attempt returns or raises")

    def events(self, path: str, *, silence_s: float, **options: Any) -> Iterator[JsonObject]:
        """Stream watch events, one JSON object each, until the server or the socket ends the stream.

        Args:
            path: of a collection.
            silence_s: how long the socket may be silent before it counts as dead.
            options: as for ``ask``.

        Raises:
            EnvironmentFault: KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED.
        """
        try:
            response = self._send(
                "get", path, None, Timeouts(CONNECT_TIMEOUT_S, silence_s), {**options, "watch": True}
            )
            try:
                yield from (_json(line, self.server) for line in _lines(response, self.server))
            finally:
                response.close()
                response.release_conn()
        except (DynamicApiError, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._translated(error, path) from None

    def close(self) -> None:
        """Close every socket of the pool."""
        self._api.close()  # type: ignore[no-untyped-call]

    def _send(
        self,
        method: str,
        path: str,
        body: Body,
        timeouts: Timeouts,
        options: Mapping[str, Any],
    ) -> Any:
        limit = [] if timeouts.server_s is None else [("timeout", f"{int(timeouts.server_s * 1000)}ms")]
        waiting = (timeouts.connect_s, timeouts.read_s)
        count = 0 if self._credentials is None else self._credentials.count
        more = {"serialize": False, "_request_timeout": waiting, "query_params": limit, **options}
        try:
            return self._dynamic.request(method, path, body=body, **more)
        except (DynamicApiError, urllib3.exceptions.SSLError) as error:
            # A write under a lease has no time for this; it is planned anew, and that reads.
            if timeouts.server_s is not None or not self._renewed(error, count):
                raise
            return self._dynamic.request(method, path, body=body, **more)

    def _renewed(self, error: Exception, count: int) -> bool:
        """Whether other credentials were found after the server did not accept ours."""
        unknown = isinstance(error, DynamicApiError) and error.status == UNAUTHORIZED
        if self._credentials is None or not (unknown or isinstance(error, urllib3.exceptions.SSLError)):
            return False
        return self._credentials.again(count, self._use)

    def _translated(self, error: Exception, about: str) -> EnvironmentFault:
        if isinstance(error, DynamicApiError) and error.status:
            return refused(error, about, self.server)
        return EnvironmentFault(
            Code.KUBERNETES_UNREACHABLE,
            got=f"{type(error).__name__}: {error}",
            expected="an answer of the Kubernetes API server",
            todo="check that the API server runs and that the kubeconfig names it",
            server=self.server,
        )


def connect(kubeconfig: str | None, environ: Mapping[str, str]) -> Connection:
    """Find the API server: ``kubeconfig``, else ``KUBECONFIG``, else the pod's service account.

    Raises:
        EnvironmentFault: KUBECONFIG_INVALID.
    """
    path = kubeconfig or environ.get("KUBECONFIG") or None
    return Connection(_found(path), credentials=Credentials(lambda: _found(path)))


def _found(path: str | None) -> Configuration:
    for part in path.split(os.pathsep) if path else ():
        if part and (part == path or os.path.exists(os.path.expanduser(part))):  # noqa: PTH110, PTH111
            kubeconfigs.check(os.path.expanduser(part))  # noqa: PTH111
    try:
        return _configuration(path)
    except ConfigException as error:
        raise kubeconfigs.invalid(path or "in-cluster", error, _EXPECTED) from None
    except (yaml.YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        got = f"{type(error).__name__}: {error}"
        raise kubeconfigs.invalid(path or "in-cluster", got, _EXPECTED) from None


def _configuration(path: str | None) -> Configuration:
    configuration = Configuration()
    if path is not None:
        load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]
    else:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    if not configuration.host or "://" not in configuration.host:
        raise ConfigException("no server is named")
    return configuration


def _socket_options() -> list[tuple[int, int, int]]:
    options = list(urllib3.connection.HTTPConnection.default_socket_options)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNRECEIVED_S * 1000)))
    return options


def _no_discovery(client: object, cache_file: object) -> None:
    del client, cache_file


def _read(response: Any, bytes_max: int) -> bytes:
    try:
        content: bytes = response.read(bytes_max + 1)
        if len(content) > bytes_max:
            response.close()
            raise EnvironmentFault(
                Code.KUBERNETES_REFUSED, got=f"over {bytes_max} bytes", expected="a smaller answer", todo=""
            )
        # Read to the end, so that the connection can be used again.
        response.read()
        return content
    finally:
        response.release_conn()


def _lines(response: Any, server: str) -> Iterator[bytes]:
    pending = b""
    for chunk in response.stream(_READ_CHUNK_BYTES, decode_content=True):
        *whole, pending = (pending + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())
        if len(pending) > EVENT_BYTES_MAX:
            raise EnvironmentFault(
                Code.KUBERNETES_REFUSED,
                got=f"an event of over {EVENT_BYTES_MAX} bytes",
                expected="a smaller event",
                server=server,
            )


def _json(content: bytes, server: str) -> JsonObject:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise EnvironmentFault(
            Code.KUBERNETES_UNREACHABLE,
            got=content[:80],
            expected="a JSON object of the Kubernetes API",
            todo="check that the kubeconfig names an API server and not something in front of it",
            server=server,
        )
    return found


def _retry_after_s(error: DynamicApiError) -> float | None:
    """How long the server asks to wait, bounded; None when it does not ask."""
    headers = error.headers or {}
    text = headers.get("Retry-After") or headers.get("retry-after") or ""
    return min(float(text), RETRY_AFTER_S_MAX) if text.isdecimal() else None
