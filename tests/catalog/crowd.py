"""Many images at once, as a cloud of some years has them, written by PostgreSQL itself within seconds."""

from sqlalchemy import Connection, text

BIG = "project-big"
"""Owns every tenth image; of the other owners, each has about eighty."""

SMALL = "project-1"

_FILL = f"""
CREATE TEMPORARY TABLE crowd ON COMMIT DROP AS SELECT
    n, gone, md5('image' || n || gone)::uuid::text AS id, md5('task' || n)::uuid::text AS task,
    CASE WHEN n % 10 = 0 THEN '{BIG}' ELSE 'project-' || (n * 7919 % (:count / 80 + 1)) END AS owner,
    CASE WHEN gone THEN 'deleted' WHEN n % 200 = 2 THEN 'importing' WHEN n % 50 = 4 THEN 'queued'
         WHEN n % 500 = 6 THEN 'deactivated' ELSE 'active' END AS status,
    1700000000000000 + n * 60000000::bigint AS made
FROM generate_series(1, :count) AS n, LATERAL (VALUES (FALSE), (TRUE)) AS g (gone);

INSERT INTO images SELECT
    id, status,
    CASE WHEN n % 50 <> 8 THEN 'image-' || (n * 104729::bigint % (:count / 4 + 1)) END,
    owner,
    CASE WHEN n % 100 = 11 THEN 'public' WHEN n % 100 = 31 THEN 'community'
         WHEN n % 10 < 4 THEN 'private' ELSE 'shared' END,
    n % 100 = 12, n % 100 = 14,
    'bare', CASE WHEN n % 200 = 16 THEN 'iso' WHEN n % 10 < 5 THEN 'raw' ELSE 'qcow2' END,
    0, 512,
    CASE WHEN status NOT IN ('queued', 'importing') THEN n * 15485863::bigint % 1000003 * 65536 END, NULL,
    md5(id), 'sha512', md5(id) || md5(task) || md5('a' || n) || md5('b' || n),
    made, made + n * 32452843::bigint % 86400000000, CASE WHEN gone THEN made + 86400000000 END
FROM crowd;

INSERT INTO image_properties SELECT id, name, value FROM crowd, LATERAL (VALUES
    ('os_distro', CASE WHEN n % 2000 = 18 THEN 'plan9' WHEN n % 3 = 0 THEN 'debian' ELSE 'ubuntu' END),
    ('os_version', (n % 12 + 1)::text), ('architecture', 'x86_64'), ('hw_disk_bus', 'virtio')) AS p (name, value)
WHERE NOT gone OR name = 'os_distro';

INSERT INTO image_tags SELECT id, tag FROM crowd, LATERAL (VALUES
    (CASE WHEN n % 2000 = 20 THEN 'golden' ELSE 'nightly' END), ('team-' || n % 41)) AS t (tag)
WHERE NOT gone AND n % 2 = 0;

INSERT INTO locations SELECT id, store, id || '.1', 'file:///' || store || '/' || id, made
FROM crowd, LATERAL (VALUES ('a'), ('b')) AS s (store) WHERE status IN ('active', 'deactivated');

INSERT INTO tasks SELECT
    task, id, 'api_image_import', 'web-download', 1,
    CASE WHEN status = 'importing' THEN 'processing' ELSE 'success' END,
    owner, 'u', 'req-1', '{{}}', '{{}}', NULL, '{{}}', NULL, '', NULL, TRUE, FALSE, '', 0, NULL, 1, NULL, NULL,
    made, made, CASE WHEN status = 'importing' THEN NULL ELSE made END
FROM crowd WHERE NOT gone AND status <> 'queued';

INSERT INTO targets SELECT
    task, id, store, 0, CASE WHEN status = 'importing' THEN 'copying' ELSE 'done' END, TRUE, 0, NULL, '', made
FROM crowd, LATERAL (VALUES ('a'), ('b')) AS s (store) WHERE NOT gone AND status <> 'queued';

INSERT INTO image_locks (image_id, os_glance_import_task, fence, acquired_at)
SELECT id, held, 1, CASE WHEN held IS NOT NULL THEN made END
FROM crowd, LATERAL (SELECT CASE WHEN status = 'importing' THEN task END) AS h (held);
"""


def fill(connection: Connection, count: int) -> None:
    """Write `count` images with all that belongs to them, and the rows that as many deleted ones have left behind.

    Only for PostgreSQL. The newest image has the highest number; statistics are gathered at the end.
    """
    # Rows that fit each other by construction need no trigger to say so, and come ten times as fast.
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    for statement in _FILL.strip().split(";\n"):
        connection.execute(text(statement), {"count": count} if ":count" in statement else {})
    connection.execute(text("ANALYZE"))
