"""Schemas and answers that are made to do harm."""

import time
from typing import Any

import pytest

from trunkline_worker.backends.schemas import SchemaCheck

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
HOSTILE = "(a+)+$"
LONG = {"a" * 60 + "!": "a" * 60 + "!"}
DISTINCT = [{"a": n} for n in range(20_000)]


@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {HOSTILE: {}}, "additionalProperties": False},
        {"propertyNames": {"pattern": HOSTILE}},
        {"unevaluatedProperties": False, "allOf": [{"patternProperties": {HOSTILE: {}}}]},
        {"additionalProperties": {"pattern": HOSTILE}},
        {"additionalProperties": {"$schema": DIALECT, "pattern": HOSTILE}},
        {"$schema": DIALECT, "allOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"$ref": "#"}}},
    ],
)
def test_no_expression_takes_for_ever(schema: dict[str, Any]) -> None:
    began = time.monotonic()
    try:
        assert SchemaCheck(schema).problem(LONG) is None
    except ValueError as error:
        assert "refers to itself" in str(error)
    assert time.monotonic() - began < 5


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array"}
    for _ in range(depth):
        schema = {"allOf": [schema], "unevaluatedItems": False}
    return schema


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"uniqueItems": True}, DISTINCT),
        (
            {"$schema": "http://json-schema.org/draft-04/schema#", "enum": DISTINCT[:5_000]},
            {"a": 1},
        ),
        (nested(20), [1]),
    ],
)
def test_what_is_compared_each_with_each_elsewhere_is_quick(
    schema: dict[str, Any], value: Any
) -> None:
    began = time.monotonic()
    assert SchemaCheck(schema).problem(value) is None
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"allOf": [{"minimum": 0}] * 5000}}, [1] * 5000),
        ({"items": {"enum": [*range(15_000)]}}, [9] * 5000),
        ({"allOf": [{"type": "string"}] * 5_000}, [1] * 200_000),
    ],
)
def test_a_check_that_would_take_minutes_is_given_up(schema: dict[str, Any], value: Any) -> None:
    check = None
    with pytest.raises(ValueError, match="too many steps"):
        check = SchemaCheck(schema)
        check.problem(value)


def test_after_one_that_was_given_up_others_are_checked() -> None:
    check = SchemaCheck({"items": {"enum": [*range(10_000)]}})
    with pytest.raises(ValueError, match="too many steps"):
        check.problem([9] * 5000)
    assert check.problem([1]) is None


@pytest.mark.parametrize("twice", [[1, 1], [{"a": 1, "b": 2}, {"b": 2, "a": 1}]])
def test_items_that_are_to_be_unique_are(twice: list[Any]) -> None:
    assert SchemaCheck({"uniqueItems": True}).problem(twice) == "$: its items are not all different"
    assert SchemaCheck({"uniqueItems": False}).problem(twice) is None
    assert SchemaCheck({"uniqueItems": True}).problem([1, True, "1", None]) is None


def test_expressions_of_other_languages_are_no_mistake() -> None:
    check = SchemaCheck({"properties": {"a": {"pattern": r"^\\p{L}+$"}}})
    assert check.problem({"a": "x"}) is None


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "objekt"}, "$.type"),
        ({"$schema": 5}, "$schema"),
        ({"$schema": {}}, "$schema"),
        ({"$ref": "#/type/0", "type": ["object"]}, "no schema"),
        ({"$ref": "#/nowhere"}, "not in it"),
        ({"$ref": "#"}, "refers to itself"),
    ],
)
def test_what_is_wrong_with_a_schema_is_said(schema: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError) as error:
        SchemaCheck(schema).problem({})
    assert problem in str(error.value)
