"""Settings of a deployment: `TRUNKLINE_*` variables with the names of the command-line options.

Each tier extends `CommonSettings`; the environment is read only in `from_environ`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from trunkline_shared.errors import ConfigError
from trunkline_shared.openhands_settings import from_openhands, listed

VARIABLE_PREFIX = "TRUNKLINE_"
StoredKind: TypeAlias = Literal["responses", "completions", "conversations"]
STORED: Final[tuple[StoredKind, ...]] = get_args(StoredKind)

Seconds = Annotated[float, Field(gt=0, le=86_400 * 365, allow_inf_nan=False)]
MaybeSeconds = Annotated[float, Field(ge=0, le=86_400 * 365, allow_inf_nan=False)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Names = tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSettings:
    """What both tiers read. Names end in their unit."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = "trunkline"
    """Of every key and channel but arq's job keys."""
    redis_timeout_s: Seconds = (
        5.0  # an answer of Redis that takes longer counts as a lost connection
    )
    lease_ttl_ms: Annotated[int, Field(ge=300)] = (
        3000  # a worker is dead when it has not renewed for so long
    )
    max_attempts: Positive = 3  # a run whose worker crashed so often fails
    log_kept_s: Seconds = 120.0  # a plain run's log is kept so long after its end
    retention_s: Seconds = 30 * 86_400.0  # what is stored is kept so long
    responses_retention_s: Seconds | None = None  # None: `retention_s`; so the next two
    completions_retention_s: Seconds | None = None
    conversations_retention_s: Seconds | None = None
    secret_key: str | None = field(default=None, repr=False)  # seals what is stored; any text
    previous_secret_keys: tuple[str, ...] = field(default=(), repr=False)  # still open what is old
    allow_link_local: bool = False  # profiles may name link-local and metadata addresses
    log_format: Literal["json", "text"] = "text"
    log_level: str = "info"

    def retention_of(self, kind: StoredKind) -> float:
        """How long what is stored of a kind is kept, in seconds."""
        own: float | None = getattr(self, f"{kind}_retention_s")
        return self.retention_s if own is None else own

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **options: Any) -> Self:
        """Values from `options` that are not None, else from the environment, where OpenHands'
        variables count after ours, else the default.

        Raises ConfigError that names what was given, the variable or the option, and what it
        takes. Fields that are tuples take comma lists, or JSON lists, which must hold something
        unless the field's metadata says that it may be empty; an empty variable counts as unset.
        """
        hints = get_type_hints(cls, include_extras=True)
        openhands = from_openhands(environ)
        values: dict[str, Any] = {}
        for each in fields(cls):
            variable = VARIABLE_PREFIX + each.name.upper()
            value, given = options.get(each.name), _option(each.name, variable)
            if value is None:
                given = variable
                value = environ.get(variable) or None
            if value is None:
                value = openhands.get(variable)
            elif ... in get_args(hints[each.name]):
                value = _parts(value)
            if value is None:
                continue
            if value == [] and not each.metadata.get("may_be_empty"):
                # No keys would be an open door, which nobody means who names some.
                raise ConfigError(f"{given}: expected at least one, got none")
            try:
                values[each.name] = TypeAdapter(hints[each.name]).validate_python(value)
            except ValidationError as error:
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                got = f", got {value!r}" if each.repr else ""  # what has no repr is a secret
                raise ConfigError(f"{given}: {reason}{got}") from None
        return cls(**values)


def _option(name: str, variable: str) -> str:
    return f"--{name.replace('_', '-')} ({variable})"


def _parts(given: str | Iterable[str]) -> list[str]:
    """An option that was given again adds to the list, as one with commas does."""
    lists = [given] if isinstance(given, str) else given
    return [part.strip() for text in lists for part in listed(text) if part.strip()]
