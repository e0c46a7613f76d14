"""Charsets are told for sure, or not at all."""

from __future__ import annotations

import importlib.util
import os

import pytest

from headwater.documents.charset import decode, decode_page
from headwater.errors import Reject

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and importlib.util.find_spec("charset_normalizer") is None, reason="needs the extra"
)
GERMAN = "Die Straße führt über die Brücke, größer und schöner als früher. Äpfel und Öl gehören zusammen, müde Füße.\n"
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. Насосы на северных воротах замерзают зимой.\n"
GREEK = "Αυτό είναι ένα ελληνικό κείμενο για τις αντλίες που παγώνουν τον χειμώνα.\n"
JAPANESE = "これは日本語の文章です。ポンプは冬に凍ります。北門の近くにあります。\n" * 10
SPANISH = "El niño comió una manzana en el jardín. Mañana iremos a la montaña con la señora Núñez.\n"
INVOICE = "Invoice 12\nTotal due: £450.00\nPlease pay within 30 days of receipt.\n" * 4
CODE = "// Größe des Puffers\nint groesse = 10;\nfor (i = 0; i < groesse; i++) { schreibe(i); }\n" * 10
HUNGARIAN = (
    "A szivattyú az északi kapunál télen befagy, ősszel le kell ereszteni a vizet. Kérjük, ellenőrizze a nyomást, "
    "és erősítse meg a levél átvételét. A gépek működéséről a mérnök minden hétfőn jelentést készít.\n"
)
POLISH = "Zażółć gęślą jaźń. Proszę o potwierdzenie odbioru tego listu i odpowiedź do końca tygodnia.\n" * 3


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SPANISH, "cp1252"),
        (INVOICE, "cp1252"),
        (CODE, "cp1252"),
        (POLISH, "cp1250"),
        *(
            (GERMAN, it)
            for it in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "iso8859-15")
        ),
        *((RUSSIAN, it) for it in ("utf-8", "utf-16", "cp1251", "koi8-r", "iso8859-5", "cp866")),
        *((GREEK, it) for it in ("cp1253", "iso8859-7")),
        *((JAPANESE, it) for it in ("shift_jis", "euc_jp")),
        (GERMAN * 2000, "cp1252"),
        (JAPANESE * 200, "shift_jis"),
    ],
)
def test_text_is_what_was_written(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    "data",
    [
        "Café".encode("cp1252"),
        "Zażółć gęślą jaźń.".encode("iso8859-2"),
        "Grüße".encode("cp850"),
        POLISH.encode("iso8859-2"),
    ],
)
def test_what_might_be_another_charset_is_not_guessed(data: bytes) -> None:
    with pytest.raises(Reject, match="save it as UTF-8"):
        decode(data)


@pytest.mark.parametrize("data", [bytes(range(256)), b"\0" * 100, b"a\0b\0\0\0c", b"\x89PNG\r\n\x1a\n\0"])
def test_what_is_no_text_is_none(data: bytes) -> None:
    assert decode(data) is None


def test_a_mark_that_lies_is_said() -> None:
    with pytest.raises(Reject, match="begins as UTF-16, and goes on otherwise"):
        decode(GERMAN.encode("utf-16")[:-1])


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("koi8-r", "koi8-r"),
        ("utf-8", "koi8-r"),
        ("windows-1252", "utf-8"),
        ("zlib", "cp1251"),
        ("nonsense", "cp1251"),
        ("x" * 99, "utf-16"),
    ],
)
def test_a_page_may_lie_about_its_charset(declared: str, encoding: str) -> None:
    page = f"<meta charset='{declared}'><p>{RUSSIAN}"
    assert decode_page(page.encode(encoding)) == page


def test_a_page_means_windows_when_it_says_latin() -> None:
    page = "<meta http-equiv=x content='text/html; charset=ISO-8859-1'>“quoted” €"
    assert decode_page(page.encode("cp1252")) == page
