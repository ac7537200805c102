"""Whatever single harm is done to an audit log, it is found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import VerificationFailed
from mcp_server.audit.files import segments
from mcp_server.audit.walk import Mark, Walk
from tests.support.auditing import CODES, a_log, broken, intact


@pytest.fixture(scope="module")
def log() -> Iterator[tuple[Path, Mark]]:
    with tempfile.TemporaryDirectory() as folder:
        made = a_log(Path(folder))
        walk = intact(made).walk
        assert walk.header is not None
        yield made, Mark(walk.header.log, walk.tip.sequence, walk.tip.hash, "me")


def harmed(folder: Path, draw: st.DataObject) -> None:
    """Do one harm to one file."""
    path = draw.draw(st.sampled_from(segments(folder)))
    content = path.read_bytes()
    at = draw.draw(st.integers(0, len(content) - 1))
    lines = content.splitlines(keepends=True)
    one, other = draw.draw(st.integers(0, len(lines) - 1)), draw.draw(st.integers(0, len(lines) - 1))
    swapped = list(lines)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    harms = {
        "flip": content[:at] + bytes([content[at] ^ draw.draw(st.integers(1, 255))]) + content[at + 1 :],
        "cut": content[:at],
        "lose": content[:at] + content[at + draw.draw(st.integers(1, 400)) :],
        "insert": content[:at] + draw.draw(st.binary(min_size=1, max_size=64)) + content[at:],
        "double": b"".join([*lines[: other + 1], lines[one], *lines[other + 1 :]]),
        "swap": b"".join(swapped),
    }
    harm = harms[draw.draw(st.sampled_from(sorted(harms)))]
    if harm == content:
        harm = content[1:]
    path.write_bytes(harm)


@pytest.mark.requires("audit.verify")
@settings(max_examples=150, deadline=None)
@given(draw=st.data())
def test_any_byte_changed_lost_or_added_and_any_record_moved_is_found(
    log: tuple[Path, Mark], draw: st.DataObject
) -> None:
    folder, mark = log
    kept = [(path, path.read_bytes()) for path in segments(folder)]
    try:
        harmed(folder, draw)
        assert broken(folder, mark).code in CODES
    finally:
        for path, content in kept:
            path.write_bytes(content)
    intact(folder, mark)


@pytest.mark.requires("audit.verify")
@settings(max_examples=200, deadline=None)
@given(
    line=st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda t: t.encode("utf-8", "ignore")))
)
def test_any_line_is_a_record_or_refused_with_a_code(line: bytes) -> None:
    with pytest.raises(VerificationFailed) as refused:
        Walk().step(line)
    assert refused.value.code in CODES
