"""Files and jobs: what becomes of a job as its time passes, and of its lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater.rehearsal import batches as module
from headwater.rehearsal import openai
from headwater.rehearsal.batches import KEPT_S, Batches, File, Job, Order, Status, read_lines
from headwater.rehearsal.counting import Characters
from headwater.rehearsal.plan import Fault, read_plan
from headwater.rehearsal.service import Service

S = 1_000_000


class Provider:
    """The shell, without a server: jobs of 10 s, whose lines are worked on as soon as they are due."""

    def __init__(self, **plan: Any) -> None:
        plan["batch"] = {"seconds": 10, **plan.get("batch", {})}
        self.plan = read_plan({"dimensions": 4, **plan})
        self.service = Service(self.plan, Characters(4.0))
        self.batches = Batches(self.service, 1_700_000_000 * S)

    def submit(self, content: bytes, *, at_s: float = 0, owner: str = "k", **more: Any) -> Job:
        file = self.batches.upload(round(at_s * S), owner, "calls.jsonl", content, KEPT_S)
        assert file is not None
        return self.batches.create(round(at_s * S), Order(owner, file, **more))

    def until(self, at_s: float) -> None:
        """Work on what is due at a time."""
        now_us = round(at_s * S)
        while due := self.batches.step(now_us):
            job, line = due
            verdict = self.service.decide_line(now_us, job.order.owner, line.ask)
            if verdict.refusal is not None or line.ask is None:
                assert verdict.refusal is not None
                reply = openai.refuse(self.plan, verdict, verdict.refusal, now_us)
            else:
                reply = openai.answer(self.plan, line.ask, verdict, np.ones((len(verdict.texts), 4), np.float32))
            self.batches.done(job, line, verdict, None if Fault.TIMEOUT in verdict.faults else reply)

    def lines(self, id_: str | None, *, at_s: float = 20, owner: str = "k") -> Iterator[Any]:
        (file,) = (file for file in self.batches.files(round(at_s * S), owner) if file.id == id_)
        return (msgspec.json.decode(line) for line in file.content.splitlines())


def written(custom_id: object, *texts: str, **more: Any) -> bytes:
    body = {"model": "fake-embedding", "input": list(texts or ("text",)), **more.pop("body", {})}
    return msgspec.json.encode(
        {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body, **more}
    )


def calls(count: int) -> bytes:
    return b"\n".join(written(f"c{number}", f"text {number}") for number in range(count))


def ids(lines: Iterator[Any]) -> list[str]:
    return [line["custom_id"] for line in lines]


def test_a_job_goes_through_its_statuses_and_its_lines_are_done_one_after_another() -> None:
    made = Provider()
    job = made.submit(calls(4))
    seen = []
    for at_s in (0, 0.9, 1, 2.9, 3, 8, 9.9, 10, 11):
        made.until(at_s)
        seen.append((job.status, job.completed))
    assert seen == [
        (Status.VALIDATING, 0),
        (Status.VALIDATING, 0),
        (Status.IN_PROGRESS, 1),
        (Status.IN_PROGRESS, 1),
        (Status.IN_PROGRESS, 2),
        (Status.FINALIZING, 4),
        (Status.FINALIZING, 4),
        (Status.COMPLETED, 4),
        (Status.COMPLETED, 4),
    ]
    assert job.reached == {
        Status.VALIDATING: 0,
        Status.IN_PROGRESS: 1 * S,
        Status.FINALIZING: 8 * S,
        Status.COMPLETED: 10 * S,
    }
    assert job.errors_id is None
    assert not made.batches.working()


def test_the_output_stands_in_another_order_that_hangs_on_the_seed() -> None:
    orders = set()
    for seed in range(20):
        for count in (2, 20):
            made = Provider(seed=seed)
            job = made.submit(calls(count))
            made.until(10)
            order = ids(made.lines(job.output_id))
            assert sorted(order) == sorted(f"c{number}" for number in range(count))
            assert order != [f"c{number}" for number in range(count)]
            orders.add(tuple(order))
    assert len(orders) == 21, "of two lines there is one other order"


def test_jobs_are_worked_on_in_the_order_of_their_creation_as_the_service_behaves_then() -> None:
    made = Provider(phases=[{"from_s": 5, "behaviour": {"poison": ["text"]}}])
    first, second = made.submit(calls(2)), made.submit(calls(2))
    made.until(1)
    assert (first.completed, second.completed) == (1, 1)
    made.until(10)
    assert [(job.status, job.completed, job.failed) for job in (first, second)] == [(Status.COMPLETED, 1, 1)] * 2
    (refused,) = made.lines(first.errors_id)
    assert (refused["custom_id"], refused["response"]["status_code"], refused["error"]) == ("c1", 400, None)


def test_every_line_is_refused_for_itself() -> None:
    made = Provider(max_texts=2, max_text_tokens=5, limits=[{"window_s": 60, "requests": 1}])
    lines = [
        written("good", "a", "b"),
        written("many", "a", "b", "c"),
        written("long", "a" * 21),
        written("empty", ""),
        written("no request", body={"input": 3}),
        written("wide", body={"dimensions": 5}),
        written("good too", "a"),
    ]
    job = made.submit(b"\n".join(lines))
    made.until(10)
    assert (job.total, job.completed, job.failed) == (7, 2, 5)
    assert sorted(ids(made.lines(job.output_id))) == ["good", "good too"]
    assert {line["response"]["status_code"] for line in made.lines(job.errors_id)} == {400}
    assert job.used_tokens == 3


def test_a_wrong_model_is_told_for_each_line() -> None:
    made = Provider()
    job = made.submit(written("a", body={"model": "another"}))
    made.until(10)
    (line,) = made.lines(job.errors_id)
    assert (line["response"]["status_code"], line["response"]["body"]["error"]["code"]) == (404, "model_not_found")
    assert job.output_id is None


def test_a_line_that_times_out_has_no_response() -> None:
    made = Provider(behaviour={"shares": {"timeout": 1}})
    job = made.submit(calls(1))
    made.until(10)
    (line,) = made.lines(job.errors_id)
    assert (line["response"], line["error"]["code"]) == (None, "request_timeout")
    assert (job.completed, job.failed) == (0, 1)


def test_what_is_not_answered_in_time_expires() -> None:
    made = Provider(batch={"answered": 0.6})
    job = made.submit(calls(4))
    made.until(9.9)
    assert (job.status, job.completed) == (Status.IN_PROGRESS, 2)
    made.until(10)
    assert (job.status, job.completed, job.failed) == (Status.EXPIRED, 2, 0)
    assert sorted(ids(made.lines(job.output_id))) == ["c0", "c1"]
    expired = {line["custom_id"]: (line["response"], line["error"]["code"]) for line in made.lines(job.errors_id)}
    assert expired == dict.fromkeys(["c2", "c3"], (None, "batch_expired"))


def test_a_cancelled_job_keeps_what_was_done() -> None:
    made = Provider()
    job = made.submit(calls(4))
    made.until(3)
    made.batches.cancel(4 * S, job)
    made.batches.cancel(round(4.5 * S), job)
    made.until(4.9)
    assert (job.status, job.completed) == (Status.CANCELLING, 2)
    made.until(5)
    assert job.status == Status.CANCELLED
    assert sorted(ids(made.lines(job.output_id))) == ["c0", "c1"]
    assert {line["error"]["code"] for line in made.lines(job.errors_id)} == {"batch_cancelled"}


def test_a_job_that_was_not_begun_is_cancelled_without_files() -> None:
    made = Provider()
    job = made.submit(calls(4))
    made.batches.cancel(0, job)
    made.until(1)
    assert (job.status, job.output_id, job.errors_id) == (Status.CANCELLED, None, None)


def test_a_line_under_way_is_noted_though_its_job_is_cancelled_meanwhile() -> None:
    made = Provider()
    job = made.submit(calls(2))
    due = made.batches.step(1 * S)
    assert due is not None
    made.batches.cancel(1 * S, job)
    verdict = made.service.decide_line(1 * S, "k", due[1].ask)
    assert due[1].ask is not None
    reply = openai.answer(made.plan, due[1].ask, verdict, np.ones((1, 4), np.float32))
    made.batches.done(*due, verdict, reply)
    made.until(2)
    assert job.status == Status.CANCELLED
    assert ids(made.lines(job.output_id)) == ["c0"]
    assert ids(made.lines(job.errors_id)) == ["c1"]


def test_the_queue_holds_so_many_tokens_of_an_account() -> None:
    made = Provider(batch={"queue_tokens": 4})
    first, second = made.submit(calls(2)), made.submit(written("a"), at_s=1)
    other = made.submit(calls(2), owner="another")
    made.until(2)
    assert (first.status, second.status, other.status) == (Status.IN_PROGRESS, Status.FAILED, Status.IN_PROGRESS)
    assert [problem.code for problem in second.problems] == ["token_limit_exceeded"]
    made.until(10)
    third = made.submit(written("a"), at_s=10)
    made.until(11)
    assert third.status == Status.FINALIZING, "what has ended is in the queue still"


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"", "empty_file", None),
        (b"\n", "empty_file", None),
        (written("a") + b"\n\n" + written("b"), "invalid_json_line", 2),
        (written("a") + b"\n{", "invalid_json_line", 2),
        (written(7), "invalid_json_line", 1),
        (written("odd").replace(b"odd", b"\xff"), "invalid_json_line", 1),
        (written("a", url="/v1/chat/completions"), "url_mismatch", 1),
        (written("a", method="GET"), "url_mismatch", 1),
        (written("a") + b"\n" + written("a"), "duplicate_custom_id", 2),
        (written("a") + b"\n" + written("b", body={"model": "another"}), "model_mismatch", 2),
    ],
)
def test_a_file_that_is_wrong_fails_its_job(content: bytes, code: str, line: int | None) -> None:
    made = Provider()
    job = made.submit(content)
    made.until(1)
    assert job.status == Status.FAILED
    assert [(problem.code, problem.line) for problem in job.problems] == [(code, line)]
    made.until(10)
    assert (job.status, job.output_id, job.errors_id) == (Status.FAILED, None, None)


def test_a_job_has_so_many_lines_and_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINES", 2)
    monkeypatch.setattr(module, "MOST_TEXTS", 3)
    assert read_lines(calls(2) + b"\n", "k")[1] == []
    assert [problem.code for problem in read_lines(calls(3), "k")[1]] == ["too_many_tasks"]
    assert read_lines(written("a", "1", "2", "3"), "k")[1] == []
    assert [problem.code for problem in read_lines(written("a", "1", "2", "3", "4"), "k")[1]] == ["too_many_tasks"]


def test_too_large_a_file_is_not_kept_and_too_much_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    monkeypatch.setattr(module, "MOST_KEPT", 15)
    made = Provider().batches
    assert made.upload(0, "k", "a", b"x" * 11, KEPT_S) is None
    first = made.upload(0, "k", "a", b"x" * 10, 3600)
    assert first is not None
    assert made.upload(0, "k", "b", b"x" * 6, KEPT_S) is None
    assert made.upload(0, "k", "b", b"x" * 5, KEPT_S) is not None
    assert made.upload(0, "k", "c", b"x", KEPT_S) is None
    made.delete(first)
    assert made.upload(0, "k", "c", b"x" * 10, KEPT_S) is not None


def test_a_job_whose_answers_find_no_room_expires_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Provider()
    job = made.submit(calls(4))
    monkeypatch.setattr(module, "MOST_KEPT", 3 * len(calls(4)))
    made.until(10)
    assert job.status == Status.EXPIRED
    assert 1 <= job.completed < 4
    assert len(list(made.lines(job.output_id))) == job.completed


def test_what_has_ended_and_was_deleted_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Provider()
    job = made.submit(calls(4))
    monkeypatch.setattr(module, "MOST_KEPT", 10_000)
    made.batches.delete(job.order.input)
    assert made.batches.upload(0, "k", "a", b"x" * 10_000, KEPT_S) is None, "a job that works is forgotten"
    made.until(10)
    for file in made.batches.files(10 * S, "k"):
        made.batches.delete(file)
    assert made.batches.upload(10 * S, "k", "a", b"x" * 10_000, KEPT_S) is not None


def test_a_deleted_file_is_worked_on_to_the_end() -> None:
    made = Provider()
    job = made.submit(calls(2))
    made.batches.delete(job.order.input)
    made.until(10)
    assert (job.status, job.completed) == (Status.COMPLETED, 2)
    assert [file.name for file in made.batches.files(10 * S, "k")] == [f"{job.id}_output.jsonl"]


def test_files_go_when_their_time_is_over() -> None:
    made = Provider()
    job = made.submit(calls(2), keep_s=3600)
    made.until(10)
    assert [file.purpose for file in made.batches.files(3609 * S, "k")] == ["batch_output", "batch"]
    assert [file.purpose for file in made.batches.files(3610 * S, "k")] == ["batch"]
    assert job.output_id is not None


def test_another_run_gives_other_ids() -> None:
    def first(started_at_us: int) -> File:
        file = Batches(Provider().service, started_at_us).upload(0, "k", "a", b"x", KEPT_S)
        assert file is not None
        return file

    assert first(1).id != first(2).id


def test_nothing_shows_a_text_or_a_key() -> None:
    made = Provider()
    job = made.submit(written("a", "private words"), owner="sesame")
    made.until(1)
    for shown in map(repr, (job, job.order, job.order.input, *job.lines)):
        assert "private" not in shown
        assert "sesame" not in shown
