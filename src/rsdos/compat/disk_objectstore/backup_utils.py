"""Backups through rsync, locally or over ssh, by the names of disk-objectstore.

A `BackupManager` and a function that copies make the backup of a whole program, such as AiiDA. The function for a
container is `backup_container`.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rsdos.compat.disk_objectstore import LOGGER as BASE_LOGGER
from rsdos.compat.disk_objectstore.container import Container
from rsdos.engine.engine import Engine
from rsdos.errors import RsdosError
from rsdos.maintenance.backup.copy_file import stage_file
from rsdos.maintenance.backup.generations import names_among, next_name
from rsdos.storage.directory import temporary_directory
from rsdos.storage.permissions import make_directories

LOGGER = BASE_LOGGER.getChild("disk_objectstore.backup_utils")

_VANISHED = 24
"""The exit code of rsync when a file vanished while it ran: a loose object was packed or deleted."""


class BackupError(Exception):
    """A backup failed."""


def split_remote_and_path(dest: str) -> tuple[str | None, Path]:
    """Return the host (None for this one) and the path of ``[user@host:]path``. Raise ValueError."""
    parts = dest.split(":")
    if len(parts) > 2:
        raise ValueError("Invalid destination format: <remote>:<path>")
    return (None, Path(dest)) if len(parts) == 1 else (parts[0], Path(parts[1]))


def is_exe_found(exe: str) -> bool:
    """Return whether a program exists."""
    return shutil.which(exe) is not None


class BackupManager:
    """A directory of backups, here or on another machine, and its commands.

    Raises ValueError for arguments that make no sense and `BackupError` when the other machine does not answer.
    """

    def __init__(self, dest: str, keep: int | None = None, rsync_exe: str | None = None) -> None:
        self.dest = dest
        self.keep = keep
        self.remote, self.path = split_remote_and_path(dest)
        self.rsync_exe = rsync_exe if rsync_exe is not None else "rsync"
        if self.keep is not None and self.keep < 0:
            raise ValueError("Input validation failed: keep variable can't be negative!")
        if self.remote:
            self.check_if_remote_accessible()
        if not is_exe_found(self.rsync_exe):
            raise ValueError(f"Input validation failed: {self.rsync_exe} not accessible.")
        if not self.check_path_exists(self.path) and not self.run_cmd(["mkdir", str(self.path)])[0]:
            raise ValueError(f"Input validation failed: Couldn't access/create '{self.path!s}'!")
        self.rsync_version = self.get_rsync_major_version()

    def check_if_remote_accessible(self) -> None:
        """Raise `BackupError` if the other machine does not answer."""
        LOGGER.info("Checking if '%s' is accessible...", self.remote)
        if not self.run_cmd(["exit"])[0]:
            raise BackupError(f"Remote '{self.remote}' is not accessible!")
        LOGGER.info("Success! '%s' is accessible!", self.remote)

    def check_path_exists(self, path: Path) -> bool:
        """Return whether the path exists on that machine."""
        return self.run_cmd(["[", "-e", str(path), "]"])[0]

    def run_cmd(self, args: list[str]) -> tuple[bool, str]:
        """Run a command on that machine. Return whether it succeeded, and its output."""
        command = ["ssh", self.remote, *args] if self.remote else args[:]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        LOGGER.debug(
            "Command: %s\n  Exit Code: %d\n  stdout/stderr: %s\n%s", command, done.returncode, done.stdout, done.stderr
        )
        return done.returncode == 0, done.stdout

    def get_rsync_major_version(self) -> int | None:
        """Return the major version of rsync."""
        done = subprocess.run([self.rsync_exe, "--version"], capture_output=True, text=True, check=False)
        match = re.search(r"rsync\s+version\s+(\d+)\.\d+\.\d+", done.stdout)
        return int(match[1]) if match else None

    def call_rsync(
        self,
        src: Path,
        dest: Path,
        link_dest: Path | None = None,
        src_trailing_slash: bool = False,
        dest_trailing_slash: bool = False,
        extra_args: list[str] | None = None,
    ) -> None:
        """Copy a file or directory into ``dest``; with ``src_trailing_slash``, the content of the directory.

        Files that are the same in ``link_dest`` are linked. A container in use must be copied in the right order:
        see `backup_container`. Raise `BackupError`.
        """
        if not src_trailing_slash and is_container(src):
            self.run_cmd(["mkdir", "-p", str(dest)])
            previous = link_dest / src.name if link_dest else None
            with Container(src) as container:
                backup_container(self, container, dest / src.name, previous)
            return
        self._rsync(src, dest, link_dest, src_trailing_slash, dest_trailing_slash, extra_args or [])

    def _rsync(
        self, src: Path, dest: Path, link_dest: Path | None, is_content: bool, makes_dest: bool, extra: list[str]
    ) -> None:
        arguments = [self.rsync_exe, "-azh", "--no-whole-file"]
        is_told = LOGGER.isEnabledFor(logging.INFO)
        if is_told:
            is_new = self.rsync_version and self.rsync_version >= 3
            arguments += ["--info=progress2,stats1"] if is_new else ["--progress"]
        if LOGGER.isEnabledFor(logging.DEBUG):
            arguments += ["-vv"]
        arguments += extra
        if link_dest:
            # rsync resolves a relative path from the destination.
            arguments += [f"--link-dest={link_dest if self.remote else link_dest.resolve()}"]
        target = f"{dest}/" if makes_dest else str(dest)
        arguments += [f"{src}/" if is_content else str(src), f"{self.remote}:{target}" if self.remote else target]
        LOGGER.info("Running '%s'", " ".join(arguments))
        done = subprocess.run(arguments, capture_output=not is_told, text=True, check=False)
        LOGGER.info("rsync completed. Exit Code: %d%s", done.returncode, "" if is_told else f"\n{done.stdout}")
        if done.returncode not in (0, _VANISHED):
            raise BackupError(f"rsync failed for: {src!s} to {dest!s}: {done.stderr or ''}")

    def get_existing_backup_folders(self) -> list[str]:
        """Return the finished backups. Raise `BackupError`."""
        find = ["find", str(self.path), "-maxdepth", "1", "-type", "d", "-name", "backup_*_*", "-print"]
        is_done, output = self.run_cmd(find)
        if not is_done:
            raise BackupError("Existing backups determination failed.")
        return output.splitlines()

    def get_last_backup_folder(self) -> Path | None:
        """Return the newest backup."""
        existing = self._in_order()
        return Path(existing[-1]) if existing else None

    def _in_order(self) -> list[str]:
        """Return the finished backups, oldest first. A name in the last year would stay the newest, and is left out."""
        folders = {Path(folder).name: folder for folder in self.get_existing_backup_folders()}
        return [folders[name] for name in names_among(folders)]

    def delete_old_backups(self) -> None:
        """Remove all backups except the newest and the ``keep`` before it."""
        if self.keep is None:
            return
        for folder in self._in_order()[: -(self.keep + 1)]:
            if self.run_cmd(["rm", "-rf", folder])[0]:
                LOGGER.info("Deleted old backup: %s", folder)
            else:
                LOGGER.warning("Warning: couldn't delete old backup: %s", folder)

    def backup_auto_folders(self, backup_func: Callable[[Path, Path | None], Any]) -> None:
        """Let ``backup_func(path, previous)`` fill ``live-backup``, which is then named ``backup_<time>_<random>``.

        ``last-backup`` is a link to the newest, and old ones are removed. Raise `BackupError`.
        """
        live = self.path / "live-backup"
        if self.run_cmd(["[", "-L", str(live), "]"])[0]:
            raise BackupError(f"'{live!s}' is a symbolic link: it is not followed")
        last = self.get_last_backup_folder()
        LOGGER.info("Last backup: %s", last)
        backup_func(live, last)
        # Names ascend, also for two backups in one second: the newest is found by its name.
        name = next_name([Path(folder).name for folder in self._in_order()])
        if not self.run_cmd(["mv", str(live), str(self.path / name)])[0]:
            raise BackupError(f"Failed to move '{live!s}' to '{self.path / name!s}'")
        LOGGER.info("Backup moved from '%s' to '%s'.", live, self.path / name)
        if not self.run_cmd(["ln", "-sfn", name, str(self.path / "last-backup")])[0]:
            LOGGER.warning("Couldn't create symlink 'last-backup'. Perhaps the filesystem doesn't support it.")
        self.delete_old_backups()


def is_container(path: Path) -> bool:
    """Return whether a directory is a container."""
    try:
        return path.is_dir() and Container(path).is_initialised
    except (RsdosError, OSError):
        return False


def backup_container(manager: BackupManager, container: Container, path: Path, prev_backup: Path | None = None) -> None:
    """Copy a container of either version to ``path`` while it is in use. Unchanged files are linked.

    The loose objects come first, so that an object that is packed during the copy is copied with the packs; then a
    snapshot of the index; then the packs that it names, which are protected until then; the settings last. Deletes and
    repacks of rsdos may run at the same time, those of disk-objectstore may not. Raise `BackupError`.
    """
    engine = container.engine
    if not manager.run_cmd(["mkdir", "-p", str(path)])[0]:
        raise BackupError(f"Couldn't create '{path!s}'")
    with suppress(OSError):
        engine.layout.make(engine.layout.locks)  # disk-objectstore does not make it.
    with engine.protect_packs(), temporary_directory() as temporary:
        manager.call_rsync(container._get_loose_folder(), path, link_dest=prev_backup, dest_trailing_slash=True)
        try:
            _copy_index(engine, temporary)
        except (RsdosError, OSError) as error:
            raise BackupError(f"the index of {container.get_folder()}: {error}") from error
        # Compare contents: for rsync, two index files of one size and one second are the same.
        index = Path(temporary)
        manager.call_rsync(index, path, prev_backup, src_trailing_slash=True, extra_args=["--checksum"])
        packs = container._get_pack_folder()
        lock_files = ["--exclude", "*.lock"]
        manager.call_rsync(packs, path, link_dest=prev_backup, dest_trailing_slash=True, extra_args=lock_files)
    for directory in engine.layout.directories:
        manager.run_cmd(["mkdir", "-p", str(path / os.path.relpath(directory, engine.layout.root))])
    manager.call_rsync(Path(engine.layout.config), path, link_dest=prev_backup, dest_trailing_slash=True)


def _copy_index(engine: Engine, root: str) -> None:
    """Write a snapshot of the index to its place in ``root``."""
    for directory in engine.layout.directories:
        make_directories(os.path.join(root, os.path.relpath(directory, engine.layout.root)))
    with engine.packed.maintenance.checkpoint(root) as pin:
        for piece in pin.pieces:
            if piece.fd >= 0:
                stage_file(piece, root)
