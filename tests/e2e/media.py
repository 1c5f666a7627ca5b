"""Disk images that were not made here: Debian's boot media, packed as servers offer them, and what qemu-img makes."""

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import ServerMissing, find_program


@dataclass(frozen=True)
class Medium:
    """An image: its name on the server, its data, and how users declare it."""

    name: str
    data: Path
    disk_format: str
    container_format: str = "bare"
    virtual_size: int | None = None
    """Bytes of the disk inside, None where nobody looks inside."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.data.stat().st_size

    @property
    def sha512(self) -> str:
        """Hex."""
        return sha512(self.data)


def sha512(path: Path) -> str:
    """The hash of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def debian_file(package: str, pattern: str) -> Path:
    """The largest file that matches `pattern`, a glob below /. Raises `ServerMissing` naming the package."""
    found = [path for path in Path("/").glob(pattern) if not path.is_symlink()]
    if not found:
        raise ServerMissing(f"{package} is not installed; run: sudo apt-get install {package} (make test does it)")
    return max(found, key=lambda path: path.stat().st_size)


def grub_rescue(folder: Path) -> Medium:
    """The ISO that boots a broken machine, about 5 MB: in `folder`, under its own name."""
    iso = debian_file("grub-rescue-pc", "usr/lib/grub-rescue/*.iso")
    served = folder / iso.name
    served.symlink_to(iso)
    return Medium(iso.name, served, "iso", virtual_size=iso.stat().st_size)


def netboot(folder: Path) -> Medium:
    """The installer's ramdisk that is booted over the network, about 200 MB. It comes as .gz, and stays beside it."""
    ramdisk = debian_file(
        "debian-installer-12-netboot-amd64", "usr/lib/debian-installer/images/12/amd64/*/*/*/initrd.gz"
    )
    served = folder / ramdisk.name
    served.symlink_to(ramdisk)
    plain = folder / ramdisk.stem
    with plain.open("wb") as file:
        subprocess.run([find_program("gzip", "gzip"), "-dc", ramdisk], stdout=file, check=True)
    return Medium(plain.name, plain, "ari", "ari")


PACKERS = {"plain": (), "gz": ("gzip", "-1c"), "zst": ("zstd", "-1qc")}
"""How files are offered, and the program that makes them so."""


def packed(medium: Medium, packing: str) -> str:
    """The name on the server of `medium` in this packing; made once, beside the medium."""
    if packing == "plain":
        return medium.name
    path = medium.data.with_name(f"{medium.name}.{packing}")
    if not path.exists():
        program, *options = PACKERS[packing]
        with medium.data.open("rb") as data, path.open("wb") as file:
            subprocess.run([find_program(program, program), *options], stdin=data, stdout=file, check=True)
    return path.name


def converted(medium: Medium, disk_format: str, *options: str) -> Medium:
    """The same disk in another format, made by qemu-img beside the medium."""
    qemu_img = find_program("qemu-img", "qemu-utils")
    path = medium.data.with_name(f"disk.{disk_format}")
    subprocess.run(
        [qemu_img, "convert", "-O", QEMU.get(disk_format, disk_format), *options, medium.data, path], check=True
    )
    told = json.loads(_said([qemu_img, "info", "--output=json", str(path)]))
    return Medium(path.name, path, disk_format, virtual_size=told["virtual-size"])


QEMU = {"vhd": "vpc"}
"""Formats that qemu-img knows under another name."""


def with_backing_file(medium: Medium) -> Medium:
    """A qcow2 that says it continues another file of the machine it is used on, which is how files are stolen."""
    path = medium.data.with_name("backed.qcow2")
    options = ["-f", "qcow2", "-F", "raw", "-b", str(medium.data)]
    _said([find_program("qemu-img", "qemu-utils"), "create", *options, str(path)])
    return Medium(path.name, path, "qcow2")


def _said(command: Sequence[str]) -> bytes:
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
