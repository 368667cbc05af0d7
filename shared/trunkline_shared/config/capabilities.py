"""What callers may ask of an agent, by what it is. What it cannot do is refused, never ignored."""

from dataclasses import dataclass

from trunkline_shared.config.models import AgentConfig


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`tools`: takes the caller's tools. `formats`: json_object and json_schema. `sampling`:
    temperature, top_p, stop, seed and such. `images`, `files`, `audio`: as parts of what users say.
    """

    tools: bool = True
    formats: bool = True
    sampling: bool = True
    logprobs: bool = True
    images: bool = True
    files: bool = True
    audio: bool = True


def capabilities(agent: AgentConfig) -> Capabilities:
    """Of one agent. An OpenAI-compatible model is asked for anything: it knows best."""
    match agent.type:
        case "chat":
            return Capabilities()
        case "claude_code":
            return Capabilities(
                tools=False, sampling=False, logprobs=False, files=False, audio=False
            )
        case _:
            return Capabilities(
                tools=False, formats=False, logprobs=False, images=False, files=False, audio=False
            )
