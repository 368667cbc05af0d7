from typing import Any, get_args

import pytest

from trunkline_shared.config.capabilities import BY_WIRE, Capabilities, capabilities
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.providers import Wire
from trunkline_shared.transcript import Options


def of(**values: Any) -> Capabilities:
    return capabilities(AgentConfig.model_validate({"name": "a", **values}))


def test_a_model_that_speaks_chat_completions_is_asked_for_anything() -> None:
    assert (
        of(model="openai:x, ollama:y") == of(model="mine:x", base_url="http://x") == Capabilities()
    )


def test_every_wire_has_capabilities_and_refuses_only_options_that_there_are() -> None:
    assert set(BY_WIRE) == set(get_args(Wire))
    assert all(set(Options.__annotations__) > each.refused for each in BY_WIRE.values())


def test_anthropic_takes_images_and_files_but_neither_audio_nor_a_seed() -> None:
    claude = of(model="anthropic:claude")
    assert (claude.images, claude.files, claude.audio, claude.logprobs) == (
        True,
        True,
        False,
        False,
    )
    assert {"seed", "presence_penalty", "frequency_penalty", "logit_bias"} <= claude.refused
    assert "temperature" not in claude.refused


@pytest.mark.parametrize(
    "values", [{"model": "openai-responses:x"}, {"model": "openai:x", "api": "responses"}]
)
def test_the_responses_api_takes_no_stop(values: dict[str, Any]) -> None:
    assert "stop" in of(**values).refused
    assert not of(**values).logprobs


def test_a_chain_can_do_what_all_of_its_models_can() -> None:
    both = of(model="openai:x, anthropic:y, cohere:z, google:w")
    assert (both.tools, both.images, both.audio) == (True, False, False)
    assert {"seed", "logit_bias"} <= both.refused
    assert of(model=["${ANY}", "anthropic:y"]) == of(model="anthropic:y")


def test_an_agent_with_toolsets_has_no_logprobs() -> None:
    assert of(model="openai:x", toolsets=[{"type": "execution"}]) == Capabilities(logprobs=False)
