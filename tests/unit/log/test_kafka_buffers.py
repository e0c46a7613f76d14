"""What was fetched and not taken: bounded by partition, taken in turns, with the ends that lie behind a gap."""

from __future__ import annotations

from headwater.log.kafka_buffers import BUFFERED_BYTES, Buffer, drained, full, take
from headwater.model.change import Record

MUCH = 10**9


def record(partition: int, offset: int, size: int = 0) -> Record:
    return Record(partition, offset, b"", b"x" * size, 0)


def filled(*counts: int) -> dict[int, Buffer]:
    buffers = {}
    for partition, count in enumerate(counts):
        buffers[partition] = buffer = Buffer()
        buffer.next = 0
        for offset in range(count):
            buffer.add(record(partition, offset))
    return buffers


def test_a_partition_is_full_beyond_its_share_and_has_room_again_at_half_of_it() -> None:
    buffers = filled(0, 0)
    share = BUFFERED_BYTES // 2
    buffers[0].add(record(0, 0, share - 500))
    assert full(buffers) == []
    buffers[0].add(record(0, 1, 1000))
    assert full(buffers) == [0]
    buffers[0].paused = True
    assert (full(buffers), drained(buffers)) == ([], [])
    buffers[0].size_bytes = share // 2 + 1
    assert drained(buffers) == []
    buffers[0].size_bytes = share // 2
    assert drained(buffers) == [0]
    assert full({0: buffers[1]}) == []


def test_another_partition_comes_first_each_time() -> None:
    assert [take(filled(5, 5, 5), turn, 1, MUCH)[0][0].partition for turn in range(4)] == [0, 1, 2, 0]


def test_what_is_taken_is_gone_and_the_next_offset_is_known() -> None:
    buffers = filled(3)
    buffers[0].end = 9
    taken, ends = take(buffers, 0, 2, MUCH)
    assert ([it.offset for it in taken], ends) == ([0, 1], {}), "no end while records remain before it"
    assert (buffers[0].next, len(buffers[0].records), buffers[0].size_bytes) == (2, 1, record(0, 2).size_bytes)
    taken, ends = take(buffers, 0, 2, MUCH)
    assert ([it.offset for it in taken], ends, buffers[0].next) == ([2], {0: 9}, 9)
    assert take(buffers, 0, 2, MUCH) == ([], {}), "an end is told once"


def test_a_record_behind_an_end_makes_it_no_end() -> None:
    buffers = filled(1)
    buffers[0].end = 4
    buffers[0].add(record(0, 4))
    taken, ends = take(buffers, 0, 9, MUCH)
    assert ([it.offset for it in taken], ends) == ([0, 4], {})
