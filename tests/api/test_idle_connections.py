"""A connection on which nothing is asked is closed when its time has come, and no sooner."""

from collections.abc import Callable
from unittest.mock import Mock

import uvicorn
from uvicorn.server import ServerState

from trunkline_api.connection import Connection


class Clock:
    """A loop whose time passes when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Mock:
        self.due.append((self.now + delay_s, callback))
        return Mock()

    def pass_until(self, now: float) -> None:
        self.now = now
        due = [each for each in self.due if each[0] <= now]
        self.due = [each for each in self.due if each[0] > now]
        for _, callback in due:
            callback()


def connection(clock: Clock) -> tuple[Connection, Mock]:
    config = uvicorn.Config(Mock(), log_config=None, timeout_keep_alive=75)
    made = Connection(config, ServerState(), {}, clock, write_timeout_s=10_000)
    transport = Mock()
    transport.is_closing.return_value = False
    transport.get_write_buffer_size.return_value = 0
    made.connection_made(transport)
    return made, transport


def test_the_time_counts_from_the_last_reply() -> None:
    clock = Clock()
    made, transport = connection(clock)
    made.on_response_complete()
    clock.pass_until(70)
    made.data_received(b"GET /alive")
    made.on_response_complete()
    clock.pass_until(144)
    assert not transport.close.called
    clock.pass_until(145)
    assert transport.close.called


def test_a_request_that_takes_long_is_not_cut_off() -> None:
    clock = Clock()
    made, transport = connection(clock)
    made.on_response_complete()
    made.data_received(b"GET /alive")
    clock.pass_until(1000)
    made.on_response_complete()
    clock.pass_until(1074)
    assert not transport.close.called
    clock.pass_until(1075)
    assert transport.close.called
