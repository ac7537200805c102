"""Where the server may listen, how it is called, and which certificate it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ledger.errors import Code, ConclaveError
from mcp_server import listener
from mcp_server.auth.metadata import Origin
from mcp_server.listening import Listening, listening
from mcp_server.options import Asked, where
from mcp_server.web import security_of
from tests.support.refusal import refusal_of

CERT, KEY = Path("cert.pem"), Path("key.pem")


def asked(address: str, **more: Any) -> Listening:
    given: dict[str, Any] = {"url": None, "certificate": None, "key": None, "is_anonymous": False}
    return listening(address, **(given | more))


@pytest.mark.requires("mcp.listening")
@pytest.mark.parametrize(
    ("address", "more", "origin"),
    [
        ("8765", {}, "http://127.0.0.1:8765"),
        ("127.0.0.1:8765", {"is_anonymous": True}, "http://127.0.0.1:8765"),
        ("localhost:8765", {}, "http://127.0.0.1:8765"),
        ("[::1]:8765", {}, "http://[::1]:8765"),
        ("10.0.0.5:8443", {"certificate": CERT, "key": KEY}, "https://10.0.0.5:8443"),
        (
            "0.0.0.0:8443",
            {"certificate": CERT, "key": KEY, "url": "https://mcp.example"},
            "https://mcp.example",
        ),
        ("8765", {"url": "http://localhost:8765/"}, "http://localhost:8765"),
    ],
)
def test_where_to_listen_and_how_it_is_called(address: str, more: dict[str, Any], origin: str) -> None:
    found = asked(address, **more)
    assert found.origin(found.port) == origin


@pytest.mark.requires("mcp.listening")
@pytest.mark.parametrize(
    ("address", "more"),
    [
        ("10.0.0.5:8443", {}),
        ("0.0.0.0:8443", {}),
        ("0.0.0.0:8443", {"certificate": CERT, "key": KEY}),
        ("[::]:8443", {"certificate": CERT, "key": KEY}),
        ("10.0.0.5:8443", {"certificate": CERT, "key": KEY, "is_anonymous": True}),
        ("10.0.0.5:8443", {"certificate": CERT}),
        ("8765", {"key": KEY}),
        ("mcp.example:8443", {}),
        ("127.0.0.1:65536", {}),
        ("127.0.0.1:", {}),
        ("127.0.0.1:-1", {}),
        ("127.0.0.1:٣", {}),
        ("8765", {"url": "https://mcp.example"}),
        ("8765", {"url": "http://mcp.example/path"}),
        ("8765", {"url": "http://user@mcp.example"}),
        ("8765", {"url": "http://MCP.example"}),
        ("8765", {"url": "http://mcp.example:99999"}),
        ("8765", {"url": "http://mcp.example?a"}),
        ("8765", {"url": "http://"}),
        ("8765", {"url": "http://[::1"}),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(address: str, more: dict[str, Any]) -> None:
    refusal_of(lambda: asked(address, **more), Code.USAGE)


@pytest.mark.requires("mcp.listening")
@pytest.mark.parametrize(
    "given",
    [
        Asked(),
        Asked(stdio=True, http=1),
        Asked(http=1, listen="127.0.0.1:1"),
        Asked(stdio=True, is_anonymous=True),
        Asked(stdio=True, url="http://a"),
        Asked(stdio=True, certificate=CERT, key=KEY),
    ],
)
def test_one_transport_is_asked_for(given: Asked) -> None:
    refusal_of(lambda: where(given), Code.USAGE)


@pytest.mark.requires("mcp.host-origin")
def test_beyond_loopback_the_servers_own_name_passes_alone() -> None:
    found = security_of(Origin("https://mcp.example:8443"))
    assert found.allowed_hosts == ["mcp.example:8443"]
    assert found.allowed_origins == ["https://mcp.example:8443"]
    assert security_of(Origin("https://mcp.example")).allowed_hosts == ["mcp.example", "mcp.example:443"]
    assert "localhost:*" in security_of(Origin("http://127.0.0.1:1")).allowed_hosts


@pytest.mark.requires("mcp.tls")
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_certificate_with_its_key_is_refused(tmp_path: Path, content: bytes | None) -> None:
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file in files:
        if content is not None:
            file.touch(mode=0o600)
            file.write_bytes(content)
    with pytest.raises(ConclaveError) as raised:
        listener.tls_of(Listening("127.0.0.1", 0, None, *files))
    assert raised.value.code is Code.KEY_FILE_INVALID


@pytest.mark.requires("mcp.tls")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.touch()
    key.chmod(0o644)
    refusal_of(
        lambda: listener.tls_of(Listening("127.0.0.1", 0, None, tmp_path / "cert.pem", key)),
        Code.KEY_FILE_INVALID,
    )
    assert listener.tls_of(Listening("127.0.0.1", 0)) is None
