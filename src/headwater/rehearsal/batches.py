"""Files, and jobs of many requests that are worked on later, as OpenAI's batch interface has them. Told the time; pure.

A job is validated for the first tenth of its time, works on its lines one after another for eight, and writes its
files in the last. Times are whole microseconds since the provider's start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from hashlib import blake2b

import msgspec

from headwater.rehearsal import openai
from headwater.rehearsal.plan import Plan
from headwater.rehearsal.replies import Reply
from headwater.rehearsal.service import Ask, Service, Verdict, chance

ENDPOINT = "/v1/embeddings"
#: The service's own limits: bytes of a file, lines of a job, and texts in all of its lines together.
MOST_BYTES = 200_000_000
MOST_LINES = 50_000
MOST_TEXTS = 50_000
#: All files together, in memory, and once more what jobs that have not ended were asked and have answered.
MOST_KEPT = 1 << 30
#: How long the files of a job are kept, unless somebody wants otherwise.
KEPT_S = 30 * 86_400
_ERRORS_TOLD = 100


class Status(StrEnum):
    """How far a job is."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class File(msgspec.Struct, frozen=True):
    """A file of an account."""

    id: str
    owner: str
    name: str
    purpose: str
    created_us: int
    expires_us: int
    content: bytes

    def __repr__(self) -> str:
        return f"File({self.id}, {len(self.content)} bytes)"


class Order(msgspec.Struct, frozen=True):
    """What a job is made of. `keep_s` is how long its output is kept."""

    owner: str
    input: File
    metadata: dict[str, str] | None = None
    keep_s: int = KEPT_S

    def __repr__(self) -> str:
        return f"Order({self.input})"


class Line(msgspec.Struct, frozen=True):
    """A line of a job; `ask` is None where its body is no request."""

    place: int
    custom_id: str
    ask: Ask | None


class Problem(msgspec.Struct, frozen=True):
    """Why a job failed, and on which line of its file, from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class _Written(msgspec.Struct):
    """A line as it stands in the file."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


_WRITTEN = msgspec.json.Decoder(_Written)


class Job(msgspec.Struct, kw_only=True):
    """A job. `reached` says when it came to each status; `taken` are its lines that were begun, `wanted` those that
    will be; `output_id` and `errors_id` are the files in which its answers stand in the end.
    """

    id: str
    order: Order
    status: Status
    reached: dict[Status, int]
    model: str | None = None
    lines: Sequence[Line] = ()
    total: int = 0
    wanted: int = 0
    taken: int = 0
    completed: int = 0
    failed: int = 0
    queued_tokens: int = 0
    used_tokens: int = 0
    problems: Sequence[Problem] = ()
    answers: list[bytes] = msgspec.field(default_factory=list)
    failures: list[bytes] = msgspec.field(default_factory=list)
    output_id: str | None = None
    errors_id: str | None = None

    def __repr__(self) -> str:
        return f"Job({self.id}, {self.status})"

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.status in (Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED)


class Batches:
    """All files and jobs of a provider, which go when it ends. `started_at_us` is its start, since the epoch."""

    def __init__(self, service: Service, started_at_us: int) -> None:
        self._plan: Plan = service.plan
        self._service = service
        self._started_at_us = started_at_us
        self._duration_us = round(service.plan.batch.seconds * 1e6)
        self._files: dict[str, File] = {}
        self._jobs: dict[str, Job] = {}
        self._made = 0
        self._answered_bytes = 0  # of the jobs that have not ended

    def upload(self, now_us: int, owner: str, name: str, content: bytes, keep_s: int) -> File | None:
        """Keep a file; None where it is too large, or too much is kept already."""
        self._forget(now_us)
        if len(content) > MOST_BYTES or self._kept() + len(content) > MOST_KEPT:
            return None
        return self._add(now_us, owner, name, "batch", content, keep_s)

    def files(self, now_us: int, owner: str) -> list[File]:
        """Return an account's files, the newest first."""
        self._forget(now_us)
        return [file for file in reversed(self._files.values()) if file.owner == owner]

    def delete(self, file: File) -> None:
        """Keep a file no more. A job that was made of it goes on."""
        self._files.pop(file.id, None)

    def create(self, now_us: int, order: Order) -> Job:
        """Begin a job."""
        job = Job(id=self._id("batch_"), order=order, status=Status.VALIDATING, reached={Status.VALIDATING: now_us})
        self._jobs[job.id] = job
        return job

    def jobs(self, owner: str) -> list[Job]:
        """Return an account's jobs, the newest first."""
        return [job for job in reversed(self._jobs.values()) if job.order.owner == owner]

    def cancel(self, now_us: int, job: Job) -> None:
        """Begin no more lines of a job that has not ended. What was done is there in a moment. Idempotent."""
        if job.status is not Status.CANCELLING:
            _reach(job, Status.CANCELLING, now_us)

    def working(self) -> bool:
        """Whether a job has not ended."""
        return any(not job.ended for job in self._jobs.values())

    def step(self, now_us: int) -> tuple[Job, Line] | None:
        """Do what is due by now; return the line to be worked on next, for `done`, if one is due."""
        for job in self._jobs.values():
            if not job.ended:
                self._move(job, now_us)
            if job.status is Status.IN_PROGRESS and job.taken < job.wanted and now_us >= self._due_us(job):
                job.taken += 1
                return job, job.lines[job.taken - 1]
        return None

    def done(self, job: Job, line: Line, verdict: Verdict, reply: Reply | None) -> None:
        """Note what became of a line; no reply is one that took too long."""
        response = error = None
        if reply is None:
            error = {"code": "request_timeout", "message": "The request timed out."}
        else:
            request_id = reply.headers["x-request-id"]
            response = {"status_code": reply.status, "request_id": request_id, "body": msgspec.Raw(reply.body)}
        written = _result(job, line, response, error)
        if reply is not None and reply.status == 200:
            job.completed += 1
            job.used_tokens += verdict.reported
            job.answers.append(written)
        else:
            job.failed += 1
            job.failures.append(written)
        self._answered_bytes += len(written)
        if self._kept() > MOST_KEPT:
            job.wanted = job.taken  # no room for more: it will expire with what is done

    def unix(self, us: int) -> int:
        """Return a time as seconds since the epoch."""
        return (self._started_at_us + us) // 1_000_000

    def _move(self, job: Job, now_us: int) -> None:
        """Take a job through the statuses that are due."""
        passed_us = now_us - job.reached[Status.VALIDATING]
        if job.status is Status.VALIDATING and passed_us >= self._duration_us // 10:
            self._validate(job, now_us)
        whole = job.wanted == job.total
        if job.status is Status.IN_PROGRESS and whole and job.completed + job.failed == job.total:
            _reach(job, Status.FINALIZING, now_us)
        if job.status is Status.FINALIZING and passed_us >= self._duration_us:
            self._end(job, Status.COMPLETED, now_us)
        if job.status is Status.IN_PROGRESS and not whole and passed_us >= self._duration_us:
            self._end(job, Status.EXPIRED, now_us)
        if job.status is Status.CANCELLING and now_us - job.reached[Status.CANCELLING] >= self._duration_us // 10:
            self._end(job, Status.CANCELLED, now_us)

    def _due_us(self, job: Job) -> int:
        """Return when the next line is begun."""
        share = 0.1 + 0.8 * job.taken / job.total
        return job.reached[Status.VALIDATING] + int(share * self._duration_us)

    def _validate(self, job: Job, now_us: int) -> None:
        lines, problems = read_lines(job.order.input.content, job.order.owner)
        asks = [line.ask for line in lines if line.ask]
        if not problems:
            tokens = sum(sum(self._service.count(ask)) for ask in asks)
            problems = self._over_queue(job.order.owner, tokens)
            job.queued_tokens = tokens
        if problems:
            job.problems = problems[:_ERRORS_TOLD]
            self._end(job, Status.FAILED, now_us)
            return
        job.lines, job.total = lines, len(lines)
        job.wanted = int(self._plan.batch.answered * job.total)
        job.model = asks[0].model if asks else None
        _reach(job, Status.IN_PROGRESS, now_us)

    def _over_queue(self, owner: str, tokens: int) -> list[Problem]:
        most = self._plan.batch.queue_tokens
        queued = sum(job.queued_tokens for job in self._jobs.values() if job.order.owner == owner)
        if most is None or queued + tokens <= most:
            return []
        said = f"Enqueued token limit reached for {self._plan.model}. Limit: {most:,} enqueued tokens."
        return [Problem("token_limit_exceeded", f"{said} Please try again once some batches have been completed.")]

    def _end(self, job: Job, status: Status, now_us: int) -> None:
        """Write the files of a job, and forget what they were made of."""
        if status is Status.EXPIRED:
            unanswered = {
                "code": "batch_expired",
                "message": "The completion window ended before this request was done.",
            }
        else:
            unanswered = {"code": "batch_cancelled", "message": "The batch was cancelled before this request was done."}
        self._answered_bytes -= sum(map(len, job.answers)) + sum(map(len, job.failures))
        job.failures += [_result(job, line, None, unanswered) for line in job.lines[job.taken :]]
        job.output_id = self._written(now_us, job, "output", job.answers)
        job.errors_id = self._written(now_us, job, "error", job.failures)
        job.lines, job.answers, job.failures, job.queued_tokens = (), [], [], 0
        job.order = msgspec.structs.replace(job.order, input=msgspec.structs.replace(job.order.input, content=b""))
        _reach(job, status, now_us)

    def _written(self, now_us: int, job: Job, name: str, lines: list[bytes]) -> str | None:
        """Keep lines in another order than that in which they came; no file where there are none."""
        if not lines:
            return None
        order = sorted(range(len(lines)), key=lambda place: chance(self._plan.seed, place, name))
        if order == sorted(order):
            order.append(order.pop(0))
        content = b"".join(lines[place] for place in order)
        owner, keep_s = job.order.owner, job.order.keep_s
        return self._add(now_us, owner, f"{job.id}_{name}.jsonl", "batch_output", content, keep_s).id

    def _add(self, now_us: int, owner: str, name: str, purpose: str, content: bytes, keep_s: int) -> File:
        file = File(self._id("file-"), owner, name, purpose, now_us, now_us + keep_s * 1_000_000, content)
        self._files[file.id] = file
        return file

    def _forget(self, now_us: int) -> None:
        """Keep no file beyond its time."""
        self._files = {file.id: file for file in self._files.values() if now_us < file.expires_us}

    def _kept(self) -> int:
        """Return the bytes of all files, and of what jobs that have not ended were asked and have answered."""
        asked = sum(len(job.order.input.content) for job in self._jobs.values())
        return self._answered_bytes + asked + sum(len(file.content) for file in self._files.values())

    def _id(self, prefix: str) -> str:
        """Return a new id, that another run of the provider does not give again."""
        self._made += 1
        return prefix + blake2b(f"{self._started_at_us} {self._made}".encode(), digest_size=16).hexdigest()


def read_lines(content: bytes, owner: str) -> tuple[list[Line], list[Problem]]:
    """Read the file of a job; where there is a problem, there are no lines."""
    written = content.removesuffix(b"\n").split(b"\n") if content.strip() else []
    if not written:
        return [], [Problem("empty_file", "The input file is empty.")]
    if len(written) > MOST_LINES:
        return [], [Problem("too_many_tasks", f"The batch has more than {MOST_LINES} requests.")]
    lines: list[Line] = []
    problems: list[Problem] = []
    for read in _read(written, owner):
        if isinstance(read, Line):
            lines.append(read)
        else:
            problems.append(read)
    if sum(len(line.ask.texts) for line in lines if line.ask) > MOST_TEXTS:
        problems.append(Problem("too_many_tasks", f"The batch has more than {MOST_TEXTS} embedding inputs."))
    return ([], problems) if problems else (lines, [])


def _read(written: list[bytes], owner: str) -> Iterator[Line | Problem]:
    known: set[str] = set()
    model: str | None = None
    for number, raw in enumerate(written, 1):
        try:
            line = _WRITTEN.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            yield Problem("invalid_json_line", "This line is not parseable as valid JSON.", number)
            continue
        ask = openai.read(bytes(line.body), {"api-key": owner})
        model = model or (ask.model if ask else None)
        if (line.method, line.url) != ("POST", ENDPOINT):
            yield Problem("url_mismatch", "The URL provided does not match the batch endpoint.", number, "url")
        elif line.custom_id in known:
            yield Problem("duplicate_custom_id", "The custom_id is that of another request.", number, "custom_id")
        elif ask is not None and ask.model != model:
            yield Problem("model_mismatch", "The model is not that of the other requests.", number, "body.model")
        else:
            yield Line(number - 1, line.custom_id, ask)
        known.add(line.custom_id)


def _reach(job: Job, status: Status, now_us: int) -> None:
    job.status = status
    job.reached[status] = now_us


def _result(job: Job, line: Line, response: object, error: object) -> bytes:
    id_ = "batch_req_" + blake2b(f"{job.id} {line.place}".encode(), digest_size=16).hexdigest()
    written = {"id": id_, "custom_id": line.custom_id, "response": response, "error": error}
    return msgspec.json.encode(written) + b"\n"
