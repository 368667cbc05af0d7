"""Counts what an agent's first model would read, by its provider where that counts."""

from collections.abc import Sequence

from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.agent_lane.answering import Answering
from trunkline_worker.agent_lane.chain import LaneChain
from trunkline_worker.agent_lane.foreign_wire import ForeignWire
from trunkline_worker.agent_lane.history import to_messages
from trunkline_worker.agent_lane.models import LaneModel
from trunkline_worker.agent_lane.own_tools import OwnTools
from trunkline_worker.agent_lane.step import Step, step_request
from trunkline_worker.agent_lane.tool_forms import definition_of
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.counting import counted, estimated
from trunkline_worker.backends.upstream_errors import Fault


async def count(
    chain: LaneChain,
    tools: OwnTools,
    answering: Answering,
    request: RunRequest,
    context: RunContext,
    system_prompt: Sequence[str],
) -> RunEvent:
    """The end of the run: the tokens of its first step, or why the provider does not tell them."""
    parameters = answering.parameters([*tools.definitions(), *map(definition_of, request.tools)])
    messages = to_messages(request.transcript, system_prompt)
    model = LaneModel(chain, request, context, context.emit)
    _, prepared = model.prepare_request(None, parameters)
    asked = step_request(request, messages, prepared)
    wire = chain.models[0]
    if not isinstance(wire, ForeignWire):
        return estimated(asked, chain.agent)  # whose prompts are in the messages
    await context.gate()
    tokens = await wire.count(Step(asked, messages, parameters, context))
    if isinstance(tokens, Fault):
        return tokens.failed
    return estimated(asked, chain.agent) if tokens is None else counted(tokens, wire.spec.name)
