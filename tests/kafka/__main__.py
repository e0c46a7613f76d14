"""A broker to try things with: `make broker` starts it, and Ctrl-C ends it and forgets all that it held."""

from __future__ import annotations

import signal
from threading import Event

from tests.kafka.broker import Broker


def main() -> None:
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    with Broker() as broker:
        print(f"a Kafka runs at {broker.bootstrap} until Ctrl-C. In another shell:", flush=True)
        print(f"  export KAFKA={broker.bootstrap}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
