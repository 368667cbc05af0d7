from typing import Any

import pytest
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from trunkline_shared.events import Usage
from trunkline_worker.backends.chat_usage import usage_of
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices


def spec(provider: str, name: str, prices_id: str | None = None) -> ModelSpec:
    return ModelSpec(provider=provider, name=name, base_url="http://x", prices_id=prices_id)


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({}, Usage()),
        ({"prompt_tokens": None, "completion_tokens": "7"}, Usage()),
        ({"prompt_tokens": 1e300, "completion_tokens": 7}, Usage(0, 7)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(10, 5, 4, 2, 3),
        ),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 6}, Usage(10, 0, 6)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 18,
                "prompt_tokens_details": None,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(10, 8, reasoning_tokens=3),
        ),
    ],
)
def test_usage_is_read_from_every_usual_shape(reported: dict[str, Any], usage: Usage) -> None:
    assert usage_of(reported) == usage


def test_cached_tokens_cost_less() -> None:
    mini = spec("openai", "gpt-4o-mini", "openai")
    assert Prices().cost(mini, Usage(1000, 100)) == pytest.approx(0.00021)
    assert Prices().cost(mini, Usage(1000, 100, 500)) == pytest.approx(0.0001725)


def test_the_service_tier_counts() -> None:
    five, usage = spec("openai", "gpt-5", "openai"), Usage(1000, 1000)
    plain, flex = Prices().cost(five, usage), Prices().cost(five, usage, "flex")
    assert plain is not None and flex == pytest.approx(plain / 2)


def test_an_unknown_price_is_none_and_never_zero() -> None:
    usage = Usage(1000, 1000)
    assert Prices().cost(spec("openai", "words-16", "openai"), usage) is None
    assert Prices().cost(spec("ollama", "gpt-4o"), usage) is None  # one's own machine
    assert Prices().cost(spec("mine", "nothing-known"), usage) is None


def test_a_provider_that_only_its_url_explains_is_priced_by_the_models_name() -> None:
    expected = Prices().cost(spec("openai", "gpt-4o", "openai"), Usage(1000, 1000))
    assert Prices().cost(spec("mine", "openai/gpt-4o"), Usage(1000, 1000)) == expected


def test_the_short_way_agrees_with_the_package_for_every_model() -> None:
    prices, usage = Prices(), Usage(10_000, 777, 3000, 500)
    packed: Any = dict(
        input_tokens=10_000, output_tokens=777, cache_read_tokens=3000, cache_write_tokens=500
    )
    from genai_prices import Usage as Priced

    for provider in get_snapshot().providers:
        for model in provider.models:
            ours = prices.cost(spec("x", model.id, provider.id), usage)
            if ours is not None:
                theirs = calc_price(Priced(**packed), model.id, provider_id=provider.id)
                assert ours == pytest.approx(float(theirs.total_price)), model.id
