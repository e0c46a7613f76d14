"""librdkafka's clients: what their errors mean, the options that all of them share, and calls from a thread.

librdkafka never gives up: with a wrong password or certificate it tries again for ever and only says so to `error_cb`.
`Trouble` turns that into an error that a person can act on.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.cimpl import Message

from headwater.clock import Clock
from headwater.errors import Halt, HeadwaterError, Reject, Retry, Unreachable
from headwater.log.topics import NO_GROUP

T = TypeVar("T")

#: librdkafka's options, as `settings` makes them from the configuration.
Connection = Mapping[str, Any]

KAFKA = "kafka"

#: How long one request may take before the brokers count as away.
REQUEST_S = 10.0
#: How long a client may take to say good-bye. With the brokers away each one's last request would be waited for.
CLOSE_S = 3.0
#: So long one look of several may take, and so long is the pause between two that failed.
_LOOK_S = 2.0
_PAUSE_S = 0.2

_DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the transactional id",
}
_OLD = frozenset(
    {KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT}
)
MISSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)
#: A broker that has just started knows no topic yet, or some partitions of it, and answers all the same: only what is
#: still so after this time is believed.
MISSING_S = 5.0
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_LOGIN = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
#: The member that speaks is no longer the one that the group knows: it was away for too long, or another has its name.
OUTDATED_MEMBER = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._NO_OFFSET,
    }
)
#: What a wrong certificate, and not a broken line, makes OpenSSL say.
_CERTIFICATE = ("certificate", "verify", "unknown ca", "bad_certificate", "hostname", "handshake failure", "no shared")


#: What a broker objects to in our certificate comes as an alert on a line that is up: librdkafka takes it for broken.
_ALERT = "SSL alert number"
_OURS = "Check log.security: certificate and key, and that the brokers know who signed them"
_THEIRS = (
    "Check log.security: ca, and that the brokers' certificates are for the hosts by which they are reached, "
    "and have not expired"
)
#: No token came. By what the endpoint answers (RFC 6749, 5.2) none ever will, or it is an outage.
_WITHOUT = "Failed to acquire SASL OAUTHBEARER"
_NO_TOKEN = re.compile(r"\b(invalid_client|invalid_grant|unauthorized_client|unsupported_grant_type|invalid_scope)\b")


def translated(error: KafkaError, doing: str, subject: str = "", group: str = "") -> HeadwaterError:
    """Say what a client's error means for Headwater. `doing` completes "while ..."; `subject` names the topic."""
    code = error.code()
    cause = f"{doing}: {error.str()}"
    if code in _DENIED:
        named = {KafkaError.TOPIC_AUTHORIZATION_FAILED: subject, KafkaError.GROUP_AUTHORIZATION_FAILED: group}
        what = f"{_DENIED[code]} {named.get(code, '')}".strip()
        return Unreachable(
            KAFKA, f"no rights on {what} ({doing})", "`headwater topics acl` prints what is needed", code="no-rights"
        )
    if code in _LOGIN:
        return _refused(error.str(), cause)
    if code == KafkaError._SSL or _ALERT in error.str():
        if any(word in error.str().lower() for word in _CERTIFICATE):
            return Unreachable(
                KAFKA, f"TLS failed: {error.str()}", _OURS if _ALERT in error.str() else _THEIRS, code="tls-failed"
            )
        return Retry(KAFKA, cause)
    if code in MISSING:
        # A broker tells nobody of topics that he may not see.
        cure = (
            "`headwater topics apply` makes Headwater's own; another system's is made by whoever writes it: "
            "check `topic:`. `headwater topics acl` prints the rights that it takes"
        )
        return Unreachable(KAFKA, f"no such topic: {subject} ({doing})", cure, code="no-topic")
    if code in _OLD:
        found = f"the broker is too old ({doing}: {error.str()})"
        return Unreachable(KAFKA, found, "Headwater needs Kafka 2.5 or later", code="too-old")
    if code in _TOO_LARGE:
        return Reject("the record is larger than the topic allows")
    if code == KafkaError._AUTO_OFFSET_RESET:
        return Halt("log-truncation-gap", f"{subject}: {error.str()}", "See `headwater doctor`")
    return Retry(KAFKA, cause)


def _refused(said: str, cause: str) -> HeadwaterError:
    """Say what it means that nobody was let in."""
    if _WITHOUT not in said:
        return Unreachable(KAFKA, f"the broker refused the log-in: {said}", "Check log.security", code="login-refused")
    if _NO_TOKEN.search(said):
        return Unreachable(
            KAFKA, f"the token endpoint refused: {said}", "Check log.security.oauth", code="login-refused"
        )
    return Retry(KAFKA, cause)


def for_now(error: KafkaError, doing: str, subject: str) -> HeadwaterError:
    """Say what an error means that was heard once: a missing topic may be one of which the broker has not heard yet.

    That it is gone indeed is found by those who look for it.
    """
    return Retry(KAFKA, f"{doing}: {error.str()}") if error.code() in MISSING else translated(error, doing, subject)


class Trouble:
    """What a client said on the side: the reason why nothing moves.

    It is called on librdkafka's threads. Hopeless trouble (log-in, certificates) stays until the client is made anew.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hopeless: HeadwaterError | None = None
        self._last = ""
        self._down = False

    def __call__(self, error: KafkaError) -> None:
        """Take what librdkafka says; this is its `error_cb`."""
        found = translated(error, "connecting")
        with self._lock:
            if isinstance(found, Unreachable) and error.code() not in MISSING:
                self._hopeless = found
            elif error.code() == KafkaError._ALL_BROKERS_DOWN:
                self._down = True
            elif not self._last or "Disconnected" not in error.str():
                # That a line was cut tells less than why it was, which may have been said before.
                self._last = error.str()

    def check(self) -> None:
        """Raise Unreachable when waiting is in vain."""
        with self._lock:
            if self._hopeless is not None:
                raise self._hopeless

    def connected(self) -> None:
        """Note that a broker answers."""
        with self._lock:
            self._down = False

    @property
    def down(self) -> bool:
        """Whether no broker answered since the client said that none does."""
        with self._lock:
            return self._down

    def cause(self, otherwise: str) -> str:
        """Return the last reason that was heard."""
        with self._lock:
            return self._last or otherwise


def options(connection: Connection, trouble: Trouble, **more: Any) -> dict[str, Any]:
    """Return a client's options: the connection's, ours for all clients, and `more` (underscores stand for dots)."""
    return {
        "allow.auto.create.topics": False,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
        **connection,
        "error_cb": trouble,
        "logger": _QUIET,
        **{name.replace("_", "."): value for name, value in more.items()},
    }


def reading(connection: Connection, trouble: Trouble, **more: Any) -> dict[str, Any]:
    """Return a consumer's options: nothing is committed by itself, no gap is skipped, all bytes are checked."""
    fixed = {
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "check.crcs": True,
        # A fetch that waits at the broker holds up every other request on its connection.
        "fetch.wait.max.ms": 20,
    }
    return {"group.id": NO_GROUP, **fixed, **options(connection, trouble, **more)}


#: librdkafka's own lines would go to stderr past our log; what matters in them comes as errors too.
_QUIET = logging.getLogger("headwater.librdkafka")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class _OneThread(Executor):
    """One thread for calls, one after another. The process does not wait for it: a call of librdkafka may never end."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._closed = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if self._closed:
            raise RuntimeError("closed")
        future: Future[T] = Future()
        self._calls.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 (as the base has it)
        self._closed = True
        self._calls.put(None)

    def _run(self) -> None:
        while call := self._calls.get():
            future, work = call
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 (it is raised to whoever waits)
                    future.set_exception(error)
            del call, future, work  # nothing of a call is kept until the next one


class OnThread:
    """Runs a client's calls one after another on one thread, and translates what they raise."""

    def __init__(self, name: str, trouble: Trouble) -> None:
        self._executor = _OneThread(name)
        self._closing = threading.Event()
        self.trouble = trouble

    async def call(self, doing: str, work: Callable[[], T], subject: str = "") -> T:
        """Return what `work` returns, which may be called again. Raise what a KafkaException means; Unreachable when
        trouble is hopeless, or a topic is still missing after MISSING_S.

        A cancelled caller does not wait; the call itself goes on, and later ones come after it.
        """
        loop = asyncio.get_running_loop()

        def insisting() -> T:
            until = loop.time() + MISSING_S
            while True:
                try:
                    return work()
                except KafkaException as raised:
                    if raised.args[0].code() not in MISSING or loop.time() > until:
                        raise
                if self._closing.wait(_PAUSE_S):
                    return work()

        return await loop.run_in_executor(self._executor, self._translating, doing, insisting, subject)

    def begin(self, work: Callable[[], object]) -> None:
        """Have `work` done without waiting for it. What it raises is lost: whoever needs it done does it again."""
        self._executor.submit(work)

    def _translating(self, doing: str, work: Callable[[], T], subject: str) -> T:
        self.trouble.check()
        try:
            return work()
        except KafkaException as raised:
            self.trouble.check()
            error = translated(raised.args[0], doing, subject)
            if isinstance(error, Retry):
                error = Retry(error.dependency, f"{doing}: {self.trouble.cause(raised.args[0].str())}", error.after_s)
            raise error from raised

    async def close(self, last: Callable[[], None]) -> None:
        """Run `last` after all calls, and end the thread; after CLOSE_S it is left to itself. Idempotent."""
        self._closing.set()
        # A client that cannot say good-bye is gone all the same; the thread may have ended before.
        with suppress(KafkaException, RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.get_running_loop().run_in_executor(self._executor, last)
        self.abandon()

    def abandon(self) -> None:
        """Let the thread end when it can."""
        self._closing.set()
        self._executor.shutdown()


def fetched(consumer: Consumer, limit: int, wait_s: float) -> list[Message]:
    """Return what is there, waiting up to `wait_s` for the first. `consume` alone would wait for all of `limit`."""
    messages = consumer.consume(1, wait_s)
    return messages + consumer.consume(limit - 1, 0) if messages else messages


def learn_anew(consumer: Consumer, topic: str) -> bool:
    """Let the client ask what partitions a topic has: what a broker that had just started told, it believes for minutes
    otherwise. Tell whether a broker answered. Blocks a little. Not within a callback of the client: that would end the
    process.
    """
    try:
        consumer.list_topics(topic, timeout=_LOOK_S)
    except KafkaException:
        return False
    return True


def bounds(consumer: Consumer, place: TopicPartition, trouble: Trouble, clock: Clock) -> tuple[int, int]:
    """Return the first offset that a partition keeps, and where what was committed to it ends. Waits up to
    REQUEST_S, and MISSING_S more for brokers that came back.
    """

    def look() -> tuple[int, int]:
        found = consumer.get_watermark_offsets(place, timeout=_LOOK_S, cached=False)
        return found[0], found[1]

    return _looked(look, lambda: learn_anew(consumer, place.topic), consumer, trouble, clock)


def standing(
    consumer: Consumer, places: list[TopicPartition], trouble: Trouble, clock: Clock
) -> dict[int, TopicPartition]:
    """Return what the consumer's group has committed in these places of one topic, for each partition where it has.
    Waits as `bounds` does.

    AdminClient has a call for it, which must not be used: when the group's coordinator has moved, librdkafka 2.16
    follows a null pointer in it, and the process is gone.
    """

    def look() -> dict[int, TopicPartition]:
        found = consumer.committed(places, timeout=_LOOK_S)
        for it in found:
            if it.error is not None:
                raise KafkaException(it.error)
        return {it.partition: it for it in found if it.offset >= 0}

    return _looked(look, lambda: learn_anew(consumer, places[0].topic), consumer, trouble, clock)


def _looked(look: Callable[[], T], learn: Callable[[], bool], consumer: Consumer, trouble: Trouble, clock: Clock) -> T:
    """Return what `look` returns, as soon as it does. Where a topic is said to be missing, `learn` asks anew, and tells
    whether a broker answered: a client whose brokers are all away says the same of every topic. It is believed of
    brokers that have answered for MISSING_S: one that comes back knows no topic at first.

    The consumer has nothing assigned: only a poll brings what the client has to say of its trouble, and a poll would
    take a record.
    """
    began_s = clock.monotonic()
    answered_s: float | None = None  # since when they do
    while True:
        try:
            return look()
        except KafkaException as raised:
            said = consumer.poll(_PAUSE_S)
            trouble.check()
            worse = said.error() if said is not None else None
            if worse is not None and not isinstance(translated(worse, ""), Retry):
                raise KafkaException(worse) from raised
            error = raised.args[0]
            waited_s = clock.monotonic() - began_s
            if error.code() in MISSING:
                if learn():
                    answered_s = clock.monotonic() if answered_s is None else answered_s
                    if clock.monotonic() - answered_s > MISSING_S:
                        raise
                    continue
                answered_s = None
                if waited_s > REQUEST_S:
                    raise Retry(KAFKA, trouble.cause("no broker answers")) from raised
            elif waited_s > REQUEST_S or not isinstance(translated(error, ""), Retry):
                raise


def offset_of(message: Message) -> int:
    """Return a message's offset; an error about a partition's end has one too."""
    offset = message.offset()
    assert offset is not None
    return offset


def partition_of(message: Message) -> int:
    """Return a message's partition."""
    partition = message.partition()
    assert partition is not None
    return partition
