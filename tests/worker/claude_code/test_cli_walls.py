"""What the command line and its tools cannot do, behind each kind of walls."""

import os
from pathlib import Path

import pytest

from tests.fakes.anthropic import FakeAnthropic
from tests.worker.claude_code.bed import KEY, bash, calls, living, tell, worker
from trunkline_shared.events import ActivityEnd

pytestmark = [
    pytest.mark.claude,
    pytest.mark.parametrize("sandbox", ["bwrap", "landlock"]),
]
pytest.importorskip("claude_agent_sdk")


async def output_of(upstream: FakeAnthropic, root: Path, sandbox: str, command: str) -> str:
    async with worker(upstream, "scripted", root, sandbox=sandbox) as backend:
        told = await tell(backend, calls(bash(f"{command} 2>&1; true")))
    return "\n".join(told.outputs)


async def test_no_key_and_nothing_of_the_workers_environment_is_to_be_found(
    upstream: FakeAnthropic, root: Path, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-in-the-worker")
    everything = "env; cat /proc/*/environ /proc/*/cmdline; grep -rah 'sk-[ap]' . /tmp"
    wanted = "grep -a -e '^ANTHROPIC_API_KEY=' -e 'sk-[ap]' | cut -c1-80 | sort -u"
    command = f"({everything}) 2>/dev/null | tr '\\0' '\\n' | {wanted}"
    found = await output_of(upstream, root, sandbox, command)
    assert "ANTHROPIC_API_KEY=" in found
    assert KEY not in found and "sk-planted" not in found


async def test_no_file_but_those_of_the_workspace_is_read_or_written(
    upstream: FakeAnthropic, root: Path, sandbox: str
) -> None:
    secret = root / "secret"
    secret.write_text("planted")
    script = (
        bash(f"cat {secret}; ln -s {secret} link; cat link; echo x > {root}/evil; true"),
        ("Read", {"file_path": str(secret)}),
        ("Read", {"file_path": "link"}),
        ("Write", {"file_path": f"{root}/evil", "content": "x"}),
        ("Write", {"file_path": "/usr/evil", "content": "x"}),
        ("Read", {"file_path": "/etc/shadow"}),
    )
    async with worker(upstream, "scripted", root, sandbox=sandbox) as backend:
        told = await tell(backend, calls(*script))
    assert "planted" not in "".join(told.outputs)
    assert all(end.error for end in told.of(ActivityEnd)[1:])
    assert "evil" not in {*os.listdir(root), *os.listdir("/usr")}


async def test_no_network_is_reached_but_the_model(
    upstream: FakeAnthropic, root: Path, sandbox: str
) -> None:
    knock = f"exec 3<>/dev/tcp/127.0.0.1/{upstream.port} && echo REACHED"
    assert "REACHED" not in await output_of(upstream, root, sandbox, f"({knock})")
    toolsets = ({"type": "execution", "network": True},)
    async with worker(upstream, "scripted", root, sandbox=sandbox, toolsets=toolsets) as backend:
        told = await tell(backend, calls(bash(knock)))
    assert told.outputs == ["REACHED"]


async def test_what_goes_on_in_the_background_ends_with_the_run(
    upstream: FakeAnthropic, root: Path, sandbox: str
) -> None:
    background = "(setsid sh -c 'while :; do sleep 0.1; done' >/dev/null 2>&1 &) ; echo begun"
    assert await output_of(upstream, root, sandbox, background) == "begun"
    assert not living(root)
