"""The recorded conversation: what happens in it, in order."""

from __future__ import annotations

from tests.vectors.conversation import Recording
from tests.vectors.values import Json


def record() -> Json:
    """Three epochs of the post-quantum ratchet, messages out of order, late and lost."""
    r = Recording()
    first = r.send("a", "hello, to your address", address=True)
    second = r.send("a", "the handshake again, into your mailbox")
    r.receive(second, first)
    one = r.send("b", "this asks for epoch 1", label=True)
    two = r.send("b", "this asks again")
    r.receive(two, one)
    answer = r.send("a", "this answers: epoch 1 begins")
    r.lose("a", "the answer again; this one is lost")
    last = r.send("b", "still in epoch 0, for nothing has come")
    late = r.send("b", "in epoch 0 too, and it comes late")
    r.receive(last, answer)
    r.turn("b")
    r.receive(late)
    r.turn("a")
    r.turn("b")
    several = r.send("a", "to two devices, in four slots", more=True)
    third = r.send("a", "after the one in four slots")
    r.receive(third, several)
    r.lose("b", "lost, in the middle of a chain")
    r.turn("b")
    r.until_asked("a")
    held = r.send("a", "sent in epoch 1, after its ask; it comes in epoch 2")
    r.lose("b", "this answers: epoch 2 begins; it is lost", label=True)
    again = r.send("b", "the answer again")
    r.receive(held, again)
    r.turn("a")
    r.until_asked("b")
    old = r.send("b", "sent in epoch 2; it comes after epoch 3 was heard")
    r.turn("a")
    r.turn("b")
    r.receive(old)
    r.turn("a")
    return r.to_json()
