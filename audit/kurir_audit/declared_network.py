"""What a relay learns from the network and holds in memory only."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Field, Group, Purpose

D, B, A, O = Purpose.DELIVERY, Purpose.BILLING, Purpose.ABUSE, Purpose.OPERATION  # noqa: E741

_CONNECTION: Final = "while the connection lasts, in memory"

NETWORK: Final = (
    Group(
        "connection",
        "what any server sees of a TCP or TLS connection",
        (
            Field(
                "network address",
                D,
                "Answers have to go somewhere.",
                _CONNECTION + "; never logged, never stored",
                "roughly where somebody is, and that two connections came from one network",
            ),
            Field(
                "times and amounts of bytes",
                D,
                "Bytes cannot be moved without moving them.",
                "as they pass",
                "who answers whom, if a live relay correlates them; see docs/threat-model.md",
            ),
            Field(
                "what one connection opens",
                D,
                "Deliveries go to the connection that proved to be the reader.",
                _CONNECTION,
                "that these mailboxes belong to one device; a client can spread them",
            ),
            Field(
                "the business it proved to be",
                B,
                "Settlements and invoices are for this business only.",
                _CONNECTION,
                "from which network a business works",
            ),
            Field(
                "nonce",
                A,
                "A proof made for one connection is of no use on another.",
                _CONNECTION,
                "nothing: random",
            ),
        ),
    ),
    Group(
        "HTTP upgrade",
        "the request that makes the connection a WebSocket",
        (
            Field(
                "Host",
                D,
                "HTTP/1.1 requires it.",
                "not kept",
                "the name under which the relay was reached",
            ),
            Field(
                "Sec-WebSocket-Key, -Version, Upgrade, Connection",
                D,
                "RFC 6455 requires them.",
                "not kept",
                "nothing: the key is random, the rest constant",
            ),
            Field(
                "Sec-WebSocket-Protocol",
                D,
                "Both sides name kurir.1, so that no other protocol is spoken by mistake.",
                "not kept",
                "that this is a kurir client",
            ),
            Field(
                "X-Forwarded-For",
                A,
                "Behind a proxy (--behind-proxy) it is the only word on the client's network.",
                _CONNECTION + "; hashed",
                "the network address, as above",
            ),
            Field(
                "User-Agent",
                O,
                "Nothing needs it: kurir's clients do not send it and the relay does not read it.",
                "not kept",
                "the client's software version, if another client sends it",
            ),
        ),
    ),
    Group(
        "memory",
        "what a running relay remembers and a stopped one has forgotten",
        (
            Field(
                "mailboxes made per network",
                A,
                "One network must not fill the disk with mailboxes (IPv6: one /64); its name is a "
                "hash under a key that changes with each start.",
                "until the rate has recovered: a day at most, in memory",
                "how many mailboxes a network made today",
            ),
            Field(
                "bytes left here per network",
                A,
                "One network must not fill the disk with envelopes; named as above.",
                "until the rate has recovered: 69 minutes at most, in memory",
                "how much a network wrote in the last hour, never into which mailbox",
            ),
            Field(
                "what a network put into one address",
                A,
                "One network must not fill the mailbox of a business; network and address are one "
                "hash, so that a list of them names neither.",
                "until the rate has recovered: 86 minutes at most, in memory",
                "whether one network wrote to one business in the last hour: for a network and a "
                "business that somebody asks about while the relay runs",
            ),
            Field(
                "connections per network",
                A,
                "One network must not take all sockets; named as above.",
                _CONNECTION,
                "how many clients a network has here",
            ),
            Field(
                "other rates per network: looking up businesses and cards, writing to addresses, "
                "proofs, refused charges",
                A,
                "One network must not use up the one-time prekeys of businesses, or the relay's "
                "processor; named as above.",
                "until the rate has recovered: four minutes at most, in memory",
                "how busy a network is just now",
            ),
            Field(
                "chunks moved and room reserved per network",
                A,
                "One network must not fill the disk with attachments; its name is a hash under a "
                "key that changes with each start.",
                "until the rates have recovered: 64 seconds at most, and 42 hours at most; in "
                "memory",
                "how many attachments a network brought in the last two days, and not which",
            ),
            Field(
                "rates per connection, business and mailbox",
                A,
                "Floods are slowed where they come from.",
                "while the connection lasts, or until the rate has recovered: minutes; for the "
                "one-time prekeys of a business 7 hours at most; in memory",
                "how busy a mailbox or business is just now",
            ),
            Field(
                "grants and entries already checked",
                B,
                "A signature is checked once and not for every answer.",
                "until 10,000 newer ones of each came or the relay stops, in memory",
                "which mailbox permitted which business to answer, and by which ad it came",
            ),
            Field(
                "lanes and lists already checked",
                B,
                "A signature is checked once and not for every charge under it.",
                "until 1,000 newer ones of each came or the relay stops, in memory",
                "which charges came as one list",
            ),
            Field(
                "second of acceptance of a charge",
                B,
                "A retry soon after gets the same receipt.",
                "1 to 2 hours (until the end of the hour after that of acceptance), until 65,536 "
                "newer ones came or the relay stops, in memory",
                "the second in which a business wrote; their order is one of its answers, and "
                "mostly that of its customers' messages",
            ),
            Field(
                "starts left of a business",
                A,
                "Its limit is looked up without counting each time.",
                "until the relay stops, in memory",
                "how many customers it may still start",
            ),
            Field(
                "envelopes handed over and not acknowledged",
                D,
                "Each is delivered once a connection, and memory stays bounded.",
                _CONNECTION,
                "what a reader has and has not acknowledged",
            ),
        ),
    ),
)
