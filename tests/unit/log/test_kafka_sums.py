"""What a topic of receipts comes to, added up in parts: as if it had been read in one piece."""

from __future__ import annotations

import random

from headwater.log.kafka_records import encode_receipt, encode_usage
from headwater.log.kafka_sums import Read, Sums
from headwater.log.port import Totals
from headwater.model.change import Record
from headwater.model.manifest import Outcome
from headwater.model.receipt import Receipt, Usage
from headwater.model.version import Place, Version

DAY_US = 86_400_000_000


def receipt(number: int, outcome: Outcome = Outcome.INDEXED, generation: int = 1) -> bytes:
    place = Place(0, number)
    return encode_receipt(
        Receipt(document="", version=Version(1, 0, 0, number), place=place, recipe=1, outcome=outcome), generation
    )


def record(offset: int, value: bytes, *, key: bytes = b"k", day: int = 0) -> Record:
    return Record(0, offset, key, value, day * DAY_US + 1, ())


def add(sums: Sums, records: list[Record], start: int, end: int) -> None:
    read = Read(1)
    for it in records[start:end]:
        read.take(it)
    sums.add(0, end, read)


def test_a_receipt_and_a_settlement_count_once_however_often_they_are_read() -> None:
    usage = Usage(1, 2, 30, 4, 5, 6)
    records = [
        record(0, receipt(1)),
        record(1, encode_usage("one", usage, 1), key=b"", day=20_000),
        record(2, receipt(1)),
        record(3, encode_usage("one", usage, 1), key=b"", day=20_001),
        record(4, receipt(2, Outcome.DELETED)),
        record(5, encode_usage("two", usage, 1), key=b"", day=20_001),
        record(6, receipt(9, generation=2)),
        record(7, encode_usage("of another generation", usage, 2), key=b"", day=20_001),
    ]
    expected = Totals({"indexed": 1, "deleted": 1}, usage + usage, {20_000: usage, 20_001: usage})
    for step in range(1, len(records) + 1):
        sums = Sums()
        for start in range(0, len(records), step):
            assert sums.next(0, 0) == start
            add(sums, records, start, min(start + step, len(records)))
        assert sums.totals(0) == expected
    add(sums, records, 0, len(records))  # two who ask at once read the same
    assert sums.totals(0) == expected
    assert sums.totals(20_001) == Totals(expected.outcomes, expected.usage, {20_001: usage})


def test_reading_goes_on_where_the_topic_begins_if_it_was_trimmed_meanwhile() -> None:
    sums = Sums()
    add(sums, [record(0, receipt(1))], 0, 1)
    assert (sums.next(0, 0), sums.next(0, 7), sums.next(3, 5)) == (1, 7, 5)


def test_many_receipts_in_any_order_and_parts_count_as_a_set_does() -> None:
    dice = random.Random(3)
    numbers = [dice.randrange(300) for _ in range(1000)]
    records = [record(at, receipt(number)) for at, number in enumerate(numbers)]
    sums, at = Sums(), 0
    while at < len(records):
        end = min(at + dice.randrange(1, 90), len(records))
        add(sums, records, at, end)
        at = end
    assert sums.totals(0).outcomes == {"indexed": len(set(numbers))}


def test_a_line_without_a_lane_is_of_an_earlier_version_and_all_live() -> None:
    line = b'{"generation":1,"settlement":"x","usage":{"calls":1,"texts":2,"tokens":3,"reused":4}}'
    sums = Sums()
    add(sums, [record(0, line, key=b"", day=3)], 0, 1)
    assert sums.totals(0).daily == {3: Usage(1, 2, 3, 4)}
