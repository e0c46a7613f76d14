"""What a user gets wrong, one thing at a time: how it is planted, what the doctor must find, and how that is mended.

A plant puts one thing wrong, and returns what carries out the finding's `next`; None where no test can.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from shutil import rmtree

from headwater.doctor import settings
from headwater.documents import identity
from headwater.observability.findings import Finding
from tests.integration.doctor.ground import Ground
from tests.loopback import listening

Mend = Callable[[Finding], object]
Plant = Callable[[Ground], Mend | None]

SEEDS: dict[str, tuple[str, Plant]] = {}


def seed(check: str, name: str = "") -> Callable[[Plant], Plant]:
    """Register a plant, and what must be found of it."""

    def register(plant: Plant) -> Plant:
        SEEDS[name or check] = (check, plant)
        return plant

    return register


# --- the configuration


@seed("configuration", "a key that nobody knows")
def unknown_key(it: Ground) -> Mend:
    it.edit("freshness:", "freshnes:")
    return lambda finding: it.edit("freshnes:", re.findall(r"mean (\w+)\?", finding.next)[0] + ":")


@seed("configuration", "a variable that is not set")
def unset_variable(it: Ground) -> Mend:
    it.patch.delenv("DOCS_HERE", raising=False)
    it.edit("./docs\n", "${env:DOCS_HERE}\n")

    def mend(finding: Finding) -> None:
        it.patch.setenv(re.findall(r"Set (\w+)", finding.next)[0], "./docs")

    return mend


@seed("configuration", "a duration without a unit")
def no_unit(it: Ground) -> Mend:
    it.edit("freshness: 60s", "freshness: 60")
    return lambda finding: it.edit("freshness: 60 ", "freshness: 60s ")


@seed("configuration", "YAML that is none")
def no_yaml(it: Ground) -> Mend:
    it.edit("streams:", "streams: [")
    return lambda finding: it.edit("streams: [", "streams:")


@seed("configuration", "a path in place of a URL")
def path_alone(it: Ground) -> Mend:
    it.edit("log: sqlite:///headwater.db", "log: headwater.db")
    return lambda finding: it.edit("log: ", "log: " + re.findall(r"[Ww]rite (sqlite:///)", finding.next)[0])


def _as_elsewhere(it: Ground) -> None:
    """Let the configuration be judged as if the model were on another machine."""
    it.patch.setattr(settings, "is_loopback", lambda url: False)


def _service(it: Ground, more: str = "", **plan: object) -> str:
    url = it.provider(**plan).url
    it.embed(f"model: openai/fake-embedding, url: '{url}/v1'{more}")
    return url


@seed("secret-in-file")
def secret(it: Ground) -> Mend:
    _service(it, ", key: sk-of-a-test", keys=("sk-of-a-test",))
    _as_elsewhere(it)
    it.config.chmod(0o600)

    def mend(finding: Finding) -> None:
        it.patch.setenv("NAME", "sk-of-a-test")
        it.edit("key: sk-of-a-test", "key: '" + re.findall(r"\$\{env:\w+\}", finding.next)[0] + "'")

    return mend


@seed("secret-open")
def open_secret(it: Ground) -> Mend | None:
    mend = secret(it)
    it.config.chmod(0o644)
    return mend


@seed("configuration-indexed")
def indexed_configuration(it: Ground) -> Mend:
    it.edit("folder: ./docs", "folder: ../project")
    it.include("**/*.md", "**/*.yaml")
    it.edit("log: sqlite:///headwater.db", "log: sqlite:///../data.db")
    it.edit("index: sqlite:///headwater.db", "index: sqlite:///../data.db")
    return lambda finding: it.include("**/*.md")


@seed("account-unused")
def unused_account(it: Ground) -> Mend:
    _service(it, ", account: used")
    it.edit("streams:", "accounts: {used: {price: 0.02}, spare: {price: 0.1}}\nstreams:")
    return lambda finding: it.edit(", spare: {price: 0.1}", "")


@seed("account-none")
def no_account(it: Ground) -> Mend:
    url = _service(it)
    _as_elsewhere(it)
    it.edit("streams:", "accounts: {main: {price: 0.02}}\nstreams:")
    other = f"  other: {{recipe: {{embed: {{model: openai/fake-embedding, url: '{url}/v1', account: main}}}}}}\n"
    it.write("headwater.yaml", it.config.read_text() + other)
    return lambda finding: it.edit("/v1'}", "/v1', " + re.findall(r"(account: \w+)", finding.next)[0] + "}")


@seed("freshness-rescan")
def slow_rescan(it: Ground) -> Mend:
    it.edit("rescan: 10s", "watch: false\n      rescan: 5m ")
    return lambda finding: it.edit("rescan: 5m ", "rescan: 5s ")


# --- the machine


@seed("open-files")
def few_files(it: Ground) -> Mend:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (90, hard))

    def mend(finding: Finding) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert int(re.findall(r"ulimit -n (\d+)", finding.next)[0]) <= soft

    return mend


@seed("temp-folder")
def no_temp(it: Ground) -> Mend:
    away = it.folder / "tmp"
    it.patch.setenv("TMPDIR", str(away))
    return lambda finding: away.mkdir()


# --- the sources


@seed("source-missing")
def missing_source(it: Ground) -> Mend:
    (it.folder / "docs").rename(it.folder / "texts")
    return lambda finding: it.edit("folder: ./docs", "folder: ./texts")


@seed("source-kind")
def file_as_source(it: Ground) -> Mend:
    it.edit("folder: ./docs", "folder: ./docs/welcome.md")
    return lambda finding: it.edit("folder: ./docs/welcome.md", "folder: ./docs")


@seed("source-empty")
def empty_source(it: Ground) -> Mend:
    (it.folder / "docs/welcome.md").unlink()
    return lambda finding: it.write("docs/a.md", "a")


@seed("include-nothing")
def include_nothing(it: Ground) -> Mend:
    it.include("docs/**/*.markdown")
    return lambda finding: it.include(re.findall(r"such as (\S+)$", finding.next)[0])


@seed("include-case")
def include_case(it: Ground) -> Mend:
    it.write("docs/README.MD", "read me")
    it.include("**/*.md")
    return lambda finding: it.include("**/*.md", re.findall(r"such as (\S+) ", finding.next)[0])


@seed("exclude-all", "a pattern that means everything")
def exclude_all(it: Ground) -> Mend:
    it.edit("exclude: []", "exclude: ['*', '!keep.md']")
    return lambda finding: it.edit("exclude: ['*', '!keep.md']", "exclude: []")


@seed("exclude-all", "an ignore file that means everything")
def ignore_all(it: Ground) -> Mend:
    ignoring = it.write("docs/.headwaterignore", "*.md\n")
    return lambda finding: ignoring.unlink()


@seed("documents-extra", "PDF without its parser")
def pdf(it: Ground) -> Mend:
    it.write("docs/letter.pdf", b"%PDF-1.7\n\xff")
    there = identity._version
    it.patch.setattr(identity, "_version", lambda name: identity._NONE)

    def mend(finding: Finding) -> None:
        assert "pip install 'headwater[documents]'" in finding.next
        it.patch.setattr(identity, "_version", there)

    return mend


@seed("unreadable", "old Office files")
def old_office(it: Ground) -> Mend:
    for number in range(3):
        it.write(f"docs/{number}.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))
    return lambda finding: it.edit("exclude: []", "exclude: ['*.docx']")


@seed("unreadable", "pictures that are called texts")
def pictures(it: Ground) -> Mend:
    texts = [it.write(f"docs/{number}.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") for number in range(3)]
    return lambda finding: [text.write_text("a text") for text in texts]


@seed("source-nested")
def nested(it: Ground) -> Mend:
    it.write("docs/inner/a.md", "a")
    inner = "  inner: {source: {folder: ./docs/inner}}\n"
    it.write("headwater.yaml", it.config.read_text() + inner)
    return lambda finding: it.write("headwater.yaml", it.config.read_text().replace(inner, ""))


@seed("data-in-source")
def data_in_source(it: Ground) -> Mend:
    it.edit("index: sqlite:///headwater.db", "index: sqlite:///docs/index.db")
    return lambda finding: it.edit("docs/index.db", "index.db")


@seed("future-files")
def future(it: Ground) -> Mend:
    ahead = 4_000_000_000
    os.utime(it.folder / "docs/welcome.md", (ahead, ahead))
    return lambda finding: (it.folder / "docs/welcome.md").touch()


# --- the files


@seed("folder-missing", "no folder for the log")
def no_folder(it: Ground) -> Mend:
    it.edit("log: sqlite:///headwater.db", "log: sqlite:///data/log.db")
    return lambda finding: Path(re.findall(r"the folder (\S+),", finding.next)[0]).mkdir()


@seed("folder-missing", "no folder for the cache")
def no_cache_folder(it: Ground) -> Mend:
    it.edit("streams:", "cache: {url: 'sqlite:///data/cache.db'}\nstreams:")
    return lambda finding: Path(re.findall(r"the folder (\S+),", finding.next)[0]).mkdir()


@seed("file-kind")
def folder_as_index(it: Ground) -> Mend:
    (it.folder / "vectors").mkdir()
    it.edit("index: sqlite:///headwater.db", "index: sqlite:///vectors")
    return lambda finding: it.edit("sqlite:///vectors", "sqlite:///vectors.db")


@seed("file-foreign")
def foreign(it: Ground) -> Mend:
    it.edit("index: sqlite:///headwater.db", "index: sqlite:///docs.csv")
    it.write("docs.csv", "id,text\n" * 1000)
    return lambda finding: it.edit("docs.csv", "docs.db")


@seed("file-corrupt")
def corrupt(it: Ground) -> Mend:
    it.edit("index: sqlite:///headwater.db", "index: sqlite:///index.db")
    it.cli("run", "--once")
    index = it.folder / "index.db"
    content = index.read_bytes()
    index.write_bytes(content[:4096] + b"\xa5" * (len(content) - 8192) + content[-4096:])

    def mend(finding: Finding) -> None:
        index.rename(it.folder / "damaged")
        assert "`headwater run` makes it again" in finding.next
        it.cli("run", "--once")

    return mend


@seed("file-newer")
def newer(it: Ground) -> None:
    it.loaded()
    with closing(sqlite3.connect(it.folder / "headwater.db")) as connection:
        connection.execute("UPDATE headwater_schema SET version = 99 WHERE part = 'index'")
        connection.commit()


@seed("lock")
def lock(it: Ground) -> Mend:
    (it.folder / "headwater.db.lock").mkdir()
    return lambda finding: (it.folder / "headwater.db.lock").rmdir()


@seed("log-missing")
def log_gone(it: Ground) -> Mend:
    it.edit("index: sqlite:///headwater.db", "index: sqlite:///index.db")
    it.cli("run", "--once")
    (it.folder / "headwater.db").rename(it.folder / "away.db")
    return lambda finding: (it.folder / "away.db").rename(it.folder / "headwater.db")


@seed("data-open")
def data_open(it: Ground) -> Mend:
    it.loaded()
    (it.folder / "docs").chmod(0o700)
    (it.folder / "headwater.db").chmod(0o644)
    return it.follow


@seed("data-writable")
def data_writable(it: Ground) -> Mend:
    it.loaded()
    (it.folder / "headwater.db").chmod(0o666)
    return it.follow


# --- the models


@seed("model-missing", "an extra that is not installed")
def no_extra(it: Ground) -> Mend:
    _service(it)
    shim = it.shim("httpx2", "raise ModuleNotFoundError('No module named httpx2', name='httpx2')\n")

    def mend(finding: Finding) -> None:
        assert "pip install 'headwater[services]'" in finding.next
        rmtree(shim)

    return mend


@seed("model-missing", "weights that are not there")
def no_weights(it: Ground) -> Mend:
    shim = it.shim("wordllama", "")

    def mend(finding: Finding) -> None:
        assert "pip install --force-reinstall wordllama" in finding.next
        rmtree(shim)

    return mend


@seed("model-settings", "a provider that nobody brings")
def unknown_provider(it: Ground) -> Mend:
    it.embed("model: opneai/text-embedding-3-small")
    return lambda finding: it.embed("model: static")


@seed("model-settings", "a service of its own without a key")
def no_key_at_all(it: Ground) -> Mend:
    it.embed("model: openai/text-embedding-3-small")
    return lambda finding: it.embed("model: static")


@seed("model-settings", "a key with a line break in it")
def broken_key(it: Ground) -> Mend:
    it.patch.setenv("THE_KEY", "sk-of-\na-test")
    _service(it, ", key: '${env:THE_KEY}'", keys=("sk-of-a-test",))
    return lambda finding: it.patch.setenv("THE_KEY", "sk-of-a-test")


@seed("model-key", "no key")
def key_missing(it: Ground) -> Mend:
    url = _service(it, keys=("sk-of-a-test",))

    def mend(finding: Finding) -> None:
        it.patch.setenv("NAME", "sk-of-a-test")
        key = re.findall(r"(key: )(\S+)`", finding.next)[0]
        it.embed(f"model: openai/fake-embedding, url: '{url}/v1', {key[0]}'{key[1]}'")

    return mend


@seed("model-key", "a blank key")
def key_empty(it: Ground) -> Mend:
    it.patch.setenv("THE_KEY", " ")
    _service(it, ", key: '${env:THE_KEY}'", keys=("sk-of-a-test",))
    return lambda finding: it.patch.setenv("THE_KEY", "sk-of-a-test")


@seed("model-key", "a wrong key")
def key_wrong(it: Ground) -> Mend:
    it.patch.setenv("THE_KEY", "sk-of-another")
    _service(it, ", key: '${env:THE_KEY}'", keys=("sk-of-a-test",))
    return lambda finding: it.patch.setenv("THE_KEY", "sk-of-a-test")


@seed("key-blank")
def key_blank(it: Ground) -> Mend:
    it.patch.setenv("THE_KEY", "\n")
    _service(it, ", key: '${env:THE_KEY}'")
    return lambda finding: it.patch.setenv("THE_KEY", "sk-of-a-test")


class _Below(BaseHTTPRequestHandler):
    """A service that answers at one place alone, as most do."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        here = self.path == "/v1/embeddings"
        rows = [[float(byte) for byte in sha256(text.encode()).digest()] for text in request["input"]]
        answer = {"data": [{"index": row, "embedding": vector} for row, vector in enumerate(rows)]}
        body = json.dumps(answer if here else {"error": {"message": "Not Found"}}).encode()
        self.send_response(200 if here else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _elsewhere(name: str, path: str) -> None:
    @seed("model-address", name)
    def plant(it: Ground) -> Mend:
        url = it.enter(listening(_Below))
        it.embed(f"model: openai/some, url: '{url}{path}'")
        return lambda finding: it.edit(f"{url}{path}", re.findall(r"`url: (\S+)`", finding.next)[0])


_elsewhere("an address with a path too much", "/v1/embeddings")
_elsewhere("an address with a path too much, and a slash", "/v1/embeddings/")
_elsewhere("an address without /v1", "")


@seed("model-name")
def no_model(it: Ground) -> Mend:
    url = it.provider().url
    it.embed(f"model: openai/fake-embeding, url: '{url}/v1'")
    return lambda finding: it.embed(f"model: openai/fake-embedding, url: '{url}/v1'")


@seed("model-dimensions")
def dimensions(it: Ground) -> Mend:
    service = it.provider()
    service.behave(shares={"wrong_dimension": 1})
    it.embed(f"model: openai/fake-embedding, url: '{service.url}/v1', dimensions: 384")
    return lambda finding: service.behave()


@seed("model-away")
def away(it: Ground) -> Mend:
    service = it.provider()
    it.embed("model: openai/fake-embedding, url: 'http://127.0.0.1:1/v1'")
    return lambda finding: it.embed(f"model: openai/fake-embedding, url: '{service.url}/v1'")


@seed("model-tls")
def no_tls(it: Ground) -> Mend:
    url = it.provider().url
    it.embed(f"model: openai/fake-embedding, url: '{url.replace('http:', 'https:')}/v1'")
    return lambda finding: it.embed(f"model: openai/fake-embedding, url: '{url}/v1'")


@seed("model-proxy")
def proxy(it: Ground) -> Mend:
    _service(it)
    it.patch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    it.patch.delenv("NO_PROXY", raising=False)
    it.patch.delenv("no_proxy", raising=False)
    return lambda finding: it.patch.setenv("NO_PROXY", re.findall(r"NO_PROXY=([^`]+)", finding.next)[0])


def _behaving(check: str, name: str = "", **shares: float) -> None:
    @seed(check, name)
    def plant(it: Ground) -> Mend:
        service = it.provider()
        service.behave(shares=shares)
        it.embed(f"model: openai/fake-embedding, url: '{service.url}/v1'")
        return lambda finding: service.behave()


_behaving("model-foreign", html=1)
_behaving("model-redirect", redirect=1)
_behaving("model-quota", no_quota=1)
_behaving("model-busy", storm=1)
_behaving("model-away", "a service that fails", server_error=1)


@seed("model-truncates")
def truncates(it: Ground) -> Mend:
    service = it.provider()
    service.behave(truncate_tokens=64)
    it.embed(f"model: openai/fake-embedding, url: '{service.url}/v1'")
    return lambda finding: service.behave()


@seed("model-hash")
def hashing(it: Ground) -> Mend:
    it.embed("model: hash")
    return lambda finding: it.set_as_told(finding, "embed: {model: hash}")


@seed("chunk-model")
def long_chunks(it: Ground) -> Mend:
    url = it.provider(max_text_tokens=256, auto_truncate=False).url
    it.embed(f"model: tei/fake-embedding, url: '{url}', too_long: split")
    return lambda finding: it.set_as_told(finding, "chunk: {size: 800}")


# --- the indexes


@seed("recipe-changed")
def recipe(it: Ground) -> Mend:
    it.loaded()
    it.edit("chunk: {size: 800}", "chunk: {size: 400}")

    def mend(finding: Finding) -> None:
        it.set_as_told(finding, "index: sqlite:///headwater.db")
        it.cli("run", "--once")

    return mend


@seed("opening")
def rewound(it: Ground) -> Mend:
    it.edit("index: sqlite:///headwater.db", "index: sqlite:///index.db")
    it.cli("run", "--once")
    for path in it.folder.glob("headwater.db*"):
        path.unlink()
    (it.folder / "index.db").rename(it.folder / "kept.db")
    it.cli("run", "--once")
    (it.folder / "kept.db").rename(it.folder / "index.db")

    def mend(finding: Finding) -> None:
        it.cli("resume", "articles", "--accept-log-epoch")
        assert "--accept-log-epoch" in finding.next
        it.cli("run", "--once")

    return mend


@seed("index-missing")
def index_gone(it: Ground) -> Mend:
    it.loaded()
    it.edit("index: sqlite:///headwater.db", "index: sqlite:///index.db")
    return it.follow


@seed("model-drift")
def drift(it: Ground) -> Mend:
    service = it.provider()
    it.embed(f"model: openai/fake-embedding, url: '{service.url}/v1'")
    it.cli("run", "--once")
    service.behave(drift=1.0)

    def mend(finding: Finding) -> None:
        it.embed(f"model: openai/fake-embedding, url: '{service.url}/v1', revision: two")
        it.set_as_told(finding, "index: sqlite:///headwater.db")
        it.cli("run", "--once")

    return mend


# --- the streams


@seed("paused")
def paused(it: Ground) -> Mend:
    it.loaded()
    it.cli("pause", "articles")
    return it.follow


@seed("not-running")
def not_running(it: Ground) -> Mend:
    it.loaded()
    it.cli("publish", "articles", stdin='{"id": "one", "text": "a change"}\n')
    return it.follow


@seed("dead-letters")
def dead_letters(it: Ground) -> Mend:
    it.edit("payload: {title: title}", "payload: {title: title, kind: {from: kind, required: true}}")
    lines = '{"id": "one", "text": "a change"}\n{"id": "two", "text": "more", "kind": "note"}\n'
    it.edit("      folder: ./docs\n", "")
    it.write("headwater.yaml", re.sub(r"    source:\n(      .*\n)+", "", it.config.read_text()))
    it.cli("publish", "articles", stdin=lines)
    it.cli("run", "--once")

    def mend(finding: Finding) -> None:
        it.cli("publish", "articles", stdin=lines.replace('change"', 'change", "kind": "note"'))
        it.cli("run", "--once")
        it.cli(*re.findall(r"then `headwater ([^`]+)`", finding.next)[0].split())
        it.cli("run", "--once")

    return mend


@seed("payload-absent")
def payload(it: Ground) -> Mend:
    it.edit("payload: {title: title}", "payload: {title: title, author: by}")
    it.cli("run", "--once")

    def mend(finding: Finding) -> None:
        assert "remove it" in finding.next
        it.edit(", author: by", "")
        it.edit("index: sqlite:///headwater.db", "index: sqlite:///another.db")
        it.cli("run", "--once")

    return mend


@seed("budget-spent")
def budget(it: Ground) -> Mend:
    _service(it, ", account: main")
    it.edit("streams:", "accounts: {main: {price: 1000000}}\nstreams:")
    it.cli("run", "--once")
    it.edit("price: 1000000", "price: 1000000, budget: {hard: 0.5}")
    return lambda finding: it.edit("hard: 0.5", "hard: 1000000")
