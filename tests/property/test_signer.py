"""Key files: any bytes give a coded refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity.signer import open_signer
from ledger.errors import Code, ConclaveError


@pytest.mark.requires("identity.key-refused")
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=300), framed=st.booleans())
def test_any_bytes_as_a_key_file_are_a_coded_refusal(tmp_path: Path, content: bytes, framed: bool) -> None:
    path = tmp_path / "any.pem"
    path.write_bytes(
        b"-----BEGIN PRIVATE KEY-----\n" + content + b"\n-----END PRIVATE KEY-----\n" if framed else content
    )
    path.chmod(0o600)
    with pytest.raises(ConclaveError) as refusal:
        open_signer(f"file:{path}")
    assert refusal.value.code is Code.KEY_FILE_INVALID
