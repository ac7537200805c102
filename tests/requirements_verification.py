"""Promises of verification: light client, witnesses, trust, the reader, offline files. See ``tests/requirements.py``."""
# ruff: noqa: E501 - one promise a line

from __future__ import annotations

VERIFICATION: dict[str, str] = {
    # id: promise [source]
}
