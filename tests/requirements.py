"""Every promise of the project: an id, what is promised, and where the promise comes from.

A test names the promise it shows with ``@pytest.mark.requires("id")``. ``tests/test_requirements.py`` fails
on a promise without a test and on a mark without a promise.
"""

from __future__ import annotations

REQUIREMENTS: dict[str, str] = {
    # id: promise [source]
    # -- ledger -------------------------------------------------------------------------------------
    # -- state --------------------------------------------------------------------------------------
    # -- abci_app -----------------------------------------------------------------------------------
    # -- abci transport -----------------------------------------------------------------------------
    "transport.any-split": "any split of the bytes gives the same requests, in linear work [python-abci §1]",
    "transport.any-bytes": "broken bytes close that connection with ResponseException only [issue]",
    "transport.size-cap": "a message over ABCI_MESSAGE_BYTES_MAX is refused before it is buffered [limits]",
    "transport.order": "answers leave in request order per connection [CometBFT socket_client.go]",
    "transport.method-table": "every ABCI call gets the response of its own kind [types.proto]",
    "transport.flush": "a Flush writes pending answers before the next call [socket_client.go]",
    "transport.fair": "a pipelined connection cannot starve another [python-abci §1]",
    "transport.back-pressure": "a peer that does not read is not served into memory [python-abci §1]",
    "transport.bounded": "connections are bounded [DESIGN 4]",
    "transport.failure-ends": "a failing or unknown call: ResponseException, all closed, non-zero exit [§1]",
    "transport.stop": "SIGTERM lets the running Commit finish and answer, then exits 0 [python-abci §1]",
    "transport.local-only": "the application listens on a private unix socket or loopback only [DESIGN 2]",
    "transport.long-path": "a too long socket path becomes relative or is refused [issue]",
    "transport.stale-socket": "a stale socket file is replaced, anything else never [issue]",
    "transport.determinism": "python -O and protobuf backends other than upb are refused [python-abci §6]",
    # -- consensus/light ----------------------------------------------------------------------------
    # -- consensus (reader, submit, node) -----------------------------------------------------------
    # -- k8s_bridge ---------------------------------------------------------------------------------
    # -- identity -----------------------------------------------------------------------------------
    # -- conclave (rendering, command line) ---------------------------------------------------------
    # -- demo and red team --------------------------------------------------------------------------
}
