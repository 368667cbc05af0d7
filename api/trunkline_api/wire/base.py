"""What all wire models share."""

from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


class Wire(BaseModel):
    """A JSON object from a client: types are exact, unknown members are tolerated."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


def storable(value: dict[str, Any]) -> dict[str, Any]:
    """The value, if it can be passed on. Raises ValueError."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError("JSON with integers of at most 64 bits") from error
    return value


FreeObject = Annotated[dict[str, Any], AfterValidator(storable)]
"""An object whose members are not ours to judge, as long as it can be passed on."""


def _metadata(values: dict[str, Any]) -> dict[str, str]:
    pairs = values.items()
    if len(values) > 16 or not all(
        len(key) <= 64 and isinstance(value, str) and len(value) <= 512 for key, value in pairs
    ):
        raise ValueError("up to 16 pairs of strings, keys up to 64 and values up to 512 characters")
    return values


# Checked by hand, because pydantic would list each mistake of a map with millions.
Metadata = Annotated[dict[str, Any], AfterValidator(_metadata)]

Refused = Annotated[Any, Field(description="Refused with 400: this server has no such thing.")]

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Penalty = Annotated[float, Field(ge=-2, le=2)]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
Verbosity = Literal["low", "medium", "high"]

_T = TypeVar("_T")
Many = Annotated[list[_T], Field(fail_fast=True)]
"""An array of which only the first mistake is told: a large body can hold millions."""

NonEmpty = Annotated[str, StringConstraints(min_length=1)]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
"""Some providers allow only 64 characters and no dots; theirs is the answer then."""
