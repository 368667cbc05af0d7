from urllib.parse import urlsplit

import pytest

from trunkline_shared.config.providers import ALIASES, OTHER_PROVIDERS, PROVIDERS, split_model


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("openai:gpt-4o", ("openai", "gpt-4o")),
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("ollama:llama3:8b", ("ollama", "llama3:8b")),
        ("ollama_chat/llama3:8b", ("ollama", "llama3:8b")),
        ("openrouter:meta-llama/llama-3", ("openrouter", "meta-llama/llama-3")),
        ("openrouter/meta-llama/llama-3:free", ("openrouter", "meta-llama/llama-3:free")),
        ("gemini/gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("hosted_vllm/m", ("vllm", "m")),
        ("grok:4", ("xai", "4")),
        ("OpenAI:GPT", ("openai", "GPT")),
    ],
)
def test_provider_and_name_are_split_at_the_first_separator(
    model: str, parts: tuple[str, str]
) -> None:
    assert split_model(model) == parts


@pytest.mark.parametrize("model", ["gpt-4o", "openai:", ":x", "", "openai/"])
def test_a_model_without_provider_or_name_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match="is not provider:name"):
        split_model(model)


def test_aliases_lead_to_providers_and_hide_none() -> None:
    known = {*PROVIDERS, *OTHER_PROVIDERS}
    assert set(ALIASES.values()) <= known
    assert not set(ALIASES) & known


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_can_be_reached(name: str) -> None:
    provider = PROVIDERS[name]
    assert provider.name == name
    assert provider.api_key_variables
    if provider.base_url:
        assert urlsplit(provider.base_url).hostname
        assert provider.base_url.endswith(provider.path)
        assert not provider.base_url.endswith("/")
