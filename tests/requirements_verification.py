"""Promises of verification: light client, witnesses, trust, the reader, offline files. See ``tests/requirements.py``."""
# ruff: noqa: E501 - one promise a line

from __future__ import annotations

VERIFICATION: dict[str, str] = {
    # id: promise [source]
    "attack.table": "each attack by each share of the power ends as the page says, with and without witnesses [verification.md]",
    "attack.common-height": "evidence goes back to the last block both sides share, from either side [light/detector.go]",
    "attack.names": "evidence names whom a full node works out, and nobody by a forged vote [types/evidence.go]",
    "attack.bytes": "evidence has CometBFT's JSON, protobuf and hash [types/evidence.go]",
    "attack.amnesia-withheld": "evidence that names nobody is kept and not sent: it would stop a real chain [measured, CometBFT 0.39.4]",
    "attack.real-node": "a real node takes true evidence into a block and refuses forged [rpc/core/evidence.go]",
    "witness.confirms": "a header is believed only when a witness shows the same [light/detector.go]",
    "witness.first-header": "the first header of the genesis validators is confirmed too [light/client.go]",
    "witness.lag": "a witness that has not got so far is waited for within a bound [light/detector.go]",
    "witness.told": "each side's evidence is offered to every other node, and what they said is kept [light/detector.go]",
    "witness.halts": "an incident halts every reader of the folder until a person resolves it, damaged or not [verification.md]",
    "witness.rotation": "a node that lies or fails loses its place to another [verification.md]",
    "witness.bounded": "no node costs more than its requests and seconds for one header [verification.md]",
    "witness.none-left": "with no witness left nothing new is believed [verification.md]",
    # -- submit and subscription ----------------------------------------------------------------------
    "submit.several-nodes": "a node that is away, slow or lying is left for another; sending to both is harmless [issue 6]",
    "submit.backpressure": "a full mempool is offered again for a bounded time, then told by its code [spam.md 3]",
    "subscription.every-height": "a subscriber gets every height once, in order, however nodes come and go [issue 6]",
    "subscription.stale-told": "a subscriber is told once that what it knows grew old, and why [DESIGN 4]",
    "subscription.gap-told": "heights nobody can prove any more are told, never skipped silently [issue 6]",
    "subscription.lies-end-it": "what does not verify ends a subscription with its code [DESIGN 5]",
    "subscription.paced": "pauses grow while a node is away, up to a bound [DESIGN 7]",
    # -- what is trusted and why --------------------------------------------------------------------
    "trust.log": "the log tells what was believed, from which ground, and who began anew and why [trust.md 2]",
    "trust.torn-end": "a write broken off is left out and written over; a cut elsewhere is an earlier state or named [trust.md 2]",
    "trust.never-back": "what is believed never goes back, forks or changes its root but by a reset [trust.md 2]",
    "trust.shared": "several processes add to one log [trust.md 2]",
    "trust.bounded": "the log is bounded; rewritten it keeps roots and resets [trust.md 2]",
    "trust.reset": "a person's reset ends even a damaged file, with its reason [trust.md 4]",
    "trust.killed": "kill -9 at any write loses nothing that was acknowledged [issue 6]",
    "trust.bundle": "a signed bundle is a root only with enough signatures of the keys the reader named [trust.md 3]",
    # -- proof files --------------------------------------------------------------------------------
    "proof-file.round-trip": "a file answers offline what a live reader answers, from genesis or a header [proof-file.md 3]",
    "proof-file.trail": "a file tells who approved, with which keys, at which heights, final by whose power [proof-file.md 2]",
    "proof-file.every-field": "each field of a file is needed: changed, the file is refused by code [proof-file.md 4]",
    "proof-file.any-bytes": "any bytes are a proof file or refused by code, within the limits [proof-file.md 1]",
    "proof-file.as-of": "an expired file is refused unless a time is named, which the report says [proof-file.md 5]",
    "proof-file.root": "a file is judged from the root named, never from one of its own [proof-file.md 3]",
    "proof-file.no-network": "judging a file loads no network client [issue 6: offline]",
    "proof-file.one-code": "a lie of a quorum in a file is refused by the same rules as on a live node [issue 6]",
    "proof-file.real-chain": "a file made of a real CometBFT chain is judged with no node [issue 6]",
    "cli.export-proof": "a proof is written whole after it was judged, and says how to verify it [proof-file.md 6]",
    "cli.verify-file": "the report is readable and whole; exit codes tell what happened [proof-file.md 6]",
    "light.parallel-same": "signatures checked on several threads give the verdict of one loop, also where a check breaks [DESIGN 4]",
    "light.trusted-sealed": "a trusted block is made by verification, a root of trust or our own store alone [DESIGN 4]",
    "light.key-types": "ed25519 and secp256k1 are judged as CometBFT does; other types are refused by name [crypto/]",
    "light.recorded-versions": "recorded blocks of CometBFT 0.34 to 0.40 verify to the last hash and signature [vectors]",
    "light.mutants": "no altered field is believed but where the page says why it has no effect [verification.md]",
    "light.differential": "every verdict is that of CometBFT's own light client, but for named exceptions [light/verifier.go]",
    "bench.p3-honest": "P3 times verification that would refuse a wrong block or proof [issue: verification without trust]",
}
