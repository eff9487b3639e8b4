"""A client that speaks frames over a socket, for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from kurir_wire.beacons import Beacon
from kurir_wire.entries import Ack, Delivery, Result, Submission
from kurir_wire.frames import (
    Acks,
    BeaconIs,
    Create,
    Deliver,
    Error,
    GetBeacon,
    Open,
    Push,
    Register,
    Request,
    Results,
    Submit,
    Welcome,
    decode_push,
    encode,
)
from kurir_wire.ids import RelayId
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL
from tests.server.helpers import Box, Shop


class Client:
    """One connection that asks and is told, and keeps what is delivered."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.n = 0
        self.delivered: list[Delivery] = []
        self.welcome: Welcome
        self._waiting: list[Push] = []

    @property
    def relay_id(self) -> RelayId:
        return self.welcome.cert.relay_id

    @property
    def nonce(self) -> bytes:
        return self.welcome.nonce

    @property
    def now(self) -> int:
        return self.welcome.now

    async def read(self, seconds: float = 10) -> Push:
        """The next frame of any kind."""
        data = await asyncio.wait_for(self.socket.recv(), seconds)
        assert isinstance(data, bytes)
        frame = decode_push(data)
        if isinstance(frame, Deliver):
            self.delivered.extend(frame.deliveries)
        return frame

    async def send(self, request: Request) -> None:
        await self.socket.send(encode(request))

    async def ask(self, request: Request) -> Any:
        """The reply to a request; deliveries that come first are kept."""
        await self.send(request)
        while True:
            frame = await self.read()
            if not isinstance(frame, Deliver):
                assert getattr(frame, "n", None) == request.n, frame
                return frame

    def next(self) -> int:
        self.n += 1
        return self.n

    async def results(self, request: Request) -> list[Result | None]:
        reply = await self.ask(request)
        assert isinstance(reply, Results), reply
        return reply.results

    async def codes(self, request: Request) -> list[str]:
        return ["ok" if r is None else r.code for r in await self.results(request)]

    async def error(self, request: Request) -> Result:
        reply = await self.ask(request)
        assert isinstance(reply, Error), reply
        return reply.result

    async def create(self, *boxes: Box) -> list[str]:
        return await self.codes(Create(self.next(), [box.new(self.nonce) for box in boxes]))

    async def open(self, *boxes: Box) -> list[str]:
        return await self.codes(Open(self.next(), [box.opening(self.nonce) for box in boxes]))

    async def submit(self, *submissions: Submission) -> list[Result | None]:
        return await self.results(Submit(self.next(), list(submissions)))

    async def ack(self, *acks: Ack) -> list[Result | None]:
        return await self.results(Acks(self.next(), list(acks)))

    async def take(self, count: int, seconds: float = 10) -> list[Delivery]:
        """Wait until ``count`` envelopes are there, and take them."""
        while len(self.delivered) < count:
            frame = await self.read(seconds)
            assert isinstance(frame, Deliver), frame
        taken, self.delivered = self.delivered[:count], self.delivered[count:]
        return taken

    async def nothing(self, seconds: float = 0.3) -> None:
        """Nothing more comes."""
        assert not self.delivered
        with contextlib.suppress(TimeoutError):
            raise AssertionError(await self.read(seconds))

    async def beacon(self) -> Beacon:
        reply = await self.ask(GetBeacon(self.next()))
        assert isinstance(reply, BeaconIs)
        return reply.beacon

    async def register(self, shop: Shop, card: bytes) -> str:
        return (await self.codes(Register(self.next(), card, shop.address.new(self.nonce))))[0]

    async def prove(self, shop: Shop) -> str:
        return (await self.codes(shop.prove(self.nonce, self.next())))[0]


@contextlib.asynccontextmanager
async def raw(address: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A socket on which nothing was read yet, the greeting included.

    :param options: of the library's ``connect``; ``ssl`` for TLS
    """
    values: dict[str, Any] = {
        "subprotocols": [SUBPROTOCOL],
        "compression": None,
        "proxy": None,
        "max_size": MAX_FRAME,
    }
    scheme = "wss" if "ssl" in options else "ws"
    async with connect(f"{scheme}://{address}/", **(values | options)) as socket:
        yield socket


@contextlib.asynccontextmanager
async def welcomed(address: str, **options: Any) -> AsyncIterator[Client]:
    """A connection that has been welcomed. :param options: as for :func:`raw`"""
    async with raw(address, **options) as socket:
        client = Client(socket)
        welcome = await client.read()
        assert isinstance(welcome, Welcome)
        client.welcome = welcome
        yield client


async def mailbox(client: Client) -> Box:
    box = Box.personal(client.relay_id, client.now)
    assert await client.create(box) == ["ok"]
    return box


async def business(client: Client) -> tuple[Shop, Box, bytes]:
    """A registered shop, not approved yet, and a customer's mailbox that is open here."""
    shop = Shop(client.relay_id, client.now)
    assert await client.register(shop, shop.card()) == "ok"
    box, opening = shop.customer(client.now)
    assert await client.create(box) == ["ok"]
    assert await client.open(box) == ["ok"]
    return shop, box, opening
