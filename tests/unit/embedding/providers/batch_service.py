"""OpenAI's Batch API, as much of it as the adapter uses: each job ends as it is handed in, unless a test wants more."""

from __future__ import annotations

import json
import re
import threading
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.embedding.providers import services
from tests.unit.embedding.providers.services import Asked, Reply, reply

PAGE = 2
POISON = "a text that nobody may see"


def lines(*them: object) -> bytes:
    return b"".join(json.dumps(it).encode() + b"\n" for it in them)


class BatchService:
    """The script of a service. `files` is what is stored, `jobs` what was made, the oldest first.

    `status` is that of jobs from now on; `errors` why they failed. It lists few things a page, the newest first.
    """

    def __init__(self, status: str = "completed", errors: list[Any] | None = None) -> None:
        self.status, self.errors = status, errors
        self.files: dict[str, bytes] = {}
        self.forms: list[dict[str, str]] = []
        self.jobs: list[dict[str, Any]] = []
        self.page = PAGE
        self.deleted: list[str] = []
        self._one = threading.Lock()

    def __call__(self, asked: Asked) -> Reply:
        with self._one:
            return self.answer(asked)

    def answer(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        query = {name: value[0] for name, value in parse_qs(parts.query).items()}
        match [asked.method, *parts.path.removeprefix("/v1/").split("/")]:
            case ["POST", "embeddings"]:
                return self.embed(asked.body)
            case ["POST", "files"]:
                return reply(self.upload(asked))
            case ["POST", "batches"]:
                return reply(self.make(asked.body))
            case ["GET", "files"]:
                assert query["purpose"] == "batch"
                return self.listed([{"id": it, "object": "file"} for it in self.files if "-in" in it], query)
            case ["GET", "batches"]:
                return self.listed(self.jobs, query)
            case ["GET", "files", file, "content"] if file in self.files:
                return reply(self.files[file])
            case ["DELETE", "files", file] if file in self.files:
                del self.files[file]
                self.deleted.append(file)
                return reply({"id": file, "deleted": True})
            case ["GET", "batches", job] if self.of(job):
                return reply(self.of(job))
            case ["POST", "batches", job, "cancel"] if found := self.of(job):
                found["status"] = "cancelling"
                return reply(found)
        return reply({"error": {"message": "No such thing.", "type": "invalid_request_error", "code": None}}, 404)

    def of(self, job: str) -> dict[str, Any]:
        return next((it for it in self.jobs if it["id"] == job), {})

    def embed(self, body: Any) -> Reply:
        if POISON in str(body["input"]):
            error = {"message": f"It says: {POISON}", "type": "invalid_request_error", "code": "invalid_value"}
            return reply({"error": error}, 400)
        return services.openai(Asked("POST", "/v1/embeddings", {}, body))

    def upload(self, asked: Asked) -> dict[str, Any]:
        head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
        form: dict[str, str] = {}
        for part in message_from_bytes(head + asked.body).get_payload():
            field = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]  # a part
            form[field] = part.get_filename() or part.get_payload()  # type: ignore[index, union-attr, assignment]  # as above
        self.forms.append(form)
        found = re.search(rb"application/jsonl\r\n\r\n(.*)\r\n--headwater-part--\r\n\Z", asked.body, re.DOTALL)
        assert found, "no file"
        name = f"file-in{len(self.forms)}"
        self.files[name] = found.group(1)
        return {"id": name, "object": "file", "bytes": len(found.group(1)), "purpose": "batch"}

    def make(self, body: Any) -> dict[str, Any]:
        calls = [json.loads(it) for it in self.files[body["input_file_id"]].splitlines()]
        number = len(self.jobs) + 1
        job = {"id": f"batch_{number}", "object": "batch", "created_at": 1_700_000_000 + number // 3, **body}
        job |= {"status": self.status, "errors": None, "output_file_id": None, "error_file_id": None}
        job["request_counts"] = {"total": len(calls), "completed": 0, "failed": 0}
        if self.status == "failed":
            job["errors"] = {"object": "list", "data": self.errors}
        elif self.status == "completed":
            self.complete(job, calls)
        self.jobs.append(job)
        return job

    def complete(self, job: dict[str, Any], calls: list[Any]) -> None:
        told: dict[bool, list[object]] = {True: [], False: []}
        for call in calls:
            answer = self.embed(call["body"])
            response = {"status_code": answer.status, "request_id": "", "body": json.loads(answer.body)}
            line = {"id": "batch_req_1", "custom_id": call["custom_id"], "response": response, "error": None}
            told[answer.status == 200].insert(0, line)
        for good, field, name in ((True, "output_file_id", "out"), (False, "error_file_id", "err")):
            if told[good]:
                job[field] = f"{job['id']}-{name}"
                self.files[job[field]] = lines(*told[good])
        job["request_counts"] |= {"completed": len(told[True]), "failed": len(told[False])}

    def listed(self, things: list[dict[str, Any]], query: dict[str, str]) -> Reply:
        newest = things[::-1]
        start = next((at + 1 for at, it in enumerate(newest) if it["id"] == query.get("after")), 0)
        data = newest[start : start + self.page]
        return reply({"object": "list", "data": data, "has_more": start + self.page < len(newest)})
