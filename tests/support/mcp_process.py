"""The MCP server as a process over a ledger in memory: ``python -m tests.support.mcp_process MODE …``.

Modes: ``stdio``, ``http`` for anybody, ``agent`` (the robot over stdio), ``gate`` (with tokens), ``tls CERT
KEY``. SIGUSR1 revokes the robot's key on the ledger. It is patient with clients on a busy machine, but for
what is said before the mode: ``--head SECONDS`` for a handshake or a head, ``--body SECONDS``.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from ledger.bodies import revocation_body
from mcp_server import listener, pipes, web
from mcp_server.chain import Principal
from mcp_server.listening import LOOPBACK, Listening
from mcp_server.policies import reading_policy
from mcp_server.serving import Serving, serve
from tests.support.ledger import ALICE, ROBOT, Ledger, envelope
from tests.support.mcp import Speaking, a_story, source_of

PATIENCE_SECONDS = 120.0


def with_robot() -> Ledger:
    """Give the story's ledger, on which the robot may read."""
    ledger = a_story()
    policy = {"metadata": {"name": ROBOT.name}, "spec": reading_policy(ROBOT.did)}
    ledger.configure({"apiVersion": "conclave.internal/v1", "kind": "AgentPolicy", **policy})
    ledger.commit()
    return ledger


def how(arguments: list[str]) -> Serving:
    """Give how to serve in a mode."""
    match arguments:
        case ["stdio"]:
            return Serving()
        case ["agent"]:
            return Serving(principal=Principal(ROBOT.did, ROBOT.key_id))
        case ["http"]:
            return Serving(Listening(LOOPBACK, 0, is_anonymous=True))
        case ["gate"]:
            return Serving(Listening(LOOPBACK, 0))
        case ["tls", certificate, key]:
            return Serving(Listening(LOOPBACK, 0, None, Path(certificate), Path(key)))
    raise SystemExit(2)


def be_patient(arguments: list[str]) -> list[str]:
    """Set how long clients may take; give the mode."""
    seconds = {"--head": PATIENCE_SECONDS, "--body": PATIENCE_SECONDS}
    while arguments[:1] and arguments[0] in seconds:
        seconds[arguments[0]], arguments = float(arguments[1]), arguments[2:]
    listener.HEAD_SECONDS_MAX, web.BODY_SECONDS_MAX = seconds["--head"], seconds["--body"]
    pipes._LAST_SECONDS_MAX = PATIENCE_SECONDS
    return arguments


if __name__ == "__main__":
    MODE = be_patient(sys.argv[1:])
    LEDGER = with_robot()

    def revoke(*_: object) -> None:
        """Revoke the robot's key in the next block."""
        LEDGER.commit(envelope(ALICE, revocation_body(ROBOT.did, (ROBOT.key_id,), reason="stolen")))
        LEDGER.commit()

    signal.signal(signal.SIGUSR1, revoke)
    serve(source_of(Speaking(LEDGER)), how(MODE))
