"""Public bytes: ids, limits, signatures, frames, cards, links.

Nothing in this package holds or derives a secret; every function is pure and does no I/O.
The byte layouts are normative in ``docs/protocol.md``.
"""
