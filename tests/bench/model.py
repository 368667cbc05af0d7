"""What a model of the bench answers with, which its name says."""

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Model:
    """`tokens` at `rate` a second, 0 for all at once; silence before the first and after the last.

    `burst-N` N tokens at once · `paced-N-R` N tokens, R a second · `sleep-S` one token after S
    seconds · `nap-MS` one after MS milliseconds · `hold-N-S` N at once, the end S seconds later ·
    `drip-N-R-S` N tokens, R a second, the end S seconds later.
    """

    tokens: int
    rate: int = 0
    before_s: float = 0.0
    after_s: float = 0.0

    @property
    def whole_after_s(self) -> float:
        """When an answer that is not streamed comes."""
        return self.before_s + (self.tokens / self.rate if self.rate else 0) + self.after_s


@lru_cache
def parse_model(name: str) -> Model | None:
    """None for a name that says nothing known."""
    kind, *parts = name.split("-")
    match kind, [int(part) for part in parts if part.isdecimal()]:
        case "burst", [tokens]:
            return Model(tokens)
        case "paced", [tokens, rate]:
            return Model(tokens, rate)
        case "sleep", [seconds]:
            return Model(1, before_s=seconds)
        case "nap", [ms]:
            return Model(1, before_s=ms / 1000)
        case "hold", [tokens, seconds]:
            return Model(tokens, after_s=seconds)
        case "drip", [tokens, rate, seconds]:
            return Model(tokens, rate, after_s=seconds)
    return None
