"""Requests about files and jobs: which they are, and how they are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.rehearsal.batches import KEPT_S, Batches
from headwater.rehearsal.counting import Characters
from headwater.rehearsal.errands import read, run
from headwater.rehearsal.plan import read_plan
from headwater.rehearsal.service import Service

HEADERS = {"authorization": "Bearer sesame", "content-type": "multipart/form-data; boundary=x"}


def made() -> Batches:
    return Batches(Service(read_plan({}), Characters(4.0)), 0)


def asked(batches: Batches, method: str, path: str, body: bytes = b"", query: bytes = b"") -> tuple[int, Any]:
    errand = read(method, path, query, HEADERS, body)
    assert errand is not None
    reply = run(batches, errand, 0)
    return reply.status, msgspec.json.decode(reply.body)


def form(**fields: str) -> bytes:
    parts = (f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{said}\r\n' for name, said in fields.items())
    return "".join(parts).encode() + b"--x--\r\n"


@pytest.mark.parametrize(
    ("method", "path", "about", "id_"),
    [
        ("POST", "/v1/files", "POST /files", ""),
        ("GET", "/files", "GET /files", ""),
        ("GET", "/some/where/v1/files/file-1/content", "GET /files/{id}/content", "file-1"),
        ("DELETE", "/v1/files/file-1", "DELETE /files/{id}", "file-1"),
        ("POST", "/openai/v1/batches/batch_1/cancel", "POST /batches/{id}/cancel", "batch_1"),
    ],
)
def test_a_path_may_have_anything_before_it(method: str, path: str, about: str, id_: str) -> None:
    errand = read(method, path, b"after=a&limit=2", HEADERS, b"")
    assert errand is not None
    assert (errand.about, errand.id, errand.key) == (about, id_, "sesame")
    assert errand.query == {"after": "a", "limit": "2"}
    assert "sesame" not in repr(errand)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/file", "/v1/files/a/b", "/v1/batches/a/cancel/b", "/"])
def test_other_paths_are_about_something_else(path: str) -> None:
    assert read("GET", path, b"", HEADERS, b"") is None


def test_what_cannot_be_done_with_a_path_is_said() -> None:
    assert asked(made(), "PUT", "/v1/files")[0] == 405
    assert asked(made(), "POST", "/v1/files/a/cancel")[0] == 405


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (form(purpose="batch"), None),
        (form(file="x"), None),
        (form(file="x", purpose="fine-tune"), "purpose"),
        (form(file="x", purpose="batch", **{"expires_after[seconds]": "3600"}), "expires_after"),
        (
            form(file="x", purpose="batch", **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "59"}),
            "expires_after",
        ),
    ],
)
def test_an_upload_that_is_wrong_is_refused(body: bytes, param: str | None) -> None:
    batches = made()
    status, said = asked(batches, "POST", "/v1/files", body)
    assert (status, said["error"]["param"]) == (400, param)
    assert batches.files(0, "sesame") == []


def test_an_upload_is_kept() -> None:
    status, said = asked(made(), "POST", "/v1/files", form(file="xyz", purpose="batch"))
    assert (status, said["bytes"], said["expires_at"]) == (200, 3, KEPT_S)


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "/v1/responses"},
        {"completion_window": "1h"},
        {"input_file_id": "file-0"},
        {"input_file_id": None},
        {"metadata": {"a": 3}},
        {"metadata": {"a": "x" * 513}},
        {"metadata": {"x" * 65: "a"}},
        {"metadata": {str(number): "" for number in range(17)}},
        {"output_expires_after": {"anchor": "created_at", "seconds": 3599}},
    ],
)
def test_a_job_that_is_asked_for_wrongly_is_refused(changes: dict[str, Any]) -> None:
    batches = made()
    file = batches.upload(0, "sesame", "a", b"x", KEPT_S)
    assert file is not None
    right: dict[str, Any] = {
        "input_file_id": file.id,
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
        "metadata": {"x" * 64: "x" * 512},
    }
    assert asked(batches, "POST", "/v1/batches", msgspec.json.encode(right | changes))[0] == 400
    assert batches.jobs("sesame") == []
    status, said = asked(batches, "POST", "/v1/batches", msgspec.json.encode(right))
    assert (status, said["status"], said["expires_at"]) == (200, "validating", 86_400)


@pytest.mark.parametrize("query", [b"limit=0", b"limit=101", b"limit=x", b"limit=-1", b"after=batch_0"])
def test_a_list_that_is_asked_for_wrongly_is_refused(query: bytes) -> None:
    assert asked(made(), "GET", "/v1/batches", query=query)[0] == 400
    assert asked(made(), "GET", "/v1/batches", query=b"limit=100") == (
        200,
        {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False},
    )


def test_a_list_is_read_page_by_page() -> None:
    batches = made()
    files = [batches.upload(0, "sesame", name, b"", KEPT_S) for name in "abc"]
    newest, middle, oldest = (file.id for file in reversed(files) if file)

    def page(query: str) -> tuple[list[str], bool]:
        _, said = asked(batches, "GET", "/v1/files", query=query.encode())
        return [file["id"] for file in said["data"]], said["has_more"]

    assert page("") == ([newest, middle, oldest], False)
    assert page("limit=2") == ([newest, middle], True)
    assert page(f"limit=2&after={middle}") == ([oldest], False)
    assert page(f"limit=1&after={newest}&order=desc") == ([middle], True)
    assert page(f"limit=1&after={oldest}&order=asc") == ([middle], True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files/a"),
        ("GET", "/v1/files/a/content"),
        ("DELETE", "/v1/files/a"),
        ("GET", "/v1/batches/a"),
        ("POST", "/v1/batches/a/cancel"),
    ],
)
def test_what_is_not_there_is_not_found(method: str, path: str) -> None:
    assert asked(made(), method, path)[0] == 404
