"""A broker that asks who is there: SASL over TLS, client certificates, bearer tokens, and access lists.

Listeners beside each other, so that one broker serves every way to log in. Whoever comes by the plain one, which test
code uses (`client`), may do everything. Everybody else may do what `allow` said, and nothing before.

| listener  | how                                          | who                                             |
| --------- | -------------------------------------------- | ----------------------------------------------- |
| SASL_SSL  | SCRAM-SHA-512, SCRAM-SHA-256, PLAIN over TLS | `alice` by SCRAM, `dave` by PLAIN, `add_user()` |
| MTLS      | a certificate of the client                  | `carol`                                         |
| OAUTH     | OAUTHBEARER, unsigned tokens, no TLS         | any name that a token says                      |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.kafka.broker import START_S, Broker
from tests.kafka.certificates import Authority
from tests.kafka.client import Kafka
from tests.kafka.properties import HOST

LISTENERS = ("SASL_SSL", "MTLS", "OAUTH")
SCRAM_USER, SCRAM_PASSWORD = "alice", "alice-secret"
PLAIN_USER, PLAIN_PASSWORD = "dave", "dave-secret"
CERTIFIED_USER = "carol"
ASK_S = 10
_MODULE = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Secured:
    """A secured broker as its clients see it. A value: every worker of a run can have one."""

    #: Past all locks.
    client: Kafka
    listeners: Mapping[str, str]
    certificates: Path

    @property
    def ca(self) -> Path:
        return self.certificates / "ca.pem"

    @property
    def wrong_ca(self) -> Path:
        """An authority that has signed nothing of the broker's."""
        return self.certificates / "elsewhere" / "ca.pem"

    def scram(self, user: str = SCRAM_USER, password: str = SCRAM_PASSWORD, mechanism: str = "SCRAM-SHA-512") -> Kafka:
        """Log in by user and password over TLS."""
        return Kafka(
            self.listeners["SASL_SSL"],
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": mechanism,
                "sasl.username": user,
                "sasl.password": password,
                "ssl.ca.location": str(self.ca),
            },
        )

    def plain(self, user: str = PLAIN_USER, password: str = PLAIN_PASSWORD) -> Kafka:
        return self.scram(user, password, "PLAIN")

    def mtls(self, user: str = CERTIFIED_USER) -> Kafka:
        """Log in by a certificate: `carol`'s, or `stranger`'s, whose authority the broker does not know."""
        pem = str(self.certificates / ("elsewhere" if user == "stranger" else "") / f"{user}.pem")
        files = {"ssl.ca.location": str(self.ca), "ssl.certificate.location": pem, "ssl.key.location": pem}
        return Kafka(self.listeners["MTLS"], {"security.protocol": "SSL", **files})

    def oauth(self, user: str) -> Kafka:
        """Log in by an unsigned token that names the user."""
        return Kafka(
            self.listeners["OAUTH"],
            {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "OAUTHBEARER",
                "enable.sasl.oauthbearer.unsecure.jwt": "true",
                "sasl.oauthbearer.config": f"principalClaimName=sub principal={user}",
            },
        )

    def add_user(self, user: str, password: str) -> None:
        """Let a user log in by SCRAM from now on."""
        admin = self.client.admin()
        for mechanism in (ScramMechanism.SCRAM_SHA_512, ScramMechanism.SCRAM_SHA_256):
            credential = ScramCredentialInfo(mechanism, 4096)
            wanted = UserScramCredentialUpsertion(user, credential, password.encode())
            for future in admin.alter_user_scram_credentials([wanted]).values():
                future.result(ASK_S)

    def allow(self, user: str, *operations: AclOperation, topic: str = "", group: str = "") -> None:
        """Let a user do something with a topic or a group, from now on: everything unless operations are named."""
        kind, name = (ResourceType.TOPIC, topic) if topic else (ResourceType.GROUP, group)
        wanted = [
            AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations or (AclOperation.ALL,)
        ]
        # Held by a name: the answers end with the client that asked.
        admin = self.client.admin()
        for future in admin.create_acls(wanted).values():
            future.result(ASK_S)


class SecuredBroker(Broker):
    """The broker itself; `view` is what tests use."""

    def __init__(self, *, owner: int | None = None) -> None:
        super().__init__(listeners=LISTENERS, owner=owner)
        self._certificates = self.folder / "certificates"
        authority = Authority(self._certificates)
        self._server = authority.issue("broker")
        authority.issue(CERTIFIED_USER)
        Authority(self._certificates / "elsewhere", "another authority").issue("stranger")

    @property
    def view(self) -> Secured:
        addresses = {name: f"{HOST}:{port}" for name, port in self.ports.extra.items()}
        return Secured(self.client, addresses, self._certificates)

    def start(self, timeout_s: float = START_S) -> SecuredBroker:
        super().start(timeout_s)
        self.view.add_user(SCRAM_USER, SCRAM_PASSWORD)
        return self

    def properties(self) -> dict[str, str]:
        sasl, oauth = "listener.name.sasl_ssl", "listener.name.oauth"
        scram = f"{_MODULE}.scram.ScramLoginModule required;"
        plain = f'{_MODULE}.plain.PlainLoginModule required user_{PLAIN_USER}="{PLAIN_PASSWORD}";'
        token = f'{_MODULE}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
        return {
            **super().properties(),
            f"{sasl}.sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
            f"{sasl}.scram-sha-512.sasl.jaas.config": scram,
            f"{sasl}.scram-sha-256.sasl.jaas.config": scram,
            f"{sasl}.plain.sasl.jaas.config": plain,
            f"{oauth}.sasl.enabled.mechanisms": "OAUTHBEARER",
            f"{oauth}.oauthbearer.sasl.jaas.config": token,
            "listener.name.mtls.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]*).*$/$1/",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._certificates / "ca.pem"),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # Whoever comes by the plain listeners: the brokers, the controllers and the test itself.
            "super.users": "User:ANONYMOUS",
        }
