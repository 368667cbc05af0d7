"""What rounds come to: medians, ratios, verdicts, and the shares of a profile."""

from collections import Counter
from statistics import median

import pytest

from tests.bench.cases import CASES
from tests.bench.instructions import counted
from tests.bench.profile import shares
from tests.bench.report import lines, summary, table
from tests.bench.rows import ROWS
from tests.bench.stages import in_order, stage_of

CASE = {case.name: case for case in CASES}


def _rounds(ours, floor=1.0):
    return {"relay": [{"cpu": floor}] * len(ours), "trunkline": [{"cpu": each} for each in ours]}


def test_every_case_has_rows_and_every_row_a_case():
    assert {row.case for row in ROWS} == CASE.keys()


def test_a_row_of_a_case_is_there_once():
    shown = [(row.case, row.key, row.added) for row in ROWS]
    assert len(shown) == len({*shown})


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.9, "stretch met"), (2.5, "must met"), (2.51, "MISSED")]
)
def test_a_verdict_says_which_of_the_two_targets_was_met(ratio, verdict):
    line = lines(CASE["short"], _rounds([ratio]))[0]
    assert (line.row.must, line.row.stretch, line.verdict) == (2.5, 2.0, verdict)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    rounds = {
        "relay": [{"cpu": 1.0}, {"cpu": 10.0}, {"cpu": 2.0}],
        "trunkline": [{"cpu": 3.0}, {"cpu": 20.0}, {"cpu": 8.0}],
    }
    told = summary([CASE["short"]], {"short": rounds})["short"]
    assert told["ratios"] == {"cpu": median([3, 2, 4])}
    assert told["medians"] == {"relay": {"cpu": 2.0}, "trunkline": {"cpu": 8.0}}
    assert told["table"][0] | {"verdict": "MISSED", "must": 2.5, "ratio": 3} == told["table"][0]


def test_the_table_says_what_a_system_cannot_do_and_what_it_has_no_figure_of():
    rounds = _rounds([2.0]) | {"peer": []}
    columns = ("direct", "relay", "peer", "trunkline")
    text = table([CASE["short"]], {"short": rounds}, columns)
    (line,) = (line for line in text.splitlines() if "CPU per request" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:6] == ["-", "1.00", "cannot", "2.00", "2.00"]


def test_what_every_round_lost_adds_up():
    rounds = {"trunkline": [{"bad": 1.0}, {"bad": 0.0}, {"bad": 0.0}]}
    (line,) = lines(CASE["paced"], rounds)
    assert (line.middles, line.verdict) == ({"trunkline": 1.0}, "MISSED")


def test_a_profile_counts_the_functions_of_the_main_thread():
    stacks = [
        "thread (1): MainThread;main (a.py:1);feed (b.py:7) 3",
        "thread (1): MainThread;main (a.py:2);feed (b.py:9) 3",
        "thread (1): MainThread;main (a.py:1) 2",
        "thread (2): lease;wait (threading.py:3) 900",
    ]
    _, alone, within = shares(stacks).split("\n\n")
    assert alone.splitlines()[1:] == [" 75.0 feed (b.py)", " 25.0 main (a.py)"]
    assert within.splitlines()[1:] == ["100.0 main (a.py)", " 75.0 feed (b.py)"]


def test_a_stack_belongs_to_the_stage_that_began_last():
    asgi = "RequestResponseCycle.run_asgi (uvicorn/protocols/http/httptools_impl.py)"
    write = "RequestResponseCycle.send (uvicorn/protocols/http/httptools_impl.py)"
    assert stage_of(["main (a.py)", asgi, "helper (b.py)"]) == "HTTP in"
    assert stage_of([asgi, "Stream.tell (trunkline_api/stream.py)", write]) == "write to the client"
    assert stage_of(["main (a.py)"]) == "event loop and the rest"
    met = Counter({"log line": 1, "submit": 2, "event loop and the rest": 1, "HTTP in": 0})
    assert [*in_order(met)] == ["submit", "log line", "event loop and the rest"]


def test_instructions_are_the_totals_of_all_files():
    dump = "# callgrind format\nversion: 1\nsummary: 7\n\nfn=(1)\n+3 5\n\ntotals: {}\n"
    assert counted([dump.format(70), "no totals\n", dump.format(5)]) == 75
