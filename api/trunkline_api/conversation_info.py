"""What `/api/conversations` and webhooks tell of a conversation. Pure."""

from collections.abc import Sequence

from trunkline_api.conversation_events import events_of, iso
from trunkline_api.conversations import Conversation
from trunkline_api.wire.conversations import (
    ConversationInfo,
    Cost,
    JsonObject,
    Metrics,
    MetricsSnapshot,
    ResponseLatency,
    Stats,
    TokenUsage,
)
from trunkline_shared.conversation import Turn
from trunkline_shared.events import Usage


def info_of(conversation: Conversation) -> ConversationInfo:
    head = conversation.head
    events = [event for turn in events_of(conversation.turns) for event in turn]
    asked = [
        event["id"] for event in events if event["source"] == "user" and "llm_message" in event
    ]
    llm = next((turn.llm for turn in reversed(conversation.turns) if turn.llm), head.model)
    metrics = metrics_of(conversation.turns[conversation.counted_from :], llm)
    none = Metrics(model_name=llm, accumulated_token_usage=TokenUsage(model=llm))
    return ConversationInfo(
        id=head.id,
        execution_status=head.status,
        last_user_message_id=asked[-1] if asked else None,
        leaf_event_id=events[-1]["id"] if events else None,
        stats=Stats(usage_to_metrics={"default": metrics, "condenser": none}),
        title=conversation.title,
        metrics=MetricsSnapshot(**dict(metrics)),
        created_at=iso(head.created_ms),
        updated_at=iso(head.updated_ms),
        forked_from_conversation_id=head.forked_from or None,
        forked_from_event_id=head.forked_event or None,
        tags=conversation.tags,
        current_model_id=head.model or None,
        agent=_agent(llm),
    )


def metrics_of(turns: Sequence[Turn], llm: str) -> Metrics:
    """All that was used, in failed turns too: it was paid. `llm` is what answered last."""
    total = TokenUsage(model=llm)
    metrics = Metrics(model_name=llm, accumulated_token_usage=total)
    for turn in turns:
        if turn.usage is None:
            continue
        model, response = turn.llm or turn.model, f"chatcmpl-{turn.run_id}"
        used = _token_usage(turn.usage, model, response)
        metrics.token_usages.append(used)
        metrics.response_latencies.append(
            ResponseLatency(model=model, latency=turn.latency_s, response_id=response)
        )
        if turn.usage.cost is not None:
            spent = Cost(model=model, cost=turn.usage.cost, timestamp=turn.ended_ms / 1000)
            metrics.costs.append(spent)
            metrics.accumulated_cost += spent.cost
        total.prompt_tokens += used.prompt_tokens
        total.completion_tokens += used.completion_tokens
        total.cache_read_tokens += used.cache_read_tokens
        total.cache_write_tokens += used.cache_write_tokens
        total.reasoning_tokens += used.reasoning_tokens
        total.per_turn_token = used.per_turn_token
    return metrics


def _token_usage(usage: Usage, model: str, response: str) -> TokenUsage:
    return TokenUsage(
        model=model,
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        per_turn_token=usage.input_tokens + usage.output_tokens,
        response_id=response,
    )


def _agent(llm: str) -> JsonObject:
    return {
        "kind": "Agent",
        "llm": {"model": llm, "usage_id": "default", "api_key": None},
        "tools": [],
        "mcp_config": {},
        "filter_tools_regex": None,
        "include_default_tools": [],
        "agent_context": None,
        "condenser": None,
        "critic": None,
    }
