"""`python -m tests.crash.publisher CONFIG`: a process that appends each batch it reads, and then acknowledges it.

A line on stdin is a JSON object: `lines`, and `die`, the point at which to die in this batch, or null. A line on stdout
is the acknowledgement, printed after `append` has returned.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from headwater.log.codecs.json import encode
from headwater.testing.crashing import CrashingWriter, Death, Point, passing, statements
from headwater.wiring import open_site
from tests.crash.places import STREAM


async def main(config: Path) -> None:
    death = Death(None, 0, lambda point: print(f"died {point}", file=sys.stderr, flush=True))
    site = open_site(config, {})
    with statements(passing(death)):
        writer = CrashingWriter(site.writer(STREAM), death)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            if order["die"]:
                death.arm(Point(order["die"]), order["nth"])
            await writer.append([encode(each.encode(), site.clock.now_us()) for each in order["lines"]])
            print("appended", flush=True)
    await site.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
