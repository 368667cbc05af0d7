import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.anthropic import FakeAnthropic


@pytest.fixture
async def upstream() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic() as fake:
        yield fake
        await fake.until(lambda: not fake.open)  # nothing is left behind


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory that other users get through, as whom root has commands run."""
    path = Path(tempfile.mkdtemp(prefix="trunkline-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)
