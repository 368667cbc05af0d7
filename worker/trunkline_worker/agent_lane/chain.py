"""The chain of an agent's models as the agent lane asks them, made once for all of its runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from trunkline_shared.config.models import AgentConfig
from trunkline_worker.agent_lane.chat_wire import ChatWire
from trunkline_worker.agent_lane.step import Wire
from trunkline_worker.backends.asking import Chain
from trunkline_worker.backends.chat import ChatModel
from trunkline_worker.backends.exchange import Upstream
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds: to connect to an upstream, and that it may send nothing."""

    connect_timeout_s: float = 10.0
    silence_timeout_s: float = 120.0


class LaneChain(Chain[Wire]):
    """May mix wires. `open` it once before the first run, `aclose` it when no run is left."""

    async def open(self) -> None:
        self.load_prices()

    async def aclose(self) -> None:
        for wire in self.models:
            await wire.aclose()


def make_chain(
    agent: AgentConfig,
    specs: Sequence[ModelSpec],
    client: HttpClient,
    prices: Prices,
    *,
    retry: Retry | None = None,
    patience: Patience = Patience(),
) -> LaneChain:
    """`client` stays its owner's. Raises ValueError for a URL, headers or a provider that cannot
    be used."""
    silent = agent.model_copy(update={"system_prompt": ()})  # its prompts are in the messages
    wires = [_wire(silent, spec, client, patience) for spec in specs]
    return LaneChain(silent, wires, prices, retry)


def _wire(agent: AgentConfig, spec: ModelSpec, client: HttpClient, patience: Patience) -> Wire:
    upstream = Upstream.of(
        spec,
        client,
        connect_timeout_s=patience.connect_timeout_s,
        silence_timeout_s=patience.silence_timeout_s,
    )
    return ChatWire(ChatModel(spec, upstream), agent)
