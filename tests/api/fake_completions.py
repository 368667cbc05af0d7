"""Stored completions of a deployment that stores none."""

from tests.api.fake_store import KEYS, FakePipe
from trunkline_api.lookup import Lookup
from trunkline_api.stored_completions import StoredCompletions
from trunkline_shared.vault import Vault


def completions(secret_key: str | None = "secret") -> StoredCompletions:
    """What seals as the real ones do, and finds nothing."""
    lookup = Lookup(FakePipe(), patience_s=0.05)  # type: ignore[arg-type]  # it speaks as a pipe does
    return StoredCompletions(lookup, KEYS, Vault(secret_key), max_bytes=1000, retention_s=60)
