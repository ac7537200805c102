"""Every promise of the project: an id, what is promised, and where the promise comes from.

A test names the promise it shows with ``@pytest.mark.requires("id")``. ``tests/test_requirements.py`` fails
on a promise without a test and on a mark without a promise.
"""

from __future__ import annotations

REQUIREMENTS: dict[str, str] = {
    # id: promise [source]
    # -- ledger -------------------------------------------------------------------------------------
    # -- state --------------------------------------------------------------------------------------
    # -- abci_app -----------------------------------------------------------------------------------
    # -- abci transport -----------------------------------------------------------------------------
    # -- consensus/light ----------------------------------------------------------------------------
    # -- consensus (reader, submit, node) -----------------------------------------------------------
    # -- k8s_bridge ---------------------------------------------------------------------------------
    # -- identity -----------------------------------------------------------------------------------
    # -- conclave (rendering, command line) ---------------------------------------------------------
    # -- demo and red team --------------------------------------------------------------------------
}
