"""What the compose tests say to the server, and what they keep of its answer."""

import asyncio
import time
from dataclasses import dataclass, field

import openai


@dataclass
class Told:
    """One stream as its client saw it: whole (`finish_reason`) or ended by `error`."""

    text: str = ""
    finish_reason: str | None = None
    error: openai.APIError | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first text, or the end if there is none."""
    arrivals: list[float] = field(default_factory=list)
    """When each piece of text came, on the monotonic clock."""

    @property
    def ended(self) -> bool:
        return self.finish_reason is not None or self.error is not None


def client(url: str) -> openai.AsyncOpenAI:
    """One that never tries again: the server's own promises are what is tested."""
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)


async def stream(url: str, model: str, prompt: str, told: Told | None = None) -> Told:
    """Follow one stream to its end; `told` fills up meanwhile."""
    told = told if told is not None else Told()
    async with client(url) as openai_client:
        try:
            chunks = await openai_client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": prompt}], stream=True
            )
            async for chunk in chunks:
                _take(told, chunk)
        except openai.APIError as error:
            told.error = error
        finally:
            told.begun.set()
    return told


def _take(told: Told, chunk: openai.types.chat.ChatCompletionChunk) -> None:
    for choice in chunk.choices:
        if choice.delta.content:
            told.text += choice.delta.content
            told.arrivals.append(time.monotonic())
            told.begun.set()
        told.finish_reason = choice.finish_reason or told.finish_reason


async def chat(url: str, model: str, prompt: str) -> str:
    async with client(url) as openai_client:
        answer = await openai_client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": prompt}]
        )
    return answer.choices[0].message.content or ""
