"""The private Docker engine of `deploy/lab`, and docker-compose.yml running in it."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "deploy" / "lab"
DOOR = Path(__file__).with_name("door.py")

_NEEDED = {
    **{"dockerd": "docker.io", "docker": "docker.io", "iptables": "iptables"},
    **{"busybox": "busybox-static", "redis-server": "redis-server", "haproxy": "haproxy"},
    **{"nsenter": "util-linux", "unshare": "util-linux"},
}
# Where Debian keeps daemons, which is not on everyone's PATH.
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


class Lab:
    """One engine with the images built. `close` leaves nothing behind."""

    def __init__(self) -> None:
        self._path = f"{os.environ['PATH']}:{_SYSTEM_PATH}"
        self._check_machine()
        self._directory = Path(tempfile.mkdtemp(prefix="trunkline-lab-"))
        self._environ = {
            "PATH": self._path,
            "HOME": os.environ["HOME"],
            "DOCKER_HOST": f"unix://{self._directory}/docker.sock",
            "DOCKER_CONFIG": f"{self._directory}/config",
            "DOCKER_BUILDKIT": "0",  # the other builder needs a plugin
            "TRUNKLINE_CONFIG": "./tests/compose/agents.yml",
        }
        self._door: subprocess.Popen[bytes] | None = None
        self.url = ""

    def open(self) -> None:
        """Engine, base images, our images, and the door to the published port."""
        self._script("engine.sh", str(self._directory), "up")
        self._script("images.sh", f"{self._directory}/img")
        for tier in ("api", "worker"):  # one after the other: they share their build stage
            self.compose("build", "-q", tier)
        self._open_door()

    def close(self) -> None:
        if self._door is not None:
            self._door.kill()
            self._door.wait()
        if (self._directory / "pid").exists():
            self.compose("--profile", "*", "down", "-v", "-t", "2")
            self._script("engine.sh", str(self._directory), "down")
        shutil.rmtree(self._directory)

    def up(self, *options: str, settings: Mapping[str, str] | None = None, **scale: int) -> None:
        """Scale to this and wait until all of it is well."""
        scales = [f"--scale={name.replace('_', '-')}={count}" for name, count in scale.items()]
        wait = ("up", "-d", "--wait", "--wait-timeout", "120", "--no-build", *scales)
        self.compose(*options, *wait, settings=settings)

    def compose(self, *words: str, settings: Mapping[str, str] | None = None) -> str:
        return self._run("docker", "compose", *words, environ={**self._environ, **(settings or {})})

    def docker(self, *words: str) -> str:
        return self._run("docker", *words, environ=self._environ)

    def containers(self, service: str) -> list[str]:
        return self.compose("--profile", "*", "ps", "-q", service).split()

    def pid(self, container: str) -> int:
        """The first process of a container, as this machine numbers it."""
        return int(self.docker("inspect", "--format", "{{.State.Pid}}", container))

    def _open_door(self) -> None:
        """A published port is one of the engine's network namespace: carry connections into it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            inside = ["bash", str(SCRIPTS / "engine.sh"), str(self._directory), "in"]
            self._door = subprocess.Popen(
                [*inside, sys.executable, str(DOOR), str(listener.fileno()), "8000"],
                pass_fds=[listener.fileno()],
                env=self._environ,
            )

    def _script(self, name: str, *words: str) -> None:
        self._run("bash", str(SCRIPTS / name), *words, environ=self._environ | _of_registries())

    def _run(self, *command: str, environ: Mapping[str, str]) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            said = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
        return done.stdout

    def _check_machine(self) -> None:
        """Raises AssertionError: a lab that is missing must not look like one that is well."""
        assert os.geteuid() == 0, "the compose tests start an engine of their own: run them as root"
        missing = {p for name, p in _NEEDED.items() if not shutil.which(name, path=self._path)}
        assert not missing, f"the compose tests need: apt-get install {' '.join(sorted(missing))}"


def _of_registries() -> dict[str, str]:
    """How this machine reaches its package registries, for what the scripts install."""
    return {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))}
