"""Format inspection: the table of import-behaviour §4.5, on real images and on malicious ones."""

import io
import random
import struct
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import FormatMismatch, UnsafeImage
from pipeline.facts import Facts
from pipeline.formats import FormatRules, FormatTap

MIB = 1 << 20
NOISE = random.Random(11).randbytes(3 * MIB)
LAX = FormatRules(require_match=False)


def inspect(data: bytes, disk_format: str, rules: FormatRules | None = None, size: int = 300_000) -> Facts:
    tap = FormatTap(disk_format, "bare", rules)
    stream = io.BytesIO(data)
    while chunk := stream.read(size):
        tap.feed(chunk)
    return tap.finish()


def with_footer(vmdk: bytes) -> bytes:
    """As VMware writes a stream: the header leaves the place of the grain directory to a footer."""
    header = vmdk[:56] + b"\xff" * 8 + vmdk[64:]
    marker = struct.pack("<QII", 1, 0, 3).ljust(512, b"\0")
    return header + marker + vmdk[:512] + bytes(512)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Images by format, 5 MiB of virtual size, made by qemu-img."""
    folder = tmp_path_factory.mktemp("images")
    raw = folder / "raw"
    raw.write_bytes(NOISE + bytes(2 * MIB))

    def convert(name: str, *options: str) -> bytes:
        target: Path = folder / (name + "".join(options))
        subprocess.run(["qemu-img", "convert", "-O", name, *options, raw, target], check=True)
        return target.read_bytes()

    return {
        "raw": raw.read_bytes(),
        "qcow2": convert("qcow2"),
        "vdi": convert("vdi"),
        "vhd": convert("vpc"),
        "vhdx": convert("vhdx"),
        "vmdk": convert("vmdk"),
        "vmdk-stream": with_footer(convert("vmdk", "-o", "subformat=streamOptimized")),
        "qed": convert("qed"),
        "luks": b"LUKS\xba\xbe\x00\x01" + bytes(96) + struct.pack(">II", 8, 32) + bytes(4096 - 112) + NOISE,
    }


def mbr(*partitions: bytes) -> bytes:
    return bytes(446) + b"".join(partitions).ljust(64, b"\0") + b"\x55\xaa"


GPT = mbr(bytes([0, 0, 2, 0, 0xEE, 0, 0, 0]) + struct.pack("<II", 1, 100))


def iso(system_area: bytes = b"", blocks: int = 1000) -> bytes:
    volume = bytearray(2048)
    volume[:6] = b"\x01CD001"
    volume[80:84] = struct.pack("<L", blocks)
    volume[128:130] = struct.pack("<H", 2048)
    return system_area.ljust(32768, b"\0") + bytes(volume) + NOISE


# What matches


@pytest.mark.parametrize("size", [512, 4096, 300_000, 1 << 30])
@pytest.mark.parametrize("name", ["qcow2", "vdi", "vhdx", "vmdk", "vmdk-stream"])
def test_a_format_as_declared_tells_its_virtual_size(made: dict[str, bytes], name: str, size: int) -> None:
    facts = inspect(made[name], name.partition("-")[0], size=size)
    assert facts == Facts(virtual_size=5 * MIB, detected_format=name.partition("-")[0])


def test_a_vhd_rounds_its_size_up(made: dict[str, bytes]) -> None:
    facts = inspect(made["vhd"], "vhd")
    assert facts.detected_format == "vhd"
    assert facts.virtual_size is not None
    assert 5 * MIB <= facts.virtual_size < 6 * MIB


def test_raw_as_declared_has_the_size_of_its_bytes() -> None:
    assert inspect(NOISE, "raw") == Facts(virtual_size=len(NOISE), detected_format="raw")


@pytest.mark.parametrize("data", [b"", b"x", b"QFI\xfb", NOISE[:511]])
def test_little_and_nothing_are_raw(data: bytes) -> None:
    assert inspect(data, "raw") == Facts(virtual_size=len(data), detected_format="raw")


def test_a_partitioned_disk_is_raw_without_a_warning() -> None:
    data = GPT + NOISE
    assert inspect(data, "raw") == Facts(virtual_size=len(data), detected_format="gpt")
    assert inspect(data, "gpt").detected_format == "gpt"


def test_an_iso_with_a_partition_table_is_an_iso() -> None:
    assert inspect(iso(GPT), "iso") == Facts(virtual_size=1000 * 2048, detected_format="iso")
    assert inspect(iso(), "iso").virtual_size == 1000 * 2048


def test_an_iso_that_is_bootable_needs_no_sane_partition_table() -> None:
    assert inspect(iso(bytes(510) + b"\x55\xaa"), "iso").detected_format == "iso"


def test_luks_counts_all_bytes_but_its_header(made: dict[str, bytes]) -> None:
    facts = inspect(made["luks"], "luks")
    assert facts.detected_format == "luks"
    assert facts.virtual_size == len(made["luks"]) - 8 * 512


@pytest.mark.parametrize("declared", ["ami", "ari", "aki", "ploop"])
def test_a_type_that_nobody_can_recognise_is_taken_when_nothing_else_is(declared: str) -> None:
    assert inspect(NOISE, declared) == Facts(virtual_size=len(NOISE), detected_format="raw")


def test_anything_declared_raw_is_taken_with_a_warning(made: dict[str, bytes]) -> None:
    facts = inspect(made["vhdx"], "raw")
    assert (facts.virtual_size, facts.detected_format) == (len(made["vhdx"]), "vhdx")
    assert facts.warnings == ("The content is vhdx although raw was declared.",)


# What does not


@pytest.mark.parametrize("declared", ["qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "gpt", "ploop"])
def test_another_format_than_declared_is_refused_by_name(made: dict[str, bytes], declared: str) -> None:
    data, actual = (made["vdi"], "vdi") if declared != "vdi" else (made["qcow2"], "qcow2")
    with pytest.raises(FormatMismatch, match=f"The content is {actual}, but {declared} was declared."):
        inspect(data, declared)
    facts = inspect(data, declared, LAX)
    assert (facts.virtual_size, facts.detected_format) == (5 * MIB, actual)
    assert facts.warnings == (f"The content is {actual}, but {declared} was declared.",)


@pytest.mark.parametrize("declared", ["qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso"])
@pytest.mark.parametrize("data", [NOISE, NOISE[:100], b""])
def test_what_is_no_format_at_all_is_refused(data: bytes, declared: str) -> None:
    with pytest.raises(FormatMismatch, match=f"The content is no known disk format, but {declared} was declared."):
        inspect(data, declared)


def test_a_mismatch_ends_the_stream_after_its_first_mebibyte(made: dict[str, bytes]) -> None:
    # The stream-optimised VMDK is undecided up to its last byte, but no qcow2 for certain.
    tap = FormatTap("qcow2", "bare")
    with pytest.raises(FormatMismatch, match="vmdk"):
        tap.feed(made["vmdk-stream"][:MIB].ljust(MIB, b"\0"))


def test_a_partitioned_iso_is_no_disk() -> None:
    with pytest.raises(FormatMismatch, match="The content is iso, but gpt was declared"):
        inspect(iso(GPT), "gpt")


def test_several_formats_at_once_are_refused(made: dict[str, bytes]) -> None:
    both = iso(made["qcow2"][:512])
    for declared in ("iso", "qcow2", "raw", "ploop"):
        with pytest.raises(FormatMismatch, match="several formats at once: iso, qcow2"):
            inspect(both, declared)
    assert "several formats at once" in inspect(both, "iso", LAX).warnings[0]


# What is not safe, whatever was declared


def patched(data: bytes, at: int, patch: bytes) -> bytes:
    return data[:at] + patch + data[at + len(patch) :]


def vmdk_text(extent: str, kind: str = "monolithicFlat", before: str = "") -> bytes:
    return (
        f'# Disk DescriptorFile\nversion=1\n{before}CID=1\nparentCID=ffffffff\ncreateType="{kind}"\n{extent}\n'
    ).encode()


@pytest.mark.parametrize("rules", [FormatRules(), LAX])
@pytest.mark.parametrize("as_raw", [False, True])
@pytest.mark.parametrize(
    ("base", "at", "patch", "said"),
    [
        ("qcow2", 8, struct.pack(">Q", 0x1000), "backing file"),
        ("qcow2", 72, struct.pack(">Q", 1 << 2), "keeps its data in another file"),
        ("qcow2", 72, struct.pack(">Q", 1 << 40), "features that are not known"),
        ("qcow2", 4, struct.pack(">I", 1), "version or features"),
        ("vmdk", 512 + 100, b'\ncreateType="monolithicFlat"\n', "descriptor"),
        ("vmdk-stream", -512, b"junk", "footer that contradicts"),
        ("luks", 6, b"\x00\x02", "version that is not supported"),
        ("qed", 0, b"", "not accepted"),
    ],
)
def test_an_unsafe_image_is_refused_also_as_raw(
    made: dict[str, bytes], base: str, at: int, patch: bytes, said: str, as_raw: bool, rules: FormatRules
) -> None:
    data = made[base]
    data = patched(data, at % len(data), patch)
    with pytest.raises(UnsafeImage, match=said):
        inspect(data, "raw" if as_raw else base.partition("-")[0], rules)


@pytest.mark.parametrize("declared", ["vmdk", "raw"])
@pytest.mark.parametrize(
    "text",
    [
        vmdk_text('RW 63 FLAT "/etc/passwd" 0'),
        vmdk_text('RW 63 FLAT "/etc/passwd" 0', before="# " + "x" * 600 + "\n"),
        vmdk_text('RW 63 FLAT "/etc/passwd" 0').ljust(2 * MIB, b" "),
        vmdk_text('RW 63 SPARSE "a/b" 0', "monolithicSparse"),
        vmdk_text('RW 63 SPARSE "disk" 0', "monolithicSparse"),
        vmdk_text('RW 63 FLAT "/etc/passwd" 0', before="# " + "x" * 600 + "\u00fc\n"),
    ],
    ids=["flat", "late", "padded", "path", "textual", "not ASCII"],
)
@pytest.mark.parametrize("size", [64, 512, 1 << 30])
def test_a_textual_vmdk_never_passes(text: bytes, declared: str, size: int) -> None:
    if declared == "raw" and b'SPARSE "disk"' in text:
        # Harmless as raw: it points nowhere.
        assert inspect(text, declared, size=size).warnings
        return
    with pytest.raises(UnsafeImage, match="vmdk"):
        inspect(text, declared, size=size)


def test_a_text_that_is_no_descriptor_is_raw() -> None:
    script = b"#!/bin/sh\n" + b"# text\n" * 200 + "ü".encode() + NOISE
    assert inspect(script, "raw") == Facts(virtual_size=len(script), detected_format="raw")


@pytest.mark.parametrize(
    "table",
    [
        mbr(b"\x42" + bytes(15)),
        mbr(),
        mbr(bytes([0, 0, 9, 0, 0xEE, 0, 0, 0]) + struct.pack("<II", 1, 100)),
        mbr(bytes([0, 0, 2, 0, 0xEE, 0, 0, 0]) + struct.pack("<II", 7, 100)),
        mbr(GPT[446:462], bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + struct.pack("<II", 1, 100)),
    ],
    ids=["boot flag", "no partition", "CHS", "LBA", "extra"],
)
def test_a_senseless_partition_table_is_refused_unless_tolerated(table: bytes) -> None:
    with pytest.raises(UnsafeImage, match="partition table that makes no sense"):
        inspect(table + NOISE, "raw")
    tolerated = inspect(table + NOISE, "raw", FormatRules(gpt_nonfatal=("mbr",)))
    assert tolerated.warnings == ("The gpt image has a partition table that makes no sense.",)


def test_a_boot_sector_of_fat_is_no_partition_table() -> None:
    sector = bytearray(512)
    sector[0x10], sector[0x15], sector[510:] = 2, 0xF8, b"\x55\xaa"
    assert inspect(bytes(sector) + NOISE, "raw").detected_format == "raw"


def test_an_absurd_virtual_size_is_refused(made: dict[str, bytes]) -> None:
    with pytest.raises(UnsafeImage, match="virtual size of 18446744073709551615 bytes"):
        inspect(patched(made["qcow2"], 24, b"\xff" * 8), "qcow2")


def test_headers_that_break_off_are_refused(made: dict[str, bytes]) -> None:
    with pytest.raises((UnsafeImage, FormatMismatch)):
        inspect(made["vmdk-stream"][:700], "vmdk")
    with pytest.raises((UnsafeImage, FormatMismatch)):
        inspect(made["vhdx"][:100_000], "vhdx")
    with pytest.raises(FormatMismatch, match="headers make no sense"):
        inspect(patched(made["vhdx"], 192 * 1024, b"nope"), "vhdx")


# What is not looked into


@pytest.mark.parametrize("container", ["compressed", "ovf", "ova", "docker", "ami"])
def test_only_bare_images_are_judged(made: dict[str, bytes], container: str) -> None:
    tap = FormatTap("qcow2", container)
    tap.feed(made["qed"])
    assert tap.finish() == Facts()


def test_a_raw_image_costs_nothing_after_its_first_mebibyte() -> None:
    tap = FormatTap("raw", "bare")
    tap.feed(NOISE)
    assert tap._inspectors == []
