"""Each safeguard of the courier, and how to switch it off: something replaced from here. Product code has no switches.

`broken` is the rule of the judge that must then be violated. A safeguard whose absence nobody notices guards nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from headwater.embedding import courier
from headwater.embedding.answers import Unusable, check
from headwater.embedding.courier import Courier
from headwater.embedding.dispatch import Dispatcher
from headwater.embedding.lanes import Lane
from headwater.embedding.orders import Refused
from headwater.embedding.port import Embedded
from headwater.embedding.retries import Breaker
from headwater.errors import Halt, Retry
from tests.histories import Off, Safeguard


def _raw(answer: Embedded) -> list[bytes]:
    return [row.astype("<f4").tobytes() for row in answer.vectors]


def _any_order(patch: pytest.MonkeyPatch) -> None:
    def trusting(answer: Embedded, asked: int, name: str, dimensions: int) -> list[bytes]:
        checked = check(answer, asked, name, dimensions)
        return [checked[place] for place in answer.index]

    patch.setattr(courier, "check", trusting)


def _unless(kind: type[Exception]) -> Off:
    """An answer that is wrong in this way is taken as it is."""

    def off(patch: pytest.MonkeyPatch) -> None:
        def trusting(answer: Embedded, asked: int, name: str, dimensions: int) -> list[bytes]:
            try:
                return check(answer, asked, name, dimensions)
            except Exception as error:
                if type(error) is not kind:
                    raise
                rows = _raw(answer)
                return (rows * asked)[:asked]

        patch.setattr(courier, "check", trusting)

    return off


def blame_without_a_probe(patch: pytest.MonkeyPatch) -> None:
    real = Courier._rejected

    def rejected(self: Any, call: Any, reject: Any) -> None:
        wanted = [text for text in self._wanted(call.texts) if text.key != self._probe]
        if len(wanted) != 1:
            real(self, call, reject)
            return
        self._decisions().rejected(call, self._clock.monotonic())
        entry = self._entries[wanted[0].key]
        self._drop(entry)
        for order, place in entry.waiters:
            order.answer(place, Refused(reject.reason))

    patch.setattr(Courier, "_rejected", rejected)


def _old_evidence_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Courier, "_acquit", lambda self, call: None)


def _no_second_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(courier, "UNUSABLE", 0)


class _OfAnyLane(dict[tuple[Lane, str], Any]):
    def get(self, key: tuple[Lane, str], default: Any = None) -> Any:
        return next((self[lane, key[1]] for lane in Lane if (lane, key[1]) in self), default)


def _all_share_an_entry(patch: pytest.MonkeyPatch) -> None:
    real = Courier.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        self._by_text = _OfAnyLane()

    patch.setattr(Courier, "__init__", init)


class _Forgetful(dict[tuple[Lane, str], Any]):
    def get(self, key: tuple[Lane, str], default: Any = None) -> Any:
        return None


def _no_single_flight(patch: pytest.MonkeyPatch) -> None:
    real = Courier.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        self._by_text = _Forgetful()
        self._drop = lambda entry: self._entries.pop(entry.key)

    patch.setattr(Courier, "__init__", init)


def _keep_what_was_given_up(patch: pytest.MonkeyPatch) -> None:
    def let_go(self: Any, order: Any) -> None:
        order.wait.leave()
        self._orders.pop(order, None)

    patch.setattr(Courier, "_let_go", let_go)


def _never_split(patch: pytest.MonkeyPatch) -> None:
    def split(self: Any, suspects: Any, now: float) -> None:
        self._resend(self._wanted(suspects.texts), now)

    patch.setattr(Courier, "_split", split)


def _go_on_asking_who_is_gone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Breaker, "wait_s", lambda self, now: 0.0)


def _a_given_up_call_keeps_its_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "abandoned", lambda self, call, now: None)


def _denied_is_an_outage(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(courier, "Denied", Lane)  # no error is one


def _any_model_will_do(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(courier, "DRIFT", -2.0)


def _outages_end_by_themselves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("headwater.patience.Wait.back", lambda self: None)


SAFEGUARDS: Sequence[Safeguard] = (
    Safeguard("an answer is brought into the order asked", "vectors", _any_order),
    Safeguard("texts and vectors match one to one", "vectors", _unless(Retry)),
    Safeguard("a vector is finite", "vectors", _unless(Unusable)),
    Safeguard("vectors have the dimensions that were declared", "vectors", _unless(Halt)),
    Safeguard("the model that answers is the one that answered before", "vectors", _any_model_will_do),
    Safeguard("a text is blamed only while a probe passes", "blame", blame_without_a_probe),
    Safeguard("whatever fails in between takes the blame away", "blame", _old_evidence_counts),
    Safeguard("an unusable answer is asked for again", "blame", _no_second_look),
    Safeguard("what is live does not wait behind a replay of it", "fresh", _all_share_an_entry),
    Safeguard("equal texts under way are asked for once", "cost", _no_single_flight),
    Safeguard("what was given up is forgotten", "ends", _keep_what_was_given_up),
    Safeguard("what is refused together is halved", "errors", _never_split),
    Safeguard("a model that is gone is left alone", "alone", _go_on_asking_who_is_gone),
    Safeguard("a call that was given up frees its place", "ends", _a_given_up_call_keeps_its_place),
    Safeguard("a denied account is not waited for", "ends", _denied_is_an_outage),
    Safeguard("the end of an outage is told", "outages", _outages_end_by_themselves),
)
