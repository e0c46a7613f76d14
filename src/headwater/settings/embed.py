"""Which model makes a stream's vectors, and how it is reached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from headwater.settings.addresses import is_loopback
from headwater.settings.failures import Unfit, nearest
from headwater.settings.schema_words import without
from headwater.settings.values import (
    AccountName,
    Duration,
    File,
    Location,
    Secret,
    Section,
    Text,
    Url,
    Whole,
    Written,
    agree,
    checked,
)

#: The models that need no service.
BUILT_IN = ("static", "hash", "onnx/all-MiniLM-L6-v2")
_EXPECTED = "static, hash, or PROVIDER/MODEL such as openai/text-embedding-3-small"
#: The keys that only a service has a use for.
_OF_A_SERVICE = ("url", "key", "revision", "query_prefix", "document_prefix", "ca", "account")
_IS_BUILT_IN: dict[str, Any] = {"properties": {"model": {"enum": list(BUILT_IN)}}}  # which is so if it is left out, too
_MODEL = {
    "type": "string",
    "pattern": rf"^({'|'.join(BUILT_IN)}|[a-z][a-z0-9_-]{{0,62}}/\S{{1,200}})$",
    "examples": [*BUILT_IN, "openai/text-embedding-3-small"],
}
_OF_A_PROVIDER = re.compile(r"[a-z][a-z0-9_-]{0,62}/\S{1,200}")


def _model(text: str) -> str:
    if text in BUILT_IN or _OF_A_PROVIDER.fullmatch(text):
        return text
    raise Unfit(_EXPECTED, nearest(text, BUILT_IN))


class EmbedSettings(Section):
    """Which model makes the vectors."""

    model_config = ConfigDict(json_schema_extra={"if": _IS_BUILT_IN, "then": without(*_OF_A_SERVICE)})

    model: Annotated[str, checked(_model), Written("name"), WithJsonSchema(_MODEL)] = Field(
        default="static",
        description="`static` is built in; `onnx/all-MiniLM-L6-v2` is better and runs here too; `hash` is for tests "
        "and measuring and knows no meaning; `PROVIDER/MODEL` is a service's: `openai` (and whatever speaks its "
        "protocol), `azure`, `tei`, `ollama`, `cohere`, `voyage`, or a provider that a package brings.",
    )
    url: Url | None = Field(default=None, description="Where the service is; the provider's own address if left out.")
    key: Secret | None = Field(default=None, description="The key of the account; better as `${env:NAME}`.")
    revision: Text | None = Field(
        default=None,
        description="Your name for the state of the model, where the service does not say: part of what the "
        "index is built with.",
    )
    dimensions: Whole | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="Shorter vectors, of models that have them; the model's own if left out.",
    )
    query_prefix: Text | None = Field(default=None, description="What the model wants before each query.")
    document_prefix: Text | None = Field(
        default=None, description="What the model wants before each text of a document."
    )
    ca: File | None = Field(
        default=None,
        description="A PEM file of the authorities that sign its certificate; else the system's.",
    )
    account: AccountName | None = Field(
        default=None,
        description="The account of `accounts` that it belongs to; without one it has no limits but those that the "
        "service says.",
    )
    too_long: Literal["dead", "split", "refuse"] = Field(
        default="dead",
        description="What becomes of a chunk that the model cannot take whole: its document is a `dead` letter; it is "
        "`split`, and the mean of its parts' vectors is taken; or the stream `refuse`s to go on.",
    )
    timeout_s: Duration = Field(default=60.0, alias="timeout", description="How long one call may take.")

    @model_validator(mode="after")
    def _agree(self) -> EmbedSettings:
        agree(_of_a_service(self))
        return self


def _of_a_service(it: EmbedSettings) -> Iterator[tuple[Location, Unfit]]:
    if it.model in BUILT_IN:
        for name in _OF_A_SERVICE:
            if getattr(it, name) is not None:
                yield (name,), Unfit("this key left out", f"the model `{it.model}` is built in, and needs no service")
    elif it.url and it.key and it.url.startswith("http:") and not is_loopback(it.url):
        yield ("url",), Unfit("https://", "a key goes over the network only encrypted, except to this machine")
