"""Is the content what it is declared to be, and safe to give to a hypervisor? The rules are import-behaviour §4.5.

The inspectors are those of oslo.utils, which Glance, Nova and Cinder share. They are driven one by one instead of by
its `InspectWrapper`: there an inspector that stumbles while being asked (a text that is almost a VMDK descriptor)
takes the answer of all others with it, and none may leave before the last byte.
"""

from dataclasses import dataclass
from typing import Final, Protocol, cast

from oslo_utils.imageutils import format_inspector

from pipeline.errors import FormatMismatch, UnsafeImage
from pipeline.facts import Facts, Tap

# The first feed must be this large. An inspector that looks for a VMDK descriptor in plain text takes the first
# piece it is given for the whole descriptor (up to 1 MiB), so a smaller piece would hide what comes later.
_HEAD: Final = 1 << 20
_PIECE: Final = 32 * 1024
_DESCRIPTOR: Final = b"createtype="
_MOST: Final = 2**63 - 1

_SAID: Final = {
    "backing_file": "refers to a backing file",
    "data_file": "keeps its data in another file",
    "unknown_features": "uses a version or features that are not known",
    "descriptor": "has a descriptor that is not acceptable (monolithicSparse or streamOptimized, without paths)",
    "footer": "has a footer that contradicts its header",
    "mbr": "has a partition table that makes no sense",
    "version": "is of a version that is not supported",
    "banned": "is of a format that is not accepted",
    "readable": "ends before its headers do, or they cannot be read",
}


@dataclass(frozen=True, slots=True)
class FormatRules:
    """What the operator configured in Glance's section `[image_format]`.

    `require_match`: the content must be what `disk_format` says. `gpt_nonfatal`: names of safety checks of partition
    tables (`mbr`) whose failure is only a warning.
    """

    require_match: bool = True
    gpt_nonfatal: tuple[str, ...] = ()


class _Inspector(Protocol):
    """The public part of an oslo.utils inspector that is used here."""

    NAME: str

    @property
    def complete(self) -> bool: ...

    @property
    def format_match(self) -> bool: ...

    @property
    def virtual_size(self) -> int: ...

    def eat_chunk(self, chunk: bytes) -> None: ...

    def finish(self) -> None: ...

    def safety_check(self) -> None: ...


_KNOWN: Final = {
    name: make
    for name, make in cast("dict[str, type[_Inspector]]", format_inspector.ALL_FORMATS).items()
    if name != "raw"  # the absence of all others, here
}


class FormatTap(Tap):
    """Detects the format in the stream and vetoes what was not declared or is not safe, as early as it is known.

    Judges only images in the `bare` container: what is inside others is none of its business. Inspectors that have
    decided against the content are not fed any further, so after the first MiB a raw image costs next to nothing.
    """

    def __init__(self, disk_format: str, container_format: str, rules: FormatRules | None = None) -> None:
        self._declared = disk_format
        self._rules = rules or FormatRules()
        self._bare = container_format == "bare"
        self._size = 0
        self._head: list[bytes] | None = []
        self._settled = False
        self._inspectors = [_Probe(make()) for make in _KNOWN.values()] if self._bare else []

    def feed(self, chunk: bytes) -> None:
        """Raises `FormatMismatch`, `UnsafeImage`."""
        if not self._bare:
            return
        self._size += len(chunk)
        if self._head is None:
            self._inspect(chunk)
        else:
            self._head.append(chunk)
            if self._size >= _HEAD:
                self._inspect_head()

    def finish(self) -> Facts:
        """Facts: `virtual_size`, `detected_format`, `warnings`; none outside of `bare`. Raises as `feed` does."""
        if not self._bare:
            return Facts()
        self._inspect_head()
        for probe in self._inspectors:
            probe.inspector.finish()
        return self._judge()

    def _inspect_head(self) -> None:
        if self._head is not None:
            head, self._head = b"".join(self._head), None
            self._inspect(head)

    def _inspect(self, chunk: bytes) -> None:
        for probe in self._inspectors:
            if not probe.broken:  # a sure one sees more too: its virtual size may be the count of all bytes
                probe.feed(chunk)
        if self._settled:
            return
        undecided = any(not probe.decided for probe in self._inspectors)
        self._inspectors = [probe for probe in self._inspectors if not probe.decided or probe.matches]
        if not undecided:
            self._judge()
            self._settled = True
        elif self._rules.require_match and self._declared in _KNOWN.keys() - self._names():
            # The declared format is out of the race; which of the others it is need not be waited for.
            raise self._mismatch(" or ".join(sorted(p.name for p in self._inspectors if p.matches)))

    def _names(self) -> set[str]:
        """The formats that the content is, or may still turn out to be."""
        return {probe.name for probe in self._inspectors}

    def _judge(self) -> Facts:
        found = {probe.name: probe for probe in self._inspectors if probe.matches}
        if found.keys() == {"iso", "gpt"}:
            del found["gpt"]  # a bootable ISO has a partition table too
        warnings = []
        if len(found) > 1:
            said = f"The content is several formats at once: {', '.join(sorted(found))}."
            if self._rules.require_match:
                raise FormatMismatch(said)
            warnings.append(said)
        for probe in found.values():
            warnings += self._unsafe(probe)
        detected = self._declared if self._declared in found else min(found, default="raw")
        warnings += self._compared(detected)
        measured = detected != "raw" and self._declared != "raw"
        virtual_size = found[detected].virtual_size if measured else self._size
        return Facts(virtual_size=virtual_size, detected_format=detected, warnings=tuple(warnings))

    def _compared(self, detected: str) -> list[str]:
        """Compare with what was declared; return warnings or raise `FormatMismatch`."""
        declared = self._declared
        if detected == declared or (detected == "raw" and declared not in _KNOWN):
            return []
        if declared == "raw":
            # A disk with a partition table is what raw means most of the time.
            return [] if detected == "gpt" else [f"The content is {detected} although raw was declared."]
        mismatch = self._mismatch(detected)
        if self._rules.require_match:
            raise mismatch
        return [str(mismatch)]

    def _mismatch(self, detected: str) -> FormatMismatch:
        what = detected if detected not in ("", "raw") else "no known disk format"
        return FormatMismatch(f"The content is {what}, but {self._declared} was declared.")

    def _unsafe(self, probe: "_Probe") -> list[str]:
        """Run the safety checks of a format; return warnings or raise `UnsafeImage`."""
        tolerated = self._rules.gpt_nonfatal if probe.name == "gpt" else ()
        failed = sorted(probe.failed_checks())
        said = [f"The {probe.name} image {_SAID.get(check, f'fails the check {check}')}." for check in failed]
        if not set(failed) <= set(tolerated):
            raise UnsafeImage(" ".join(said))
        if probe.broken and probe.name == self._declared:
            raise FormatMismatch(f"The content begins like {probe.name}, but its headers make no sense.")
        return said


class _Probe:
    """One inspector, and what it has made of the content so far."""

    def __init__(self, inspector: _Inspector) -> None:
        self.inspector = inspector
        self.name = inspector.NAME
        self.broken = False
        self._fed = False
        self._descriptor = False

    @property
    def decided(self) -> bool:
        """Whether more bytes can no longer change its answer."""
        return self.broken or self.inspector.complete

    @property
    def matches(self) -> bool:
        """Whether the content is of its format."""
        try:
            return self.inspector.format_match
        except Exception:  # noqa: BLE001 - asked about a text that it could not parse, it has been seen to stumble
            return self._descriptor

    @property
    def virtual_size(self) -> int | None:
        """Size of the disk in bytes, None when the headers do not say. Raises `UnsafeImage` for an absurd one."""
        try:
            size = self.inspector.virtual_size
        except Exception as error:
            raise UnsafeImage(f"The {self.name} image does not say its virtual size.") from error
        if size > _MOST:
            raise UnsafeImage(f"The {self.name} image claims a virtual size of {size} bytes.")
        return size if size > 0 else None

    def feed(self, chunk: bytes) -> None:
        if not self._fed:
            # What may be a VMDK descriptor must not slip through because it is a bad one.
            self._descriptor = self.name == "vmdk" and _DESCRIPTOR in chunk[:_HEAD].lower()
        self._fed = True
        # The VHDX inspector finds one header per piece, so the pieces must be smaller than what lies between them.
        step = _PIECE if self.name == "vhdx" and not self.decided else len(chunk) or 1
        try:
            for start in range(0, len(chunk), step):
                self.inspector.eat_chunk(chunk[start : start + step])
        except Exception:  # noqa: BLE001 - of any kind, on purpose: it is how an inspector says "not mine"
            self.broken = True

    def failed_checks(self) -> frozenset[str]:
        """Names of the safety checks that this content fails."""
        try:
            self.inspector.safety_check()
        except format_inspector.SafetyCheckFailed as error:
            return frozenset(error.failures)
        except Exception:  # noqa: BLE001 - cannot be checked, so it is not safe
            return frozenset({"readable"})
        return frozenset()
