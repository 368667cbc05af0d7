"""Keys of AgentPool's files that have no field of their own here, and what becomes of each.

What changes no answer is ignored, and `trunkline check` says so. What would change one keeps its
agent from running, or, where no agent has it, is an error: nothing is dropped without a word.
"""

from collections.abc import Mapping
from types import MappingProxyType

IGNORED_IN_FILE: Mapping[str, str] = MappingProxyType(
    {
        "name": "nothing shows the name of a file",
        "default_agent": "every agent is served, and a request names its own",
        "storage": "what is stored lies in Redis, for as long as the deployment's settings say",
        "observability": "logs and metrics are settings of the deployment",
        "conversion": "documents are not converted",
        "pool_server": "no MCP server is started",
        "prompts": "only a system_prompt of type library reads it",
        "responses": "only output_type reads it",
        "resources": "only toolsets read it",
        "commands": "there is no prompt to type them at",
        "jobs": "nothing starts a job",
        "compaction": "a conversation is passed on whole",
    }
)

REFUSED_IN_FILE: Mapping[str, str] = MappingProxyType(
    {
        "teams": "there are no teams; remove it, clients call each member by its name",
        "file_agents": "agents stand in this file; write each of them under 'agents'",
        "model_variants": "there are no variants; write the model where an agent names it",
    }
)

IGNORED: Mapping[str, str] = MappingProxyType(
    {
        "name": "an agent is called by its key",
        "triggers": "nothing starts a run but a request",
        "event_handlers": "a run's events go to its client",
        "input_provider": "nobody sits at the server to answer",
        "session": "a client sends its conversation, or names it",
        "avatar": "no client shows one",
        "model_providers": "the models that clients see are the agents",
        "retries": "a tool's error goes back to the model, which may call again",
        "output_retries": "only output_type heeds it",
        "end_strategy": "only output_type heeds it",
    }
)

CANNOT: Mapping[str, str] = MappingProxyType(
    {
        "connections": "what an agent says goes to its client alone",
        "knowledge": "nothing is read into the prompt; write it into system_prompt",
        "hooks": "nothing is called before or after a step",
        "output_type": "a client asks for a format with response_format",
    }
)
"""Keys that an agent cannot do without: with one of them it does not run."""

FOR_TOOLS: Mapping[str, str] = MappingProxyType(
    {
        "environment": "tools have no environment to choose",
        "requires_tool_confirmation": "nobody is asked before a tool runs",
        "tool_mode": "tools are called one by one",
    }
)
"""Keys that only tools heed: ignored without tools, else the agent cannot do without them."""

LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "output_tokens_limit": "max_tokens",
        "response_tokens_limit": "max_tokens",
        "tool_calls_limit": "max_tool_calls",
        "request_limit": "max_requests",
        "total_tokens_limit": "max_total_tokens",
        "cost_limit": "max_cost",
    }
)
"""Of `usage_limits`: the key of `limits` that bounds the same."""

LIMITS_IGNORED: Mapping[str, str] = MappingProxyType(
    {"count_tokens_before_request": "tokens are counted when they are used"}
)
LIMITS_CANNOT: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("input_tokens_limit", "request_tokens_limit", "per_request_input_tokens_limit"),
        "limits bounds input and output together, with max_total_tokens",
    )
)

CLAUDE_LIMITS: Mapping[str, str] = MappingProxyType(
    {"max_turns": "max_requests", "max_budget_usd": "max_cost"}
)
"""Of a `claude_code` agent: the key of `limits` that bounds the same."""

CLAUDE_IGNORED: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("permission_mode", "dangerously_skip_permissions"),
        "toolsets say what it may do, and nobody is asked",
    )
)
CLAUDE_CANNOT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("allowed_tools", "disallowed_tools", "builtin_tools"),
            "toolsets say which tools it has",
        ),
        **dict.fromkeys(("cwd", "add_dir"), "its tools see the run's workspace alone"),
    }
)

CLAUDE_KEYS = (
    *("env", "fallback_model", "include_builtin_system_prompt", "max_thinking_tokens"),
    *(*CLAUDE_LIMITS, *CLAUDE_IGNORED, *CLAUDE_CANNOT),
)

_ACP = (
    *("provider", "command", "args", "tools", "execution_environment", "auto_approve"),
    *("client_execution_environment", "allow_file_operations", "allow_terminal"),
)
_ACP_PROVIDERS = (
    *("agent_file", "allow_indexing", "allowed_mcp_server_names", "api_key_env"),
    *("api_rate_limit", "approval_mode", "augment_cache_dir", "augment_token_file", "auth"),
    *("code_mode_tools", "config", "debug", "disable_mcp_mtls", "disable_secret_redaction"),
    *("enable_slack_tools", "enable_subagents", "enable_tree_sitter", "env_from_file"),
    *("extensions", "full_auto", "github_api_token", "include_directories"),
    *("index_big_project", "log_file", "log_level", "max_concurrent_ops", "max_processes"),
    *("max_sessions", "max_tool_calls", "model_provider", "models_gateway", "no_filesystem"),
    *("no_terminal", "otel", "output_format", "performance_monitoring", "permission"),
    *("privacy_mode", "profile", "remove_tool", "research_preview", "retries"),
    *("retry_timeout", "rules", "sandbox", "sandbox_permissions", "security_level"),
    *("session_dir", "session_timeout", "shell", "shell_access"),
    *("shell_environment_policy_inherit", "show_file_diffs", "skills_dir", "startup_script"),
    *("startup_script_file", "strict_mcp_config", "study_mode", "subagent_config"),
    *("thinking", "timeout", "url", "verbose", "work_dir", "workdir", "working_dir"),
    *("workspace", "workspace_root"),
)

OF_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "acp": (*CLAUDE_KEYS, *_ACP, *_ACP_PROVIDERS),
        "agui": ("endpoint", "timeout", "headers", "startup_command", "startup_delay"),
        "codex": (
            *("cwd", "env", "reasoning_effort", "approval_policy", "sandbox", "personality"),
            *("base_instructions", "developer_instructions"),
        ),
    }
)
"""Keys of agents whose type does not run yet. Their values are not looked at."""

KEYS = (
    *("display_name", "inherits", "mcp_servers", "tools", "usage_limits", "workers"),
    *(*IGNORED, *CANNOT, *FOR_TOOLS),
)
"""The keys of an agent that are understood though `AgentConfig` has none of them."""
