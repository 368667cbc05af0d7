"""Functions that an operator might have."""

import asyncio
import threading
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from trunkline_worker.toolsets.base import ToolError
from trunkline_worker.toolsets.imported import RunInfo

begun = threading.Event()
release = threading.Event()
ended: list[str] = []


@dataclass
class Order:
    item: str
    count: int = 1


def price(order: Order, currency: Literal["EUR", "USD"] = "EUR") -> dict[str, object]:
    """What an order costs.

    Args:
        order: What is bought.
    """
    return {"total": 3 * order.count, "currency": currency, "item": order.item}


async def greet(name: Annotated[str, Field(description="Whom to greet")]) -> str:
    return f"Hello {name}"


def whose(info: RunInfo, *, loud: bool = False) -> str:
    """Says where it works."""
    return f"{info.agent} {info.conversation} {info.workspace} {loud}"


async def endless() -> None:
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        ended.append("endless")
        raise


def broken() -> None:
    raise KeyError("the internal table")


def refuses() -> None:
    raise ToolError("There is no such customer.")


def slips() -> None:
    raise TimeoutError("of its own")


def stuck() -> str:
    release.wait(30)
    return "at last"


async def leaves() -> None:
    raise SystemExit(1)


def ends_the_process() -> None:
    raise SystemExit(3)


def stops() -> None:
    raise StopIteration


def positional(a: int, /) -> int:
    return a


def unresolved(a: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821  # what it is for
    """Never called."""


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def up(self, by: int = 1) -> int:
        self.count += by
        return self.count

    def __call__(self, to: int) -> int:
        self.count = to
        return to


counter = Counter()
not_a_function = 7
