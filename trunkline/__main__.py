"""The command line: `trunkline`, or `python -m trunkline`."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from trunkline.arguments import Arguments, parse
from trunkline.settings import unknown_variables
from trunkline_shared.errors import TrunklineError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 2 for what the operator has to mend."""
    arguments = parse(argv)
    try:
        return _run(arguments, os.environ)
    except TrunklineError as error:
        print(f"trunkline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


# Each command imports only what it runs: the API's image has no worker in it.
def _run(arguments: Arguments, environ: Mapping[str, str]) -> int:
    if arguments.command == "serve" or arguments.parent_pipe is None:  # else serve has said it
        for sentence in unknown_variables(environ):
            print(f"trunkline: {sentence}", file=sys.stderr)
    if arguments.parent_pipe is not None:
        from trunkline.parent_pipe import end_with_parent

        end_with_parent(arguments.parent_pipe)
    if arguments.command == "keys":
        from trunkline.keys_command import run_keys

        return run_keys(arguments.options, environ)
    if arguments.command == "purge":
        from trunkline.purge_command import run_purge

        return run_purge(arguments.options, environ)
    config = Path(arguments.config) if arguments.config else None
    if arguments.command == "serve" or config is None:
        from trunkline.serve import serve

        return serve(config, arguments.options, environ)
    if arguments.command == "check":
        from trunkline.check import check

        return check(config, environ, sys.stdout)
    from trunkline.tiers import run_tier

    return run_tier(arguments.command, config, arguments.options, environ)


if __name__ == "__main__":
    sys.exit(main())
