"""The contract of batch interfaces as tests, for whoever writes one: every sentence of `headwater.embedding.batches`.

Subclass `BatchesContract` and give it the method `service`. The suite hands in some twenty small jobs and waits for
them; what a service cannot be made to do is left out by what the subclass says of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from headwater.clock import SystemClock
from headwater.embedding.answers import check
from headwater.embedding.batches import Batches, BatchJob, JobState
from headwater.embedding.port import Embedded, Embedder
from headwater.errors import Reject

LABEL = "headwater/contract"
CALLS = (
    ("A river carries every change from its source to the sea.", "Bread rises twice before it is baked."),
    ("The keeper of the lighthouse counts the ships that pass at night.",),
)
#: What a line of a file, a quotation, or a careless trimming would not survive.
AWKWARD = (
    "  spaces around\n",
    'a "quotation" and a \\',
    "two\r\nlines",
    "a\u2028b\u2029c\x85d",
    "a\0b",
    "水 🎉",
    '{"a": 1}',
)
#: A cosine above this means the same vector: services compute in halves.
_SAME = 0.999
_POLL_S = 0.05


class BatchEmbedder(Embedder, Protocol):
    """An embedder whose service has a batch interface."""

    def batches(self) -> Batches | None:
        """Return the batch interface, once the embedder was opened."""
        ...


#: Makes an embedder, not opened yet; all that one maker makes are of one service, as other processes have it.
Make = Callable[[], BatchEmbedder]


class Contract:
    """What every test needs of the service."""

    #: The longest that one test may take, in seconds; a service that takes hours for a job needs hours.
    patience_s = 60.0
    #: The key that the embedder is given, if it is given one.
    secret = ""
    #: A text for which the service refuses the call that holds it, within a job that it takes; None: there is none.
    poison: str | None = None
    #: Whether jobs can be made to work on and on, and to be refused because too much is under way.
    can_be_slow = True
    can_be_full = True

    def service(self, *, slow: bool, full: bool) -> Make:
        """Return a new service, without any job.

        `slow`: no job of it ends in the time of a test. `full`: it refuses every job, because too much is under way.
        Else jobs end as soon as they can.
        """
        raise NotImplementedError

    def run(self, test: Callable[[Make], Coroutine[Any, Any, None]], *, slow: bool = False, full: bool = False) -> None:
        """Run a test on a loop of its own, with embedders that are opened by `using` and closed after it."""
        make = self.service(slow=slow, full=full)
        asyncio.run(asyncio.wait_for(test(make), self.patience_s))


class Handle:
    """An open embedder and its batches, closed at the end of the block."""

    def __init__(self, make: Make) -> None:
        self.embedder = make()

    async def __aenter__(self) -> Handle:
        await self.embedder.open()
        found = self.embedder.batches()
        assert found is not None, "it has no batch interface"
        self.batches = found
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.embedder.close()

    async def settled(self, label: str = LABEL) -> list[BatchJob]:
        """Wait until no job of a label works any more, and return them."""
        while True:
            jobs = await self.batches.jobs(label)
            if all(it.state is not JobState.WORKING for it in jobs):
                return jobs
            await SystemClock().sleep(_POLL_S)

    async def done(self, calls: Sequence[Sequence[str]], label: str = LABEL) -> BatchJob:
        """Hand in a job, wait for its end, and return it."""
        job = await self.batches.submit(label, calls)
        (settled,) = [it for it in await self.settled(label) if it.id == job.id]
        assert settled.state is JobState.ENDED, settled
        return settled

    async def check(self, answer: Embedded | str | None, call: Sequence[str]) -> None:
        """Fail unless an answer has the vectors that the embedder itself has for these texts."""
        assert isinstance(answer, Embedded), answer
        found, wanted = self._rows(answer, call), self._rows(await self.embedder.embed(call), call)
        assert (np.einsum("ij,ij->i", found, wanted) > _SAME).all()

    def _rows(self, answer: Embedded, call: Sequence[str]) -> npt.NDArray[np.float32]:
        model = self.embedder.describe()
        rows = check(answer, len(call), model.name, model.dimensions)
        return np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(call), -1)


_Contract = TypeVar("_Contract", bound=Contract)


def handled(test: Callable[[_Contract, Handle], Coroutine[Any, Any, None]]) -> Callable[[_Contract], None]:
    """Give a test a handle on a service that is neither slow nor full."""

    def run(self: _Contract) -> None:
        async def scenario(make: Make) -> None:
            async with Handle(make) as handle:
                await test(self, handle)

        self.run(scenario)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class JobsContract(Contract):
    """limits, submit, jobs, texts, discard."""

    @handled
    async def test_the_limits_can_be_worked_with(self, handle: Handle) -> None:
        limits = handle.batches.limits()
        assert min(limits.calls, limits.texts, limits.bytes) >= 1
        await handle.done(CALLS)
        assert handle.batches.limits() == limits

    @handled
    async def test_a_job_is_found_by_its_label_at_once(self, handle: Handle) -> None:
        assert await handle.batches.jobs(LABEL) == []
        job = await handle.batches.submit(LABEL, CALLS)
        assert [it.id for it in await handle.batches.jobs(LABEL)] == [job.id]
        (settled,) = await handle.settled()
        assert (settled.state, settled.calls, settled.done) == (JobState.ENDED, 2, 2)
        assert (settled.reason, settled.full) == ("", False)

    @pytest.mark.parametrize("other", ["headwater/contrac", "headwater/contract2", "Headwater/Contract", "水 \"'/&?%="])
    def test_labels_never_meet(self, other: str) -> None:
        async def test(make: Make) -> None:
            async with Handle(make) as handle:
                ours = await handle.batches.submit(LABEL, CALLS)
                assert await handle.batches.jobs(other) == []
                theirs = await handle.batches.submit(other, CALLS)
                assert [it.id for it in await handle.batches.jobs(other)] == [theirs.id]
                assert [it.id for it in await handle.batches.jobs(LABEL)] == [ours.id]

        self.run(test)

    @handled
    async def test_the_oldest_comes_first(self, handle: Handle) -> None:
        ids = [(await handle.batches.submit(LABEL, [[f"text {number}"]])).id for number in range(4)]
        assert [it.id for it in await handle.batches.jobs(LABEL)] == ids

    @handled
    async def test_texts_come_back_as_they_were_handed_in(self, handle: Handle) -> None:
        calls = [list(AWKWARD), ["one"], [*CALLS[0], "one", "one"]]
        job = await handle.batches.submit(LABEL, calls)
        assert await handle.batches.texts(job.id) == calls

    @handled
    async def test_what_no_file_can_hold_is_refused_with_its_place(self, handle: Handle) -> None:
        for bad in ("half of a pair: \ud83d", "", " \n"):
            with pytest.raises(Reject) as error:
                await handle.batches.submit(LABEL, [["one", "two"], ["three", bad]])
            assert error.value.index == 3
        assert await handle.batches.jobs(LABEL) == []

    def test_another_process_goes_on(self) -> None:
        async def test(make: Make) -> None:
            async with Handle(make) as first:
                job = await first.batches.submit(LABEL, CALLS)
            async with Handle(make) as second:
                assert [it.id for it in await second.settled()] == [job.id]
                assert await second.batches.texts(job.id) == [list(call) for call in CALLS]
                answers = await second.batches.answers(job.id)
                for place, call in enumerate(CALLS):
                    await second.check(answers.get(place), call)
                await second.batches.discard(job.id)
                assert await second.batches.jobs(LABEL) == []

        self.run(test)

    @handled
    async def test_what_is_discarded_is_gone(self, handle: Handle) -> None:
        kept, job = await handle.done(CALLS), await handle.done(CALLS)
        for _ in range(2):
            await handle.batches.discard(job.id)
            assert [it.id for it in await handle.batches.jobs(LABEL)] == [kept.id]
            assert await handle.batches.texts(job.id) == []
            assert await handle.batches.answers(job.id) == {}
        assert len(await handle.batches.answers(kept.id)) == 2

    @handled
    async def test_nothing_is_known_of_a_job_that_never_was(self, handle: Handle) -> None:
        await handle.batches.discard("no-such-job")
        assert await handle.batches.texts("no-such-job") == []
        assert await handle.batches.answers("no-such-job") == {}

    def test_a_job_that_works_is_waited_for_by_nobody(self) -> None:
        async def test(make: Make) -> None:
            async with Handle(make) as handle:
                job = await handle.batches.submit(LABEL, CALLS)
                (found,) = await handle.batches.jobs(LABEL)
                assert (found.state, found.done, found.reason) == (JobState.WORKING, 0, "")
                assert await handle.batches.texts(job.id) == [list(call) for call in CALLS]
                for _ in range(2):
                    await handle.batches.discard(job.id)
                    assert await handle.batches.jobs(LABEL) == []
                    assert await handle.batches.texts(job.id) == []

        if self.can_be_slow:
            self.run(test, slow=True)

    def test_a_job_for_which_there_is_no_room_is_refused_as_that(self) -> None:
        async def test(make: Make) -> None:
            async with Handle(make) as handle:
                job = await handle.batches.submit(LABEL, CALLS)
                (found,) = await handle.settled()
                assert (found.id, found.state, found.full) == (job.id, JobState.REFUSED, True)
                assert found.reason
                assert not any(text in found.reason for call in CALLS for text in call)
                assert await handle.batches.texts(job.id) == [list(call) for call in CALLS]
                assert await handle.batches.answers(job.id) == {}
                await handle.batches.discard(job.id)
                assert await handle.batches.jobs(LABEL) == []

        if self.can_be_full:
            self.run(test, full=True)

    @handled
    async def test_no_secret_shows(self, handle: Handle) -> None:
        job = await handle.batches.submit(LABEL, CALLS)
        shown = f"{handle.batches!r} {handle.batches} {job!r}"
        assert not self.secret or self.secret not in shown
        assert not any(text in shown for call in CALLS for text in call)


class AnswersContract(Contract):
    """answers."""

    @handled
    async def test_the_answers_are_those_of_the_embedder_call_by_call(self, handle: Handle) -> None:
        calls = [*CALLS, AWKWARD, ["one", "two", "one"]]
        job = await handle.done(calls)
        for _ in range(2):
            answers = await handle.batches.answers(job.id)
            assert sorted(answers) == [0, 1, 2, 3]
            for place, call in enumerate(calls):
                await handle.check(answers[place], call)

    @handled
    async def test_many_calls_keep_their_places(self, handle: Handle) -> None:
        calls = [[f"call {number}", f"of {number}"] for number in range(60)]
        answers = await handle.batches.answers((await handle.done(calls)).id)
        assert sorted(answers) == list(range(60))
        for place in (0, 9, 10, 59):
            await handle.check(answers[place], calls[place])

    @handled
    async def test_a_refused_call_harms_no_other(self, handle: Handle) -> None:
        if self.poison is None:
            return
        job = await handle.done([CALLS[0], ["a word", self.poison], CALLS[1]])
        assert (job.calls, job.done) == (3, 3)
        answers = await handle.batches.answers(job.id)
        assert sorted(answers) == [0, 1, 2]
        await handle.check(answers[0], CALLS[0])
        await handle.check(answers[2], CALLS[1])
        reason = answers[1]
        assert isinstance(reason, str)
        assert reason
        assert self.poison not in reason
        assert "a word" not in reason

    @handled
    async def test_jobs_at_the_same_time_keep_apart(self, handle: Handle) -> None:
        async def one(number: int) -> None:
            job = await handle.done([[f"text {number}"], [f"another {number}"]], f"label {number}")
            answers = await handle.batches.answers(job.id)
            await handle.check(answers[0], [f"text {number}"])
            await handle.check(answers[1], [f"another {number}"])

        await asyncio.gather(*map(one, range(5)))


class BatchesContract(JobsContract, AnswersContract):
    """Every sentence of `headwater.embedding.batches.Batches` that can be seen from outside."""
