"""The shape of OpenAI's endpoints for files and jobs: requests that ask for no vectors at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec

from headwater.rehearsal.batches import ENDPOINT, KEPT_S, MOST_KEPT, Batches, File, Job, Order, Status
from headwater.rehearsal.multipart import read_form
from headwater.rehearsal.openai import key_of
from headwater.rehearsal.replies import Reply

_JSON = {"content-type": "application/json"}
_PATH = re.compile(r".*?/(files|batches)(?:/([^/]+)(?:/(content|cancel))?)?")
_Kept = TypeVar("_Kept", File, Job)


class Errand(NamedTuple):
    """A request about files and jobs. `about` is its method and path without an id: `GET /files/{id}`."""

    about: str
    id: str
    key: str
    query: dict[str, str]
    content_type: str
    body: bytes

    def __repr__(self) -> str:
        return f"Errand({self.about})"


class _Expiry(msgspec.Struct):
    """When a file goes: seconds after something."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, msgspec.Meta(ge=3600, le=KEPT_S)]


class _Creation(msgspec.Struct):
    """The body of POST /batches."""

    input_file_id: str
    endpoint: Literal["/v1/embeddings"]
    completion_window: Literal["24h"]
    metadata: (
        Annotated[
            dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
            msgspec.Meta(max_length=16),
        ]
        | None
    ) = None
    output_expires_after: _Expiry | None = None


def read(method: str, path: str, query: bytes, headers: Mapping[str, str], body: bytes) -> Errand | None:
    """Read a request; None where it is about something else."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    kind, id_, what = found.groups()
    about = f"{method} /{kind}" + ("/{id}" if id_ else "") + (f"/{what}" if what else "")
    return Errand(
        about=about,
        id=id_ or "",
        key=key_of(headers),
        query=dict(parse_qsl(query.decode("latin-1"))),
        content_type=headers.get("content-type", ""),
        body=body,
    )


def run(batches: Batches, errand: Errand, now_us: int) -> Reply:
    """Do what a request asks for, and return the reply to it."""
    do = _ERRANDS.get(errand.about)
    return do(batches, errand, now_us) if do else _error(405, "Not allowed to do this here.")


def _upload(batches: Batches, errand: Errand, now_us: int) -> Reply:
    form = read_form(errand.content_type, errand.body)
    if form is None or "file" not in form or "purpose" not in form:
        return _error(400, "A form with 'file' and 'purpose' is required.")
    if form["purpose"].content != b"batch":
        return _error(400, "Only files with the purpose 'batch' are kept here.", "purpose")
    fields = {name: part.content.decode("utf-8", "replace") for name, part in form.items() if name != "file"}
    keep_s = KEPT_S
    if any(name.startswith("expires_after") for name in fields):
        expiry = {"anchor": fields.get("expires_after[anchor]"), "seconds": fields.get("expires_after[seconds]")}
        try:
            keep_s = msgspec.convert(expiry, _Expiry, strict=False).seconds
        except msgspec.ValidationError as error:
            return _error(400, f"Invalid 'expires_after': {error}.", "expires_after")
    name, content = form["file"]
    file = batches.upload(now_us, errand.key, name or "upload", content, keep_s)
    return _json(_file(batches, file)) if file else _error(413, "The file is too large, or too much is kept already.")


def _list_files(batches: Batches, errand: Errand, now_us: int) -> Reply:
    kept = batches.files(now_us, errand.key)
    purpose = errand.query.get("purpose")
    if purpose is not None:
        kept = [file for file in kept if file.purpose == purpose]
    if errand.query.get("order") == "asc":
        kept.reverse()
    return _page(errand, kept, lambda file: _file(batches, file), 10_000, 10_000)


def _tell_file(batches: Batches, errand: Errand, now_us: int) -> Reply:
    file = _found(batches.files(now_us, errand.key), errand.id)
    return _json(_file(batches, file)) if file else _no_file(errand)


def _content(batches: Batches, errand: Errand, now_us: int) -> Reply:
    file = _found(batches.files(now_us, errand.key), errand.id)
    return Reply(200, {"content-type": "application/octet-stream"}, file.content) if file else _no_file(errand)


def _delete(batches: Batches, errand: Errand, now_us: int) -> Reply:
    file = _found(batches.files(now_us, errand.key), errand.id)
    if file is None:
        return _no_file(errand)
    batches.delete(file)
    return _json({"id": file.id, "object": "file", "deleted": True})


def _create(batches: Batches, errand: Errand, now_us: int) -> Reply:
    try:
        asked = msgspec.json.decode(errand.body, type=_Creation)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _error(400, f"Invalid request: {error}.")
    file = _found(batches.files(now_us, errand.key), asked.input_file_id)
    if file is None or file.purpose != "batch":
        return _error(400, "Invalid 'input_file_id': there is no such file with the purpose 'batch'.", "input_file_id")
    keep_s = asked.output_expires_after.seconds if asked.output_expires_after else KEPT_S
    job = batches.create(now_us, Order(errand.key, file, asked.metadata, keep_s))
    return _json(_job(batches, job))


def _list_jobs(batches: Batches, errand: Errand, now_us: int) -> Reply:  # noqa: ARG001 (as all of them)
    return _page(errand, batches.jobs(errand.key), lambda job: _job(batches, job), 20, 100)


def _tell_job(batches: Batches, errand: Errand, now_us: int) -> Reply:  # noqa: ARG001 (as all of them)
    job = _found(batches.jobs(errand.key), errand.id)
    return _json(_job(batches, job)) if job else _no_job(errand)


def _cancel(batches: Batches, errand: Errand, now_us: int) -> Reply:
    job = _found(batches.jobs(errand.key), errand.id)
    if job is None:
        return _no_job(errand)
    if job.ended:
        return _error(409, f"Cannot cancel a batch with status '{job.status}'.")
    batches.cancel(now_us, job)
    return _json(_job(batches, job))


_ERRANDS: dict[str, Callable[[Batches, Errand, int], Reply]] = {
    "POST /files": _upload,
    "GET /files": _list_files,
    "GET /files/{id}": _tell_file,
    "GET /files/{id}/content": _content,
    "DELETE /files/{id}": _delete,
    "POST /batches": _create,
    "GET /batches": _list_jobs,
    "GET /batches/{id}": _tell_job,
    "POST /batches/{id}/cancel": _cancel,
}


def _found(kept: Sequence[_Kept], id_: str) -> _Kept | None:
    return next((each for each in kept if each.id == id_), None)


def _page(
    errand: Errand, kept: Sequence[_Kept], tell: Callable[[_Kept], dict[str, object]], usual: int, most: int
) -> Reply:
    """Return the part of a list that a request asks for."""
    limit = errand.query.get("limit", str(usual))
    if not (limit.isdecimal() and 1 <= int(limit) <= most):
        return _error(400, f"Invalid 'limit': it must lie between 1 and {most}.", "limit")
    after = errand.query.get("after")
    places = [place for place, each in enumerate(kept) if each.id == after]
    if after is not None and not places:
        return _error(400, "Invalid 'after': there is no such object.", "after")
    rest = kept[places[0] + 1 :] if places else kept
    shown = rest[: int(limit)]
    ends = {"first_id": shown[0].id, "last_id": shown[-1].id} if shown else {"first_id": None, "last_id": None}
    return _json({"object": "list", "data": list(map(tell, shown)), **ends, "has_more": len(rest) > len(shown)})


def _file(batches: Batches, file: File) -> dict[str, object]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": len(file.content),
        "created_at": batches.unix(file.created_us),
        "expires_at": batches.unix(file.expires_us),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def _job(batches: Batches, job: Job) -> dict[str, object]:
    created_at = batches.unix(job.reached[Status.VALIDATING])
    reached = {
        f"{status}_at": batches.unix(job.reached[status]) if status in job.reached else None
        for status in Status
        if status is not Status.VALIDATING
    }
    problems = {"object": "list", "data": job.problems}
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": ENDPOINT,
        "model": job.model,
        "errors": problems if job.problems else None,
        "input_file_id": job.order.input.id,
        "completion_window": "24h",
        "status": job.status,
        "output_file_id": job.output_id,
        "error_file_id": job.errors_id,
        "created_at": created_at,
        "expires_at": created_at + 86_400,
        **reached,
        "request_counts": {"total": job.total, "completed": job.completed, "failed": job.failed},
        "usage": {
            "input_tokens": job.used_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": job.used_tokens,
        },
        "metadata": job.order.metadata,
    }


def _json(value: object) -> Reply:
    return Reply(200, _JSON, msgspec.json.encode(value))


def _no_file(errand: Errand) -> Reply:
    return _error(404, f"No such File object: {errand.id}", "id")


def _no_job(errand: Errand) -> Reply:
    return _error(404, f"No batch found with id '{errand.id}'.")


def _error(status: int, message: str, param: str | None = None) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return Reply(status, _JSON, msgspec.json.encode({"error": error}))


#: What a body that is larger than all that may be kept is told.
TOO_LARGE = _error(413, f"The request is larger than {MOST_KEPT} bytes.")
