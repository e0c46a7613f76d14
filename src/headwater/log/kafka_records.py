"""PURE: what Headwater's own topics hold, as JSON that other consumers can read too.

Receipts are one record each, in the partition of the change that they are about, keyed by the document's keyed digest:
the id itself stands in none, so that a document can be forgotten and its receipts stay. What embedding cost is a record
without a key. Dead letters are events: what is true of a letter is what its events come to, in their order.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

import msgspec

from headwater.errors import Halt
from headwater.log.rules import moved
from headwater.model.manifest import Cause, Outcome
from headwater.model.receipt import CaughtUp, Counts, DeadLetter, DeadState, Receipt, Usage
from headwater.model.registry import StreamState
from headwater.model.shares import Division
from headwater.model.version import Place, Version

CONTENT_TYPE: tuple[str, str | bytes | None] = ("content-type", b"application/json")


class _ReceiptLine(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    generation: int
    version: str
    partition: int
    offset: int
    recipe: int
    revision: int
    outcome: Outcome
    cause: Cause = Cause.CHANGE
    reason: str = ""
    overtaken_by: str = ""
    body_digest: str = ""
    counts: Counts = Counts()
    changed_us: int = 0
    appended_us: int = 0
    read_us: int = 0
    embedded_us: int = 0
    applied_us: int = 0
    settled_us: int = 0


class _UsageLine(msgspec.Struct, frozen=True):
    generation: int
    settlement: str
    usage: Usage


class Paid(msgspec.Struct, frozen=True):
    """What one settlement's embedding cost. A settlement that was repeated comes twice, under one name: the first
    counts.
    """

    settlement: str
    usage: Usage


T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()
_RECEIPT = msgspec.json.Decoder(_ReceiptLine)
_USAGE = msgspec.json.Decoder(_UsageLine)
_CAUGHT = msgspec.json.Decoder(CaughtUp)


def _decoded(decoder: msgspec.json.Decoder[T], value: bytes, what: str) -> T:
    """Read a record of a topic of ours. Raise Halt for one that another version, or something else, wrote."""
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cure = "It was written by a newer version, or by something else: use that version, or restore the topic"
        raise Halt("schema-skew", f"a record of the topic of {what} cannot be read ({error})", cure) from error


def receipt_key(document: str, secret: bytes) -> bytes:
    """Return a document's keyed digest: who has not the secret cannot tell whose receipts these are."""
    return hmac.digest(secret, document.encode(), sha256)


def encode_receipt(receipt: Receipt, generation: int) -> bytes:
    """Write a receipt's value; its document stands in the key."""
    by = receipt.overtaken_by
    return _ENCODER.encode(
        _ReceiptLine(
            generation=generation,
            version=str(receipt.version),
            partition=receipt.place.partition,
            offset=receipt.place.offset,
            recipe=receipt.recipe,
            revision=receipt.revision,
            outcome=receipt.outcome,
            cause=receipt.cause,
            reason=receipt.reason,
            overtaken_by=str(by) if by else "",
            body_digest=receipt.body_digest.hex(),
            counts=receipt.counts,
            changed_us=receipt.changed_us,
            appended_us=receipt.appended_us,
            read_us=receipt.read_us,
            embedded_us=receipt.embedded_us,
            applied_us=receipt.applied_us,
            settled_us=receipt.settled_us,
        )
    )


def decode_receipt(value: bytes, generation: int, document: str = "") -> Receipt | None:
    """Read a receipt's value. None: it is another index generation's."""
    line = _decoded(_RECEIPT, value, "receipts")
    if line.generation != generation:
        return None
    return Receipt(
        document=document,
        version=Version.parse(line.version),
        place=Place(line.partition, line.offset),
        recipe=line.recipe,
        revision=line.revision,
        outcome=line.outcome,
        cause=line.cause,
        reason=line.reason,
        overtaken_by=Version.parse(line.overtaken_by) if line.overtaken_by else None,
        body_digest=bytes.fromhex(line.body_digest),
        counts=line.counts,
        changed_us=line.changed_us,
        appended_us=line.appended_us,
        read_us=line.read_us,
        embedded_us=line.embedded_us,
        applied_us=line.applied_us,
        settled_us=line.settled_us,
    )


def settlement_name(receipts: Sequence[Receipt]) -> str:
    """Name a settlement by its receipts: whoever settles the same ones repeats it. Without any it has no name."""
    if not receipts:
        return ""
    keys = sorted(_ENCODER.encode((it.version, it.place.partition, it.recipe, it.revision)) for it in receipts)
    return sha256(b"\n".join(keys)).hexdigest()


def encode_usage(settlement: str, usage: Usage, generation: int) -> bytes:
    """Write what a settlement cost."""
    return _ENCODER.encode(_UsageLine(generation, settlement, usage))


def decode_usage(value: bytes, generation: int) -> Paid | None:
    """Read what a settlement cost. None: it is another index generation's."""
    line = _decoded(_USAGE, value, "receipts")
    return Paid(line.settlement, line.usage) if line.generation == generation else None


# --- committed offsets


def encode_caught(caught: CaughtUp) -> str:
    """Write what stands beside a committed offset."""
    return _ENCODER.encode(caught).decode()


def decode_caught(metadata: str | None) -> CaughtUp | None:
    """Read what stands beside a committed offset. None: it is not ours."""
    try:
        return _CAUGHT.decode(metadata or "")
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None


# --- dead letters


class LetterEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event about a dead letter: a receipt (`outcome`), or a move by a person or a worker.

    The receipt is of its version, or SUPERSEDED with the place of the newer version that closes it. `writer` tells one
    move from another. `time_us` is when it was written.
    """

    generation: int
    document: str
    version: str
    time_us: int
    outcome: Outcome | None = None
    partition: int = 0
    offset: int = 0
    reason: str = ""
    expected: DeadState | None = None
    state: DeadState | None = None
    writer: str = ""


_EVENT = msgspec.json.Decoder(LetterEvent)

#: (index generation, document, version): what tells one letter from another.
LetterKey = tuple[int, str, str]


def encode_event(event: LetterEvent) -> bytes:
    """Write an event."""
    return _ENCODER.encode(event)


def decode_event(value: bytes) -> LetterEvent:
    """Read an event."""
    return _decoded(_EVENT, value, "dead letters")


def of_receipt(receipt: Receipt, generation: int, now_us: int) -> LetterEvent:
    """Make the event that a receipt is for the letter of its version."""
    return LetterEvent(
        generation=generation,
        document=receipt.document,
        version=str(receipt.version),
        time_us=now_us,
        outcome=receipt.outcome,
        partition=receipt.place.partition,
        offset=receipt.place.offset,
        reason=receipt.reason,
    )


class Letters:
    """Dead letters, as the events so far make them. The same rules as every log's (`rules.moved`)."""

    def __init__(self) -> None:
        self._letters: dict[LetterKey, DeadLetter] = {}
        self._won: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._letters)

    def __contains__(self, key: LetterKey) -> bool:
        return key in self._letters

    def won(self, writer: str) -> bool:
        """Tell whether a move was the first whose expected state held."""
        return writer in self._won

    def of(self, generation: int, states: frozenset[DeadState]) -> list[DeadLetter]:
        """Return an index generation's letters in these states, the oldest version first."""
        found = [it for it in self._letters.values() if it.generation == generation and it.state in states]
        return sorted(found, key=lambda it: (it.version.epoch, it.version.order, it.version.offset, it.document))

    def take(self, event: LetterEvent) -> None:
        """Let an event come to pass."""
        key = (event.generation, event.document, event.version)
        letter = self._letters.get(key)
        if event.outcome is not None:
            judged = _judged(letter, event, event.outcome)
            if judged is not None:
                self._letters[key] = judged
        elif letter is not None and event.state is not None and letter.state is event.expected:
            self._letters[key] = msgspec.structs.replace(letter, state=event.state)
            self._won.add(event.writer)


def _judged(letter: DeadLetter | None, event: LetterEvent, outcome: Outcome) -> DeadLetter | None:
    if letter is not None:
        state = moved(letter.state, outcome)
        if letter.state is DeadState.RETRYING and state is DeadState.OPEN:
            letter = msgspec.structs.replace(letter, attempts=letter.attempts + 1, reason=event.reason)
        return msgspec.structs.replace(letter, state=state)
    if outcome is not Outcome.DEAD:
        return None
    return DeadLetter(
        generation=event.generation,
        document=event.document,
        version=Version.parse(event.version),
        place=Place(event.partition, event.offset),
        reason=event.reason,
        state=DeadState.OPEN,
        opened_us=event.time_us,
    )


def connect_headers(topic: str, event: LetterEvent) -> list[tuple[str, str | bytes | None]]:
    """Return the headers by which Kafka Connect's dead letter queues say where a record was and what was wrong."""
    return [
        ("__connect.errors.topic", topic.encode()),
        ("__connect.errors.partition", str(event.partition).encode()),
        ("__connect.errors.offset", str(event.offset).encode()),
        ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ("__connect.errors.exception.class.name", b"headwater.errors.Reject"),
        ("__connect.errors.exception.message", event.reason.encode()),
        CONTENT_TYPE,
    ]


# --- the registry


class StreamRecord(msgspec.Struct, frozen=True, tag_field="kind", tag="stream"):
    """A stream's next state, if `expected` is still the serial of the one before."""

    name: str
    expected: int
    writer: str
    state: StreamState


class SecretRecord(msgspec.Struct, frozen=True, tag_field="kind", tag="secret"):
    """What keys the digests of a stream's document ids. The first one holds."""

    name: str
    writer: str
    secret: str


class SharesRecord(msgspec.Struct, frozen=True, tag_field="kind", tag="shares"):
    """An account's next division, if its serial is still the one of the division before."""

    account: str
    writer: str
    division: Division


_CONTROL = msgspec.json.Decoder(StreamRecord | SecretRecord)
_SHARES = msgspec.json.Decoder(SharesRecord)


class Agreed:
    """What the control records so far come to: of each state, the first record whose expected one holds wins (C10)."""

    def __init__(self) -> None:
        self.states: dict[str, StreamState] = {}
        self.secrets: dict[str, bytes] = {}
        self._won: set[str] = set()

    def won(self, writer: str) -> bool:
        """Tell whether a record came to pass."""
        return writer in self._won

    def take(self, value: bytes) -> None:
        """Let a record come to pass, or ignore it: one of a kind that is not ours, or one that came too late."""
        kind = _kind(value)
        if kind not in ("stream", "secret"):
            return
        record = _decoded(_CONTROL, value, "control records")
        if isinstance(record, SecretRecord):
            if record.name not in self.secrets:
                self.secrets[record.name] = bytes.fromhex(record.secret)
        elif self.states.get(record.name, StreamState()).serial == record.expected:
            self.states[record.name] = record.state
            self._won.add(record.writer)


class AgreedShares:
    """What the control records so far say of accounts: of each division, the first record that builds on it wins."""

    def __init__(self) -> None:
        self.divisions: dict[str, Division] = {}
        # Of the latest only: whoever asks has just written.
        self._won: deque[str] = deque(maxlen=256)

    def won(self, writer: str) -> bool:
        """Tell whether a record came to pass, of the latest 256 that did."""
        return writer in self._won

    def take(self, value: bytes) -> None:
        """Let a record come to pass, or ignore it: one of another kind, or one that came too late."""
        if _kind(value) != "shares":
            return
        record = _decoded(_SHARES, value, "control records")
        serial = record.division.serial
        if self.divisions.get(record.account, Division()).serial == serial:
            self.divisions[record.account] = msgspec.structs.replace(record.division, serial=serial + 1)
            self._won.append(record.writer)


class _Kind(msgspec.Struct):
    kind: str = ""


_KIND = msgspec.json.Decoder(_Kind)


def _kind(value: bytes) -> str:
    try:
        return _KIND.decode(value).kind
    except msgspec.DecodeError:
        return ""


def encode_control(record: StreamRecord | SecretRecord | SharesRecord) -> bytes:
    """Write a control record."""
    return _ENCODER.encode(record)


# --- positions of sources


class Step(msgspec.Struct, frozen=True):
    """A step of a source's position: it holds if `serial` is still the stored one. Keys and values are base64."""

    source: str
    serial: int
    writer: str
    entries: dict[str, bytes | None]


_STEP = msgspec.json.Decoder(Step)


class Steps:
    """Positions of sources, as the steps so far make them."""

    def __init__(self) -> None:
        self._serials: dict[str, int] = {}
        self._entries: dict[str, dict[str, bytes]] = {}
        self._won: set[str] = set()

    def won(self, writer: str) -> bool:
        """Tell whether a step was the first from its serial."""
        return writer in self._won

    def serial(self, source: str) -> int:
        """Return a source's serial, 0 before its first step."""
        return self._serials.get(source, 0)

    def entries(self, source: str) -> Iterable[tuple[str, bytes]]:
        """Return a source's entries."""
        return self._entries.get(source, {}).items()

    def take(self, value: bytes) -> None:
        """Let a step come to pass, or ignore one that came too late."""
        step = _decoded(_STEP, value, "positions")
        if step.serial != self.serial(step.source):
            return
        self._serials[step.source] = step.serial + 1
        entries = self._entries.setdefault(step.source, {})
        for key, entry in step.entries.items():
            if entry is None:
                entries.pop(key, None)
            else:
                entries[key] = entry
        self._won.add(step.writer)


def encode_step(step: Step) -> bytes:
    """Write a step."""
    return _ENCODER.encode(step)
