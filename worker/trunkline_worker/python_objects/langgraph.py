"""Compiled graphs of LangGraph, whose state has `messages`. Imported where there is one."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, cast

import orjson
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphRecursionError
from langgraph.pregel import Pregel

from trunkline_shared.events import Finished, ReasoningDelta, RunEvent, TextDelta, Usage
from trunkline_shared.transcript import Item
from trunkline_worker.backends.chat_messages import messages as chat_messages
from trunkline_worker.python_objects.base import Activities, Ask, Piece

_TOO_MANY: Final = "too many steps"
_LIKE_OPENAI: Final = "openai"  # whose forms LangChain takes


class LangGraph:
    """Shown what all of its models say and all of its tools do. A graph with a checkpointer keeps
    its conversations itself, each as a thread; any other is given the whole history each time. A
    caller's sampling options stand in the `configurable` of its config, for nodes that read them.
    """

    def __init__(self, graph: "Pregel[Any, Any, Any, Any]") -> None:
        self._graph = graph

    async def stream(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        heard = _Heard(Activities(self._graph.get_name()))
        config, messages = await self._asked(ask)
        try:
            async with aclosing(self._messages(messages, config)) as said:
                async for message in said:
                    for event in heard.events(message):
                        yield event
                    if getattr(message, "usage_metadata", None):
                        yield replace(heard.usage)
        except GraphRecursionError:
            heard.finish = _TOO_MANY
        finally:
            await self._forget(ask)
        yield heard.usage
        if heard.finish == _TOO_MANY:
            yield Finished("length", detail="limits.max_requests reached")
        if heard.finish in ("length", "content_filter"):
            yield Finished(heard.finish)

    async def _messages(
        self, messages: Sequence[Any], config: RunnableConfig
    ) -> AsyncGenerator[Any, None]:
        stream = self._graph.astream({"messages": messages}, config, stream_mode="messages")
        async with aclosing(cast(AsyncGenerator[Any, None], stream)) as pieces:
            async for message, _ in pieces:
                yield message

    async def _asked(self, ask: Ask) -> tuple[RunnableConfig, Sequence[Any]]:
        """How the graph is run, and the messages that it has not seen yet."""
        config: RunnableConfig = {
            "configurable": dict(ask.options),
            "callbacks": [_Ending(ask.over)],
        }
        if ask.limits.max_requests is not None:  # a request and its tools are two steps
            config["recursion_limit"] = 2 * ask.limits.max_requests
        request, agent = ask.request, ask.agent
        if getattr(self._graph, "checkpointer", None):
            config["configurable"]["thread_id"] = _thread(ask)
            state = await self._graph.aget_state(config)
            if state.values.get("messages"):
                request = replace(request, transcript=_new(request.transcript))
                agent = agent.model_copy(update={"system_prompt": ()})
        request = replace(request, transcript=[*map(_callable, request.transcript)])
        return config, chat_messages(request, agent, _LIKE_OPENAI)

    async def _forget(self, ask: Ask) -> None:
        """Without a conversation nobody can come back to the thread."""
        forget = getattr(getattr(self._graph, "checkpointer", None), "adelete_thread", None)
        if forget is not None and not ask.request.conversation:
            await forget(_thread(ask))


class _Ending(AsyncCallbackHandler):
    """Cancels what goes on after the end: Python 3.11's `wait_for`, in which LangChain waits for
    each token, loses a cancellation that comes together with one."""

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over

    async def on_llm_new_token(self, *_: Any, **__: Any) -> None:
        if self._over.is_set():
            raise asyncio.CancelledError


class _Heard:
    """What the messages of a stream come to."""

    def __init__(self, activities: Activities) -> None:
        self._activities = activities
        self._calls: dict[tuple[str | None, Any], str] = {}
        self.usage = Usage()
        self.finish: Any = None

    def events(self, message: Any) -> list[RunEvent]:
        match message:
            case AIMessageChunk():
                return [*self._said(message), *self._called(message)]
            case AIMessage():
                calls = (
                    event
                    for call in message.tool_calls
                    for event in self._activities.begin(str(call["id"]), call["name"])
                )
                return [*self._said(message), *calls]
            case ToolMessage():
                failed = "the call failed" if message.status == "error" else None
                return self._activities.end(message.tool_call_id, message.text, failed)
        return []

    def _said(self, message: AIMessage) -> list[RunEvent]:
        self._count(message)
        self.finish = message.response_metadata.get("finish_reason") or self.finish
        thought = "".join(
            str(block.get("reasoning", ""))
            for block in message.content_blocks
            if block["type"] == "reasoning"
        )
        reasoning: list[RunEvent] = [ReasoningDelta(thought)] if thought else []
        return [*reasoning, TextDelta(message.text)] if message.text else reasoning

    def _called(self, chunk: AIMessageChunk) -> list[RunEvent]:
        events: list[RunEvent] = []
        for call in chunk.tool_call_chunks:
            key = chunk.id, call["index"]
            if call["id"]:
                self._calls[key] = call["id"]
                events += self._activities.begin(call["id"], call["name"] or "")
            events += self._activities.more(self._calls.get(key, ""), call["args"] or "")
        return events

    def _count(self, message: AIMessage) -> None:
        if not (used := message.usage_metadata):
            return
        inner, outer = used.get("input_token_details", {}), used.get("output_token_details", {})
        self.usage.input_tokens += used["input_tokens"]
        self.usage.output_tokens += used["output_tokens"]
        self.usage.cached_tokens += inner.get("cache_read") or 0
        self.usage.cache_write_tokens += inner.get("cache_creation") or 0
        self.usage.reasoning_tokens += outer.get("reasoning") or 0


def _thread(ask: Ask) -> str:
    """A conversation's, which is its principal's alone; else one that no other run has."""
    request = ask.request
    if not request.conversation:
        return request.run_id
    owner = hashlib.sha256(request.principal.encode()).hexdigest()[:16]
    return f"{owner}:{ask.agent.name}:{request.conversation}"


def _callable(item: Item) -> Item:
    """LangChain knows calls of functions alone, with an object in JSON."""
    if item["type"] != "tool_call":
        return item
    try:
        fits = isinstance(orjson.loads(item["arguments"] or "{}"), dict)
    except orjson.JSONDecodeError:
        fits = False
    given = item["arguments"] or "{}"
    arguments = given if fits else orjson.dumps({"input": given}).decode()
    return {**item, "kind": "function", "arguments": arguments}


def _new(items: Sequence[Item]) -> list[Item]:
    """What came after the last answer."""
    said = [
        at
        for at, item in enumerate(items)
        if item["type"] in ("reasoning", "tool_call")
        or (item["type"] == "message" and item["role"] == "assistant")
    ]
    return list(items[said[-1] + 1 :]) if said else list(items)
