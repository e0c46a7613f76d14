"""Damaged by chance: whatever becomes of a document's bytes, it is read or rejected."""

from __future__ import annotations

import random
from functools import partial

import pytest

from headwater.documents.port import Extracted
from headwater.documents.reader import SandboxedReader
from headwater.errors import Reject
from tests.integration.documents import making
from tests.integration.documents.conftest import answered
from tests.integration.documents.dirty import GERMAN

CASES = 60
WHOLE = {
    "html": f"<!doctype html><title>t</title><meta charset=utf-8><h1>a</h1><ul><li>{GERMAN}<table><tr><td>x".encode(),
    "docx": making.docx(making.paragraph("Care", "Heading1") + making.paragraph(GERMAN)),
    "odt": making.odt(f"<text:h text:outline-level='1'>Care</text:h><text:p>{GERMAN}</text:p>"),
    "epub": making.epub([f"<h1>One</h1><p>{GERMAN}</p>", "<p>Two</p>"]),
    "pdf": making.pdf(making.stream(making.content("One")), making.deflated(making.content("Two"))),
    "latin": GERMAN.encode("cp1252"),
    "utf16": GERMAN.encode("utf-16"),
}


def mutated(data: bytes, dice: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8, 40))):
        at = dice.randrange(len(made))
        match dice.randrange(4):
            case 0:
                made[at] ^= 1 << dice.randrange(8)
            case 1:
                made[at] = dice.randrange(256)
            case 2:
                made[at : at + dice.randrange(20)] = dice.randbytes(dice.randrange(20))
            case 3:
                other = dice.randrange(len(made))
                made[at:at] = made[other : other + dice.randrange(60)]
    return bytes(made[: dice.randrange(len(made))]) if dice.random() < 0.15 else bytes(made)


@pytest.mark.parametrize("kind", [*WHOLE, "xlsx", "pptx"])
def test_it_is_read_or_rejected(reader: SandboxedReader, kind: str) -> None:
    whole = WHOLE.get(kind) or (
        making.xlsx([["part", 1], ["valve", 2.5]]) if kind == "xlsx" else making.pptx([("Frost", ["a"], "b")])
    )
    dice = random.Random(f"headwater {kind}")
    for number in range(CASES):
        reader.ask(f"{kind} {number}", None, partial(bytes, mutated(whole, dice)))
    found = answered(reader, CASES)
    assert all(isinstance(answer.outcome, Extracted | Reject) for answer in found)
    reasons = {answer.outcome.reason for answer in found if isinstance(answer.outcome, Reject)}
    assert all(reason.isprintable() and "Straße" not in reason for reason in reasons), reasons
    assert not any("outside of itself" in reason for reason in reasons), "a module was not loaded before"
