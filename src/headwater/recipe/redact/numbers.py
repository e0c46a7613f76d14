"""Numbers: of cards, of bank accounts, of telephones.

A number is a row of groups of digits with little between them. Cards and accounts carry a checksum; a telephone number
is told by its form or by the word before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_DIGITS = re.compile(r"[0-9]+")
_BREAKS = frozenset("\t\r\n")
#: Digits with little between them. What is possessive holds no way back, and a row may be as long as a text.
_ROW = re.compile(r"[0-9]++(?:[ \t\r\n.\-/()]{1,3}+[0-9]++)*+")

#: A group of digits: where it begins and ends.
Group = tuple[int, int]


def rows(text: str, least: int) -> Iterator[list[Group]]:
    """Yield the rows of groups that have at least so many digits together."""
    for row in _ROW.finditer(text):
        start, end = row.span()
        if end - start >= least:
            groups = [found.span() for found in _DIGITS.finditer(text, start, end)]
            if sum(high - low for low, high in groups) >= least:
                yield groups


# --- cards

#: Issuers by their first digits, and how long their numbers are.
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|220[0-4]"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6011|64[4-9]|65|62|60|81|82|508"), (16, 17, 18, 19)),
    (re.compile(r"30[0-5]|36|38|39"), (14, 16)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"5018|5020|5038|5893|6304|6759|676[123]"), (12, 13, 14, 15, 16, 17, 18, 19)),
)
_ISSUED = re.compile("|".join(issuer.pattern for issuer, _ in _ISSUERS))
_LEAST_CARD, _MOST_CARD = 12, 19
_CARD_GROUPS = frozenset(
    {
        (4, 4, 4, 4),
        (4, 4, 4, 4, 3),
        (4, 4, 4, 4, 2),
        (4, 6, 5),
        (4, 6, 4),
        (4, 4, 5),
        (4, 4, 4),
        (6, 13),
        (8, 8),
        (4, 4, 4, 1),
    }
)
_LEAST_CARD_GROUP = min(sizes[0] for sizes in _CARD_GROUPS)
_CARD_GAPS = frozenset({"", "-", "."})
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield the card numbers of a text."""
    for row in rows(text, _LEAST_CARD):
        at = 0
        while at < len(row):
            size = _card(text, row, at)
            if size:
                yield row[at][0], row[at + size - 1][1]
            at += size or 1


def _card(text: str, row: list[Group], at: int) -> int:
    """Return how many groups from here on are a card's number, 0 if none."""
    start, end = row[at]
    if end - start < _LEAST_CARD_GROUP or not _ISSUED.match(text, start):
        return 0
    sizes: list[int] = []
    longest = 0
    for low, high in row[at : at + 5]:
        sizes.append(high - low)
        total = sum(sizes)
        if total > _MOST_CARD:
            break
        shape = len(sizes) == 1 or tuple(sizes) in _CARD_GROUPS
        if total >= _LEAST_CARD and shape and _is_card(text, row, at, at + len(sizes)):
            longest = len(sizes)
    return longest


def _is_card(text: str, row: list[Group], low: int, high: int) -> bool:
    start, end = row[low][0], row[high - 1][1]
    # A comma before it stands between two columns; behind a dot come decimals.
    if _stuck(text, start, end) or (start >= 2 and text[start - 1] == "." and text[start - 2].isdigit()):
        return False
    gaps = {text[row[at][1] : row[at + 1][0]].strip() for at in range(low, high - 1)}
    if len(gaps) > 1 or not gaps <= _CARD_GAPS:
        return False
    # A longer row of the same make is a serial number.
    if gaps and gaps != {""}:
        gap = next(iter(gaps))
        if (low and text[row[low - 1][1] : start] == gap) or (high < len(row) and text[end : row[high][0]] == gap):
            return False
    number = "".join(text[left:right] for left, right in row[low:high])
    issued = any(issuer.match(number) and len(number) in lengths for issuer, lengths in _ISSUERS)
    return issued and luhn(number) and len(set(number)) > 1


def luhn(number: str) -> bool:
    """Tell whether the last digit is the check digit of the others."""
    reversed_ = [int(digit) for digit in reversed(number)]
    return (sum(reversed_[::2]) + sum(_DOUBLED[digit] for digit in reversed_[1::2])) % 10 == 0


def _stuck(text: str, start: int, end: int) -> bool:
    """Tell whether letters stand right before or behind."""
    start, end = _with_italics(text, start, end)
    before, behind = text[start - 1 : start], text[end : end + 1]
    return bool(
        (before.isalpha() and before.isascii())
        or before == "_"
        or (behind.isalpha() and behind.isascii())
        or behind == "_"
    )


def _with_italics(text: str, start: int, end: int) -> tuple[int, int]:
    """Take in the underscores around it that make it italic in Markdown."""
    while text[start - 1 : start] == text[end : end + 1] == "_":
        start, end = start - 1, end + 1
    return start, end


# --- accounts

#: The country's letters, read backwards from the digits behind them.
_COUNTRY = re.compile(r"[ \-]?([A-Za-z]{2})(?![A-Za-z0-9])")
_IBAN_GAPS = frozenset(" -.\r\n\t")
#: The registry's lengths, by country.
_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM", "28": "AL AZ BY CY DO GT HN HU LB NI PL SV",
        "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC", "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the account numbers (IBAN) of a text."""
    done = 0
    for digits in _DIGITS.finditer(text):
        low, high = digits.span()
        country = _COUNTRY.match(text[max(0, low - 4) : low][::-1]) if high - low >= 2 and low >= done else None
        length = _LENGTHS.get(country[1][::-1].upper()) if country else None
        if country is None or length is None:
            continue
        start = low - country.end()
        end = _iban_end(text, start, length)
        if end:
            done = end
            yield start, end


def _iban_end(text: str, start: int, length: int) -> int:
    """Return where the account number that begins here ends, 0 if there is none."""
    signs: list[str] = []
    at = start
    while len(signs) < length:
        sign = text[at : at + 1]
        if sign.isalnum() and sign.isascii():
            signs.append(sign)
        elif sign not in _IBAN_GAPS or _IBAN_GAPS.issuperset(text[max(0, at - 3) : at]):
            return 0
        at += 1
    _, behind = _with_italics(text, start, at)
    if text[behind : behind + 1].isalnum() or text[behind : behind + 1] == "_":
        return 0
    written = "".join(signs[4:] + signs[:4])
    return at if int("".join(str(int(sign, 36)) for sign in written)) % 97 == 1 else 0


# --- telephones

_LEAST_PHONE, _MOST_PHONE = 7, 15
_LABELS = (
    r"tele(?:ph|f)one?|tel[eé]f(?:ono|on)|phone|mobile?|mobiltelefon|handy|m[oó]vil|celular|cell(?:phone)?|fax|telefax"
    r"|tel|t[eé]l|t[eé]l[eé]phone|telefoon|puhelin|numer telefonu|whatsapp|hotline|call|dial|ring|tlf|rufnummer"
    r"|durchwahl"
    r"|тел|телефон|τηλ|τηλέφωνο|电话|電話|手机|携帯|전화|휴대폰|هاتف|الهاتف|جوال|טלפון|नंबर|फ़ोन|फोन|โทร|โทรศัพท์"
    r"|điện thoại|sđt"
)
#: Where a word begins in `contactPhone`. An `iPhone` has no number behind it.
_HUMP = r"(?-i:(?<=[a-z]{2})(?=[A-Z]))"
_LABELLED = re.compile(
    rf"(?:(?<![A-Za-zÀ-ÿ\[])|{_HUMP})(?:{_LABELS})s?(?:[ _-]?(?:numbers?|nummer|no|nr|num|numéro|número|номер))?"
    r"(?![A-Za-zÀ-ÿ\]])[^\d\n\[]{0,18}\Z",
    re.IGNORECASE,
)
_LABEL = re.compile(
    rf"(?:[\w ]{{0,20}}(?:[ _-]|{_HUMP}))?(?:{_LABELS})s?(?:[ _-]?(?:number|nummer|no|nr|num))?s?", re.IGNORECASE
)
#: Words before a number that say what else it is.
_OTHER = re.compile(
    r"(?<![A-Za-z])(?:order|ref|reference|part|sku|isbn|issn|ean|upc|gtin|serial|s/n|invoice|model|article|item|ticket|case|tracking"
    r"|account|konto|bestell\w*|rechnung\w*|artikel\w*|pedido|factura|commande|facture|ordine|fattura|заказ|артикул|订单|注文"
    r"|version|build|doi|id|po|no|nr|№|#)(?:s|\b)(?: ?\w{1,8}){0,2}[.:#=°\s]{0,3}\Z",
    re.IGNORECASE,
)
_CODES = re.compile(
    r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|2[1-689]\d|3[578]\d|42\d|5[09]\d|6[789]\d|8[03578]\d|9[679]\d"
)
_DATE = re.compile(r"(?:\d{4}[.\-/ ]\d{1,2}[.\-/ ]\d{1,2}|\d{1,2}[.\-/ ]\d{1,2}[.\-/ ](?:19|20)\d\d)(?!\d)")
#: Forms that need no word before them. What repeats a gap wants the same one.
_NATIONAL = re.compile(
    r"(?:1[ .-])?\([2-9]\d\d\)[ -]?[2-9]\d\d[ .-]\d{4}"  # North America
    r"|(?:1([ .-]))?[2-9]\d\d([ .-])[2-9]\d\d\2\d{4}"
    r"|0[1-9](?:([ .-])\d\d)(?:\3\d\d){3}(?!\3\d)"  # in pairs: France
    r"|\(0[1-9]\d{0,4}\)[ -]?\d{2,8}(?:[ -]?\d{1,5}){0,3}"
    r"|0[1-9]\d{0,4} ?/ ?\d{2,8}(?:[ -]?\d{1,5}){0,4}"
    r"|(?!\d{3}-\d\d-\d{4})0[1-9]\d{0,4}([ -])\d{2,8}(?:\4\d{2,5}){0,4}(?!\4\d)"
    r"|\([1-9]\d\) ?9?\d{4}-\d{4}"  # Brazil
    r"|8[ -]?\(\d{3}\)[ -]?\d{3}[ -]\d\d[ -]?\d\d|8-\d{3}-\d{3}-\d\d-\d\d"  # Russia
    r"|1[3-9]\d([ -])\d{4}\5\d{4}"  # China
    r"|[6-9]\d{4}[ -]\d{5}"  # India
)
_EXTENSION = re.compile(r" ?(?:x|ext\.?|Durchwahl) ?\d{1,5}(?!\d)")


def names_a_phone(name: str) -> bool:
    """Tell whether a field of this name holds telephone numbers."""
    return len(name) <= 40 and _LABEL.fullmatch(name) is not None


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Yield the telephone numbers of a text."""
    for row in rows(text, _LEAST_PHONE):
        done = 0
        for at, (start, _) in enumerate(row):
            if start < done:
                continue
            found = _phone(text, row, at)
            if found:
                yield found
                done = found[1]


def _phone(text: str, row: list[Group], at: int) -> tuple[int, int] | None:
    start = row[at][0]
    opened = start - (text[start - 1 : start] == "(")
    plus = opened - (text[opened - 1 : opened] == "+")
    if plus < opened and (end := _international(text, row, at)):
        before = text[plus - 1 : plus]
        return None if before.isalnum() or before == "+" else (plus, end)
    # Only digits and gaps stand before what is not the first of its row.
    before = text[max(0, opened - 40) : opened].rstrip("(+ ") if at == 0 else ""
    if before and _LABELLED.search(before) and (end := _labelled(text, row)):
        return opened, end
    if text[start : start + 2] == "00" and (end := _international(text, row, at, skip=2)) and end - start > 13:
        return (start, end) if _apart(text, start, end) and not _OTHER.search(before) else None
    found = _NATIONAL.match(text, opened)
    if found is None and opened < start:
        opened, found = start, _NATIONAL.match(text, start)
    if found is None or not 9 <= sum(map(str.isdigit, found[0])) <= 12 or _DATE.match(text, start):
        return None
    end = found.end()
    if not _apart(text, opened, end) or _OTHER.search(before):
        return None
    more = _EXTENSION.match(text, end)
    return opened, more.end() if more else end


def _apart(text: str, start: int, end: int) -> bool:
    """Tell whether nothing that belongs to a longer number or name stands right before or behind."""
    start, end = _with_italics(text, start, end)
    before, behind = text[start - 1 : start], text[end : end + 2]
    stuck = before.isalnum() or (before and before in "_-./@#=+&$€£%")
    return (
        not stuck
        and not behind[:1].isalnum()
        and behind[:1] != "_"
        and not (behind[:1] in "-./:" and behind[1:].isdigit())
    )


def _international(text: str, row: list[Group], at: int, skip: int = 0) -> int:
    """Return where the number ends that begins with a country's code, 0 if it is none."""
    code = _CODES.match(text, row[at][0] + skip)
    if code is None or code.end() > row[at][1]:
        return 0
    most = 11 if code[0] == "1" else _MOST_PHONE - 1
    total, end = -skip, 0
    for number in range(at, min(at + 9, len(row))):
        low, high = row[number]
        gap = text[row[number - 1][1] : low] if number > at else ""
        if not _BREAKS.isdisjoint(gap) or total + high - low > most:
            break
        total += high - low
        end = high
    if total < (11 if code[0] == "1" else 8) or (text[end : end + 1].isalpha() and text[end : end + 1].isascii()):
        return 0
    return end


def _labelled(text: str, row: list[Group]) -> int:
    """Return where the number ends that begins a row, if it is as long as one of a telephone; else 0."""
    if _DATE.match(text, row[0][0]):
        return 0
    total, end = 0, 0
    for number, (low, high) in enumerate(row[:9]):
        gap = text[row[number - 1][1] : low] if number else ""
        if not _BREAKS.isdisjoint(gap) or total + high - low > _MOST_PHONE:
            break
        total += high - low
        end = high
    return end if total >= _LEAST_PHONE and not _stuck(text, row[0][0], end) else 0
