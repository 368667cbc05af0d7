from collections.abc import Iterator

import pytest

from tests.compose.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The engine with the images built and nothing started."""
    lab = Lab()
    try:
        lab.open()
        yield lab
    finally:
        lab.close()
