"""Whether an answer has the format that its caller asked for."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from trunkline_shared.events import Failed, Finished, RefusalDelta, RunEvent, TextDelta
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Format
from trunkline_worker.backends.base import RunContext

_REFERENCES: Final = 10_000  # followed in one check; a short schema can ask for billions
_SHOWN: Final = 300  # characters of what is wrong


class FormatCheck:
    """Of `json_object` and `json_schema`. Raises ValueError for a schema that is none."""

    def __init__(self, wanted: Format) -> None:
        schema = wanted.get("schema") if wanted["type"] == "json_schema" else None
        self._schema = schema
        self._validator = None if schema is None else _validator(schema)

    def problem(self, text: str) -> str | None:
        """What is wrong with an answer; None: nothing. Raises ValueError for a schema that cannot
        be followed.
        """
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return f"it is not JSON: {error}"
        if self._validator is None:
            return None if isinstance(value, dict) else "it is JSON, but not an object"
        return _first_error(self._validator, value)


async def checked(
    request: RunRequest,
    context: RunContext,
    run: Callable[[RunContext], Awaitable[Sequence[RunEvent]]],
) -> Sequence[RunEvent]:
    """What `run` returns, but a failure in place of an end that the whole text does not deserve."""
    if request.format is None or request.format["type"] == "text":
        return await run(context)
    try:
        check = FormatCheck(request.format)
        said: list[RunEvent] = []

        def emit(events: Sequence[RunEvent]) -> None:
            said.extend(events)
            context.emit(events)

        events = await run(replace(context, emit=emit))
        said += events
        text = "".join(event.text for event in said if isinstance(event, TextDelta))
        *before, end = events
        refused = any(isinstance(event, RefusalDelta) for event in said)
        if refused or not isinstance(end, Finished) or end.reason != "stop":
            return events
        if (problem := check.problem(text)) is not None:
            return [*before, replace(misfit(problem), usage=end.usage)]
        return events
    except ValueError as error:
        return [unusable(error)]


def misfit(problem: str) -> Failed:
    message = f"The model's answer does not fit the response_format: {problem}."
    return Failed("invalid_output", message)


def unusable(error: ValueError) -> Failed:
    message = f"The schema of response_format cannot be used: {error}"
    return Failed("invalid_request", message, param="response_format")


def _validator(schema: dict[str, Any]) -> Any:
    # For the few runs that ask for it; it takes a tenth of a second to import.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import extend, validator_for
    from referencing import Registry

    base = validator_for(schema, default=Draft202012Validator)
    try:
        base.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{error.json_path}: {_cut(error.message)}") from None
    left = _REFERENCES

    def counted(follow: Any) -> Any:
        def reference(*arguments: Any) -> Iterator[Any]:
            nonlocal left
            left -= 1
            if left < 0:
                raise ValueError("it refers to itself too often")
            yield from follow(*arguments)

        return reference

    keywords = {
        name: counted(base.VALIDATORS[name])
        for name in ("$ref", "$dynamicRef", "$recursiveRef")
        if name in base.VALIDATORS
    }
    # Python's expressions can take for ever, and nothing stops them: the model keeps to a pattern
    # or does not. Nothing is fetched either: the registry is empty.
    for name in ("pattern", "patternProperties", "unevaluatedProperties"):
        keywords[name] = _unchecked
    keywords["additionalProperties"] = _without_patterns(base.VALIDATORS["additionalProperties"])
    return extend(base, keywords)(schema, registry=Registry())


def _unchecked(*_: Any) -> Iterator[Any]:
    return iter(())


def _without_patterns(check: Any) -> Any:
    def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if "patternProperties" not in schema:
            yield from check(validator, value, instance, schema) or ()

    return keyword


def _first_error(validator: Any, value: Any) -> str | None:
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as unknown:
        raise ValueError(f"it refers to {unknown.ref}, which is not in it") from None
    except RecursionError:
        raise ValueError("it refers to itself without an end") from None
    return None if error is None else f"{error.json_path}: {_cut(error.message)}"


def _cut(message: str) -> str:
    return message if len(message) <= _SHOWN else f"{message[:_SHOWN]}…"
