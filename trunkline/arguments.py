"""The command line: which commands take which options."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trunkline import __version__
from trunkline_shared.purge import PURGED


@dataclass(frozen=True, slots=True)
class Option:
    flag: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    many: bool = False
    switches: tuple[tuple[str, str, Any], ...] = ()
    """Flags without a value, at most one of which stands for the option: flag, help, value."""

    @property
    def name(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


COMMON = (
    Option("--redis-url", "redis://, rediss:// or unix:// URL", "URL"),
    Option("--prefix", "of every key in Redis", "WORD"),
    Option("--log-format", "of the lines on stderr", choices=("json", "text")),
    Option("--log-level", "debug, info, warning or error", "LEVEL"),
)
API = (
    Option("--host", "address to listen on (127.0.0.1)", "HOST"),
    Option("--port", "port to listen on (8000); 0 with serve: any free one", "PORT"),
    Option("--api-key", "a key that opens the door; may be given again", "KEY", many=True),
    Option("--api-key-file", "one key a line, `name:key` or `key`", "FILE"),
    Option(
        "--cors-origins",
        "comma list, or * for all; off unless given",
        "ORIGINS",
        switches=(
            ("--cors", "any origin, like --cors-origins '*'", ("*",)),
            ("--no-cors", "no origin, whatever the variable says", ()),
        ),
    ),
)
WORKER = (
    Option("--slots", "runs at once in one worker (100)", "N"),
    Option("--pool", "comma list of the pools to serve", "POOLS"),
    Option("--drain-s", "what runs may go on so long after a stop (30)", "SECONDS"),
)
SERVE = (
    Option("--data-dir", "where `serve` keeps its data", "DIR"),
    Option("--workers", "worker processes (1)", "N"),
)
KEYS = (*COMMON[:2], SERVE[0])
PURGE = (
    Option("--principal", "of this one alone, as `trunkline keys list` names it", "NAME"),
    Option("--older-than", "30d or 12h: asked for, or last changed, longer ago", "SPAN"),
    Option("--kind", "only this one; may be given again (all)", choices=PURGED, many=True),
)
EPILOG = """Every option is also a variable: --redis-url is TRUNKLINE_REDIS_URL; an option wins.
Settings that are variables only stand in docs/configuration.md."""
COMMANDS_EPILOG = "`trunkline COMMAND --help` lists what a command takes."
KEYS_EPILOG = """Without --redis-url (TRUNKLINE_REDIS_URL) it is the Redis of the `trunkline serve`
that runs on --data-dir (TRUNKLINE_DATA_DIR). --prefix is TRUNKLINE_PREFIX."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was asked for. `options` has None for an option that was not given."""

    command: str
    config: str | None
    options: dict[str, Any]
    parent_pipe: int | None = None


def parse(argv: Sequence[str] | None) -> Arguments:
    """Exits like any argparse program on --help, --version and mistakes (code 2)."""
    given = vars(_parser().parse_args(argv))
    command, config = given.pop("command"), given.pop("config", None)
    parent_pipe = given.pop("parent_pipe", None)
    options = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
    return Arguments("serve" if command == "serve-api" else command, config, options, parent_pipe)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trunkline",
        description="Every agent a model on an OpenAI-compatible server.",
        epilog=COMMANDS_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"trunkline {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str, *options: Option, **more: Any) -> argparse.ArgumentParser:
        epilog = EPILOG if options else None
        made = commands.add_parser(name, help=help, description=help, epilog=epilog, **more)
        for option in options:
            _add(made, option)
        return made

    serve = command(
        "serve",
        "API and worker on one machine, with a Redis of its own unless --redis-url is given",
        *(*COMMON, *API, *WORKER, *SERVE),
        aliases=["serve-api"],
    )
    serve.add_argument("config", nargs="?", metavar="CONFIG", help="default: an echo agent")
    api = command("api", "the API tier alone", *COMMON, *API)
    worker = command("worker", "one worker process", *COMMON, *WORKER)
    check = command("check", "validate CONFIG, list its agents and what each lacks")
    for each in (api, worker, check):
        each.add_argument("config", metavar="CONFIG", help="the agents, in YAML")
    for each in (serve, api):
        each.add_argument(
            "--docs",
            action=argparse.BooleanOptionalAction,
            help="/docs, /redoc and /openapi.json (on)",
        )
    for each in (serve, api, worker):
        each.add_argument("--parent-pipe", type=int, help=argparse.SUPPRESS)
    _add_keys(command("keys", "make, list and revoke API keys that are kept in Redis"))
    what = "remove what is stored before its retention ends"
    purge = commands.add_parser("purge", help=what, description=what, epilog=KEYS_EPILOG)
    for option in (*PURGE, *KEYS):
        _add(purge, option)
    purge.add_argument(
        "--dry-run", action="store_const", const=True, help="count it, and remove nothing"
    )
    return parser


def _add_keys(keys: argparse.ArgumentParser) -> None:
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help, description=help, epilog=KEYS_EPILOG)
        for option in KEYS:
            _add(made, option)
        return made

    create = action("create", "make a key and print it, once")
    create.add_argument("name", metavar="NAME", help="who it stands for")
    create.add_argument(
        "--models",
        nargs="+",
        action="extend",
        metavar="PATTERN",
        help="the models that it may use, as in 'team-*' (all)",
    )
    create.add_argument(
        "--max-concurrent", metavar="N", help="runs at once; 0: any number (as the server's)"
    )
    create.add_argument(
        "--expires", metavar="WHEN", help="30d, 12h, or a day, on which it ends at 00:00 UTC"
    )
    create.add_argument(
        "--admin", action="store_const", const=True, help="may change what all callers share"
    )
    action("list", "list all keys that were ever made; shows no key")
    revoke = action("revoke", "end a key, at once and everywhere")
    revoke.add_argument("which", metavar="NAME|ID", help="as `trunkline keys list` shows it")


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    group = parser.add_mutually_exclusive_group() if option.switches else parser
    for flag, help, value in option.switches:
        group.add_argument(flag, dest=option.name, action="store_const", const=value, help=help)
    group.add_argument(
        option.flag,
        help=option.help,
        metavar=option.metavar,
        choices=option.choices,
        action="append" if option.many else "store",
    )
