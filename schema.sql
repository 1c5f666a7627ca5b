-- Tranship's truth: the common subset of PostgreSQL and SQLite, loaded as it stands into either.
-- `catalog/tables.py` mirrors it, and a test compares the two on both databases.
-- The rules that need a trigger are written per database in `catalog/guards_*.sql`.
--
-- Times are BIGINT: microseconds since 1970-01-01T00:00:00Z by the *database's* clock, so that workers on many hosts
-- never compare clocks. In psql: to_timestamp(created_at / 1e6). Sizes and counts of bytes are BIGINT too.

CREATE TABLE schema_version (
    version BIGINT NOT NULL PRIMARY KEY
);
INSERT INTO schema_version (version) VALUES (3);

-- An image, as users see it. Moves between states (import-behaviour, section 1.1):
--   queued       made, no data                     -> saving, uploading, importing, active, deleted
--   saving       an upload is being received       -> active, killed, deleted, queued
--   uploading    data is staged, not yet imported  -> importing, queued, deleted
--   importing    a task brings the data            -> active, queued, uploading, deleted
--   active       data is complete and readable     -> deactivated, pending_delete, deleted
--   deactivated  as active, but readable by admins -> active, deleted
--   killed, pending_delete                         -> deleted (pending_delete also -> active)
--   deleted      kept so that an id is never used twice
CREATE TABLE images (
    id               TEXT    NOT NULL PRIMARY KEY,
    status           TEXT    NOT NULL,
    name             TEXT,
    owner            TEXT,
    visibility       TEXT    NOT NULL,
    protected        BOOLEAN NOT NULL,
    os_hidden        BOOLEAN NOT NULL,
    container_format TEXT,
    disk_format      TEXT,
    min_disk         BIGINT  NOT NULL,                     -- GB
    min_ram          BIGINT  NOT NULL,                     -- MB
    size             BIGINT,                               -- bytes
    virtual_size     BIGINT,                               -- bytes
    checksum         TEXT,                                 -- md5, hex
    os_hash_algo     TEXT,
    os_hash_value    TEXT,                                 -- hex; the authoritative hash
    created_at       BIGINT  NOT NULL,
    updated_at       BIGINT  NOT NULL,
    deleted_at       BIGINT,
    CONSTRAINT image_status CHECK (status IN
        ('queued', 'saving', 'uploading', 'importing', 'active', 'deactivated', 'killed', 'pending_delete', 'deleted')),
    CONSTRAINT image_visibility CHECK (visibility IN ('public', 'private', 'shared', 'community')),
    CONSTRAINT image_queued_has_no_size CHECK (status <> 'queued' OR (size IS NULL AND virtual_size IS NULL)),
    CONSTRAINT image_with_data_has_formats CHECK (status NOT IN ('saving', 'importing', 'active', 'deactivated')
        OR (container_format IS NOT NULL AND disk_format IS NOT NULL)),
    CONSTRAINT image_active_is_whole CHECK (status NOT IN ('active', 'deactivated') OR size IS NOT NULL),
    CONSTRAINT image_deleted_at CHECK ((status = 'deleted') = (deleted_at IS NOT NULL)),
    CONSTRAINT image_numbers CHECK (min_disk >= 0 AND min_ram >= 0 AND size >= 0 AND virtual_size >= 0)
);
-- What lists are found by: each index leads to a page of an everyday list, also deep within it; without it, that list
-- reads the whole table or much of it (tests/catalog/test_plans.py). They end with what makes an order total, so that a
-- marker's place is found in them too, and have no deleted images, which may be the most one day. An image changes a few
-- times in its life, so that writes cost little: what an import has to tell all the time is in other tables.
--
-- In the order that is the default; last changed, or changed since.
CREATE INDEX images_by_age ON images (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX images_by_change ON images (updated_at, created_at, id) WHERE deleted_at IS NULL;
-- By name and size, and for filters on them. A null counts as empty, for sorting and as a marker's place.
CREATE INDEX images_by_name ON images ((coalesce(name, '')), created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX images_by_size ON images ((coalesce(size, 0)), created_at, id) WHERE deleted_at IS NULL;
-- A project's own; public and community ones; what is not active yet.
CREATE INDEX images_of_owner ON images (owner, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX images_of_visibility ON images (visibility, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX images_of_status ON images (status, created_at, id) WHERE deleted_at IS NULL;
-- Few images have these flags, so these are small, and nothing else leads to them.
CREATE INDEX images_hidden ON images (created_at, id) WHERE os_hidden AND deleted_at IS NULL;
CREATE INDEX images_protected ON images (created_at, id) WHERE protected AND deleted_at IS NULL;

CREATE TABLE image_properties (
    image_id TEXT NOT NULL REFERENCES images (id),
    name     TEXT NOT NULL,
    value    TEXT,
    PRIMARY KEY (image_id, name),
    -- These are views of rows (targets, image_locks), never stored: nobody can forge them.
    CONSTRAINT property_not_reserved CHECK (substr(name, 1, 9) <> 'os_glance' AND name <> 'stores')
);
-- From a name and value to the images. A value may be longer than what fits into an index; its beginning tells enough.
CREATE INDEX images_of_property ON image_properties (name, substr(value, 1, 100));

CREATE TABLE image_tags (
    image_id TEXT NOT NULL REFERENCES images (id),
    tag      TEXT NOT NULL,
    PRIMARY KEY (image_id, tag)
);
CREATE INDEX images_of_tag ON image_tags (tag, image_id);  -- from a tag to the images

-- The projects that a shared image is shared with. While its visibility is another the rows stay, and mean nothing.
--   pending  has not answered       -> accepted, rejected: whether lists show the image; each may become any other
CREATE TABLE image_members (
    image_id   TEXT   NOT NULL REFERENCES images (id),
    member     TEXT   NOT NULL,                            -- a project
    status     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (image_id, member),
    CONSTRAINT member_status CHECK (status IN ('pending', 'accepted', 'rejected'))
);
CREATE INDEX images_of_member ON image_members (member, image_id);

-- Where the data of an image is. A store that we fill holds an object of an image at most once. In a store that only
-- others fill, an object's key is its URL; an image may have several there, and many images may be made of one: such an
-- object is not ours, and not in `objects`.
CREATE TABLE locations (
    image_id   TEXT   NOT NULL REFERENCES images (id),
    store      TEXT   NOT NULL,
    object_key TEXT   NOT NULL,
    url        TEXT   NOT NULL,                            -- never with a credential
    metadata   TEXT,                                       -- JSON: what users have said of it; null = nothing
    created_at BIGINT NOT NULL,
    PRIMARY KEY (image_id, store, object_key)
);
CREATE UNIQUE INDEX location_object_used_once ON locations (store, object_key) WHERE object_key <> url;

-- One request to bring an image's data somewhere. The row is the job; a message is only a doorbell.
--   pending     accepted, no worker has begun        -> processing, failure
--   processing  at least one attempt has begun       -> success, failure
--   success, failure                                 final
-- `step` is the next step of the flow to run: what is before it is done and never runs again.
CREATE TABLE tasks (
    id                      TEXT    NOT NULL PRIMARY KEY,
    image_id                TEXT    NOT NULL REFERENCES images (id),
    type                    TEXT    NOT NULL,
    flow                    TEXT    NOT NULL,              -- a name in flows.FLOWS
    step                    BIGINT  NOT NULL,
    status                  TEXT    NOT NULL,
    owner                   TEXT,                          -- project of the requester
    user_id                 TEXT,
    request_id              TEXT,
    input                   TEXT    NOT NULL,              -- JSON, secrets masked: what users see
    source                  TEXT    NOT NULL,              -- JSON: what the worker reads; never shown
    host                    TEXT,                          -- only workers there can read it; null = all can
    facts                   TEXT    NOT NULL,              -- JSON: what finished steps found out
    result                  TEXT,                          -- JSON
    message                 TEXT    NOT NULL,
    error_code              TEXT,
    all_stores_must_succeed BOOLEAN NOT NULL,
    cancel_requested        BOOLEAN NOT NULL,
    phase                   TEXT    NOT NULL,              -- what it does right now, for people
    bytes_done              BIGINT  NOT NULL,              -- read from the source
    bytes_total             BIGINT,                        -- promised by the source, if it did
    attempt                 BIGINT  NOT NULL,              -- tries of the current step
    sent_at                 BIGINT,                        -- last doorbell; null = none yet
    next_attempt_at         BIGINT,                        -- not before; null = at once
    created_at              BIGINT  NOT NULL,
    updated_at              BIGINT  NOT NULL,
    expires_at              BIGINT,                        -- when a finished task is forgotten
    CONSTRAINT task_status CHECK (status IN ('pending', 'processing', 'success', 'failure')),
    CONSTRAINT task_numbers CHECK (step >= 0 AND attempt >= 0 AND bytes_done >= 0 AND bytes_total >= 0),
    CONSTRAINT task_end CHECK ((status IN ('success', 'failure')) = (expires_at IS NOT NULL)),
    CONSTRAINT task_failure_has_reason CHECK (status <> 'failure' OR (error_code IS NOT NULL AND message <> ''))
);
-- An image is brought by one task at a time.
CREATE UNIQUE INDEX one_live_task_per_image ON tasks (image_id) WHERE status IN ('pending', 'processing');
CREATE INDEX tasks_of_image ON tasks (image_id, created_at);
CREATE INDEX tasks_by_age ON tasks (created_at, id);
CREATE INDEX tasks_to_send ON tasks (sent_at) WHERE status IN ('pending', 'processing');
CREATE INDEX tasks_to_forget ON tasks (expires_at) WHERE expires_at IS NOT NULL;

-- One target store of one task. `current` marks the newest verdict on this image and store; the current rows are what
-- users see as os_glance_importing_to_stores (pending, copying) and os_glance_failed_import (failed).
--   pending -> copying -> done | failed;  undone: not at fault, but taken back with the rest
CREATE TABLE targets (
    task_id    TEXT    NOT NULL,                           -- a current verdict outlives its task, which is forgotten
    image_id   TEXT    NOT NULL REFERENCES images (id),
    store      TEXT    NOT NULL,
    position   BIGINT  NOT NULL,                           -- order of the request
    state      TEXT    NOT NULL,
    current    BOOLEAN NOT NULL,
    bytes_done BIGINT  NOT NULL,
    error_code TEXT,
    reason     TEXT    NOT NULL,
    updated_at BIGINT  NOT NULL,
    PRIMARY KEY (task_id, store),
    CONSTRAINT target_state CHECK (state IN ('pending', 'copying', 'done', 'failed', 'undone')),
    CONSTRAINT target_failure_has_reason CHECK (state <> 'failed' OR (error_code IS NOT NULL AND reason <> ''))
);
CREATE UNIQUE INDEX one_current_target_per_store ON targets (image_id, store) WHERE current;

-- The lock: a lease on an image, held by a task, exercised by one attempt at a time. The row outlives every holder,
-- so its fence never repeats; a guard refuses to lower it.
CREATE TABLE image_locks (
    image_id              TEXT   NOT NULL PRIMARY KEY REFERENCES images (id),
    os_glance_import_task TEXT   REFERENCES tasks (id),    -- the holder, shown to users; null = free
    owner                 TEXT,                            -- the worker at it; null = nobody right now
    fence                 BIGINT NOT NULL,
    acquired_at           BIGINT,
    heartbeat_at          BIGINT,
    expires_at            BIGINT,
    CONSTRAINT lock_fence CHECK (fence >= 0),
    CONSTRAINT lock_owner_works_for_holder CHECK (owner IS NULL OR os_glance_import_task IS NOT NULL),
    CONSTRAINT lock_lease_has_end CHECK ((owner IS NULL) = (expires_at IS NULL)),
    CONSTRAINT lock_holder_since CHECK ((os_glance_import_task IS NULL) = (acquired_at IS NULL))
);
CREATE INDEX locks_by_expiry ON image_locks (expires_at);
CREATE INDEX locks_of_task ON image_locks (os_glance_import_task) WHERE os_glance_import_task IS NOT NULL;

-- Every time a worker entered the lock, and how it ended.
--   running; done: the step is finished; retry: failed, will be tried again; failed: given up;
--   handed_back: the worker was asked to stop; lost: its lease ran out
CREATE TABLE attempts (
    image_id   TEXT   NOT NULL REFERENCES images (id),
    fence      BIGINT NOT NULL,
    task_id    TEXT   NOT NULL REFERENCES tasks (id),
    step       BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    worker     TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,
    error_code TEXT,
    message    TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at   BIGINT,
    PRIMARY KEY (image_id, fence),
    CONSTRAINT attempt_outcome CHECK (outcome IN ('running', 'done', 'retry', 'failed', 'handed_back', 'lost')),
    CONSTRAINT attempt_end CHECK ((outcome = 'running') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX one_running_attempt_per_image ON attempts (image_id) WHERE outcome = 'running';
CREATE INDEX attempts_of_task ON attempts (task_id, fence);

-- Every object key, recorded before its first byte is written, so that no crash can leave bytes nobody knows of.
--   writing  a session may be open
--   stored   the session is committed, no location names it yet
--   located  a location names it
--   garbage  to be deleted; deleted again after a grace period, for a writer that woke up late; then forgotten
CREATE TABLE objects (
    store      TEXT   NOT NULL,
    object_key TEXT   NOT NULL,
    image_id   TEXT   NOT NULL REFERENCES images (id),
    task_id    TEXT,                                     -- null: an upload by a request, not by a task; else the
                                                         -- task that wrote it, which may be forgotten by now
    host       TEXT,                                     -- only processes there can reach it; null = all can
    state      TEXT   NOT NULL,
    size       BIGINT,
    created_at BIGINT NOT NULL,
    kept_until BIGINT,                                   -- an upload: when its writer is taken for dead, or, once it
                                                         -- is stored, when it has waited long enough to be imported
    collect_at BIGINT,                                     -- garbage: when to delete next
    forget_at  BIGINT,                                     -- garbage: when the grace period ends
    PRIMARY KEY (store, object_key),
    CONSTRAINT object_state CHECK (state IN ('writing', 'stored', 'located', 'garbage')),
    CONSTRAINT object_upload_ends CHECK (task_id IS NOT NULL OR state NOT IN ('writing', 'stored')
        OR kept_until IS NOT NULL),
    CONSTRAINT object_garbage_is_collected CHECK ((state = 'garbage') = (collect_at IS NOT NULL AND forget_at IS NOT NULL))
);
CREATE INDEX objects_of_task ON objects (task_id);
CREATE INDEX objects_of_image ON objects (image_id);
-- Data is uploaded for an image by one request at a time, and staged once.
CREATE UNIQUE INDEX one_upload_per_image ON objects (image_id) WHERE task_id IS NULL AND state IN ('writing', 'stored');
CREATE INDEX objects_to_collect ON objects (collect_at) WHERE state = 'garbage';
