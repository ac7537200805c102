"""A home: any bytes give a coded fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conclave.home import load
from ledger.errors import Code, EnvironmentFault


@pytest.mark.requires("cli.home")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_home_are_a_coded_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.json").write_bytes(content)
    with pytest.raises(EnvironmentFault) as refusal:
        load(tmp_path)
    assert refusal.value.code is Code.HOME_INVALID
