"""What `import trunkline` gives."""

from pathlib import Path

import pytest

import trunkline
from tests.patience import PATIENCE_S
from tests.python_api.host import program


def test_the_public_names_are_sorted_and_there() -> None:
    assert trunkline.__all__ == sorted(trunkline.__all__)
    assert all(hasattr(trunkline, name) for name in trunkline.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Agent'"):
        trunkline.Agent  # noqa: B018


LIGHT = """
import sys
import trunkline
print(sorted(m for m in sys.modules if m.partition(".")[0] in
             ("fastapi", "uvicorn", "arq", "redis", "pydantic", "trunkline_api", "asyncio")))
from trunkline import *
print(AgentPool.__name__, OpenAIAPIServer.__name__, __version__ == trunkline.__version__)
"""


def test_the_name_alone_imports_nothing(tmp_path: Path) -> None:
    with program(tmp_path, LIGHT) as host:
        said, errors = host.communicate(timeout=PATIENCE_S)
    assert (said, errors) == ("[]\nAgentPool OpenAIAPIServer True\n", "")


WITHOUT_WORKER = """
import sys
sys.modules["arq"] = None
import trunkline
try:
    trunkline.AgentPool
except ImportError as error:
    print(error)
"""


def test_without_one_of_the_tiers_it_says_what_to_install(tmp_path: Path) -> None:
    with program(tmp_path, WITHOUT_WORKER) as host:
        said, errors = host.communicate(timeout=PATIENCE_S)
    assert (said, errors) == (
        "trunkline.AgentPool needs arq: pip install 'trunkline[api,worker]'\n",
        "",
    )
