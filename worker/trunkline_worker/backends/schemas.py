"""JSON Schemas of others, followed without harm: nothing is fetched, no check takes for ever.

Both a schema and what it is to fit may be made to be slow. Call what is here in a thread.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

_STEPS: Final = 400_000  # of one check, some seconds' worth; a short schema can ask for billions
_WEIGHT: Final = 8  # members of a list or object that weigh as much as one keyword
_QUOTED: Final = 64  # characters of a message that do: it quotes what is wrong
_ERRORS: Final = 100  # of which the best is told
_LARGEST: Final = 100_000  # bytes of JSON of a schema
_SHOWN: Final = 300  # characters of what is wrong

_UNCHECKED: Final = ("pattern", "patternProperties", "unevaluatedProperties", "unevaluatedItems")
"""Python's expressions can take for ever, and nothing stops them; the last two look at what others
found once more. Who answers keeps to them or does not."""


class SchemaCheck:
    """Importing what it needs takes a tenth of a second, the first time. Serves many threads.

    Raises ValueError for a schema that is none.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.validators import validator_for
        from referencing import Registry

        if not isinstance(schema.get("$schema", ""), str):
            raise ValueError("$.$schema: it is not a text")
        if len(orjson.dumps(schema)) > _LARGEST:
            raise ValueError(f"it takes more than {_LARGEST} bytes")
        base = validator_for(schema, default=Draft202012Validator)
        self._left = _STEPS
        self._one_at_a_time = threading.Lock()
        make = _bounded(base, self._spend)
        # Its formats are not looked at: a pattern need not be one of Python's.
        if (problem := self._first(make(base.META_SCHEMA), schema)) is not None:
            raise ValueError(problem)
        _check_references(schema, base.META_SCHEMA)
        self._validator = make(schema, registry=Registry())

    def problem(self, value: Any) -> str | None:
        """What does not fit; None: it does. Raises ValueError for a schema that cannot be
        followed.
        """
        with self._one_at_a_time:
            self._left = _STEPS
            return self._first(self._validator, value)

    def _first(self, validator: Any, value: Any) -> str | None:
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            error = best_match(islice(validator.iter_errors(value), _ERRORS))
        except Unresolvable as unknown:
            raise ValueError(f"it refers to {unknown.ref}, which is not in it") from None
        except RecursionError:
            raise ValueError(
                "it refers to itself without an end, or is nested too deeply"
            ) from None
        except (AttributeError, IndexError, KeyError, TypeError):  # some keyword's other value
            raise ValueError("it refers to what is no schema") from None
        return None if error is None else f"{error.json_path}: {_cut(error.message)}"

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise ValueError("it takes too many steps to check")


def _bounded(base: Any, spend: Callable[[int], None]) -> Any:
    """The validator with keywords that `spend`, and without those that nobody can bound."""
    import attrs
    from jsonschema.validators import extend

    known = dict(base.VALIDATORS)
    known["additionalProperties"] = _without_patterns(known["additionalProperties"])
    known["uniqueItems"] = _unique
    known |= dict.fromkeys(_UNCHECKED, _unchecked)
    bounded = extend(base, {name: _spending(check, spend) for name, check in known.items()})
    # By itself it would go on with its own keywords below a `$schema`.
    bounded.evolve = attrs.evolve
    return bounded


def _spending(check: Any, spend: Callable[[int], None]) -> Any:
    def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        spend(1 + (_size(value) + _size(instance)) // _WEIGHT)
        for error in check(validator, value, instance, schema) or ():
            spend(len(error.message) // _QUOTED)
            yield error

    return keyword


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


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
        for name in _REFERENCES:
            if isinstance(here, Mapping) and isinstance(reference := here.get(name), str):
                try:
                    resolver.lookup(reference)
                except (Unresolvable, ValueError):
                    raise ValueError(
                        f"it refers to {_cut(reference)}, which is not in it"
                    ) from None
        left += [(sub, resolver.in_subresource(sub)) for sub in resource.subresources()]


def _unchecked(*_: Any) -> Iterator[Any]:
    return iter(())


def _without_patterns(check: Any) -> Any:
    def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if "patternProperties" not in schema:
            yield from check(validator, value, instance, schema) or ()

    return keyword


def _unique(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[Any]:
    """The library's compares each with each."""
    from jsonschema.exceptions import ValidationError

    if wanted and isinstance(instance, list):
        different = {orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in instance}
        if len(different) < len(instance):
            yield ValidationError("its items are not all different")


def _cut(message: str) -> str:
    """Without its middle: what is wrong with a long value stands behind it."""
    half = _SHOWN // 2
    return message if len(message) <= _SHOWN else f"{message[:half]}…{message[-half:]}"
