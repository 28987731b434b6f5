-- ---------------------------------------------------------------------------
-- model/create_all: making and dropping the declared tables
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

CREATE FUNCTION orm.drop_all(schema text = pg_catalog.current_schema(),
							 checkfirst boolean = true)
	RETURNS SETOF text AS 'MODULE_PATHNAME', 'orm_drop_all'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.drop_all(text, boolean) IS
'Drops the declared tables of one schema that are yours, and gives their names
in the order of dropping. The declarations stay, so that orm.create_all makes
the tables again. Mapped tables and those of extensions are left alone.
checkfirst: false raises 42P01 for a table that does not exist.
Errors: 2BP01 something else depends on a table; 3F000 unknown schema.
Example: SELECT orm.drop_all();';
