"""The door to git-annex: ``git-annex-remote-rsdos``, an external special remote.

git-annex runs the program and asks it line by line; see "external special remote protocol" in its documentation. Its
keys of the backends SHA256 and SHA256E name the content by the same hash as ours, so that they are objects inserted by
key. All other keys (chunks, encrypted files, other backends) are files of a branch, ``annex/`` and the UUID of the
remote.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable
from typing import IO
from urllib.parse import quote

from rsdos.container import Container
from rsdos.errors import InvalidOption, ObjectNotFound, RefMoved, RsdosError
from rsdos.hashing import SHA256
from rsdos.model import PackKind
from rsdos.trees.policy import Policy

_SHA256 = re.compile(r"SHA256E?(?:-s\d+)?(?:-m\d+)?--([0-9a-f]{64})(?:\.[^/]*)?")
"""A key that has the hash of its object. Keys with -S and -C are chunks: their hash is that of the whole file."""

_CHUNK = 1 << 20
"""Bytes that are copied between two reports of the progress."""

_VERSIONS = 100
"""Versions of the branch for other keys, after which all but the newest are forgotten. Each adds 100 bytes to every
commit."""

_ATTEMPTS = 1000
"""How often a change of the branch is tried: another process may have changed it first."""


class AnnexRemote:
    """A container as a special remote: answers the requests of one git-annex. One thread.

    An object counts as present if it was inserted by key: a copy held only for snapshots is deleted with them.
    """

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        """Begin a conversation.

        Args:
            requests: the stream that git-annex writes to.
            answers: the stream that git-annex reads.
        """
        self._requests = requests
        self._answers = answers
        self._container: Container | None = None
        self._branch = ""
        self._calls: dict[str, Callable[[str], None]] = {
            "EXTENSIONS": lambda _: self._say("EXTENSIONS"),
            "LISTCONFIGS": self._list_settings,
            "INITREMOTE": self._initialise,
            "PREPARE": self._prepare,
            "TRANSFER": self._transfer,
            "CHECKPRESENT": self._check_present,
            "REMOVE": self._remove,
            "GETCOST": lambda _: self._say("COST", "100"),  # that of a directory on a local disk
            "GETAVAILABILITY": lambda _: self._say("AVAILABILITY", "LOCAL"),
            "WHEREIS": self._whereis,
            "GETINFO": self._show_settings,
        }

    def serve(self) -> None:
        """Answer requests until git-annex closes its end."""
        self._say("VERSION", "2")
        while (line := self._read()) is not None:
            word, _, rest = line.partition(" ")
            if word == "ERROR":
                break
            call = self._calls.get(word)
            if call is None:
                self._say("UNSUPPORTED-REQUEST")
            else:
                call(rest)
        if self._container is not None:
            self._container.close()

    # --- lines ------------------------------------------------------------------------------------------------------

    def _read(self) -> str | None:
        line = self._requests.readline()
        return os.fsdecode(line.rstrip(b"\n")) if line else None

    def _say(self, *words: str) -> None:
        """Write one line. Line breaks in a message become spaces."""
        self._answers.write(os.fsencode(" ".join(words).replace("\n", " ")) + b"\n")
        self._answers.flush()

    def _ask(self, *words: str) -> str:
        self._say(*words)
        answer = self._read() or ""
        if not answer.startswith("VALUE"):
            raise InvalidOption(f"git-annex did not answer {words[0]}, but {answer!r:.100}")
        return answer.removeprefix("VALUE").removeprefix(" ")

    # --- the container ----------------------------------------------------------------------------------------------

    def _list_settings(self, _: str) -> None:
        self._say("CONFIG", "container", "absolute path of the rsdos container")
        self._say("CONFIGEND")

    def _show_settings(self, _: str) -> None:
        for name, value in (("container", str(self._opened().path)), ("branch of other keys", self._branch)):
            self._say("INFOFIELD", name)
            self._say("INFOVALUE", value)
        self._say("INFOEND")

    def _initialise(self, _: str) -> None:
        try:
            self._say("SETCONFIG", "container-id", self._open().container_id)
        except (OSError, RsdosError) as error:
            self._say("INITREMOTE-FAILURE", str(error))
        else:
            self._say("INITREMOTE-SUCCESS")

    def _prepare(self, _: str) -> None:
        try:
            self._container = self._open()
            self._branch = f"annex/{self._ask('GETUUID')}"
        except (OSError, RsdosError) as error:
            self._say("PREPARE-FAILURE", str(error))
        else:
            self._say("PREPARE-SUCCESS")

    def _open(self) -> Container:
        """Open the container that the settings name. Raise `InvalidOption` if it is not the one of the set-up."""
        path = self._ask("GETCONFIG", "container")
        if not os.path.isabs(path):
            raise InvalidOption(f"set container=DIRECTORY to the absolute path of a container, not {path!r:.100}")
        container = Container(path, when_busy="wait")
        if container.config.hash is not SHA256:
            raise InvalidOption(f"{path}: its keys are not SHA-256")
        expected = self._ask("GETCONFIG", "container-id")
        if expected not in ("", container.container_id):
            raise InvalidOption(f"{path}: is not the container that the remote was set up with")
        return container

    def _opened(self) -> Container:
        if self._container is None:
            raise InvalidOption("git-annex has not sent PREPARE")
        return self._container

    # --- keys -------------------------------------------------------------------------------------------------------

    def _transfer(self, rest: str) -> None:
        direction, key, path = rest.split(" ", 2)
        try:
            if direction == "STORE":
                self._store(key, path)
            else:
                self._retrieve(key, path)
        except (OSError, RsdosError) as error:
            self._say("TRANSFER-FAILURE", direction, key, str(error))
        else:
            self._say("TRANSFER-SUCCESS", direction, key)

    def _store(self, key: str, path: str) -> None:
        container = self._opened()
        wanted = _object_key(key)
        if wanted is None:
            self._change(key, path)
            return
        inserted = container.insert(path, to="packed")
        if inserted != wanted:
            # The inserted object stays: it may have been there before, for another purpose.
            raise InvalidOption(f"the content has the hash {inserted}, not that of its key")

    def _retrieve(self, key: str, path: str) -> None:
        wanted = _object_key(key) or self._file_key(key)
        if wanted is None:
            raise ObjectNotFound(key)
        with self._opened().open(wanted) as stream, open(path, "wb") as file:
            done = 0
            while data := stream.read(_CHUNK):
                file.write(data)
                done += len(data)
                self._say("PROGRESS", str(done))

    def _check_present(self, key: str) -> None:
        try:
            wanted = _object_key(key)
            found = self._file_key(key) is not None if wanted is None else self._is_inserted(wanted)
        except (OSError, RsdosError) as error:
            self._say("CHECKPRESENT-UNKNOWN", key, str(error))
        else:
            self._say("CHECKPRESENT-SUCCESS" if found else "CHECKPRESENT-FAILURE", key)

    def _remove(self, key: str) -> None:
        try:
            wanted = _object_key(key)
            if wanted is None:
                self._change(key, None)
            else:
                self._opened().delete([wanted])
        except (OSError, RsdosError) as error:
            self._say("REMOVE-FAILURE", key, str(error))
        else:
            self._say("REMOVE-SUCCESS", key)

    def _whereis(self, key: str) -> None:
        wanted = _object_key(key)
        self._say(
            *(("WHEREIS-FAILURE",) if wanted is None else ("WHEREIS-SUCCESS", f"{self._opened().path}: {wanted}"))
        )

    def _is_inserted(self, key: str) -> bool:
        """Return whether there is a loose or plain copy, by the newest index."""
        engine, digests = self._opened().engine, [bytes.fromhex(key)]
        if engine.loose.contains_many(digests)[0]:
            return True
        engine.packed.refresh()  # After the loose lookup: an object that is being packed is found by one of both.
        return engine.packed.contains_many(digests, PackKind.PLAIN)[0]

    # --- keys of other backends -------------------------------------------------------------------------------------

    def _file_key(self, key: str) -> str | None:
        """Return the key of the object of a file of the branch, or None."""
        snapshot = self._opened().snapshots.get(self._branch)
        entry = None if snapshot is None else snapshot.entry(_file_name(key))
        return None if entry is None else entry.key

    def _change(self, key: str, path: str | None) -> None:
        """Put a file to the branch, or remove it with None for the path."""
        names, name = self._opened().snapshots, _file_name(key)
        for _ in range(_ATTEMPTS):
            try:
                with names.edit(self._branch) as draft:
                    if path is not None:
                        draft[name] = path
                    elif name in draft:
                        del draft[name]
                    else:
                        draft.discard()
                break
            except RefMoved:
                continue
        else:
            raise RefMoved(self._branch, f"was changed by others during each of {_ATTEMPTS} attempts")
        if len(names.branches().get(self._branch, ())) > _VERSIONS:
            names.forget(self._branch, policy=Policy(last=1))


def _object_key(key: str) -> str | None:
    """Return the key of the object that a key of git-annex names by its hash, or None."""
    found = _SHA256.fullmatch(key)
    return found[1] if found else None


def _file_name(key: str) -> str:
    """Return the name of the file for a key, which may have slashes and be longer than a file name may be."""
    name = quote(key, safe="%&=,+:@")
    return name if len(name) < 256 else f"sha256-{hashlib.sha256(os.fsencode(key)).hexdigest()}"


def main() -> None:
    """Serve git-annex on the standard streams."""
    AnnexRemote(sys.stdin.buffer, sys.stdout.buffer).serve()
