"""The desk of one connection: jobs go out over it, and answers come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from kurir_server.blobs import Answer, Work
from kurir_server.limits import MAX_BAD_FRAMES, SIGNATURE_WEIGHT
from kurir_server.pace import Cost, Pace, too_fast
from kurir_server.rows import Moment, Rows
from kurir_server.tally import Tally
from kurir_server.work import UNAVAILABLE, BlobJob, Failed, Job, Output
from kurir_wire.entries import Result
from kurir_wire.frames import Error, Push, Request, Results, encode
from kurir_wire.limits import MAX_TEXT_DETAIL

T = TypeVar("T")
R = TypeVar("R")

POLICY: Final = 1008
"""The WebSocket close code for a client that keeps breaking the protocol."""


class Desk:
    """What a connection has asked for and not got yet, and what is to be sent.

    ``outstanding`` jobs wait for the disk; while there are ``barriers`` among them, the connection
    takes no further frame.

    :param touch: called when a job is done: there may be something to send
    """

    def __init__(self, touch: Callable[[], None], pace: Pace, tally: Tally) -> None:
        self.outstanding = 0
        self.barriers = 0
        self._touch = touch
        self._pace = pace
        self._output = Output()
        self._bad_frames = 0
        self._tally = tally
        self._asked: dict[int, type[Request]] = {}

    def asked(self, n: int, kind: type[Request]) -> None:
        """A request came; its answer is counted by its kind."""
        self._asked[n] = kind

    def take(self) -> Output:
        """All that there is to do since the last call."""
        output, self._output = self._output, Output()
        return output

    def push(self, job: Job) -> None:
        """A job that nobody waits for."""
        self._output.jobs.append(job)

    def is_slow(self, n: int, moment: Moment, cost: Cost, count: int = 1) -> bool:
        """Whether a request is too fast: then it was refused, for ``count`` things at ``cost``."""
        slow = self._pace.all_or_none(moment, cost, count)
        if slow is not None:
            self.results(n, [too_fast(slow)] * count)
        return slow is not None

    # Jobs

    def run(
        self,
        run: Callable[[Rows, Moment], object],
        done: Callable[..., None],
        weight: int = 0,
        barrier: bool = False,
    ) -> None:
        """Have something done in the store, then ``done``."""

        def done_and_touch(outcome: object) -> None:
            self.outstanding -= 1
            self.barriers -= barrier
            done(outcome)
            self._touch()

        self.outstanding += 1
        self.barriers += barrier
        self._output.jobs.append(Job(run, done_and_touch, weight, barrier))

    def in_turns(
        self,
        parts: list[list[T]],
        run: Callable[[Rows, Moment, list[T]], R],
        took: Callable[[list[T], R | Failed], bool],
        finish: Callable[[], None],
        barrier: bool = False,
    ) -> None:
        """One job after another, so that a long list holds up nobody else: what others asked for
        meanwhile comes in between. The connection's own next frame waits, to keep its order.

        :param took: told of each part; whether to go on
        """
        barrier = barrier or len(parts) > 1

        def begin(index: int) -> None:
            if index == len(parts):
                finish()
                return
            part = parts[index]

            def done(outcome: R | Failed) -> None:
                if took(part, outcome):
                    begin(index + 1)

            weight = SIGNATURE_WEIGHT * len(part)
            self.run(lambda rows, moment: run(rows, moment, part), done, weight, barrier)

        begin(0)

    def command(
        self,
        n: int,
        run: Callable[[Rows, Moment], Result | None],
        weight: int = 0,
        barrier: bool = False,
    ) -> None:
        """A request whose reply is ``results`` with one entry."""

        def done(outcome: Result | Failed | None) -> None:
            self.results(n, [UNAVAILABLE if isinstance(outcome, Failed) else outcome])

        self.run(run, done, weight, barrier)

    def query(self, n: int, run: Callable[[Rows, Moment], Push | Result]) -> None:
        """A request with a reply of its own; ``error`` if there is none to give."""

        def done(outcome: Push | Result | Failed) -> None:
            if isinstance(outcome, Failed):
                self.error(n, UNAVAILABLE)
            elif isinstance(outcome, Result):
                self.error(n, outcome)
            else:
                self.reply(n, outcome)

        self.run(run, done)

    def run_blobs(self, work: Work) -> None:
        """Have something done in the store of blobs; the next frame waits for it."""

        def done(outcome: Answer | Failed) -> None:
            self.outstanding -= 1
            self.barriers -= 1
            self.answer(work.failed if isinstance(outcome, Failed) else outcome)
            self._touch()

        self.outstanding += 1
        self.barriers += 1
        self._output.blob_jobs.append(BlobJob(work.run, done, work.weight))

    # Answers

    def bad(self, n: int | None, code: str, detail: str) -> None:
        """A frame that is none. Too many of them, and the connection is closed."""
        self.error(n, Result(code, detail[:MAX_TEXT_DETAIL]))
        self._bad_frames += 1
        if self._bad_frames >= MAX_BAD_FRAMES:
            self._output.close = (POLICY, "too many malformed frames")

    def results(self, n: int, results: list[Result | None]) -> None:
        """The reply to a request about a list."""
        self._count(n, results)
        self.send(Results(n, results))

    def error(self, n: int | None, result: Result) -> None:
        """A whole request was not accepted."""
        self._count(n, [result])
        self.send(Error(n, result))

    def reply(self, n: int, frame: Push) -> None:
        """The reply to a request that has one of its own."""
        self._count(n, [None])
        self.send(frame)

    def answer(self, frame: Answer) -> None:
        """A reply that was made elsewhere, of whichever kind."""
        match frame:
            case Results(n, results):
                self.results(n, results)
            case Error(n, result):
                self.error(n, result)
            case _:
                self.reply(frame.n, frame)

    def send(self, frame: Push) -> None:
        """Send a frame."""
        self._output.frames.append(encode(frame))

    def _count(self, n: int | None, results: list[Result | None]) -> None:
        kind = None if n is None else self._asked.pop(n, None)
        self._tally.answered(kind, results)


def parts_of(items: list[T], size: int) -> list[list[T]]:
    """A list cut into pieces of ``size`` at most."""
    return [items[start : start + size] for start in range(0, len(items), size)]
