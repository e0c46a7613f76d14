"""What librdkafka says, word for word as it was seen on real brokers, and what Headwater makes of it."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from headwater.cli.failures import Exit, exit_code, explain
from headwater.errors import Halt, HeadwaterError, Reject, Retry, Unreachable
from headwater.log.kafka_client import Trouble, translated

VERIFY = (
    "ssl://127.0.0.1:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker "
    "certificate could not be verified, verify that ssl.ca.location is correctly configured (after 3ms in state "
    "SSL_HANDSHAKE)"
)
REQUIRED = (
    "ssl://127.0.0.1:1/bootstrap: Receive failed: ssl/record/rec_layer_s3.c:918:ssl3_read_bytes error:0A00045C:SSL "
    "routines::tlsv13 alert certificate required: SSL alert number 116 (after 2ms in state APIVERSION_QUERY)"
)
#: A broker that is stopped, or killed, in the middle of a handshake.
CLOSED = (
    "ssl://127.0.0.1:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a "
    "PLAINTEXT broker listener? (after 8ms in state SSL_HANDSHAKE)"
)
RESET = (
    "ssl://127.0.0.1:1/bootstrap: SSL handshake failed: Disconnected: connection reset by peer: connecting to a "
    "PLAINTEXT broker listener? (after 0ms in state SSL_HANDSHAKE)"
)
CREDENTIALS = (
    "sasl_ssl://127.0.0.1:1/bootstrap: SASL authentication error: Authentication failed during authentication due to "
    "invalid credentials with SASL mechanism SCRAM-SHA-512 (after 314ms in state AUTH_REQ)"
)
MECHANISM = (
    "sasl_ssl://127.0.0.1:1/bootstrap: SASL OAUTHBEARER mechanism handshake failed: Broker: Unsupported SASL "
    "mechanism: broker's supported mechanisms: SCRAM-SHA-512,PLAIN,SCRAM-SHA-256 (after 300ms in state AUTH_HANDSHAKE)"
)
TOKEN = "Failed to acquire SASL OAUTHBEARER token: "
NOBODY = TOKEN + "Failed to connect to 127.0.0.1:9 after 0 ms: Could not connect to server"
UNKNOWN = TOKEN + '{"error":"invalid_client","error_description":"the client is not known"}'
REFUSED = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)"
RESOLVE = "x.invalid:9092/bootstrap: Failed to resolve 'x.invalid:9092': Name or service not known (after 0ms in state)"
OLD = "ApiVersionRequest v4 is not supported by broker"

HOPELESS = [
    (KafkaError._SSL, VERIFY, "TLS failed", "log.security: ca"),
    (KafkaError._TRANSPORT, REQUIRED, "TLS failed", "certificate and key"),
    (KafkaError._AUTHENTICATION, CREDENTIALS, "refused the log-in", "log.security"),
    (KafkaError._AUTHENTICATION, MECHANISM, "supported mechanisms", "log.security"),
    (KafkaError._AUTHENTICATION, UNKNOWN, "the token endpoint refused", "log.security.oauth"),
    (KafkaError._UNSUPPORTED_FEATURE, OLD, "too old", "Headwater needs Kafka 2.5 or later"),
    (KafkaError.UNSUPPORTED_VERSION, OLD, "too old", "Headwater needs Kafka 2.5 or later"),
    (KafkaError.TOPIC_AUTHORIZATION_FAILED, "", "no rights on the topic hw.t", "headwater topics acl"),
    (KafkaError.GROUP_AUTHORIZATION_FAILED, "", "no rights on the consumer group hw.g", "headwater topics acl"),
    (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "", "no rights on the cluster", "headwater topics acl"),
    (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "", "the transactional id (", "headwater topics acl"),
    (KafkaError.UNKNOWN_TOPIC_OR_PART, "", "no such topic: hw.t", "headwater topics apply"),
]
#: A broker that restarts, a network that is cut, an identity provider that has a bad minute: these end by themselves.
PASSING = [
    (KafkaError._SSL, CLOSED, "Unless the broker is just starting"),
    (KafkaError._SSL, RESET, "Unless the broker is just starting"),
    (KafkaError._AUTHENTICATION, NOBODY, "log.security.oauth.token_url"),
    (KafkaError._AUTHENTICATION, TOKEN + "HTTP 503", "log.security.oauth.token_url"),
    (KafkaError._TRANSPORT, REFUSED, "Check the port in log.url"),
    (KafkaError._RESOLVE, RESOLVE, "Check the host's name in log.url"),
    (KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down", "log.url"),
    (KafkaError._TIMED_OUT, "Local: Timed out", "a listener that asks for TLS does not answer"),
]


def told(error: HeadwaterError) -> str:
    (line,) = explain(error)
    assert line.startswith("headwater: kafka: ")
    return line


@pytest.mark.parametrize(("code", "said", "cause", "next_step"), HOPELESS)
def test_what_waiting_does_not_mend(code: int, said: str, cause: str, next_step: str) -> None:
    error = translated(KafkaError(code, said), "reading", "hw.t", "hw.g")
    assert isinstance(error, Unreachable)
    assert exit_code(error) is Exit.DEPENDENCY
    assert cause in told(error)
    assert next_step in told(error)


@pytest.mark.parametrize(("code", "said", "next_step"), PASSING)
def test_what_is_waited_for(code: int, said: str, next_step: str) -> None:
    error = translated(KafkaError(code, said), "reading", "hw.t")
    assert isinstance(error, Retry)
    assert exit_code(error) is Exit.DEPENDENCY
    assert said in told(error)
    assert next_step in told(error)
    assert told(error).endswith("Nothing was lost [away]")
    trouble = Trouble()
    trouble(KafkaError(code, said))
    trouble.check()


@pytest.mark.parametrize(("code", "said"), [it[:2] for it in HOPELESS if it[0] != KafkaError.UNKNOWN_TOPIC_OR_PART])
def test_hopeless_trouble_is_remembered(code: int, said: str) -> None:
    trouble = Trouble()
    trouble(KafkaError(code, said))
    trouble(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    with pytest.raises(Unreachable):
        trouble.check()


def test_sizes_and_gaps() -> None:
    assert isinstance(translated(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), "writing"), Reject)
    gap = translated(KafkaError(KafkaError._AUTO_OFFSET_RESET), "reading", "hw.t")
    assert isinstance(gap, Halt)
    assert exit_code(gap) is Exit.GUARANTEE
