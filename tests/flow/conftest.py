from collections.abc import Iterator
from contextlib import ExitStack

import openai
import pytest

from tests.fakes.system import System

KEYS = ("ana-key", "bob-key")


@pytest.fixture
def strict() -> bool:
    """Whether every reply has to be as openai-python's types have it. Modules say why not."""
    return True


@pytest.fixture
def clients(system: System, strict: bool) -> Iterator[list[openai.OpenAI]]:
    """Ana's at both API processes of the module's system, and Bob's."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                openai.OpenAI(
                    base_url=system.base_url(api),
                    api_key=key,
                    max_retries=0,
                    _strict_response_validation=strict,
                )
            )
            for api, key in ((0, KEYS[0]), (1, KEYS[0]), (1, KEYS[1]))
        ]
