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
    "transport.any-split": "any split of the bytes gives the same requests, in linear work [python-abci §1]",
    "transport.any-bytes": "broken bytes close that connection with ResponseException only [issue]",
    "transport.size-cap": "a message over ABCI_MESSAGE_BYTES_MAX is refused before it is buffered [limits]",
    "transport.order": "answers leave in request order per connection [CometBFT socket_client.go]",
    "transport.method-table": "every ABCI call gets the response of its own kind [types.proto]",
    "transport.flush": "a Flush writes pending answers before the next call [socket_client.go]",
    "transport.fair": "a pipelined connection cannot starve another [python-abci §1]",
    "transport.back-pressure": "a peer that does not read is not served into memory [python-abci §1]",
    "transport.bounded": "connections are bounded [DESIGN 4]",
    "transport.failure-ends": "a failing or unknown call: ResponseException, all closed, non-zero exit [§1]",
    "transport.stop": "SIGTERM lets the running Commit finish and answer, then exits 0 [python-abci §1]",
    "transport.local-only": "the application listens on a private unix socket or loopback only [DESIGN 2]",
    "transport.long-path": "a too long socket path becomes relative or is refused [issue]",
    "transport.stale-socket": "a stale socket file is replaced, anything else never [issue]",
    "transport.determinism": "python -O and protobuf backends other than upb are refused [python-abci §6]",
    # -- consensus/light ----------------------------------------------------------------------------
    # -- consensus (reader, submit, node) -----------------------------------------------------------
    "process.recycled-pid": "a recycled pid is never taken for ours and never signalled [pidfd_open(2)]",
    "process.stop-bounded": "a process that ignores SIGTERM is killed within the bound [DESIGN 7]",
    "process.start-refused": "a program that cannot be started is refused with a code [issue: bad input]",
    "supervise.one-unit": "one member dies: all restart together, in order [CometBFT multi_app_conn.go]",
    "supervise.gives-up": "too many deaths, or a permanent refusal: PROCESS_DIED with the last lines [issue]",
    "supervise.stops": "SIGTERM ends every member and returns [issue: leaves nothing running]",
    "supervise.nothing-left": "kill -9 of the supervisor leaves no member [DESIGN 7]",
    "supervise.preflight": "what refuses a start refuses a restart with its own code [issue: disk full]",
    "supervise.logs-bounded": "a log stays within twice its bound while its writer lives [TIGER_STYLE]",
    "log.one-line": "one event is one JSON line whatever its fields hold",
    "retry.bounded": "backoff doubles up to a ceiling",
    "node.keys": "CometBFT key files: same form, private, never overwritten, refused when broken [privval/file.go]",
    "node.genesis": "genesis is a function of its arguments and refused when impossible [types/genesis.go]",
    "node.sizes": "a 4 MiB release passes RPC, mempool and block sizes [DESIGN 4]",
    "node.closed": "RPC on loopback, peers a closed set, no setting by injection [cometbft §6]",
    "node.heartbeat": "an idle chain makes a heartbeat block [DESIGN 4]",
    "node.transport": "socket and gRPC addresses work from any home [cometbft §2]",
    "node.preflight": "missing binary, full disk, taken port, broken home: refused with a code [issue: bad input]",
    "node.one-per-home": "one node per home, one home per key [cometbft §6]",
    # -- k8s_bridge ---------------------------------------------------------------------------------
    "bridge.only-verified": "only a Verified release revision can be planned [DESIGN §3]",
    "bridge.signed-is-applied": "what is signed is exactly what is applied [DESIGN §4]",
    "bridge.no-op-writes-nothing": "a release that is in place writes nothing; resourceVersions stay [issue 3 step 6]",
    "bridge.upgrade": "changed objects are patched, removed ones pruned, unchanged ones untouched [issue 3 step 6]",
    "bridge.drift-undone": "a hand edit or deletion of an applied object is undone [issue 3 step 7]",
    "bridge.foreign-untouched": "an object that is not ours is neither changed nor deleted [issue 3 step 7]",
    "bridge.namespace-kept": "a namespace that was there before, or holds anything else, is never pruned [kubernetes notes, trap 7]",
    "bridge.definition-first": "a definition and its objects go in one release [kubernetes notes, trap 3]",
    "bridge.kind-unknown": "an object of an unserved kind fails alone [issue 3]",
    "bridge.scope": "an object whose namespace does not fit its kind is refused [docs/spec/ledger.md §2]",
    "bridge.failure-deletes-nothing": "a failed apply holds every delete; a failed delete stays recorded [DESIGN §5]",
    "bridge.crash-never-orphans": "an object is recorded before it is applied [kubernetes notes, trap 7]",
    "bridge.inventory-unreadable": "an unreadable inventory prunes and overwrites nothing [kubernetes notes, trap 7]",
    "bridge.inventory-round-trip": "an inventory survives its ConfigMap [DESIGN §5]",
    "bridge.forward-only": "an older revision than the recorded one is never applied [DESIGN §4]",
    "bridge.claimed": "two releases cannot own one object [issue 6]",
    "bridge.terminating": "an object that is being deleted is waited for and then created again [issue 3]",
    "bridge.empty-refused": "an empty release prunes nothing [kubernetes notes, trap 7]",
    "bridge.bad-object-refused": "a manifest that is no object is refused with its field [issue 3]",
    "bridge.object-id": "object ids are spelled apiVersion/Kind/namespace/name [docs/spec/ledger.md §2]",
    "bridge.order": "dependencies first, webhooks last, pruning in reverse [kubernetes notes §2]",
    "bridge.plan-deterministic": "the same inputs give the same plan [DESIGN §3]",
    "bridge.health": "health follows kstatus, and a silent custom kind is unknown [kubernetes notes §2, issue 6]",
    # -- identity -----------------------------------------------------------------------------------
    "identity.key-file": "a key is a PKCS#8 file of mode 0600, made exclusively, never overwritten [issue 3]",
    "identity.passphrase": "an encrypted key file opens with its passphrase only [issue 3]",
    "identity.key-refused": "any other key file or URI is a refusal with the cure [issue 3 Bad input]",
    # -- conclave (rendering, command line) ---------------------------------------------------------
    "render.yaml-meaning": "YAML means what kubectl would send [notes/kubernetes, sigs.k8s.io/yaml]",
    "render.yaml-refused": "bad YAML or JSON is refused with file, line and column [issue 3 Bad input]",
    "render.yaml-bounded": "depth, size and alias expansion of a file are bounded [issue 3 Bad input]",
    "render.deterministic": "the same files and options give the same canonical bytes [DESIGN §4]",
    "render.release-file": "release.yaml is read strictly and flags override it [DESIGN §4]",
    "render.objects": "lists expand, artefacts go, a non-object is refused with file and line [ledger.md §2]",
    "render.namespaces": "every namespaced object names its namespace, or is refused [ledger.md §2]",
    "render.pins": "pins add digests and keep tags; every unpinned image is listed [issue 3 Real input]",
    "render.secrets": "every Secret with data is named and refused [issue 3 Real input]",
    "render.source-bounded": "nothing outside the source folder is read [issue 3 Bad input]",
    "render.offline": "an entry to be fetched is refused with its file before a renderer runs [issue 3]",
    "render.inputs": "the shared inputs render, or are refused, as the issue says [issue 3 Real input]",
    # -- demo and red team --------------------------------------------------------------------------
}
