"""The relay, people and businesses of the tests with real processes."""

from __future__ import annotations

from tests.e2e.conftest import alice, bob, customer, relay, shop

__all__ = ["alice", "bob", "customer", "relay", "shop"]
