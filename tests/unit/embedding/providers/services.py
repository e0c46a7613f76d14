"""Embedding services on the loopback, each as its provider speaks, that answer otherwise when a test tells them to."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headwater.embedding.providers.hash import HashEmbedder
from tests.loopback import listening

KEY = "sk-a-key-that-nobody-may-see"
DIMENSIONS = 24
MOST_WORDS = 5000
DIGEST = "0a109f422b47e3a30ba2b10eca18548e944e8a23073ee3f3e947efcf3c45e59f"


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]


Script = Callable[[Asked], Reply]


def reply(body: object, status: int = 200, **headers: str) -> Reply:
    """An answer; underscores in names of headers become hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if content.lstrip().startswith(b"<") else "application/json"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, content, {"content-type": kind, **named})


class Service:
    """`script` answers; `asked` is what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.url = ""

    def always(self, body: object, status: int = 200, **headers: str) -> None:
        self.script = lambda asked: reply(body, status, **headers)

    @property
    def bodies(self) -> list[Any]:
        return [it.body for it in self.asked if it.method == "POST"]


def pieces(content: bytes, count: int) -> Iterator[bytes]:
    """The content in so many pieces, a tenth of a second apart."""
    size = len(content) // count + 1
    for start in range(0, len(content), size):
        yield content[start : start + size]
        time.sleep(0.1 if count > 1 else 0)


@contextmanager
def serving(script: Script, certificate: Path | None = None) -> Iterator[Service]:
    service = Service(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # an answer in one piece: the second of two waits for the first one's acknowledgement

        def do_GET(self) -> None:
            self.answer(None)

        def do_CONNECT(self) -> None:
            self.answer(None)
            self.close_connection = True

        def do_DELETE(self) -> None:
            self.answer(None)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            self.answer(json.loads(content) if self.headers["content-type"] == "application/json" else content)

        def answer(self, body: Any) -> None:
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            service.asked.append(asked)
            try:
                status, content, headers = service.script(asked)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "content-length" not in headers:
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                for piece in pieces(content, 20 if "x-drips" in headers else 1):
                    self.wfile.write(piece)
                    self.wfile.flush()
                self.close_connection |= "content-length" in headers  # it lied, so the connection is of no more use
            except OSError:
                self.close_connection = True  # whoever asked has gone

    with listening(Handler, certificate) as service.url:
        yield service


_MODEL = HashEmbedder(dimensions=DIMENSIONS)


def vectors(texts: Sequence[str]) -> np.ndarray:
    return _MODEL._embed(texts).vectors


def too_long(texts: Sequence[str]) -> bool:
    return any(len(text.split()) > MOST_WORDS for text in texts)


def packed(row: np.ndarray) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def openai(asked: Asked) -> Reply:
    """Answers in another order, in base64 where that is asked for."""
    texts = asked.body["input"]
    if too_long(texts):
        error = {"message": "maximum context length is 8192 tokens", "type": "invalid_request_error", "code": None}
        return reply({"error": error}, 400)
    coded = asked.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": packed(row) if coded else row.tolist()}
        for index, row in enumerate(vectors(texts))
    ]
    usage = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
    return reply({"object": "list", "data": data[::-1], "model": asked.body["model"], "usage": usage})


def voyage(asked: Asked) -> Reply:
    texts = asked.body["input"]
    if too_long(texts):
        return reply({"detail": "Request to model failed. A text is longer than the context length."}, 400)
    data = [
        {"object": "embedding", "index": index, "embedding": packed(row)} for index, row in enumerate(vectors(texts))
    ]
    return reply({"object": "list", "data": data, "model": asked.body["model"], "usage": {"total_tokens": len(texts)}})


def cohere(asked: Asked) -> Reply:
    texts = asked.body["texts"]
    if too_long(texts):
        return reply({"id": "1", "message": "too many tokens: the limit is 512"}, 400)
    answer = {"id": "1", "embeddings": {"float": vectors(texts).tolist()}, "texts": texts}
    return reply({**answer, "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 7.0}}})


INFO = {
    "model_id": "BAAI/bge-small-en-v1.5",
    "model_sha": "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
    "model_dtype": "float16",
    "model_type": {"embedding": {"pooling": "cls"}},
    "max_concurrent_requests": 512,
    "max_input_length": 512,
    "max_batch_tokens": 16384,
    "max_batch_requests": None,
    "max_client_batch_size": 16,
    "auto_truncate": True,
    "tokenization_workers": 2,
    "version": "1.8.2",
}


def tei(asked: Asked) -> Reply:
    if asked.path == "/info":
        return reply(INFO)
    texts = asked.body["inputs"]
    if len(texts) > 16:
        return reply({"error": "batch size 17 > maximum allowed batch size 16", "error_type": "Validation"}, 413)
    if too_long(texts):
        error = "`inputs` must have less than 512 tokens. Given: 20001"
        return reply({"error": error, "error_type": "Validation"}, 413)
    return reply(vectors(texts).tolist(), x_compute_tokens=str(3 * len(texts)))


def ollama(asked: Asked) -> Reply:
    if asked.path == "/api/tags":
        models = [{"name": "other:latest", "digest": "1"}, {"name": "nomic-embed-text:latest", "digest": DIGEST}]
        return reply({"models": [{**it, "model": it["name"], "size": 274302450} for it in models]})
    if asked.body["model"] != "nomic-embed-text":
        return reply({"error": f'model "{asked.body["model"]}" not found, try pulling it first'}, 404)
    if asked.path == "/api/show":
        info = {"general.architecture": "nomic-bert", "nomic-bert.context_length": 2048}
        return reply({"details": {"family": "nomic-bert"}, "model_info": info, "capabilities": ["embedding"]})
    texts = asked.body["input"]
    if too_long(texts):
        return reply({"error": "the input length exceeds the context length"}, 400)
    return reply({"model": "nomic-embed-text", "embeddings": vectors(texts).tolist(), "prompt_eval_count": 9})
