"""The upload that comes before an import of what is here, with its progress."""

import time
from collections.abc import Iterator

from rich.console import Console

from cli import words
from cli.client import Client
from cli.origins import Data
from cli.progress import shown_on
from cli.watch import Snapshot, View

EVERY = 0.1
"""Seconds between two looks at how much was sent."""


def upload(client: Client, image_id: str, data: Data, out: Console) -> None:
    """Send the data to wait for the import into a queued image, shown on `out`. Raises `ClientError`."""
    began = time.monotonic()
    with shown_on(out, "upload") as view:
        meter = _Meter(view, data.size)
        client.stage(image_id, meter.counting(data.chunks()), data.size)
        meter.show("success")
    took = words.duration(time.monotonic() - began)
    out.print(f"Uploaded {words.size(meter.sent)} in {took}.", markup=False, soft_wrap=True)


class _Meter:
    """Counts what is sent, and shows it as if it were the source of an import that has no stores yet."""

    def __init__(self, view: View, size: int | None) -> None:
        self.sent = 0
        self._view, self._size = view, size

    def counting(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks."""
        shown = float("-inf")
        for chunk in chunks:
            if time.monotonic() - shown >= EVERY:
                self.show("processing")
                shown = time.monotonic()
            yield chunk
            self.sent += len(chunk)
        self.show("processing")

    def show(self, status: str) -> None:
        """Show how much was sent by now."""
        self._view.show(Snapshot("", status, "uploading", 1, "", self.sent, self._size, ()))
