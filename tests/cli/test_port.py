import socket

import pytest

from trunkline.port import base_url, free_port, until_open
from trunkline_shared.errors import StartError


def test_a_free_port_is_itself_and_zero_is_any() -> None:
    port = free_port("127.0.0.1", 0)
    assert port > 0
    assert free_port("127.0.0.1", port) == port
    assert free_port("localhost", 0) > 0


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_busy_port_is_refused_with_the_fix(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(StartError, match=rf"port {port} on {host} is in use.*--port"):
            free_port(host, port)


@pytest.mark.parametrize(
    ("host", "port", "why"),
    [
        ("127.0.0.1", 65536, "0 to 65535"),
        ("192.0.2.1", 8000, "give another --host"),
        ("no.such.host.invalid", 8000, "give another --host"),
    ],
)
def test_what_cannot_be_bound_is_one_line(host: str, port: int, why: str) -> None:
    with pytest.raises(StartError, match=why) as refused:
        free_port(host, port)
    assert "\n" not in str(refused.value)


def test_the_printed_url_is_one_that_this_machine_reaches() -> None:
    assert base_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert base_url("::", 80) == "http://[::1]:80"
    assert base_url("example.org", 80) == "http://example.org:80"


async def test_until_open_waits_for_the_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await until_open("0.0.0.0", listener.getsockname()[1])
