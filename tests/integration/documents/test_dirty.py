"""Dirty documents: each is read or rejected with its reason, and nothing is left of them."""

from __future__ import annotations

import re

import pytest

from headwater.documents.plain import plain
from headwater.documents.port import Extracted
from headwater.errors import Reject
from tests.integration.documents.conftest import Ask
from tests.integration.documents.dirty import DIRTY, Dirty


@pytest.mark.parametrize("dirty", DIRTY, ids=lambda dirty: dirty.name)
def test_it_is_read_or_rejected_with_its_reason(ask: Ask, dirty: Dirty) -> None:
    data = dirty.data()
    assert plain(dirty.name, data) is None
    found = ask(dirty.name, data)
    if dirty.read is not None:
        assert isinstance(found, Extracted), found
        assert dirty.read in found.text
        assert len(found.text) < 1000 + 2 * len(data)
        assert "\x1b" not in f"{found.title}{found.text}"
    else:
        assert isinstance(found, Reject), found
        assert re.search(dirty.rejected or "", found.reason), found.reason
        assert found.reason.isprintable()
