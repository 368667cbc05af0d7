"""GET /alive, /health and /ready: for proxies and orchestrators, without a key."""

from fastapi import APIRouter

from trunkline_api.errors import SERVER_ERROR, ApiError
from trunkline_api.gateway import Gateway
from trunkline_api.wire.models import Health


def health_router(gateway: Gateway) -> APIRouter:
    """`/alive` restarts the process, `/health` takes it out of the proxy, `/ready` tells all."""
    router = APIRouter(tags=["Health"])

    @router.head("/alive", include_in_schema=False)
    @router.get("/alive")
    async def alive() -> Health:
        """200 as long as the process answers at all."""
        return Health(status="ok")

    @router.head("/health", include_in_schema=False)
    @router.get("/health")
    async def health() -> Health:
        """503 while the process shuts down, and without Redis."""
        await _check_health(gateway)
        return Health(status="ok")

    @router.head("/ready", include_in_schema=False)
    @router.get("/ready")
    async def ready() -> Health:
        """503 also without a live worker, or before events can reach this process."""
        await _check_health(gateway)
        if not gateway.hub.ready:
            raise _unfit("hub_not_ready", "This process is not yet subscribed to events.")
        if not await gateway.runs.has_worker():
            raise _unfit("no_worker", "No worker is alive.")
        return Health(status="ready")

    return router


async def _check_health(gateway: Gateway) -> None:
    if gateway.shutdown.draining.is_set():
        raise _unfit("draining", "This process is shutting down.")
    if not await gateway.runs.redis_alive():
        raise _unfit("redis_unavailable", "Redis does not answer.")


def _unfit(code: str, message: str) -> ApiError:
    return ApiError(503, message, SERVER_ERROR, code)
