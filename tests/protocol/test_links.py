"""Links: what is pasted is what was meant, or is refused with a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_wire.errors import LinkError
from kurir_wire.ids import BusinessId, MailboxId, RelayId
from kurir_wire.links import (
    MAX_LINK,
    BusinessLink,
    InviteLink,
    LinkEntry,
    RelayAddress,
    decode,
    encode,
    is_loopback,
    parse_link,
    pin_matches,
    pin_of,
)
from tests.protocol.make import b16, b32

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.sampled_from(["localhost", "127.0.0.1", "::1", "relay.example"]),
)


@st.composite
def relays(draw: st.DrawFn) -> RelayAddress:
    host = draw(hosts)
    tls = draw(st.booleans()) if is_loopback(host) else True
    return RelayAddress(host, draw(st.integers(1, 65_535)), tls)


MAILBOX, SECRET, PIN = encode(b32("m")), encode(b32("s")), encode(b16("p"))
INVITE = f"kurir://relay.example/i/{MAILBOX}#{SECRET}.{PIN}"


@given(relays(), *[st.binary(min_size=32, max_size=32)] * 2, st.binary(min_size=16, max_size=16))
def test_round_trip(relay: RelayAddress, ident: bytes, secret: bytes, pin: bytes) -> None:
    invite = InviteLink(relay, MailboxId(ident), secret, pin)
    assert parse_link(str(invite)) == invite
    business = BusinessLink(relay, BusinessId(ident), pin)
    assert parse_link(f"  {business}\n") == business
    assert len(str(invite)) <= MAX_LINK
    assert RelayAddress.parse(relay.url) == relay


@given(
    relays(),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**63 - 1),
)
def test_round_trip_with_an_entry(
    relay: RelayAddress, ident: bytes, pin: bytes, entry_id: bytes, not_after: int
) -> None:
    link = BusinessLink(relay, BusinessId(ident), pin, LinkEntry(entry_id, not_after))
    assert parse_link(str(link)) == link
    assert str(link).count("?") == 1
    assert len(str(link)) <= MAX_LINK


@given(st.text(max_size=600))
def test_garbage(text: str) -> None:
    for candidate in (text, "kurir://" + text, INVITE + text, INVITE.replace("example", text)):
        try:
            link = parse_link(candidate)
        except LinkError:
            continue
        assert parse_link(str(link)) == link
    try:
        relay = RelayAddress.parse(text)
    except LinkError:
        return
    assert RelayAddress.parse(relay.url) == relay


@given(st.data())
def test_one_changed_letter_never_gives_the_same_link(data: st.DataObject) -> None:
    place = data.draw(st.integers(len("kurir://"), len(INVITE) - 1))
    letter = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = INVITE[:place] + letter + INVITE[place + 1 :]
    try:
        link = parse_link(changed)
    except LinkError:
        return
    # Hosts are read without regard to case; everything else counts.
    if link == parse_link(INVITE) and changed != INVITE:
        assert changed.lower() == INVITE.lower()
        assert place < INVITE.index("/i/")


def test_parts() -> None:
    link = parse_link(INVITE)
    assert link == InviteLink(
        RelayAddress("relay.example", 443, True), MailboxId(b32("m")), b32("s"), b16("p")
    )
    business = parse_link(f"kurir://relay.example:8443/b/{MAILBOX}#{PIN}")
    assert business == BusinessLink(
        RelayAddress("relay.example", 8443, True), BusinessId(b32("m")), b16("p")
    )


ENTRY = encode(b16("entry") + (1_800_000_000).to_bytes(8, "big"))
NEVER = encode(b16("entry") + bytes([255]) * 8)
BY_AD = f"kurir://relay.example/b/{MAILBOX}?e={ENTRY}#{PIN}"


def test_parts_of_an_entry() -> None:
    entry = LinkEntry(b16("entry"), 1_800_000_000)
    address = RelayAddress("relay.example", 443, True)
    link = BusinessLink(address, BusinessId(b32("m")), b16("p"), entry)
    assert parse_link(BY_AD) == link
    assert str(link) == BY_AD.replace("example/", "example:443/")
    local = BY_AD.replace("relay.example", "127.0.0.1:80")
    plain, forced = parse_link(local), parse_link(local.replace("?e=", "?tls=1&e="))
    assert not plain.relay.tls
    assert forced.relay.tls
    assert str(forced) == local.replace("?e=", "?tls=1&e=")


@pytest.mark.parametrize(
    "query",
    [
        "e=",
        f"e={ENTRY[:-1]}",
        f"e={ENTRY}A",
        f"e={ENTRY}=",
        f"e={ENTRY}&tls=1",
        f"e={ENTRY}&e={ENTRY}",
        f"&e={ENTRY}",
        f"tls=1e={ENTRY}",
        f"tls=1&&e={ENTRY}",
        f"tls=0&e={ENTRY}",
        "tls=1&",
        f"E={ENTRY}",
        f"e={NEVER}",
    ],
)
def test_an_entry_has_one_spelling(query: str) -> None:
    with pytest.raises(LinkError):
        parse_link(BY_AD.replace(f"e={ENTRY}", query))


def test_an_invite_has_no_entry() -> None:
    with pytest.raises(LinkError):
        parse_link(INVITE.replace("#", f"?e={ENTRY}#"))


def test_the_secret_is_not_shown() -> None:
    link = parse_link(INVITE)
    assert isinstance(link, InviteLink)
    assert repr(link.secret)[2:20] not in repr(link)
    assert SECRET not in repr(link)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kurir://",
        "kurir://relay.example",
        INVITE.replace("kurir", "https"),
        INVITE.replace("/i/", "/x/"),
        INVITE.replace("/i/", "/b/"),
        INVITE.replace("/i/", "/i/i/"),
        INVITE.replace(f".{PIN}", PIN),
        INVITE.rsplit(".", 1)[0],
        INVITE.rsplit("#", 1)[0],
        INVITE + ".x",
        INVITE[:-1],
        INVITE + "A",
        INVITE + "=",
        INVITE.replace("#", "?tls=0#"),
        INVITE.replace("#", "?\x1b[2J#"),
        INVITE.replace("relay.example", "sari@relay.example"),
        INVITE.replace("relay.example", "@relay.example"),
        INVITE.replace("relay.example", "relay .example"),
        INVITE.replace("relay.example", "relay%2fexample"),
        INVITE.replace("relay.example", "relay;example"),
        INVITE.replace("relay.example", "reläy.example"),
        INVITE.replace("relay.example", "-relay.example"),
        INVITE.replace("relay.example", "[fe80::1%25eth0]"),
        INVITE.replace("relay.example", "[::zz]"),
        INVITE.replace("relay.example", "::1"),
        INVITE.replace("relay.example", "relay.example:0"),
        INVITE.replace("relay.example", "relay.example:65536"),
        INVITE.replace("relay.example", "relay.example:-1"),
        INVITE.replace("relay.example", "relay.example:٣"),
        INVITE.replace("relay.example", "relay.example:x"),
        INVITE + "x" * MAX_LINK,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(LinkError) as caught:
        parse_link(text)
    assert "\x1b" not in str(caught.value)


def test_one_spelling_of_base64() -> None:
    # The last letter of 32 bytes carries four bits; the two below it must be zero.
    last = MAILBOX[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert decode(MAILBOX, 32) == b32("m")
    others = 0
    for letter in alphabet:
        if letter == last:
            continue
        try:
            assert decode(MAILBOX[:-1] + letter, 32) != b32("m")
            others += 1
        except LinkError:
            pass
    assert others == 15
    for text in (MAILBOX + "=", MAILBOX.replace(MAILBOX[3], "+", 1), f" {MAILBOX}", MAILBOX + "\n"):
        with pytest.raises(LinkError):
            decode(text, 32)
    with pytest.raises(LinkError):
        decode(encode(b"\xff" * 30).replace("_", "/"), 30)
    with pytest.raises(LinkError):
        decode("äää", 2)
    with pytest.raises(LinkError):
        decode(encode(bytes(31)), 32)


def test_pin() -> None:
    relay_id = RelayId(b32("relay"))
    pin = pin_of(relay_id)
    assert len(pin) == 16
    assert pin_matches(pin, relay_id)
    assert not pin_matches(pin, RelayId(b32("other")))
    assert not pin_matches(pin[:-1], relay_id)
    assert not pin_matches(b"", relay_id)
    flipped = bytes([pin[0] ^ 1]) + pin[1:]
    assert not pin_matches(flipped, relay_id)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relay.example", RelayAddress("relay.example", 443, True)),
        ("Relay.Example:99", RelayAddress("relay.example", 99, True)),
        ("wss://relay.example", RelayAddress("relay.example", 443, True)),
        ("wss://relay.example:65535/", RelayAddress("relay.example", 65_535, True)),
        ("localhost:8080", RelayAddress("localhost", 8080, False)),
        ("127.0.0.1:1", RelayAddress("127.0.0.1", 1, False)),
        ("127.8.9.1:1", RelayAddress("127.8.9.1", 1, False)),
        ("ws://127.0.0.1:8080", RelayAddress("127.0.0.1", 8080, False)),
        ("ws://[::1]:8080", RelayAddress("::1", 8080, False)),
        ("[::1]:8080", RelayAddress("::1", 8080, False)),
        ("wss://localhost:1", RelayAddress("localhost", 1, True)),
        ("192.0.2.7:5", RelayAddress("192.0.2.7", 5, True)),
        ("[2001:db8::1]", RelayAddress("2001:db8::1", 443, True)),
    ],
)
def test_addresses(text: str, expected: RelayAddress) -> None:
    assert RelayAddress.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ws://relay.example",
        "ws://192.0.2.7:80",
        "ws://127.0.0.1.example:80",
        "ws://localhost.example:80",
        "ws://[2001:db8::1]:80",
        "ws://0.0.0.0:80",
        "ws://[::]:80",
        "WS://relay.example",
        "http://relay.example",
        "kurir://relay.example",
        "wss://relay.example/path",
        "wss://relay.example?x",
        "wss://relay.example#x",
        "wss://user@relay.example",
        "wss://user:password@relay.example",
        "wss://relay.example:0",
        "wss://relay.example:99999",
        "wss://",
        "wss://[::1",
        "a b",
        "::1",
    ],
)
def test_addresses_refused(text: str) -> None:
    with pytest.raises(LinkError):
        RelayAddress.parse(text)


def test_urls() -> None:
    assert RelayAddress("::1", 80, False).url == "ws://[::1]:80/"
    assert RelayAddress("relay.example", 443, True).url == "wss://relay.example:443/"


def test_a_link_to_another_machine_always_means_tls() -> None:
    link = parse_link(INVITE)
    assert link.relay.tls
    local = parse_link(INVITE.replace("relay.example", "127.0.0.1:80"))
    assert not local.relay.tls
    forced = parse_link(INVITE.replace("relay.example", "127.0.0.1:80").replace("#", "?tls=1#"))
    assert forced.relay.tls
