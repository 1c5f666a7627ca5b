-- The rules of schema.sql that need a trigger, for SQLite.

CREATE TRIGGER fence_never_lowered BEFORE UPDATE OF fence ON image_locks
WHEN NEW.fence < OLD.fence
BEGIN SELECT RAISE(ABORT, 'fence_never_lowered'); END;

CREATE TRIGGER lock_row_outlives_holders BEFORE DELETE ON image_locks
BEGIN SELECT RAISE(ABORT, 'lock_row_outlives_holders'); END;

CREATE TRIGGER active_image_has_location BEFORE UPDATE OF status ON images
WHEN NEW.status IN ('active', 'deactivated') AND OLD.status NOT IN ('active', 'deactivated')
    AND NOT EXISTS (SELECT 1 FROM locations WHERE image_id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'active_image_has_location'); END;

CREATE TRIGGER image_begins_without_data BEFORE INSERT ON images
WHEN NEW.status IN ('active', 'deactivated')
BEGIN SELECT RAISE(ABORT, 'image_begins_without_data'); END;

CREATE TRIGGER deleted_image_stays_so BEFORE UPDATE OF status ON images
WHEN OLD.status = 'deleted' AND NEW.status <> 'deleted'
BEGIN SELECT RAISE(ABORT, 'deleted_image_stays_so'); END;

CREATE TRIGGER finished_task_stays_so BEFORE UPDATE OF status ON tasks
WHEN OLD.status IN ('success', 'failure') AND NEW.status <> OLD.status
BEGIN SELECT RAISE(ABORT, 'finished_task_stays_so'); END;

CREATE TRIGGER last_location_stays BEFORE DELETE ON locations
WHEN EXISTS (SELECT 1 FROM images WHERE id = OLD.image_id AND status IN ('active', 'deactivated'))
    AND NOT EXISTS (SELECT 1 FROM locations WHERE image_id = OLD.image_id AND rowid <> OLD.rowid)
BEGIN SELECT RAISE(ABORT, 'last_location_stays'); END;
