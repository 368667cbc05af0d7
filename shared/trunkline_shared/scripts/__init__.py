"""The eight scripts: every change of a run's state, one Lua file each.

A script's text is what it needs of `prelude.lua` and `reading.lua`, then its own file, with the
constants and key stems written in; `Scripts` knows the texts and their SHA1, so that any
connection can load and call them.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal, TypeAlias, get_args

from trunkline_shared.conversation import TURN_VERSION
from trunkline_shared.fold import FOLDED_VERSION
from trunkline_shared.keys import Keys
from trunkline_shared.settings import STORED, CommonSettings

ScriptName: TypeAlias = Literal[
    "submit", "claim", "append", "finish", "cancel", "renew", "sweep", "hand_back"
]
Argument: TypeAlias = str | bytes | int
SHARED: Final = ("prelude", "reading")  # what the others are made of

SEEN_MS = 10_000  # a worker that renewed within this counts as live for admission
FORGET_MS = 60_000
LOOK = 256  # how many entries of a queue one call looks at
PAGE = 32  # how many of them it reads at once
PATIENCE_MS = 5000  # a run that waits longer is not passed by others, or not left without an owner
SWEEP_GAP_MS = 1500  # a longer silence of all sweepers means that Redis was away
SWEEP_MIN_MS = 250  # two sweeps nearer than this do nothing new
TIDY_MS = 10_000
BATCH = 500  # runs one sweep takes from dead workers
STORED_LOG_MS = 600_000  # the log of a stored run is kept so long after its end
OUTBOX = 100_000  # entries of which webhooks have not heard; the oldest are lost beyond that
SLACK_MS = 600_000  # how long logs and state outlive the last sign of their owner

_COMMENT = re.compile(r"^ *--.*\n|  *-- .*$", re.MULTILINE)
_DEFINED = re.compile(r"^local (?:function )?(\w+)", re.MULTILINE)
_WORD = re.compile(r"\b[KCS]\.\w+")


@dataclass(frozen=True, slots=True)
class Scripts:
    """Texts and SHA1 by name, and the commands that call them. Does no I/O."""

    texts: dict[str, bytes]
    shas: dict[str, str]

    @classmethod
    def build(cls, keys: Keys, settings: CommonSettings) -> "Scripts":
        constants: dict[str, int] = {
            "lease_ttl_ms": settings.lease_ttl_ms,
            "max_attempts": settings.max_attempts,
            "kept_ms": int(settings.log_kept_s * 1000),
            "seen_ms": SEEN_MS,
            "forget_ms": FORGET_MS,
            "look": LOOK,
            "look_end": LOOK - 1,
            "page": PAGE,
            "page_end": PAGE - 1,
            "patience_ms": PATIENCE_MS,
            "sweep_gap_ms": SWEEP_GAP_MS,
            "sweep_min_ms": SWEEP_MIN_MS,
            "tidy_ms": TIDY_MS,
            "batch": BATCH,
            "slack_ms": SLACK_MS,
            "stored_log_ms": STORED_LOG_MS,
            **{f"{kind}_ms": int(settings.retention_of(kind) * 1000) for kind in STORED},
            "outbox": OUTBOX,
            "folded_version": FOLDED_VERSION,
            "turn_version": TURN_VERSION,
        }
        words = {f"C.{name}": str(value) for name, value in constants.items()}
        words |= {f"S.{name}": f"'{value}'" for name, value in constants.items()}
        words |= {f"K.{name}": f"'{stem}'" for name, stem in keys.stems().items()}
        here = resources.files(__name__)
        shared = "\n".join((here / f"{name}.lua").read_text() for name in SHARED)
        texts = {
            name: _written((here / f"{name}.lua").read_text(), shared, words).encode()
            for name in get_args(ScriptName)
        }
        shas = {
            name: hashlib.sha1(text, usedforsecurity=False).hexdigest()
            for name, text in texts.items()
        }
        return cls(texts, shas)

    def call(self, name: ScriptName, *arguments: Argument) -> tuple[Argument, ...]:
        """The command that runs one script."""
        return ("EVALSHA", self.shas[name], 0, *arguments)


def _written(script: str, shared: str, words: dict[str, str]) -> str:
    """The text that Redis gets. Redis runs all of it at every call, definitions too: literals in
    place of tables and none but the functions in use make a call of `append` half as dear.
    """
    text = _COMMENT.sub("", script)
    for part in reversed(_COMMENT.sub("", shared).split("\n\n")):
        defined = _DEFINED.search(part)
        if defined and re.search(rf"\b{defined[1]}\b", text):
            text = f"{part}\n{text}"
    return _WORD.sub(lambda word: words[word[0]], text)
