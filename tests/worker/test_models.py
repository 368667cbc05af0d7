from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.providers import PROVIDERS
from trunkline_shared.errors import ConfigError
from trunkline_shared.llm import Llm
from trunkline_worker.models import ModelSpec, resolve_models, resolve_profile_model


def resolve(environ: dict[str, str] | None = None, **values: Any) -> list[ModelSpec]:
    return resolve_models(AgentConfig.model_validate({"name": "a", **values}), environ or {})


def test_openai_takes_its_key_from_the_environment_and_its_own_name_for_the_limit() -> None:
    (spec,) = resolve({"OPENAI_API_KEY": " sk-1\n"}, model="openai:gpt-4o")
    assert spec == ModelSpec(
        provider="openai",
        name="gpt-4o",
        base_url="https://api.openai.com/v1",
        api_key="sk-1",
        max_tokens_field="max_completion_tokens",
        prices_id="openai",
    )
    assert "sk-1" not in repr(spec)


@pytest.mark.parametrize(
    ("environ", "values", "url"),
    [
        ({}, {}, "http://127.0.0.1:11434/v1"),
        ({"OLLAMA_BASE_URL": "http://gpu:11434"}, {}, "http://gpu:11434/v1"),
        ({"OLLAMA_BASE_URL": "http://gpu:11434/v1/"}, {}, "http://gpu:11434/v1"),
        ({"OLLAMA_BASE_URL": "http://gpu"}, {"base_url": "http://x/"}, "http://x/v1"),
        ({"U": "http://y"}, {"base_url": "${U}"}, "http://y/v1"),
        ({}, {"base_url": "${U:-}"}, "http://127.0.0.1:11434/v1"),
    ],
)
def test_the_url_is_the_agents_then_the_variables_then_the_providers(
    environ: dict[str, str], values: dict[str, str], url: str
) -> None:
    (spec,) = resolve(environ, model="ollama:llama3:8b", **values)
    assert (spec.base_url, spec.name, spec.api_key) == (url, "llama3:8b", None)


def test_the_agents_key_comes_before_the_variable() -> None:
    environ = {"MINE": "k-1", "GROQ_API_KEY": "k-2"}
    assert resolve(environ, model="groq:x", api_key="${MINE}")[0].api_key == "k-1"
    assert resolve(environ, model="groq:x", api_key="${NOT_MINE:-}")[0].api_key == "k-2"


def test_an_unknown_provider_with_a_url_speaks_chat_completions() -> None:
    (spec,) = resolve(model="acme:m-1", base_url="https://llm.acme.example/api/")
    assert spec == ModelSpec(provider="acme", name="m-1", base_url="https://llm.acme.example/api")


def test_models_of_a_chain_that_cannot_run_are_left_out() -> None:
    specs = resolve({"GROQ_API_KEY": "k"}, model="openai:x, anthropic:y, groq:z, ollama:w")
    assert [spec.provider for spec in specs] == ["groq", "ollama"]
    assert [spec.api_key for spec in specs] == ["k", None]


def test_a_chain_in_one_variable_is_taken_apart() -> None:
    specs = resolve({"M": "ollama:a, lmstudio:b"}, model="${M}")
    assert [(spec.provider, spec.name) for spec in specs] == [("ollama", "a"), ("lmstudio", "b")]


def test_settings_are_resolved_typed_and_named_as_the_callers_options() -> None:
    (spec,) = resolve(
        {"T": "0.5", "TOKEN": "t"},
        model="ollama:x",
        settings={
            "temperature": "${T}",
            "max_tokens": 100,
            "stop": "END",
            "logit_bias": {"50256": -100},
            "extra_headers": {"Authorization": "Custom ${TOKEN}"},
            "extra_body": {"keep_alive": "${KEEP:-5m}", "options": {"num_ctx": 8192}},
        },
    )
    assert spec.settings == {
        "temperature": 0.5,
        "max_output_tokens": 100,
        "stop": ["END"],
        "logit_bias": {"50256": -100},
    }
    assert spec.extra_headers == {"Authorization": "Custom t"}
    assert spec.extra_body == {"keep_alive": "5m", "options": {"num_ctx": 8192}}
    assert "Custom" not in repr(spec)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "openai:x"}, "agent a: OPENAI_API_KEY is not set"),
        ({"model": "openai:x, groq:y"}, "agent a: OPENAI_API_KEY is not set; GROQ_API_KEY"),
        ({"model": "openai:x", "api_key": "${K}"}, "agent a: K is not set"),
        ({"model": "ollama:x", "settings": {"seed": "${S}"}}, "agent a: S is not set"),
        ({"model": "${M}"}, "agent a: M is not set"),
        ({"model": "copilot:x"}, "agent a: provider github-copilot cannot run in this version"),
    ],
)
def test_what_is_missing_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(**values)
    assert str(caught.value).startswith(message)


def test_mistral_is_not_asked_for_usage_because_it_refuses_the_field() -> None:
    (spec,) = resolve({"MISTRAL_API_KEY": "k"}, model="mistral:mistral-small-latest")
    assert not spec.takes_stream_options
    assert spec.max_tokens_field == "max_tokens"


def test_every_price_list_that_is_named_exists() -> None:
    known = {provider.id for provider in get_snapshot().providers}
    named = {p.genai_prices_id for p in PROVIDERS.values() if p.genai_prices_id}
    assert named <= known


def test_the_name_of_the_output_limit_is_the_agents_when_it_has_one() -> None:
    settings = {"max_tokens_field": "max_tokens", "max_tokens": 5}
    (spec,) = resolve({"OPENAI_API_KEY": "k"}, model="openai:x", settings=settings)
    assert spec.max_tokens_field == "max_tokens"
    assert spec.settings == {"max_output_tokens": 5}
    (standing_in,) = resolve(model="openai:x", base_url="http://127.0.0.1:1/v1")
    assert standing_in.max_tokens_field == "max_completion_tokens"


@pytest.mark.parametrize(
    ("llm", "field"),
    [
        ({"model": "gpt-5"}, "max_completion_tokens"),
        ({"model": "gpt-5", "base_url": "https://api.openai.com/v1"}, "max_completion_tokens"),
        ({"model": "gpt-5", "base_url": "http://127.0.0.1:1/v1"}, "max_tokens"),
        ({"model": "groq/llama"}, "max_tokens"),
        (
            {"model": "groq/llama", "max_tokens_field": "max_completion_tokens"},
            "max_completion_tokens",
        ),
    ],
)
def test_a_profile_at_openai_itself_uses_the_name_that_openai_wants(
    llm: dict[str, Any], field: str
) -> None:
    agent = AgentConfig(name="a", model=("echo:x",), base_url="http://unused")
    environ = {"OPENAI_API_KEY": "k", "GROQ_API_KEY": "k"}
    spec = resolve_profile_model(agent, Llm.model_validate(llm), environ)
    assert spec.max_tokens_field == field


@pytest.mark.parametrize(
    ("values", "wire", "base_url"),
    [
        ({"model": "openai:x"}, "chat", "https://api.openai.com/v1"),
        ({"model": "openai:x", "api": "responses"}, "responses", "https://api.openai.com/v1"),
        ({"model": "openai-responses:x"}, "responses", "https://api.openai.com/v1"),
        (
            {"model": "azure:x", "api": "responses", "base_url": "https://r.azure.com/openai/v1"},
            "responses",
            "https://r.azure.com/openai/v1",
        ),
        ({"model": "mine:x", "api": "responses", "base_url": "http://h"}, "responses", "http://h"),
        ({"model": "anthropic:x"}, "anthropic", "https://api.anthropic.com"),
        ({"model": "anthropic:x", "api": "responses"}, "anthropic", "https://api.anthropic.com"),
        ({"model": "anthropic:x", "base_url": "http://h/v1/"}, "anthropic", "http://h"),
    ],
)
def test_each_model_is_spoken_to_over_its_wire(
    values: dict[str, Any], wire: str, base_url: str
) -> None:
    keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "AZURE_OPENAI_API_KEY": "k"}
    (spec,) = resolve(keys, **values)
    assert (spec.wire, spec.base_url, spec.api_key) == (
        wire,
        base_url,
        "k" if not values["model"].startswith("mine") else None,
    )


@pytest.mark.parametrize(
    ("llm", "wire"),
    [
        ({"model": "gpt-5"}, "chat"),
        ({"model": "gpt-5", "api_mode": "responses"}, "responses"),
        ({"model": "anthropic/claude-x"}, "anthropic"),
        ({"model": "anthropic/claude-x", "base_url": "http://h"}, "anthropic"),
        ({"model": "anthropic/claude-x", "base_url": "http://h", "api_mode": "chat"}, "chat"),
    ],
)
def test_a_profile_is_spoken_to_as_its_model_and_mode_say(llm: dict[str, Any], wire: str) -> None:
    agent = AgentConfig(name="a", model=("openai:profile",))
    keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    assert resolve_profile_model(agent, Llm.model_validate(llm), keys).wire == wire


@pytest.mark.parametrize("model", ["bedrock/x", "vertex_ai/x"])
def test_no_profile_uses_a_login_of_the_worker(model: str) -> None:
    agent = AgentConfig(name="a", model=("openai:profile",))
    with pytest.raises(ValueError, match="is for agents alone"):
        resolve_profile_model(agent, Llm.model_validate({"model": model}), {})
