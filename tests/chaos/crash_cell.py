"""What the model and the tool of a run are told of where they are to stand still. No I/O but files.

It travels in the user's text, and from there in the tool's arguments.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST, SECOND = "I look. ", "It said: {}"


@dataclass(frozen=True)
class Place:
    """Of run `number`; `directory` has the file `did`, a line for each thing done, and in `at` the
    name of each run that stands still, or did so before its worker was killed.
    """

    directory: str
    number: int
    point: str

    @classmethod
    def parse(cls, text: str) -> "Place":
        directory, number, point = text.split("|")
        return cls(directory, int(number), point)

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Place":
        """From the request of a model."""
        (asked,) = [each["content"] for each in body["messages"] if each["role"] == "user"]
        return cls.parse(asked if isinstance(asked, str) else asked[0]["text"])

    def __str__(self) -> str:
        return f"{self.directory}|{self.number}|{self.point}"

    def did(self, what: str) -> None:
        with (Path(self.directory) / "did").open("a") as log:
            log.write(f"{self.number} {what}\n")

    def stands_at(self, point: str) -> bool:
        """Whether to stand still here, which nobody does twice."""
        mark = Path(self.directory) / "at" / str(self.number)
        if point != self.point or mark.exists():
            return False
        mark.touch()
        return True
