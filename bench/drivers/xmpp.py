"""XMPP with stream management (XEP-0198), by which server and clients acknowledge.

The stream is read by its landmarks, not as XML: the driver sends nothing that could look like one.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable

from bench.drivers.pair import PATIENCE, Pair, Stream, connected

HOST = "localhost"
PASSWORD = "bench"  # noqa: S105, of accounts that live for one measurement
_LANDMARK = re.compile(
    rb"<message\b.*?</message>|<r\b[^>]*/>|<a\b[^>]*\bh='(\d+)'[^>]*/>|</stream:features>"
    rb"|<success[^>]*/>|<success[^>]*>.*?</success>|<iq\b.*?(?:</iq>|/>)|<enabled\b[^>]*/>"
    rb"|<failure.*?</failure>|<failed.*?</failed>|<presence\b.*?(?:</presence>|/>)",
    re.DOTALL,
)
_BODY = re.compile(rb"<body>(\d+) ")


class Xmpp(Stream):
    """One connection; ``on_stanza`` gets each landmark."""

    def __init__(self) -> None:
        super().__init__()
        self.on_stanza: Callable[[re.Match[bytes]], None] = lambda match: None

    def parse(self) -> None:
        end = 0
        data = bytes(self.buffer)
        for match in _LANDMARK.finditer(data):
            end = match.end()
            self.on_stanza(match)
        del self.buffer[:end]


class XmppPair(Pair):
    """Two accounts."""

    def __init__(self, address: str, number: int, size: int) -> None:
        super().__init__(address, number, size)
        self._filler = b"x" * (size - 9)
        self._sender: Xmpp | None = None
        self._reader: Xmpp | None = None
        self._seen = 0
        self._sent = 0
        self._confirmed = 0

    async def make(self) -> None:
        """The accounts are made together with the server."""

    async def open_sender(self) -> None:
        self._sender = await self._login(f"sender{self.number}", self._on_sender)
        self._sender.on_lost = lambda: self.lost()

    async def open_reader(self) -> None:
        self._reader = await self._login(f"reader{self.number}", self._on_reader)
        self._reader.write(b"<presence/>")

    def send(self, first: int, count: int) -> None:
        assert self._sender is not None
        to = b"reader%d@%s" % (self.number, HOST.encode())
        self._sender.write(
            b"".join(
                b"<message to='%s' type='chat'><body>%d %s</body></message>"
                % (to, number, self._filler)
                for number in range(first, first + count)
            )
            + b"<r xmlns='urn:xmpp:sm:3'/>"
        )

    def close(self) -> None:
        for each in (self._sender, self._reader):
            if each is not None:
                each.write(b"</stream:stream>")
                each.close()

    def _on_sender(self, match: re.Match[bytes]) -> None:
        if match[1] is not None:
            confirmed = int(match[1])
            new, self._confirmed = confirmed - self._confirmed, confirmed
            self.accepted(new)

    def _on_reader(self, match: re.Match[bytes]) -> None:
        assert self._reader is not None
        stanza = match[0]
        if stanza.startswith(b"<message"):
            self._seen += 1
            body = _BODY.search(stanza)
            if body is not None:
                self.received([int(body[1])])
        elif stanza.startswith(b"<r"):
            self._reader.write(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % self._seen)
        elif stanza.startswith((b"<iq", b"<presence")):
            self._seen += 1

    async def _login(self, name: str, take: Callable[[re.Match[bytes]], None]) -> Xmpp:
        link = Xmpp()
        await connected(link, self.address, self.number)
        hello = (
            f"<stream:stream to='{HOST}' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
        ).encode()
        await self._step(link, hello, b"</stream:features>")
        plain = base64.b64encode(f"\0{name}\0{PASSWORD}".encode())
        sasl = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>" % plain
        await self._step(link, sasl, b"<success")
        await self._step(link, hello, b"</stream:features>")
        bind = (
            b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            b"<resource>r</resource></bind></iq>"
        )
        await self._step(link, bind, b"<iq")
        await self._step(link, b"<enable xmlns='urn:xmpp:sm:3'/>", b"<enabled")
        link.on_stanza = take
        return link

    async def _step(self, link: Xmpp, data: bytes, wanted: bytes) -> None:
        done = asyncio.get_running_loop().create_future()

        def take(match: re.Match[bytes]) -> None:
            if match[0].startswith((b"<failure", b"<failed")):
                done.set_exception(RuntimeError(f"Prosody refused: {match[0]!r}"))
            elif match[0].startswith(wanted) and not done.done():
                done.set_result(None)

        link.on_stanza = take
        link.write(data)
        await asyncio.wait_for(done, PATIENCE)
