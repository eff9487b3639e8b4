"""Links: how people meet and how a business is reached.

::

    kurir://HOST[:PORT]/i/MAILBOX#SECRET.PIN      an invite, single use
    kurir://HOST[:PORT]/b/BUSINESS#PIN            click to chat
    kurir://HOST[:PORT]/b/BUSINESS?e=ENTRY#PIN    click to chat, by an ad or link of the business

All parts are base64url without padding. PIN is the first 16 bytes of the relay's id, so that a link
reaches the relay that its maker meant or none. What stands behind ``#`` never goes to a server.
Loopback hosts are reached without TLS unless the link says ``?tls=1`` (before an entry:
``?tls=1&e=ENTRY``); all others only with it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from kurir_wire.errors import LinkError
from kurir_wire.ids import BusinessId, MailboxId, RelayId, u64

PIN_BYTES: Final = 16
ENTRY_ID_BYTES: Final = 16
DEFAULT_PORT: Final = 443
MAX_LINK: Final = 512
"""Characters: three times the longest link with a 64-character host."""
LAST_SECOND: Final = 0x7FFF_FFFF_FFFF_FFFF
"""The latest time that structures hold."""
_QUERY: Final = re.compile(r"(?P<tls>tls=1)?((?(tls)&)e=(?P<entry>[^&]*))?")
_HOST_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9.])?")


def is_loopback(host: str) -> bool:
    """Whether traffic to this host stays on this computer."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where a relay listens, and whether with TLS."""

    host: str
    port: int
    tls: bool

    @property
    def url(self) -> str:
        """The WebSocket address."""
        return f"{'wss' if self.tls else 'ws'}://{self.authority}/"

    @property
    def authority(self) -> str:
        """HOST:PORT, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> RelayAddress:
        """From ``HOST:PORT``, ``wss://HOST[:PORT]`` or, for loopback only, ``ws://HOST:PORT``.

        :raises LinkError: no usable address, or plain ws:// to another machine
        """
        parts = _split(text if "://" in text else f"auto://{text}")
        host, port = _host_port(parts)
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise LinkError("a relay address ends with its port; this has something behind it")
        if parts.scheme not in ("auto", "ws", "wss"):
            raise LinkError(f"a relay address is HOST:PORT or wss://HOST, not {parts.scheme}://")
        if parts.scheme == "ws" and not is_loopback(host):
            raise LinkError(
                "plain ws:// is for this computer only, as the network would see what you fetch; "
                "use wss://"
            )
        tls = parts.scheme == "wss" or (parts.scheme == "auto" and not is_loopback(host))
        return cls(host, port, tls)


@dataclass(frozen=True, slots=True)
class InviteLink:
    """How two people meet: where the card waits, and the secret that opens it."""

    relay: RelayAddress
    mailbox_id: MailboxId
    secret: bytes = field(repr=False)
    pin: bytes

    def __str__(self) -> str:
        return _format(
            self.relay, "i", self.mailbox_id, f"{encode(self.secret)}.{encode(self.pin)}"
        )


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """The ad or link by which a customer comes, as its entry ticket names it: 16 bytes, and the
    second from which it no longer counts."""

    entry_id: bytes
    not_after: int

    def __str__(self) -> str:
        return encode(self.entry_id + u64(self.not_after))

    @classmethod
    def parse(cls, text: str) -> LinkEntry:
        """:raises LinkError: not an entry"""
        data = decode(text, ENTRY_ID_BYTES + 8)
        not_after = int.from_bytes(data[ENTRY_ID_BYTES:], "big")
        if not_after > LAST_SECOND:
            raise LinkError("the link is damaged; ask for it again and paste it whole")
        return cls(data[:ENTRY_ID_BYTES], not_after)


@dataclass(frozen=True, slots=True)
class BusinessLink:
    """How a business is reached; ``entry`` if by an ad or link that the operator signed for."""

    relay: RelayAddress
    business_id: BusinessId
    pin: bytes
    entry: LinkEntry | None = None

    def __str__(self) -> str:
        return _format(self.relay, "b", self.business_id, encode(self.pin), self.entry)


def pin_of(relay_id: RelayId) -> bytes:
    """What a link keeps of the relay's id."""
    return relay_id[:PIN_BYTES]


def pin_matches(pin: bytes, relay_id: RelayId) -> bool:
    """Whether a relay is the one that the link meant."""
    return hmac.compare_digest(pin, pin_of(relay_id))


def parse_link(text: str) -> InviteLink | BusinessLink:
    """Read a link that a person pasted.

    :raises LinkError: with what is wrong and what to do
    """
    text = text.strip()
    if len(text) > MAX_LINK:
        raise LinkError("this is longer than any kurir link; paste the link alone")
    parts = _split(text)
    if parts.scheme != "kurir":
        raise LinkError("a kurir link starts with kurir://")
    query = _QUERY.fullmatch(parts.query)
    if query is None:
        raise LinkError(
            f"the part ?{parts.query[:20]!r} is unknown; a newer kurir may understand it"
        )
    host, port = _host_port(parts)
    relay = RelayAddress(host, port, not is_loopback(host) or query["tls"] is not None)
    entry = None if query["entry"] is None else LinkEntry.parse(query["entry"])
    match parts.path.strip("/").split("/"):
        case ["i", mailbox] if parts.fragment.count(".") == 1 and entry is None:
            secret, pin = parts.fragment.split(".")
            return InviteLink(
                relay, MailboxId(decode(mailbox, 32)), decode(secret, 32), decode(pin, PIN_BYTES)
            )
        case ["b", business] if "." not in parts.fragment:
            pin_bytes = decode(parts.fragment, PIN_BYTES)
            return BusinessLink(relay, BusinessId(decode(business, 32)), pin_bytes, entry)
        case _:
            raise LinkError("the link is incomplete; ask for it again and paste it whole")


def encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str, length: int) -> bytes:
    """base64url without padding, of exactly ``length`` bytes, in its one canonical spelling.

    :raises LinkError: anything else
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise LinkError(
            "the link has characters that do not belong there; paste it again"
        ) from error
    if len(data) != length or encode(data) != text:
        raise LinkError("the link is cut short or damaged; ask for it again and paste it whole")
    return data


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise LinkError("this is not an address; it should look like kurir://host/…") from error


def _host_port(parts: SplitResult) -> tuple[str, int]:
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise LinkError("the port is not a number from 1 to 65535") from error
    if parts.username is not None or host is None or not _is_host(host):
        raise LinkError("the relay's host is missing or has characters that do not belong there")
    if port == 0:
        raise LinkError("the port is not a number from 1 to 65535")
    return host, port or DEFAULT_PORT


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _HOST_NAME.fullmatch(host) is not None
    try:
        return "%" not in host and ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _format(
    relay: RelayAddress, kind: str, ident: bytes, fragment: str, entry: LinkEntry | None = None
) -> str:
    parts = ["tls=1"] if relay.tls and is_loopback(relay.host) else []
    if entry is not None:
        parts.append(f"e={entry}")
    query = "?" + "&".join(parts) if parts else ""
    return f"kurir://{relay.authority}/{kind}/{encode(ident)}{query}#{fragment}"
