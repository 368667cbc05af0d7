from typing import Any

from tests.worker.backends.driving import request, said
from trunkline_shared.config.models import AgentConfig
from trunkline_worker.backends.chat_messages import messages

AGENT = AgentConfig(name="test", model=("openai:gpt-4o",))


def call(call_id: str, kind: str = "function") -> Any:
    return {"type": "tool_call", "id": call_id, "name": "f", "arguments": "{}", "kind": kind}


def result(call_id: str, text: str) -> Any:
    content = [{"type": "text", "text": text}]
    return {"type": "tool_result", "id": call_id, "content": content}


def thought(text: str) -> Any:
    return {"type": "reasoning", "text": text}


def sent(*items: Any, provider: str = "openai") -> list[dict[str, Any]]:
    return messages(request(transcript=list(items)), AGENT, provider)


def test_a_turn_with_thought_text_and_calls_is_one_message() -> None:
    turn = sent(
        said("q"), thought("hm"), said("a", "assistant"), call("1"), call("2", "custom"),
        result("1", "r1"), result("2", "r2"), said("done", "assistant"),
        provider="vllm",
    )  # fmt: skip
    assert turn == [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": "a",
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "2", "type": "custom", "custom": {"name": "f", "input": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "r1"},
        {"role": "tool", "tool_call_id": "2", "content": "r2"},
        {"role": "assistant", "content": "done"},
    ]


def test_calls_without_text_have_null_content_and_a_turn_without_anything_has_none() -> None:
    assert sent(said("q"), call("1"), result("1", "r"))[1]["content"] is None
    assert sent(said("q"), thought("only"), provider="vllm")[1] == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "only",
    }


def test_two_answers_in_a_row_stay_two() -> None:
    contents = [m["content"] for m in sent(said("a", "assistant"), said("b", "assistant"))]
    assert contents == ["a", "b"]


def test_text_behind_a_call_does_not_part_the_call_from_its_result() -> None:
    roles = [m["role"] for m in sent(call("1"), said("text", "assistant"), result("1", "r"))]
    assert roles == ["assistant", "tool"]


def test_developer_messages_are_kept_for_openai_and_become_system_elsewhere() -> None:
    assert sent(said("x", "developer"))[0]["role"] == "developer"
    assert sent(said("x", "developer"), provider="ollama")[0]["role"] == "system"


def test_thoughts_go_only_where_they_are_taken() -> None:
    items = [said("q"), thought("hm"), said("a", "assistant")]
    for provider in ("openai", "mistral", "deepseek"):
        assert "reasoning_content" not in sent(*items, provider=provider)[1]
    assert "reasoning_content" in sent(thought("hm"), call("1"), provider="deepseek")[0]


def test_parts_of_every_kind_are_passed_on() -> None:
    parts: Any = [
        {"type": "text", "text": "see"},
        {"type": "image", "url": "data:image/png;base64,AA", "detail": "low"},
        {"type": "audio", "data": "QQ", "format": "wav"},
        {"type": "file", "filename": "a.pdf", "data": "data:application/pdf;base64,QQ"},
        {"type": "file", "file_id": "file-1"},
    ]
    item = {"type": "message", "role": "user", "content": parts, "name": "ann"}
    assert sent(item) == [
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "see"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,AA", "detail": "low"},
                },
                {"type": "input_audio", "input_audio": {"data": "QQ", "format": "wav"}},
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ"},
                },
                {"type": "file", "file": {"file_id": "file-1"}},
            ],
        }
    ]


def test_refusals_go_back_as_refusals_or_as_text_where_those_are_unknown() -> None:
    item = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "refusal", "text": "no"}],
    }
    assert sent(item)[0]["content"] == [{"type": "refusal", "refusal": "no"}]
    assert sent(item, provider="vllm")[0]["content"] == [{"type": "text", "text": "no"}]
