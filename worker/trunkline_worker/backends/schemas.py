"""JSON Schemas of others, followed without harm: nothing is fetched, no check takes for ever."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import orjson

_REFERENCES: Final = 10_000  # followed in all; a short schema can ask for billions
_SHOWN: Final = 300  # characters of what is wrong
_LARGEST: Final = 100_000  # bytes of JSON; looking at so many takes seconds


async def ready_to_check() -> None:
    """Imports beside the loop what is only for the few runs that need it: a tenth of a second."""
    if "jsonschema" not in sys.modules:
        await asyncio.to_thread(import_module, "jsonschema")


class SchemaCheck:
    """To be made after `ready_to_check`, and beside the loop where the schema is a caller's: it
    takes a millisecond for each property. Raises ValueError for a schema that is none.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import extend, validator_for
        from referencing import Registry

        if len(orjson.dumps(schema)) > _LARGEST:
            raise ValueError(f"it takes more than {_LARGEST} bytes")
        base = validator_for(schema, default=Draft202012Validator)
        try:
            base.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"{error.json_path}: {_cut(error.message)}") from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        _check_references(schema, base.META_SCHEMA)
        self._left = _REFERENCES
        known = base.VALIDATORS
        keywords = {name: self._counted(known[name]) for name in _FOLLOWING if name in known}
        # Python's expressions can take for ever, and nothing stops them: who answers keeps to a
        # pattern or does not.
        for name in ("pattern", "patternProperties", "unevaluatedProperties"):
            keywords[name] = _unchecked
        keywords["additionalProperties"] = _without_patterns(known["additionalProperties"])
        self._validator = extend(base, keywords)(schema, registry=Registry())

    def problem(self, value: Any) -> str | None:
        """What does not fit; None: it does. Raises ValueError for a schema that cannot be
        followed.
        """
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        self._left = _REFERENCES
        try:
            error = best_match(self._validator.iter_errors(value))
        except Unresolvable as unknown:
            raise ValueError(f"it refers to {unknown.ref}, which is not in it") from None
        except RecursionError:
            raise ValueError("it refers to itself without an end") from None
        return None if error is None else f"{error.json_path}: {_cut(error.message)}"

    def _counted(self, follow: Any) -> Any:
        def reference(*arguments: Any) -> Iterator[Any]:
            self._left -= 1
            if self._left < 0:
                raise ValueError("it refers to itself too often")
            yield from follow(*arguments)

        return reference


def _check_references(schema: Mapping[str, Any], dialect: Mapping[str, Any]) -> None:
    """Raises ValueError for one that leads out of the schema, or nowhere."""
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import specification_with

    specification = specification_with(dialect.get("$id") or dialect["id"])
    root: Resource[Any] = specification.create_resource(schema)
    registry: Registry[Any] = Registry()
    left = [(root, registry.resolver_with_root(root))]
    while left:
        resource, resolver = left.pop()
        here = resource.contents
        for name in _FOLLOWING:
            if isinstance(here, Mapping) and isinstance(reference := here.get(name), str):
                try:
                    resolver.lookup(reference)
                except (Unresolvable, ValueError):
                    raise ValueError(
                        f"it refers to {_cut(reference)}, which is not in it"
                    ) from None
        left += [(sub, resolver.in_subresource(sub)) for sub in resource.subresources()]


_FOLLOWING: Final = ("$ref", "$dynamicRef", "$recursiveRef")


def _unchecked(*_: Any) -> Iterator[Any]:
    return iter(())


def _without_patterns(check: Any) -> Any:
    def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if "patternProperties" not in schema:
            yield from check(validator, value, instance, schema) or ()

    return keyword


def _cut(message: str) -> str:
    """Without its middle: what is wrong with a long value stands behind it."""
    half = _SHOWN // 2
    return message if len(message) <= _SHOWN else f"{message[:half]}…{message[-half:]}"
