-- ---------------------------------------------------------------------------
-- model/drop_all: dropping the declared tables
-- ---------------------------------------------------------------------------

CREATE FUNCTION orm.drop_all(schema text = pg_catalog.current_schema(),
							 checkfirst boolean = true)
	RETURNS SETOF text AS 'MODULE_PATHNAME', 'orm_drop_all'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.drop_all(text, boolean) IS
'Drops the declared tables of one schema that are yours, and gives their names
in the order of dropping. The declarations stay, so that orm.create_all makes
the tables again. Mapped tables and those of extensions are left alone.
checkfirst: false raises 42P01 for a table that does not exist.
Errors: 2BP01 something else depends on a table; 3F000 unknown schema;
55006 changes of a class are pending that autoflush does not write.
Example: SELECT orm.drop_all();';
