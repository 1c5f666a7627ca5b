-- The rules of schema.sql that need a trigger, for PostgreSQL.

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%', TG_NAME USING ERRCODE = 'check_violation'; END $$;

CREATE TRIGGER fence_never_lowered BEFORE UPDATE OF fence ON image_locks
FOR EACH ROW WHEN (NEW.fence < OLD.fence) EXECUTE FUNCTION refuse();

CREATE TRIGGER lock_row_outlives_holders BEFORE DELETE ON image_locks
FOR EACH ROW EXECUTE FUNCTION refuse();

CREATE FUNCTION active_image_has_location() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM locations WHERE image_id = NEW.id) THEN
        RAISE EXCEPTION 'active_image_has_location' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER active_image_has_location BEFORE UPDATE OF status ON images
FOR EACH ROW WHEN (NEW.status IN ('active', 'deactivated') AND OLD.status NOT IN ('active', 'deactivated'))
EXECUTE FUNCTION active_image_has_location();

CREATE TRIGGER image_begins_without_data BEFORE INSERT ON images
FOR EACH ROW WHEN (NEW.status IN ('active', 'deactivated')) EXECUTE FUNCTION refuse();

CREATE TRIGGER deleted_image_stays_so BEFORE UPDATE OF status ON images
FOR EACH ROW WHEN (OLD.status = 'deleted' AND NEW.status <> 'deleted') EXECUTE FUNCTION refuse();

CREATE TRIGGER finished_task_stays_so BEFORE UPDATE OF status ON tasks
FOR EACH ROW WHEN (OLD.status IN ('success', 'failure') AND NEW.status <> OLD.status) EXECUTE FUNCTION refuse();

-- The image row is locked first, so that two deletions cannot each see the other's location as the remaining one.
CREATE FUNCTION last_location_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM images WHERE id = OLD.image_id AND status IN ('active', 'deactivated') FOR NO KEY UPDATE;
    IF FOUND AND NOT EXISTS (SELECT 1 FROM locations WHERE image_id = OLD.image_id
                             AND (store, object_key) <> (OLD.store, OLD.object_key)) THEN
        RAISE EXCEPTION 'last_location_stays' USING ERRCODE = 'check_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER last_location_stays BEFORE DELETE ON locations
FOR EACH ROW EXECUTE FUNCTION last_location_stays();
