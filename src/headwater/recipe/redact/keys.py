"""Keys: what lets somebody in. Found by the prefixes that their makers give them, or by the name that stands before."""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterator

_NOT_BEFORE, _NOT_BEHIND = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"


def _made(form: str) -> re.Pattern[str]:
    return re.compile(_NOT_BEFORE + form + _NOT_BEHIND, re.ASCII)


#: (texts of which one is in every such key, the form). A form is looked for only where one of its texts is.
_FORMS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (("AKIA", "ASIA", "ABIA", "ACCA"), _made(r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}")),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), _made(r"gh[pousr]_[A-Za-z0-9]{36,251}")),
    (("github_pat_",), _made(r"github_pat_[A-Za-z0-9_]{22,255}")),
    (("glpat-",), _made(r"glpat-[\w-]{20,64}")),
    (("xox", "xapp-"), _made(r"x(?:ox[abeoprs]|app)-[A-Za-z0-9-]{10,250}")),
    (("hooks.slack.com",), re.compile(r"hooks\.slack\.com/services/T\w{6,14}/B\w{6,14}/\w{16,40}", re.ASCII)),
    (("AIza",), _made(r"AIza[\w-]{35}")),
    (("GOCSPX-", "ya29."), _made(r"(?:GOCSPX-[\w-]{20,40}|ya29\.[\w-]{20,250})")),
    (("_live_", "_test_"), _made(r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,250}")),
    (("whsec_",), _made(r"whsec_[A-Za-z0-9+/=]{24,80}")),
    (("npm_",), _made(r"npm_[A-Za-z0-9]{36}")),
    (("pypi-",), _made(r"pypi-[\w-]{50,250}")),
    (("hf_",), _made(r"hf_[A-Za-z0-9]{30,64}")),
    (("SG.",), _made(r"SG\.[\w-]{16,32}\.[\w-]{16,64}")),
    (("eyJ",), re.compile(r"(?<![\w-])eyJ[\w-]{8,4096}\.eyJ[\w-]{8,8192}(?:\.[\w-]{0,4096})?(?![\w-])", re.ASCII)),
)
_SK = re.compile(r"(?<![A-Za-z0-9_-])sk-[A-Za-z0-9_-]{20,250}(?![A-Za-z0-9_-])", re.ASCII)
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----")
_PEM_END = re.compile(_PEM.pattern.replace("BEGIN", "END"))
_MOST_PEM = 65536
#: Base64 with headers, should the end be missing.
_PEM_BODY = re.compile(r"(?:\s|\\n|[A-Za-z0-9+/=:,-]){0,65536}")
_LOGIN = re.compile(r"://[^\s/:@]{0,128}:([^\s/@]{3,128})@", re.ASCII)

#: What the name before a secret ends with, by a text that each such ending begins with or holds.
_ENDINGS = (
    ("pass", r"pass(?:word|wd|phrase|code|wort|)"),
    ("pwd", "pwd"),
    ("secret", "secrets?"),
    ("token", "tokens?"),
    ("key", "keys?"),
    ("credential", "credentials?"),
    ("bearer", "bearer"),
    ("authorization", "authorization"),
    ("kennwort", "kennwort"),
    ("contrase", "contrase(?:ñ|n)a"),
    ("mot de passe", "mot de passe"),
    ("senha", "senha"),
    ("пароль", "пароль"),
    ("密码", "密码"),
    ("密碼", "密碼"),
    ("パスワード", "パスワード"),
    ("비밀번호", "비밀번호"),
)
#: What makes a key one of those: a `primary key` is none.
_KEY_OF = re.compile(r"(?:api|access|auth|private|secret|account|shared|encryption|signing|master|service)[_ -]?\Z")
_ASSIGNED = re.compile(
    r"(?:[_ -]?id)?(?![A-Za-z0-9])[\"'`\]*_]{0,3}"
    r"(?:\s{0,3}(?:=>|:=|->|[:=：])[*_]{0,3}\s{0,3}[*_]{0,3}|>(?=[^<\n]{4,512}</)"
    r"|\s{1,3}(?:is set to|is|was|ist|est|es)\s{1,3}:?\s{0,3}|(?<=bearer)\s{1,3})"
    r"(?:(?:bearer|basic|token)\s{1,3})?"
    r"(?:\"([^\"\n]{4,512})\"|'([^'\n]{4,512})'|`([^`\n]{4,512})`|([^\s\"'`,;<>(){}\[\]|]{4,512})(?![^\s\"'`,;<>){}\]|.]))",
    re.IGNORECASE,
)
#: What stands for a secret in examples and code.
_STAND_IN = re.compile(
    r"[$%<{\[]|.*(?:\$\{|\{\{|\.\.\.|xxx|\*\*\*|your(?:[\W_]|pass|secret|token|key|api)|example|changeme|change_me|placeholder|redacted|dummy|env\b|environ"
    r"|getenv|process\.)|https?://|/|\./|~/|(?:self|config|settings|os|args|this)\.",
    re.IGNORECASE,
)
_LONGEST_NAME = 80


def keys(text: str) -> Iterator[tuple[int, int]]:
    """Yield the keys, tokens and passwords of a text. They may overlap."""
    for marks, form in _FORMS:
        if any(mark in text for mark in marks):
            for found in form.finditer(text):
                yield found.span()
    if "sk-" in text:
        yield from (found.span() for found in _SK.finditer(text) if _is_random(found[0][3:]))
    if "PRIVATE KEY" in text:
        yield from _pems(text)
    if "://" in text:
        yield from (found.span(1) for found in _LOGIN.finditer(text) if not _is_word(found[1]))
    yield from _named(text)


def names_a_secret(name: str) -> bool:
    """Tell whether a field of this name holds a secret."""
    return len(name) <= _LONGEST_NAME and any(end == len(name) for end in _name_ends(_lower(name)))


def _lower(text: str) -> str:
    """Return a text of the same length in lower case; one capital has a small letter of two characters."""
    return text.replace("\u0130", "I").lower()


def _name_ends(lower: str) -> Iterator[int]:
    """Yield where the names of secrets end in a text of lower case."""
    for mark, ending in _COMPILED:
        at = lower.find(mark)
        while at >= 0:
            found = ending.match(lower, at)
            if found and (mark != "key" or _KEY_OF.search(lower, max(0, at - 12), at)):
                yield found.end()
            at = lower.find(mark, at + len(mark))


_COMPILED = [(mark, re.compile(ending)) for mark, ending in _ENDINGS]


def _pems(text: str) -> Iterator[tuple[int, int]]:
    ends: dict[str, list[int]] = {}
    for end in _PEM_END.finditer(text):
        ends.setdefault(end[1], []).append(end.end())
    done = 0
    for found in _PEM.finditer(text):
        if found.start() < done:
            continue
        behind = ends.get(found[1], ())
        next_ = bisect(behind, found.end())
        if next_ < len(behind) and behind[next_] - found.end() <= _MOST_PEM:
            done = behind[next_]
        else:
            done = _PEM_BODY.match(text, found.end()).end()  # type: ignore[union-attr]  # it matches the empty text too
        yield found.start(), done


def _named(text: str) -> Iterator[tuple[int, int]]:
    for name_end in _name_ends(_lower(text)):
        found = _ASSIGNED.match(text, name_end)
        if found is None:
            continue
        group = next(number for number in (1, 2, 3, 4) if found[number] is not None)
        value = found[group] if group != 4 else found[group].rstrip(".:!?*")
        if value and _is_secret(value, quoted=group != 4):
            start = found.start(group)
            yield start, start + len(value)


def _is_secret(value: str, *, quoted: bool) -> bool:
    """Tell whether a value is one that nobody would guess: names, words and paths are not."""
    if _STAND_IN.match(value) or (quoted and value.count(" ") > 3):
        return False
    classes = _classes(value)
    if classes < 2 or len(value) < 6 or (len(value) < 8 and not any(map(str.isdigit, value))):
        return False
    if re.fullmatch(r"[a-z]+(?:[_.-][a-z]+)*|[A-Z]?[a-z]+(?:[A-Z][a-z]+)*|[A-Z]+(?:_[A-Z]+)*", value):
        return False  # a name in code
    return _bits(value) >= 18


def _is_word(value: str) -> bool:
    """Tell whether a password in an address stands for one."""
    return _STAND_IN.match(value) is not None or value.lower() in {"password", "passwd", "pass", "pwd", "secret"}


def _is_random(value: str) -> bool:
    return any(sign.isdigit() for sign in value) and _classes(value) >= 2 and _bits(value) >= 60


def _classes(value: str) -> int:
    return (
        any(map(str.islower, value))
        + any(map(str.isupper, value))
        + any(map(str.isdigit, value))
        + (not value.replace("_", "").replace("-", "").isalnum())
    )


def _bits(value: str) -> float:
    """Return the Shannon entropy of a value's own characters, in bits."""
    size = len(value)
    return -sum(count * math.log2(count / size) for count in Counter(value).values())
