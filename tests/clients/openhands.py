"""The bodies of OpenHands' agent-server, as its clients read them, and how to compare with them.

A shape is a type, a list of one shape, or an object with exactly these members.
"""

from collections.abc import Iterator
from typing import Any, Final

from tests.contract.test_openhands_profiles import DEFAULTS, OURS

HEADER: Final = "X-OpenHands-ServerConversation-ID"

TEXT_OR_NULL: Final = str | None
OBJECT_OR_NULL: Final = dict | None
NOTHING: Final = type(None)

ERROR: Final = {"message": str, "type": str, "param": TEXT_OR_NULL, "code": TEXT_OR_NULL}
OPENAI_ERROR: Final = {"error": ERROR}
NATIVE_ERROR: Final = {"error": ERROR, "detail": str}
MISTAKE: Final = {"type": str, "loc": list, "msg": str}
UNPROCESSABLE: Final = {"error": ERROR, "detail": [MISTAKE]}

# What is ours stands beside what their clients read.
MODEL: Final = {"id": str, "created": int, "object": str, "owned_by": str, "trunkline": dict}
MODELS: Final = {"object": str, "data": [MODEL]}
CHANGED: Final = {"name": str, "message": str}
ACTIVATED: Final = {**CHANGED, "llm_applied": bool}
VALIDATED: Final = {"valid": bool, "error": NOTHING}
INVALID: Final = {"valid": bool, "error": {"type": str, "message": str}}
PROFILE: Final = {
    "name": str,
    "config": {name: object for name in (*DEFAULTS, *OURS, "model")},
    "api_key_set": bool,
}
PROFILES: Final = {
    "profiles": [
        {
            "name": str,
            "model": str,
            "base_url": TEXT_OR_NULL,
            "provider_connection_id": TEXT_OR_NULL,
            "provider_connection_broken": bool,
            "api_key_set": bool,
        }
    ],
    "active_profile": TEXT_OR_NULL,
}

TOKENS: Final = {
    "model": str,
    "prompt_tokens": int,
    "completion_tokens": int,
    "cache_read_tokens": int,
    "cache_write_tokens": int,
    "reasoning_tokens": int,
    "context_window": int,
    "per_turn_token": int,
    "response_id": str,
}
SNAPSHOT: Final = {
    "model_name": str,
    "accumulated_cost": float,
    "max_budget_per_task": NOTHING,
    "accumulated_token_usage": TOKENS,
}
METRICS: Final = {
    **SNAPSHOT,
    "costs": [{"model": str, "cost": float, "timestamp": float}],
    "response_latencies": [{"model": str, "latency": float, "response_id": str}],
    "token_usages": [TOKENS],
}
CONVERSATION: Final = {
    "id": str,
    "workspace": {"working_dir": str, "kind": str},
    "persistence_dir": TEXT_OR_NULL,
    "max_iterations": int,
    "stuck_detection": bool,
    "execution_status": str,
    "confirmation_policy": {"kind": str},
    "security_analyzer": OBJECT_OR_NULL,
    "activated_knowledge_skills": list,
    "invoked_skills": list,
    "blocked_actions": dict,
    "blocked_messages": dict,
    "last_user_message_id": TEXT_OR_NULL,
    "leaf_event_id": TEXT_OR_NULL,
    "stats": {"usage_to_metrics": {"default": METRICS, "condenser": METRICS}},
    "secret_registry": dict,
    "agent_state": dict,
    "hook_config": OBJECT_OR_NULL,
    "title": TEXT_OR_NULL,
    "metrics": SNAPSHOT,
    "created_at": str,
    "updated_at": str,
    "forked_from_conversation_id": TEXT_OR_NULL,
    "forked_from_event_id": TEXT_OR_NULL,
    "parent_conversation_id": TEXT_OR_NULL,
    "sub_conversation_ids": list,
    "tags": dict,
    "current_model_id": str,
    "available_models": list,
    "supports_runtime_model_switch": bool,
    "launched_agent_profile": OBJECT_OR_NULL,
    "agent": dict,
    "client_tools": list,
    "tool_module_qualnames": dict,
    "runtime_info": {
        "runtime_status": TEXT_OR_NULL,
        "can_resume": bool,
        "runtime_error": TEXT_OR_NULL,
    },
}

OF_THE_PROVIDER: Final = {"system_fingerprint": str, "service_tier": str}
COMPLETION: Final = {
    **OF_THE_PROVIDER,
    "id": str,
    "object": str,
    "created": int,
    "model": str,
    "choices": [{"index": int, "message": dict, "logprobs": NOTHING, "finish_reason": str}],
    "usage": dict,
}
CHUNK: Final = {
    "id": str,
    "object": str,
    "created": int,
    "model": str,
    "choices": [{"index": int, "delta": dict, "logprobs": NOTHING, "finish_reason": TEXT_OR_NULL}],
    "usage": NOTHING,
}
LAST_CHUNK: Final = {**CHUNK, **OF_THE_PROVIDER}
USAGE_CHUNK: Final = {**LAST_CHUNK, "usage": dict}


def differences(value: Any, shape: Any, where: str = "$") -> Iterator[str]:
    """Where `value` is not of the shape; nothing when it is."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
        elif odd := value.keys() ^ shape.keys():
            yield f"{where}: has or lacks {sorted(odd)}"
        else:
            for name, each in shape.items():
                yield from differences(value[name], each, f"{where}.{name}")
    elif isinstance(shape, list):
        for number, item in enumerate(value):
            yield from differences(item, shape[0], f"{where}[{number}]")
    elif not isinstance(value, shape):
        yield f"{where}: {value!r} is no {shape}"
