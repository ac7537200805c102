"""The MCP server as a process over a ledger in memory: ``python -m tests.support.mcp_process stdio|http``.

Waits shorter than the real one, so that those who test its patience need none.
"""

from __future__ import annotations

import sys

from mcp_server import web
from mcp_server.__main__ import serve
from tests.support.mcp import Speaking, a_story, source_of

HEAD_SECONDS = 1.0
BODY_SECONDS = 1.5

if __name__ == "__main__":
    web.HEAD_SECONDS_MAX = HEAD_SECONDS
    web.BODY_SECONDS_MAX = BODY_SECONDS
    serve(source_of(Speaking(a_story())), 0 if sys.argv[1] == "http" else None)
