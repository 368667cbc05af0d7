"""The transcript as pydantic-ai's messages, and back."""

import random
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    RetryInfo,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.worker.agent_lane.items import (
    AUDIO,
    FILE,
    IMAGE,
    LINK,
    REFUSAL,
    UPLOADED,
    call,
    message,
    opaque,
    reasoning,
    result,
)
from trunkline_shared.transcript import Item
from trunkline_worker.agent_lane.history import custom_call, refused, to_items, to_messages

TRANSCRIPTS: dict[str, list[Item]] = {
    "nothing": [],
    "a question": [message("user", "hello")],
    "who speaks": [
        message("system", "Be brief.", "Be kind.", name="boss"),
        message("developer", "Answer in French."),
        message("user", "hello", name="ann"),
        message("system", "And now in Latin."),
        message("user", "go on"),
    ],
    "every kind of content": [message("user", "see", IMAGE, LINK, AUDIO, FILE, UPLOADED, "there")],
    "nothing but an image": [message("user", IMAGE, name="bob")],
    "empty contents": [
        message("system"),
        message("user"),
        message("assistant"),
        message("user", ""),
    ],
    "a call and its result": [
        message("user", "look"),
        reasoning(),
        message("assistant", "I look."),
        call("c1"),
        result("c1", "a", IMAGE),
        message("assistant", "An image."),
        message("user", "thanks"),
    ],
    "calls side by side": [
        message("user", "look twice"),
        call("c1"),
        call("c2", "write", "some free text", "custom"),
        result("c2", "written"),
        result("c1", "seen", "twice"),
    ],
    "two answers in a row": [
        message("user", "hi"),
        message("assistant", "one", "two"),
        message("assistant", "three", name="other"),
        reasoning("hm"),
        message("assistant", REFUSAL),
        message("user", "?"),
    ],
    "an answer last": [message("user", "hi"), message("assistant", "The answer is")],
    "an answer alone": [message("assistant", "Hello!")],
    "only the origin understands": [
        message("user", "hi"),
        opaque(),
        message("user", "there"),
        opaque(),
    ],
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_transcript_comes_back_as_it_was(name: str) -> None:
    items = TRANSCRIPTS[name]
    assert to_items(to_messages(items)) == items


def test_any_order_of_items_comes_back() -> None:
    dice = random.Random(7)
    every = [item for items in TRANSCRIPTS.values() for item in items]
    for _ in range(300):
        items = dice.choices(every, k=dice.randrange(12))
        assert to_items(to_messages(items)) == items


class _Plain(FunctionModel):
    """Hears what the agent says as `LaneModel` does, not as other providers' models are told it."""

    def prepare_messages(
        self, messages: list[ModelMessage], model_request_parameters: Any = None
    ) -> list[ModelMessage]:
        return messages


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_an_agent_hands_the_transcript_to_its_model_and_asks_it(name: str) -> None:
    heard: list[list[Item]] = []

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        heard.append(to_items(messages))
        return ModelResponse(parts=[TextPart("done")])

    agent: Agent[None, str] = Agent(_Plain(answer))
    outcome = await agent.run(message_history=to_messages(TRANSCRIPTS[name]))
    assert outcome.output == "done"
    assert len(heard) == 1
    assert heard == [TRANSCRIPTS[name]]


def test_the_agents_prompts_stand_before_the_callers() -> None:
    items = [message("developer", "In French."), message("user", "hello")]
    texts = [each["content"][0]["text"] for each in to_items(to_messages(items, ("A.", "B.")))]  # type: ignore[index, typeddict-item]
    assert texts == ["A.", "B.", "In French.", "hello"]


def test_what_models_see_is_there_too() -> None:
    first, second, third = to_messages(
        [message("user", "look", LINK), call("c1", "write", "text", "custom"), result("c1", "ok")]
    )
    (prompt,) = first.parts
    assert isinstance(prompt, UserPromptPart)
    assert [getattr(each, "url", each) for each in prompt.content] == ["look", LINK["url"]]
    (asked,) = second.parts
    assert isinstance(asked, ToolCallPart) and asked.args_as_dict() == {"input": "text"}
    (given,) = third.parts
    assert isinstance(given, ToolReturnPart)
    assert (given.tool_name, given.content) == ("write", "ok")


def test_what_a_run_adds_is_said_in_neutral_form() -> None:
    written = ToolCallPart("write", '{"input": "free"}', "c2")
    retry: RetryInfo[Any] = RetryInfo("model_retry")
    items = to_items(
        [
            ModelResponse(
                parts=[
                    ThinkingPart("Hm.", signature="xyz"),
                    TextPart("one "),
                    TextPart("two"),
                    ToolCallPart("look", {"at": 1}, "c1"),
                    custom_call(written),
                ]
            ),
            ModelRequest(parts=[ToolReturnPart("look", {"seen": True}, "c1")]),
            ModelRequest(parts=[ToolReturnPart("write", "ok", "c2"), SystemPromptPart("Now.")]),
            ModelResponse(parts=[refused("No.")]),
            ModelRequest(parts=[RetryFeedbackPart("Do it.", retry=retry)]),
        ]
    )
    assert items[:-1] == [
        reasoning("Hm."),
        message("assistant", "one two"),
        call("c1", "look", '{"at":1}'),
        call("c2", "write", "free", "custom"),
        result("c1", '{"seen":true}'),
        result("c2", "ok"),
        message("system", "Now."),
        message("assistant", REFUSAL),
    ]
    assert "Do it." in items[-1]["content"][0]["text"]  # type: ignore[index, typeddict-item]
