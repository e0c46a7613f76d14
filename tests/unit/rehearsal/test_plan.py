"""Plans: what is written is read whole, and what is wrong is said with its place."""

from __future__ import annotations

import msgspec
import pytest

from headwater.rehearsal.plan import Behaviour, Fault, Plan, read_behaviour, read_plan


def test_a_phase_says_only_what_differs() -> None:
    plan = read_plan(
        {
            "behaviour": {"batch_ms": 40, "poison": ["arsenic"]},
            "phases": [{"from_s": 5, "until_s": 8, "behaviour": {"shares": {"storm": 1}}}],
        }
    )
    (phase,) = plan.phases
    assert phase.behaviour == Behaviour(batch_ms=40, poison=("arsenic",), shares={Fault.STORM: 1.0})


@pytest.mark.parametrize(
    ("now_s", "number", "holds"),
    [
        (4.999999, 3, False),
        (5, 3, True),
        (7.999999, 3, True),
        (8, 3, False),
        (6, 1, False),
        (6, 2, True),
        (6, 4, False),
    ],
)
def test_a_phase_holds_from_its_beginning_to_before_its_end(now_s: float, number: int, holds: bool) -> None:
    phase = {"from_s": 5, "until_s": 8, "from_request": 2, "until_request": 4, "behaviour": {}}
    (read,) = read_plan({"phases": [phase]}).phases
    assert read.holds(round(now_s * 1e6), number) is holds


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"latency": 1}, "unknown field `latency`"),
        ({"behaviour": {"shares": {"strom": 1}}}, "strom"),
        ({"behaviour": {"shares": {"storm": 1.5}}}, "<= 1.0"),
        ({"behaviour": 3}, r"\$.behaviour"),
        ({"phases": [{"behaviour": {"batch": 3}}]}, r"unknown field `batch` - at `\$.phases\[0\].behaviour`"),
        ({"phases": 3}, r"\$.phases"),
        ({"phases": [3]}, r"\$.phases\[0\]"),
        ({"limits": [{"requests": 3}]}, r"missing required field `window_s` - at `\$.limits\[0\]`"),
        ({"batch": {"answered": 2}}, r"<= 1.0 - at `\$.batch.answered`"),
        ({"at_once": 0}, r">= 1 - at `\$.at_once`"),
        ({"model": None}, r"\$.model"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(written: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_plan(written)


def test_a_behaviour_changes_in_what_is_named() -> None:
    base = Behaviour(batch_ms=40, shares={Fault.STORM: 1.0})
    assert read_behaviour({"shares": {}}, base) == Behaviour(batch_ms=40)
    with pytest.raises(ValueError, match="object"):
        read_behaviour([], base)


def test_a_plan_comes_back_from_json_as_it_was_and_shows_no_key() -> None:
    plan = read_plan({"keys": ["sesame"], "phases": [{"behaviour": {"drift": 1}}]})
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert "sesame" not in repr(plan)
