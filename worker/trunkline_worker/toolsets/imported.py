"""A Python function of the operator's, as a tool."""

import asyncio
import hashlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs, to_json

from trunkline_shared.config.toolsets import Import, tool_name
from trunkline_shared.logs import log_event
from trunkline_worker.imports import load_object
from trunkline_worker.toolsets.base import Invocation, ToolError, ToolSpec

logger = logging.getLogger("trunkline.tools")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Who a call is made for. A function whose first parameter is annotated with it is given it.

    `principal` is a hash that stands for whoever called the agent. `workspace` is the directory
    that the run's other tools see. `conversation` is empty where there is none.
    """

    run_id: str
    agent: str
    conversation: str
    principal: str
    workspace: Path


class ImportedFunction:
    """One function. What it raises is logged and kept from the model, unless it is a ToolError.

    Cancelling ends an `async def`; a plain function has a thread and runs on to its end.
    """

    def __init__(self, config: Import) -> None:
        self._config = config
        self._function: Callable[..., Any] = _nothing
        self._wants_info = False
        self._arguments: TypeAdapter[Any] = TypeAdapter(Any)
        self._spec: ToolSpec | None = None

    @property
    def name(self) -> str:
        return self._config.import_path.partition(":")[0]

    async def open(self) -> None:
        path = self._config.import_path
        function = await asyncio.to_thread(load_object, path)
        if not callable(function):
            raise ValueError(f"{path} is not a function")
        try:
            self._wants_info, self._arguments = _parameters(function)
            schema = self._arguments.json_schema()
        # NameError: an annotation that does not resolve
        except (PydanticUserError, NameError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} cannot be a tool: {reason}") from error
        if schema.get("type") != "object":
            raise ValueError(f"{path} cannot be a tool: its parameters must have names")
        self._function = function
        self._spec = ToolSpec(
            tool_name(self._config.name or path.rpartition(":")[2]),
            self._config.description or inspect.getdoc(function) or "",
            schema,
            self._config.effect,
        )

    async def tools(self) -> Sequence[ToolSpec]:
        return [] if self._spec is None else [self._spec]

    async def call(self, name: str, arguments: Mapping[str, Any], call: Invocation) -> str:
        try:
            args, kwargs = self._arguments.validate_python(ArgsKwargs((), dict(arguments)))
        except ValidationError as error:
            raise ToolError(_complaint(error)) from error
        if self._wants_info:
            args = (_info(call), *args)
        try:
            async with asyncio.timeout(self._config.timeout_s) as clock:
                result = await self._result(args, kwargs)
        except ToolError:
            raise
        # Whatever the operator's code raises; left alone, SystemExit would end the worker.
        except (Exception, SystemExit) as error:
            if clock.expired():
                raise ToolError(f"No answer in {self._config.timeout_s:g} s.") from error
            log_event(
                logger,
                "tool failed",
                level=logging.WARNING,
                run_id=call.request.run_id,
                tool=self._config.import_path,
                cause=f"{type(error).__name__}: {error}"[:500],
            )
            raise ToolError("The tool failed.") from error
        return result if isinstance(result, str) else to_json(result, fallback=str).decode()

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _result(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(*args, **kwargs)
        result = await _in_thread(lambda: self._function(*args, **kwargs))
        return await result if isinstance(result, Awaitable) else result


async def _in_thread(function: Callable[[], Any]) -> Any:
    """In one of its own, which nobody waits for: one that never ends takes no thread from others,
    and does not keep the worker from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def work() -> None:
        try:
            settle: Callable[[], None] = partial(done.set_result, context.run(function))
        except BaseException as error:  # noqa: BLE001  # whatever the operator's code raises
            # A future takes no StopIteration, and what would end the process ends the call.
            fit = isinstance(error, Exception) and not isinstance(error, StopIteration)
            settle = partial(done.set_exception, error if fit else RuntimeError(repr(error)))
        with suppress(RuntimeError):  # the loop was closed, and nobody waits
            loop.call_soon_threadsafe(lambda: None if done.done() else settle())

    context = copy_context()
    Thread(target=work, name="trunkline-tool", daemon=True).start()
    return await done


def _parameters(function: Callable[..., Any]) -> tuple[bool, TypeAdapter[Any]]:
    """Whether it wants a RunInfo first, and what makes its other arguments of a model's."""
    signature = inspect.signature(function)
    target = function if inspect.isroutine(function) else type(function).__call__
    hints = get_type_hints(target, include_extras=True)
    parameters = list(signature.parameters.values())
    wants_info = bool(parameters) and hints.get(parameters[0].name) is RunInfo

    def gathered(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return args, kwargs

    # pydantic looks at these, and so gives the arguments without the call.
    asked = parameters[wants_info:]
    gathered.__signature__ = signature.replace(parameters=asked)  # type: ignore[attr-defined]  # of any function
    gathered.__annotations__ = {each.name: hints.get(each.name, Any) for each in asked}
    adapter: TypeAdapter[Any] = TypeAdapter(gathered)  # type: ignore[arg-type]  # pydantic takes it
    return wants_info, adapter


def _info(call: Invocation) -> RunInfo:
    request = call.request
    principal = hashlib.sha256(request.principal.encode()).hexdigest()[:16]
    return RunInfo(
        request.run_id, request.agent, request.conversation, principal, call.workspace.path
    )


def _complaint(error: ValidationError) -> str:
    """What is wrong with the arguments, for the model."""
    wrong = (
        f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    )
    return "; ".join(wrong)


def _nothing() -> None:
    raise ToolError("The tool is not open.")
