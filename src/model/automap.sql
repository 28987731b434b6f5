-- ---------------------------------------------------------------------------
-- model/automap: the tables of a schema become models at once
-- ---------------------------------------------------------------------------

CREATE FUNCTION orm.automap(schema text = pg_catalog.current_schema())
	RETURNS SETOF text AS 'MODULE_PATHNAME', 'orm_automap'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.automap(text) IS
'Maps every table of a schema that has a primary key, is yours, and is not
mapped yet, and makes relationships of the foreign keys; gives the new classes.
A class has its table''s name (with its schema where that is taken). A
relationship to one is named after the class in lower case, a collection
likewise with _collection; where a name is taken the foreign key''s columns are
added (author_by_editor_id). A table that consists of two foreign keys becomes
no class but a many-to-many relationship. A child whose foreign key is NOT NULL
is deleted with its parent. Partitions, and tables of extensions, are left out.
Errors: 3F000 unknown schema.
Example: SELECT orm.automap(''public'');';
