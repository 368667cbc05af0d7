"""docs/configuration.md says what the code has."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from trunkline.arguments import API, COMMON, SERVE, WORKER
from trunkline.settings import ServeSettings
from trunkline_api.settings import ApiSettings
from trunkline_shared.config import agentpool
from trunkline_shared.config.models import (
    AgentConfig,
    ClaudeCode,
    EchoSettings,
    Limits,
    ModelSettings,
    Profiles,
)
from trunkline_shared.config.providers import ALIASES, OTHER_PROVIDERS, PROVIDERS, REFUSED
from trunkline_shared.config.toolsets import MODELS, keys_of
from trunkline_shared.settings import CommonSettings
from trunkline_worker.settings import WorkerSettings

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines()]


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in (None, "", ()):
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


@pytest.mark.parametrize("settings", [CommonSettings, ApiSettings, WorkerSettings, ServeSettings])
def test_every_setting_stands_on_the_page_with_its_default(settings: type[CommonSettings]) -> None:
    common = {field.name for field in fields(CommonSettings)}
    own = [f for f in fields(settings) if settings is CommonSettings or f.name not in common]
    for field in own:
        (row,) = [row for row in ROWS if row[1:2] == [f"`TRUNKLINE_{field.name.upper()}`"]]
        assert row[2] == shown(field.default), field.name
        assert row[3], field.name


def test_every_variable_on_the_page_is_a_setting() -> None:
    classes = (CommonSettings, ApiSettings, WorkerSettings, ServeSettings)
    known = {f"`TRUNKLINE_{f.name.upper()}`" for each in classes for f in fields(each)}
    assert {row[1] for row in ROWS if len(row) == 4 and row[1].startswith("`TRUNK")} == known


def test_every_option_of_the_command_line_stands_beside_its_variable() -> None:
    for option in (*COMMON, *API, *WORKER, *SERVE):
        variable = f"`TRUNKLINE_{option.name.upper()}`"
        assert [f"`{option.flag}`", variable] in [row[:2] for row in ROWS], option.flag


def test_every_provider_stands_on_the_page_with_its_url_and_variables() -> None:
    for provider in PROVIDERS.values():
        (row,) = [row for row in ROWS if row[:1] == [f"`{provider.name}`"]]
        assert not provider.base_url or row[1] == f"`{provider.base_url}`"
        assert row[2] == shown(provider.base_url_variable)
        assert row[3] == ", ".join(f"`{name}`" for name in provider.api_key_variables)
    for name in (*ALIASES, *OTHER_PROVIDERS, *REFUSED):
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "model", [AgentConfig, Limits, ModelSettings, EchoSettings, ClaudeCode, Profiles]
)
def test_every_key_of_an_agent_stands_on_the_page(model: type[BaseModel]) -> None:
    keys = {field.alias or name for name, field in model.model_fields.items()}
    for key in keys - {"name", "lacks"}:
        assert f"`{key}`" in PAGE, key


@pytest.mark.parametrize("kind", MODELS)
def test_every_toolset_and_its_keys_stand_on_the_page(kind: str) -> None:
    assert f"| `{kind}` |" in PAGE
    for key in keys_of(kind):
        assert f"`{key}`" in PAGE, key


def test_every_key_of_agentpool_stands_on_the_page() -> None:
    keys = (
        *agentpool.KEYS,
        *agentpool.CLAUDE_KEYS,
        *agentpool.IGNORED_IN_FILE,
        *agentpool.REFUSED_IN_FILE,
    )
    for key in (*keys, *agentpool.LIMITS, *agentpool.LIMITS_CANNOT, *agentpool.LIMITS_IGNORED):
        assert f"`{key}`" in PAGE, key
