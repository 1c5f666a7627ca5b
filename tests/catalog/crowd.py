"""Many images at once, as a cloud of some years has them, written by PostgreSQL itself within seconds."""

from sqlalchemy import Connection, text

BIG = "project-big"
"""Owns every tenth image; of the other owners, each has about eighty."""

SMALL = "project-1"

_DICE = ", ".join(f"('x' || left(md5('{salt}' || n), 7))::bit(28)::int" for salt in "abcdefg")
"""Numbers below 2^28 that have nothing to do with each other, and are the same every time."""

_FILL = f"""
CREATE TEMPORARY TABLE crowd ON COMMIT DROP AS SELECT
    n, gone, md5('image' || n || gone)::uuid::text AS id, md5('task' || n)::uuid::text AS task,
    CASE WHEN a % 10 = 0 THEN '{BIG}' ELSE 'project-' || b % (:count / 80 + 1) END AS owner,
    CASE WHEN gone THEN 'deleted' WHEN c % 200 = 0 THEN 'importing' WHEN c % 50 = 1 THEN 'queued'
         WHEN c % 500 = 2 THEN 'deactivated' ELSE 'active' END AS status,
    1700000000000000 + n * 60000000::bigint AS made, d, e, f, g
FROM generate_series(1, :count) AS n, LATERAL (VALUES (FALSE), (TRUE)) AS h (gone),
    LATERAL (SELECT {_DICE}) AS dice (a, b, c, d, e, f, g);

INSERT INTO images SELECT
    id, status, CASE WHEN d % 50 <> 0 THEN 'image-' || d % (:count / 4 + 1) END, owner,
    CASE WHEN e % 100 = 0 THEN 'public' WHEN e % 100 = 1 THEN 'community' WHEN e % 10 < 4 THEN 'private'
         ELSE 'shared' END,
    f % 1000 = 0, f % 1000 = 1, 'bare', CASE WHEN g % 2 = 0 THEN 'raw' ELSE 'qcow2' END, 0, 512,
    CASE WHEN status NOT IN ('queued', 'importing') THEN d % 1000003 * 65536::bigint END, NULL,
    md5(id), 'sha512', md5(id) || md5(task) || md5('a' || n) || md5('b' || n),
    made, made + d * 1000::bigint, CASE WHEN gone THEN made + 86400000000 END
FROM crowd;

INSERT INTO image_properties SELECT id, name, value FROM crowd, LATERAL (VALUES
    ('os_distro', CASE WHEN g % 2000 = 3 THEN 'plan9' WHEN g % 3 = 0 THEN 'debian' ELSE 'ubuntu' END),
    ('os_version', (g % 12 + 1)::text), ('architecture', 'x86_64'), ('hw_disk_bus', 'virtio')) AS p (name, value)
WHERE NOT gone OR name = 'os_distro';

INSERT INTO image_tags SELECT id, tag FROM crowd, LATERAL (VALUES
    (CASE WHEN f % 2000 = 4 THEN 'golden' ELSE 'nightly' END), ('team-' || g % 41)) AS t (tag)
WHERE NOT gone AND f % 2 = 0;

INSERT INTO image_members SELECT id, member, CASE WHEN n % 5 = 0 THEN 'pending' ELSE 'accepted' END, made, made
FROM crowd, LATERAL (VALUES
    (CASE WHEN g % 40 = 0 THEN '{BIG}' END), ('project-' || d % (:count / 80 + 1))) AS m (member)
WHERE NOT gone AND f % 10 = 5 AND member IS NOT NULL;

INSERT INTO locations (image_id, store, object_key, url, created_at)
SELECT id, store, id || '.1', 'file:///' || store || '/' || id, made
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
