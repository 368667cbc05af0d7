"""Where calls go, and what of a URL and of headers is sent."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.patience import until
from tests.worker.backends.loops import each_loop
from tests.worker.backends.raw_server import Client, serving
from trunkline_worker.backends.http_client import HttpClient, origin_of, post_head
from trunkline_worker.backends.http_connection import ConnectTimeout, Origin, Unreachable
from trunkline_worker.backends.resolver import Address, Resolver

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def certificate(folder: Path) -> Path:
    """A key and its own certificate for localhost, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "localhost.pem"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form)
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def of_loopback(host: str, port: int) -> Sequence[Address]:
    return [(socket.AF_INET, ("127.0.0.1", port))]


@pytest.mark.parametrize("trusted", [True, False])
@each_loop
async def test_certificates_are_checked(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    resolver = Resolver(of_loopback)
    async with serving([HELLO], tls=context) as raw, Client(raw, resolver) as client:
        if trusted:
            assert (await client.post()).text == b"hello"
        else:
            with pytest.raises(Unreachable) as error:
                await client.post()
            assert error.value.cause == "self-signed certificate"


@each_loop
async def test_a_name_whose_lookup_hangs_is_not_waited_for() -> None:
    async def hang(host: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(ConnectTimeout):
        await HttpClient(Resolver(hang)).connect(Origin("h", 80, False), 0.02)


@each_loop
async def test_a_port_where_nobody_listens_says_so(unused_tcp_port: int) -> None:
    with pytest.raises(Unreachable) as error:
        await HttpClient().connect(Origin("127.0.0.1", unused_tcp_port, False), 5)
    assert error.value.cause == "Connection refused"
    assert "127.0.0.1" not in str(error.value)


@each_loop
async def test_the_next_address_is_tried_when_one_leads_nowhere(unused_tcp_port: int) -> None:
    async def two(host: str, port: int) -> Sequence[Address]:
        dead = socket.AF_INET, ("127.0.0.1", unused_tcp_port)
        return [dead, (socket.AF_INET, ("127.0.0.1", port))]

    async with serving([HELLO]) as raw, Client(raw, Resolver(two)) as client:
        assert (await client.post()).text == b"hello"


@each_loop
async def test_where_all_addresses_lead_nowhere_the_reason_is_told(unused_tcp_port: int) -> None:
    async def two(host: str, port: int) -> Sequence[Address]:
        return [(socket.AF_INET, ("127.0.0.1", unused_tcp_port))] * 2

    with pytest.raises(Unreachable) as error:
        await HttpClient(Resolver(two)).connect(Origin("h", 80, False), 5)
    assert error.value.cause == "Connection refused"


@each_loop
async def test_who_leaves_while_addresses_are_tried_leaves_no_socket_open(
    unused_tcp_port: int,
) -> None:
    async def three(host: str, port: int) -> Sequence[Address]:
        dead = socket.AF_INET, ("127.0.0.1", unused_tcp_port)
        return [dead, *[(socket.AF_INET, ("127.0.0.1", port))] * 2]

    async with serving([HELLO]) as raw, Client(raw, Resolver(three)) as client:
        for ticks in [*range(16)] * 4:
            connecting = asyncio.create_task(client.connection(), name="connect")
            for _ in range(ticks):
                await asyncio.sleep(0)
            connecting.cancel()
            with suppress(asyncio.CancelledError):
                (await connecting).abort()
        (await client.connection()).abort()  # the others may all have left before it came to that
        await until(lambda: raw.connections and not raw.open)


@each_loop
async def test_ipv6_is_spoken() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "::1", 0)
    port = server.sockets[0].getsockname()[1]
    client = HttpClient()
    await client.connect(origin_of(f"http://[::1]:{port}/v1"), 5)
    await client.aclose()
    server.close()


@each_loop
async def test_a_name_is_looked_up_once_for_all_who_ask() -> None:
    asked: list[str] = []

    async def look_up(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        await asyncio.sleep(0)
        if len(asked) == 1:
            raise OSError("not yet")
        return [(socket.AF_INET, ("127.0.0.1", port))]

    resolver = Resolver(look_up)
    found = await asyncio.gather(
        *(resolver.resolve("h", 80) for _ in range(5)), return_exceptions=True
    )
    assert [isinstance(each, OSError) for each in found] == [True] + [False] * 4
    assert asked == ["h", "h"]


@pytest.mark.parametrize(
    ("url", "origin", "first", "host"),
    [
        ("http://h/v1", ("h", 80, False), "/v1/x", "h"),
        ("https://H.com:443/", ("h.com", 443, True), "/x", "h.com"),
        ("https://h:8443", ("h", 8443, True), "/x", "h:8443"),
        ("http://[::1]:81/v1/", ("::1", 81, False), "/v1/x", "[::1]:81"),
        ("http://ü.de/ö b%2Fc", ("xn--tda.de", 80, False), "/%C3%B6%20b%2Fc/x", "xn--tda.de"),
        ("http://h/v1?a=1&b=c d#part", ("h", 80, False), "/v1/x?a=1&b=c%20d", "h"),
    ],
)
def test_a_base_url_keeps_its_path_and_query(
    url: str, origin: tuple[str, int, bool], first: str, host: str
) -> None:
    head = post_head(url, "/x", {"a": "b"})
    assert origin_of(url) == origin
    expected = f"POST {first} HTTP/1.1\r\nHost: {host}\r\na: b\r\nContent-Length: "
    assert head.decode() == expected


def test_headers_stand_over_ours_whatever_their_case() -> None:
    assert post_head("http://h", "/x", {"hOST": "other"}).lower().count(b"host: ") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"a b": "c"},
        {"": "c"},
        {"a": "b\r\nc: d"},
    ],
)
def test_headers_that_make_one_request_look_like_two_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        post_head("http://h", "", headers)


@pytest.mark.parametrize("url", ["", "h", "ftp://h", "http://", "http://h:x"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        origin_of(url)
