"""The directory of backups on another machine: like `Generations`, but through a shell.

Only regular files and directories with names of ours are removed. No link is followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from rsdos.errors import NotOurs
from rsdos.maintenance.backup.generations import names_among, refuse_another
from rsdos.maintenance.backup.rsync import OtherMachine
from rsdos.maintenance.copies import (
    CONFIG,
    COPY,
    DYING,
    GENERATION,
    LAST,
    LIVE,
    MARK,
    MARKED,
    NEW_LAST,
    QUARANTINE,
    id_in,
    is_own_path,
    refuse_strangers,
)
from rsdos.storage.directory import Form

_DYING = re.compile(re.escape(DYING) + GENERATION).fullmatch
_SAFE = re.compile(r"[\w./-]+", re.ASCII).fullmatch


class RemoteGenerations:
    """The backups in a directory of another machine. Every method raises OSError when the machine cannot be reached."""

    def __init__(self, remote: OtherMachine) -> None:
        self._remote = remote

    def names(self) -> list[str]:
        """Return the names of the finished generations, oldest first."""
        script = 'for f in backup_*; do if [ ! -L "$f" ] && [ -f "$f/config.json" ]; then echo "$f"; fi; done'
        return names_among(self._remote.run(script).splitlines())

    def check(self, names: Sequence[str], container_id: str) -> None:
        """Check the directory as `Generations.check` does."""
        for name in names[-1:]:
            refuse_another(self._remote.place, id_in(self._read(f"{name}/{CONFIG}")) or container_id, container_id)
        place = f"{self._remote.place.rstrip('/')}/{LIVE}"
        kind = self._kind(LIVE)
        if kind == "none":
            return
        if kind != "directory":
            raise NotOurs(place, f"it is a {kind}, not a directory: it is left alone")
        below = self._remote.run(f"ls -A {LIVE}").splitlines()
        for name in (CONFIG, MARKED):
            if name in below:
                refuse_another(self._remote.place, id_in(self._read(f"{LIVE}/{name}")) or container_id, container_id)
        refuse_strangers(place, below, lambda name: self._read(f"{LIVE}/{name}"), container_id)
        for path in self._found(LIVE, "! -type d"):
            if is_own_path(path, COPY, is_directory=True):
                raise NotOurs(f"{place}/{path}", "it is a link or a file, not a directory: it is left alone")

    def is_begun(self) -> bool:
        """Return whether there is an unfinished backup."""
        return self._kind(LIVE) == "directory"

    def _kind(self, name: str) -> str:
        tests = f'if [ -L "{name}" ]; then echo link; elif [ -d "{name}" ]; then echo directory'
        return self._remote.run(f'{tests}; elif [ -e "{name}" ]; then echo file; else echo none; fi').strip()

    def _read(self, name: str) -> bytes:
        return self._remote.run(f"if [ -f {name} ]; then cat {name}; fi").encode(errors="surrogateescape")

    def _found(self, directory: str, what: str) -> list[str]:
        """Return the paths that ``find`` finds below a directory, relative to it, without names that cannot be ours."""
        found = self._remote.run(f"cd {directory}; find . {what}").splitlines()
        return [path[2:] for path in found if path.startswith("./") and _SAFE(path)]

    def files(self, directory: str = LIVE) -> list[str]:
        """Return the paths of our regular files in a copy, relative to it."""
        return [path for path in self._found(directory, "-type f") if is_own_path(path, COPY)]

    def remove(self, paths: Iterable[str], directory: str = LIVE) -> None:
        """Remove files of a copy. Foreign ``paths`` are ignored."""
        ours = [path for path in paths if is_own_path(path, COPY)]
        if ours:
            self._remote.run(f"cd {directory}; xargs rm -f --", ours)

    def remove_others(self, wanted: Callable[[str], bool]) -> None:
        """Remove our files in the unfinished backup that are not wanted, and empty directories of loose files."""
        self.remove([path for path in self.files() if not wanted(path)])
        self._remove_empty(LIVE, COPY, least=2)

    def _remove_empty(self, directory: str, form: Form, least: int = 1) -> None:
        found = self._found(directory, "-depth -type d")
        ours = [path for path in found if path.count("/") + 1 >= least and is_own_path(path, form, is_directory=True)]
        if ours:
            self._remote.run(f"cd {directory}; while read -r d; do {_rmdir('$d', 'true')}; done", ours)

    def begin(self, mark: bytes) -> None:
        """Make the directory of the unfinished backup with its mark, and without a configuration.

        rsync would write the mark under another name first. Killed there, it would leave a directory without a mark.
        """
        new = f'rm -f {LIVE}/{MARK}; set -C; read -r m; printf %s "$m" > {LIVE}/{MARK}'
        has_mark = f"[ -s {LIVE}/{MARK} ] && [ ! -L {LIVE}/{MARK} ]"
        self._remote.run(
            f"mkdir -p {LIVE}; rm -f {LIVE}/{CONFIG}; if ! {{ {has_mark}; }}; then {new}; fi", [mark.decode()]
        )

    def collect_garbage(self) -> None:
        """Remove the rest of generations whose deletion was interrupted."""
        for name in self._remote.run("ls -A | grep '^[.]deleting-' || true").splitlines():
            if _DYING(name):
                if self._kind(name) != "directory":
                    raise NotOurs(f"{self._remote.place}/{name}", "it is a link or a file, not a directory")
                self._delete(name)

    def finish(self, name: str) -> None:
        """Make the unfinished backup the newest generation, under this name."""
        # rsync does not say whether the other machine has synced the files: this syncs them.
        self._remote.run(f"sync; mv {LIVE}/{MARKED} {LIVE}/{CONFIG}; mv {LIVE} {name}; {_link_to(name)}; sync")

    def prune(self, names: Sequence[str], keep: int) -> tuple[str, ...]:
        """Delete all of these older generations except the last ``keep``. Return the names of the deleted ones."""
        old = tuple(names[: len(names) - keep] if keep else names)
        for gone in old:
            # After a power loss, a half-deleted generation must not have the name of a whole one.
            self._remote.run(f"mv {gone} {DYING}{gone}; sync")
            self._delete(f"{DYING}{gone}")
        return old

    def _delete(self, name: str) -> None:
        """Delete our files in a generation. Move the rest to quarantine, if there is any."""
        self.remove([path for path in self.files(name) if path != MARK], name)
        self._remove_empty(name, COPY)
        self.remove([MARK], name)
        free = f't={QUARANTINE}/{name}; n=0; while [ -e "$t" ] || [ -L "$t" ]'
        free += f"; do n=$((n+1)); t={QUARANTINE}/{name}.$n; done"
        aside = f'if [ -L {QUARANTINE} ]; then exit 1; fi; mkdir -p {QUARANTINE}; {free}; mv {name} "$t"'
        self._remote.run(_rmdir(name, aside))


def _rmdir(name: str, foreign: str) -> str:
    """Return a script that removes a directory, or runs ``foreign`` when something is in it.

    If an empty directory cannot be removed, that is an error, which the second rmdir reports.
    """
    has_rest = f'[ -n "$(ls -A "{name}")" ]'
    return f'if ! rmdir "{name}" 2> /dev/null; then if {has_rest}; then {foreign}; else rmdir "{name}"; fi; fi'


def _link_to(name: str) -> str:
    """Return a script that points ``last-backup`` to a generation, atomically where ``mv`` knows ``-T``.

    ``ln -f`` alone, killed before its rename, would leave a link under a temporary name forever. On a file system
    without links none is made, and a file in the place of the link is left alone.
    """
    # If there is a link already, a failure to make another one is an error: a full disk, for example.
    turn = f"rm -f {NEW_LAST}; if ln -s {name} {NEW_LAST}; then mv -T {NEW_LAST} {LAST} || ln -sfn {name} {LAST}"
    turn += f"; else [ ! -L {LAST} ]; fi"
    return f"if [ -L {LAST} ] || [ ! -e {LAST} ]; then {turn}; rm -f {NEW_LAST}; fi"
