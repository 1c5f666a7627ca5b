"""The import method `copy-image`: from the stores that hold an image into others, while it stays active and readable
(import-behaviour §1.7 [R]).

The bytes must be those that the catalogue knows, or nothing is stored; no plugin ever sees them (bug 1885725).
"""

import hashlib

from catalog.fenced import Fenced
from catalog.images import ImageRecord
from flows.bring import finish, image_of, locate, move, new_keys, record, take_back
from flows.checksums import refuse_checksum
from flows.errors import ImageNotReady
from flows.flow import Admission, Facts, Flow, ImportRequest, Record, Step, StepContext
from flows.locations import settled
from flows.runtime import Runtime
from pipeline.errors import ChecksumMismatch, SourceUnreadable, TransferError
from pipeline.stored import Copy, StoreSource
from pipeline.taps import HashTap, Tap, Threaded
from pipeline.transfer import TransferResult
from stores.errors import StoreError


def _admit(runtime: Runtime, request: ImportRequest, image: ImageRecord) -> Admission:
    """That the image is active says it all: so it has formats and data."""
    refuse_checksum(request)
    if not image.locations:
        raise ImageNotReady(f"Image {image.id} has no data to copy.")
    return Admission({})


def _transfer(ctx: StepContext) -> Record:
    keys = new_keys(ctx)
    copies = _Copies(ctx, image_of(ctx))
    result = copies.copied(keys)

    def recorded(tx: Fenced) -> Facts:
        return {**record(tx, keys, result), "warnings": copies.said()}

    return recorded


class _Copies:
    """The copies of one image, read in as many passes as it takes until the bytes are right.

    A pass that brought wrong bytes left nothing visible. The next does without the copy that gave them; if several
    took turns, one of them is corrupt, and from then on each is read alone, which tells the good from the bad.
    """

    def __init__(self, ctx: StepContext, image: ImageRecord) -> None:
        self._ctx, self._image = ctx, image
        self._left: list[Copy] = []
        self._corrupt: list[Copy] = []
        self._together: list[Copy] = []
        self._mismatches: list[str] = []
        self._trouble: dict[str, StoreError] = {}
        self._unread: list[SourceUnreadable] = []
        stores = ctx.runtime.stores
        for place in stores.by_weight(settled(ctx.runtime, image).locations):
            try:
                self._left.append(Copy(stores.get(place.store), place.object_key))
            except StoreError as error:
                self._trouble[place.store] = error

    def copied(self, keys: dict[str, str]) -> TransferResult:
        """Copy to `keys`. Raises as `move` does; `ChecksumMismatch` only when every copy is corrupt."""
        phase = "copying"
        while True:
            source = self._source()
            try:
                result = move(self._ctx, source, keys, _taps(self._image), expand=None, phase=phase)
            except ChecksumMismatch as error:
                self._accuse(_givers(source), error)
            except SourceUnreadable as error:
                self._unread.append(error)
                self._left = self._left[1:] if self._together else []
            else:
                self._acquit(_givers(source))
                return result
            finally:
                self._trouble |= {error.store: error for error in source.skipped}
            if not self._left:
                raise self._failure()
            phase = "copying again"

    def said(self) -> list[str]:
        """What deserves a look although the copying succeeded, in sentences."""
        said = [*self._mismatches, *(f"Trouble while reading: {error}." for error in self._trouble.values())]
        if not _taps(self._image):
            said.append("No hash of the image is known, so that only its size was compared.")
        return said

    def _source(self) -> StoreSource:
        assert self._image.size is not None  # a rule of the schema: an active image is whole
        return StoreSource(
            self._left[:1] if self._together else self._left,
            self._image.size,
            idle_timeout=self._ctx.runtime.options.store_idle_timeout,
            skipped=[] if self._together else self._trouble.values(),
        )

    def _accuse(self, givers: list[Copy], mismatch: ChecksumMismatch) -> None:
        if not givers:
            raise mismatch  # nobody gave a byte, since the image has none: what is wrong is the hash
        if len(givers) > 1:
            self._together = givers
            return
        self._left = [copy for copy in self._left if copy not in givers]
        self._corrupt += givers
        self._mismatches.append(f"The copy in store {_names(givers)} is corrupt. {mismatch}")

    def _acquit(self, givers: list[Copy]) -> None:
        """If copies were wrong together and none of them alone, the fault is with those that were not needed now."""
        if not any(copy in self._corrupt for copy in self._together):
            others = [copy for copy in self._together if copy not in givers]
            if others:
                self._mismatches.append(f"The copy in store {_names(others)} gave wrong bytes: it should be looked at.")

    def _failure(self) -> TransferError:
        text = " ".join([*self._mismatches, *map(str, self._unread)])
        if not self._unread:
            return ChecksumMismatch(text)
        return SourceUnreadable(text, transient=any(error.transient for error in self._unread))


def _givers(source: StoreSource) -> list[Copy]:
    """The copies that gave bytes, each once."""
    givers: list[Copy] = []
    for stretch in source.used:
        if stretch.copy not in givers:
            givers.append(stretch.copy)
    return givers


def _names(copies: list[Copy]) -> str:
    return " or ".join(copy.store.id for copy in copies)


def _taps(image: ImageRecord) -> list[Tap]:
    """The veto: the image's hash, or its md5 if nothing else is known. The size is the source's own duty."""
    known = ((image.os_hash_algo, image.os_hash_value), ("md5", image.checksum))
    for algorithm, expected in known:
        if algorithm and expected and algorithm in hashlib.algorithms_available:
            return [Threaded(HashTap(algorithm, expected, of="its bytes"), f"{algorithm}-{image.id[:8]}")]
    return []


COPY_IMAGE = Flow(
    name="copy-image",
    steps=(
        Step("transfer", _transfer, reads_source=True),
        Step("publish", locate),
        Step("finish", finish, can_be_called_off=False),
    ),
    begins_from="active",
    rule="copy_image",
    admit=_admit,
    undo=take_back,
)
