from trunkline.testing import ManagedAPIServer

__all__ = ["ManagedAPIServer"]
