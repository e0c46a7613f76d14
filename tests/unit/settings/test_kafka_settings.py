"""A Kafka as the log: what is read, what does not go together, and what librdkafka is told. Secrets are never shown."""

from __future__ import annotations

from pathlib import Path

import confluent_kafka
import pytest
from pydantic import SecretStr

from headwater.log import topics
from headwater.settings.kafka import PREFIX_MAX, ClaimCheckSettings
from headwater.settings.stores import Store
from tests.unit.settings.reading import kafka, lines, read, told

SECRET = "hunter2-planted-secret"


def under_log(folder: Path, text: str) -> list[str]:
    return lines(folder, f"log: {{url: kafka://h, {text}}}\nstreams: {{a: {{}}}}")


def test_a_url_alone_has_sensible_defaults(tmp_path: Path) -> None:
    log = kafka(tmp_path, "kafka://a,b:9093")
    assert (log.brokers, log.prefix, log.replication) == (("a:9092", "b:9093"), "headwater", None)
    assert (log.cleanup, log.keep_s, log.receipts, log.rebalance) == ("delete", None, "transactional", "cooperative")
    assert (log.instance, log.session_timeout_s, log.oversized, log.largest_bytes) == (None, 45.0, "reject", 1048576)
    assert (log.security, log.registry) == (None, None)
    assert log.client() == {"bootstrap.servers": "a:9092,b:9093"}
    assert str(log) == "kafka://a:9092,b:9093"


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
  url: kafka://b
  prefix: hw.test_1
  replication: 3
  cleanup: delete
  keep: 400d
  receipts: plain
  rebalance: cooperative
  instance: "${env:WORKER}"
  session_timeout: 6s
  oversized: {claim_check: ../big}
  largest: 2MiB
  security:
    protocol: sasl_ssl
    mechanism: SCRAM-SHA-512
    username: headwater
    password: "${env:PASSWORD}"
    ca: ca.pem
    certificate: /etc/c.pem
    key: k.pem
    key_password: also secret
  registry: {url: "https://r:8081/v7", username: u, password: "${env:PASSWORD}", ca: r.pem}
"""
    log = kafka(tmp_path, text, WORKER="w-1", PASSWORD=SECRET)
    assert (log.prefix, log.replication, log.keep_s, log.receipts) == ("hw.test_1", 3, 400 * 86400.0, "plain")
    assert (log.instance, log.session_timeout_s, log.largest_bytes) == ("w-1", 6.0, 2 << 20)
    assert isinstance(log.oversized, ClaimCheckSettings)
    assert log.oversized.claim_check == tmp_path.parent / "big"
    assert log.client() == {
        "bootstrap.servers": "b:9092",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "headwater",
        "sasl.password": SECRET,
        "ssl.ca.location": str(tmp_path / "ca.pem"),
        "ssl.certificate.location": "/etc/c.pem",
        "ssl.key.location": str(tmp_path / "k.pem"),
        "ssl.key.password": "also secret",
    }
    assert log.registry is not None
    assert (log.registry.url, log.registry.login, log.registry.ca) == (
        "https://r:8081/v7",
        ("u", SECRET),
        tmp_path / "r.pem",
    )
    assert log.files == {
        "log.security.ca": tmp_path / "ca.pem",
        "log.security.certificate": Path("/etc/c.pem"),
        "log.security.key": tmp_path / "k.pem",
        "log.registry.ca": tmp_path / "r.pem",
    }
    shown = f"{log} {log!r} {log.security} {log.registry!r}"
    assert SECRET not in shown
    assert "also secret" not in shown


def test_a_registry_may_need_no_login(tmp_path: Path) -> None:
    registry = kafka(tmp_path, "{url: kafka://h, registry: {url: 'http://r:8081'}}").registry
    assert registry is not None
    assert registry.login is None


def test_tokens_are_asked_for_at_their_endpoint(tmp_path: Path) -> None:
    oauth = '{token_url: "https://idp/token", client_id: i, client_secret: s3, scope: kafka}'
    text = f"{{url: kafka://b, security: {{protocol: sasl_ssl, mechanism: OAUTHBEARER, oauth: {oauth}}}}}"
    log = kafka(tmp_path, text)
    assert log.client() == {
        "bootstrap.servers": "b:9092",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": "https://idp/token",
        "sasl.oauthbearer.client.id": "i",
        "sasl.oauthbearer.client.secret": "s3",
        "sasl.oauthbearer.scope": "kafka",
    }
    assert "s3" not in repr(log)


@pytest.mark.parametrize(
    "security",
    [
        "{protocol: plaintext}",
        "{protocol: ssl}",
        "{protocol: sasl_plaintext, mechanism: PLAIN, username: u, password: p}",
        "{protocol: sasl_ssl, mechanism: SCRAM-SHA-256, username: u, password: p}",
        (
            "{protocol: sasl_ssl, mechanism: OAUTHBEARER,"
            ' oauth: {token_url: "http://localhost:1/x", client_id: i, client_secret: s, scope: k}}'
        ),
    ],
)
def test_librdkafka_knows_every_option(tmp_path: Path, security: str) -> None:
    options = kafka(tmp_path, f"{{url: 'kafka://localhost:1', security: {security}}}").client()
    confluent_kafka.Producer({**options, "log_level": 0})  # raises for an option that it does not know
    with pytest.raises(confluent_kafka.KafkaException):
        confluent_kafka.Producer({**options, "no.such.option": 1})


@pytest.mark.parametrize("keep", ["all", "1m", "3650d"])
def test_history_may_be_kept_long(tmp_path: Path, keep: str) -> None:
    seconds = kafka(tmp_path, f"{{url: kafka://h, keep: {keep}}}").keep_s
    assert seconds == {"all": None, "1m": 60.0, "3650d": 3650 * 86400.0}[keep]


def test_the_broker_may_share_out_partitions(tmp_path: Path) -> None:
    assert kafka(tmp_path, "{url: kafka://h, rebalance: consumer, instance: w}").rebalance == "consumer"


def test_a_mapping_may_name_a_file_too(tmp_path: Path) -> None:
    settings = read(tmp_path, "log: {url: sqlite:///x.db}\nstreams: {a: {}}")
    assert settings.log == settings.streams["a"].index == Store("sqlite", tmp_path / "x.db")


def test_the_index_stays_a_file_that_streams_share(tmp_path: Path) -> None:
    settings = read(tmp_path, "log: kafka://h\nstreams: {a: {}, b: {}, c: {index: sqlite:///c.db}}")
    assert [stream.index.path.name for stream in settings.streams.values()] == ["headwater.db", "headwater.db", "c.db"]


def test_the_longest_prefix_leaves_room_for_every_name() -> None:
    names = [topics.changes_topic, topics.receipts_topic, topics.dead_topic, topics.positions_topic]
    made = [name("p" * PREFIX_MAX, "s" * 63) for name in names] + [topics.control_topic("p" * PREFIX_MAX)]
    assert max(map(len, made)) <= 249


# (what stands under `log` beside the url, with ^ before the place that is meant; the error)
REFUSED: list[tuple[str, str]] = [
    (
        "prefix: ^Hw",
        (
            "log.prefix: expected a name of a-z, 0-9, ., _ and -, beginning with a letter or a digit, at most "
            "150 long, got 'Hw'"
        ),
    ),
    (f"prefix: {'p' * 151}", "at most 150 long"),
    ("prefix: .x", "beginning with a letter or a digit"),
    ("replication: ^0", "log.replication: expected at least 1, got 0"),
    ("replication: ^x", "log.replication: expected a whole number, got 'x'"),
    ("cleanup: ^compaction", "log.cleanup: expected delete or compact, got 'compaction' (did you mean compact?)"),
    ("keep: ^3", "log.keep: expected all, or a duration such as 250ms, 30s, 5m, 2h or 1d, got 3"),
    ("keep: ^1s", "log.keep: expected all, or a duration between 1m and 36500d, got '1s'"),
    ("keep: ^alle", "log.keep: expected all, or a duration such as 250ms, 30s, 5m, 2h or 1d, got 'alle'"),
    (
        "cleanup: compact, keep: ^3d",
        (
            "log.keep: expected all, got '3d' (`cleanup: compact` keeps the last change of each document; a "
            "limit in time would lose it)"
        ),
    ),
    ("receipts: ^none", "log.receipts: expected transactional or plain, got 'none'"),
    ("rebalance: ^eager", "log.rebalance: expected cooperative or consumer, got 'eager'"),
    ("instance: ^a b", "log.instance: expected a name of letters, digits, ., _ and -, got 'a b'"),
    ("session_timeout: ^1h", "log.session_timeout: expected a duration between 1s and 30m, got '1h'"),
    (
        "rebalance: consumer, session_timeout: ^45s",
        (
            "log.session_timeout: expected this key left out, got '45s' (with `rebalance: consumer` the broker "
            "decides: group.consumer.session.timeout.ms)"
        ),
    ),
    ("oversized: ^drop", "log.oversized: expected reject, or {claim_check: FOLDER}, got 'drop'"),
    ("oversized: ^{}", "log.oversized.claim_check: expected this key, got nothing (it has no default)"),
    ("largest: ^2", "log.largest: expected a size such as 64KiB or 10MB, got 2 (the unit is missing)"),
    ("largest: ^1B", "log.largest: expected a size between 1KiB and 512MiB, got '1B'"),
    ("largest: ^1GiB", "log.largest: expected a size between 1KiB and 512MiB, got '1GiB'"),
    ("^retention: 3d", "log.retention: expected one of the keys url, prefix, replication, cleanup, keep, "),
    ("security: ^ssl", "log.security: expected a mapping, got a text"),
    ("security: ^{}", "log.security.protocol: expected this key, got nothing (it has no default)"),
    ("security: {protocol: tls}", "expected plaintext, ssl, sasl_plaintext or sasl_ssl, got 'tls'"),
    (
        "security: ^{protocol: sasl_ssl}",
        "log.security.mechanism: expected this key, got nothing (`protocol: sasl_ssl` needs it)",
    ),
    (
        "security: {protocol: ssl, mechanism: ^PLAIN}",
        "log.security.mechanism: expected this key left out, got 'PLAIN' (`protocol: ssl` has no SASL; sasl_ssl has)",
    ),
    ("security: ^{protocol: ssl, certificate: c}", "log.security.key: expected this key, got nothing"),
    ("security: {protocol: ssl, key_password: c}", "log.security.key: expected this key, got nothing (`key_password`"),
    ("security: {protocol: ssl, key: c}", "log.security.certificate: expected this key, got nothing (`key` needs it)"),
    (
        "security: {protocol: plaintext, ca: ^c}",
        (
            "log.security.ca: expected this key left out, got 'c' (`protocol: plaintext` is not encrypted; ssl "
            "and sasl_ssl are)"
        ),
    ),
    ("security: {protocol: ssl, ca: ^''}", "log.security.ca: expected the path of a file, got ''"),
    (
        "security: {protocol: ^sasl_plaintext, mechanism: PLAIN, username: u, password: p}",
        (
            "log.security.protocol: expected sasl_ssl, got 'sasl_plaintext' (PLAIN sends the password as it is; "
            "SCRAM does not)"
        ),
    ),
    (
        "security: ^{protocol: sasl_ssl, mechanism: OAUTHBEARER}",
        "log.security.oauth: expected this key, got nothing (`mechanism: OAUTHBEARER` needs it)",
    ),
    (
        (
            "security: {protocol: sasl_ssl, mechanism: OAUTHBEARER, oauth: {token_url: ^'http://idp/t', "
            "client_id: i, client_secret: s}}"
        ),
        (
            "log.security.oauth.token_url: expected a URL with https://, got 'http://idp/t' (a secret would "
            "travel in the clear)"
        ),
    ),
    ("registry: {url: ^'r:8081'}", "log.registry.url: expected https://HOST[:PORT][/PATH], got 'r:8081'"),
    (
        "registry: {url: ^'http://r', username: u, password: p}",
        "log.registry.url: expected a URL with https://, got 'http://r' (a secret would travel in the clear)",
    ),
    ("registry: {url: 'http://r', ca: c}", "log.registry.ca: expected this key left out, got 'c' (a URL with http://"),
    ("registry: {url: 'https://r', username: u}", "log.registry.password: expected this key, got nothing"),
    ("registry: {url: 'https://r', password: p}", "log.registry.username: expected this key, got nothing"),
    (
        "registry: {url: 'https://r', username: 'a:b', password: p}",
        "log.registry.username: expected a name without a colon, got 'a:b'",
    ),
]


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_an_error_has_its_place_and_its_cure(tmp_path: Path, text: str, error: str) -> None:
    (line,) = under_log(tmp_path, text.replace("^", ""))
    assert error in line
    if "^" in text:
        column = len("log: {url: kafka://h, ") + text.index("^") + 1
        assert line.startswith(f"headwater.yaml:1:{column}: ")


def test_a_key_that_is_misspelt_has_its_place_inside_of_a_choice(tmp_path: Path) -> None:
    found = under_log(tmp_path, "oversized: {claimcheck: x}")
    assert [line.split(": expected")[0] for line in found] == [
        "headwater.yaml:1:34: log.oversized.claim_check",
        "headwater.yaml:1:35: log.oversized.claimcheck",
    ]
    assert found[1].endswith("got the unknown key 'claimcheck' (did you mean claim_check?)")


def test_all_that_does_not_go_together_is_told_at_once(tmp_path: Path) -> None:
    text = (
        "security: {protocol: sasl_plaintext, mechanism: SCRAM-SHA-256, ca: x, oauth: "
        "{token_url: 'https://i/t', client_id: i, client_secret: s}}"
    )
    assert [line.split(" (")[0] for line in under_log(tmp_path, text)] == [
        "headwater.yaml:1:33: log.security.username: expected this key, got nothing",
        "headwater.yaml:1:33: log.security.password: expected this key, got nothing",
        "headwater.yaml:1:90: log.security.ca: expected this key left out, got 'x'",
        "headwater.yaml:1:100: log.security.oauth: expected this key left out, got a mapping",
    ]


@pytest.mark.parametrize("protocol", ["sasl_plaintext", "sasl_ssl"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_password_that_is_never_sent_may_go_unencrypted(tmp_path: Path, protocol: str, mechanism: str) -> None:
    text = f"{{protocol: {protocol}, mechanism: {mechanism}, username: u, password: p}}"
    security = kafka(tmp_path, f"{{url: kafka://far.example, security: {text}}}").security
    assert security is not None
    assert security.password == SecretStr("p")


def test_one_broker_elsewhere_is_enough_to_refuse(tmp_path: Path) -> None:
    text = "security: {protocol: sasl_plaintext, mechanism: PLAIN, username: u, password: p}"
    assert kafka(tmp_path, f"{{url: 'kafka://localhost,[::1]', {text}}}").security is not None
    (line,) = lines(tmp_path, f"log: {{url: 'kafka://localhost,far', {text}}}\nstreams: {{a: {{}}}}")
    assert "PLAIN sends the password as it is" in line


# (the whole log, the line)
LOGS = [
    ("kafka://", "1:6: log: expected kafka://HOST:PORT[,HOST:PORT...], got 'kafka://'"),
    ("kafka://a/topic", "1:6: log: expected kafka://HOST:PORT[,HOST:PORT...], got 'kafka://a/topic' (nothing follows"),
    ("redpanda://a", "1:6: log: expected sqlite:///PATH or kafka://HOST:PORT[,HOST:PORT...], got 'redpanda://a' (Redp"),
    ("postgresql://a", "1:6: log: expected sqlite:///PATH or kafka://HOST:PORT[,HOST:PORT...], got 'postgresql://a'"),
    ("[a]", "1:6: log: expected sqlite:///PATH or kafka://HOST:PORT[,HOST:PORT...], got a list"),
    ("{keep: 3d}", "1:6: log.url: expected this key, got nothing (it has no default)"),
    ("{url: [a]}", "1:12: log.url: expected kafka://HOST:PORT[,HOST:PORT...], got a list"),
    ("{url: 'kafka://'}", "1:12: log.url: expected kafka://HOST:PORT[,HOST:PORT...], got 'kafka://'"),
    ("{url: 'sqlite:///'}", "1:12: log.url: expected sqlite:///PATH, got 'sqlite:///' (the path of a file is missing"),
    ("{url: x.db}", "1:12: log.url: expected sqlite:///PATH, got 'x.db' (a path alone is not enough"),
    (
        "{url: 'sqlite:///x', keep: 3d}",
        (
            "1:33: log.keep: expected this key left out, got '3d' (a log in SQLite has `url` alone and keeps its whole "
            "history; the other keys are for a Kafka)"
        ),
    ),
]


@pytest.mark.parametrize(("text", "error"), LOGS)
def test_a_log_that_is_none(tmp_path: Path, text: str, error: str) -> None:
    (line,) = lines(tmp_path, f"log: {text}\nstreams: {{a: {{}}}}")
    assert line.removeprefix("headwater.yaml:").startswith(error)


# What people write where a secret stands, or think that it does: never shown, and yet an error.
LEAKS = [
    f"log: kafka://u:{SECRET}@h",
    f"log: u:{SECRET}@h:9092",
    f"log: u:{SECRET}@kafka://h",
    f"log: {{url: 'kafka://u:{SECRET}@h'}}",
    f"log: {{url: kafka://h, registry: {{url: 'https://u:{SECRET}@r'}}}}",
    f"log: {{url: kafka://h, registry: {{url: 'https://r?token={SECRET}'}}}}",
    f"log: {{url: kafka://h, registry: {{url: 'https://r#{SECRET}'}}}}",
    f"log: {{url: kafka://h, registry: {{url: 'http://r', username: u, password: {SECRET}}}}}",
    f"log: {{url: kafka://h, registry: {{url: 'https://r', password: {SECRET}}}}}",
    f"log: {{url: kafka://h, security: {{protocol: ssl, password: {SECRET}}}}}",
    f"log: {{url: kafka://h, security: {{protocol: sasl_ssl, mechanism: OAUTHBEARER, password: {SECRET}}}}}",
    f"log: {{url: kafka://h, security: {{protocol: plaintext, key_password: {SECRET}}}}}",
    f"log: {{url: kafka://h, security: {{protocol: tls, password: {SECRET}, username: [x]}}}}",
    f'log: {{url: kafka://h, security: {{protocol: ssl, password: "{SECRET}\\0"}}}}',
    f"log: {{url: kafka://h, security: {{protocol: ssl, pasword: {SECRET}}}}}",
    f"log: {{url: 'sqlite:///x', password: {SECRET}}}",
    f"log: {{url: kafka://h, password: {SECRET}}}",
]


@pytest.mark.parametrize("log", LEAKS)
def test_a_secret_is_in_no_error(tmp_path: Path, log: str) -> None:
    found = told(tmp_path, f"{log}\nstreams: {{a: {{}}}}")
    assert found
    for line, error in found:
        assert "hunter2" not in f"{line} {error!r} {error.hint} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize(("value", "shown"), [("31337", "a secret"), ("true", "a secret"), ("''", "a secret")])
def test_a_secret_that_is_no_text_is_not_shown_either(tmp_path: Path, value: str, shown: str) -> None:
    text = f"security: {{protocol: sasl_ssl, mechanism: PLAIN, username: u, password: {value}}}"
    (line,) = under_log(tmp_path, text)
    assert f"log.security.password: expected a text that is not empty, got {shown}, which is not shown" in line
    assert value == "''" or value not in line
