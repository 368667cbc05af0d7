from tests.bench.agent_lane import measure


async def test_a_run_of_the_agent_lane_costs_no_more_than_the_frameworks_own() -> None:
    figures = await measure(runs=20)
    ours, theirs = figures["lane"], figures["pydantic-ai"]
    assert ours["run"] <= 1.1 * theirs["run"]
    assert ours["tool"] <= 1.1 * theirs["tool"]
