"""`headwater fake-provider`: a service of embeddings to rehearse with, as slow, full and faulty as its plan says."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.failures import Exit, Mistake
from headwater.cli.options import perform
from headwater.cli.output import flush, tell, write_json
from headwater.errors import Unreachable

if TYPE_CHECKING:
    from headwater.rehearsal.plan import Plan
    from headwater.rehearsal.service import Service


def fake_provider(
    plan: Annotated[Path | None, typer.Argument(metavar="PLAN", help="What it shall do: YAML or JSON.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the plan: --set behaviour.batch_ms=40."),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where it listens; 0 takes a free one.")] = 0,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Write a JSON line for each request; what was there goes."),
    ] = None,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="End as soon as whoever started it is gone.")
    ] = False,
) -> None:
    """Serve embeddings that mean nothing, with the limits and faults of a plan.

    It speaks the shape of OpenAI (POST /v1/embeddings; /v1/files and /v1/batches for jobs of many requests) and that of
    text-embeddings-inference (GET /info, POST /embed), on loopback only, and prints {"url", "record"} when it listens.
    PUT /behaviour changes the plan's behaviour while it runs. With --record it prints the figures of the record when
    it ends.

    Exit 0 when SIGTERM or the end of stdin ended it, 2 for a plan with an error, 4 when the port is taken.
    """
    perform(_serve(_plan(plan, change or []), port, record, until_stdin_closes))


def _plan(file: Path | None, changes: Sequence[str]) -> Plan:
    from headwater.rehearsal.plan import read_plan

    written = _read(file) if file else {}
    for change in changes:
        _change(written, change)
    try:
        return read_plan(written)
    except ValueError as error:
        raise Mistake(f"{file or 'the plan'}: {error}") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        written = _yaml(file.read_text("utf-8"))
    except OSError as error:
        raise Mistake(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise Mistake(f"{file}: {error}") from error
    if not isinstance(written, dict):
        raise Mistake(f"{file}: a plan is a mapping of keys to values")
    return written


def _yaml(text: str) -> Any:
    """Read YAML, and so JSON too. Raise ValueError with the place of what is wrong."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context or 'not YAML'}") from error
    except YAMLError as error:
        raise ValueError("not YAML") from error


def _change(written: dict[str, Any], change: str) -> None:
    """Set a key of the plan; dots lead into it."""
    path, equals, value = change.partition("=")
    *outer, last = path.split(".")
    if not equals or not all([*outer, last]):
        raise Mistake(f"--set takes KEY=VALUE such as behaviour.batch_ms=40, not {change!r}")
    place = written
    for key in outer:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise Mistake(f"--set {change}: {key} holds no keys")
    try:
        place[last] = _yaml(value)
    except ValueError as error:
        raise Mistake(f"--set {change}: {error}") from error


async def _serve(plan: Plan, port: int, record: Path | None, until_stdin_closes: bool) -> int:
    try:
        from headwater.rehearsal.server import Application, listen, serve
    except ModuleNotFoundError as missing:
        raise Unreachable(
            "fake-provider",
            f"the package {missing.name} is not installed",
            "pip install 'headwater[rehearsal]'",
            code="not-installed",
        ) from missing
    from headwater.clock import SystemClock
    from headwater.rehearsal.record import Opening, Recorder, read_record

    clock = SystemClock()
    service = _service(plan)
    ended = asyncio.Event()
    with _opened(record) as file, listen(port) as listening:
        recorder = Recorder(file, Opening(clock.now_us(), plan)) if file else None
        url = f"http://{listening.getsockname()[0]}:{listening.getsockname()[1]}"

        def started() -> None:
            write_json({"url": url, "record": str(record) if record else None})
            flush()
            tell(f"listening on {url}, on loopback only; Ctrl-C ends it")

        with _at_end_of_stdin(ended.set if until_stdin_closes else None):
            by = await serve(Application(service, clock, recorder), listening, started, ended)
    if record is not None:
        write_json(read_record(record).summary())
    return 128 + signal.SIGINT if by == signal.SIGINT else Exit.OK


def _service(plan: Plan) -> Service:
    from tokenizers import Tokenizer

    from headwater.rehearsal.counting import Characters, Tokenized
    from headwater.rehearsal.service import Service

    if not plan.tokenizer:
        return Service(plan, Characters(plan.characters_per_token))
    try:
        tokenizer = Tokenizer.from_buffer(Path(plan.tokenizer).read_bytes())
    except OSError as error:
        raise Mistake(f"{plan.tokenizer}: {error.strerror or error}") from error
    except Exception as error:  # the library raises bare Exception for every fault of the file
        raise Mistake(f"{plan.tokenizer}: not a tokenizer") from error
    return Service(plan, Tokenized(tokenizer))


@contextmanager
def _opened(record: Path | None) -> Iterator[IO[bytes] | None]:
    if record is None:
        yield None
        return
    try:
        file = record.open("wb")
    except OSError as error:
        raise Mistake(f"{record}: {error.strerror or error}") from error
    with file:
        yield file


@contextmanager
def _at_end_of_stdin(call: Callable[[], None] | None) -> Iterator[None]:
    """Call something when stdin ends: at once where there is none."""
    if call is None:
        yield
        return
    if sys.stdin is None:
        call()
        yield
        return
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def read() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            call()

    try:
        loop.add_reader(stdin, read)
    except OSError as error:  # a file is never waited for
        raise Mistake("--until-stdin-closes wants a pipe as stdin") from error
    try:
        yield
    finally:
        loop.remove_reader(stdin)
