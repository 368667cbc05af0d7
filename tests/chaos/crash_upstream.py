"""The model of the agents that are killed: it calls their tool, and says what that gave back."""

import asyncio
import json

from tests.chaos.crash_cell import FIRST, SECOND, Place
from tests.fakes.upstream import FakeUpstream, main
from tests.fakes.upstream_process import UpstreamProcess
from tests.fakes.upstream_wire import HANG, Json, Reply, Script, Step, content_text, stream


class CrashUpstream(FakeUpstream):
    def reply(self, body: Json, headers: dict[str, str], call: int) -> Reply:
        place, last = Place.of(body), body["messages"][-1]
        number = 2 if last["role"] == "tool" else 1
        place.did(f"model {number}")
        if place.stands_at(f"asked {number}"):
            return Reply([HANG], silent=True)
        text = SECOND.format(content_text(last["content"])) if number == 2 else FIRST
        deltas: list[Json | Step] = [{"content": text}]
        if place.stands_at(f"in model {number}"):
            deltas.append(HANG)
        if number == 1:
            deltas.append(_call(body["tools"][0], place))
        script = Script(deltas, finish="stop" if number == 2 else "tool_calls")
        return Reply(stream(script, body), 200, "text/event-stream", chunked=True)


class CrashUpstreamProcess(UpstreamProcess):
    module = "tests.chaos.crash_upstream"


def _call(tool: Json, place: Place) -> Json:
    arguments = json.dumps({"place": str(place)})
    function = {"name": tool["function"]["name"], "arguments": arguments}
    call = {"index": 0, "id": "call_0", "type": "function", "function": function}
    return {"tool_calls": [call]}


if __name__ == "__main__":
    asyncio.run(main(CrashUpstream))
