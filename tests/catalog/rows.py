"""What catalogue tests begin with: an image, a task that holds it, and the catalogue around them."""

import uuid

from catalog.catalog import Catalog
from catalog.images import NewImage
from catalog.tasks import NewTask


def new_image(catalog: Catalog, **columns: object) -> str:
    """An image that may be imported into; returns its id."""
    image_id = str(uuid.uuid4())
    given: dict[str, object] = {"owner": "p", "disk_format": "raw", "container_format": "bare"}
    with catalog.begin() as tx:
        tx.images.create(NewImage(image_id, **(given | columns)))  # type: ignore[arg-type]
    return image_id


def new_task(image_id: str, stores: tuple[str, ...] = ("a",), *, must_all: bool = True) -> NewTask:
    """A web download of that image."""
    return NewTask(
        id=str(uuid.uuid4()),
        image_id=image_id,
        flow="web-download",
        stores=stores,
        input={"image_id": image_id},
        source="http://h/x",
        all_stores_must_succeed=must_all,
        owner="p",
        user_id="u",
        request_id="req-1",
    )


def importing(catalog: Catalog, stores: tuple[str, ...] = ("a",), *, must_all: bool = True) -> tuple[str, str]:
    """An image with a fresh task; returns both ids."""
    image_id = new_image(catalog)
    task = new_task(image_id, stores, must_all=must_all)
    catalog.request_import(task)
    return image_id, task.id
