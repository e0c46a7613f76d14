"""Condition: a CEL expression about a change, such as `body.published && body.lang == "en"`, compiled once.

Numbers compare across kinds (`5 == 5.0`), but arithmetic on an integer and a double is an error. An integer beyond 64
bits counts as a double. A field that is null is there (`has` says so) and equals only null. Texts are not numbers,
`true` is not 1. `size` of a text counts the bytes of its UTF-8.

Nothing in the language's library bounds how long an evaluation takes, and nothing can interrupt it. So what could
run long is refused: at parsing what grows faster than its input (a macro within a macro, `map`, patterns that come from
the input or count high), at evaluation an input too large for a macro.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Self

from headwater.errors import Reject

if TYPE_CHECKING:
    from cel import Program

LIBRARY = "common-expression-language"

MAX_CHARACTERS = 2000

#: One step is about what looking at one element of a list takes, some 35 ns. A minute of work would be 2 * 10^9.
_MAX_STEPS = 30_000_000
#: Each match inside of a macro compiles its pattern anew.
_STEPS_A_MATCH = 30
_CHARACTERS_A_STEP = 64

#: In one pattern, all `{n,m}` together. Each is as good as so many copies of what it counts.
MAX_REPETITIONS = 200

_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_TIMES = ("FullYear", "Month", "DayOfYear", "DayOfMonth", "Date", "DayOfWeek", "Hours", "Minutes", "Seconds")
_FUNCTIONS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches"}
    | {"int", "uint", "double", "string", "bytes", "type", "dyn", "timestamp", "duration"}
    | {f"get{name}" for name in (*_TIMES, "Milliseconds")}
)
#: A literal of text or bytes, or a comment. In a raw one a backslash is a sign like any other.
_OPAQUE = re.compile(
    r"""\b(?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')"""
    r"""|(?:\b[bB])?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"|(?P<comment>//[^\n]*)",
    re.DOTALL,
)
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|filter)\s*\(\s*([A-Za-z_]\w*)?")
_MAP = re.compile(r"\.\s*map\s*\(")
_MATCHES = re.compile(r"\bmatches\s*\(")
_PATTERN = re.compile(r"\s*(?:§(\d+)§)\s*\)")
_COUNT = re.compile(r"\{\s*(\d+)?\s*(?:,\s*(\d+)?\s*)?\}")
_COUNTED_TWICE = re.compile(r"[)}*+?]\s*\{")
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")


class Condition:
    """One expression. Equal texts under one version of the library hold for the same inputs.

    `variables` are those that it names: nothing else need be given.
    """

    __slots__ = ("_program", "_steps", "text", "variables")

    def __init__(self, text: str, program: Program, variables: frozenset[str], steps: int) -> None:
        self.text = text
        self.variables = variables
        self._program = program
        self._steps = steps

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"

    @classmethod
    def parse(cls, text: str, variables: Collection[str]) -> Self:
        """Compile an expression that may name these variables. Raise Reject with what is wrong, and where."""
        # `cel` brings a console tool with it: 160 ms that only those pay who have a condition.
        import cel  # noqa: PLC0415 - see the comment above

        if len(text) > MAX_CHARACTERS:
            raise Reject(f"it has {len(text)} characters, at most {MAX_CHARACTERS} are allowed")
        try:
            program = cel.compile(text)
        except ValueError as error:
            raise Reject(_complaint(str(error))) from None
        bare, literals = _without_literals(text)
        bound, steps = _bounds(bare, literals)
        names = program.references()
        used = frozenset(names["variables"]) - (bound | _TYPES).difference(variables)
        for name in sorted(used.difference(variables)):
            known = ", ".join(f"`{known}`" for known in variables)
            raise Reject(f"{_place_of(bare, name)}unknown variable `{name}`, there is {known}")
        for name in names["functions"]:
            # What is no identifier is an operator.
            if name.isidentifier() and name not in _FUNCTIONS:
                raise Reject(f"{_place_of(bare, name)}unknown function `{name}`")
        return cls(text, program, used, steps)

    @property
    def name(self) -> str:
        """What identifies it in a fingerprint: the text, and whose reading of it."""
        return f"{LIBRARY} {version(LIBRARY)}: {self.text}"

    def holds(self, variables: Mapping[str, object]) -> bool:
        """Evaluate it. Raise Reject when it cannot be: the reason quotes the expression, never the input."""
        given = {name: variables[name] for name in self.variables}
        if self._steps and _steps_of(given) * self._steps > _MAX_STEPS:
            raise Reject("the lists and texts are too large for a condition that looks at every element")
        try:
            result = self._program.execute(given)
        except KeyError as error:
            raise Reject(self._missing(error)) from None
        except IndexError:
            raise Reject("a list is shorter than the condition expects") from None
        except TypeError:
            raise Reject("a value has another type than the condition expects") from None
        except ArithmeticError:
            raise Reject("the condition's arithmetic leaves the range of its numbers, or divides by zero") from None
        except (RuntimeError, ValueError) as error:
            if str(error).startswith("Undefined"):
                raise Reject("the condition uses a macro's name outside of the macro") from None
            raise Reject("a value cannot be converted to what the condition expects") from None
        if not isinstance(result, bool):
            raise Reject("the condition is neither true nor false, but a value: compare it with something")
        return result

    def _missing(self, error: KeyError) -> str:
        """Name the missing field when the expression itself does; it may also be computed from the input."""
        name = error.args[0] if error.args else None
        if isinstance(name, str) and re.fullmatch(r"\w{1,100}", name) and re.search(rf"\.\s*{name}\b", self.text):
            return f"the condition needs the field `{name}`, which is missing: ask for it with `has(...)` first"
        return "a field that the condition needs is missing: ask for it with `has(...)` first"


def _complaint(message: str) -> str:
    """Take place and cause out of the library's message, which repeats the whole expression."""
    found = _PLACE.search(message)
    if not found:
        return "not a CEL expression"
    line, column, cause = found.groups()
    cause = "nested too deeply" if "Recursion limit" in cause else cause.split(" expecting {")[0]
    return f"line {line}, column {column}: {cause}"


def _place_of(bare: str, name: str) -> str:
    found = re.search(rf"(?<![\w.]){name}\b", bare) or re.search(rf"\b{name}\b", bare)
    return _at(bare, found.start()) if found else ""


def _without_literals(text: str) -> tuple[str, list[str]]:
    """Return the expression with its literals and comments blanked, and the literals.

    A literal becomes its number between two § signs, padded to its length where it fits, so that places stay.
    """
    literals: list[str] = []

    def blank(found: re.Match[str]) -> str:
        whole = found.group()
        if found["comment"]:
            return " " * len(whole)
        literals.append(whole)
        return f"§{len(literals) - 1}§".ljust(len(whole))

    return _OPAQUE.sub(blank, text), literals


def _bounds(bare: str, literals: list[str]) -> tuple[frozenset[str], int]:
    """Return the names that macros bind, and what one step of a macro costs, 0 without any. Raise Reject when the
    expression can run long.
    """
    if found := _MAP.search(bare):
        raise Reject(f"{_at(bare, found.start())}`map` is not available in conditions: use `exists`, `all` or `filter`")
    inside: list[str] = []
    bound = set()
    end = 0
    for found in _MACRO.finditer(bare):
        if found.start() < end:
            raise Reject(f"{_at(bare, found.start())}`{found[1]}` inside of another macro can run for hours")
        opening = bare.index("(", found.start())
        end = _closing(bare, opening)
        inside.append(bare[opening:end])
        if found[2]:
            bound.add(found[2])
    for found in _MATCHES.finditer(bare):
        _check_pattern(bare, found, literals)
    if not inside:
        return frozenset(), 0
    return frozenset(bound), _STEPS_A_MATCH if any(map(_MATCHES.search, inside)) else 1


def _at(bare: str, start: int) -> str:
    before = bare[:start]
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}: "


def _closing(bare: str, opening: int) -> int:
    depth = 0
    for i in range(opening, len(bare)):
        depth += (bare[i] == "(") - (bare[i] == ")")
        if not depth:
            return i
    return len(bare)


def _check_pattern(bare: str, found: re.Match[str], literals: list[str]) -> None:
    """A pattern is written out, compiles, and counts low: the time to match is its size times the text's."""
    literal = _PATTERN.match(bare, found.end())
    if not literal:
        raise Reject(f"{_at(bare, found.start())}the pattern of `matches` must be written out, as one text")
    import cel  # noqa: PLC0415 - as in `parse`

    written = literals[int(literal[1])]
    try:
        pattern = cel.compile(written).execute()
        cel.compile(f"''.matches({written})").execute()
    except (RuntimeError, ValueError, TypeError):
        raise Reject(f"{_at(bare, found.start())}`matches` has a pattern that is no regular expression") from None
    total = sum(int(count[2] or count[1] or 0) for count in _COUNT.finditer(pattern))
    if total > MAX_REPETITIONS or _COUNTED_TWICE.search(pattern):
        raise Reject(
            f"{_at(bare, found.start())}the pattern of `matches` counts too high: "
            f"at most {MAX_REPETITIONS} in all, and what is counted is one character"
        )


def _steps_of(variables: Mapping[str, object]) -> int:
    """Estimate what a macro can cost: the longest list or object, times everything that there is."""
    longest = total = 0
    level: list[object] = list(variables.values())
    while level:
        inner: list[object] = []
        for value in level:
            if isinstance(value, str | bytes):
                total += len(value) // _CHARACTERS_A_STEP
            elif isinstance(value, dict):
                longest = max(longest, len(value))
                inner.extend(value.values())
            elif isinstance(value, list):
                longest = max(longest, len(value))
                inner.extend(value)
        total += len(level)
        level = inner
    return longest * total
