"""The operator's Python functions as tools."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.backends.driving import request
from tests.worker.toolsets import operators_tools
from tests.worker.toolsets.mcp_bed import invocation
from trunkline_shared.config.toolsets import Import
from trunkline_worker.sandbox.workspace import Workspace
from trunkline_worker.toolsets.base import ToolError, ToolSpec
from trunkline_worker.toolsets.imported import ImportedFunction

HERE = "tests.worker.toolsets.operators_tools"


async def tool(attribute: str, **fields: Any) -> tuple[ImportedFunction, ToolSpec]:
    toolset = ImportedFunction(Import(import_path=f"{HERE}:{attribute}", **fields))
    await toolset.open()
    (spec,) = await toolset.tools()
    return toolset, spec


async def called(attribute: str, /, **arguments: Any) -> str:
    toolset, spec = await tool(attribute)
    return await toolset.call(spec.name, arguments, invocation())


async def test_a_function_is_described_by_its_signature_and_docstring() -> None:
    toolset, spec = await tool("price")
    assert toolset.name == HERE
    assert spec.name == "price"
    assert spec.description.startswith("What an order costs.")
    assert "order: What is bought." in spec.description
    assert spec.parameters["required"] == ["order"]
    assert spec.parameters["properties"]["currency"]["enum"] == ["EUR", "USD"]
    assert spec.effect == "at_most_once"
    _, spec = await tool("greet")
    assert spec.parameters["properties"]["name"]["description"] == "Whom to greet"


async def test_the_operator_may_name_and_describe_it_otherwise() -> None:
    _, spec = await tool("price", name="quote it", description="Asks.", effect="pure")
    assert (spec.name, spec.description, spec.effect) == ("quote_it", "Asks.", "pure")


async def test_plain_and_async_functions_methods_and_objects_are_called() -> None:
    order = {"item": "nail", "count": "2"}
    answer = {"total": 6, "currency": "EUR", "item": "nail"}
    assert json.loads(await called("price", order=order)) == answer
    assert await called("greet", name="Ada") == "Hello Ada"
    assert await called("counter", to=3) == "3"
    assert await called("counter.up", by=2) == "5"


async def test_a_function_may_ask_whom_it_is_called_for() -> None:
    toolset, spec = await tool("whose")
    assert list(spec.parameters["properties"]) == ["loud"]
    call = invocation(
        request=request(conversation="c1", principal="secret-key"),
        workspace=Workspace(Path("/srv/place")),
    )
    assert await toolset.call("whose", {"loud": True}, call) == "test c1 /srv/place True"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "order: Missing required argument"),
        ({"order": {"item": "x", "count": "many"}}, r"order\.count: Input should be a valid int"),
        ({"order": {"item": "x"}, "colour": 1}, "colour: Unexpected keyword argument"),
    ],
)
async def test_wrong_arguments_are_told_the_model(
    arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ToolError, match=complaint):
        await called("price", **arguments)


async def test_what_a_function_raises_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ToolError) as told:
        await called("broken")
    assert str(told.value) == "The tool failed."
    assert "the internal table" in vars(caplog.records[-1])["fields"]["cause"]
    with pytest.raises(ToolError, match="There is no such customer"):
        await called("refuses")
    with pytest.raises(ToolError, match="The tool failed"):
        await called("slips")


async def test_a_function_that_takes_too_long_is_ended() -> None:
    operators_tools.ended.clear()
    toolset, _ = await tool("endless", timeout_s=0.05)
    with pytest.raises(ToolError, match=r"No answer in 0\.05 s"):
        await toolset.call("endless", {}, invocation())
    assert operators_tools.ended == ["endless"]


async def test_cancelling_ends_an_async_function() -> None:
    operators_tools.ended.clear()
    operators_tools.begun.clear()
    toolset, _ = await tool("endless")
    call = asyncio.create_task(toolset.call("endless", {}, invocation()), name="call")
    await asyncio.to_thread(operators_tools.begun.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert operators_tools.ended == ["endless"]


async def test_functions_that_never_end_take_no_thread_from_others() -> None:
    toolset, _ = await tool("stuck", timeout_s=0.05)
    calls = [toolset.call("stuck", {}, invocation()) for _ in range(40)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(end) for end in ends} == {"No answer in 0.05 s."}
    assert json.loads(await called("price", order={"item": "nail"}))["total"] == 3
    operators_tools.release.set()


@pytest.mark.parametrize("name", ["ends_the_process", "leaves", "stops"])
async def test_nothing_that_a_function_raises_ends_more_than_the_call(name: str) -> None:
    with pytest.raises(ToolError, match="The tool failed"):
        await called(name)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("no.such.module:f", "no.such.module cannot be imported: ModuleNotFoundError: No module"),
        (f"{HERE}:nothing", f"there is no nothing in {HERE}"),
        (f"{HERE}:not_a_function", "is not a function"),
        (f"{HERE}:positional", "cannot be a tool: its parameters must have names"),
        (f"{HERE}:unresolved", "cannot be a tool: name 'Nowhere' is not defined"),
    ],
)
async def test_what_cannot_be_imported_is_found_before_the_first_run(
    path: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        await ImportedFunction(Import(import_path=path)).open()


async def test_a_module_that_fails_is_found_where_the_worker_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_file.py").write_text("def hello(): return 'hi'\nraise OSError('no')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("/nowhere")  # so that what is added is taken away again
    with pytest.raises(ValueError, match="beside_the_file cannot be imported: OSError: no"):
        await ImportedFunction(Import(import_path="beside_the_file:hello")).open()
