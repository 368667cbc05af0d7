"""What the agent of examples/functions.yml can do: types and docstrings are what its model sees."""

import asyncio

PRICES = {"lamp": 19.5, "chair": 80.0}


def price_of(article: str) -> float:
    """The price of an article, in euros."""
    return PRICES[article]


async def order(article: str, count: int = 1) -> str:
    """Order some of an article."""
    await asyncio.sleep(0)  # where a shop would be asked
    return f"{count} x {article}: {count * PRICES[article]:.2f} euros"
