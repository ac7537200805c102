"""The machine's results as CometBFT takes them. Source: CometBFT v0.38 spec/abci."""

from __future__ import annotations

from collections.abc import Iterable

from abci_app.machine.block import BlockResult, TxResult
from abci_app.machine.context import Event
from ledger.keys import public_key_of
from ledger.pb import abci_pb2 as pb
from ledger.pb import comet_pb2

TX_OVERHEAD_BYTES = 8
"""Room for a transaction's tag and length in the block's protobuf."""


def finalized(result: BlockResult, app_hash: bytes, version: int | None) -> pb.ResponseFinalizeBlock:
    """Give the answer to FinalizeBlock.

    Args:
        result: of the machine.
        app_hash: of the state after the block.
        version: of the rules from the next height on, where it changes.
    """
    return pb.ResponseFinalizeBlock(
        tx_results=[_tx_result(r) for r in result.results],
        events=_events(result.events),
        validator_updates=[
            pb.ValidatorUpdate(pub_key=comet_pb2.PublicKey(ed25519=public_key_of(key_id)), power=power)
            for key_id, power in result.powers.items()
        ],
        consensus_param_updates=None if version is None else app_version(version),
        app_hash=app_hash,
    )


def app_version(version: int) -> comet_pb2.ConsensusParams:
    """Give consensus parameters that change the version of the rules only."""
    return comet_pb2.ConsensusParams(version=comet_pb2.VersionParams(app=version))


def _tx_result(result: TxResult) -> pb.ExecTxResult:
    return pb.ExecTxResult(
        code=result.code,
        data=result.data,
        log=str(result.refusal) if result.refusal else "",
        codespace="conclave" if result.refusal else "",
        events=_events(result.events),
    )


def _events(events: Iterable[Event]) -> list[pb.Event]:
    return [
        pb.Event(
            type=event.kind,
            attributes=[pb.EventAttribute(key=k, value=v, index=True) for k, v in event.attributes],
        )
        for event in events
    ]
