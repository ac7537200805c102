"""Errors that another process wrote, read back."""

from __future__ import annotations

import json

import pytest

from ledger.errors import Code, EnvironmentFault, VerificationFailed
from runtime.said import error_of, last_error

PORT = EnvironmentFault(Code.PORT_TAKEN, got="1", expected="a free port", todo="stop it", port=1)


@pytest.mark.requires("process.last-word")
def test_an_error_comes_back_as_it_was_said() -> None:
    found = error_of(json.loads(json.dumps(PORT.to_json())))
    assert isinstance(found, EnvironmentFault)
    assert found.to_json() == PORT.to_json()
    assert isinstance(error_of(VerificationFailed(Code.STALE).to_json()), VerificationFailed)


@pytest.mark.requires("process.last-word")
def test_the_last_error_of_a_log_is_found() -> None:
    first = EnvironmentFault(Code.DISK_FULL).to_json()
    lines = [b"noise", json.dumps(first).encode(), json.dumps(PORT.to_json()).encode(), b"{", b'{"name":1}']
    found = last_error(lines)
    assert found is not None
    assert found.code is Code.PORT_TAKEN
    assert last_error([b"", b"[" * 5000]) is None
