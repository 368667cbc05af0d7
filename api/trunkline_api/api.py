"""One API process, put together: Redis, hub, runs, routes, server."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from redis.asyncio import Redis

from trunkline_api.answer import Answer
from trunkline_api.app import (
    CHAT_PATH,
    COMPACT_PATH,
    INPUT_TOKENS_PATH,
    RESPONSES_PATH,
    Application,
    create_app,
)
from trunkline_api.auth import ApiKeys
from trunkline_api.births import Births
from trunkline_api.compactions import Compactions
from trunkline_api.conversation_items import ConversationItems
from trunkline_api.conversations import Conversations
from trunkline_api.follow import Follow
from trunkline_api.gateway import Gateway, Resource, Shutdown
from trunkline_api.hub import Hub
from trunkline_api.lookup import Lookup
from trunkline_api.once import Once
from trunkline_api.outbox import Outbox
from trunkline_api.prior import Prior
from trunkline_api.profile_check import ProfileCheck
from trunkline_api.profiles import Profiles
from trunkline_api.routes.chat import chat_question
from trunkline_api.routes.compact import compact_question
from trunkline_api.routes.conversation_changes import conversation_changes_router
from trunkline_api.routes.conversation_events import conversation_events_router
from trunkline_api.routes.conversation_items import conversation_items_router
from trunkline_api.routes.conversations import conversations_router
from trunkline_api.routes.input_tokens import input_tokens_question
from trunkline_api.routes.openai_conversations import openai_conversations_router
from trunkline_api.routes.profiles import profiles_router
from trunkline_api.routes.responses import responses_question
from trunkline_api.routes.stored_completions import stored_completions_router
from trunkline_api.routes.stored_responses import stored_responses_router
from trunkline_api.routes.websocket import ResponsesWebSocket
from trunkline_api.runs import Runs
from trunkline_api.server import bind, choose_host, serve_api
from trunkline_api.settings import ApiSettings
from trunkline_api.stored_completions import StoredCompletions
from trunkline_api.stored_keys import StoredKeys
from trunkline_api.stored_responses import StoredResponses
from trunkline_api.tail import BLOCK_S, Tail
from trunkline_api.targets import Targets
from trunkline_api.unstored import UnstoredResponses
from trunkline_api.watch import Watch
from trunkline_shared.channel import Channel
from trunkline_shared.config.models import Config
from trunkline_shared.connection import check_redis, make_redis
from trunkline_shared.errors import StartError
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.profile import profile_agent
from trunkline_shared.scripts import Scripts
from trunkline_shared.vault import Vault

logger = logging.getLogger(__name__)


async def run_api(settings: ApiSettings, config: Config, *, host_explicit: bool = False) -> None:
    """Serves until SIGTERM or SIGINT and the end of the grace.

    Raises StartError (port, Redis) or ConfigError (keys) when it cannot begin.
    """
    keys = ApiKeys.from_settings(settings)
    async with AsyncExitStack() as stack:
        probe = make_redis(settings)
        stack.push_async_callback(probe.aclose)
        await check_redis(probe)
        keys.closed = bool(await probe.exists(Keys(settings.prefix).api_keys))
        host = choose_host(settings, has_keys=bool(keys), host_explicit=host_explicit)
        sockets = bind(host, settings.port)
        # No socket time-outs: a pipe watches its own answers, a subscription its echo.
        client = make_redis(settings, socket_timeout=None, health_check_interval=0)
        stack.push_async_callback(client.aclose)
        application = build_application(settings, config, client, keys)
        await serve_api(application, sockets=sockets)


def build_application(
    settings: ApiSettings, config: Config, client: Redis, api_keys: ApiKeys
) -> Application:
    """The application over `client`, which must be without socket time-outs; needs a loop."""
    keys = Keys(settings.prefix)
    shutdown = Shutdown()
    scripts = Scripts.build(keys, settings)
    pipe = Pipe(client, scripts, timeout_s=settings.redis_timeout_s, name="api")
    runs = Runs(settings, config, keys, pipe)
    process = secrets.token_hex(8)
    reply = keys.reply(process)

    def channel(on_message: Callable[[bytes], None], on_connected: Callable[[], None]) -> Channel:
        return Channel(
            client,
            pipe,
            reply,
            timeout_s=settings.redis_timeout_s,
            on_message=on_message,
            on_connected=on_connected,
        )

    hub = Hub(
        channel,
        reader_bytes=settings.reader_buffer_bytes,
        cancel=runs.cancel_soon,
        closing=shutdown.closing,
    )
    vault = vault_of(settings)
    lookup = Lookup(pipe, patience_s=settings.submit_retry_s)
    api_keys = replace(api_keys, stored=StoredKeys(lookup, keys.api_keys))
    profiles = Profiles(pipe, keys, vault, timeout_s=settings.submit_retry_s)
    runner = profile_agent(config)
    targets = Targets(config.agents, profiles, runner)
    births = Births(lookup, keys.born)
    gateway = Gateway(settings, config, api_keys, hub, runs, targets, births, shutdown)
    follow = Follow(runs, hub, pipe, keys, reply=reply, shutdown=shutdown)
    tail = Tail(
        Pipe(client, scripts, timeout_s=BLOCK_S + settings.redis_timeout_s, name="tail"),
        lookup,
        keys,
        name=process,
        reader_bytes=settings.reader_buffer_bytes,
        closing=shutdown.closing,
    )
    watch = Watch(runs, tail, pipe, lookup, keys, shutdown)
    stored = StoredResponses(lookup, keys, vault, max_bytes=settings.max_body_bytes)
    completions = StoredCompletions(
        lookup,
        keys,
        vault,
        max_bytes=settings.max_body_bytes,
        retention_s=settings.retention_of("completions"),
    )
    conversations = Conversations(settings, keys, pipe, vault)
    items = ConversationItems(conversations, lookup, runs, keys, vault)
    compactions = Compactions(vault)
    prior = Prior(stored, conversations, compactions)
    once = Once(settings, runs, watch, stored, lookup, keys, vault)
    question = responses_question(stored, compactions)
    responses = Answer(gateway, follow, targets, question, watch, once)
    chat = chat_question(completions)
    compact, count = compact_question(prior, compactions), input_tokens_question(prior)
    answers = {
        CHAT_PATH: Answer(gateway, follow, targets, chat, watch, once),
        RESPONSES_PATH: responses,
        COMPACT_PATH: Answer(gateway, follow, targets, compact, begins=False),
        INPUT_TOKENS_PATH: Answer(gateway, follow, targets, count, begins=False),
    }
    known = partial(UnstoredResponses, lookup, keys, vault, max_bytes=settings.max_body_bytes)
    websocket = ResponsesWebSocket(RESPONSES_PATH, gateway, responses, follow, known, compactions)
    resources: list[Resource] = [pipe, runs, hub, tail]
    if settings.webhooks or settings.response_webhooks:
        resources.append(Outbox(settings, keys, pipe, conversations, vault))
    resources.append(_Connected(pipe, hub, settings.redis_timeout_s))
    routers = (
        profiles_router(gateway, profiles, ProfileCheck(follow, runner)),
        stored_responses_router(gateway, stored, watch),
        stored_completions_router(gateway, completions),
        conversations_router(gateway, conversations),
        conversation_changes_router(gateway, conversations, runs),
        conversation_events_router(gateway, conversations),
        openai_conversations_router(gateway, conversations, items, runs),
        conversation_items_router(gateway, conversations, items),
    )
    return create_app(gateway, answers, resources, routers, websocket)


def vault_of(settings: ApiSettings) -> Vault:
    """What seals and opens for this process; a warning where it has nothing to seal with."""
    if settings.secret_key is None:
        logger.warning(
            "TRUNKLINE_SECRET_KEY is not set: responses and conversations are stored in clear, "
            "and profiles with secrets are refused"
        )
    return Vault(settings.secret_key, settings.previous_secret_keys)


class _Connected:
    """The last resource to start: takes no request before Redis answers and the hub hears."""

    def __init__(self, pipe: Pipe, hub: Hub, timeout_s: float) -> None:
        self._pipe = pipe
        self._hub = hub
        self._timeout_s = timeout_s

    async def start(self) -> None:
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                await self._pipe.connected()
                await self._hub.subscribed()
        except TimeoutError:
            raise StartError("Redis went away while the server started") from None

    async def aclose(self) -> None:
        """Nothing of its own to close."""
