"""How long a commit that lost a race waits. Times are in seconds."""

from __future__ import annotations

from rsdos.index.contention import Contention


def pause(commits_of_others: int, *, attempt: float = 0.1, losses: int = 1, idle: float = 0.0) -> float:
    """Return the longest pause where so many others committed in one second, and an attempt of ours was lost then."""
    contention = Contention()
    contention.see(7, 100.0)
    contention.see(7 + commits_of_others, 101.0)
    began = 101.0 + idle
    return contention.longest_pause(began, began + attempt, losses)


def test_the_more_others_commit_the_longer_is_the_pause() -> None:
    assert pause(20) < pause(40) < pause(60)


def test_who_lost_more_often_waits_less() -> None:
    pauses = [pause(40, losses=losses) for losses in (1, 2, 3, 4)]
    assert pauses == sorted(set(pauses), reverse=True)


def test_even_after_many_losses_there_is_a_pause() -> None:
    assert pause(40, losses=1000) > 0.1


def test_a_slow_medium_has_longer_pauses() -> None:
    assert pause(0, attempt=0.5) > pause(0, attempt=0.02)


def test_no_pause_is_longer_than_five_seconds() -> None:
    assert pause(1000, attempt=20.0) == 5.0


def test_who_had_not_looked_for_an_hour_hardly_waits() -> None:
    assert pause(40, idle=3600.0) < 0.001


def test_a_clock_that_has_not_moved_on_is_a_short_pause() -> None:
    assert 0.0 < pause(0, attempt=0.0) < 0.2


def test_commits_of_our_own_are_no_contention() -> None:
    contention = Contention()
    contention.see(1, 100.0)
    for number in range(2, 50):
        contention.win(number, 100.0 + number / 100)
    contention.see(50, 101.0)
    assert contention.longest_pause(101.0, 101.1, 1) < 1.0
