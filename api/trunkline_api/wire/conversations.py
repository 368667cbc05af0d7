"""`/api/conversations` as OpenHands' agent-server speaks it.

Where a plain chat agent has no such thing, the member holds what says so there.
"""

import re
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

ExecutionStatus: TypeAlias = Literal[
    "idle",
    "running",
    "paused",
    "waiting_for_confirmation",
    "finished",
    "error",
    "stuck",
    "deleting",
]
ConversationOrder: TypeAlias = Literal[
    "CREATED_AT", "UPDATED_AT", "CREATED_AT_DESC", "UPDATED_AT_DESC"
]
EventOrder: TypeAlias = Literal["TIMESTAMP", "TIMESTAMP_DESC"]
JsonObject: TypeAlias = dict[str, Any]

_TAG: Final = re.compile(r"[a-z0-9]+")
_TAG_LENGTH: Final = 256


def _check_tags(tags: dict[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        if not _TAG.fullmatch(key):
            raise ValueError(f"the tag {key[:64]!r} is not of lower-case letters and digits alone")
        if len(value) > _TAG_LENGTH:
            raise ValueError(f"the tag {key[:64]!r} has more than {_TAG_LENGTH} characters")
    return tags


Tags = Annotated[dict[str, str], Field(max_length=100), AfterValidator(_check_tags)]


def _check_title(title: str) -> str:
    if not title.strip():
        raise ValueError("a title is not blank")
    return title.strip()


class UpdateConversation(BaseModel):
    """Members that are absent or null stay as they are; tags replace all there were."""

    title: Annotated[str, Field(max_length=200), AfterValidator(_check_title)] | None = None
    tags: Tags | None = None


class ForkConversation(BaseModel):
    id: UUID | None = None
    title: Annotated[str | None, Field(max_length=200)] = None
    tags: Tags | None = None
    reset_metrics: bool = True
    from_event_id: str | None = None


class TokenUsage(BaseModel):
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    context_window: int = 0
    per_turn_token: int = 0
    response_id: str = ""


class Cost(BaseModel):
    model: str
    cost: float
    timestamp: float


class ResponseLatency(BaseModel):
    model: str
    latency: float
    response_id: str


class MetricsSnapshot(BaseModel):
    """`accumulated_cost` is in US dollars; runs whose price is unknown add nothing."""

    model_name: str = "default"
    accumulated_cost: float = 0.0
    max_budget_per_task: float | None = None
    accumulated_token_usage: TokenUsage


class Metrics(MetricsSnapshot):
    costs: list[Cost] = []
    response_latencies: list[ResponseLatency] = []
    token_usages: list[TokenUsage] = []


class Stats(BaseModel):
    usage_to_metrics: dict[str, Metrics]


class Kind(BaseModel):
    kind: str


class Workspace(Kind):
    working_dir: str = ""
    kind: str = "LocalWorkspace"


class ConversationInfo(BaseModel):
    id: str
    workspace: Workspace = Workspace()
    persistence_dir: str | None = None
    max_iterations: int = 1
    stuck_detection: bool = False
    execution_status: ExecutionStatus
    confirmation_policy: Kind = Kind(kind="NeverConfirm")
    security_analyzer: Kind | None = None
    activated_knowledge_skills: list[str] = []
    invoked_skills: list[str] = []
    blocked_actions: dict[str, str] = {}
    blocked_messages: dict[str, str] = {}
    last_user_message_id: str | None
    leaf_event_id: str | None
    stats: Stats
    secret_registry: JsonObject = {"secret_sources": {}}
    agent_state: JsonObject = {}
    hook_config: JsonObject | None = None
    title: str | None
    metrics: MetricsSnapshot
    created_at: str
    updated_at: str
    forked_from_conversation_id: str | None
    forked_from_event_id: str | None
    parent_conversation_id: str | None = None
    sub_conversation_ids: list[str] = []
    tags: dict[str, str]
    current_model_id: str | None
    available_models: list[JsonObject] = []
    supports_runtime_model_switch: bool = False
    launched_agent_profile: JsonObject | None = None
    agent: JsonObject
    client_tools: list[JsonObject] = []
    tool_module_qualnames: dict[str, str] = {}
    runtime_info: JsonObject = {
        "runtime_status": "available",
        "can_resume": True,
        "runtime_error": None,
    }


class ConversationPage(BaseModel):
    items: list[ConversationInfo]
    next_page_id: str | None = None


class EventPage(BaseModel):
    items: list[JsonObject]
    next_page_id: str | None = None


class Success(BaseModel):
    success: bool = True


class FinalResponse(BaseModel):
    response: str
