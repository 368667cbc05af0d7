"""Where the agents of tests stand, to be named as an operator names theirs."""

from typing import Any

agent: Any = None
