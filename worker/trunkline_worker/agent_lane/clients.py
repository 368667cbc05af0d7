"""The clients of providers with a wire of their own, as pydantic-ai's models.

They read no environment of this process where they can be told not to, never try again by
themselves, and connect where the worker's own resolver says.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import httpx2
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider_class

from trunkline_shared.config.providers import PROVIDERS
from trunkline_worker.agent_lane.options import AGENT
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.http_connection import Unreachable
from trunkline_worker.backends.resolver import Resolver
from trunkline_worker.models import ModelSpec

_NO_KEY: Final = "none"
"""Given nothing, the clients would look for a key of their own. It never leaves this process."""
_HEADERS: Final = {"accept-encoding": "identity"}  # compressors hold tokens back


@dataclass(frozen=True, slots=True)
class Patience:
    """With an upstream: to connect to it, and that it may send nothing."""

    connect_timeout_s: float
    silence_timeout_s: float


def client_model(
    spec: ModelSpec, client: HttpClient, patience: Patience
) -> tuple[Model[Any], Callable[[], Awaitable[None]]]:
    """The model of a spec whose wire is not `chat`, and what closes its connections.

    Raises ValueError for what is not there.
    """
    try:
        if spec.wire == "cohere":
            return _cohere(spec, client, patience)
        http = httpx2.AsyncClient(**_settings(httpx2, client, patience))
        return _model(spec, http, patience), http.aclose
    except ImportError:
        extra = spec.wire.partition("-")[0]
        raise ValueError(
            f'provider {spec.provider} needs: pip install "trunkline[{extra}]"'
        ) from None


def _settings(library: ModuleType, client: HttpClient, patience: Patience) -> dict[str, Any]:
    """Of the client of one model alone: its pool tells hosts apart by their addresses. As many
    connections as there are calls: a worker's slots are the limit. `library` is httpx2 or httpx."""
    limits = library.Limits(max_connections=None, max_keepalive_connections=100)
    # A context of its own would cost each model 20 ms.
    transport = library.AsyncHTTPTransport(verify=client.tls, limits=limits, trust_env=False)
    return {
        "transport": _Resolved(transport, client.resolver, library),
        "headers": _HEADERS,
        "timeout": _timeout(library, patience),
        "trust_env": False,
        "follow_redirects": False,
    }


def _model(spec: ModelSpec, http: httpx2.AsyncClient, patience: Patience) -> Model[Any]:
    match spec.wire:
        case "anthropic":
            return _anthropic(spec, http, patience)
        case "responses":
            return _responses(spec, http, patience)
        case "bedrock":
            return _bedrock(spec, patience)
    return infer_model(f"{spec.wire}:{spec.name}", lambda name: _other(name, spec, http))


def _anthropic(spec: ModelSpec, http: httpx2.AsyncClient, patience: Patience) -> Model[Any]:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = AsyncAnthropic(
        api_key=spec.api_key or _NO_KEY,
        base_url=spec.base_url,
        http_client=http,
        timeout=_timeout(httpx2, patience),
        max_retries=0,
        open_telemetry=False,
    )
    return AnthropicModel(spec.name, provider=AnthropicProvider(anthropic_client=client))


def _responses(spec: ModelSpec, http: httpx2.AsyncClient, patience: Patience) -> Model[Any]:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(
        api_key=spec.api_key or _NO_KEY,
        base_url=spec.base_url,
        http_client=http,
        timeout=_timeout(httpx2, patience),
        max_retries=0,
    )
    return OpenAIResponsesModel(spec.name, provider=OpenAIProvider(openai_client=client))


def _cohere(
    spec: ModelSpec, client: HttpClient, patience: Patience
) -> tuple[Model[Any], Callable[[], Awaitable[None]]]:
    """Its client is of the library that came before, and takes its URL in no other way."""
    httpx = import_module("httpx")
    http = httpx.AsyncClient(**_settings(httpx, client, patience))
    http.headers.update({**AGENT, **spec.extra_headers})  # it takes none with a request
    cohere = import_module("cohere").AsyncClientV2(
        api_key=spec.api_key or _NO_KEY, base_url=spec.base_url, httpx_client=http
    )
    from pydantic_ai.models.cohere import CohereModel
    from pydantic_ai.providers.cohere import CohereProvider

    return CohereModel(spec.name, provider=CohereProvider(cohere_client=cohere)), http.aclose


def _bedrock(spec: ModelSpec, patience: Patience) -> Model[Any]:
    """Region and login are the machine's, but for a key. By itself its client asks five times."""
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    config: dict[str, Any] = {
        "connect_timeout": patience.connect_timeout_s,
        "read_timeout": patience.silence_timeout_s,
        "retries": {"total_max_attempts": 1},
    }
    core = import_module("botocore.session").get_session()
    if spec.api_key:
        token = import_module("botocore.tokens").FrozenAuthToken(spec.api_key)
        core.get_auth_token = lambda **_: token
        core.get_credentials = lambda: None
        config["signature_version"] = "bearer"
    try:
        client = (
            import_module("boto3")
            .Session(botocore_session=core)
            .client(
                "bedrock-runtime",
                config=import_module("botocore.config").Config(**config),
                endpoint_url=spec.base_url or None,
            )
        )
    except import_module("botocore.exceptions").NoRegionError:
        raise ValueError("provider bedrock needs a region, AWS_DEFAULT_REGION is not set") from None
    return BedrockConverseModel(spec.name, provider=BedrockProvider(bedrock_client=client))


def _other(name: str, spec: ModelSpec, http: httpx2.AsyncClient) -> Provider[Any]:
    """The provider of an optional package. What it cannot be told is an error: it would call
    somebody else's server, or not use the key."""
    provider = infer_provider_class(name)
    takes = inspect.signature(provider.__init__).parameters
    wanted: dict[str, Any] = {}
    if spec.base_url and not _is_default(spec):
        wanted["base_url"] = spec.base_url
    if spec.api_key:
        wanted["api_key"] = spec.api_key
    if lacking := sorted(wanted.keys() - takes.keys()):
        raise ValueError(f"provider {spec.provider} takes no {lacking[0]}")
    if "http_client" in takes:
        wanted["http_client"] = http
    return provider(**wanted)


def _is_default(spec: ModelSpec) -> bool:
    known = PROVIDERS.get(spec.provider)
    return known is not None and known.base_url == spec.base_url


def _timeout(library: ModuleType, patience: Patience) -> Any:
    silence = patience.silence_timeout_s
    return library.Timeout(silence, connect=patience.connect_timeout_s, pool=None)


class _Resolved:
    """A transport that connects to the addresses which the worker's resolver finds, and so guards
    profiles'. Of either library: their clients ask no more of it than these methods."""

    def __init__(self, inner: Any, resolver: Resolver, library: ModuleType) -> None:
        self._inner = inner
        self._resolver = resolver
        self._away = (library.ConnectError, library.ConnectTimeout)

    async def __aenter__(self) -> "_Resolved":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def handle_async_request(self, request: Any) -> Any:
        _tidy(request.headers)
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await self._resolver.resolve(url.host, port)
        except OSError as error:
            raise Unreachable(type(error).__name__) from error
        if url.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": url.host}
        if not found:
            raise Unreachable("no address")
        *others, last = (address[0] for _, address in found)
        for address in others:
            request.url = url.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except self._away:
                continue
        request.url = url.copy_with(host=last)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _tidy(headers: Any) -> None:
    """Without what the clients say about this machine, and about a key that is none."""
    for name, value in headers.multi_items():
        if name.startswith("x-stainless") or value.removeprefix("Bearer ") == _NO_KEY:
            del headers[name]
