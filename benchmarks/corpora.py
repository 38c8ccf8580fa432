"""The corpora of `benchmarks.size`: what people keep many of. Each is the same in every run, and nothing is downloaded.

Records, structures, notebooks and pictures are made of seeded random numbers; the source tree is the standard library
of the running Python, site-packages those that it runs with.
"""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import sysconfig
import tarfile
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

_MIB = 1 << 20
_SMALL = 4 << 10
_MOST_FILE = 4 << 20
"""Bytes of a file of site-packages; a longer one (OpenBLAS: 25 MB) would be the whole corpus."""

_USERS = ("amueller", "bkim", "cdubois", "dnovak", "esilva", "frossi", "gtanaka", "hjensen")
_KINDS = (("temperature", "degC"), ("pressure", "mbar"), ("humidity", "%"), ("current", "mA"))
_ELEMENTS = ("H", "C", "N", "O", "Na", "Mg", "Al", "Si", "S", "Cl", "Ti", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "As")
_CODES = ("pw-7.2@cluster", "pw-7.3.1@cluster", "cp2k-2024.1@local", "siesta-5.0@cluster")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Objects of one kind: ``title`` is for tables, ``most`` how many there are, or how many bytes (``in_bytes``).

    ``payloads`` yields them without end, or until there are no more.
    """

    name: str
    title: str
    most: int
    payloads: Callable[[], Iterator[bytes]]
    in_bytes: bool = False
    full_only: bool = False
    """Whether the quick level is without it."""

    def objects(self, share: float) -> Iterator[bytes]:
        """Yield ``share`` of what a full run has, at least one object."""
        most = max(1, int(self.most * share))
        if not self.in_bytes:
            yield from islice(self.payloads(), most)
            return
        size = 0
        for payload in self.payloads():
            yield payload
            size += len(payload)
            if size >= most:
                return


def _records() -> Iterator[bytes]:
    """Yield readings of sensors, about 180 bytes each."""
    chance = random.Random(180)
    second = 0
    for number in range(1, 1 << 40):
        second += chance.randrange(1, 30)
        kind, unit = chance.choice(_KINDS)
        record = {
            "id": f"{number:08d}",
            "time": _time(second),
            "sensor": f"hall-{chance.randrange(1, 5)}/rack-{chance.randrange(1, 25):02}/{kind[0]}{chance.randrange(4)}",
            "kind": kind,
            "value": round(chance.gauss(50, 20), 2),
            "unit": unit,
            "state": chance.choices(("ok", "stale", "alarm"), (95, 4, 1))[0],
            "user": chance.choice(_USERS),
            "run": 1200 + number // 500,
        }
        yield json.dumps(record).encode()


def _calculations() -> Iterator[bytes]:
    """Yield the attributes of calculations, about 1 KB each: names that repeat, numbers that do not."""
    chance = random.Random(1000)
    second = 0
    for _ in iter(int, 1):
        second += chance.randrange(10, 4000)
        sites = [
            {"kind": chance.choice(_ELEMENTS), "position": [round(chance.uniform(0, 9), 6) for _ in range(3)]}
            for _ in range(chance.randrange(2, 9))
        ]
        length = chance.uniform(3, 9)
        record = {
            "uuid": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "ctime": _time(second),
            "user": chance.choice(_USERS) + "@example.org",
            "process_type": "aiida.calculations:quantumespresso.pw",
            "code": chance.choice(_CODES),
            "state": chance.choices(("finished", "excepted"), (19, 1))[0],
            "exit_status": chance.choices((0, 310, 410), (18, 1, 1))[0],
            "resources": {"num_machines": chance.choice((1, 2, 4)), "num_mpiprocs_per_machine": 36},
            "parameters": {"ecutwfc": chance.choice((40, 60, 80)), "conv_thr": 1e-08, "occupations": "smearing"},
            "cell": [[round(length, 6), 0.0, 0.0], [0.0, round(length, 6), 0.0], [0.0, 0.0, round(length * 1.2, 6)]],
            "sites": sites,
            "energy": round(chance.uniform(-9000, -100), 8),
            "energy_units": "eV",
            "forces": [round(chance.gauss(0, 0.01), 8) for _ in range(6)],
            "wall_time_seconds": round(chance.expovariate(1 / 900), 2),
        }
        yield json.dumps(record).encode()


def _time(second: int) -> str:
    minutes, seconds = divmod(second, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    months, days = divmod(days, 28)
    years, months = divmod(months, 12)
    return f"{2024 + years}-{months + 1:02}-{days + 1:02}T{hours:02}:{minutes:02}:{seconds:02}Z"


def _sources() -> Iterator[bytes]:
    """Yield the modules of the standard library, in an order that has nothing to do with directories."""
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(library.rglob("*.py")) if "site-packages" not in path.parts]
    random.Random(5).shuffle(paths)
    yield from _distinct(paths)


def _small_sources() -> Iterator[bytes]:
    return (payload for payload in _sources() if len(payload) < _SMALL)


def _site_packages() -> Iterator[bytes]:
    place = Path(sysconfig.get_paths()["purelib"])
    paths = [
        path
        for path in sorted(place.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.stat().st_size <= _MOST_FILE
    ]
    random.Random(6).shuffle(paths)
    yield from _distinct(paths)


def _distinct(paths: list[Path]) -> Iterator[bytes]:
    seen = set()
    for path in paths:
        payload = path.read_bytes()
        if payload and payload not in seen:
            seen.add(payload)
            yield payload


def _notebooks() -> Iterator[bytes]:
    """Yield notebooks of cells of code and text, with printed output and now and then a picture."""
    chance = random.Random(4)
    code = [payload.decode("utf-8", "replace").splitlines(keepends=True) for payload in islice(_sources(), 200)]
    pictures = _pictures()
    for _ in iter(int, 1):
        cells: list[dict[str, object]] = []
        for number in range(chance.randrange(4, 40)):
            lines = chance.choice(code)
            at = chance.randrange(max(1, len(lines) - 15))
            source = lines[at : at + chance.randrange(1, 15)]
            if chance.random() < 0.3:
                cells.append({"cell_type": "markdown", "id": f"{chance.getrandbits(32):08x}", "metadata": {},
                              "source": source})  # fmt: skip
                continue
            text = [f"step {step}: energy = {chance.gauss(-300, 5):.8f} eV\n" for step in range(chance.randrange(12))]
            outputs: list[dict[str, object]] = [{"name": "stdout", "output_type": "stream", "text": text}]
            if chance.random() < 0.05:
                png = base64.b64encode(next(pictures)).decode()
                outputs.append({"data": {"image/png": png, "text/plain": ["<Figure size 640x480 with 1 Axes>"]},
                                "metadata": {}, "output_type": "display_data"})  # fmt: skip
            cells.append({"cell_type": "code", "execution_count": number + 1, "id": f"{chance.getrandbits(32):08x}",
                          "metadata": {}, "outputs": outputs, "source": source})  # fmt: skip
        kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
        notebook = {"cells": cells, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
                    "nbformat": 4, "nbformat_minor": 5}  # fmt: skip
        yield json.dumps(notebook, indent=1).encode()


def _structures() -> Iterator[bytes]:
    """Yield structures of a materials database, by turns a CIF file (1 to 6 KB) and an XYZ file (0.3 to 4 KB)."""
    chance = random.Random(9)
    for number in iter(partial(chance.randrange, 1 << 24), None):
        elements = chance.sample(_ELEMENTS, chance.randrange(1, 5))
        yield _cif(chance, number, elements)
        yield _xyz(chance, number, elements)


def _cif(chance: random.Random, number: int, elements: list[str]) -> bytes:
    lengths = [chance.uniform(3, 12) for _ in range(3)]
    formula = " ".join(f"{element}{chance.randrange(1, 5)}" for element in sorted(elements))
    lines = ["# generated by a script of benchmarks", f"data_{number:08d}", f"_chemical_formula_sum   '{formula}'",
             "_symmetry_space_group_name_H-M   'P 1'"]  # fmt: skip
    lines += [f"_cell_length_{name}   {length:.8f}" for name, length in zip("abc", lengths, strict=True)]
    lines += [f"_cell_angle_{name}   {chance.choice((90.0, 120.0, 60.0)):.8f}" for name in ("alpha", "beta", "gamma")]
    lines += ["_symmetry_Int_Tables_number   1", f"_cell_volume   {lengths[0] * lengths[1] * lengths[2]:.8f}",
              f"_cell_formula_units_Z   {chance.randrange(1, 9)}", "loop_", " _symmetry_equiv_pos_site_id",
              " _symmetry_equiv_pos_as_xyz"]  # fmt: skip
    signs = chance.choice((("x, y, z",), ("x, y, z", "-x, -y, -z"), ("x, y, z", "-x, -y, z", "-x, y, -z", "x, -y, -z")))
    lines += [f"  {at}  '{position}'" for at, position in enumerate(signs, 1)]
    lines += ["loop_", " _atom_site_type_symbol", " _atom_site_label", " _atom_site_symmetry_multiplicity",
              " _atom_site_fract_x", " _atom_site_fract_y", " _atom_site_fract_z",
              " _atom_site_occupancy"]  # fmt: skip
    for at in range(chance.randrange(4, 60)):
        element = chance.choice(elements)
        place = "  ".join(f"{chance.random():.8f}" for _ in range(3))
        lines.append(f"  {element}  {element}{at}  1  {place}  1")
    return "\n".join(lines).encode() + b"\n"


def _xyz(chance: random.Random, number: int, elements: list[str]) -> bytes:
    count = chance.randrange(6, 90)
    comment = f'Properties=species:S:1:pos:R:3 energy={chance.gauss(-200, 60):.6f} config="{number}" pbc="F F F"'
    lines = [str(count), comment]
    for _ in range(count):
        place = " ".join(f"{chance.gauss(0, 5):15.8f}" for _ in range(3))
        lines.append(f"{chance.choice(elements):2} {place}")
    return "\n".join(lines).encode() + b"\n"


def _pictures() -> Iterator[bytes]:
    """Yield PNG files of 4 to 25 KB."""
    chance = random.Random(8)
    while True:
        yield _png(chance, chance.randrange(40, 110))


def _png(chance: random.Random, side: int) -> bytes:
    """Return a square picture: a gradient, and noise."""
    noise = chance.randbytes(3 * side * side)
    rows = []
    for y in range(side):
        row = noise[3 * side * y : 3 * side * (y + 1)]
        rows.append(b"\0" + bytes((x + y + (value >> 2)) & 255 for x, value in enumerate(row)))
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 6)), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


_Members = list[tuple[str, bytes]]


def _picture_first() -> Iterator[bytes]:
    """Yield one archive of a picture of 3 MB and 13 MB of text behind it."""
    picture, texts = _members()
    yield _tar(picture + texts)


def _text_first() -> Iterator[bytes]:
    picture, texts = _members()
    yield _tar(texts + picture)


def _members() -> tuple[_Members, _Members]:
    texts: _Members = []
    size = 0
    for number, payload in enumerate(_sources()):
        texts.append((f"{number}.py", payload))
        size += len(payload)
        if size >= 13 * _MIB:
            break
    return [("picture.png", _png(random.Random(3), 1000))], texts


def _tar(members: _Members) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, payload in members:
            member = tarfile.TarInfo(name)
            member.size = len(payload)
            tar.addfile(member, io.BytesIO(payload))
    return archive.getvalue()


CORPORA = (
    Corpus("json-180", "JSON records of 180 B", 100_000, _records),
    Corpus("json-180-20k", "20,000 of them", 20_000, _records),
    Corpus("json-180-1m", "1,000,000 of them", 1_000_000, _records, full_only=True),
    Corpus("json-1k", "JSON records of 1 KB", 20_000, _calculations),
    Corpus("sources", "a source tree", 24 * _MIB, _sources, in_bytes=True),
    Corpus("sources-4k", "its objects below 4 KB", 24 * _MIB, _small_sources, in_bytes=True),
    Corpus("site-packages", "site-packages", 32 * _MIB, _site_packages, in_bytes=True),
    Corpus("notebooks", "notebooks", 24 * _MIB, _notebooks, in_bytes=True),
    Corpus("structures", "CIF and XYZ files", 10_000, _structures),
    Corpus("pictures", "PNG pictures", 16 * _MIB, _pictures, in_bytes=True),
    Corpus("tar-picture-first", "a tar, picture first", 1, _picture_first),
    Corpus("tar-text-first", "the same, text first", 1, _text_first),
)
