"""Arguments of the commands for those who run a deployment on AWS."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    AddCommand = Callable[[Commands, str, str], argparse.ArgumentParser]

_EPILOG: Final = """\
Account, region and credentials are those of the environment, as for the AWS command line.
"""


def add_deployments(commands: Commands, add_command: AddCommand) -> None:
    """Add the commands."""
    _add_redrive(commands, add_command)


def _add_redrive(commands: Commands, add_command: AddCommand) -> None:
    parser = add_command(
        commands,
        "redrive",
        "list the messages of a deployment on AWS that failed for good, with their reasons, and "
        "move them back where that is asked for",
    )
    parser.epilog = _EPILOG
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--stage", default="dev", help="the deployment, by the name of its stage (default: dev)"
    )
    which.add_argument(
        "--queue", metavar="URL", default="", help="one dead-letter queue, by its URL"
    )
    parser.add_argument(
        "--to",
        metavar="URL",
        default="",
        help="with --queue: the queue that messages go back to (default: the one before it)",
    )
    parser.add_argument(
        "--only",
        metavar="TEXT",
        default="",
        help="only messages whose reason, or what they are about, has this text in it",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many of each queue")
    parser.add_argument("--move", action="store_true", help="move them back; without, only list")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    parser.set_defaults(run=_redrive)


def _redrive(parsed: argparse.Namespace) -> None:
    from dicomulus.cli.redrive import redrive
    from dicomulus.composition import redrives

    check_needed("redrive")
    walks = redrives(stage=parsed.stage, url=parsed.queue, target_url=parsed.to)
    for line in redrive(
        walks, only=parsed.only, limit=parsed.limit, moves=parsed.move, as_json=parsed.json
    ):
        print(line, flush=True)


def check_needed(command: str) -> None:
    """Refuse to go on without what speaks to AWS.

    Raises:
        ConfigurationError: It is not installed.
    """
    if find_spec("boto3") is None:
        raise ConfigurationError(f"{command} needs boto3: install dicomulus[aws]")
