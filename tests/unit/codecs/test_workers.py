"""Work in shares: all of it, in order, once; what one share raises comes out when no thread is at it any more."""

import threading
from threading import Barrier

import pytest

from rsdos.codecs.workers import in_shares
from tests.patience import HANG


@pytest.mark.parametrize("count", [1, 2, 5, 1000])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_all_is_done_once_and_in_order(count: int, threads: int) -> None:
    shares: list[list[int]] = []

    def work(share: slice) -> list[int]:
        shares.append(list(range(count)[share]))
        return shares[-1]

    assert in_shares(work, count, threads) == list(range(count))
    # zstandard dies (SIGFPE) of a call for nothing.
    assert all(shares) and len(shares) == min(count, threads)


def test_shares_are_done_at_the_same_time() -> None:
    together = Barrier(3)
    assert in_shares(lambda share: [together.wait(HANG) >= 0], 3, 3) == [True] * 3


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_error_of_a_share_is_raised_after_all_have_ended(bad: int) -> None:
    ended: list[int] = []

    def work(share: slice) -> list[int]:
        if share.start == bad:
            raise ValueError(f"share {bad}")
        ended.append(share.start)
        return [share.start]

    with pytest.raises(ValueError, match=f"share {bad}"):
        in_shares(work, 3, 3)
    assert set(ended) <= {0, 1, 2} - {bad}
    assert not [thread for thread in threading.enumerate() if thread.name == "rsdos-worker"]


def test_where_the_system_has_no_threads_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert in_shares(lambda share: [threading.get_ident()], 4, 4) == [threading.get_ident()] * 4


def test_an_interrupt_while_a_thread_starts_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def interrupted(self: threading.Thread) -> None:
        start(self)
        started.append(self)
        if len(started) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_shares(lambda share: [0], 4, 4)
    monkeypatch.undo()
    for thread in started:
        thread.join(HANG)
    assert len(started) == 2 and not any(thread.is_alive() for thread in started)
