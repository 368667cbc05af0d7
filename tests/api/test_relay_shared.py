"""Whether a run goes on without the reader that is closed."""

from tests.api.fake_log import FakeLog
from trunkline_api.hub import Reader
from trunkline_api.relay import Relay
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunId


async def test_a_run_is_shared_when_redis_says_so() -> None:
    log = FakeLog()
    relay = Relay(Reader(RunId("r"), 1000), log, Keys())  # type: ignore[arg-type]
    assert not await relay.is_shared()
    log.read = b"1"
    assert await relay.is_shared()
    log.trouble = RedisUnavailable("away")
    assert not await relay.is_shared()
