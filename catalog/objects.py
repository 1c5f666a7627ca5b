"""The record of every object key ever written to (import-behaviour §9 P10): what nobody needs goes."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from catalog import tables as t
from catalog.engine import Database

UNCLAIMED = ("writing", "stored")
"""States of an object that no location names."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object to delete now. `last` says that its grace period is over, so that it can be forgotten afterwards."""

    store: str
    object_key: str
    last: bool


def discard(
    connection: Connection, database: Database, which: ColumnElement[bool], *, grace: float, due_in: float = 0.0
) -> list[str]:
    """Declare objects garbage, to be deleted `due_in` seconds from now and again until `grace` seconds have passed.

    Again, because a paused worker may wake up and complete its write after the first deletion. Returned is the id of
    each one's image.
    """
    gone = connection.execute(
        update(t.objects)
        .where(which, t.objects.c.state != "garbage")
        .values(state="garbage", collect_at=database.after(due_in), forget_at=database.after(grace))
        .returning(t.objects.c.image_id)
    )
    return list(gone.scalars())


def take_garbage(
    connection: Connection,
    database: Database,
    *,
    again_after: float,
    limit: int,
    image_id: str | None = None,
    host: str | None = None,
) -> list[Garbage]:
    """Choose objects that are due, and put off their next turn by `again_after` seconds: nobody else gets them now.

    What only one host can reach is left to it: chosen are objects for every host, and those for `host`.
    """
    obj, now = t.objects.c, database.now()
    reachable = or_(obj.host.is_(None), obj.host == host)
    due = select(obj.store, obj.object_key).where(obj.state == "garbage", obj.collect_at <= now, reachable)
    if image_id is not None:
        due = due.where(obj.image_id == image_id)
    chosen = connection.execute(due.order_by(obj.collect_at).limit(limit).with_for_update(skip_locked=True)).all()
    taken = []
    for store, key in chosen:
        row = connection.execute(
            update(t.objects)
            .where(obj.store == store, obj.object_key == key)
            .values(collect_at=database.after(again_after))
            .returning((obj.forget_at <= now).label("last"))
        ).one()
        taken.append(Garbage(store, key, bool(row.last)))
    return taken


def forget(connection: Connection, garbage: Garbage) -> None:
    """Drop the record of an object that was deleted after its grace period."""
    obj = t.objects.c
    connection.execute(
        delete(t.objects).where(
            obj.store == garbage.store, obj.object_key == garbage.object_key, obj.state == "garbage"
        )
    )
