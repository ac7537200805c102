"""The options that say how to serve, the same for both ways to start the server.

Owns their names, help and reading. Promises that a combination that cannot be is refused before anything is
opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ledger.errors import Code, Refused
from mcp_server.listening import Listening, listening

HELP = {
    "stdio": "Over standard input and output, for a client that starts it.",
    "http": "Over HTTP on this port of loopback; 0: any.",
    "listen": "Over HTTP on this address (IP:PORT); beyond loopback with TLS only.",
    "url": "How clients call the server (https://NAME:PORT), if not by that address.",
    "tls-cert": "Certificate chain, PEM: TLS 1.3.",
    "tls-key": "Its private key, PEM.",
    "audit": "Where the audit of calls is kept.",
    "no-audit": "Keep none.",
    "node-key": "Signs the audit; a node identity of the ledger also anchors it there.",
    "speak-for": "Over HTTP: an agent whose proposals this server signs; repeat.",
    "anonymous": "On loopback: whoever connects may read, without a token.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as they were given."""

    stdio: bool = False
    http: int | None = None
    listen: str | None = None
    url: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    is_anonymous: bool = False


def where(asked: Asked) -> Listening | None:
    """Give where to listen over HTTP, None for standard streams.

    Raises:
        Refused: USAGE.
    """
    ways = (asked.stdio, asked.http is not None, asked.listen is not None)
    if sum(ways) != 1:
        raise _usage(f"{sum(ways) or 'no'} transport{'s' if sum(ways) else ''}")
    of_http = (asked.url, asked.certificate, asked.key)
    if asked.stdio:
        if asked.is_anonymous or any(value is not None for value in of_http):
            raise _usage("an option of HTTP beside --stdio")
        return None
    return listening(
        asked.listen if asked.listen is not None else str(asked.http),
        url=asked.url,
        certificate=asked.certificate,
        key=asked.key,
        is_anonymous=asked.is_anonymous,
    )


def _usage(got: str) -> Refused:
    return Refused(
        Code.USAGE,
        got=got,
        expected="--stdio, --http PORT or --listen IP:PORT",
        todo="see: conclave mcp --help",
    )
