import pytest

from tests.api.conversation_bed import ConversationBed
from trunkline_api.lease import Lease, LeaseLost

pytestmark = pytest.mark.redis


async def test_a_lease_is_anothers_only_when_it_is_over(redis_url: str) -> None:
    async with ConversationBed(redis_url) as bed:
        mine, theirs = (Lease(bed.pipe, "lease") for _ in range(2))
        assert await mine.renew() and await mine.renew()
        mine.check()
        assert not await theirs.renew()
        with pytest.raises(LeaseLost):
            theirs.check()
        await bed.redis.delete("lease")
        assert await theirs.renew()
        assert not await mine.renew()
