"""How fast a first load is on Kafka against the embedded log: the same documents, one worker, the same run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import kafka_site, site
from bench.report import Figure, median
from headwater.wiring import open_site
from tests.kafka.client import fresh_name

COPIES = 3
ROUNDS = 3


async def measure() -> list[Figure]:
    """Load the corpus's first release both ways, in turns, with the model that costs least."""
    if (none := kafka_site.skipped()) is not None:
        return none
    documents = site.copies(site.first_release(site.corpus()), COPIES)
    changes = [{"id": name, "text": text} for name, text in documents]
    kafkas, embedded = [], []
    with kafka_site.broker() as kafka:
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                async with site.opened(Path(folder), "hash") as ours:
                    await site.put(ours, changes)
                    embedded.append(await site.settle(ours))
            with tempfile.TemporaryDirectory() as folder:
                path = site.configure(Path(folder), "hash")
                log = f"log: {{url: kafka://{kafka.bootstrap}, prefix: {fresh_name('bench')}}}\n"
                path.write_text(log + path.read_text())
                ours = open_site(path, {})
                try:
                    await ours.journal.prepare()
                    await site.put(ours, changes)
                    kafkas.append(await kafka_site.settle(ours))
                finally:
                    await ours.close()
    # The best round of each: what disturbs a round only ever slows it down.
    ratio = min(embedded) / min(kafkas)
    print(f"{len(documents)} documents; Kafka {median(kafkas):.2f} s, embedded {median(embedded):.2f} s", flush=True)
    name = "first load from Kafka, hash model, against the embedded log"
    count = len(documents)
    return [Figure(name, "documents/s", count / min(kafkas), count / min(embedded), ratio, ">= 0.6")]
