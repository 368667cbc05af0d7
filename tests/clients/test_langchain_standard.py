"""LangChain's own suite of what a chat model has to do, for ChatOpenAI on this server."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import httpx
import pytest
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.clients.conftest import ABLE, API_KEY
from tests.fakes.system import System


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning")
class Standard(ChatModelIntegrationTests):
    """What stays off asks for files from the internet: images, PDFs and sounds are sent by tests of
    ours. `test_stream_time` measures a recording of a real provider. The warnings are LangChain's
    own, of types that it does not know, and of a way that it takes by itself.
    """

    _where: dict[str, Any]
    more: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True, params=ABLE)
    async def _server(self, request: pytest.FixtureRequest, system: System) -> AsyncIterator[None]:
        self._where = {"model": request.param, "base_url": system.base_url(), "api_key": API_KEY}
        # Its own client outlives the event loop of a test.
        async with httpx.AsyncClient() as http:
            self._where["http_async_client"] = http
            yield

    @pytest.fixture
    def benchmark(self) -> None:
        """Of a plugin that only the recording needs."""

    @pytest.fixture
    def vcr(self) -> None:
        """As `benchmark`."""

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**self._where, "stream_usage": True, **self.more}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "words-3"


class TestChatCompletions(Standard):
    pass


class TestResponses(Standard):
    _where: dict[str, Any]
    more: ClassVar[dict[str, Any]] = {"use_responses_api": True}
