"""A real partitioned disk in a file: GPT (UEFI 2.10 §5) with one FAT16 file system (Microsoft's fatgen103).

Made by hand, because the demonstration needs nothing but Python; `sgdisk` and `fsck.vfat` find no fault with it.
"""

import random
import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

SECTOR = 512
MIB = 1 << 20

_START = MIB // SECTOR
"""First sector of the partition, where every tool aligns it."""

_ENTRIES, _ENTRY = 128, 128
_TABLE = _ENTRIES * _ENTRY // SECTOR
_BASIC_DATA = uuid.UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")

_CLUSTER = 4 * SECTOR
_RESERVED, _FATS, _ROOT_ENTRIES = 4, 2, 512
_DATE = (2026 - 1980) << 9 | 11 << 5 | 22


def make_disk(path: Path, size: int = 64 * MIB) -> None:
    """Write a disk of `size` bytes (a multiple of 1 MiB, 16 MiB to 128 MiB) with a few files on it; always the same."""
    sectors = size // SECTOR
    last = sectors - 2 - _TABLE
    # Whole MiB, as the partition begins at one.
    count = (last + 1) // _START * _START - _START
    with path.open("wb") as disk:
        disk.truncate(size)
        _write_gpt(disk, sectors, _START + count - 1)
        _write_fat16(disk, _START, count, sample_files(size // 3))


def sample_files(size: int) -> dict[str, bytes]:
    """About `size` bytes of files (8.3 names): some that compress well and some that do not."""
    dice = random.Random(2026)
    verbs = ("copied", "hashed", "stored", "checked", "published")
    lines = (f"{n:08d} {dice.choice(verbs)} {dice.randrange(1 << 24)} bytes\n" for n in range(size // 100))
    return {
        "README.TXT": b"This disk was made for a demonstration; nothing on it is of use elsewhere.\r\n",
        "EVENTS.LOG": "".join(lines).encode(),
        "RANDOM.BIN": dice.randbytes(size * 2 // 3),
    }


def _write_gpt(disk: BinaryIO, sectors: int, end: int) -> None:
    """The protective MBR, and the partition table at both ends of the disk."""
    entry = struct.pack(
        "<16s16sQQQ72s", _BASIC_DATA.bytes_le, _guid("partition"), _START, end, 0, "Tranship".encode("utf-16-le")
    )
    table = entry.ljust(_ENTRIES * _ENTRY, b"\0")
    protective = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, sectors - 1)
    _put(disk, 0, bytes(446) + protective + bytes(48) + b"\x55\xaa")
    _put(disk, 1, _header(1, sectors, 2, table) + table)
    _put(disk, sectors - 1 - _TABLE, table + _header(sectors - 1, sectors, sectors - 1 - _TABLE, table))


def _header(here: int, sectors: int, table_at: int, table: bytes) -> bytes:
    """A GPT header; its CRC is that of itself with the field at zero."""
    there = sectors - here
    first, last = 2 + _TABLE, sectors - 2 - _TABLE
    rest = struct.pack("<IQQQQ16s", 0, here, there, first, last, _guid("disk"))
    rest += struct.pack("<QIII", table_at, _ENTRIES, _ENTRY, zlib.crc32(table))
    begin = struct.pack("<8sII", b"EFI PART", 0x10000, 92)
    header = begin + struct.pack("<I", zlib.crc32(begin + bytes(4) + rest)) + rest
    return header.ljust(SECTOR, b"\0")


def _write_fat16(disk: BinaryIO, start: int, count: int, files: Mapping[str, bytes]) -> None:
    """A file system of `count` sectors from sector `start` on, with `files` in its root directory."""
    root = _ROOT_ENTRIES * 32 // SECTOR
    fat_sectors = -(-(count // (_CLUSTER // SECTOR) + 2) * 2 // SECTOR)
    _put(disk, start, _boot_sector(start, count, fat_sectors))
    fats = start + _RESERVED
    data = fats + _FATS * fat_sectors + root
    chains, directory = [0xFFF8, 0xFFFF], [_directory_entry("TRANSHIP", 0x08, 0, 0)]
    for name, content in files.items():
        first, clusters = len(chains), -(-len(content) // _CLUSTER)
        _put(disk, data + (first - 2) * (_CLUSTER // SECTOR), content)
        chains += [*range(first + 1, first + clusters), 0xFFFF]
        directory.append(_directory_entry(name, 0x20, first, len(content)))
    fat = _shorts(chains).ljust(fat_sectors * SECTOR, b"\0")
    _put(disk, fats, fat * _FATS + b"".join(directory))


def _boot_sector(start: int, count: int, fat_sectors: int) -> bytes:
    parameters = struct.pack(
        "<3s8sHBHBHHBHHHII", b"\xeb\x3c\x90", b"TRANSHIP", SECTOR, _CLUSTER // SECTOR, _RESERVED, _FATS, _ROOT_ENTRIES,
        count if count < 1 << 16 else 0, 0xF8, fat_sectors, 63, 255, start, count if count >= 1 << 16 else 0,
    )  # fmt: skip
    extended = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 0x20261122, b"TRANSHIP   ", b"FAT16   ")
    return (parameters + extended).ljust(510, b"\0") + b"\x55\xaa"


def _directory_entry(name: str, attributes: int, cluster: int, size: int) -> bytes:
    stem, _, ending = name.partition(".")
    short = f"{stem:8}{ending:3}".encode()
    return struct.pack("<11sB10xHHHI", short, attributes, 0, _DATE, cluster, size)


def _shorts(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}H", *values)


def _guid(what: str) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"tranship:demo:{what}").bytes_le


def _put(disk: BinaryIO, sector: int, content: bytes) -> None:
    disk.seek(sector * SECTOR)
    disk.write(content)
