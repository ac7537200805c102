"""The error tree and the stable refusal codes.

Owns the one table of codes. A refusal says what was got, what was expected and what to do; programs
read ``code`` and ``facts``, never the text. Numbers are part of the protocol where they reach a
transaction result: they are never reused.
"""

from __future__ import annotations

import enum
import errno
from typing import Any, TypeVar


class Code(enum.IntEnum):
    """Every refusal of the system. 0 is acceptance.

    Ranges: 1xx bytes and shape, 2xx who speaks, 3xx what they may, 4xx the ledger's state,
    5xx verification, 6xx bridge, 7xx the surroundings, 8xx command line and rendering,
    9xx what a model may ask (MCP server).
    """

    OK = 0

    ENVELOPE_UNREADABLE = 100
    ENVELOPE_NOT_MINIMAL = 101
    ENVELOPE_TOO_LARGE = 102
    BODY_TOO_LARGE = 103
    BODY_NOT_JSON = 104
    BODY_NOT_CANONICAL = 105
    BODY_TOO_DEEP = 106
    BODY_NUMBER_OUT_OF_RANGE = 107
    FIELD_MISSING = 108
    FIELD_UNKNOWN = 109
    FIELD_INVALID = 110
    ACTION_UNKNOWN = 111
    LIMIT_EXCEEDED = 112
    ABCI_FRAME_INVALID = 120
    ABCI_REQUEST_UNREADABLE = 121
    ABCI_REQUEST_UNKNOWN = 122

    CHAIN_ID_MISMATCH = 200
    SIGNER_UNKNOWN = 201
    SIGNATURE_MISSING = 202
    SIGNATURE_INVALID = 203
    KEY_NOT_OF_SIGNER = 204
    KEY_INVALID = 205
    NONCE_REPLAYED = 206
    NONCE_TOO_OLD = 207
    ENVELOPE_EXPIRED = 209
    NOT_AFTER_TOO_FAR = 210
    KEY_NOT_ACTIVE = 211
    KEY_PURPOSE_MISSING = 212
    SIGNER_DEACTIVATED = 213
    KEY_TAKEN = 214
    KEY_NOT_COMMITTED = 215
    ROTATION_UNSIGNED = 216
    INCEPTION_INVALID = 217
    ROTATION_IMPOSSIBLE = 218
    RATE_EXCEEDED = 219
    OPEN_PROPOSALS_EXCEEDED = 220
    MEMPOOL_BUSY = 221
    NONCE_TOO_FAR = 222

    VERB_NOT_ALLOWED = 300
    AGENT_MAY_NOT_APPROVE = 301
    PERMISSION_DENIED = 302
    REPORTER_NOT_OF_CLUSTER = 303
    NO_RULE_MATCHES = 304
    GRANT_EXCEEDS_GRANTER = 305
    DELEGATION_TOO_DEEP = 306
    LOCKOUT = 307
    REQUIREMENT_CHANGED = 308
    BREAK_GLASS_INVALID = 309

    PROPOSAL_UNKNOWN = 400
    PROPOSAL_NOT_OPEN = 401
    APPROVAL_DIGEST_MISMATCH = 402
    APPROVAL_DUPLICATE = 403
    RELEASE_UNKNOWN = 404
    REVISION_UNKNOWN = 405
    CLUSTER_UNKNOWN = 406
    REPORT_SEQUENCE_STALE = 407
    PROPOSAL_EXPIRED = 408
    PROPOSAL_UNDER_APPROVED = 409
    IMAGE_NOT_PINNED = 410
    SECRET_WITH_DATA = 411
    OBJECT_INVALID = 412
    OBJECT_DUPLICATE = 413
    RELEASE_CLUSTERS_CHANGED = 414
    OBJECT_CLAIMED = 415
    REVISION_CONFLICT = 416
    FROZEN = 417
    OBJECT_UNKNOWN = 418
    OBJECT_IN_USE = 419
    QUERY_INVALID = 420
    HEIGHT_NOT_AVAILABLE = 421
    GENESIS_INVALID = 422
    STATE_CORRUPT = 423
    ROLLBACK_IMPOSSIBLE = 424
    STATE_NOT_EMPTY = 425
    IDENTITY_IMMUTABLE = 426
    RELEASE_NOT_ACTIVE = 427
    ROLLOUT_STATE_CONFLICT = 428
    VALIDATOR_STEP_TOO_LARGE = 429
    VALIDATORS_INVALID = 430
    UPGRADE_INVALID = 431
    TARGETS_EMPTY = 432
    REVOCATION_WITHOUT_EFFECT = 433
    ANCHOR_NOT_NEWER = 434
    REPORT_SEQUENCE_TOO_FAR = 435

    HEADER_MALFORMED = 500
    HEADER_CHAIN_MISMATCH = 501
    HEADER_VERSION_UNSUPPORTED = 502
    HEADER_NOT_NEWER = 503
    HEADER_TIME_NOT_NEWER = 504
    HEADER_FROM_FUTURE = 505
    TRUST_EXPIRED = 506
    COMMIT_MISMATCH = 507
    VALIDATORS_HASH_MISMATCH = 508
    NEXT_VALIDATORS_MISMATCH = 509
    COMMIT_SIGNATURE_INVALID = 510
    COMMIT_ADDRESS_MISMATCH = 511
    COMMIT_UNDER_TWO_THIRDS = 512
    VALIDATOR_DUPLICATE = 513
    NOT_ENOUGH_TRUST = 514
    VALIDATOR_SET_INVALID = 515
    KEY_TYPE_UNSUPPORTED = 516
    PROOF_INVALID = 517
    PROOF_MISSING = 518
    RESULTS_HASH_MISMATCH = 519
    TX_PROOF_INVALID = 520
    TRUST_ROOT_MISMATCH = 521
    STALE = 522
    LEDGER_RECORD_INVALID = 523
    OPERATOR_SIGNATURE_INVALID = 524
    APPROVALS_INSUFFICIENT = 525
    BISECTION_EXHAUSTED = 526
    TRUST_STORE_CORRUPT = 527
    HEADERS_DIVERGED = 528
    NO_WITNESS_AGREES = 529
    SNAPSHOT_INVALID = 530
    SNAPSHOT_FORMAT_UNKNOWN = 531
    SNAPSHOT_CHUNK_INVALID = 532
    SNAPSHOT_ROOT_MISMATCH = 533
    PROOF_FILE_INVALID = 534
    AUDIT_RECORD_INVALID = 535
    AUDIT_SEQUENCE_BROKEN = 536
    AUDIT_SIGNATURE_INVALID = 537
    AUDIT_CUT = 538
    AUDIT_FORKED = 539

    KUBERNETES_UNREACHABLE = 600
    KUBERNETES_REFUSED = 601
    OBJECT_NOT_OWNED = 602
    OBJECT_KIND_UNKNOWN = 603
    INVENTORY_UNREADABLE = 604
    EMPTY_RELEASE = 605
    KUBECONFIG_INVALID = 606
    OBJECT_SCOPE_MISMATCH = 607
    OBJECT_TERMINATING = 608
    OBJECT_IMMUTABLE = 609
    KUBERNETES_FORBIDDEN = 610
    LEASE_NOT_HELD = 611
    OBJECT_CONTESTED = 612
    INVENTORY_LOST = 613

    TOOL_MISSING = 700
    TOOL_BUILD_FAILED = 701
    PORT_TAKEN = 702
    DISK_FULL = 703
    RPC_UNREACHABLE = 704
    RPC_ANSWER_INVALID = 705
    RPC_ANSWER_TOO_LARGE = 706
    RPC_REFUSED = 707
    TIMEOUT = 708
    HOME_INVALID = 709
    HOME_EXISTS = 710
    KEY_FILE_INVALID = 711
    PROCESS_DIED = 712
    STATE_LOCKED = 713
    TX_REFUSED = 715
    STATE_IO_FAILED = 716
    DEMO_FAILED = 717
    UPGRADE_REQUIRED = 718

    USAGE = 800
    YAML_INVALID = 801
    SOURCE_MISSING = 802
    REMOTE_SOURCE = 803
    RENDER_FAILED = 804
    NAMESPACE_UNKNOWN = 805
    PIN_FILE_INVALID = 806
    NAME_UNKNOWN = 807

    TOOL_NOT_ALLOWED = 900
    ARGUMENT_NOT_ALLOWED = 901
    TEXT_DISGUISED = 902
    BUDGET_EXCEEDED = 903
    LOOP_DETECTED = 904
    EXFILTRATION_SUSPECTED = 905
    SECRET_FOUND = 906
    AGENT_SUSPENDED = 907
    FIRST_TOUCH = 908
    TOKEN_MISSING = 910
    TOKEN_INVALID = 911
    TOKEN_EXPIRED = 912
    DPOP_INVALID = 913
    ASSERTION_INVALID = 914
    AUTH_REPLAYED = 915


class ConclaveError(Exception):
    """Base of everything we raise on purpose.

    Attributes:
        code: the stable code.
        got: what was met, short enough to print.
        expected: what would have been accepted.
        todo: what the reader can do about it.
        facts: further facts by name (file, line, field, object, heights …), JSON values only.
    """

    def __init__(
        self, code: Code, *, got: object = "", expected: str = "", todo: str = "", **facts: Any
    ) -> None:
        self.code = code
        self.got = _short(got)
        self.expected = expected
        self.todo = todo
        self.facts = facts
        super().__init__(code.name)

    def __str__(self) -> str:
        parts = [self.code.name]
        if self.got:
            parts.append(f"got {self.got}")
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.facts:
            parts.append(", ".join(f"{k}={_short(v)}" for k, v in sorted(self.facts.items())))
        if self.todo:
            parts.append(self.todo)
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Give the error as programs read it: code, name, got, expected, todo, facts."""
        return {
            "code": int(self.code),
            "name": self.code.name,
            "got": self.got,
            "expected": self.expected,
            "todo": self.todo,
            "facts": self.facts,
        }


class Refused(ConclaveError):
    """Somebody else's input does not pass a rule: bytes, signatures, permissions, ledger state."""


class VerificationFailed(ConclaveError):
    """What an untrusted peer said does not verify. Nothing of it may be used."""


class EnvironmentFault(ConclaveError):
    """The surroundings failed: a tool, a port, a disk, a network peer, the Kubernetes API."""


E = TypeVar("E", bound=ConclaveError)


def caused(kind: type[E], code: Code, cause: ConclaveError, **facts: Any) -> E:
    """Make an error of another code that keeps what ``cause`` got and expected, and its name as a fact."""
    return kind(code, got=cause.got, expected=cause.expected, cause=cause.code.name, **facts)


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a write fails with where there is no room: the disk, a quota, a limit of the process."""


def unwritable(
    error: OSError, expected: str = "a folder that can be written", **facts: Any
) -> EnvironmentFault:
    """Make the fault of what cannot be written: DISK_FULL where there is no room, else HOME_INVALID."""
    full = error.errno in NO_ROOM
    return EnvironmentFault(
        Code.DISK_FULL if full else Code.HOME_INVALID,
        got=error,
        expected="room on the disk" if full else expected,
        todo="free space, then run it again" if full else "check the path, its owner and its permissions",
        **facts,
    )


def _short(value: object, limit: int = 300) -> str:
    """Give text of bounded length in which no stranger's control character or lone surrogate survives."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = text if len(text) <= limit else text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
