"""A real Sentinel that watches one primary under the name `main`."""

import redis

from tests.fakes.redis_server import RedisServer, binary_for_tests


class RedisSentinel(RedisServer):
    """Started by the constructor; usable as a context manager."""

    def __init__(self, primary: RedisServer) -> None:
        super().__init__(tcp=True)
        self.kill()
        configuration = self.directory / "sentinel.conf"  # Sentinel writes what it learns into it
        configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
        )
        self._command = [str(binary_for_tests()), str(configuration), "--sentinel"]
        self.restart()

    def fails_over(self) -> bool:
        """Begins to make the replica the primary; false while it knows none that is fit."""
        with self.client() as client:
            try:
                return bool(client.execute_command("SENTINEL", "FAILOVER", "main"))
            except redis.ResponseError as error:
                assert str(error).startswith("NOGOODSLAVE"), error
                return False
