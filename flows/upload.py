"""Uploading: the body of a request becomes the data of an image at once, in one store (http-api §5.1)."""

from flows.data import checks, hashes, known_of, require_formats
from flows.limits import largest
from flows.reception import Reception, require_fitting
from flows.runtime import Runtime
from pipeline.sources import Source


def upload(runtime: Runtime, image_id: str, store_id: str, source: Source, size: int | None) -> None:
    """Make the bytes of `source` the data of the queued image, in one pass; it is active when this returns.

    They are inspected and hashed as an import's are, but never decompressed: nobody asked for that (import-behaviour
    §4.1). `size` is how many were announced. Raises, beside what `stage` raises of source, catalogue and size:
    `FormatsMissing`, `FormatMismatch`, `UnsafeImage`, and the `StoreError` of the store, also `UnknownStore` and
    `ReadOnlyStore`. What is left behind then is told at `Reception`.
    """
    store = runtime.stores.writable(store_id)
    require_fitting(size, runtime.options.image_size_cap)
    reception = Reception(runtime, image_id, store)
    with runtime.catalog.begin() as tx:
        image = tx.images.get_to_change(image_id)
        if image.status == "queued":
            # In another status there is a better reason to refuse it.
            require_formats(image, "its data is uploaded")
        tx.uploads.begin(reception.upload, host=None, lease=reception.lease, status="saving")
    with reception:
        taps = [*checks(runtime, image, cap=largest(runtime, image.owner)), *hashes(runtime, image)]
        result = reception.receive(source, size, taps)
        known = known_of(runtime, image, result.facts)
        url = store.url(reception.upload.key)
        reception.record(lambda tx: tx.uploads.published(reception.upload, url, known))
