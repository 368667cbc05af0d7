"""Which steps of a run are done: what earlier attempts recorded, and how this one records.

An entry is a JSON object with a version: a model's response, that a tool was begun, or what a tool
gave back. A call is known by its step and its place among the step's calls.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias, cast

import orjson
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse

from trunkline_shared.events import RunEvent, Usage
from trunkline_worker.backends.base import RunContext

_VERSION: Final = 1

Place: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave back, and what models cost that the tool asked."""

    output: str
    error: str | None = None
    usage: Usage | None = None

    @property
    def told(self) -> str:
        """What the model is told."""
        return self.output if self.error is None else self.error


class Journal:
    """Raises ValueError for entries that this version cannot read."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._responses: dict[int, bytes] = {}
        self._begun: set[Place] = set()
        self._outcomes: dict[Place, Outcome] = {}
        for entry in context.journal:
            self._read(orjson.loads(entry))

    def response(self, step: int) -> ModelResponse | None:
        """What the model said in an earlier attempt."""
        recorded = self._responses.get(step)
        if recorded is None:
            return None
        return cast(ModelResponse, ModelMessagesTypeAdapter.validate_json(recorded)[0])

    def outcome(self, place: Place) -> Outcome | None:
        return self._outcomes.get(place)

    def begun(self, place: Place) -> bool:
        """Whether an earlier attempt began the call, and nobody knows how it ended."""
        return place in self._begun and place not in self._outcomes

    async def answered(self, step: int, response: ModelResponse, events: list[RunEvent]) -> None:
        said = ModelMessagesTypeAdapter.dump_json([response])
        await self._record({"step": step, "said": orjson.Fragment(said)}, events)

    async def beginning(self, place: Place) -> None:
        await self._record({"begun": place}, [])

    async def ended(self, place: Place, outcome: Outcome, events: list[RunEvent]) -> None:
        await self._record({"ended": place, **asdict(outcome)}, events)

    async def _record(self, entry: dict[str, Any], events: list[RunEvent]) -> None:
        await self._context.record(orjson.dumps({"v": _VERSION, **entry}), events)

    def _read(self, entry: dict[str, Any]) -> None:
        match entry:
            case {"v": 1, "step": step, "said": said}:
                self._responses[step] = orjson.dumps(said)
            case {"v": 1, "begun": [step, place]}:
                self._begun.add((step, place))
            case {"v": 1, "ended": [step, place], "output": output, "error": error, "usage": usage}:
                used = None if usage is None else Usage(**usage)
                self._outcomes[step, place] = Outcome(output, error, used)
            case _:
                raise ValueError("a step of the run was recorded by another version")
