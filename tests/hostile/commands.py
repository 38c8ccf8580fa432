"""The commands that the fuzzer plays on each kind of subject: lines, as a user types them, by tables.

What is on one line, with ``&&`` between, is played in this order; lines are played in any order. Those that remove or
convert stand at the end: in their order the lines work on a subject that nobody has changed, and a test plays them so.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.data import noise
from tests.hostile.templates import BACKUPS, CLONED, CONTAINERS, EXTRACTED, MIGRATED, RESTORED, Template

# {at}: the subject. {original}: the container that it was made from; {source}: a copy of that. {mine}: a copy of
# another container, which has a snapshot and the object {theirs}. {new}: the beginning of names that are free. {file},
# {kept}: a file, a list of keys. {directory}: a directory that {at} has a snapshot of.
ANY_CONTAINER = """
    -p {at} status
    -p {at} status --json
    -p {at} status --check
    -p {at} status --format prometheus
    -p {at} doctor
    -p {at} list
    -p {at} list --long
    -p {at} inspect loose
    -p {at} inspect packed
    -p {at} inspect object {loose}
    -p {at} inspect object {packed}
    -p {at} cat-file {loose}
    -p {at} cat-file {packed}
    -p {at} --verify hash cat-file {packed}
    -p {at} extract {new}out
    -p {at} validate
    -p {at} validate --full
    -p {at} validate --full --jobs 2
    -p {at} add-files {file} && -p {at} add-files {file}
    -p {at} optimize
    -p {at} optimize pack
    -p {at} optimize clean
    -p {at} optimize repack
    -p {at} repair index
    -p {at} repair objects --quarantine
    -p {at} repair objects --from {source}
    -p {source} repair objects --from {at}
    -p {at} backup {new}backups && restore {new}backups {new}restored
    restore {at} {new}of-container
    transfer {mine} {at} {theirs}
    -p {at} transfer {source}
    init {new}receiver && transfer {at} {new}receiver
    -p {mine} transfer {at} {packed} {loose}
    migrate {at} {new}same --compression zlib+1
    migrate {at} {new}other --to {other} --without-snapshots
"""
LAST = """
    -p {at} delete {loose}
    -p {at} delete --keep-from-file {kept}
    -p {at} delete {packed}
    -p {at} migrate --to {other} --without-snapshots
    migrate {at} --to {version} --without-snapshots
"""
WITH_SNAPSHOTS = """
    -p {at} inspect pack 1
    -p {at} log
    -p {at} log --operations
    -p {at} ls -r flowers
    -p {at} show flowers
    -p {at} status {directory} flowers
    -p {at} diff flowers {directory}/
    -p {at} save flowers {directory} && -p {at} save more {mine}/packed && -p {at} log more
    -p {at} checkout flowers {new}flowers && -p {at} status {new}flowers && -p {at} save flowers {new}flowers
    -p {at} export flowers -o {new}tar && -p {at} import again {new}tar
    -p {at} tag kept flowers && -p {at} undo
    -p {at} remote list
    -p {at} fetch
    -p {at} remote add mine {mine} && -p {at} push mine && -p {at} pull mine && -p {at} status --remote mine
    -p {mine} remote add here {at} && -p {mine} fetch here && -p {mine} pull here && -p {mine} push here
    clone {at} {new}clone && -p {new}clone validate --full
    clone --lazy {at} {new}lazy && -p {new}lazy cat-file {packed}
    -p {mine} transfer {at} flowers
    -p {at} remote remove origin
    -p {at} forget flowers --yes && -p {at} gc
    -p {at} gc --repack
"""
A_BACKUP = """
    restore {at} {new}newest
    restore {at} {new}newest-verified --verify
    -p {source} backup {at}
    -p {source} backup {at} --keep 0 --verify
    restore {at} {new}restored
"""
A_PLACE_TO_MIGRATE_TO = "migrate {source} {at} --to {other} --without-snapshots"
A_PLACE_TO_RESTORE_TO = "restore {backup} {at}"
A_PLACE_TO_CLONE_TO = "clone {original} {at}"
THEN = "-p {at} status && -p {at} validate --full && -p {at} list"
A_PLACE_TO_EXTRACT_TO = """
    -p {source} extract {at} {loose} {packed}
    -p {source} extract {at}
"""

TABLES: dict[str, tuple[str, ...]] = {
    CONTAINERS[0]: (ANY_CONTAINER, LAST),
    CONTAINERS[1]: (WITH_SNAPSHOTS, ANY_CONTAINER, LAST),
    **dict.fromkeys(BACKUPS, (A_BACKUP,)),
    **dict.fromkeys(MIGRATED, (f"{A_PLACE_TO_MIGRATE_TO} && {THEN}",)),
    **dict.fromkeys(RESTORED, (f"{A_PLACE_TO_RESTORE_TO} && {THEN}",)),
    **dict.fromkeys(CLONED, (f"{A_PLACE_TO_CLONE_TO} && {THEN}",)),
    EXTRACTED: (A_PLACE_TO_EXTRACT_TO,),
}


def lines(subject: str, template: Template, work: Path, chance: random.Random) -> list[list[list[str]]]:
    """Return all lines of a subject, each a list of commands, with what they need laid out in ``work``."""
    version = int(subject[-1]) if subject != EXTRACTED else chance.choice((1, 2))
    original = template.root / f"container-{version}"
    for name, path in {"source": original, "mine": template.theirs}.items():
        shutil.copytree(path, work / name)
    (work / "source" / "loose" / "ab").mkdir(exist_ok=True)
    (work / "file").write_bytes(noise(500, 8))
    (work / "kept").write_text(f"{template.packed}\n")
    names = {
        **{name: str(work / name) for name in ("source", "mine", "file", "kept")},
        "at": str(work / "case"),
        "new": str(work / "new-"),
        "original": str(original),
        "backup": str(template.root / f"backup-{version}"),
        "directory": str(template.directory),
        "loose": template.loose,
        "packed": template.packed,
        "theirs": template.of_theirs,
        "version": str(version),
        "other": str(3 - version),
    }
    return [
        [command.format_map(names).split() for command in line.split("&&")]
        for table in TABLES[subject]
        for line in table.strip().splitlines()
    ]
