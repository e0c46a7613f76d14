"""OpenAI's Batch API, and that of all that have the same one: a file of calls, a job of up to a day, files of answers.

Everything is kept at the service. The job's metadata has the label. Its input file says which texts it is about, and
that this file is there is what tells a job from a discarded one: jobs themselves cannot be deleted.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from headwater.embedding.batches import BatchJob, BatchLimits, JobState
from headwater.embedding.port import Description, Embedded, Purpose
from headwater.embedding.providers.http_embedder import NUMBER_BYTES, Dialect, encoded, understood
from headwater.embedding.providers.http_service import HttpService
from headwater.embedding.providers.refusals import Answer, Complaint, Sent, complaint, foreign, refusal
from headwater.embedding.providers.vectors import Damaged, decode
from headwater.errors import HeadwaterError, RateLimited, Reject, Retry

#: What the service allows in a job: calls, and texts in all of them; and in a file.
_MOST_TEXTS = 50_000
_FILE_BYTES = 200_000_000
# Below that, so that what a job brings and what it takes fit into any machine's memory: 8,192 vectors of 1,536
# dimensions. Their file has a third more, or six times as much from a server that sends numbers.
_VECTORS_BYTES = 48 << 20
_INPUT_BYTES = 32 << 20
_LINE_BYTES = 1 << 10
_PAGE_BYTES = 16 << 20
#: A file of this size takes longer than a call, which is what the service's own time-out is for.
_TRANSFER_S = 600.0
#: A job ends within a day. Two weeks to come back for it, the least that Azure takes; then the texts and the vectors
#: go, whatever became of us.
_KEPT_S = 14 * 24 * 3600
_EXPIRY = {"anchor": "created_at", "seconds": _KEPT_S}

_URL = "/v1/embeddings"
_METADATA = "headwater"
#: No line of JSON holds a line break, so this cannot occur in a file.
_BOUNDARY = "headwater-part"
_FULL = "token_limit_exceeded"
#: Of calls that the service did not come to.
_NOT_DONE = {"batch_expired", "batch_cancelled"}
#: A code is shown, words are not: they may quote a text, and the texts are not at hand.
_CODE = re.compile(r"[a-z][a-z0-9_.-]{2,59}", re.IGNORECASE)
_STATES = {
    "failed": JobState.REFUSED,
    "completed": JobState.ENDED,
    "expired": JobState.ENDED,
    "cancelled": JobState.ENDED,
}


class _Stored(msgspec.Struct):
    id: str


T = TypeVar("T")
Listed = TypeVar("Listed", bound=_Stored)


class _Error(msgspec.Struct):
    code: str | int | None = None
    line: int | None = None


class _Errors(msgspec.Struct):
    data: list[_Error] | None = None


class _Counts(msgspec.Struct):
    total: int = 0
    completed: int = 0
    failed: int = 0


class _Batch(_Stored):
    status: str
    input_file_id: str | None = None
    created_at: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Errors | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, Any] | None = None

    @property
    def state(self) -> JobState:
        return _STATES.get(self.status, JobState.WORKING)

    @property
    def works_on(self) -> bool:
        """Whether it works and nobody has cancelled it."""
        return self.state is JobState.WORKING and self.status != "cancelling"

    @property
    def label(self) -> object:
        return (self.metadata or {}).get(_METADATA)

    def told(self) -> BatchJob:
        counts = self.request_counts or _Counts()
        errors = (self.errors.data if self.errors else None) or []
        refused = self.state is JobState.REFUSED
        return BatchJob(
            self.id,
            self.state,
            counts.total,
            counts.completed + counts.failed,
            _reason(errors) if refused else "",
            full=refused and any(it.code == _FULL for it in errors),
        )


class _Page(msgspec.Struct, Generic[Listed]):
    data: list[Listed]
    has_more: bool = False


class _Call(msgspec.Struct):
    """A line of an input file."""

    custom_id: str
    body: dict[str, Any]


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw


class _Line(msgspec.Struct):
    """A line of an output or error file."""

    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


class OpenAiBatches:
    """The batch interface of a service that speaks like OpenAI. It is closed with its embedder.

    An input file is read whole, 200 MB at most, and so are the answers of a job: 64 MiB from a service that sends
    base64, 360 MiB at most.
    """

    def __init__(self, service: HttpService, dialect: Dialect, sent: Sent, model: Description) -> None:
        self._service = service
        self._dialect = dialect
        self._sent = sent
        texts = min(_MOST_TEXTS, max(1, _VECTORS_BYTES // (4 * model.dimensions)))
        self._limits = BatchLimits(calls=texts, texts=texts, bytes=_INPUT_BYTES)
        self._answer_bytes = texts * (model.dimensions * NUMBER_BYTES + _LINE_BYTES)

    def __repr__(self) -> str:
        return f"OpenAiBatches({self._sent.name!r} at {self._sent.host!r})"

    def limits(self) -> BatchLimits:
        return self._limits

    async def submit(self, label: str, calls: Sequence[Sequence[str]]) -> BatchJob:
        body = await asyncio.to_thread(self._form, label, calls)
        sent = msgspec.structs.replace(self._sent, texts=[text for call in calls for text in call])
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        answer = await self._service.ask("/files", body, sent, _PAGE_BYTES, kind=kind, timeout_s=_TRANSFER_S)
        file = self._read(answer, sent, _Stored).id
        request = {
            "input_file_id": file,
            "endpoint": _URL,
            "completion_window": "24h",
            "metadata": {_METADATA: label},
            "output_expires_after": _EXPIRY,
        }
        try:
            answer = await self._service.ask("/batches", msgspec.json.encode(request), sent, _PAGE_BYTES)
            return self._read(answer, sent, _Batch).told()
        except HeadwaterError as error:
            if not isinstance(error, Retry) or isinstance(error, RateLimited):
                # No job was made of it: the texts need not stay until they expire. After a time-out there may be one.
                with suppress(HeadwaterError):
                    await self._delete(file)
            raise

    async def jobs(self, label: str) -> list[BatchJob]:
        found = [it for it in await self._listed("/batches", {"limit": "100"}, _Page[_Batch]) if it.label == label]
        if not found:
            return []
        files = {it.id for it in await self._listed("/files", {"purpose": "batch"}, _Page[_Stored])}
        found.reverse()  # the newest are told first, and many may be of one second
        ordered = sorted(found, key=lambda batch: batch.created_at)
        return [batch.told() for batch in ordered if batch.input_file_id in files]

    async def texts(self, job: str) -> list[list[str]]:
        batch = await self._batch(job)
        content = await self._content(batch.input_file_id if batch else None, _FILE_BYTES)
        return await asyncio.to_thread(self._handed_in, content)

    async def answers(self, job: str) -> Mapping[int, Embedded | str]:
        batch = await self._batch(job)
        if batch is None or batch.state is not JobState.ENDED:
            return {}
        calls = (batch.request_counts or _Counts()).total or _MOST_TEXTS
        lines: list[tuple[int, Embedded | str | None]] = []
        for file in (batch.output_file_id, batch.error_file_id):
            content = await self._content(file, self._answer_bytes)
            lines += await asyncio.to_thread(self._answered, content)
        named = Counter(place for place, _ in lines)
        return {
            place: answer for place, answer in lines if answer is not None and 0 <= place < calls and named[place] == 1
        }

    async def discard(self, job: str) -> None:
        batch = await self._batch(job)
        if batch is None:
            return
        if batch.works_on:
            place = f"{_place('batches', job)}/cancel"
            answer = await self._service.ask(place, None, self._sent, _PAGE_BYTES, method="POST")
            # It is refused, too, where the job has just ended. What it is now says which files there are.
            batch = await self._batch(job) or batch
            if batch.works_on:
                self._check(answer, self._sent)
        # The input file last: as long as it is there, somebody will come back for the others.
        for file in (batch.output_file_id, batch.error_file_id, batch.input_file_id):
            if file:
                await self._delete(file)

    # --- what goes out

    def _form(self, label: str, calls: Sequence[Sequence[str]]) -> bytes:
        """Write the upload of a file of calls."""
        name = re.sub(r"[^A-Za-z0-9._-]", "-", label)[:100]
        fields = {"purpose": "batch", **{f"expires_after[{name}]": str(value) for name, value in _EXPIRY.items()}}
        form = bytearray()
        for field, value in fields.items():
            form += f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        form += (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="headwater-{name}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        before = 0
        for place, texts in enumerate(calls):
            form += self._line(place, texts, before)
            before += len(texts)
        form += f"\r\n--{_BOUNDARY}--\r\n".encode()
        return bytes(form)

    def _line(self, place: int, texts: Sequence[str], before: int) -> bytes:
        """Write a call. `before`: how many texts came before it."""
        for index, text in enumerate(texts):
            if not text or text.isspace():
                raise Reject("the text is empty, which the service refuses", before + index)
        try:
            line = {"custom_id": str(place), "method": "POST", "url": _URL, "body": self._body(texts)}
            return encoded(line, texts) + b"\n"
        except Reject as reject:
            reject.index = before + (reject.index or 0)
            raise

    def _body(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the body of the ordinary call for these texts."""
        prefix = self._dialect.options.document_prefix
        return self._dialect.request([prefix + text for text in texts], Purpose.DOCUMENT)[1]

    # --- what comes in

    def _handed_in(self, content: bytes) -> list[list[str]]:
        """Read an input file; empty where it is not one that would be written for this model."""
        calls: dict[int, list[str]] = {}
        for line in self._lines(content):
            texts = self._texts(line)
            if texts is None:
                return []
            calls[texts[0]] = texts[1]
        return [calls[place] for place in range(len(calls))] if calls.keys() == set(range(len(calls))) else []

    def _texts(self, line: bytes) -> tuple[int, list[str]] | None:
        """Read a call: its place and its texts; None where this model has other calls."""
        try:
            call = decode(line, _Call)
            given = msgspec.convert(call.body.get("input"), list[str])
        except msgspec.DecodeError:
            return None
        texts = [text[len(self._dialect.options.document_prefix) :] for text in given]
        return (_number(call.custom_id), texts) if self._body(texts) == call.body else None

    def _answered(self, content: bytes) -> list[tuple[int, Embedded | str | None]]:
        """Read an output or error file: places and answers, None where there is none that can be used."""
        found = []
        for line in self._lines(content):
            with suppress(msgspec.DecodeError):
                told = decode(line, _Line)
                found.append((_number(told.custom_id), self._answer(told)))
        return found

    def _answer(self, line: _Line) -> Embedded | str | None:
        response = line.response
        if response is None:
            return None if line.error is None or line.error.code in _NOT_DONE else _reason([line.error])
        if not 200 <= response.status_code < 300:
            return _told(response.status_code, complaint(bytes(response.body)))
        try:
            read = self._dialect.read(Answer(response.status_code, {}, bytes(response.body)))
        except (Damaged, msgspec.DecodeError):
            return None
        return Embedded(read.vectors, read.index, read.tokens or 0)

    def _lines(self, content: bytes) -> Iterator[bytes]:
        """Return the lines of a file of JSON. Raise Unreachable when it is a page, Retry when it breaks off."""
        if content and not content.lstrip().startswith(b"{"):
            raise foreign(self._sent, 200)
        for line in BytesIO(content):
            if line.strip():
                if not line.endswith(b"\n"):
                    _whole(line, self._sent)
                yield line

    # --- the service

    async def _batch(self, job: str) -> _Batch | None:
        answer = await self._service.ask(_place("batches", job), None, self._sent, _PAGE_BYTES)
        return None if self._missing(answer) else self._read(answer, self._sent, _Batch)

    async def _content(self, file: str | None, most_bytes: int) -> bytes:
        """Return what a file holds; nothing when there is none."""
        if not file:
            return b""
        place = f"{_place('files', file)}/content"
        answer = await self._service.ask(place, None, self._sent, most_bytes, timeout_s=_TRANSFER_S)
        if self._missing(answer):
            return b""
        self._check(answer, self._sent)
        return answer.body

    async def _delete(self, file: str) -> None:
        answer = await self._service.ask(_place("files", file), None, self._sent, _PAGE_BYTES, method="DELETE")
        if not self._missing(answer):
            self._check(answer, self._sent)

    async def _listed(self, place: str, query: dict[str, str], kind: type[_Page[Listed]]) -> list[Listed]:
        """Return all of a list that comes in pages."""
        found: dict[str, Listed] = {}
        while True:
            answer = await self._service.ask(f"{place}?{urlencode(query)}", None, self._sent, _PAGE_BYTES)
            page = self._read(answer, self._sent, kind)
            new = {it.id: it for it in page.data if it.id not in found}
            found |= new
            if not page.has_more or not new:  # nothing new: it does not know what `after` means
                return list(found.values())
            query = {**query, "after": page.data[-1].id}

    def _read(self, answer: Answer, sent: Sent, kind: type[T]) -> T:
        self._check(answer, sent)
        return understood(answer, sent, lambda it: decode(it.body, kind))

    def _check(self, answer: Answer, sent: Sent) -> None:
        if 200 <= answer.status < 300:
            return
        if answer.status in (404, 405, 501):
            cure = "`headwater run` embeds without it"
            raise sent.unreachable(f"it has no batch interface (HTTP {answer.status})", cure)
        error = refusal(answer, sent)
        if isinstance(error, Reject) and not sent.texts:
            raise sent.unreachable(error.reason, "Check the address, and that the account may use batches")
        raise error

    def _missing(self, answer: Answer) -> bool:
        """Tell whether the service says that there is no such job or file. A page that says so is not the service."""
        return answer.status == 404 and not complaint(answer.body).foreign


def _place(kind: str, name: str) -> str:
    return f"/{kind}/{quote(name, safe='')}"


def _number(custom_id: str) -> int:
    """Return the place of a call; -1 where it is none."""
    return int(custom_id) if custom_id.isascii() and custom_id.isdigit() and len(custom_id) < 7 else -1


def _whole(line: bytes, sent: Sent) -> None:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise Retry(sent.name, f"{sent.host} sent a file that breaks off") from error


def _reason(errors: Sequence[_Error]) -> str:
    """Say why a job or a call was refused, in the service's codes alone."""
    for error in errors:
        code = str(error.code or "")
        if _CODE.fullmatch(code):
            return code if error.line is None else f"{code} (line {error.line})"
    return "the service does not say why"


def _told(status: int, said: Complaint) -> str:
    codes = ", ".join(sorted(code for code in said.codes if _CODE.fullmatch(code)))
    return f"HTTP {status}: {codes}" if codes else f"HTTP {status}"
