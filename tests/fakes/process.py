"""A process of the system under test: a group of its own, its words in a file, ended by its id."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_S = 30.0


class LoggedProcess:
    """Starts at construction. Standard output and errors go to `log`, unless `piped`: then only
    the errors do, and `first_line` reads what the process says when it is up."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environ: Mapping[str, str],
        *,
        pass_fds: Sequence[int] = (),
        piped: bool = False,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else output,
                stderr=output,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """A paused process is alive, one that has ended and was not collected yet is not."""
        return self.code is None

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def first_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode()

    def signal(self, number: signal.Signals) -> None:
        """To the process alone, as an operator's `kill` is; nothing if it has ended."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """The exit code, negative for a signal."""
        return self._process.wait(timeout_s)

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def tail(self, characters: int = 4000) -> str:
        return f"--- {self.log.name} (pid {self.pid}) ---\n{self.logged()[-characters:]}"

    def collect(self, timeout_s: float = STOP_S) -> str | None:
        """Wait for its end, then kill what there is left of its group; what was amiss, if aught."""
        complaint = None
        try:
            self._process.wait(timeout_s)
            if self._signal_group(0):
                complaint = f"{self.log.name}: left processes of its group behind"
        except subprocess.TimeoutExpired:
            complaint = f"{self.log.name}: had to be killed"
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return complaint

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True
