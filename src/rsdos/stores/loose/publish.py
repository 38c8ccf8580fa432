"""Publishing one loose object: the steps from a file in the sandbox to a file that an insert may acknowledge.

The steps have the numbers of `rsdos.stores.loose.insert`, which does the same for many objects.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import closing, suppress

from rsdos.errors import Busy
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Durability
from rsdos.storage import posix
from rsdos.stores import order
from rsdos.stores.loose.directories import LooseDirectories
from rsdos.stores.loose.paths import LooseNames
from rsdos.stores.order import FileId
from rsdos.stores.sandbox import Sandbox, SandboxFile, WriterDirectory


class LoosePublisher:
    """Gives complete objects their names, one at a time. Any number of threads and processes."""

    def __init__(
        self,
        names: LooseNames,
        directories: LooseDirectories,
        sandbox: Sandbox,
        durability: Durability,
        refuse_another: Callable[[], None],
    ) -> None:
        """``refuse_another`` raises if another container has taken this one's path.

        No lock prevents that, and nobody would find a file that is written there.
        """
        self.names = names
        self.directories = directories
        self.sandbox = sandbox
        self.is_durable = durability is Durability.FULL
        """Whether an acknowledged object must survive a power loss."""
        self.refuse_another = refuse_another
        self.path_of = names.raw_path
        """Return the path of an object's raw file, by its key."""
        self._seen = directories.seen

    def insert(self, data: bytes, target: str) -> bool:
        """Store an object of at most one frame in a new raw file. Return whether the last lookup found the file.

        Return False also if a directory was removed: the caller then inserts the object by `LooseInsert.insert_many`.
        This is the hot path of small inserts, where each call counts.
        """
        own = self.sandbox.current
        if own is None or own.is_shared:
            return self._insert_first(data, target)
        return self._insert_next(data, target, own)

    def use_copy(self, data: bytes, target: str) -> bool:
        """Do steps 1, 5 and 6 for an object with a file. Return whether it is good, and the last lookup found it."""
        directory = target[: target.rindex("/")]
        if directory not in self._seen:
            self.directories.ensure(directory)
        try:
            file = posix.open_for_reading(target)
        except OSError:
            return False
        with file as fd:
            try:
                if posix.read_at(fd, 0, len(data) + 1) != data:
                    return False
            except OSError:
                return False
            if self.is_durable:
                # The writer of the file may not have synced it yet, or may never do so.
                try:
                    posix.sync_file(fd)
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    return self._insert_first(data, target)  # A later sync of this file could not be trusted.
                self.directories.sync_one(directory)
            self.refuse_another()
            return order.is_still_there(FileId.of(os.fstat(fd)), FileId.at(target))

    def _insert_first(self, data: bytes, target: str) -> bool:
        """Do steps 2 to 6 for one object. Return whether the last lookup found the file."""
        file = self.sandbox.first_file()
        try:
            # 2. Write a file in the sandbox.
            file.write_one(data)
            return self.publish(file, target)
        finally:
            file.close()

    def _insert_next(self, data: bytes, target: str, own: WriterDirectory) -> bool:  # noqa: PLR0912  each call counts
        """Do `_insert_first` for a later object, without a Python object for its file: that saves 3 us of 27 on tmpfs.

        Return False also if a directory was removed.
        """
        sandbox = own.directory
        if sandbox.fd < 0:  # It belongs to a parent process, or the garbage collector has closed it.
            return False
        name = self.sandbox.next_name()
        directory = target[: target.rindex("/")]
        is_moved = False
        try:
            for fd in posix.opening_new_by(sandbox.opener, name):
                try:
                    # 2. Write a file in the sandbox.
                    posix.write_at(fd, 0, data)
                    if self.is_durable:
                        # 3. Sync the file.
                        posix.sync_file(fd)
                    if directory not in self._seen:
                        self.directories.ensure(directory)
                    # 4. Rename it to its place.
                    if (sandbox_fd := sandbox.fd) < 0:
                        sandbox.refuse_closed(sandbox.path)
                    os.rename(name, target, src_dir_fd=sandbox_fd)
                    is_moved = True
                    if self.is_durable:
                        return self._settle(fd, directory, target)
                    self.refuse_another()
                    return True
                finally:
                    try:
                        if not is_moved and sandbox.fd >= 0:
                            posix.remove(name, sandbox.fd)
                    finally:
                        os.close(fd)
        except FileNotFoundError:
            if is_moved:
                raise
        except OSError as error:
            if error.filename == name:
                error.filename = f"{sandbox.path}/{name}"
            raise
        return False

    def place(self, digest: bytes, parts: Iterable[BytesLike]) -> str:
        """Write an object, whose parts the caller verifies, to a raw file. Return its path.

        Raise `Busy` if others delete the file each time it was published.
        """
        path = self.names.path(digest, Codec.RAW)
        file = self.sandbox.new_file()
        try:
            for part in parts:
                file.write([part])
            for _ in range(order.MOST_ROUNDS):
                if self.publish(file, path):
                    return path
                with closing(file):
                    file = self.copied(file)
        finally:
            file.close()
        raise Busy(path, "others, which delete it whenever it was inserted")

    def publish(self, file: SandboxFile, target: str) -> bool:
        """Do steps 3 to 6 for a file. Return whether the last lookup found it."""
        if self.is_durable:
            # 3. Sync the file.
            posix.sync_file(file.fd)
        # 4. Rename it to its place.
        directory = self.move(file, target)
        if not self.is_durable:
            self.refuse_another()
            return True
        return self._settle(file.fd, directory, target)

    def _settle(self, fd: int, directory: str, target: str) -> bool:
        """Do steps 5 and 6. Return whether the last lookup found the file."""
        # 5. Sync the directory.
        self.directories.sync_one(directory)
        self.refuse_another()
        # 6. A delete may have run since.
        return order.is_still_there(FileId.of(os.fstat(fd)), FileId.at(target))

    def move(self, file: SandboxFile, target: str) -> str:
        """Do step 4: rename a file to its place. Return its directory there."""
        directory = target[: target.rindex("/")]
        if directory not in self._seen:
            self.directories.ensure(directory)
        try:
            file.move(target)
        except FileNotFoundError:
            self._move_again(file, target, directory)
        return directory

    def _move_again(self, file: SandboxFile, target: str, directory: str) -> None:
        for _ in range(order.MOST_ROUNDS):
            self.directories.make_again(directory)
            with suppress(FileNotFoundError):
                file.move(target)
                return
        file.move(target)

    def copied(self, file: SandboxFile) -> SandboxFile:
        """Return a new file in the sandbox with the bytes of a file that was published, and deleted since."""
        copy = self.sandbox.new_file()
        try:
            for at in range(0, os.fstat(file.fd).st_size, FRAME_SIZE):
                copy.write([file.read(at, FRAME_SIZE)])
        except BaseException:
            copy.close()
            raise
        return copy
