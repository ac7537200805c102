"""Where the server listens, and what that asks of it. Pure.

Promises that nothing but loopback is listened on without TLS and without knowing who calls.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ledger.errors import Code, Refused
from mcp_server.auth.limits import URL_CHARACTERS_MAX

LOOPBACK = "127.0.0.1"
PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Listening:
    """An address to listen on over HTTP.

    Attributes:
        host: an IP address.
        port: 0 for any.
        url: how clients call the server; None for the address itself.
        certificate, key: PEM files for TLS, both or none.
        is_anonymous: whether nobody has to say who they are.
    """

    host: str
    port: int
    url: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    is_anonymous: bool = False

    def origin(self, port: int) -> str:
        """Give the URL of the server, without a path, once it listens on ``port``."""
        if self.url is not None:
            return self.url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.certificate is None else 'https'}://{host}:{port}"


def listening(
    address: str, *, url: str | None, certificate: Path | None, key: Path | None, is_anonymous: bool
) -> Listening:
    """Give where to listen, from what was asked for.

    Args:
        address: ``PORT`` of loopback, or ``HOST:PORT``.
        url: as of ``Listening``.
        certificate: as of ``Listening``.
        key: as of ``Listening``.
        is_anonymous: as of ``Listening``.

    Raises:
        Refused: USAGE.
    """
    host, port = _address(address)
    if (certificate is None) != (key is None):
        raise _usage("one of certificate and key", "--tls-cert FILE and --tls-key FILE")
    is_loopback = ipaddress.ip_address(host).is_loopback
    if not is_loopback and (certificate is None or is_anonymous):
        raise _usage(
            f"{host}, which others reach, without TLS or for anybody",
            "--tls-cert and --tls-key, and no --anonymous, or an address of loopback",
        )
    if ipaddress.ip_address(host).is_unspecified and url is None:
        raise _usage(f"{host}, which is nobody's name", "--url https://NAME:PORT, as clients call the server")
    checked = None if url is None else _checked_url(url, "http" if certificate is None else "https")
    return Listening(host, port, checked, certificate, key, is_anonymous)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.strip("[]") if colon else LOOPBACK
    if host == "localhost":
        host = LOOPBACK
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise _usage("a host that is no IP address", "PORT, or HOST:PORT with an IP address") from None
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) <= PORT_MAX):
        raise _usage("another port", f"a port of 0 … {PORT_MAX}")
    return host, int(port)


def _checked_url(url: str, scheme: str) -> str:
    expected = f"{scheme}://NAME or {scheme}://NAME:PORT, without a path"
    try:
        parts = urlsplit(url)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        raise _usage("a URL that cannot be read", expected) from None
    plain = f"{scheme}://{parts.netloc}"
    if not (parts.hostname and is_port and len(url) <= URL_CHARACTERS_MAX) or url.rstrip("/") != plain:
        raise _usage("another URL", expected)
    if "@" in parts.netloc or not plain.isascii() or plain != plain.lower():
        raise _usage("another URL", f"{expected}, in lower case")
    return plain


def _usage(got: str, expected: str) -> Refused:
    return Refused(Code.USAGE, got=got, expected=expected, todo="see: conclave mcp --help")
