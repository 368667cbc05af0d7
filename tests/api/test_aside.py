import threading

from trunkline_api.aside import aside


async def test_what_is_large_is_done_beside_the_loop_and_what_is_small_on_it() -> None:
    on_loop = threading.get_ident()
    assert await aside(64 * 1024, threading.get_ident) == on_loop
    assert await aside(64 * 1024 + 1, threading.get_ident) != on_loop
