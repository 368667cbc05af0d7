"""What callers ask of a model, in the settings of providers with a wire of their own. Pure.

A field that changes the answer is said, or refused by its name; a hint that a provider has no word
for is left out.
"""

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any, Final, TypeAlias, cast

from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.profiles.anthropic import ANTHROPIC_THINKING_BUDGET_MAP
from pydantic_ai.settings import ModelSettings, ToolOrOutput

from trunkline_shared.config.capabilities import BY_WIRE
from trunkline_shared.config.providers import Wire
from trunkline_shared.run import RunRequest
from trunkline_worker.agent_lane.faults import Unfit
from trunkline_worker.models import ModelSpec

Json: TypeAlias = dict[str, Any]

_NAMES: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop_sequences",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "parallel_tool_calls": "parallel_tool_calls",
    "service_tier": "service_tier",
}
_RESPONSES: Final = {
    "verbosity": "openai_text_verbosity",
    "reasoning_effort": "openai_reasoning_effort",
    "reasoning_summary": "openai_reasoning_summary",
    "service_tier": "openai_service_tier",
    "user": "openai_user",
    "prompt_cache_key": "openai_prompt_cache_key",
    "prompt_cache_retention": "openai_prompt_cache_retention",
    "prompt_cache_options": "openai_prompt_cache_options",
    "parallel_tool_calls": "parallel_tool_calls",
}
_EFFORTS: Final = frozenset({"minimal", "low", "medium", "high", "xhigh", "max"})
AGENT: Final = {"User-Agent": "trunkline"}
_HINTS: Final = frozenset({"parallel_tool_calls", "service_tier"})
_LEAST_THOUGHT: Final = 1024  # tokens; providers take no smaller budget
_SAMPLING: Final = ("temperature", "top_p")


def check_settings(spec: ModelSpec) -> None:
    """Raises ValueError for a setting of the agent that its model does not take."""
    for name in spec.settings:
        if name in BY_WIRE[spec.wire].refused:
            raise ValueError(f"settings.{name}: models of {spec.provider} do not take it")
    if spec.extra_body and spec.wire not in ("responses", "anthropic"):
        raise ValueError(f"settings.extra_body: models of {spec.provider} take none")


def settings_of(
    request: RunRequest, spec: ModelSpec, profile: ModelProfile, max_tokens: int | None
) -> ModelSettings:
    """The settings of one call. Raises Unfit for what the model cannot be asked."""
    options: Json = {**spec.settings, **request.options}
    _check(options, spec.wire, profile)
    settings: Json = {}
    if spec.wire != "bedrock":  # whose client is told when it is made
        settings["max_retries"] = 0
    if spec.wire != "cohere":  # as this one is
        settings["extra_headers"] = {**AGENT, **spec.extra_headers}
    if max_tokens is not None:
        settings["max_tokens"] = max_tokens
    if spec.wire == "responses":
        settings |= _responses(options, spec, request)
    else:
        settings |= _named(options, _NAMES)
        settings |= _thinking(options, spec, profile, max_tokens)
        if spec.wire == "anthropic":
            settings |= _anthropic(options, request)
        if spec.extra_body:
            settings["extra_body"] = dict(spec.extra_body)
    return cast(ModelSettings, settings)


def with_request(
    parameters: ModelRequestParameters, request: RunRequest, spec: ModelSpec, profile: ModelProfile
) -> ModelRequestParameters:
    """The agent's parameters with the tools of the step, and the format that its request has.

    A schema that nobody asked to be strict goes as it is: pydantic-ai would find out by itself, and
    close what is open in it on the way.
    """
    names = {tool["name"] for tool in request.tools}
    kept = [tool for tool in parameters.function_tools if tool.name in names]
    changes: Json = {
        "function_tools": [replace(tool, strict=bool(tool.strict)) for tool in kept],
        "output_tools": [
            replace(tool, strict=bool(tool.strict)) for tool in parameters.output_tools
        ],
    }
    wanted = request.format if parameters.output_mode == "text" else None
    if wanted is not None and wanted["type"] == "json_object" and spec.wire != "responses":
        raise Unfit("This model has no answers in JSON without a schema.", "response_format")
    if wanted is not None and wanted["type"] == "json_schema":
        if not profile.get("supports_json_schema_output"):
            raise Unfit("This model has no answers in a JSON schema.", "response_format")
        changes["output_mode"] = "native"
        changes["output_object"] = OutputObjectDefinition(
            wanted.get("schema", {}),
            wanted.get("name"),
            wanted.get("description"),
            wanted.get("strict"),
        )
    answer: OutputObjectDefinition | None = changes.get("output_object", parameters.output_object)
    if answer is not None:
        # Only OpenAI has answers in a schema that are not held to it strictly.
        strict = bool(answer.strict) if spec.wire == "responses" else answer.strict or None
        changes["output_object"] = replace(answer, strict=strict)
    return replace(parameters, **changes)


def with_choice(
    settings: ModelSettings,
    request: RunRequest,
    parameters: ModelRequestParameters,
    spec: ModelSpec,
    profile: ModelProfile,
) -> ModelSettings:
    """The settings with the choice of tools. Some models cannot be made to call one while they
    think: thinking gives way, or Unfit is raised where it was the caller who asked for it.
    """
    chosen = {**settings, **_tool_choice(request, parameters)}
    choice = chosen.get("tool_choice")
    forced = choice == "required" or isinstance(choice, list)
    if forced and spec.wire == "anthropic" and _thinks_by_budget(profile):
        if request.options.get("reasoning_effort") in _EFFORTS and profile.get("supports_thinking"):
            problem = "This model cannot be made to call a tool while it thinks: reasoning_effort."
            raise Unfit(problem, "tool_choice")
        chosen.pop("anthropic_thinking", None)
        chosen["thinking"] = False
    return cast(ModelSettings, chosen)


def without_hints(settings: ModelSettings, unsupported: Set[str]) -> ModelSettings:
    """The settings without those hints that the model has no word for."""
    kept = {name: value for name, value in settings.items() if name not in _HINTS & unsupported}
    return cast(ModelSettings, kept)


def _tool_choice(request: RunRequest, parameters: ModelRequestParameters) -> ModelSettings:
    """Where an answer must come by an output tool, that alone is a choice already."""
    choice = request.tool_choice
    if choice is None or choice["mode"] == "auto" or not parameters.function_tools:
        return ModelSettings()
    names = [tool["name"] for tool in choice.get("tools", ())]
    match choice["mode"]:
        case "none":
            return ModelSettings(tool_choice="none")
        case "required" if parameters.output_tools:
            return ModelSettings()
        case "required":
            return ModelSettings(tool_choice="required")
        case "allowed":
            return ModelSettings(tool_choice=ToolOrOutput(names))
    outputs = [tool.name for tool in parameters.output_tools]
    return ModelSettings(tool_choice=[*names, *(outputs if choice["mode"] != "named" else ())])


def _check(options: Json, wire: Wire, profile: ModelProfile) -> None:
    refused = BY_WIRE[wire].refused
    if options.get("logprobs"):
        raise Unfit("This model gives no logprobs.", "logprobs")
    for name, value in options.items():
        if value is not None and name in refused:
            raise Unfit(f"This model does not take {name}.", name)
    if profile.get("anthropic_disallows_sampling_settings"):
        for name in _SAMPLING:
            if options.get(name) is not None:
                raise Unfit(f"This model does not take {name}.", name)


def _named(options: Json, names: Mapping[str, str]) -> Json:
    return {
        theirs: options[ours] for ours, theirs in names.items() if options.get(ours) is not None
    }


def _responses(options: Json, spec: ModelSpec, request: RunRequest) -> Json:
    settings = _named(options, _RESPONSES)
    # As in the direct lane the provider is asked, and says itself what its model does not take;
    # pydantic-ai would leave it out without a word to the caller.
    body = _named(options, {name: name for name in (*_SAMPLING, "safety_identifier")})
    wanted = request.format
    if wanted is not None and wanted["type"] == "json_object":
        body["text"] = {"format": {"type": "json_object"}} | _named(
            options, {"verbosity": "verbosity"}
        )
    body |= spec.extra_body
    if body.get("store") and (metadata := request.options.get("metadata")):
        body["metadata"] = metadata
    settings["openai_store"] = False  # unless the operator's body says otherwise
    return settings | ({"extra_body": body} if body else {})


def _thinking(
    options: Json, spec: ModelSpec, profile: ModelProfile, max_tokens: int | None
) -> Json:
    """How hard to think. Where that is a budget of tokens, it leaves half of them to the answer."""
    effort = options.get("reasoning_effort")
    if effort is None:
        return {}
    if effort not in _EFFORTS:
        return {"thinking": False}
    by_budget = spec.wire == "anthropic" and _thinks_by_budget(profile)
    if not by_budget or max_tokens is None or not profile.get("supports_thinking"):
        return {"thinking": effort}
    budget = min(ANTHROPIC_THINKING_BUDGET_MAP[effort], max_tokens // 2)
    if budget < _LEAST_THOUGHT:
        return {"thinking": False}
    return {"anthropic_thinking": {"type": "enabled", "budget_tokens": budget}}


def _thinks_by_budget(profile: ModelProfile) -> bool:
    return not profile.get("anthropic_supports_adaptive_thinking")


def _anthropic(options: Json, request: RunRequest) -> Json:
    settings: Json = {}
    if user := options.get("safety_identifier") or options.get("user"):
        settings["anthropic_metadata"] = {"user_id": user}
    # What the agent's tools make it ask again, and what the caller says will be asked again.
    if request.tools or options.get("prompt_cache_key") or options.get("prompt_cache_retention"):
        settings["anthropic_cache"] = True
    return settings
