"""The tests' own ground: nothing that a killed peer leaves behind is told of in another test."""

from __future__ import annotations

import gc
import select
import socket
import ssl
import struct
import warnings

import pytest


@pytest.mark.requires("tests.no-socket-left")
@pytest.mark.parametrize("is_server", [True, False])
def test_a_connection_that_was_reset_before_tls_is_closed(*, is_server: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        select.select([ours], [], [], 60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(OSError, match="reset"):
            context.wrap_socket(ours, server_side=is_server, do_handshake_on_connect=False)
        gc.collect()
    assert told == []
