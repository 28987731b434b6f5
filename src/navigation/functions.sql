-- ---------------------------------------------------------------------------
-- navigation/functions: the functions that walk a relationship are made and
-- dropped with its row, so that a restored dump works.
-- ---------------------------------------------------------------------------

CREATE FUNCTION orm.relationship_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'orm_relationship_changed' LANGUAGE C;
COMMENT ON FUNCTION orm.relationship_changed() IS
'Row trigger of orm.relationship_def: makes and drops the navigation
functions of both directions, in the table''s schema and owned by its owner.
Raises 42701 or 42723 if the name is that of a column or of another function.
Not to be called.';

-- The name sorts after that of the trigger that tells the caches.
CREATE TRIGGER navigation AFTER INSERT OR UPDATE OR DELETE
	ON orm.relationship_def FOR EACH ROW
	EXECUTE FUNCTION orm.relationship_changed();
