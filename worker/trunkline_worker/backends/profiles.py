"""The agent of all profiles: a chat backend for each, made when it is first asked."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from trunkline_shared.addresses import is_link_local
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.llm import Llm
from trunkline_shared.profile import open_llm
from trunkline_shared.vault import Unreadable, Vault
from trunkline_worker.backends.base import Backend, Unavailable
from trunkline_worker.backends.chat import ChatBackend
from trunkline_worker.backends.http_client import HttpClient, origin_of
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import ModelSpec, resolve_profile_model
from trunkline_worker.prices import Prices
from trunkline_worker.settings import WorkerSettings

_KEPT: Final = 256  # backends; one is a few KB, and costs a millisecond to make again


class ProfileBackends:
    """`client` must refuse link-local addresses unless the settings allow them."""

    def __init__(
        self,
        agent: AgentConfig,
        environ: Mapping[str, str],
        settings: WorkerSettings,
        client: HttpClient,
        prices: Prices,
    ) -> None:
        self._agent = agent
        self._environ = environ
        self._settings = settings
        self._client = client
        self._prices = prices
        self._vault = Vault(settings.secret_key, settings.previous_secret_keys)
        self._backends: OrderedDict[str, Backend] = OrderedDict()

    def open(self) -> None:
        """Loads the table of prices, so that the first run does not wait for it."""
        self._prices.load(ModelSpec(provider="openai", name="", base_url="", prices_id="openai"))

    def get(self, sealed: str) -> Backend:
        """The backend of a sealed profile. Raises Unavailable."""
        backend = self._backends.get(sealed)
        if backend is None:
            backend = self._backends[sealed] = self._build(sealed)
            if len(self._backends) > _KEPT:
                self._backends.popitem(last=False)
        self._backends.move_to_end(sealed)
        return backend

    def _build(self, sealed: str) -> Backend:
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

    def _backend(self, llm: Llm) -> Backend:
        spec = resolve_profile_model(self._agent, llm, self._environ)
        self._check(origin_of(spec.base_url).host)
        self._prices.load(spec)
        chosen = llm.chosen
        silence = (llm.stream_idle_timeout, "stream_idle_timeout"), (llm.timeout, "timeout")
        return ChatBackend(
            self._agent,
            [spec],
            self._client,
            self._prices,
            retry=Retry(
                llm.num_retries if "num_retries" in chosen else self._settings.upstream_retries
            ),
            connect_timeout_s=self._settings.connect_timeout_s,
            silence_timeout_s=next(
                (seconds for seconds, name in silence if seconds and name in chosen),
                self._settings.silence_timeout_s,
            ),
        )

    def _check(self, host: str) -> None:
        # The client would refuse it too, when the run is under way.
        if is_link_local(host) and not self._settings.allow_link_local:
            raise ValueError("its base_url is a link-local address, which is not allowed")
