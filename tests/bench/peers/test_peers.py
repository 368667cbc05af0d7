"""The comparison's own parts. Nothing is installed or measured here."""

import re

import pytest

from tests.bench.load import Load
from tests.bench.peers.cases import CASES
from tests.bench.peers.environment import HERE, Unavailable, check_python, entry, lock_of, pins
from tests.bench.peers.report import table
from tests.bench.peers.system import LOCKED, SYSTEMS, Peer, naive
from tests.bench.spec import Spec
from tests.bench.system import upstream

HARMFUL = {"1.82.7", "1.82.8", "1.107.0"}
TTFT, SHORT, _WHOLE, _BURST, PACED, _FEW = CASES
each_lock = pytest.mark.parametrize("peer", LOCKED)


@each_lock
def test_a_lock_holds_hashes_and_nothing_of_where_it_was_made(peer):
    text = lock_of(peer).read_text()
    assert not re.search(r"://|^-|@ |\B/\w", text, re.MULTILINE)
    listed = [line for line in text.splitlines() if not line.startswith(" ")]
    assert len(pins(lock_of(peer))) == len(listed)
    for package in pins(lock_of(peer)):
        assert "--hash=sha256:" in entry(lock_of(peer), package)


@each_lock
def test_a_lock_is_of_the_versions_that_are_asked_for(peer):
    asked = re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", (HERE / f"{peer}.in").read_text(), re.M)
    assert asked
    assert {name: pins(lock_of(peer))[name] for name, _ in asked} == dict(asked)


@each_lock
def test_no_lock_holds_a_release_that_did_harm(peer):
    assert pins(lock_of(peer)).get("litellm") not in HARMFUL


def test_there_is_a_lock_for_each_peer_and_no_other():
    assert {path.stem for path in HERE.glob("*.lock")} == set(LOCKED)
    assert set(LOCKED) < set(SYSTEMS)


def test_a_python_that_does_not_fit_is_named_with_the_way_out():
    with pytest.raises(Unavailable, match=r"python3\.13 is needed, but no-such-python .* --python"):
        check_python("no-such-python")


@pytest.mark.parametrize("model", ["burst-16", "paced-5-1000"])
async def test_every_token_of_the_upstream_passes_the_naive_relay_once_and_in_order(model):
    with upstream() as upstream_port, naive(upstream_port, []) as relay:
        load = Load(Spec(url=relay.url, model=model, connections=2, requests=4))
        tally = await load.run(4)
        await load.close()
    assert tally.errors == []
    assert (tally.completed, tally.lost, tally.doubled) == (4, 0, 0)


def test_a_peer_is_asked_with_its_own_key_and_name_of_the_model_and_no_more_than_it_bears():
    spec = SHORT.spec(Peer("openhands", 1, {}, key="sk-own", prefix="openhands_"))
    assert (spec.key, spec.tokens, spec.connections) == ("sk-own", 16, 8)
    assert b'"model": "openhands_burst-16"' in spec.request()
    assert SHORT.spec(Peer("litellm", 1, {}, key="sk-own")).connections == 32


FIGURES = {"bad": 0.0, "requests_per_s": 1.0, "rss_mib": 100.0}


@pytest.mark.parametrize(
    ("theirs", "cell", "verdict"),
    [
        (49.0, "49.00 (49 ×)", "MISSED"),
        (50.0, "50.00 (50 ×)", "must met"),
        (90.0, "90.00 (90 ×)", "stretch met"),
    ],
)
def test_a_figure_stands_with_how_many_times_ours_it_is(theirs, cell, verdict):
    rounds = {
        "litellm": [FIGURES | {"cpu": theirs}] * 3,
        "trunkline": [FIGURES | {"cpu": 1.0}] * 3,
    }
    shown = table([SHORT], ["litellm", "trunkline"], {"short": rounds})
    (line,) = (line for line in shown.splitlines() if "CPU per request" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["CPU per request, ms", cell, "1.00", "≥ 50 × (90 ×)", verdict]


def test_what_a_peer_cannot_do_is_said_in_the_place_of_a_figure():
    shown = table([PACED], ["openhands", "trunkline"], {"paced": {}})
    assert "cannot: answers in one chunk" in shown


def test_what_is_added_to_the_direct_way_is_compared_without_it():
    def round_of(ms):
        return [FIGURES | {"cpu": 1.0, "ttft_p50_ms": ms, "ttft_p99_ms": ms}]

    rounds = {"direct": round_of(1.0), "litellm": round_of(21.0), "trunkline": round_of(3.0)}
    shown = table([TTFT], ["direct", "litellm", "trunkline"], {"ttft": rounds})
    assert "20.00 (10 ×)" in shown
