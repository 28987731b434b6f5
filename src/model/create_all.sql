-- ---------------------------------------------------------------------------
-- model/create_all: making the declared tables
-- ---------------------------------------------------------------------------

CREATE FUNCTION orm.create_all(schema text = pg_catalog.current_schema(),
							   checkfirst boolean = true)
	RETURNS SETOF regclass AS 'MODULE_PATHNAME', 'orm_create_all'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.create_all(text, boolean) IS
'Makes the tables of one schema that orm.declare declared and that do not exist
yet, in the order of their foreign keys, and gives the ones it made. Only your
own declarations; mapped tables and those of extensions are left alone.
checkfirst: false raises 42P07 for a table that exists.
Errors: 42P01 a foreign key to a table that does not exist; 42704 a
relationship to an unknown class; 42830, 42725 no foreign key for a
relationship, or several; 3F000 unknown schema; whatever CREATE TABLE raises.
Example: SELECT orm.create_all();';
