"""What can go wrong while bytes move, in types that say whose fault it is.

Every class has a stable `code` and a `transient` flag (can trying again help?). The text is shown to users: it says
what happened in figures (HTTP status, bytes received of expected) and never holds a secret or an internal name.
"""

from typing import ClassVar


class TransferError(Exception):
    """The transfer cannot go on."""

    code: ClassVar[str] = "transfer_error"
    transient: bool = False


class SourceError(TransferError):
    """The fault lies with where the bytes come from."""

    code = "source_error"


class SourceRefused(SourceError):
    """Policy does not allow this URI, a redirect of it, or the address it leads to; `reason` says why, alone."""

    code = "source_refused"

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SourceUnreachable(SourceError):
    """No connection, no name, no valid certificate, or a time-out before the first byte."""

    code = "source_unreachable"
    transient = True


class SourceAnswered(SourceError):
    """The source answered with an HTTP status that is no success; transient for 408, 425, 429 and 5xx."""

    code = "source_http_status"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
        self.transient = status in (408, 425, 429) or status >= 500


class SourceBroken(SourceError):
    """The body ended early, ran too long, or changed while it was being resumed."""

    code = "source_broken"
    transient = True


class SourceStalled(SourceError):
    """The source fell silent for longer than the idle timeout."""

    code = "source_stalled"
    transient = True


class SourceUnreadable(SourceError):
    """No copy of the data could be read to its end; the text names each store and its reason.

    Transient when one of them may answer better later.
    """

    code = "source_unreadable"

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class EndUnknown(SourceError):
    """Nothing vouches for the end of the body, so a truncated one would look complete."""

    code = "source_end_unknown"


class TooBig(TransferError):
    """More bytes than the size cap, the declared size or the expansion limit allow."""

    code = "too_big"


class Corrupt(TransferError):
    """A compressed stream is damaged, truncated, or followed by something that does not belong to it."""

    code = "corrupt"


class FormatMismatch(TransferError):
    """The content is not the declared `disk_format`, or several formats at once."""

    code = "format_mismatch"


class UnsafeImage(TransferError):
    """The content refers to something outside itself or hides data (import-behaviour §4.5)."""

    code = "unsafe_image"


class ChecksumMismatch(TransferError):
    """The bytes are not those that were promised; the text shows both values."""

    code = "checksum_mismatch"


class ChecksumUnknown(TransferError):
    """The named file of sums cannot be read, or does not say clearly what the bytes should be."""

    code = "checksum_unknown"

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class Interrupted(TransferError):
    """Somebody asked this transfer to stop (cancel, hand-back, lost lease): `why` says which."""

    code = "interrupted"

    def __init__(self, why: str) -> None:
        super().__init__(f"stopped: {why}")
        self.why = why


class NothingStored(TransferError):
    """No store kept the bytes; `failures` maps the store id to its error."""

    code = "nothing_stored"

    def __init__(self, failures: dict[str, Exception]) -> None:
        super().__init__("; ".join(str(error) for _, error in sorted(failures.items())))
        self.failures = failures
        self.transient = bool(failures) and all(getattr(e, "transient", False) for e in failures.values())
