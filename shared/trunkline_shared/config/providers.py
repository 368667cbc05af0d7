"""The model providers: how each of them is spoken to, where, with which key."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

Wire: TypeAlias = Literal[
    "chat", "responses", "anthropic", "google", "google-cloud", "bedrock", "cohere"
]
"""How a provider is spoken to: OpenAI's chat completions, its Responses API, or its own way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider of models.

    The URL is an agent's `base_url`, else the variable `base_url_variable`, else `base_url`;
    where it must end in a certain path, `path` is appended if it lacks it. The key is an agent's
    `api_key`, else the first of `api_key_variables` that is set; `needs_key` counts only at the
    provider's own URL, because servers that stand in for one often want none. A `base_url` of ""
    is known to the provider's client alone.
    """

    name: str
    wire: Wire = "chat"
    base_url: str | None = None
    base_url_variable: str | None = None
    path: str = ""
    api_key_variables: tuple[str, ...] = ()
    needs_key: bool = True
    genai_prices_id: str | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    takes_stream_options: bool = True
    """Whether usage in a stream must be asked for; one that refuses the field sends it unasked."""


def _local(name: str, prefix: str, base_url: str | None = None) -> Provider:
    return Provider(
        name=name,
        base_url=base_url,
        base_url_variable=f"{prefix}_BASE_URL",
        path="/v1",
        api_key_variables=(f"{prefix}_API_KEY",),
        needs_key=False,
    )


def _hosted(name: str, base_url: str, *key_variables: str, prices: str | None = None) -> Provider:
    return Provider(
        name=name, base_url=base_url, api_key_variables=key_variables, genai_prices_id=prices
    )


_TABLE = (
    Provider(
        name="openai",
        base_url="https://api.openai.com/v1",
        base_url_variable="OPENAI_BASE_URL",
        api_key_variables=("OPENAI_API_KEY",),
        genai_prices_id="openai",
        max_tokens_field="max_completion_tokens",
    ),
    Provider(
        name="azure",  # https://RESOURCE.openai.azure.com/openai/v1: there is no common URL
        api_key_variables=("AZURE_OPENAI_API_KEY",),
        genai_prices_id="azure",
        max_tokens_field="max_completion_tokens",
    ),
    Provider(
        name="openai-responses",
        wire="responses",
        base_url="https://api.openai.com/v1",
        base_url_variable="OPENAI_BASE_URL",
        api_key_variables=("OPENAI_API_KEY",),
        genai_prices_id="openai",
    ),
    Provider(
        name="anthropic",
        wire="anthropic",
        base_url="https://api.anthropic.com",
        base_url_variable="ANTHROPIC_BASE_URL",
        api_key_variables=("ANTHROPIC_API_KEY",),
        genai_prices_id="anthropic",
    ),
    Provider(
        name="google",
        wire="google",
        base_url="https://generativelanguage.googleapis.com",
        base_url_variable="GOOGLE_GEMINI_BASE_URL",
        api_key_variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        genai_prices_id="google",
    ),
    Provider(
        name="google-cloud",  # project, place and login are the client's to find
        wire="google-cloud",
        base_url="",
        api_key_variables=("GOOGLE_CLOUD_API_KEY",),
        needs_key=False,
        genai_prices_id="google",
    ),
    Provider(
        name="bedrock",  # so are region and login
        wire="bedrock",
        base_url="",
        api_key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        needs_key=False,
        genai_prices_id="aws",
    ),
    Provider(
        name="cohere",
        wire="cohere",
        base_url="https://api.cohere.com",
        base_url_variable="CO_BASE_URL",
        api_key_variables=("CO_API_KEY", "COHERE_API_KEY"),
        genai_prices_id="cohere",
    ),
    Provider(
        name="snowflake",  # https://ACCOUNT.snowflakecomputing.com/api/v2/cortex/v1
        base_url_variable="SNOWFLAKE_BASE_URL",
        api_key_variables=("SNOWFLAKE_TOKEN",),
    ),
    _local("ollama", "OLLAMA", "http://127.0.0.1:11434/v1"),
    _local("lmstudio", "LM_STUDIO", "http://127.0.0.1:1234/v1"),
    _local("llamacpp", "LLAMACPP", "http://127.0.0.1:8080/v1"),
    _local("vllm", "VLLM"),  # no default: its port, 8000, is ours
    _local("litellm", "LITELLM"),
    _hosted("alibaba", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
    _hosted("baseten", "https://inference.baseten.co/v1", "BASETEN_API_KEY", prices="baseten"),
    _hosted("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", prices="cerebras"),
    _hosted("deepinfra", "https://api.deepinfra.com/v1/openai",
            "DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
    _hosted("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", prices="deepseek"),
    _hosted("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY",
            prices="fireworks"),
    _hosted("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", prices="groq"),
    _hosted("heroku", "https://us.inference.heroku.com/v1", "HEROKU_INFERENCE_KEY"),
    _hosted("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN"),
    _hosted("minimax", "https://api.minimax.io/v1", "MINIMAX_API_KEY", prices="minimax"),
    Provider(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        api_key_variables=("MISTRAL_API_KEY",),
        genai_prices_id="mistral",
        takes_stream_options=False,  # answers 422 extra_forbidden
    ),
    _hosted("moonshotai", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY",
            prices="moonshotai"),
    _hosted("nebius", "https://api.studio.nebius.com/v1", "NEBIUS_API_KEY"),
    _hosted("novita", "https://api.novita.ai/v3/openai", "NOVITA_API_KEY", prices="novita"),
    _hosted("nvidia", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
    _hosted("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY",
            prices="openrouter"),
    _hosted("ovhcloud", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", "OVHCLOUD_API_KEY",
            prices="ovhcloud"),
    _hosted("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", prices="perplexity"),
    _hosted("sambanova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    _hosted("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", prices="together"),
    _hosted("vercel", "https://ai-gateway.vercel.sh/v1", "AI_GATEWAY_API_KEY",
            "VERCEL_AI_GATEWAY_API_KEY"),
    _hosted("xai", "https://api.x.ai/v1", "XAI_API_KEY", "X_AI_API_KEY",
            "GROK_API_KEY", prices="x-ai"),
    _hosted("zai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY", prices="zai"),
)  # fmt: skip

PROVIDERS: Mapping[str, Provider] = MappingProxyType({p.name: p for p in _TABLE})

OTHER_PROVIDERS = ("github-copilot",)
"""Providers that cannot be spoken to; agents that name them load."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "azure_ai": "azure",
        "copilot": "github-copilot",
        "dashscope": "alibaba",
        "fireworks_ai": "fireworks",
        "gemini": "google",
        "github_copilot": "github-copilot",
        "google-gla": "google",
        "google-vertex": "google-cloud",
        "grok": "xai",
        "hosted_vllm": "vllm",
        "litellm_proxy": "litellm",
        "llama.cpp": "llamacpp",
        "lm-studio": "lmstudio",
        "lm_studio": "lmstudio",
        "moonshot": "moonshotai",
        "nvidia_nim": "nvidia",
        "ollama_chat": "ollama",
        "openai-chat": "openai",
        "simple-openai": "openai",
        "together_ai": "together",
        "vercel_ai_gateway": "vercel",
        "vertex_ai": "google-cloud",
        "vertexai": "google-cloud",
        "x-ai": "xai",
    }
)

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "anthropic-max": "it stands on one person's subscription; use anthropic:NAME and a key",
        "claude-code": "an agent of type claude_code runs it",
        "import": "no code runs when a model is named; an agent of type python runs an object",
        "input": "nobody sits at the server to answer",
        "remote_input": "nobody sits at the server to answer",
        "remote_model": "its protocol is not spoken; name the model behind it",
        "zen": "its models speak several protocols; use openai:NAME and base_url where that fits",
    }
)
"""Names that stand where a provider does, and why none is served."""


def split_model(model: str) -> tuple[str, str]:
    """Provider and name of `provider:name` or `provider/name`, aliases resolved.

    Only the first separator counts, so `ollama:llama3:8b` and `openrouter/meta/llama-3` keep the
    rest in the name. Raises ValueError for anything else.
    """
    provider, separator, name = model.partition(":")
    if not separator or "/" in provider:
        provider, separator, name = model.partition("/")
    provider = provider.strip().lower()
    if provider in REFUSED:
        raise ValueError(f"model {model!r} cannot be served: {REFUSED[provider]}")
    if not separator or not provider or not name.strip():
        example = f"openai:{model.strip(' /:') or 'gpt-4o'}"
        raise ValueError(f"model {model!r} is not provider:name, for example {example}")
    return ALIASES.get(provider, provider), name.strip()


def check_provider(provider: str, base_url: str | None) -> None:
    """Raises ValueError with the nearest name for a provider unknown here, unless `base_url` says
    where it is: it then counts as one that speaks chat completions."""
    if provider in PROVIDERS or provider in OTHER_PROVIDERS or base_url:
        return
    known = [*PROVIDERS, *OTHER_PROVIDERS, *ALIASES]
    near = difflib.get_close_matches(provider, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "give its base_url if it is OpenAI-compatible"
    raise ValueError(f"unknown provider {provider!r}, {hint}")
