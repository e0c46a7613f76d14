"""A Kafka as the log: where it is, what Headwater's own topics are like there, and how to be let in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo, model_validator

from headwater.settings.addresses import KAFKA, brokers, is_loopback
from headwater.settings.failures import Unfit
from headwater.settings.schema_words import together, where, without, wrote
from headwater.settings.values import (
    File,
    Folder,
    Keep,
    Location,
    Secret,
    Section,
    Session,
    Size,
    Text,
    Url,
    Whole,
    Written,
    agree,
    named,
    text_of,
    unfit,
)

#: With the longest name of a stream and the longest ending no topic's name comes to more than Kafka's 249 characters.
PREFIX_MAX = 150

#: The URL of a Kafka as it is written.
KAFKA_URL = wrote(r"^kafka://[^@/?#]+$", "kafka://localhost:9092")

Errors = Iterator[tuple[Location, Unfit]]


def _brokers(value: object) -> object:
    try:
        return brokers(text_of(value, KAFKA))
    except Unfit as error:
        raise unfit(error) from None


def _oversized(value: object, info: ValidationInfo) -> object:
    if isinstance(value, dict):
        return ClaimCheckSettings.model_validate(value, context=info.context)
    if value == "reject":
        return "reject"
    raise unfit(Unfit("reject, or {claim_check: FOLDER}"))


class ClaimCheckSettings(Section):
    """What is too large for a record stays in a folder, and the record says where."""

    claim_check: Folder = Field(
        description="The folder for bodies too large for a record, with a file `.headwater-claims` that you make; all "
        "workers and publishers must see it."
    )


class OAuthSettings(Section):
    """How a token is got, for OAUTHBEARER: client credentials, from a token endpoint."""

    token_url: Url = Field(description="The token endpoint. Only https, except on this machine.")
    client_id: Text = Field(description="The client's id there.")
    client_secret: Secret = Field(description="The client's secret; better as `${env:NAME}`.")
    scope: Text | None = Field(default=None, description="The scope to ask for.")

    @model_validator(mode="after")
    def _agree(self) -> OAuthSettings:
        agree(_in_the_clear(self.token_url, "token_url"))
        return self


#: What `SecuritySettings` checks, as far as a JSON Schema can say it.
_SECURITY = (
    together(key=["certificate"], certificate=["key"], key_password=["key"]),
    where({"protocol": ["sasl_plaintext", "sasl_ssl"]}, {"required": ["mechanism"]}),
    where({"protocol": ["plaintext", "ssl"]}, without("mechanism", "username", "password", "oauth")),
    where({"protocol": ["plaintext", "sasl_plaintext"]}, without("ca", "certificate", "key", "key_password")),
    where({"mechanism": ["OAUTHBEARER"]}, {"required": ["oauth"], **without("username", "password")}),
    where(
        {"mechanism": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]},
        {"required": ["username", "password"], **without("oauth")},
    ),
)


class SecuritySettings(Section):
    """How the brokers are reached and told who we are, in Kafka's own terms."""

    model_config = ConfigDict(json_schema_extra={"allOf": list(_SECURITY)})

    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        description="Whether the connection is encrypted (`ssl`) and the client authenticated by SASL."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        default=None, description="How SASL authenticates. Required with `sasl_plaintext` and `sasl_ssl`."
    )
    username: Text | None = Field(default=None, description="For PLAIN and SCRAM.")
    password: Secret | None = Field(default=None, description="For PLAIN and SCRAM; better as `${env:NAME}`.")
    ca: File | None = Field(
        default=None,
        description="A PEM file of the authorities that sign the brokers' certificates; else the system's.",
    )
    certificate: File | None = Field(default=None, description="A PEM file of the client's own certificate (mTLS).")
    key: File | None = Field(default=None, description="A PEM file of the private key of `certificate`.")
    key_password: Secret | None = Field(default=None, description="What `key` is encrypted with.")
    oauth: OAuthSettings | None = Field(default=None, description="For OAUTHBEARER: where tokens come from.")

    @model_validator(mode="after")
    def _agree(self) -> SecuritySettings:
        agree((*_sasl(self), *_tls(self)))
        return self


class RegistrySettings(Section):
    """A schema registry, for topics in Avro, JSON Schema or Protobuf."""

    model_config = ConfigDict(json_schema_extra=together(username=["password"], password=["username"]))

    url: Url = Field(description="Where it is. A password only with https, except on this machine.")
    username: Annotated[Text, named("[^:]*", "a name without a colon")] | None = Field(
        default=None, description="For basic authentication."
    )
    password: Secret | None = Field(default=None, description="For basic authentication; better as `${env:NAME}`.")
    ca: File | None = Field(
        default=None, description="A PEM file of the authorities that sign its certificate; else the system's."
    )

    @model_validator(mode="after")
    def _agree(self) -> RegistrySettings:
        agree(_registry(self))
        return self

    @property
    def login(self) -> tuple[str, str] | None:
        """The user and the password in the clear, where there are some."""
        if not self.username or not self.password:
            return None
        return self.username, self.password.get_secret_value()


class KafkaLog(Section):
    """A Kafka cluster, or what speaks its protocol, as the durable log."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                where({"rebalance": ["consumer"]}, without("session_timeout")),
                where({"cleanup": ["compact"]}, {"properties": {"keep": {"enum": ["all"]}}}),
            ]
        }
    )

    brokers: Annotated[
        tuple[str, ...],
        BeforeValidator(_brokers, KAFKA_URL),
        Written("URL"),
    ] = Field(
        alias="url",
        description="`kafka://HOST:PORT[,HOST:PORT...]`, port 9092 if left out; or `sqlite:///PATH`, which has none of "
        "the keys below.",
    )
    prefix: Annotated[
        str,
        named(
            f"[a-z0-9][a-z0-9._-]{{0,{PREFIX_MAX - 1}}}",
            f"a name of a-z, 0-9, ., _ and -, beginning with a letter or a digit, at most {PREFIX_MAX} long",
        ),
    ] = Field(
        default="headwater", description="What the names of topics, consumer groups and transactional ids begin with."
    )
    replication: Annotated[Whole, Field(ge=1, le=1000)] | None = Field(
        default=None, description="How many brokers hold each topic that Headwater makes; the broker's own if left out."
    )
    cleanup: Literal["delete", "compact"] = Field(
        default="delete",
        description="How the topics of changes that Headwater makes are trimmed: `delete` by age, see `keep`; "
        "`compact` to the last change of each document.",
    )
    keep_s: Keep = Field(
        default=None,
        alias="keep",
        description="How long history is kept there. It trims the log; it ends no document.",
    )
    receipts: Literal["transactional", "plain"] = Field(
        default="transactional",
        description="Whether receipts and offsets are written in one transaction; `plain` is for brokers without "
        "transactions, and a crash may then write a receipt twice.",
    )
    rebalance: Literal["cooperative", "consumer"] = Field(
        default="cooperative",
        description="How workers share partitions: by the client, step by step, or by the broker (KIP-848).",
    )
    instance: Annotated[str, named("[A-Za-z0-9._-]{1,100}", "a name of letters, digits, ., _ and -")] | None = Field(
        default=None,
        description="A worker's own name, the same after a restart, so that it gets its partitions back without a "
        "rebalance; better as `${env:NAME}`, since no two workers may share one.",
    )
    session_timeout_s: Session = Field(
        default=45.0,
        alias="session_timeout",
        description="How long a worker may be silent before its partitions go to another. Not with `rebalance: "
        "consumer`: there the broker decides.",
    )
    oversized: Annotated[
        Literal["reject"] | ClaimCheckSettings,
        PlainValidator(_oversized, Literal["reject"] | ClaimCheckSettings),
        Written("`reject`, or a mapping", "`reject`"),
    ] = Field(default="reject", description="What becomes of a change over `largest`: `reject`, or `claim_check`.")
    largest_bytes: Size = Field(
        default=1 << 20, alias="largest", description="The largest record of the topics that Headwater makes."
    )
    security: SecuritySettings | None = Field(
        default=None, description="How the brokers are reached; without it in the clear and without a name."
    )
    registry: RegistrySettings | None = Field(
        default=None, description="The schema registry, for topics in Avro, JSON Schema or Protobuf."
    )

    @model_validator(mode="after")
    def _agree(self) -> KafkaLog:
        agree(_log(self))
        return self

    def __str__(self) -> str:
        return f"kafka://{','.join(self.brokers)}"

    @property
    def files(self) -> dict[str, Path]:
        """The files that connecting needs, by their places in the configuration."""
        held = {f"security.{key}": getattr(self.security, key, None) for key in ("ca", "certificate", "key")}
        held["registry.ca"] = self.registry and self.registry.ca
        return {f"log.{place}": path for place, path in held.items() if path}

    def client(self) -> dict[str, str | int | bool]:
        """Return what every client of librdkafka needs to connect. Secrets are among it: never log this."""
        options: dict[str, str | int | bool] = {"bootstrap.servers": ",".join(self.brokers)}
        if self.security:
            options |= _options(self.security)
        return options


def _options(it: SecuritySettings) -> Iterator[tuple[str, str]]:
    """Name what is set as librdkafka does."""
    oauth = it.oauth
    named_by_librdkafka = {
        "security.protocol": it.protocol,
        "sasl.mechanism": it.mechanism,
        "sasl.username": it.username,
        "sasl.password": it.password and it.password.get_secret_value(),
        "ssl.ca.location": it.ca and str(it.ca),
        "ssl.certificate.location": it.certificate and str(it.certificate),
        "ssl.key.location": it.key and str(it.key),
        "ssl.key.password": it.key_password and it.key_password.get_secret_value(),
        "sasl.oauthbearer.method": oauth and "oidc",
        "sasl.oauthbearer.token.endpoint.url": oauth and oauth.token_url,
        "sasl.oauthbearer.client.id": oauth and oauth.client_id,
        "sasl.oauthbearer.client.secret": oauth and oauth.client_secret.get_secret_value(),
        "sasl.oauthbearer.scope": oauth and oauth.scope,
    }
    return ((name, value) for name, value in named_by_librdkafka.items() if value)


# --- what does not go together


def _sasl(it: SecuritySettings) -> Errors:
    """Check that SASL has what its mechanism needs, and nothing else."""
    uses_sasl = it.protocol.startswith("sasl_")
    if uses_sasl and not it.mechanism:
        yield ("mechanism",), Unfit("this key", f"`protocol: {it.protocol}` needs it")
        return
    needs = {"oauth"} if it.mechanism == "OAUTHBEARER" else {"username", "password"}
    if not uses_sasl:
        needs = set()
    for key in ("mechanism", "username", "password", "oauth"):
        is_there = getattr(it, key) is not None
        if key in needs and not is_there:
            yield (key,), Unfit("this key", f"`mechanism: {it.mechanism}` needs it")
        elif is_there and not uses_sasl:
            yield (key,), Unfit("this key left out", f"`protocol: {it.protocol}` has no SASL; sasl_ssl has")
        elif is_there and key not in {"mechanism", *needs}:
            yield (key,), Unfit("this key left out", f"`mechanism: {it.mechanism}` does not use it")


def _tls(it: SecuritySettings) -> Errors:
    """Check that a certificate has its key, and that there is TLS to use them."""
    if not it.protocol.endswith("ssl"):
        for key in ("ca", "certificate", "key", "key_password"):
            if getattr(it, key) is not None:
                yield (
                    (key,),
                    Unfit("this key left out", f"`protocol: {it.protocol}` is not encrypted; ssl and sasl_ssl are"),
                )
        return
    if it.key and not it.certificate:
        yield ("certificate",), Unfit("this key", "`key` needs it")
    if not it.key and (it.certificate or it.key_password):
        yield ("key",), Unfit("this key", f"`{'certificate' if it.certificate else 'key_password'}` needs it")


def _registry(it: RegistrySettings) -> Errors:
    if it.username and not it.password:
        yield ("password",), Unfit("this key", "`username` needs it")
    if it.password and not it.username:
        yield ("username",), Unfit("this key", "`password` needs it")
    if it.password:
        yield from _in_the_clear(it.url, "url")
    if it.ca and it.url.startswith("http:"):
        yield ("ca",), Unfit("this key left out", "a URL with http:// is not encrypted")


def _in_the_clear(url: str, key: str) -> Errors:
    if url.startswith("http:") and not is_loopback(url):
        yield (key,), Unfit("a URL with https://", "a secret would travel in the clear")


def _log(it: KafkaLog) -> Errors:
    if it.rebalance == "consumer" and "session_timeout_s" in it.model_fields_set:
        hint = "with `rebalance: consumer` the broker decides: group.consumer.session.timeout.ms"
        yield ("session_timeout",), Unfit("this key left out", hint)
    if it.cleanup == "compact" and it.keep_s is not None:
        hint = "`cleanup: compact` keeps the last change of each document; a limit in time would lose it"
        yield ("keep",), Unfit("all", hint)
    in_the_clear = it.security and it.security.protocol == "sasl_plaintext" and it.security.mechanism == "PLAIN"
    if in_the_clear and not all(map(is_loopback, it.brokers)):
        yield ("security", "protocol"), Unfit("sasl_ssl", "PLAIN sends the password as it is; SCRAM does not")
