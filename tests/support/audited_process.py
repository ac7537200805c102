"""An audited MCP server over a ledger in memory: ``python -m tests.support.audited_process DIR [http]``.

Over standard streams it is the robot who calls; over HTTP, with a second argument, anybody.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mcp_server.audit.around import Auditing, audited, own_signer
from mcp_server.chain import Principal
from mcp_server.listening import LOOPBACK, Listening
from mcp_server.serving import Serving, serve
from tests.support.ledger import ROBOT
from tests.support.mcp import Speaking, source_of
from tests.support.mcp_process import with_robot

if __name__ == "__main__":
    FOLDER = Path(sys.argv[1])
    SIGNER = own_signer(FOLDER)
    SOURCE = source_of(Speaking(with_robot()))
    with audited(Auditing(FOLDER, SIGNER, SIGNER.did, SOURCE.root.chain_id)) as around:
        where = Listening(LOOPBACK, 0, is_anonymous=True) if len(sys.argv) > 2 else None
        principal = None if where else Principal(ROBOT.did, ROBOT.key_id)
        serve(SOURCE, Serving(where, principal, around=around))
