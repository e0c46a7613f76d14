"""Threads that nobody waits for at the end: a disk that does not answer holds a look for ever, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Unawaited(ThreadPoolExecutor):
    """Makes a thread for each call. Neither `asyncio.run` nor the interpreter's own end waits for one."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from here on nobody can take it back
        Thread(target=_work, args=(future, partial(fn, *args, **kwargs)), name="look", daemon=True).start()
        return future


def _work(future: Future[T], look: Callable[[], T]) -> None:
    try:
        future.set_result(look())
    except BaseException as error:  # noqa: BLE001 (it is raised where the result is asked for)
        future.set_exception(error)
