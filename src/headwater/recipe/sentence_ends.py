"""Where sentences end, in many languages at once: a document says nothing of its language, and often has several.

A sign that may end a sentence is judged by the characters right around it: an abbreviation, an initial, a number or
what goes on with a small letter ends none. In doubt nothing ends: a cut within a sentence does more harm than one that
is missing. Thai has no sign for it: there a phrase between two spaces counts as a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOSING = "\"'”’»›“)\\]}*`_」』）】〉》〗〙"
#: Signs that need white space behind them, and those of scripts that write without; an indented line begins anew.
_CANDIDATE = re.compile(
    rf"(?<=[.!?…‽⁇⁈⁉؟։።፧᙮])(?:[ \u00a0\u202f]»|[{_CLOSING}]){{0,3}}\s+"
    r"|(?<=[\u0370-\u03ff\u1f00-\u1fff][;\u037e])\s+"
    rf"|(?<=[。！？｡．।॥။។៕།۔])[{_CLOSING}]{{0,3}}\s*(?![。！？｡．…।॥။។៕།۔{_CLOSING}])"
    r"|(?<=[\u0e01-\u0e2e\u0e30-\u0e3a\u0e40-\u0e45\u0e47-\u0e4e]) +(?=[\u0e01-\u0e2e\u0e40-\u0e44])"
    r"|\n(?=[ \t])"
)

#: Never the last word of a sentence, in lower case and without the last dot; a line or two a language.
_NEVER_LAST = """
mr mrs ms dr prof rev hon gen col capt lt sgt maj adm gov sen rep pres st mt ft vs cf viz approx dept est fig figs eq
eqs ch sec vol vols ed eds trans pp ibid op cit resp incl excl misc ave blvd rd hwy ext tel feb apr jun jul aug
sep sept oct nov dec mon tue tues wed thu thurs fri
hr fr frl dipl ing bzw ca evtl ggf inkl exkl zzgl vgl sog bspw allg geb gest gez hrsg jh jhd tsd mio mrd abb tab
kap bd nr abs aufl okt dez mind
mme mlle mgr av env éd chap coll janv févr juil déc
sr sra srta sres dra ud uds núm pág págs cap avda izq dcha art arts depto exmo exma sto sta
sig sigg sigra dott dottssa avv arch geom rag spett egr gent num pag pagg fasc
dhr mevr mw drs bijv blz dvs kl ung bla evt hhv
ul al os godz tzw tzn np zob red wyd inż hab ks św tj tys mld č čís str např tzv popř roč vö esim
bkz sn doç yrd cad sok mah apt örn
г гг ул пл пр пер им тов гр проф акад доц инж см ср рис табл стр гл изд ред напр обл тыс млн млрд руб коп чел кв вул
ім просп див
κ κα δρ καθ βλ σελ αρ τηλ δηλ
tp gs ts ths pgs bs jl jln ir hj bpk sdr
د أ م ص ج פרופ עמ डॉ प्रो श्री पं रु
"""
_ABBREVIATIONS = frozenset(_NEVER_LAST.split())
#: Words and names of their own as well: abbreviations only where a number follows.
_BEFORE_A_NUMBER = "jan mar no nos n nr num art p pp pg sect par abs s str fig abb z r"
_BEFORE_NUMBERS = frozenset(_BEFORE_A_NUMBER.split())
_ALSO_LAST = frozenset({"a.m", "p.m", "ph.d", "b.c", "a.d"})
_GERMAN_AFTER_ORDINALS = re.compile(
    r"(?:Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Jahrhundert\w*|Weltkrieg\w*"
    r"|Auflage|Kapitel|Klasse|Stock|Etage|Platz|Tag\w*|Woche|Monat\w*|Jahr\w*|Mal|Geburtstag\w*|Bundesliga|Quartal\w*|Semester\w*"
    r"|Band|Teil\w*|Rang|Runde|Abschnitt\w*|Absatz\w*|Lebensjahr\w*)\b"
)
_LONGEST_WORD = 24
_OPENING = "\"'“‘«‹„([{¿¡*_`"


def beginnings(text: str, start: int, end: int) -> Iterator[int]:
    """Yield where sentences begin behind `start` and before `end`, in order."""
    for found in _CANDIDATE.finditer(text, start, end):
        if found.start() > start and found.end() < end and _ends(text, found.start(), found.end()):
            yield found.end()


def _ends(text: str, at: int, after: int) -> bool:
    """Tell whether what stands before `at` ends a sentence, if the next one would begin at `after`."""
    sign = text[at - 1]
    if text[at] == "\n" and sign not in ".!?…":
        return True  # an indented line
    opened = after
    while text[opened : opened + 1] and text[opened] in _OPENING:
        opened += 1
    following = text[opened : opened + 1]
    if sign in "。！？｡．":
        # `「…。」と言った`: what was said is part of a longer sentence. `３．１４` is a number.
        quoted = text[at : at + 1] in {"」", "』"}
        return not (quoted and "\u3041" <= following <= "\u309f") and not (sign == "．" and following.isdigit())
    if sign in "।॥။។៕།۔":
        return not (following.isdigit() and text[at - 2 : at - 1].isdigit() and after == at)
    if following.islower():
        return False
    if sign != ".":
        return True
    return _dot_ends(text, at - 1, opened)


def _dot_ends(text: str, dot: int, following: int) -> bool:
    """Tell whether a dot before something that may begin a sentence ends one."""
    begin = dot
    while begin > max(0, dot - _LONGEST_WORD) and not text[begin - 1].isspace() and text[begin - 1] not in _OPENING:
        begin -= 1
    word = text[begin:dot]
    if not word or word.endswith("."):
        return True  # an ellipsis, with something new behind it
    lower = word.lower()
    if word.isdecimal():
        return not _is_ordinal(text, begin, following, word)
    if lower in _ABBREVIATIONS:
        return lower in _BEFORE_NUMBERS and not text[following].isdecimal()
    if lower in _BEFORE_NUMBERS and text[following].isdecimal():
        return False
    # Initials, and what is made of them: `J. R.`, `z. B.`, `U.S.` But `I` is a word, and so is what ends with it.
    parts = word.split(".")
    initials = all(len(part) == 1 and part.isalpha() for part in parts)
    return not initials or lower in _ALSO_LAST or (word == "I") or _is_ideograph(word[-1])


def _is_ordinal(text: str, begin: int, following: int, word: str) -> bool:
    """Tell whether a number with a dot counts something: `3. Mai`, or `2. Title` at the beginning of a line."""
    if len(word) > 2:
        return False
    line = text.rfind("\n", max(0, begin - 8), begin) + 1
    first = not text[line:begin].strip() if line or begin <= 8 else False
    return first or _GERMAN_AFTER_ORDINALS.match(text, following) is not None


def _is_ideograph(sign: str) -> bool:
    return "\u2e80" <= sign <= "\u9fff" or "\uac00" <= sign <= "\ud7a3"
