"""Serves AgentPool's one agent, in AgentPool's own environment: CONFIG PORT KEY.

As shipped, its server imports the types of its routes for type checkers only: FastAPI then takes
the header, the body and the request for query parameters, and answers every POST with 401. The
names are put where it looks for them; nothing else is touched.
"""

import asyncio
import sys

from agentpool import AgentPool
from agentpool_server.openai_api_server import server as module
from agentpool_server.openai_api_server.completions.models import ChatCompletionRequest
from agentpool_server.openai_api_server.responses.models import ResponseRequest
from fastapi import Header
from fastapi.responses import Response, StreamingResponse

for _name in (ChatCompletionRequest, ResponseRequest, Header, Response, StreamingResponse):
    setattr(module, _name.__name__, _name)


async def _main(config: str, port: str, key: str) -> None:
    pool = AgentPool(config)
    server = module.OpenAIAPIServer(
        pool, host="127.0.0.1", port=int(port), api_key=key, raise_exceptions=True
    )
    async with server:  # enters the pool, which its command line does not
        await server.start()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
