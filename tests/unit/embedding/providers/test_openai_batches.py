"""OpenAI's batch interface: what is written to the service, and what it may answer instead of what it should."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from headwater.embedding.batches import Batches, JobState
from headwater.embedding.port import Embedded
from headwater.embedding.providers import registry
from headwater.embedding.providers.http_embedder import HttpEmbedder
from headwater.embedding.providers.openai_batches import OpenAiBatches
from headwater.embedding.providers.options import ProviderOptions
from headwater.errors import Denied, HeadwaterError, RateLimited, Reject, Retry, Unreachable
from tests.unit.embedding.providers import services
from tests.unit.embedding.providers.batch_service import BatchService, lines
from tests.unit.embedding.providers.services import DIMENSIONS, KEY, Asked, Reply, Service, reply, serving

T = TypeVar("T")

CALLS = [["one", "two"], ["three"]]
HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
#: What each call asks for first.
ERRANDS: dict[str, Callable[[Batches], Awaitable[object]]] = {
    "submit": lambda batches: batches.submit("a-label", CALLS),
    "jobs": lambda batches: batches.jobs("a-label"),
    "texts": lambda batches: batches.texts("batch_1"),
    "answers": lambda batches: batches.answers("batch_1"),
    "discard": lambda batches: batches.discard("batch_1"),
}


@pytest.fixture
def script() -> BatchService:
    return BatchService()


@pytest.fixture
def service(script: BatchService) -> Iterator[Service]:
    with serving(script) as running:
        yield running


def use(service: Service, work: Callable[[Batches], Awaitable[T]], model: str = "openai/m", **options: Any) -> T:
    async def scenario() -> T:
        given = {"url": f"{service.url}/v1", "key": KEY, "dimensions": DIMENSIONS, **options}
        embedder = registry.embedder(model, ProviderOptions(model="", **given))
        assert isinstance(embedder, HttpEmbedder)
        try:
            await embedder.open()
            found = embedder.batches()
            assert found is not None
            return await work(found)
        finally:
            await embedder.close()

    return asyncio.run(scenario())


def submitted(service: Service, calls: list[list[str]] = CALLS, **options: Any) -> str:
    return use(service, lambda batches: batches.submit("a-label", calls), **options).id


def failure(service: Service, work: Callable[[Batches], Awaitable[object]], **options: Any) -> HeadwaterError:
    with pytest.raises(HeadwaterError) as error:
        use(service, work, **options)
    shown = f"{error.value} {error.value!r}"
    assert not any(secret in shown for secret in (KEY, "three", "sign in"))
    return error.value


# --- who has one


@pytest.mark.parametrize(
    ("model", "url", "has"),
    [
        ("openai/m", None, True),
        ("openai/m", "http://127.0.0.1:1/v1", True),
        ("azure/m", "http://127.0.0.1:1/openai/v1", True),
        ("azure/m", "http://127.0.0.1:1/openai/v1/?api-version=preview", True),
        ("azure/m", "http://127.0.0.1:1/openai/deployments/m?api-version=2024-10-21", False),
        ("cohere/m", None, False),
        ("voyage/m", None, False),
    ],
)
def test_who_has_batches(model: str, url: str | None, has: bool) -> None:
    embedder = registry.embedder(model, ProviderOptions(model="", url=url, key=KEY, dimensions=8))
    assert isinstance(embedder, HttpEmbedder)
    asyncio.run(embedder.open())
    assert isinstance(embedder.batches(), OpenAiBatches) == has
    asyncio.run(embedder.close())


@pytest.mark.parametrize(("dimensions", "texts"), [(1536, 8192), (3072, 4096), (8, 50_000)])
def test_a_job_brings_no_more_than_fits_into_memory(service: Service, dimensions: int, texts: int) -> None:
    async def limits(batches: Batches) -> tuple[int, int]:
        return batches.limits().texts, batches.limits().calls

    assert use(service, limits, dimensions=dimensions) == (texts, texts)


# --- what is written


def test_a_job_as_it_is_handed_in(service: Service, script: BatchService) -> None:
    submitted(service, document_prefix="passage: ")
    (form,) = script.forms
    assert form.pop("file") == "headwater-a-label.jsonl"
    assert form == {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "1209600"}
    (content,) = (it for name, it in script.files.items() if "-in" in name)
    body = {"model": "m", "encoding_format": "base64", "dimensions": DIMENSIONS}
    assert [json.loads(it) for it in content.splitlines()] == [
        {"custom_id": str(place), "method": "POST", "url": "/v1/embeddings", "body": {**body, "input": texts}}
        for place, texts in enumerate([["passage: one", "passage: two"], ["passage: three"]])
    ]
    assert service.bodies[-1] == {
        "input_file_id": "file-in1",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
        "metadata": {"headwater": "a-label"},
        "output_expires_after": {"anchor": "created_at", "seconds": 1209600},
    }
    assert {it.headers["authorization"] for it in service.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("label", ['a"b\r\nc', "../x", "水", "y" * 400])
def test_any_label_makes_a_file_name(service: Service, script: BatchService, label: str) -> None:
    use(service, lambda batches: batches.submit(label, CALLS))
    name = script.forms[0]["file"]
    assert name.startswith("headwater-")
    assert not set(name) & set('"\r\n/水')
    assert len(name) < 130
    assert len(use(service, lambda batches: batches.jobs(label))) == 1


def test_azure_keeps_the_version_in_the_address(script: BatchService) -> None:
    def azure(asked: Asked) -> Reply:
        assert "api-version=preview" in asked.path
        assert asked.headers["api-key"] == KEY
        return script(asked._replace(path=asked.path.replace("/openai/", "/", 1)))

    with serving(azure) as service:
        url = f"{service.url}/openai/v1?api-version=preview"
        use(service, ERRANDS["submit"], "azure/m", url=url)
        assert len(use(service, lambda batches: batches.jobs("a-label"), "azure/m", url=url)) == 1
        assert service.asked[-1].path == "/openai/v1/files?api-version=preview&purpose=batch"


def test_nothing_is_sent_of_a_text_that_no_file_can_hold(service: Service) -> None:
    error = failure(service, lambda batches: batches.submit("a-label", [["one"], ["two", "x\udc80"]]))
    assert isinstance(error, Reject)
    assert error.index == 2
    assert service.asked == []


# --- a job that is not made


@pytest.mark.parametrize(
    ("answer", "kind", "left"),
    [
        (reply({"error": {"message": "bad", "code": "invalid_request"}}, 400), Reject, 0),
        (reply({"error": {"message": "no", "code": "billing_hard_limit_reached"}}, 400), Denied, 0),
        (reply({"error": {"message": "slow down"}}, 429), RateLimited, 0),
        (reply({"error": {"message": "upstream"}}, 502), Retry, 1),
        (reply(b'{"id": "batch_1", "sta'), Retry, 1),
    ],
    ids=["refused", "no-quota", "limit", "502", "cut"],
)
def test_a_file_of_which_no_job_was_made_does_not_stay(
    service: Service, script: BatchService, answer: Reply, kind: type[HeadwaterError], left: int
) -> None:
    """Where there may be a job after all, it stays: without it nobody would find the job again."""
    service.script = lambda asked: answer if (asked.method, asked.path) == ("POST", "/v1/batches") else script(asked)
    error = failure(service, ERRANDS["submit"])
    assert type(error) is kind
    assert len(script.files) == left


def test_a_file_that_cannot_be_deleted_hides_no_cause(service: Service, script: BatchService) -> None:
    answers = {"/v1/batches": reply({"error": {"message": "bad"}}, 400), "/v1/files/file-in1": reply({}, 500)}
    service.script = lambda asked: answers.get(asked.path) or script(asked)
    assert "HTTP 400: bad" in str(failure(service, ERRANDS["submit"]))


# --- jobs


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("validating", JobState.WORKING),
        ("in_progress", JobState.WORKING),
        ("finalizing", JobState.WORKING),
        ("cancelling", JobState.WORKING),
        ("a status of next year", JobState.WORKING),
        ("completed", JobState.ENDED),
        ("expired", JobState.ENDED),
        ("cancelled", JobState.ENDED),
    ],
)
def test_states(service: Service, script: BatchService, status: str, state: JobState) -> None:
    submitted(service)
    script.jobs[0]["status"] = status
    (job,) = use(service, lambda batches: batches.jobs("a-label"))
    assert (job.state, job.calls, job.done, job.reason) == (state, 2, 2, "")


@pytest.mark.parametrize(
    ("errors", "reason", "full"),
    [
        ([{"code": "token_limit_exceeded", "message": "three", "line": None}], "token_limit_exceeded", True),
        ([{"code": "invalid_json_line", "message": "three", "line": 3}], "invalid_json_line (line 3)", False),
        ([{"code": "three little words", "message": "three"}], "the service does not say why", False),
        ([{"code": None}, {"code": "model_not_found"}], "model_not_found", False),
        ([], "the service does not say why", False),
        (None, "the service does not say why", False),
    ],
)
def test_why_a_job_was_refused(
    service: Service, script: BatchService, errors: list[Any] | None, reason: str, full: bool
) -> None:
    script.status, script.errors = "failed", errors
    submitted(service)
    (job,) = use(service, lambda batches: batches.jobs("a-label"))
    assert (job.state, job.reason, job.full) == (JobState.REFUSED, reason, full)


def test_lists_in_pages_among_other_peoples_jobs(service: Service, script: BatchService) -> None:
    for number in range(7):
        use(service, lambda batches, n=number: batches.submit("a-label" if n % 3 else "another", CALLS))  # type: ignore[misc]  # a default binds it
    script.jobs[0]["metadata"] = None
    script.jobs[3]["metadata"] = {"someone": "else's"}
    script.jobs[6] |= {"input_file_id": None, "output_file_id": "", "request_counts": None}
    del script.files["file-in5"]
    found = use(service, lambda batches: batches.jobs("a-label"))
    assert [it.id for it in found] == ["batch_2", "batch_3", "batch_6"]


def test_a_list_that_does_not_know_pages_ends(service: Service, script: BatchService) -> None:
    submitted(service)
    page = {"data": script.jobs, "has_more": True}
    files = {"data": [{"id": "file-in1"}], "has_more": True}
    service.script = lambda asked: reply(files if "/files" in asked.path else page)
    assert [it.id for it in use(service, lambda batches: batches.jobs("a-label"))] == ["batch_1"]


# --- answers


def answered(service: Service, script: BatchService, *told: object, calls: int = 3, **job: Any) -> dict[int, Any]:
    """What is read of an output file with these lines."""
    script.status = "in_progress"
    name = submitted(service, [[f"text {number}"] for number in range(calls)])
    content = told[0] if isinstance(told[0], bytes) else lines(*told)
    script.files["out"] = content
    script.jobs[-1] |= {"status": "completed", "output_file_id": "out", **job}
    return dict(use(service, lambda batches: batches.answers(name)))


def line(place: object, status: int = 200, body: object = None, **changes: object) -> dict[str, object]:
    said = json.loads(services.openai(Asked("POST", "", {}, {"input": [f"text {place}"], "model": "m"})).body)
    response = {"status_code": status, "request_id": "r", "body": said if body is None else body}
    return {"id": "x", "custom_id": str(place), "response": response, "error": None, **changes}


def test_answers_in_any_order(service: Service, script: BatchService) -> None:
    found = answered(service, script, line(2), line(0), line(1))
    assert sorted(found) == [0, 1, 2]
    for place in range(3):
        assert isinstance(found[place], Embedded)
        assert np.array_equal(found[place].vectors, services.vectors([f"text {place}"]))
        assert found[place].tokens == 3


@pytest.mark.parametrize("place", ["3", "-1", "", "1.0", "²", "1" * 5000, " 1", "a"])
def test_a_place_that_is_none(service: Service, script: BatchService, place: str) -> None:
    assert sorted(answered(service, script, line(place), line(0))) == [0]


def test_a_place_that_is_named_twice(service: Service, script: BatchService) -> None:
    assert sorted(answered(service, script, line(0), line(1), line(0))) == [1]


def test_a_place_in_both_files(service: Service, script: BatchService) -> None:
    script.files["err"] = lines(line(0, 400, {"error": {"code": "invalid_value"}}))
    assert sorted(answered(service, script, line(0), line(1), error_file_id="err")) == [1]


@pytest.mark.parametrize(
    "odd",
    [
        {"custom_id": "1"},
        {"custom_id": 1, "response": None},
        {},
        [],
        {"custom_id": "1", "response": {"status_code": "200", "body": {}}, "error": None},
        line(1, body={"data": [{"index": 0, "embedding": "!"}]}),
        line(1, body={"data": [{"index": 0, "embedding": [1.0, 2.0]}, {"index": 1, "embedding": [1.0]}]}),
        line(1, body={"error": {"message": "three"}}),
        line(1, body=[]),
        line(1, body="three"),
        line(1, response=None, error={"code": "batch_expired", "message": "three"}),
        line(1, response=None, error={"code": "batch_cancelled"}),
    ],
    ids=str,
)
def test_a_line_that_cannot_be_used_is_as_if_not_done(service: Service, script: BatchService, odd: object) -> None:
    assert sorted(answered(service, script, line(0), odd, line(2))) == [0, 2]


def test_a_line_that_is_no_json_is_as_if_not_done(service: Service, script: BatchService) -> None:
    content = lines(line(0)) + b'{"custom_id": "1", "resp\n\n' + lines(line(2))
    assert sorted(answered(service, script, content)) == [0, 2]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (
            line(1, 400, {"error": {"message": "text 1", "code": "invalid_value", "type": "invalid_request_error"}}),
            None,
        ),
        (line(1, 400, {"error": {"message": "text 1", "code": "text 1"}}), "HTTP 400"),
        (line(1, 500, "text 1"), "HTTP 500"),
        (line(1, 404, {"error": {"code": "model_not_found"}}), "HTTP 404: model_not_found"),
        (line(1, response=None, error={"code": "request_timeout", "message": "text 1"}), "request_timeout"),
        (line(1, response=None, error={"message": "text 1"}), "the service does not say why"),
    ],
)
def test_why_a_call_was_refused(service: Service, script: BatchService, odd: object, reason: str | None) -> None:
    found = answered(service, script, line(0), odd)
    assert found[1] == (reason or "HTTP 400: invalid_request_error, invalid_value")


def test_a_file_that_breaks_off_is_asked_for_again(service: Service, script: BatchService) -> None:
    content = lines(line(0), line(1))
    with pytest.raises(Retry, match="breaks off"):
        answered(service, script, content[:-40])
    assert sorted(answered(service, script, content[:-1])) == [0, 1]


def test_a_page_instead_of_a_file(service: Service, script: BatchService) -> None:
    with pytest.raises(Unreachable, match="no embedding service"):
        answered(service, script, HTML)


def test_an_answer_that_never_ends(service: Service, script: BatchService, monkeypatch: pytest.MonkeyPatch) -> None:
    name = submitted(service)

    async def answers(batches: Batches) -> object:
        monkeypatch.setattr(batches, "_answer_bytes", 100)
        return await batches.answers(name)

    assert "larger than 100 bytes" in str(failure(service, answers))


@pytest.mark.parametrize("status", ["failed", "in_progress"])
def test_a_job_that_has_not_ended_has_no_answers(service: Service, script: BatchService, status: str) -> None:
    assert answered(service, script, line(0), status=status) == {}


def test_output_that_is_gone(service: Service, script: BatchService) -> None:
    script.files["err"] = lines(line(1, 400, {}))
    assert sorted(answered(service, script, line(0), output_file_id="gone", error_file_id="err")) == [1]


# --- texts


@pytest.mark.parametrize(
    "changed",
    [
        {"document_prefix": "passage: "},
        {"dimensions": DIMENSIONS // 2},
        {"model": "openai/another"},
    ],
    ids=str,
)
def test_the_texts_of_another_model_are_none_of_ours(service: Service, changed: dict[str, Any]) -> None:
    name = submitted(service)
    assert use(service, lambda batches: batches.texts(name)) == CALLS
    assert use(service, lambda batches: batches.texts(name), **changed) == []


@pytest.mark.parametrize(
    "content",
    [
        b'{"custom_id": "0"}\n',
        b"{}\n",
        b'{"custom_id": "0", "body": {"input": "one"}}\n',
        b'{"custom_id": "0", "body": {"input": [1]}}\n',
        b'{"custom_id": "0", "body\n{}\n',
        lines(
            {"custom_id": "7", "body": {"model": "m", "input": ["a"], "encoding_format": "base64", "dimensions": 24}}
        ),
    ],
)
def test_an_input_file_of_something_else(service: Service, script: BatchService, content: bytes) -> None:
    name = submitted(service)
    script.files["file-in1"] = content
    assert use(service, lambda batches: batches.texts(name)) == []


def test_an_input_file_that_breaks_off_is_asked_for_again(service: Service, script: BatchService) -> None:
    name = submitted(service)
    script.files["file-in1"] = script.files["file-in1"][:-9]
    assert "breaks off" in str(failure(service, lambda batches: batches.texts(name)))


def test_a_name_is_never_a_path(service: Service) -> None:
    assert use(service, lambda batches: batches.texts("../files?x=y")) == []
    assert service.asked[-1].path == "/v1/batches/..%2Ffiles%3Fx%3Dy"


# --- discarding


def test_the_input_goes_last(service: Service, script: BatchService) -> None:
    name = submitted(service, [["one"], ["two"]])
    script.files["err"] = b""
    script.jobs[0]["error_file_id"] = "err"
    use(service, lambda batches: batches.discard(name))
    assert script.deleted == ["batch_1-out", "err", "file-in1"]
    assert script.files == {}
    assert script.jobs[0]["status"] == "completed"


def test_a_job_that_works_is_cancelled_once(service: Service, script: BatchService) -> None:
    script.status = "in_progress"
    name = submitted(service)
    for _ in range(2):
        use(service, lambda batches: batches.discard(name))
    assert sum(it.path.endswith("/cancel") for it in service.asked) == 1
    assert script.files == {}


def test_a_job_that_ends_as_it_is_cancelled(service: Service, script: BatchService) -> None:
    script.status = "in_progress"
    name = submitted(service)

    def ends(asked: Asked) -> Reply:
        if not asked.path.endswith("/cancel"):
            return script(asked)
        script.jobs[0] |= {"status": "completed", "output_file_id": "out"}
        script.files["out"] = b""
        return reply({"error": {"message": "Cannot cancel a batch with status 'completed'."}}, 409)

    service.script = ends
    use(service, lambda batches: batches.discard(name))
    assert script.files == {}


def test_a_job_that_cannot_be_cancelled_is_kept_in_sight(service: Service, script: BatchService) -> None:
    script.status = "in_progress"
    name = submitted(service)
    broken = reply({"error": {"message": "down"}}, 500)
    service.script = lambda asked: broken if asked.path.endswith("/cancel") else script(asked)
    assert isinstance(failure(service, lambda batches: batches.discard(name)), Retry)
    assert len(script.files) == 1


# --- everything that may answer to anything


@pytest.mark.parametrize("errand", ERRANDS)
def test_a_server_without_a_batch_interface(service: Service, errand: str) -> None:
    for status, body in ((404, {"detail": "Not Found"}), (404, HTML), (405, {}), (501, {})):
        if status == 404 and body is not HTML and errand in ("texts", "answers", "discard"):
            continue  # the service's own words for a job that is not there
        service.always(body, status)
        error = failure(service, ERRANDS[errand])
        assert isinstance(error, Unreachable)
        assert "it has no batch interface" in error.cause
        assert "headwater run" in error.cure


@pytest.mark.parametrize("errand", ERRANDS)
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply(HTML), Unreachable, "no embedding service"),
        (reply({"hello": "world"}), Unreachable, "no embedding service"),
        (reply(b"", 307, location="http://elsewhere.example/"), Unreachable, "it redirects to elsewhere.example"),
        (reply({"error": {"message": f"wrong: {KEY}"}}, 401), Denied, "the key is refused"),
        (reply({"error": {"code": "insufficient_quota"}}, 429), Denied, "no quota left"),
        (reply({"error": {"message": "slow"}}, 429, retry_after="7"), RateLimited, "HTTP 429: slow"),
        (reply({"error": {"message": "down"}}, 503), Retry, "HTTP 503"),
        (reply(HTML, 502), Retry, "HTTP 502"),
        (reply(b'{"id": "file'), Retry, "breaks off"),
    ],
    ids=["page", "json", "redirect", "key", "quota", "limit", "503", "502", "cut"],
)
def test_what_may_answer(service: Service, errand: str, answer: Reply, kind: type[HeadwaterError], words: str) -> None:
    service.script = lambda asked: answer
    error = failure(service, ERRANDS[errand])
    assert isinstance(error, kind)
    assert words in str(error)
    if kind is RateLimited:
        assert isinstance(error, RateLimited)
        assert error.after_s == 7


@pytest.mark.parametrize("errand", ["jobs", "texts", "answers", "discard"])
def test_no_text_is_to_blame_where_none_was_sent(service: Service, errand: str) -> None:
    service.always({"error": {"message": "Invalid 'limit'."}}, 400)
    assert isinstance(failure(service, ERRANDS[errand]), Unreachable)


def test_a_silent_service(service: Service) -> None:
    """A list is bounded as any call is, a file by a longer time."""
    service.script = lambda asked: reply({"data": []}, x_drips="1")
    assert "within 0.3 s" in str(failure(service, ERRANDS["jobs"], timeout_s=0.3))


def test_a_file_may_take_longer_than_a_call(service: Service, script: BatchService) -> None:
    name = submitted(service)

    def slow(asked: Asked) -> Reply:
        answer = script(asked)
        if not (asked.path.endswith("/content") or asked.path == "/v1/files"):
            return answer
        return answer._replace(headers={**answer.headers, "x-drips": "1"})

    service.script = slow
    assert len(use(service, lambda batches: batches.answers(name), timeout_s=0.5)) == 2
    assert use(service, ERRANDS["submit"], timeout_s=0.5)


def test_a_file_may_take_as_long_as_a_call(
    service: Service, script: BatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.embedding.providers.openai_batches._TRANSFER_S", 0.5)
    name = submitted(service)
    service.script = lambda asked: script(asked)._replace(headers={"x-drips": "1"})
    assert use(service, lambda batches: batches.texts(name), timeout_s=30.0) == CALLS
