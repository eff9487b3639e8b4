"""What these tests share with those of the relay."""

from __future__ import annotations

from tests.server.conftest import rig

__all__ = ["rig"]
