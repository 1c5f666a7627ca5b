"""The tables of `schema.sql` for SQLAlchemy Core. That file is the truth; `tests/catalog/test_drift.py` compares."""

from sqlalchemy import BigInteger, Boolean, Column, ColumnElement, MetaData, Table, Text, literal_column

metadata = MetaData()


def _table(name: str, keys: str, text: str = "", numbers: str = "", flags: str = "") -> Table:
    """Name the columns by type; `keys` are the (textual) primary key columns. Constraints live in schema.sql alone."""
    columns: list[Column[object]] = [Column(c, Text, primary_key=True) for c in keys.split()]
    columns += [Column(c, Text) for c in text.split()]
    columns += [Column(c, BigInteger) for c in numbers.split()]
    columns += [Column(c, Boolean) for c in flags.split()]
    return Table(name, metadata, *columns)


schema_version = Table("schema_version", metadata, Column("version", BigInteger, primary_key=True))

images = _table(
    "images",
    "id",
    text="status name owner visibility container_format disk_format checksum os_hash_algo os_hash_value",
    numbers="min_disk min_ram size virtual_size created_at updated_at deleted_at",
    flags="protected os_hidden",
)

image_properties = _table("image_properties", "image_id name", text="value")

image_tags = _table("image_tags", "image_id tag")

image_members = _table("image_members", "image_id member", text="status", numbers="created_at updated_at")

locations = _table("locations", "image_id store object_key", text="url metadata", numbers="created_at")

tasks = _table(
    "tasks",
    "id",
    text="image_id type flow status owner user_id request_id input source host facts result message error_code phase",
    numbers="step bytes_done bytes_total attempt sent_at next_attempt_at created_at updated_at expires_at",
    flags="all_stores_must_succeed cancel_requested",
)

targets = _table(
    "targets",
    "task_id store",
    text="image_id state error_code reason",
    numbers="position bytes_done updated_at",
    flags="current",
)

current_target: ColumnElement[bool] = literal_column("targets.current")
"""The flag as bare as the index on current targets has it: in any other spelling, a database does not use the index."""

image_locks = _table(
    "image_locks",
    "image_id",
    text="os_glance_import_task owner",
    numbers="fence acquired_at heartbeat_at expires_at",
)

attempts = Table(
    "attempts",
    metadata,
    Column("image_id", Text, primary_key=True),
    Column("fence", BigInteger, primary_key=True, autoincrement=False),
    *(Column(c, Text) for c in ["task_id", "worker", "outcome", "error_code", "message"]),
    *(Column(c, BigInteger) for c in ["step", "number", "started_at", "ended_at"]),
)

objects = _table(
    "objects",
    "store object_key",
    text="image_id task_id host state",
    numbers="size created_at kept_until collect_at forget_at",
)
