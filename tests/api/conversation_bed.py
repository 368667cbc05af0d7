"""Conversations in a real Redis, written as the scripts write them, and the API over it."""

from collections.abc import Sequence
from typing import Any

import httpx
from redis.asyncio import Redis

from tests.api.fake_gateway import CONFIG, application, client
from trunkline_api.conversations import Conversations
from trunkline_api.routes.conversation_changes import conversation_changes_router
from trunkline_api.routes.conversation_events import conversation_events_router
from trunkline_api.routes.conversations import conversations_router
from trunkline_api.runs import Runs
from trunkline_api.settings import ApiSettings
from trunkline_shared.connection import make_redis
from trunkline_shared.conversation import Turn, encode_turn
from trunkline_shared.events import Usage
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Scripts
from trunkline_shared.transcript import Item, Message
from trunkline_shared.vault import Vault

API_KEYS = ("mine", "theirs")  # of the principals key-1 and key-2
CONVERSATION = "0b5e7a52-7c1f-4d5f-9a6e-3f2c1d0e9b8a"
ROOT = "http://gateway/api/conversations"
DAY_MS = 1_790_000_000_000


def message(role: Any, text: str) -> Message:
    return {"type": "message", "role": role, "content": [{"type": "text", "text": text}]}


def turn(number: int = 1, text: str = "hi", answer: str = "hello", **values: Any) -> Turn:
    """A turn that cost 10 + 2 tokens and half a dollar, unless `values` say otherwise."""
    items: list[Item] = [message("user", text)]
    defaults: dict[str, Any] = {
        "asked_ms": DAY_MS + number * 1000,
        "ended_ms": DAY_MS + number * 1000 + 500,
        "model": "openhands_demo",
        "llm": "openai/fake",
        "items": items,
        "said": [message("assistant", answer)],
        "usage": Usage(10, 2, cost=0.5),
        "latency_s": 0.25,
    }
    return Turn(f"run-{number}", **defaults | values)


class ConversationBed:
    """`http(key)` speaks to the routes as one of two principals."""

    def __init__(self, redis_url: str, **settings: Any) -> None:
        self.settings = ApiSettings(redis_url=redis_url, api_key=API_KEYS, **settings)
        self.keys = Keys()
        self.vault = Vault("a secret key")
        self.redis: Redis = make_redis(self.settings, socket_timeout=None)
        self.pipe = Pipe(
            self.redis, Scripts.build(self.keys, self.settings), timeout_s=5.0, name="bed"
        )
        self.conversations = Conversations(self.settings, self.keys, self.pipe, self.vault)
        self.runs = Runs(self.settings, CONFIG, self.keys, self.pipe)

    async def __aenter__(self) -> "ConversationBed":
        await self.pipe.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runs.aclose()
        await self.pipe.aclose()
        await self.redis.aclose()

    async def write(
        self,
        conversation: str = CONVERSATION,
        turns: Sequence[Turn] = (),
        *,
        principal: str = "key-1",
        created: int = DAY_MS,
        **fields: Any,
    ) -> None:
        values = {"principal": principal, "created": created, "updated": created} | fields
        key = self.keys.conversation(conversation)
        await self.redis.hset(key, mapping=values)  # type: ignore[misc]
        now, _ = await self.redis.time()
        mine = self.keys.conversations(principal)
        await self.redis.zadd(mine, {conversation: int(now) * 1000})
        for each in turns:
            sealed = self.vault.seal(encode_turn(each))
            await self.redis.rpush(self.keys.turns(conversation), sealed)  # type: ignore[misc]

    def http(self, key: str = "mine") -> httpx.AsyncClient:
        gateway = application(api_key=API_KEYS).gateway
        routers = (
            conversations_router(gateway, self.conversations),
            conversation_changes_router(gateway, self.conversations, self.runs),
            conversation_events_router(gateway, self.conversations),
        )
        http = client(application(routers=routers, api_key=API_KEYS))
        http.headers["x-session-api-key"] = key
        http.base_url = http.base_url.join("/api/conversations")
        return http
