"""The worker container's health check: has this container spoken with Redis in the last seconds?

A worker renews its lease every second for as long as its event loop ticks, so one that hangs falls
silent. Redis tells, in its list of clients. Only the standard library, few imports: this is
started every few seconds.
"""

import os
import socket
import sys
from typing import IO
from urllib.parse import unquote, urlsplit

SILENT_S = 6.0
TIMEOUT_S = 4.0


def connect(host: str, port: int, tls: bool) -> socket.socket:
    plain = socket.create_connection((host, port), timeout=TIMEOUT_S)
    if not tls:
        return plain
    import ssl  # costs more than all the rest

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def ask(stream: IO[bytes], *words: str) -> str:
    parts = [word.encode() for word in words]
    command = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    stream.write(b"*%d\r\n%b" % (len(parts), command))
    stream.flush()
    answer = stream.readline().decode().rstrip()
    if answer.startswith("-") or not answer:
        raise OSError(f"Redis says {answer!r}")
    if answer.startswith("$"):
        return stream.read(int(answer[1:]) + 2).decode()
    return answer[1:]


def host_of(client: dict[str, str]) -> str:
    return client["addr"].rpartition(":")[0]


def main() -> None:
    url = urlsplit(os.environ["TRUNKLINE_REDIS_URL"])
    with connect(url.hostname or "127.0.0.1", url.port or 6379, url.scheme == "rediss") as sock:
        stream = sock.makefile("rwb")
        if url.password:
            ask(stream, "AUTH", unquote(url.username or "default"), unquote(url.password))
        own_id = ask(stream, "CLIENT", "ID")
        lines = ask(stream, "CLIENT", "LIST").splitlines()
    clients = [dict(pair.partition("=")[::2] for pair in line.split()) for line in lines if line]
    here = next(host_of(client) for client in clients if client["id"] == own_id)
    neighbours = [c for c in clients if host_of(c) == here and c["id"] != own_id]
    if not any(float(client["idle"]) < SILENT_S for client in neighbours):
        sys.exit(f"this worker has not spoken with Redis for {SILENT_S:.0f} s")


if __name__ == "__main__":
    main()
