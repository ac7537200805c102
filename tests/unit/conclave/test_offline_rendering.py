"""A renderer that ends late, as on a busy machine: what it gave counts, and one that is killed is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conclave.render import offline
from ledger.errors import Code, Refused


class Lingering(subprocess.Popen[bytes]):
    """A process that is there for half a minute after it said its last word or was killed."""

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and timeout < 30:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return super().wait(timeout)


@pytest.fixture(autouse=True)
def lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "_isolation", lambda: ())
    monkeypatch.setattr(subprocess, "Popen", Lingering)


@pytest.mark.requires("render.tools-bounded")
def test_a_renderer_may_end_long_after_its_last_word(tmp_path: Path) -> None:
    assert offline.run(["/bin/echo", "a: b"], cwd=tmp_path, home=tmp_path, what="a") == b"a: b\n"


@pytest.mark.requires("render.tools-bounded")
def test_a_renderer_that_is_killed_and_lingers_is_refused_as_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "RENDER_SECONDS_MAX", 0.0)
    with pytest.raises(Refused) as late:
        offline.run(["/bin/sleep", "60"], cwd=tmp_path, home=tmp_path, what="a")
    assert late.value.code is Code.TIMEOUT
