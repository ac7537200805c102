"""Promises of the MCP server and its guard; merged into ``tests/requirements.py``."""
# ruff: noqa: E501 - one promise a line

from __future__ import annotations

MCP: dict[str, str] = {
    # -- guard --------------------------------------------------------------------------------------
    # -- server -------------------------------------------------------------------------------------
}
