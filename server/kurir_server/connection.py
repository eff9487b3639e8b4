"""One connection, without any I/O: bytes come in, frames, jobs and a close come out.

``receive`` takes one WebSocket message, ``take`` gives what it led to. Jobs run in the store; their
``done`` adds more, so that whoever runs them calls ``take`` again for all that the hub touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kurir_server.blobs import Work
from kurir_server.delivery import Deliveries, Wanted
from kurir_server.limits import (
    MAX_BAD_FRAMES,
    MAX_OPEN_MAILBOXES,
)
from kurir_server.pace import Pace, too_fast
from kurir_server.questions import NOT_PROVED, RATES, Question, answer
from kurir_server.relay import NOT_AUTHORISED, Batch, Opened, Submitted
from kurir_server.rows import Moment, Rows
from kurir_server.services import Services
from kurir_server.work import UNAVAILABLE, BlobJob, Failed, Job, Output
from kurir_wire import codes
from kurir_wire.beacons import Beacon
from kurir_wire.blob_frames import BlobDelete, BlobGet, BlobNew, BlobPut, BlobRequest, BlobStatus
from kurir_wire.codec import decode
from kurir_wire.entries import Opening, Result
from kurir_wire.errors import MalformedError, TooLargeError, UnknownFrameError
from kurir_wire.frames import (
    Acks,
    Create,
    Delete,
    Error,
    GetBusiness,
    Open,
    Prove,
    Push,
    PutCard,
    PutPreKeys,
    Register,
    Request,
    Results,
    Submit,
    Welcome,
    decode_request,
    encode,
)
from kurir_wire.ids import BusinessId
from kurir_wire.limits import MAX_TEXT_DETAIL, PROTOCOL_VERSION

POLICY: Final = 1008
"""The WebSocket close code for a client that keeps breaking the protocol."""
NO_BLOBS: Final = Result(codes.UNSUPPORTED, "this relay takes no blobs")
TOO_MANY_OPEN: Final = Result(
    codes.TOO_MANY, f"one connection reads {MAX_OPEN_MAILBOXES} mailboxes"
)


class Connection:
    """The state of one socket.

    ``outstanding`` requests wait for the disk; while there are ``barriers`` among them, no further
    frame may be given to :meth:`receive`.

    :param nonce: 32 fresh random bytes, which proofs on this connection sign
    :param network: an opaque name of the client's network, for rates
    """

    def __init__(self, services: Services, nonce: bytes, network: bytes) -> None:
        self._services = services
        self._nonce = nonce
        self._network = network
        self._output = Output()
        self._opened: dict[bytes, int] = {}
        self._business: BusinessId | None = None
        self._bad_frames = 0
        self._pace = Pace()
        self._is_closed = False
        self.deliveries = Deliveries()
        self.outstanding = 0
        self.barriers = 0

    def greet(self, now: int, beacon: Beacon) -> None:
        """Say who this relay is, before anything else."""
        cert = self._services.keys.cert
        self._send(Welcome(PROTOCOL_VERSION, cert, self._nonce, now, beacon))

    def receive(self, data: bytes | str, moment: Moment) -> None:
        """Take one message. Never raises, whatever the bytes."""
        if isinstance(data, str):
            self._bad(None, codes.MALFORMED, "frames are binary messages")
            return
        try:
            request = decode_request(data)
        except TooLargeError as error:
            self._bad(None, codes.TOO_LARGE, str(error))
        except UnknownFrameError as error:
            self._bad(_number_of(data), codes.UNSUPPORTED, str(error))
        except MalformedError as error:
            self._bad(_number_of(data), codes.MALFORMED, str(error))
        else:
            self._dispatch(request, moment)

    def take(self) -> Output:
        """All that there is to do since the last call."""
        wanted = self.deliveries.wanted()
        if wanted is not None:
            self._output.jobs.append(self._fetch(wanted))
        for frame in self.deliveries.take():
            self._send(frame)
        output, self._output = self._output, Output()
        return output

    def close(self) -> None:
        """The socket is gone. What it asked for is still done; nobody is told."""
        self._is_closed = True
        self._services.hub.forget(self)

    # Requests

    def _dispatch(self, request: Request, moment: Moment) -> None:
        nonce, relay, registry = self._nonce, self._services.relay, self._services.registry
        match request:
            case Create(n, new):
                slow = self._services.hub.create_rate.take(self._network, moment.tick, len(new))
                if slow is not None:
                    self._results(n, [too_fast(slow)] * len(new))
                    return
                self._command(
                    n, len(new), lambda rows, moment: relay.create(rows, moment, nonce, new)
                )
            case Open():
                self._open(request)
            case Delete():
                self._delete(request)
            case Submit():
                self._submit(request, moment)
            case Acks():
                self._ack(request)
            case PutCard(n, mailbox_id, card):
                row = self._opened.get(mailbox_id)
                if row is None:
                    self._results(n, [NOT_AUTHORISED])
                    return
                self._command(
                    n, 1, lambda rows, moment: [relay.put_card(rows, moment, row, card)], len(card)
                )
            case Register(n):
                slow = self._services.hub.create_rate.take(self._network, moment.tick)
                if slow is not None:
                    self._results(n, [too_fast(slow)])
                    return
                self._command(
                    n, 1, lambda rows, moment: [registry.register(rows, moment, nonce, request)]
                )
            case Prove():
                self._prove(request)
            case PutPreKeys(n, ec, kem):
                business_id = self._business
                if business_id is None:
                    self._results(n, [NOT_PROVED])
                    return
                self._command(
                    n, 1, lambda rows, moment: [registry.put_prekeys(rows, business_id, ec, kem)]
                )
            case BlobNew() | BlobPut() | BlobStatus() | BlobGet() | BlobDelete():
                self._blob(request, moment)
            case _:
                self._ask(request, moment)

    def _ask(self, question: Question, moment: Moment) -> None:
        slow = None
        rate = RATES.get(type(question))
        if rate is not None:
            _, slow = self._pace.allow(rate, moment, 1)
        # Its own rate first: what that refuses costs others of the network nothing.
        if slow is None and isinstance(question, GetBusiness):
            slow = self._services.hub.directory_rate.take(self._network, moment.tick)
        if slow is not None:
            self._error(question.n, too_fast(slow))
            return
        work = answer(self._services, question, self._business)
        if isinstance(work, Result):
            self._error(question.n, work)
        else:
            self._query(question.n, work)

    def _open(self, request: Open) -> None:
        nonce, relay = self._nonce, self._services.relay
        wanted, places = self._within_limit(request.mailboxes)

        def done(outcome: list[Opened | Result] | Failed) -> None:
            if isinstance(outcome, Failed):
                self._results(request.n, [UNAVAILABLE] * len(request.mailboxes))
                return
            if self._is_closed:
                return
            results: list[Result | None] = [TOO_MANY_OPEN] * len(request.mailboxes)
            for place, opened in zip(places, outcome, strict=True):
                if isinstance(opened, Result):
                    results[place] = opened
                    continue
                results[place] = Result(codes.OK, left=opened.waiting) if opened.waiting else None
                self._opened[opened.mailbox_id] = opened.row
                self._services.hub.reads(opened.row, self)
                self.deliveries.open(opened)
            self._results(request.n, results)

        self._run(lambda rows, moment: relay.open(rows, moment, nonce, wanted), done, barrier=True)

    def _within_limit(self, openings: list[Opening]) -> tuple[list[Opening], list[int]]:
        """Those that this connection may still open, and their places. One that is open already
        takes no room and makes none."""
        room = MAX_OPEN_MAILBOXES - len(self._opened)
        new: set[bytes] = set()
        places: list[int] = []
        for place, opening in enumerate(openings):
            if opening.mailbox_id not in self._opened:
                if opening.mailbox_id not in new and len(new) >= room:
                    continue
                new.add(opening.mailbox_id)
            places.append(place)
        return [openings[place] for place in places], places

    def _delete(self, request: Delete) -> None:
        relay, hub = self._services.relay, self._services.hub
        rows_to_go = [self._opened.get(mailbox_id) for mailbox_id in request.mailboxes]
        known = [row for row in rows_to_go if row is not None]

        def done(outcome: Failed | None) -> None:
            if isinstance(outcome, Failed):
                self._results(request.n, [UNAVAILABLE] * len(rows_to_go))
                return
            hub.gone(known)
            for mailbox_id in request.mailboxes:
                self._opened.pop(mailbox_id, None)
            self._results(request.n, [NOT_AUTHORISED if r is None else None for r in rows_to_go])

        self._run(lambda rows, moment: relay.delete(rows, known), done, barrier=True)

    def _submit(self, request: Submit, moment: Moment) -> None:
        relay, hub = self._services.relay, self._services.hub
        entries = self._pace.limit(request.submissions, moment)

        def done(outcome: Submitted | Failed) -> None:
            if isinstance(outcome, Failed):
                self._results(request.n, [UNAVAILABLE] * len(entries))
                return
            self._results(request.n, outcome.results)
            hub.arrived(outcome.arrivals)

        weight = sum(len(entry.body) for entry in request.submissions)
        self._run(lambda rows, moment: relay.submit(rows, moment, entries), done, weight)

    def _ack(self, request: Acks) -> None:
        relay, hub = self._services.relay, self._services.hub
        acks = [(self._opened.get(ack.mailbox_id), ack) for ack in request.acks]

        def done(outcome: list[Result | None] | Failed) -> None:
            if isinstance(outcome, Failed):
                self._results(request.n, [UNAVAILABLE] * len(acks))
                return
            self._results(request.n, outcome)
            for row, ack in acks:
                if row is not None:
                    hub.acked(row, ack.envelope_id)

        self._run(lambda rows, moment: relay.ack(rows, moment, acks), done)

    def _prove(self, request: Prove) -> None:
        nonce, registry = self._nonce, self._services.registry

        def done(outcome: Result | Failed | None) -> None:
            if outcome is None:
                self._business = BusinessId(request.business_id)
            self._results(request.n, [UNAVAILABLE if isinstance(outcome, Failed) else outcome])

        self._run(
            lambda rows, moment: registry.prove(rows, moment, nonce, request), done, barrier=True
        )

    def _blob(self, request: BlobRequest, moment: Moment) -> None:
        """One at a time, so that a connection holds no more chunks in memory than one frame."""
        blobs = self._services.blobs
        if blobs is None:
            self._error(request.n, NO_BLOBS)
            return
        work = blobs.answer(request, self._network, moment)
        if not isinstance(work, Work):
            self._send(work)
            return

        def done(outcome: Push | Failed) -> None:
            self.outstanding -= 1
            self.barriers -= 1
            if not self._is_closed:
                self._send(work.failed if isinstance(outcome, Failed) else outcome)
                self._services.hub.touched.add(self)

        self.outstanding += 1
        self.barriers += 1
        self._output.blob_jobs.append(BlobJob(work.run, done, work.weight))

    def _fetch(self, wanted: Wanted) -> Job:
        relay = self._services.relay

        def done(outcome: list[Batch] | Failed) -> None:
            self.deliveries.fetched(wanted, None if isinstance(outcome, Failed) else outcome)
            if not isinstance(outcome, Failed) and not self._is_closed:
                self._services.hub.touched.add(self)

        return Job(
            lambda rows, moment: relay.fetch(rows, moment, wanted.rows, wanted.count, wanted.size),
            done,
        )

    # Answers

    def _command(
        self,
        n: int,
        count: int,
        run: Callable[[Rows, Moment], list[Result | None]],
        weight: int = 0,
    ) -> None:
        """A request whose reply is ``results`` with ``count`` entries."""

        def done(outcome: list[Result | None] | Failed) -> None:
            self._results(n, [UNAVAILABLE] * count if isinstance(outcome, Failed) else outcome)

        self._run(run, done, weight)

    def _query(self, n: int, run: Callable[[Rows, Moment], Push | Result]) -> None:
        """A request with a reply of its own; ``error`` if there is none to give."""

        def done(outcome: Push | Result | Failed) -> None:
            if isinstance(outcome, Failed):
                self._error(n, UNAVAILABLE)
            elif isinstance(outcome, Result):
                self._error(n, outcome)
            else:
                self._send(outcome)

        self._run(run, done)

    def _run(
        self,
        run: Callable[[Rows, Moment], object],
        done: Callable[..., None],
        weight: int = 0,
        barrier: bool = False,
    ) -> None:
        def done_and_touch(outcome: object) -> None:
            self.outstanding -= 1
            self.barriers -= barrier
            done(outcome)
            if not self._is_closed:
                self._services.hub.touched.add(self)

        self.outstanding += 1
        self.barriers += barrier
        self._output.jobs.append(Job(run, done_and_touch, weight, barrier))

    def _bad(self, n: int | None, code: str, detail: str) -> None:
        self._error(n, Result(code, detail[:MAX_TEXT_DETAIL]))
        self._bad_frames += 1
        if self._bad_frames >= MAX_BAD_FRAMES:
            self._output.close = (POLICY, "too many malformed frames")

    def _results(self, n: int, results: list[Result | None]) -> None:
        self._send(Results(n, results))

    def _error(self, n: int | None, result: Result) -> None:
        self._send(Error(n, result))

    def _send(self, frame: Push) -> None:
        self._output.frames.append(encode(frame))


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
