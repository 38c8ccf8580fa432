"""The conformance suite for storages: what `rsdos.storage.base.Storage` promises, verb by verb.

In a test file of your own::

    class TestMyStorage(StorageConformance):
        @pytest.fixture
        def storage(self, tmp_path):
            return MyStorage(tmp_path)

The storage is empty at the beginning of each test. Of a trait that it lacks the suite tests that it is refused.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rsdos.errors import Busy, DamagedContainer
from rsdos.storage.base import Put, Span, Storage
from rsdos.storage.opened import HeldLock

NAMES = ("index/manifest-0000000001.json", "packed/0000000001.pack", "config.json", "a/b/c.d_e-f")
BAD_NAMES = ("", ".", "..", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a b", "a\n", "a\0b", "ä", "a" * 1025)


@contextmanager
def raising(*kinds: type[BaseException]) -> Iterator[None]:
    """Assert that the block raises one of these."""
    try:
        yield
    except kinds:
        return
    raise AssertionError(f"nothing was raised of {kinds}")


def put(storage: Storage, name: str, data: bytes) -> None:
    """Store an object under a free name. Make its directory if it is missing."""
    if "/" in name:
        storage.make_directory(name.rpartition("/")[0])
    assert storage.put_new(name, data).outcome is Put.OURS


def held(storage: Storage, name: str, *, shared: bool = False) -> HeldLock:
    """Take a free lock."""
    lock = storage.lock(name, shared=shared)
    assert lock is not None and lock.is_held
    return lock


class StorageConformance:
    """Tests of what every storage promises. Subclass it, and define the fixture ``storage``."""

    # Names.

    def test_every_form_of_a_name_is_stored_and_read(self, storage: Storage) -> None:
        for at, name in enumerate(NAMES):
            put(storage, name, b"%d" % at)
        for at, name in enumerate(NAMES):
            assert storage.read(name, 10) == b"%d" % at
            assert storage.path(name).startswith(storage.root)

    def test_what_is_no_name_is_refused_by_every_verb(self, storage: Storage) -> None:
        for name in BAD_NAMES:
            for verb in (storage.open, storage.stat, storage.version, storage.exists, storage.empty, storage.remove):
                with raising(ValueError):
                    verb(name)
            with raising(ValueError):
                storage.put_new(name, b"")
            with raising(ValueError):
                storage.put_stream(name, (), 0)

    # Reading.

    def test_what_is_not_there_is_told(self, storage: Storage) -> None:
        put(storage, "index/there", b"")
        assert storage.stat("index/gone") is None
        assert storage.version("index/gone") is None
        assert not storage.exists("index/gone")
        assert not storage.remove("index/gone") or storage.traits.is_remote  # There, nothing is said of it.
        for verb in (storage.open, storage.empty, lambda name: storage.read(name, 10)):
            with raising(FileNotFoundError):
                verb("index/gone")

    def test_ranges_of_an_object_come_back(self, storage: Storage) -> None:
        data = bytes(range(256)) * 3000
        put(storage, "packed/one", data)
        file = storage.open("packed/one")
        assert file.size() == len(data)
        for offset, length in ((0, 0), (0, 1), (255, 3), (len(data) - 1, 1), (1, len(data) - 1), (0, len(data))):
            assert file.read(offset, length) == data[offset : offset + length]
            buffer = bytearray(length)
            assert file.read_into(offset, memoryview(buffer)) == length
            assert buffer == data[offset : offset + length]
        file.will_need(0, 100)
        assert file.is_cached(0) in (True, False, None)

    def test_a_read_beyond_the_end_is_damage_and_allocates_nothing(self, storage: Storage) -> None:
        put(storage, "packed/one", b"abc")
        file = storage.open("packed/one")
        for offset, length in ((0, 4), (3, 1), (1 << 40, 1), (0, 1 << 60)):
            with raising(DamagedContainer):
                file.read(offset, length)

    def test_a_view_has_the_bytes_that_were_needed(self, storage: Storage) -> None:
        data = bytes(range(256)) * 3000
        put(storage, "index/table", data)
        for offset, length in ((0, 100), (64, 300_000), (5000, len(data) - 5000), (0, len(data))):
            view = storage.open("index/table").view(offset, length)
            assert len(view.data) == length
            view.need(0, 10)
            view.need(length - 10, length)
            assert view.data[:10] == data[offset : offset + 10]
            assert view.data[-10:] == data[offset + length - 10 : offset + length]
            view.need(0, length)
            assert view.data == data[offset : offset + length]
            view.let_go(0, length)  # Memory is given back, and no byte is lost.
            assert view.data == data[offset : offset + length]
            assert view.copy(length - 10, length) == data[offset + length - 10 : offset + length]

    def test_spans_come_back_in_the_order_given(self, storage: Storage) -> None:
        put(storage, "packed/one", b"0123456789")
        put(storage, "packed/two", b"abcdefghij")
        wanted = (("packed/two", 3, 2), ("packed/one", 0, 10), ("packed/one", 9, 1), ("packed/two", 0, 0))
        assert list(storage.read_spans(Span(*span) for span in wanted)) == [b"de", b"0123456789", b"9", b""]

    def test_a_small_object_is_read_whole_unless_it_is_too_large(self, storage: Storage) -> None:
        put(storage, "index/small", b"0123456789")
        assert storage.read("index/small", 10) == b"0123456789"
        try:
            storage.read("index/small", 9)
        except OSError as error:
            assert error.errno == errno.EFBIG
        else:
            raise AssertionError("an object that is too large was read")

    def test_what_was_opened_is_read_after_its_name_was_removed(self, storage: Storage) -> None:
        put(storage, "packed/one", b"abc")
        file = storage.open("packed/one")
        view = file.view(0, 3)
        assert storage.remove("packed/one")
        if storage.traits.is_remote:  # There, nothing keeps the bytes; and a name is never given twice.
            with raising(FileNotFoundError):
                file.read(0, 3)
            return
        put(storage, "packed/one", b"xyz")
        assert file.read(0, 3) == b"abc"
        view.need(0, 3)
        assert bytes(view.data) == b"abc"
        assert storage.open("packed/one").version != file.version

    def test_an_object_of_a_known_length_is_opened(self, storage: Storage) -> None:
        put(storage, "packed/one", b"abcdef")
        file = storage.open("packed/one", 6)
        assert (file.size(), file.read(1, 3), file.read(0, 6)) == (6, b"bcd", b"abcdef")
        assert file.version == storage.version("packed/one")
        with raising(DamagedContainer):
            file.read(0, 7)
        with raising(FileNotFoundError):
            storage.open("packed/gone", 6).read(0, 6)

    def test_a_closed_file_says_so(self, storage: Storage) -> None:
        put(storage, "packed/one", b"abc")
        file = storage.open("packed/one")
        states = [file.is_open]
        file.close()
        file.close()
        assert [*states, file.is_open] == [True, False]
        with raising(OSError):
            file.read(0, 1)

    # Lists.

    def test_a_list_has_the_names_of_one_directory_in_order(self, storage: Storage) -> None:
        for name in ("b", "a", "c10", "c9"):
            put(storage, f"index/{name}", b"")
        put(storage, "packed/other", b"")
        put(storage, "index/deeper/d", b"")
        names = [name for name in storage.list("index") if name != "deeper"]
        assert names == ["a", "b", "c10", "c9"]
        assert list(storage.list("index", "b"))[:2] == ["c10", "c9"]
        assert list(storage.list("index", "", 2)) == ["a", "b"]
        assert list(storage.list("index", "a", 1)) == ["b"]
        storage.remove("index/b")
        assert "b" not in list(storage.list("index"))

    def test_an_empty_directory_has_no_names(self, storage: Storage) -> None:
        storage.make_directory("index")
        storage.make_directory("index")
        assert list(storage.list("index")) == []

    def test_a_list_of_infos_has_what_stat_returns(self, storage: Storage) -> None:
        for at, name in enumerate(("b", "a", "c10", "c9")):
            put(storage, f"index/{name}", bytes(at))
        put(storage, "packed/other", b"")
        infos = list(storage.list_infos("index"))
        assert [(info.name, info.length) for info in infos] == [
            ("index/a", 1),
            ("index/b", 0),
            ("index/c10", 2),
            ("index/c9", 3),
        ]
        for info in infos:
            known = storage.stat(info.name)
            assert known is not None and abs(known.time - info.time) < 1  # Some media know it to the second here.
            assert known == info._replace(time=known.time)
        assert [info.name for info in storage.list_infos("index", "a", 2)] == ["index/b", "index/c10"]

    # Versions.

    def test_a_version_tells_an_object_from_every_other_of_its_name(self, storage: Storage) -> None:
        seen: set[object] = set()
        for _ in range(3):
            put(storage, "index/one", b"the same")
            info = storage.stat("index/one")
            assert info is not None and (info.name, info.length, info.names) == ("index/one", 8, 1)
            assert info.version == storage.version("index/one") == storage.open("index/one").version
            seen.add(info.version)
            held = storage.open("index/one")  # Kept open, so that its inode number is not given to the next object.
            storage.empty("index/one")
            seen.add(storage.version("index/one"))
            storage.remove("index/one")
            assert held.is_open
        # A remote medium gives a name once; there the version need only change with the bytes.
        assert len(seen) >= (2 if storage.traits.is_remote else 4)

    def test_the_time_of_an_object_is_that_of_its_last_change(self, storage: Storage) -> None:
        put(storage, "index/one", b"bytes")
        put(storage, "index/two", b"bytes")
        storage.empty("index/one")
        infos = [storage.stat(name) for name in ("index/two", "index/one")]
        times = [info.time for info in infos if info]
        assert len(times) == 2
        assert all(time == 0.0 or time > 1e9 for time in times) and times == sorted(times)

    # Puts.

    def test_a_name_that_is_taken_keeps_its_bytes(self, storage: Storage) -> None:
        put(storage, "index/one", b"first")
        result = storage.put_new("index/one", b"second")
        assert result.outcome is Put.TAKEN and result.version is None
        with raising(FileExistsError):
            storage.put_stream("index/one", (b"third",), 5)
        assert storage.read("index/one", 10) == b"first"
        assert list(storage.list("index")) == ["one"]

    def test_a_put_says_the_version_that_it_stored(self, storage: Storage) -> None:
        storage.make_directory("index")
        result = storage.put_new("index/one", b"bytes")
        assert result.outcome is Put.OURS
        assert result.version == storage.version("index/one") or (storage.traits.is_remote and result.version is None)

    def test_a_put_that_is_not_wanted_any_more_stores_nothing(self, storage: Storage) -> None:
        storage.make_directory("index")
        assert storage.put_new("index/one", b"", lambda: False).outcome is Put.TAKEN
        assert list(storage.list("index")) == []
        assert storage.put_new("index/one", b"", lambda: True).outcome is Put.OURS

    def test_of_many_that_put_one_name_at_once_one_wins(self, storage: Storage) -> None:
        storage.make_directory("index")
        results: list[tuple[bytes, Put]] = []
        barrier = threading.Barrier(8)

        def race(data: bytes) -> None:
            barrier.wait()
            results.append((data, storage.put_new("index/one", data).outcome))

        threads = [threading.Thread(target=race, args=(b"%d" % number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8
        (winner,) = [data for data, outcome in results if outcome is Put.OURS]
        assert storage.read("index/one", 10) == winner
        assert list(storage.list("index")) == ["one"]

    def test_a_large_object_is_put_in_parts_whole_or_not_at_all(self, storage: Storage) -> None:
        storage.make_directory("packed")
        parts = [bytes([at]) * 100_000 for at in range(10)]
        storage.put_stream("packed/one", iter(parts), 1_000_000)
        assert storage.read("packed/one", 1_000_000) == b"".join(parts)

        def breaking() -> Iterator[bytes]:
            yield parts[0]
            raise InterruptedError

        for broken in (iter(parts[:9]), iter([*parts, b"more"])):
            with raising(ValueError):
                storage.put_stream("packed/two", broken, 1_000_000)
        with raising(InterruptedError):
            storage.put_stream("packed/two", breaking(), 1_000_000)
        assert list(storage.list("packed")) == ["one"]

    def test_an_emptied_object_has_no_bytes_and_keeps_its_name(self, storage: Storage) -> None:
        put(storage, "index/one", b"bytes")
        storage.empty("index/one")
        storage.empty("index/one")
        assert storage.read("index/one", 0) == b""
        assert storage.put_new("index/one", b"more").outcome is Put.TAKEN

    def test_a_removed_name_is_free(self, storage: Storage) -> None:
        put(storage, "index/one", b"bytes")
        assert storage.remove("index/one")
        assert not storage.exists("index/one")
        put(storage, "index/one", b"other")
        assert storage.read("index/one", 10) == b"other"

    def test_syncs_of_what_is_there_succeed(self, storage: Storage) -> None:
        put(storage, "index/one", b"bytes")
        storage.sync("index/one")
        storage.sync_names("index")

    # Appending.

    def test_what_is_appended_is_read_while_it_grows(self, storage: Storage) -> None:
        storage.make_directory("packed")
        if not storage.traits.appends:
            with raising(OSError):
                storage.append("packed/one", new=True)
            return
        writer = storage.append("packed/one", new=True)
        assert writer.write(0, [b"abc", memoryview(b"def")]) == 6
        file = storage.open("packed/one")
        assert file.read(0, 6) == b"abcdef"
        seen: list[object] = []
        assert writer.write(6, [b"gh", b"", b"i"], [2, 0, 1], seen.extend) == 3
        assert seen == [b"gh", b"", b"i"]
        writer.sync()
        assert (file.read(3, 6), file.size(), writer.size(), writer.read(7, 99)) == (b"defghi", 9, 9, b"hi")
        writer.cut(4)
        assert storage.read("packed/one", 10) == b"abcd"
        writer.end()
        writer.end()
        assert not writer.is_open

    def test_an_object_has_one_writer(self, storage: Storage) -> None:
        if not storage.traits.appends:
            return
        storage.make_directory("packed")
        writer = storage.append("packed/one", new=True)
        writer.write(0, [b"abc"])
        for new in (False, True):
            with raising(Busy):
                storage.append("packed/one", new=new)
        writer.end()
        again = storage.append("packed/one", new=False)
        assert again.read(0, 3) == b"abc"
        again.end()
        fresh = storage.append("packed/one", new=True)
        assert fresh.size() == 0
        fresh.remove()
        fresh.end()
        assert not storage.exists("packed/one")
        with raising(FileNotFoundError):
            storage.append("packed/one", new=False)

    def test_an_object_that_is_still_needed_is_not_made_anew(self, storage: Storage) -> None:
        if not storage.traits.appends:
            return
        storage.make_directory("packed")
        writer = storage.append("packed/one", new=True)
        writer.write(0, [b"abc"])
        writer.end()
        seen: list[bytes] = []

        def still() -> bool:
            with raising(Busy):
                storage.append("packed/one", new=False)
            seen.append(storage.read("packed/one", 3))
            return len(seen) > 1

        with raising(Busy):
            storage.append("packed/one", new=True, still=still)
        again = storage.append("packed/one", new=False)
        assert again.size() == 3
        again.end()
        fresh = storage.append("packed/one", new=True, still=still)
        assert (fresh.size(), seen) == (0, [b"abc", b"abc"])
        fresh.end()

    def test_an_object_that_is_created_is_new(self, storage: Storage) -> None:
        if not storage.traits.appends:
            return
        storage.make_directory("index")
        file = storage.create("index/table")
        file.write(4, [b"end"])
        file.write(0, [b"head"])
        file.end()
        assert storage.read("index/table", 10) == b"headend"
        with raising(FileExistsError):
            storage.create("index/table")

    def test_a_second_name_is_of_the_same_object_and_replaces_none(self, storage: Storage) -> None:
        """Only media with the trait ``appends``."""
        if not storage.traits.appends:
            with raising(OSError):
                storage.link("index/new", "index/table")
            return
        storage.make_directory("index")
        storage.put_new("index/new", b"table")
        storage.put_new("index/another", b"another")
        assert storage.link("index/new", "index/table")
        assert not storage.link("index/new", "index/another")
        assert storage.link("index/new", "index/table")  # As where the answer was lost.
        storage.remove("index/new")
        assert (storage.read("index/table", 10), storage.read("index/another", 10)) == (b"table", b"another")
        with raising(FileNotFoundError):
            storage.link("index/new", "index/third")

    # Locks.

    def test_an_exclusive_lock_keeps_others_out_and_a_shared_one_keeps_exclusive_ones_out(
        self, storage: Storage
    ) -> None:
        storage.make_directory("locks")
        if not storage.traits.locks:
            with raising(OSError):
                storage.lock("locks/commit")
            return
        lock = held(storage, "locks/commit")
        assert lock.is_in_place()
        assert storage.lock("locks/commit", wait=False) is None
        with raising(Busy):
            storage.lock("locks/commit")  # It would wait for itself.
        lock.release()
        lock.release()
        assert not lock.is_held
        with held(storage, "locks/commit", shared=True), held(storage, "locks/commit", shared=True):
            assert storage.lock("locks/commit", wait=False) is None
        free = storage.lock("locks/commit", wait=False)
        assert free is not None
        free.release()

    def test_who_waits_for_a_lock_gets_it(self, storage: Storage) -> None:
        if not storage.traits.locks:
            return
        storage.make_directory("locks")
        lock = held(storage, "locks/commit")
        got = threading.Event()

        def wait() -> None:
            with held(storage, "locks/commit"):
                got.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.is_set()
        lock.release()
        thread.join()
        assert got.is_set()

    def test_a_lock_says_who_holds_it_and_keeps_a_note(self, storage: Storage) -> None:
        if not storage.traits.locks:
            return
        storage.make_directory("locks")
        assert storage.holder("locks/commit") == ""
        assert storage.read_note("locks/commit", 10) == b""
        with held(storage, "locks/maintenance") as lock:
            lock.describe("a repack")
            assert storage.holder("locks/maintenance") == "a repack"
        with held(storage, "locks/commit") as lock:
            lock.write_note(b"0000000012\n")
        assert storage.read_note("locks/commit", 100) == b"0000000012\n"
        assert storage.read_note("locks/commit", 4) == b"0000"
