"""The agent of all profiles: a backend for each, made when it is first asked."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from trunkline_shared.addresses import is_link_local
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.llm import Llm
from trunkline_shared.profile import open_llm
from trunkline_shared.vault import Unreadable, Vault
from trunkline_worker.backends.base import Backend, Unavailable
from trunkline_worker.backends.chat import ChatBackend
from trunkline_worker.backends.http_client import origin_of
from trunkline_worker.backends.lane import (
    Calling,
    LaneBackend,
    direct_lane,
    fits_direct_lane,
    import_lane,
    make_lane,
)
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import ModelSpec, resolve_profile_model
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.toolsets.base import Toolset, open_all
from trunkline_worker.toolsets.build import Workshop

_KEPT: Final = 256  # backends; one is a few KB, and costs a millisecond to make again


class ProfileBackends:
    """The client of `calling` must refuse link-local addresses unless the settings allow them."""

    def __init__(
        self,
        agent: AgentConfig,
        environ: Mapping[str, str],
        settings: WorkerSettings,
        workshop: Workshop,
        calling: Calling,
    ) -> None:
        self._agent = agent
        self._environ = environ
        self._settings = settings
        self._workshop = workshop
        self._calling = calling
        self._toolsets: list[Toolset] = []
        self._opened = AsyncExitStack()
        self._vault = Vault(settings.secret_key, settings.previous_secret_keys)
        self._backends: OrderedDict[str, ChatBackend | LaneBackend] = OrderedDict()
        self._retiring: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Opens the toolsets, which all profiles share, and loads the table of prices, so that the
        first run does not wait for it. Raises ValueError or TrunklineError.
        """
        self._toolsets = self._workshop.toolsets(self._agent)
        self._opened = await open_all(self._toolsets)
        if self._toolsets:
            await import_lane()
        openai = ModelSpec(provider="openai", name="", base_url="", prices_id="openai")
        self._calling.prices.load(openai)

    async def aclose(self) -> None:
        """When no run is left."""
        await asyncio.gather(*self._retiring, *(each.aclose() for each in self._backends.values()))
        await self._opened.aclose()

    def get(self, sealed: str) -> Backend:
        """The backend of a sealed profile. Raises Unavailable."""
        backend = self._backends.get(sealed)
        if backend is None:
            backend = self._backends[sealed] = self._build(sealed)
            if len(self._backends) > _KEPT:
                self._retire(self._backends.popitem(last=False)[1])
        self._backends.move_to_end(sealed)
        return backend

    def _retire(self, backend: ChatBackend | LaneBackend) -> None:
        if isinstance(backend, LaneBackend):
            task = asyncio.create_task(backend.retire(), name="retire profile")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def _build(self, sealed: str) -> ChatBackend | LaneBackend:
        try:
            llm = open_llm(sealed, self._vault)
        except Unreadable as error:
            raise Unavailable(
                f"The worker cannot read the profile: {error}. Its TRUNKLINE_SECRET_KEY must be "
                "the API's."
            ) from None
        try:
            return self._backend(llm)
        except ValueError as error:
            raise Unavailable(f"The profile's model cannot be called: {error}.") from None

    def _backend(self, llm: Llm) -> ChatBackend | LaneBackend:
        agent, models = self._agent, [resolve_profile_model(self._agent, llm, self._environ)]
        if models[0].base_url:
            self._check(origin_of(models[0].base_url).host)
        self._calling.prices.load(models[0])
        calling = self._patience(llm)
        if fits_direct_lane(agent, models):
            return direct_lane(agent, models, calling)
        workspaces = self._workshop.workspaces
        return LaneBackend(lambda: make_lane(agent, models, self._toolsets, workspaces, calling))

    def _patience(self, llm: Llm) -> Calling:
        chosen, calling = llm.chosen, self._calling
        silence = (llm.stream_idle_timeout, "stream_idle_timeout"), (llm.timeout, "timeout")
        return replace(
            calling,
            retry=Retry(llm.num_retries) if "num_retries" in chosen else calling.retry,
            silence_timeout_s=next(
                (seconds for seconds, name in silence if seconds and name in chosen),
                calling.silence_timeout_s,
            ),
        )

    def _check(self, host: str) -> None:
        # The client would refuse it too, when the run is under way.
        if is_link_local(host) and not self._settings.allow_link_local:
            raise ValueError("its base_url is a link-local address, which is not allowed")
