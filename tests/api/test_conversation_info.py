import pytest

from tests.api.conversation_bed import CONVERSATION, DAY_MS, turn
from trunkline_api.conversation_info import info_of, metrics_of
from trunkline_api.conversations import Conversation, Head
from trunkline_shared.events import Usage

# What their clients may read, in 1.58.
KEYS = """id workspace persistence_dir max_iterations stuck_detection execution_status
confirmation_policy security_analyzer activated_knowledge_skills invoked_skills blocked_actions
blocked_messages last_user_message_id leaf_event_id stats secret_registry agent_state hook_config
title metrics created_at updated_at forked_from_conversation_id forked_from_event_id
parent_conversation_id sub_conversation_ids tags current_model_id available_models
supports_runtime_model_switch launched_agent_profile agent client_tools tool_module_qualnames
runtime_info"""


def conversation(*turns: int, counted_from: int = 0) -> Conversation:
    head = Head(CONVERSATION, "key-1", DAY_MS, DAY_MS + 5, "openhands_demo", "finished")
    return Conversation(head, [turn(n) for n in turns], "A title", {"a": "b"}, counted_from)


def test_every_member_of_theirs_is_there() -> None:
    told = info_of(conversation(1)).model_dump(mode="json")
    assert told.keys() == set(KEYS.split())
    assert (told["created_at"], told["updated_at"]) == (
        "2026-09-21T14:13:20.000Z",
        "2026-09-21T14:13:20.005Z",
    )
    assert (told["title"], told["tags"]) == ("A title", {"a": "b"})
    assert (told["current_model_id"], told["agent"]["llm"]["model"]) == (
        "openhands_demo",
        "openai/fake",
    )
    assert told["last_user_message_id"] != told["leaf_event_id"]
    # Their model of it takes no null.
    assert told["runtime_info"]["runtime_status"] == "available"


def test_stats_are_the_sum_of_all_turns_and_a_row_of_each() -> None:
    stats = info_of(conversation(1, 2)).model_dump(mode="json")["stats"]["usage_to_metrics"]
    default, condenser = stats["default"], stats["condenser"]
    assert (
        default.keys()
        == condenser.keys()
        == {
            *("model_name", "accumulated_cost", "max_budget_per_task", "accumulated_token_usage"),
            *("costs", "response_latencies", "token_usages"),
        }
    )
    assert default["accumulated_token_usage"] == {
        "model": "openai/fake",
        "prompt_tokens": 20,
        "completion_tokens": 4,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "context_window": 0,
        "per_turn_token": 12,
        "response_id": "",
    }
    assert default["accumulated_cost"] == 1.0
    assert default["costs"][0] == {
        "model": "openai/fake",
        "cost": 0.5,
        "timestamp": DAY_MS / 1000 + 1.5,
    }
    assert default["response_latencies"][1] == {
        "model": "openai/fake",
        "latency": 0.25,
        "response_id": "chatcmpl-run-2",
    }
    assert [row["response_id"] for row in default["token_usages"]] == [
        "chatcmpl-run-1",
        "chatcmpl-run-2",
    ]
    assert condenser["accumulated_cost"] == 0.0
    assert condenser["token_usages"] == []


@pytest.mark.parametrize("cost", [None, 0.0])
def test_an_unknown_price_counts_as_nothing(cost: float | None) -> None:
    metrics = metrics_of([turn(usage=Usage(1, 1, cost=cost))], "llm")
    assert metrics.accumulated_cost == 0.0
    assert len(metrics.costs) == (cost is not None)


def test_failed_turns_were_paid_too_and_those_without_usage_were_not() -> None:
    failed = turn(1, outcome="upstream_error", usage=Usage(7, 0))
    lost = turn(2, outcome="worker_lost", usage=None)
    metrics = metrics_of([failed, lost], "llm")
    assert metrics.accumulated_token_usage.prompt_tokens == 7
    assert len(metrics.response_latencies) == 1


def test_a_fork_may_begin_to_count_afresh() -> None:
    stats = info_of(conversation(1, 2, 3, counted_from=2)).stats.usage_to_metrics
    assert stats["default"].accumulated_token_usage.prompt_tokens == 10


def test_a_conversation_without_turns_has_neither_events_nor_usage() -> None:
    told = info_of(conversation())
    assert told.last_user_message_id is told.leaf_event_id is None
    assert told.metrics.accumulated_cost == 0.0
