"""The chain of an agent's models as the agent lane asks them, made once for all of its runs."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from pydantic_ai.profiles import DEFAULT_PROFILE, ModelProfile, merge_profile

from trunkline_shared.config.models import AgentConfig
from trunkline_worker.agent_lane.chat_wire import ChatWire
from trunkline_worker.agent_lane.clients import Patience, client_model
from trunkline_worker.agent_lane.foreign_wire import ForeignWire
from trunkline_worker.agent_lane.options import check_settings
from trunkline_worker.agent_lane.step import Wire
from trunkline_worker.backends.asking import Chain
from trunkline_worker.backends.chat import ChatModel
from trunkline_worker.backends.exchange import Upstream, secrets_of
from trunkline_worker.backends.http_client import HttpClient, origin_of
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices


class LaneChain(Chain[Wire]):
    """May mix wires. `open` it once before the first run, `aclose` it when no run is left."""

    def __init__(
        self, agent: AgentConfig, wires: Sequence[Wire], prices: Prices, retry: Retry | None
    ) -> None:
        super().__init__(agent, wires, prices, retry)
        self.profile = shared_profile(wires)

    async def open(self) -> None:
        """Looks the models' prices up, which is slow the first time."""
        self.load_prices()

    async def aclose(self) -> None:
        async with AsyncExitStack() as closing:
            for wire in self.models:
                closing.push_async_callback(wire.aclose)


def make_chain(
    agent: AgentConfig,
    specs: Sequence[ModelSpec],
    client: HttpClient,
    prices: Prices,
    *,
    retry: Retry | None = None,
    connect_timeout_s: float = 10.0,
    silence_timeout_s: float = 120.0,
) -> LaneChain:
    """`client` stays its owner's. Imports what the models need, which may take seconds.

    Raises ValueError for a URL, headers, settings or a provider that cannot be used.
    """
    patience = Patience(connect_timeout_s, silence_timeout_s)
    silent = agent.model_copy(update={"system_prompt": ()})  # its prompts are in the messages
    wires = [
        _chat(silent, spec, client, patience)
        if spec.wire == "chat"
        else _foreign(spec, client, patience)
        for spec in specs
    ]
    return LaneChain(silent, wires, prices, retry)


def shared_profile(wires: Sequence[Wire]) -> ModelProfile:
    """What all models of a chain can do. Changes to schemas are for each wire to make."""

    def all_can(name: str, default: bool = False) -> bool:
        return all(wire.profile.get(name, default) for wire in wires)

    return merge_profile(
        DEFAULT_PROFILE,
        ModelProfile(
            supports_tools=all_can("supports_tools", True),
            supports_json_schema_output=all_can("supports_json_schema_output"),
            supports_json_object_output=all_can("supports_json_object_output"),
        ),
    )


def _chat(agent: AgentConfig, spec: ModelSpec, client: HttpClient, patience: Patience) -> Wire:
    upstream = Upstream.of(
        spec,
        client,
        connect_timeout_s=patience.connect_timeout_s,
        silence_timeout_s=patience.silence_timeout_s,
    )
    return ChatWire(ChatModel(spec, upstream), agent)


def _foreign(spec: ModelSpec, client: HttpClient, patience: Patience) -> Wire:
    check_settings(spec)
    host = origin_of(spec.base_url).host if spec.base_url else spec.provider
    model, close = client_model(spec, client, patience)
    return ForeignWire(spec, model, model.profile, host, secrets_of(spec), close)
