"""``conclave demo``: the whole story on this machine.

Promises to build or find what it needs with progress, to exit 0 only if every check held, and to leave
nothing running unless asked to.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from pathlib import Path

import click

from conclave.command import Session, verb
from conclave.programs import Tool, program
from ledger.errors import Code, EnvironmentFault


@verb("demo", "conclave demo", "conclave demo --keep", "KUBECONFIG=~/.kube/config conclave demo")
@click.option("--keep", is_flag=True, help="Leave everything up and print what to type next.")
def command(session: Session, *, keep: bool) -> int:
    """Tell the whole story on this machine: ten chapters, each a check that can fail.

    With KUBECONFIG set it uses that cluster, in a namespace of its own, instead of making one.
    """
    from conclave.demo.narrator import DemoFailed, Narrator
    from conclave.demo.stage import Stage
    from conclave.demo.story import clean_up, tell

    given = os.environ.pop("KUBECONFIG", "").split(os.pathsep)[0]
    for tool in (Tool.COMETBFT, *(() if given else (Tool.DEVKUBE,))):
        program(tool, session.output.note)
    folder = Path(tempfile.mkdtemp(prefix="conclave-demo-"))
    stage = Stage(
        home=folder / "ledger",
        narrator=Narrator(),
        namespace=f"guestbook-{secrets.token_hex(2)}" if given else "guestbook",
        kubeconfig=Path(given).absolute() if given else None,
    )
    try:
        tell(stage)
        stage.narrator.summary()
    except DemoFailed as failure:
        raise EnvironmentFault(
            Code.DEMO_FAILED,
            got=failure.what,
            expected=failure.step,
            todo="run it again with --keep to look around; please report it if it fails twice",
        ) from failure
    finally:
        if keep:
            _tell_how(stage.home, given or str(stage.home / "clusters" / "east" / "kubeconfig"))
        else:
            clean_up(stage)
            folder.rmdir()
    return 0


def _tell_how(home: Path, kubeconfig: str) -> None:
    print(f"""
Everything is still up. Play with it:
  export CONCLAVE_HOME={home} KUBECONFIG={kubeconfig} PATH={Path(sys.executable).parent}:$PATH
  conclave status
  conclave history guestbook
  conclave verify release guestbook
  conclave propose examples/guestbook-v2 --as alice
  conclave down          # when done; then remove {home.parent}""")
