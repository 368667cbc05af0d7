"""What callers may ask of an agent, by what it is. What it cannot do is refused, never ignored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final

from trunkline_shared.config.interpolate import holds_variable
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.providers import PROVIDERS, Wire, split_model


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`tools`: takes the caller's tools. `formats`: json_object and json_schema. `sampling`:
    temperature, top_p, stop, seed and such, but for the `Options` in `refused`. `images`, `files`,
    `audio`: as parts of what users say.
    """

    tools: bool = True
    formats: bool = True
    sampling: bool = True
    logprobs: bool = True
    images: bool = True
    files: bool = True
    audio: bool = True
    refused: frozenset[str] = frozenset()

    def __and__(self, other: "Capabilities") -> "Capabilities":
        """What both can do."""
        return Capabilities(
            tools=self.tools and other.tools,
            formats=self.formats and other.formats,
            sampling=self.sampling and other.sampling,
            logprobs=self.logprobs and other.logprobs,
            images=self.images and other.images,
            files=self.files and other.files,
            audio=self.audio and other.audio,
            refused=self.refused | other.refused,
        )


_ALL: Final = Capabilities()
_NO_TEXTS: Final = frozenset({"logit_bias", "verbosity", "prediction"})
_NO_PENALTIES: Final = _NO_TEXTS | {"seed", "presence_penalty", "frequency_penalty"}

BY_WIRE: Final[Mapping[Wire, Capabilities]] = {
    "chat": _ALL,
    "responses": Capabilities(
        logprobs=False,
        audio=False,
        refused=_NO_PENALTIES - {"verbosity"} | {"stop"},
    ),
    "anthropic": Capabilities(logprobs=False, audio=False, refused=_NO_PENALTIES),
    "google": Capabilities(logprobs=False, refused=_NO_TEXTS),
    "google-cloud": Capabilities(logprobs=False, refused=_NO_TEXTS),
    "bedrock": Capabilities(logprobs=False, audio=False, refused=_NO_PENALTIES),
    "cohere": Capabilities(
        logprobs=False, images=False, files=False, audio=False, refused=_NO_TEXTS
    ),
}
"""Of models. One that speaks chat completions is asked for anything: it knows best."""


def capabilities(agent: AgentConfig) -> Capabilities:
    """Of one agent. Of a fallback chain: what all of its models can do, as far as they are named
    without variables."""
    match agent.type:
        case "chat":
            shared = reduce(Capabilities.__and__, _of_models(agent), _ALL)
            return shared & Capabilities(logprobs=False) if agent.toolsets else shared
        case "echo":  # has no model that a tool or an image could be too much for
            return Capabilities(formats=False, logprobs=False)
        case "claude_code":
            return Capabilities(
                tools=False, sampling=False, logprobs=False, files=False, audio=False
            )
        case "python":  # whatever the object is: none of them takes the caller's tools or formats
            return Capabilities(
                tools=False, formats=False, logprobs=False, files=False, audio=False
            )
        case _:
            return Capabilities(
                tools=False, formats=False, logprobs=False, images=False, files=False, audio=False
            )


def _of_models(agent: AgentConfig) -> Iterable[Capabilities]:
    for model in agent.model:
        if not holds_variable(model):
            provider = PROVIDERS.get(split_model(model)[0])
            wire = provider.wire if provider else "chat"
            yield BY_WIRE["responses" if wire == "chat" and agent.api == "responses" else wire]
