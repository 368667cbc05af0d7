"""What README and docs/ show is what the program does."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from tests.cli.processes import PATIENCE_S, Serve
from trunkline.arguments import parse
from trunkline.settings import ServeSettings
from trunkline_api.settings import ApiSettings
from trunkline_api.wire.chat import parse_chat
from trunkline_shared.config.load import load_config
from trunkline_shared.errors import FailureCode
from trunkline_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = ROOT / "examples" / "agents.yml"
BASE_URL = "http://127.0.0.1:8000"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NEEDED = {"api": "agents.yml", "worker": "agents.yml", "check": "agents.yml", "keys": "list"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines, those that end in a backslash joined, without prompts and explanations."""
        lines = re.sub(r" *\\\n *", " ", self.text).splitlines()
        return [re.split("   +", line.strip().removeprefix("$ "))[0] for line in lines]


def blocks(page: Path, *languages: str) -> list[Block]:
    found = [Block(*match.groups()) for match in FENCE.finditer(page.read_text("utf-8"))]
    return [block for block in found if block.language in languages]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def spans(page: Path) -> list[str]:
    return re.findall(r"`([^`]+)`", prose(page))


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command line shown, without the variables before it."""
    shown = [line for block in blocks(page, "") for line in block.commands]
    for line in [*shown, *spans(page)]:
        if not re.match(r"(\w+=\S* )*(make|curl|(\S*/)?(trunkline|python)) ", line):
            continue
        words = shlex.split(line, comments=True)
        while "=" in words[0]:
            words.pop(0)
        yield words


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_pages_with_something_to_hold() -> None:
    assert {"README.md", "quickstart.md"} <= {page.name for page in PAGES}
    readme = ROOT / "README.md"
    assert list(commands(readme))
    assert blocks(readme, "yaml")
    assert examples("python")
    assert asked()


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path) if path else page
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [p.name for p in PAGES if p.parent != ROOT and f"(docs/{p.name})" not in readme] == []


@each_page
def test_every_command_line_is_one_that_the_program_takes(page: Path) -> None:
    for words in commands(page):
        if Path(words[0]).name == "python" and words[1:3] == ["-m", "trunkline"]:
            words = words[2:]
        if Path(words[0]).name != "trunkline" or "--help" in words:
            continue
        if len(words) == 2 and words[1] in NEEDED:  # the command's name, not a use of it
            words.append(NEEDED[words[1]])
        try:
            parse(words[1:])
        except SystemExit as refused:
            assert refused.code == 0, shlex.join(words)


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for words in commands(page):
        if words[0] == "make":
            assert words[1] in targets, shlex.join(words)


@each_page
def test_every_variable_is_read_by_something(page: Path) -> None:
    settings = (ApiSettings, WorkerSettings, ServeSettings)
    known = {f"TRUNKLINE_{field.name.upper()}" for each in settings for field in fields(each)}
    for name in ("docker-compose.yml", "Makefile"):
        known |= set(re.findall(r"TRUNKLINE_\w*[A-Z]", (ROOT / name).read_text("utf-8")))
    assert set(re.findall(r"TRUNKLINE_\w*[A-Z]", page.read_text("utf-8"))) <= known


@each_page
def test_every_agents_file_loads(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "yaml"):
        if re.match(r"(#.*\n)*agents:", block.text):
            path = tmp_path / "agents.yml"
            path.write_text(block.text, "utf-8")
            assert load_config(path, {}).agents


@each_page
def test_every_json_is_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block.text)


@each_page
def test_every_request_body_is_accepted_and_names_an_agent_of_the_example(page: Path) -> None:
    for words in commands(page):
        if words[0] == "curl" and "-d" in words:
            assert words[1 + words.index("-N") if "-N" in words else 1].startswith(BASE_URL)
            request = parse_chat(words[words.index("-d") + 1].encode())
            assert request.model in load_config(EXAMPLE, {}).agents


def codes() -> set[str]:
    """Of all errors that the API tier raises, and of all runs that fail."""
    places = {"ApiError": 3, "invalid": 2, "_unfit": 0}
    found: list[ast.expr] = []
    for path in (ROOT / "api").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in places:
                    found += node.args[places[name] : places[name] + 1]
                    found += [each.value for each in node.keywords if each.arg == "code"]
                case ast.Assign(targets=[target], value=ast.Constant() | ast.IfExp() | ast.Tuple()):
                    if ast.unparse(target).startswith(("code", "(code")):
                        found.append(node.value)
    said = [part for each in found for part in ast.walk(each) if isinstance(part, ast.Constant)]
    words = {str(part.value) for part in said}
    return {*get_args(FailureCode), *(each for each in words if re.fullmatch("[a-z_]+", each))}


def test_every_code_stands_once_in_the_table_of_errors() -> None:
    table = (ROOT / "docs/api.md").read_text("utf-8").split("## Errors\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+)[\d, ]* \| ([^|]+) \|", table, re.MULTILINE)
    listed = [code for _, cell in rows for code in re.findall(r"`(\w+)`", cell)]
    assert sorted(listed) == sorted(codes())
    order = [(status, re.findall(r"`(\w+)`", cell)) for status, cell in rows]
    assert order == sorted((status, sorted(each)) for status, each in order)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`make serve` as a newcomer has it, but for the port and the data."""
    data = str(tmp_path_factory.mktemp("data"))
    with Serve(str(EXAMPLE), "--data-dir", data, "--port", "0") as serve:
        yield serve.url


def examples(language: str) -> list[tuple[str, str]]:
    """Programs of a language, and the output that is shown below each."""
    found = []
    for page in PAGES:
        shown = blocks(page, language, "")
        for program, output in pairwise(shown):
            if (program.language, output.language) == (language, ""):
                found.append((program.text, output.text))
    return found


@pytest.mark.redis
@pytest.mark.parametrize(("program", "output"), examples("python"))
def test_python_prints_what_is_shown(program: str, output: str, url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program.replace(BASE_URL, url)],
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
    )
    assert (done.stdout.strip(), done.returncode) == (output.strip(), 0), done.stderr


def asked() -> list[tuple[str, str]]:
    """The bodies of curl lines, and the replies shown below each."""
    texts = [block.text for page in PAGES for block in blocks(page, "")]
    pattern = re.compile(r"\$ curl [^\n]+ \\\n +-d '(.+)'\n(.+)", re.DOTALL)
    return [match.groups() for text in texts if (match := pattern.match(text))]


@pytest.mark.redis
@pytest.mark.parametrize(("body", "reply"), asked())
def test_curl_gets_the_reply_that_is_shown(body: str, reply: str, url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", body.encode(), headers)
    with opener.open(request, timeout=PATIENCE_S) as response:
        got = response.read().decode()

    def lasting(text: str) -> str:
        return re.sub(r'"chatcmpl-\w+"|(?<="created":)\d+', "…", text.strip())

    assert lasting(got) == lasting(reply)
