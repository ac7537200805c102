"""``conclave mcp``: which transport, and what a client's configuration starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conclave.__main__ import run
from conclave.verbs.mcp import CLIENTS


@pytest.mark.requires("mcp.config")
@pytest.mark.parametrize("client", CLIENTS)
def test_a_configuration_starts_this_server_in_this_home(
    client: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mcp", "config", client, "--home", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    started = found
    for name in ("servers", "mcpServers"):
        started = found[name]["conclave"] if name in found else started
    assert started["args"] == ["mcp", "--stdio", "--home", str(tmp_path)]
    assert Path(started["command"]).is_absolute()
    assert "env" not in started


@pytest.mark.requires("mcp.config")
@pytest.mark.parametrize("given", [[], ["--stdio", "--http", "0"], ["--http", "70000"], ["config", "other"]])
def test_one_transport_and_one_client_is_named(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mcp", *given]) == 2
    assert "USAGE" in capsys.readouterr().err
