"""kurir: metered envelopes into the mailbox of a business's customer, settled as they are read."""

from __future__ import annotations

import hashlib

from bench.drivers.kurir import KurirPair
from bench.million.business import Business, Customer, Sent
from kurir_billing.answers import Receipt, open_receipt
from kurir_crypto.keys import SigningKeyPair
from kurir_server.rows import Mailbox
from kurir_wire import entries, frames, proofs
from kurir_wire.gates import payer_gate
from kurir_wire.ids import HOUR, MailboxId, mailbox_id_of

MARKET = "ID"


class MeteredPair(KurirPair):
    """The sender is the business; the reader is the customer. What is sent was signed before, so
    that the load costs little while it is measured."""

    def __init__(self, address: str, number: int, size: int, business: Business) -> None:
        super().__init__(address, number, size)
        self.business = business
        self.customer: Customer | None = None
        self.receipts: list[Receipt] = []
        self._ready: dict[bytes, Sent] = {}
        self._order: list[Sent] = []

    def load(self, sent: list[Sent]) -> None:
        """What :meth:`send` sends from number 0 on."""
        self._order = sent
        self._ready.update((one.sealed.submission.envelope_id, one) for one in sent)

    async def make(self) -> None:
        reader, welcome = await self._connect()
        seed = hashlib.sha256(b"metered %d" % self.number).digest()
        key, opening = SigningKeyPair.from_seed(seed), hashlib.sha256(seed).digest()
        gate, hour = payer_gate(self.business.id, MARKET, opening), welcome.now // HOUR
        relay_id = welcome.cert.relay_id
        made = key.sign(proofs.create_message(relay_id, welcome.nonce, gate, hour))
        new = entries.NewMailbox(key.public, gate, hour, made)
        await self._ask(reader, lambda n: frames.Create(n, [new]))
        self._mailbox = mailbox_id_of(relay_id, key.public, gate, hour)
        mailbox = Mailbox(0, MailboxId(self._mailbox), key.public, gate, 0, 0, 0, 0, 0, 0, 0)
        self.customer = Customer(key, mailbox, opening, hour, MARKET)
        reader.close()

    def _sign(self, message: bytes) -> bytes:
        assert self.customer is not None
        return self.customer.key.sign(message)

    def send(self, first: int, count: int) -> None:
        assert self._sender is not None
        some = self._order[first : first + count]
        self._n += 1
        self._counts[self._n] = count
        self._sender.send(frames.Submit(self._n, [one.sealed.submission for one in some]))

    def _take(self, frame: frames.Push) -> None:
        match frame:
            case frames.Deliver(deliveries):
                assert self._reader is not None
                self._n += 1
                acks = [
                    entries.Ack(
                        self._mailbox, each.envelope_id, self._ready[each.envelope_id].secret
                    )
                    for each in deliveries
                ]
                self._reader.send(frames.Acks(self._n, acks))
                self.received([0] * len(deliveries))
            case frames.Results(n, results) if n in self._counts:
                for result in results:
                    if result is None or result.code != "ok" or result.data is None:
                        raise RuntimeError(f"the relay refused: {result}")
                    self.receipts.append(open_receipt(result.data))
                self.accepted(self._counts.pop(n))
            case frames.Results(n, results) if n not in self._answers and any(results):
                raise RuntimeError(f"the relay did not settle: {results}")
            case _:
                super()._take(frame)
