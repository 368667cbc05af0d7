"""The list of tasks that an agent keeps for itself."""

from pathlib import Path

from tests.worker.toolsets.bench import bench
from trunkline_shared.run import RunRequest, new_run_id
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.toolsets.tasks import Tasks

LIST = [{"title": "read", "status": "done"}, {"title": "write", "status": "in_progress"}]


async def test_a_list_is_kept_and_shown() -> None:
    async with bench(Tasks()) as tasks:
        assert await tasks.call("read_tasks") == "The list is empty."
        assert await tasks.call("write_tasks", tasks=LIST) == "[x] read\n[~] write"
        assert await tasks.call("read_tasks") == "[x] read\n[~] write"
        await tasks.call("write_tasks", tasks=[])
        assert await tasks.call("read_tasks") == "The list is empty."


async def test_a_conversation_finds_its_list_again(tmp_path: Path) -> None:
    workspaces, toolset = Workspaces(tmp_path), Tasks()
    for turn in range(2):
        async with bench(toolset) as tasks:
            request = RunRequest(new_run_id(), "agent", conversation="c1")
            async with workspaces.open(request) as tasks.workspace:
                if turn == 0:
                    await tasks.call("write_tasks", tasks=LIST)
                assert await tasks.call("read_tasks") == "[x] read\n[~] write"


async def test_what_is_no_list_of_tasks_is_told_to_the_model() -> None:
    async with bench(Tasks()) as tasks:
        for wrong in (None, "x", [1], [{"title": "a"}], [{"title": 1, "status": "done"}]):
            assert await tasks.refused("write_tasks", tasks=wrong)
        too_many = [{"title": "a", "status": "done"}] * 101
        assert "100" in await tasks.refused("write_tasks", tasks=too_many)
        assert await tasks.call("read_tasks") == "The list is empty."
