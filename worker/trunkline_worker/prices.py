"""What tokens cost: the price table of the genai-prices package, never fetched, never guessed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from trunkline_shared.config.providers import PROVIDERS
from trunkline_shared.events import Usage
from trunkline_worker.models import ModelSpec

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

# A price of these alone is linear, and costs 3 microseconds instead of the package's 100.
_PER_TOKEN = frozenset({"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"})
# Priced by what a chat completion of ours never has.
_OTHERS = frozenset({"web_searches_kcount", "storage_searches_kcount", "cache_write_1h_mtok"})


@dataclass(frozen=True, slots=True)
class _Priced:
    provider: "Provider"
    model: "ModelInfo"


class Prices:
    """Finds each model's price once; the first look-up imports the table (half a second)."""

    def __init__(self) -> None:
        self._found: dict[tuple[str | None, ...], _Priced | None] = {}

    def load(self, spec: ModelSpec) -> None:
        """Looks the model up, so that no run waits for it."""
        if spec.rates is None:
            self._priced(spec)

    def cost(self, spec: ModelSpec, usage: Usage, service_tier: str | None = None) -> float | None:
        """US dollars of `usage`, at this moment's price; None when the price is unknown."""
        if spec.rates is not None:
            per_input, per_output = spec.rates
            return usage.input_tokens * per_input + usage.output_tokens * per_output
        priced = self._priced(spec)
        if priced is None:
            return None
        context = {"service_tier": service_tier} if service_tier else None
        price = priced.model.get_prices(datetime.now(UTC), context)
        rates = {name: rate for name, rate in vars(price).items() if rate is not None}
        if not rates:
            return None
        linear = all(
            name in _OTHERS or (name in _PER_TOKEN and isinstance(rate, Decimal))
            for name, rate in rates.items()
        )
        return _linear(rates, usage) if linear else _any(price, usage)

    def _priced(self, spec: ModelSpec) -> _Priced | None:
        key = (spec.prices_id, spec.provider, spec.name)
        if key not in self._found:
            self._found[key] = _find(spec)
        return self._found[key]


def _find(spec: ModelSpec) -> _Priced | None:
    if spec.prices_id is None and spec.provider in PROVIDERS:
        return None  # a server of one's own, or one whose prices nobody knows
    from genai_prices.data_snapshot import get_snapshot

    # A provider that only its URL explains is mostly a proxy for models that have a price.
    name = spec.name if spec.prices_id else spec.name.rpartition("/")[2]
    try:
        return _Priced(*get_snapshot().find_provider_model(name, None, spec.prices_id, None))
    except LookupError:
        return None


def _parts(usage: Usage) -> tuple[int, int]:
    cached = min(usage.cached_tokens, usage.input_tokens)
    return cached, min(usage.cache_write_tokens, usage.input_tokens - cached)


def _linear(rates: dict[str, Decimal], usage: Usage) -> float:
    cached, written = _parts(usage)
    entry = float(rates.get("input_mtok", 0))
    read = float(rates.get("cache_read_mtok", entry))
    write = float(rates.get("cache_write_mtok", entry))
    plain = usage.input_tokens - cached - written
    dollars = plain * entry + cached * read + written * write
    return (dollars + usage.output_tokens * float(rates.get("output_mtok", 0))) / 1e6


def _any(price: "ModelPrice", usage: Usage) -> float:
    from genai_prices import Usage as Priced

    cached, written = _parts(usage)
    tokens = Priced(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=cached,
        cache_write_tokens=written,
    )
    return float(price.calc_price(tokens)["total_price"])
