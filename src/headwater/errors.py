"""The error kinds, by what the reader must do: wait and retry, reject the input, halt the stream, mend the
configuration.

Each error has a `code`: a short name that stays, by which `headwater explain` finds its page. Errors that ask the same
of the reader share one; a Halt's is its anomaly's name.

Adapters map what their libraries raise to these once, at their edge. Everything else is a defect and travels up as it
is. Messages never hold document text or secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class HeadwaterError(Exception):
    """The base of all that Headwater raises on purpose."""

    code: str


@dataclass(eq=False)
class Retry(HeadwaterError):
    """A dependency is away or full: the same call may succeed later. Nothing is wrong with the input."""

    dependency: str
    cause: str
    after_s: float | None = None

    code = "away"

    def __str__(self) -> str:
        return f"{self.dependency}: {self.cause}"


@dataclass(eq=False)
class RateLimited(Retry):
    """The account's limit at the service is reached. `after_s` is when it said to come again, if it did."""

    code = "rate-limited"


@dataclass(eq=False)
class Overloaded(Retry):
    """The service has more to do than it can: less at once would help."""

    code = "overloaded"


@dataclass(eq=False)
class Reject(HeadwaterError):
    """This input can never succeed. `index` says which of several inputs, where the callee knows."""

    reason: str
    index: int | None = None

    code = "rejected"

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class TooLong(Reject):
    """This text is longer than the model takes."""

    code = "text-too-long"


@dataclass(eq=False)
class Halt(HeadwaterError):
    """Going on would break a guarantee: a person must look. `invariant` is the anomaly's name, `cure` the next step."""

    invariant: str
    detail: str
    cure: str = ""

    def __post_init__(self) -> None:
        self.code = self.invariant

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}" + (f". {self.cure}" if self.cure else "")


@dataclass(eq=False)
class Lost(HeadwaterError):
    """These partitions belong to another worker now: drop their work, settle nothing of it."""

    partitions: frozenset[int]

    code = "moved-on"

    def __str__(self) -> str:
        return f"partitions {sorted(self.partitions)} belong to another worker"


@dataclass(eq=False)
class Changed(HeadwaterError):
    """What was found at the opening holds no longer: begin again with a new look. Nothing is lost."""

    what: str

    code = "moved-on"

    def __str__(self) -> str:
        return self.what


@dataclass(eq=False)
class Unreachable(HeadwaterError):
    """A dependency cannot be used at all: missing, held by another, corrupt, or made by a newer version."""

    dependency: str
    cause: str
    cure: str = ""
    code: str = field(default="unusable", kw_only=True)

    def __str__(self) -> str:
        return f"{self.dependency}: {self.cause}" + (f". {self.cure}" if self.cure else "")


@dataclass(eq=False)
class Denied(Unreachable):
    """A service refuses the account: bad credentials, or no quota left. Asking again would change nothing."""

    code: str = field(default="service-refuses", kw_only=True)


@dataclass(eq=False)
class Misconfigured(HeadwaterError):
    """One error in the configuration: where it stands, what was expected, what was found."""

    path: str
    expected: str
    got: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None
    code: str = field(default="wrong-value", kw_only=True)

    @property
    def place(self) -> str:
        """`file:line:column`, as far as it is known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        head = f"{self.place}: " if self.place else ""
        tail = f" ({self.hint})" if self.hint else ""
        return f"{head}{self.path}: expected {self.expected}, got {self.got}{tail}"
