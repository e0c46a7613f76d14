"""OpenAI's own client against the faulty provider's files and jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import openai
import pytest
from openai.types import Batch

from headwater.rehearsal.record import digest_of
from tests.integration.provider.conftest import Connect
from tests.provider.provider import Provider

Start = Callable[..., Provider]
MODEL = "fake-embedding"
CALLS = [["red fish", "blue fish"], ["a lighthouse"], ["tea with milk"], ["tea", "coffee"]]
QUICK = {"seconds": 0.2}


def jsonl(calls: Sequence[Sequence[str]], **more: Any) -> bytes:
    lines = (
        {
            "custom_id": f"call-{number}",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": MODEL, "input": texts, **more},
        }
        for number, texts in enumerate(calls)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def submit(client: openai.OpenAI, content: bytes, **more: Any) -> Batch:
    file = client.files.create(file=("calls.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h", **more)


def until(client: openai.OpenAI, job: Batch, *statuses: str) -> Batch:
    """Ask for a job until it has one of some statuses."""
    deadline = time.monotonic() + 60
    while job.status not in statuses:
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
        job = client.batches.retrieve(job.id)
    return job


def lines(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    assert file is not None, "there is no such file"
    return [json.loads(line) for line in client.files.content(file).content.splitlines()]


def test_a_job_gets_the_vectors_that_a_request_gets(provider: Start, connect: Connect) -> None:
    started = provider(keys=["sesame"], batch=QUICK, limits=[{"window_s": 60, "requests": 4, "tokens": 100}])
    client = connect(started)
    job = submit(client, jsonl(CALLS), metadata={"label": "corpus/7"})
    assert (job.status, job.metadata, job.output_file_id) == ("validating", {"label": "corpus/7"}, None)
    job = until(client, job, "completed", "failed", "expired")
    assert job.status == "completed"
    assert job.request_counts is not None
    assert (job.request_counts.total, job.request_counts.completed, job.request_counts.failed) == (4, 4, 0)
    assert job.usage is not None
    assert job.usage.input_tokens == job.usage.total_tokens == 15  # a token for four characters, each begun one
    assert (job.model, job.error_file_id, job.errors) == (MODEL, None, None)
    assert job.created_at <= (job.in_progress_at or 0) <= (job.finalizing_at or 0) <= (job.completed_at or 0)

    found = {line["custom_id"]: line for line in lines(client, job.output_file_id)}
    assert list(found) != [f"call-{number}" for number in range(4)], "the order is that of the input"
    for number, texts in enumerate(CALLS):
        line = found[f"call-{number}"]
        assert (line["response"]["status_code"], line["error"]) == (200, None)
        asked = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
        assert line["response"]["body"] == json.loads(asked.model_dump_json())

    assert job.output_file_id is not None
    with pytest.raises(openai.BadRequestError):
        client.batches.create(input_file_id=job.output_file_id, endpoint="/v1/embeddings", completion_window="24h")

    record = started.record
    assert record.embedded() == {digest_of(text): 2 for texts in CALLS for text in texts}
    assert {entry.batch for entry in record.entries if not entry.direct and not entry.about} == {job.id}
    figures = record.summary()
    assert figures["requests"] == 4
    assert figures["requests_per_batch"] == 1
    assert {figure["most_admitted"] for figure in figures["limits"]} == {4, 15}  # type: ignore[attr-defined]  # JSON
    of_jobs: Any = figures["batch"]
    assert (of_jobs["jobs"], of_jobs["lines"], of_jobs["texts_embedded"]) == (1, 4, 6)
    assert (of_jobs["requests"]["POST /files"], of_jobs["requests"]["POST /batches"]) == (1, 2)


def test_a_line_that_is_refused_stands_in_the_file_of_errors(provider: Start, connect: Connect) -> None:
    client = connect(provider(batch=QUICK, max_text_tokens=10, behaviour={"poison": ["arsenic"]}))
    calls = [["tea"], ["milk", "tea with arsenic"], ["long " * 20], [""]]
    another = json.loads(jsonl([["tea"]], dimensions=4096)) | {"custom_id": "too-many"}
    job = until(client, submit(client, jsonl(calls) + json.dumps(another).encode()), "completed")
    assert job.request_counts is not None
    assert (job.request_counts.total, job.request_counts.completed, job.request_counts.failed) == (5, 1, 4)
    assert [line["custom_id"] for line in lines(client, job.output_file_id)] == ["call-0"]
    refused = {line["custom_id"]: line for line in lines(client, job.error_file_id)}
    assert set(refused) == {"call-1", "call-2", "call-3", "too-many"}
    assert {line["response"]["status_code"] for line in refused.values()} == {400}
    assert {line["error"] for line in refused.values()} == {None}
    assert refused["call-1"]["response"]["body"]["error"]["param"] == "input[1]"


def test_a_job_that_runs_out_of_time_keeps_what_is_done(provider: Start, connect: Connect) -> None:
    started = provider(batch={"seconds": 0.2, "answered": 0.5})
    client = connect(started)
    job = until(client, submit(client, jsonl(CALLS)), "completed", "expired")
    assert job.status == "expired"
    assert {line["custom_id"] for line in lines(client, job.output_file_id)} == {"call-0", "call-1"}
    late = lines(client, job.error_file_id)
    assert {(line["custom_id"], line["response"], line["error"]["code"]) for line in late} == {
        ("call-2", None, "batch_expired"),
        ("call-3", None, "batch_expired"),
    }
    assert started.record.embedded().total() == 3, "what expired was embedded"


def test_a_job_is_cancelled(provider: Start, connect: Connect) -> None:
    started = provider(batch={"seconds": 5})
    client = connect(started)
    job = until(client, submit(client, jsonl([[f"text {number}"] for number in range(400)])), "in_progress")
    while not (job.request_counts and job.request_counts.completed):
        job = client.batches.retrieve(job.id)
    assert client.batches.cancel(job.id).status == "cancelling"
    job = until(client, job, "cancelled")
    done, undone = lines(client, job.output_file_id), lines(client, job.error_file_id)
    assert len(done) + len(undone) == 400
    assert {line["error"]["code"] for line in undone} == {"batch_cancelled"}
    assert started.record.embedded().total() == len(done)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(job.id)


def test_a_job_that_the_queue_has_no_room_for_fails(provider: Start, connect: Connect) -> None:
    client = connect(provider(batch={"seconds": 1, "queue_tokens": 20}))
    first = submit(client, jsonl(CALLS))
    second = until(client, submit(client, jsonl(CALLS)), "failed", "completed")
    assert second.status == "failed"
    assert second.errors is not None
    assert [error.code for error in second.errors.data or []] == ["token_limit_exceeded"]
    until(client, first, "completed")
    assert until(client, submit(client, jsonl(CALLS)), "failed", "completed").status == "completed"


def test_a_file_that_is_wrong_fails_its_job_and_says_the_line(provider: Start, connect: Connect) -> None:
    client = connect(provider(batch=QUICK))
    job = until(client, submit(client, jsonl(CALLS[:1]) + b"{no json\n"), "failed", "completed")
    assert job.errors is not None
    assert [(error.code, error.line) for error in job.errors.data or []] == [("invalid_json_line", 2)]


def test_files_are_listed_told_and_deleted(provider: Start, connect: Connect) -> None:
    client = connect(provider())
    content = b'{"odd": "\r\n--boundary\r\n"}\n\r\n\x00\xff'
    policy: Any = {"anchor": "created_at", "seconds": 3600}
    one = client.files.create(file=("one.jsonl", content), purpose="batch", expires_after=policy)
    two = client.files.create(file=("two.jsonl", b"2"), purpose="batch")
    assert (one.bytes, one.filename, one.purpose) == (len(content), "one.jsonl", "batch")
    assert one.expires_at is not None
    assert one.expires_at - one.created_at == 3600
    assert client.files.content(one.id).content == content
    assert [file.id for file in client.files.list(purpose="batch", limit=1)] == [two.id, one.id], "pages are followed"
    assert [file.id for file in client.files.list(order="asc")] == [one.id, two.id]
    assert [file.id for file in client.files.list(purpose="batch_output")] == []
    assert client.files.retrieve(two.id) == two
    assert client.files.delete(one.id).deleted
    for call in (client.files.delete, client.files.retrieve, client.files.content):
        with pytest.raises(openai.NotFoundError):
            call(one.id)
    with pytest.raises(openai.BadRequestError) as raised:
        client.batches.create(input_file_id=one.id, endpoint="/v1/embeddings", completion_window="24h")
    assert raised.value.param == "input_file_id"


def test_jobs_are_listed_the_newest_first_and_to_their_account_alone(provider: Start, connect: Connect) -> None:
    started = provider(keys=["sesame", "mustard"], batch=QUICK)
    client, other = connect(started), connect(started, api_key="mustard")
    made = [submit(client, jsonl(CALLS[:1]), metadata={"label": str(number)}).id for number in range(5)]
    assert [job.id for job in client.batches.list(limit=2)] == made[::-1]
    assert [job.id for job in client.batches.list(after=made[2])] == made[1::-1]
    assert list(other.batches.list()) == []
    assert list(other.files.list()) == []
    with pytest.raises(openai.NotFoundError):
        other.batches.retrieve(made[0])
    with pytest.raises(openai.AuthenticationError):
        connect(started, api_key="pepper").batches.list()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("bad_key", openai.AuthenticationError),
        ("storm", openai.RateLimitError),
        ("unavailable", openai.InternalServerError),
        ("bad_gateway", openai.InternalServerError),
        ("cut", openai.APIConnectionError),
        ("timeout", openai.APITimeoutError),
    ],
)
def test_faults_strike_requests_about_jobs_and_files_too(
    provider: Start, connect: Connect, fault: str, kind: type[openai.APIError]
) -> None:
    started = provider(phases=[{"until_request": 1, "behaviour": {"shares": {fault: 1}}}])
    client = connect(started, timeout=0.5)
    with pytest.raises(kind):
        client.files.create(file=("calls.jsonl", jsonl(CALLS)), purpose="batch")
    assert started.record.faults() == {fault: 1}
    kept = len(list(connect(started).files.list()))
    assert kept == (fault in ("cut", "timeout")), "a lost answer loses no file, and a refusal keeps none"
