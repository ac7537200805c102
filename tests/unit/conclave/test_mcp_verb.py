"""``conclave mcp``: which transport, and what a client's configuration starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conclave.__main__ import run
from conclave.home import load
from conclave.verbs.mcp import CLIENTS
from ledger.agent_policy import read_policy


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


@pytest.mark.requires("mcp.config")
def test_a_policy_to_begin_with_is_one_that_the_ledger_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "home")
    assert run(["init", "--home", home, "-o", "json"]) == 0
    capsys.readouterr()
    assert run(["mcp", "policy", "scout", "--home", home]) == 0
    found = json.loads(capsys.readouterr().out)
    policy = read_policy(found["spec"])
    assert (found["kind"], found["metadata"]["name"]) == ("AgentPolicy", "scout")
    assert policy.agent == load(tmp_path / "home").subject("scout").did
    assert not [tool for tool in policy.tools if tool.opens_proposal]


@pytest.mark.requires("mcp.connect")
@pytest.mark.parametrize(
    "given", [["https://mcp.example"], ["http://10.0.0.5:8765", "--as", "scout"], ["--as", "scout"]]
)
def test_an_agent_and_a_safe_url_are_named(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "home")
    assert run(["init", "--home", home, "-o", "json"]) == 0
    assert run(["mcp", "connect", *given, "--home", home]) == 2
    assert "USAGE" in capsys.readouterr().err
