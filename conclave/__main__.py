"""``conclave``: the command line.

Owns the table of verbs and the way every failure ends. Promises a fast start (a verb's module is imported
only when it runs), no traceback at the user, and the exit codes of ``conclave.errors``. Holds no rule of
the ledger.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from conclave.command import CONTEXT, Session, Verb, asked_format, shared
from conclave.errors import (
    EXIT_INTERRUPTED,
    ensure_streams,
    flush,
    tell,
    tell_unexpected,
    tell_usage,
    write_error,
)
from ledger.errors import ConclaveError

VERBS: dict[str, tuple[str, str]] = {
    "init": ("conclave.verbs.init", "Make a ledger: keys, genesis and validators in a new home."),
    "up": ("conclave.verbs.up", "Start validators, clusters and bridges in the background."),
    "down": ("conclave.verbs.down", "Stop everything that up started."),
    "node": ("conclave.verbs.node", "Run one validator in the foreground."),
    "bridge": ("conclave.verbs.bridge", "Run one cluster's bridge; print what is installed for it."),
    "key": ("conclave.verbs.key", "Make, list and show keys."),
    "diff": ("conclave.verbs.diff", "Show what a source would change."),
    "propose": ("conclave.verbs.propose", "Render, sign and submit a release or ledger objects."),
    "explain": ("conclave.verbs.explain", "Ask what a change or proposal would need to pass."),
    "approve": ("conclave.verbs.approve", "Approve a proposal."),
    "reject": ("conclave.verbs.reject", "Reject a proposal."),
    "rollback": ("conclave.verbs.rollback", "Propose an earlier revision again."),
    "withdraw": ("conclave.verbs.withdraw", "Propose that a release goes nowhere new."),
    "delete": ("conclave.verbs.delete", "Propose the end of a release."),
    "remove": ("conclave.verbs.remove", "Propose that ledger objects go, or a freeze or suspension ends."),
    "pause": ("conclave.verbs.pause", "Stop a rollout where it is, at once."),
    "resume": ("conclave.verbs.resume", "Let a paused rollout go on."),
    "freeze": ("conclave.verbs.freeze", "Stop everything in a scope, at once."),
    "suspend": ("conclave.verbs.suspend", "Cut an agent off, at once."),
    "revoke": ("conclave.verbs.revoke", "End keys of a subject, at once."),
    "status": ("conclave.verbs.status", "Show each release on each cluster."),
    "get": ("conclave.verbs.get", "Read objects of the ledger, with proof."),
    "wait": ("conclave.verbs.wait", "Wait until a release or proposal is where it is wanted."),
    "events": ("conclave.verbs.events", "Show what the ledger recorded, and what comes."),
    "logs": ("conclave.verbs.logs", "Show the logs of what up started."),
    "history": ("conclave.verbs.history", "List the revisions of a release."),
    "verify": ("conclave.verbs.verify", "Check a proof file, or a release or proposal, again."),
    "export": ("conclave.verbs.export", "Write a proof of what the ledger says into a file."),
    "mcp": ("conclave.verbs.mcp", "Serve the ledger to a model over MCP, proven."),
    "audit": ("conclave.verbs.audit", "Verify, list and export the audit of a model's calls."),
    "trust": ("conclave.verbs.trust", "Show or name the root of trust."),
    "demo": ("conclave.verbs.demo", "Tell the whole story on this machine."),
    "tools": ("conclave.verbs.tools", "Find or build the external programs."),
    "completion": ("conclave.verbs.completion", "Print the shell's completion script."),
}


class LazyGroup(click.Group):
    """A group that imports a verb's module when the verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the verbs in the table's order."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and give a verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(VERBS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a word that is none is answered with those that look like it."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=3)
            meant = f", did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"no verb is called {args[0]!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table, importing none."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples."""
        Verb(
            "conclave",
            examples=(
                "conclave init && conclave up",
                "conclave propose examples/guestbook --as alice",
                "conclave approve 1 --as bob",
                "conclave status",
            ),
        ).format_epilog(ctx, formatter)


@click.group("conclave", cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(package_name="conclave", prog_name="conclave")
@shared
def cli() -> None:
    """BFT-governed Kubernetes for networks without a wire.

    Operators propose signed releases, a quorum approves, validators finalize, and the bridge beside each
    cluster verifies everything itself before it applies.

    Exit codes: 0 done, 1 refused by a rule, 2 usage, 3 verification failed, 4 environment.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line; give the exit code."""
    given = list(arguments)
    ensure_streams()
    session = Session.from_environment()
    session.output = asked_format(given)
    try:
        result = cli.main(args=given, prog_name="conclave", standalone_mode=False, obj=session)
    except ConclaveError as error:
        return tell(error, session.output)
    except click.ClickException as error:
        return tell_usage(error, session.output)
    except (click.Abort, KeyboardInterrupt):
        write_error("interrupted\n")
        return EXIT_INTERRUPTED
    except SystemExit:  # click's answer to a closed pipe, which is nobody's fault
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence between a fault of ours and the user
        return tell_unexpected(error, session.output)
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run ``conclave`` with the process's arguments and exit."""
    status = run(sys.argv[1:])
    sys.exit(flush(status))


if __name__ == "__main__":
    main()
