"""The clients of providers with a wire of their own, as pydantic-ai's models.

They read no environment of this process where they can be told not to, never try again by
themselves, and connect where the worker's own resolver says.
"""

import inspect
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider_class

from trunkline_shared.config.providers import PROVIDERS
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


def http_client(client: HttpClient, patience: Patience) -> httpx2.AsyncClient:
    """As many connections as there are calls: a worker's slots are the limit."""
    # A context of its own would cost each model 20 ms.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
    transport = httpx2.AsyncHTTPTransport(verify=client.tls, limits=limits, trust_env=False)
    return httpx2.AsyncClient(
        transport=_Resolved(transport, client.resolver),
        headers=_HEADERS,
        timeout=_timeout(patience),
        trust_env=False,
        follow_redirects=False,
    )


def client_model(spec: ModelSpec, http: httpx2.AsyncClient, patience: Patience) -> Model[Any]:
    """The model of a spec whose wire is not `chat`. Raises ValueError for what is not there."""
    try:
        match spec.wire:
            case "anthropic":
                return _anthropic(spec, http, patience)
            case "responses":
                return _responses(spec, http, patience)
        return infer_model(
            f"{spec.wire}:{spec.name}", lambda name: _other(name, spec, http, patience)
        )
    except ImportError:
        extra = spec.wire.partition("-")[0]
        raise ValueError(
            f'provider {spec.provider} needs: pip install "pydantic-ai-slim[{extra}]"'
        ) from None


def _anthropic(spec: ModelSpec, http: httpx2.AsyncClient, patience: Patience) -> Model[Any]:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = AsyncAnthropic(
        api_key=spec.api_key or _NO_KEY,
        base_url=spec.base_url,
        http_client=http,
        timeout=_timeout(patience),
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
        timeout=_timeout(patience),
        max_retries=0,
    )
    return OpenAIResponsesModel(spec.name, provider=OpenAIProvider(openai_client=client))


def _other(
    name: str, spec: ModelSpec, http: httpx2.AsyncClient, patience: Patience
) -> Provider[Any]:
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
    offered = {
        "http_client": http,
        "aws_connect_timeout": patience.connect_timeout_s,
        "aws_read_timeout": patience.silence_timeout_s,
    }
    if spec.wire != "cohere":  # its client is of another library
        wanted |= {key: value for key, value in offered.items() if key in takes}
    return provider(**wanted)


def _is_default(spec: ModelSpec) -> bool:
    known = PROVIDERS.get(spec.provider)
    return known is not None and known.base_url == spec.base_url


def _timeout(patience: Patience) -> httpx2.Timeout:
    silence = patience.silence_timeout_s
    return httpx2.Timeout(silence, connect=patience.connect_timeout_s, pool=None)


class _Resolved(httpx2.AsyncBaseTransport):
    """Connects to the addresses that the worker's resolver finds, which guards profiles'."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, resolver: Resolver) -> None:
        self._inner = inner
        self._resolver = resolver

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        _tidy(request.headers)
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await self._resolver.resolve(url.host, port)
        except OSError as error:
            raise Unreachable(type(error).__name__) from error
        if url.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": url.host}
        *others, last = (address[0] for _, address in found)
        for address in others:
            request.url = url.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        request.url = url.copy_with(host=last)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _tidy(headers: httpx2.Headers) -> None:
    """Without what the clients say about this machine, and about a key that is none."""
    for name, value in headers.multi_items():
        if name.startswith("x-stainless") or value.removeprefix("Bearer ") == _NO_KEY:
            del headers[name]
