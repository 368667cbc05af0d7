"""What the values of a configuration file are made of."""

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticKnownError


class Frozen(BaseModel):
    """Values that never change, and no key that is not a field."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):  # to Python `true` is the number 1; to the operator it is a slip
        raise PydanticKnownError("float_type")
    return value


Number: TypeAlias = Annotated[float, BeforeValidator(_no_bool)]
Whole: TypeAlias = Annotated[int, BeforeValidator(_no_bool)]
