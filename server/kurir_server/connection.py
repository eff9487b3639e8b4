"""One connection, without any I/O: bytes come in, frames, jobs and a close come out.

``receive`` takes one WebSocket message, ``take`` gives what it led to. Jobs run in the store; their
``done`` adds more, so that whoever runs them calls ``take`` again for all that the hub touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kurir_server.blobs import counts_for, refused
from kurir_server.delivery import Deliveries, Wanted
from kurir_server.desk import Desk, parts_of
from kurir_server.limits import (
    MAX_OPEN_MAILBOXES,
    SIGNATURE_WEIGHT,
    SIGNATURES_AT_ONCE,
)
from kurir_server.mailboxes import NOT_AUTHORISED
from kurir_server.pace import Deed, Pace, too_fast
from kurir_server.questions import DEEDS, Question, answer
from kurir_server.reading import Batch, Opened
from kurir_server.representative import Representative
from kurir_server.rows import Moment, Rows
from kurir_server.services import Services
from kurir_server.submitting import Submitted
from kurir_server.work import NO_ROOM, UNAVAILABLE, Failed, Job, Output
from kurir_wire import codes
from kurir_wire.beacons import Beacon
from kurir_wire.blob_frames import BlobDelete, BlobGet, BlobNew, BlobPut, BlobRequest, BlobStatus
from kurir_wire.codec import decode
from kurir_wire.entries import NewMailbox, Opening, Result, Submission
from kurir_wire.errors import MalformedError, TooLargeError, UnknownFrameError
from kurir_wire.frames import (
    Acks,
    Create,
    Delete,
    GetInclusion,
    Open,
    Prove,
    PutCard,
    PutPreKeys,
    Register,
    Request,
    SetRefused,
    Submit,
    Welcome,
    decode_request,
)
from kurir_wire.limits import PROTOCOL_VERSION

NO_BLOBS: Final = Result(codes.UNSUPPORTED, "this relay takes no blobs")
TOO_MANY_OPEN: Final = Result(
    codes.TOO_MANY, f"one connection reads {MAX_OPEN_MAILBOXES} mailboxes"
)


class Connection:
    """The state of one socket.

    While there are ``barriers``, no further frame may be given to :meth:`receive`. ``is_taking`` is
    set from outside: whether the client takes what is sent; if not, more stays on disk.

    :param nonce: 32 fresh random bytes, which proofs on this connection sign
    :param network: an opaque name of the client's network, for rates
    """

    def __init__(self, services: Services, nonce: bytes, network: bytes) -> None:
        self._services = services
        self._nonce = nonce
        self._opened: dict[bytes, int] = {}
        self._pace = Pace(services.hub.networks, network)
        self._is_closed = False
        self.is_taking = True
        self.deliveries = Deliveries()
        self._desk = Desk(self._touch, self._pace, services.tally)
        self._business = Representative(services, self._desk, nonce)

    def greet(self, now: int, beacon: Beacon) -> None:
        """Say who this relay is, before anything else."""
        cert = self._services.keys.cert
        self._desk.send(Welcome(PROTOCOL_VERSION, cert, self._nonce, now, beacon))

    def receive(self, data: bytes | str, moment: Moment) -> None:
        """Take one message. Never raises, whatever the bytes."""
        if isinstance(data, str):
            self._desk.bad(None, codes.MALFORMED, "frames are binary messages")
            return
        try:
            request = decode_request(data)
        except TooLargeError as error:
            self._desk.bad(None, codes.TOO_LARGE, str(error))
        except UnknownFrameError as error:
            self._desk.bad(_number_of(data), codes.UNSUPPORTED, str(error))
        except MalformedError as error:
            self._desk.bad(_number_of(data), codes.MALFORMED, str(error))
        else:
            self._dispatch(request, moment)

    def take(self) -> Output:
        """All that there is to do since the last call."""
        hub = self._services.hub
        if not (self.deliveries.is_lagging and self.is_taking):
            if hub.is_in_line(self):
                hub.drained(self)
        elif hub.may_drain(self):
            wanted = self.deliveries.wanted()
            if wanted is not None:
                self._desk.push(self._fetch(wanted))
        for frame in self.deliveries.take():
            self._services.tally.delivered += len(frame.deliveries)
            self._desk.send(frame)
        return self._desk.take()

    def take_asked(self) -> Output:
        """What a frame led to by itself. Deliveries change with what jobs bring only."""
        return self._desk.take()

    @property
    def outstanding(self) -> int:
        """Requests that wait for the disk."""
        return self._desk.outstanding

    @property
    def barriers(self) -> int:
        """Those among them that the next frame has to wait for."""
        return self._desk.barriers

    def close(self) -> None:
        """The socket is gone. What it asked for is still done; nobody is told."""
        self._is_closed = True
        self._services.hub.forget(self)

    def _touch(self) -> None:
        if not self._is_closed:
            self._services.hub.touched.add(self)

    # Requests

    def _dispatch(self, request: Request, moment: Moment) -> None:
        self._desk.asked(request.n, type(request))
        if not self._services.hub.has_room and (count := _new_here(request)):
            self._desk.results(request.n, [NO_ROOM] * count)
            return
        match request:
            case Create():
                self._create(request, moment)
            case Open():
                self._open(request, moment)
            case Delete():
                self._delete(request)
            case Submit():
                self._submit(request, moment)
            case Acks():
                self._ack(request)
            case PutCard():
                self._put_card(request, moment)
            case SetRefused():
                self._set_refused(request)
            case Register():
                self._business.register(request, moment)
            case Prove():
                self._business.prove(request, moment)
            case PutPreKeys():
                self._business.put_prekeys(request, moment)
            case GetInclusion():
                self._business.include(request)
            case BlobNew() | BlobPut() | BlobStatus() | BlobGet() | BlobDelete():
                self._blob(request, moment)
            case _:
                self._ask(request, moment)

    def _ask(self, question: Question, moment: Moment) -> None:
        deed = DEEDS.get(type(question))
        slow = self._pace.all_or_none(moment, ((deed, 1),)) if deed is not None else None
        if slow is not None:
            self._desk.error(question.n, too_fast(slow))
            return
        work = answer(self._services, question, self._business.id)
        if isinstance(work, Result):
            self._desk.error(question.n, work)
        else:
            self._desk.query(question.n, work)

    def _create(self, request: Create, moment: Moment) -> None:
        nonce, mailboxes, new = self._nonce, self._services.mailboxes, request.mailboxes
        if self._desk.is_slow(request.n, moment, ((Deed.CREATE, 1), (Deed.SIGN, 1)), len(new)):
            return
        results: list[Result | None] = []

        def run(rows: Rows, moment: Moment, part: list[NewMailbox]) -> list[Result | None]:
            return mailboxes.create(rows, moment, nonce, part)

        def took(part: list[NewMailbox], outcome: Sequence[Result | None] | Failed) -> bool:
            results.extend([UNAVAILABLE] * len(part) if isinstance(outcome, Failed) else outcome)
            return True

        self._desk.in_turns(
            parts_of(new, SIGNATURES_AT_ONCE),
            run,
            took,
            lambda: self._desk.results(request.n, results),
        )

    def _open(self, request: Open, moment: Moment) -> None:
        nonce, reading = self._nonce, self._services.reading
        results: list[Result | None] = [TOO_MANY_OPEN] * len(request.mailboxes)
        within = self._within_limit(request.mailboxes)
        places: list[int] = []
        slow = self._pace.in_order(moment, [((Deed.SIGN, 1),)] * len(within))
        for place, refusal in zip(within, slow, strict=True):
            if refusal is None:
                places.append(place)
            else:
                results[place] = too_fast(refusal)

        def run(rows: Rows, moment: Moment, part: list[int]) -> list[Opened | Result]:
            return reading.open(rows, moment, nonce, [request.mailboxes[place] for place in part])

        def took(part: list[int], outcome: list[Opened | Result] | Failed) -> bool:
            if self._is_closed:
                return False
            found = [UNAVAILABLE] * len(part) if isinstance(outcome, Failed) else outcome
            for place, opened in zip(part, found, strict=True):
                if isinstance(opened, Result):
                    results[place] = opened
                    continue
                results[place] = Result(codes.OK, left=opened.waiting) if opened.waiting else None
                self._opened[opened.mailbox_id] = opened.row
                self._services.hub.reads(opened.row, self)
                self.deliveries.open(opened)
            return True

        self._desk.in_turns(
            parts_of(places, SIGNATURES_AT_ONCE),
            run,
            took,
            lambda: self._desk.results(request.n, results),
            barrier=True,
        )

    def _within_limit(self, openings: list[Opening]) -> list[int]:
        """The places of those that this connection may still open. One that is open already takes
        no room and makes none."""
        room = MAX_OPEN_MAILBOXES - len(self._opened)
        new: set[bytes] = set()
        places: list[int] = []
        for place, opening in enumerate(openings):
            if opening.mailbox_id not in self._opened:
                if opening.mailbox_id not in new and len(new) >= room:
                    continue
                new.add(opening.mailbox_id)
            places.append(place)
        return places

    def _delete(self, request: Delete) -> None:
        mailboxes, hub = self._services.mailboxes, self._services.hub
        rows_to_go = [self._opened.get(mailbox_id) for mailbox_id in request.mailboxes]
        known = [row for row in rows_to_go if row is not None]

        def done(outcome: Failed | None) -> None:
            if isinstance(outcome, Failed):
                self._desk.results(request.n, [UNAVAILABLE] * len(rows_to_go))
                return
            hub.gone(known)
            for mailbox_id in request.mailboxes:
                self._opened.pop(mailbox_id, None)
            self._desk.results(
                request.n, [NOT_AUTHORISED if r is None else None for r in rows_to_go]
            )

        self._desk.run(lambda rows, moment: mailboxes.delete(rows, known), done, barrier=True)

    def _submit(self, request: Submit, moment: Moment) -> None:
        submitting, hub, network = self._services.submitting, self._services.hub, self._pace.network
        entries = self._pace.limit(request.submissions, moment)
        charges = [
            place
            for place, entry in enumerate(entries)
            if isinstance(entry, Submission) and entry.charge is not None
        ]

        def done(outcome: Submitted | Failed) -> None:
            if isinstance(outcome, Failed):
                self._pace.give_back(moment, Deed.CHARGE, len(charges))
                self._desk.results(request.n, [UNAVAILABLE] * len(entries))
                return
            results = outcome.results
            if charges:
                accepted = sum(_is_ok(results[place]) for place in charges)
                self._pace.give_back(moment, Deed.CHARGE, accepted)
            self._desk.results(request.n, results)
            self._services.tally.submitted(outcome)
            hub.arrived(outcome.arrivals)

        weight = sum([len(entry.body) for entry in request.submissions])
        self._desk.run(
            lambda rows, moment: submitting.submit(rows, moment, entries, network, hub.is_level),
            done,
            # A charge has two signatures: of its lane, and its own.
            weight + 2 * SIGNATURE_WEIGHT * len(charges),
        )

    def _ack(self, request: Acks) -> None:
        reading, hub = self._services.reading, self._services.hub
        acks = [(self._opened.get(ack.mailbox_id), ack) for ack in request.acks]

        def done(outcome: list[Result | None] | Failed) -> None:
            if isinstance(outcome, Failed):
                self._desk.results(request.n, [UNAVAILABLE] * len(acks))
                return
            self._desk.results(request.n, outcome)
            for row, ack in acks:
                if row is not None:
                    self._services.tally.acknowledged += 1
                    hub.acked(row, ack.envelope_id)

        self._desk.run(lambda rows, moment: reading.ack(rows, moment, acks), done)

    def _put_card(self, request: PutCard, moment: Moment) -> None:
        mailboxes, card = self._services.mailboxes, request.card
        row = self._opened.get(request.mailbox_id)
        if row is None:
            self._desk.results(request.n, [NOT_AUTHORISED])
        elif not self._desk.is_slow(request.n, moment, ((Deed.STORE, len(card)),)):
            self._desk.command(
                request.n,
                lambda rows, moment: mailboxes.put_card(rows, moment, row, card),
                len(card),
            )

    def _set_refused(self, request: SetRefused) -> None:
        mailboxes, categories = self._services.mailboxes, request.categories
        row = self._opened.get(request.mailbox_id)
        if row is None:
            self._desk.results(request.n, [NOT_AUTHORISED])
            return
        self._desk.command(
            request.n, lambda rows, moment: mailboxes.set_refused(rows, row, categories)
        )

    def _blob(self, request: BlobRequest, moment: Moment) -> None:
        """One at a time, so that a connection holds no more chunks in memory than one frame."""
        blobs = self._services.blobs
        if blobs is None:
            self._desk.error(request.n, NO_BLOBS)
            return
        slow = self._pace.all_or_none(moment, ((Deed.CHUNK, 1),), counts_for(request))
        if slow is not None:
            self._desk.answer(refused(request, too_fast(slow)))
            return
        self._desk.run_blobs(blobs.work(request, self._pace.network))

    def _fetch(self, wanted: Wanted) -> Job:
        reading = self._services.reading

        def done(outcome: list[Batch] | Failed) -> None:
            self._services.hub.drained(self)
            self.deliveries.fetched(wanted, None if isinstance(outcome, Failed) else outcome)
            if not isinstance(outcome, Failed):
                self._touch()

        return Job(
            lambda rows, moment: reading.fetch(
                rows, moment, wanted.rows, wanted.count, wanted.size
            ),
            done,
        )


def _new_here(request: Request) -> int:
    """How many results a request has that brings something new to the disk; 0 for others."""
    match request:
        case Create(mailboxes=entries) | Submit(submissions=entries):
            return len(entries)
        case BlobNew(blobs=brought) | BlobPut(chunks=brought):
            return len(brought)
        case PutCard() | Register() | PutPreKeys():
            return 1
        case _:
            return 0


def _is_ok(result: Result | None) -> bool:
    return result is None or result.code == codes.OK


def _number_of(data: bytes) -> int | None:
    """The number of a frame that is otherwise not in order."""
    try:
        value = decode(data)
    except MalformedError:
        return None
    if not isinstance(value, list) or len(value) < 2:
        return None
    n = value[1]
    return n if type(n) is int and 0 <= n <= 0xFFFF_FFFF else None
