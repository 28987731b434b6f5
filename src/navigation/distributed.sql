-- ---------------------------------------------------------------------------
-- navigation/distributed: tables that are distributed by Citus.
-- ---------------------------------------------------------------------------

-- Immutable, although it reads a catalog, so that it is evaluated when a plan
-- is made; the plan is made anew when one of the tables changes.
CREATE FUNCTION orm.not_distributed(VARIADIC relations regclass[])
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'orm_not_distributed'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orm.not_distributed(regclass[]) IS
'Part of navigation functions in a database with Citus: true, or an error
(0A000) if one of the relations is distributed, since such a function would
silently read the empty local table.
Example: SELECT orm.not_distributed(''person'', ''hobby'');';

CREATE FUNCTION orm.extension_created() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'orm_extension_created' LANGUAGE C;
COMMENT ON FUNCTION orm.extension_created() IS
'Event trigger: makes the navigation functions anew when Citus is created
after them (orm.not_distributed). Not to be called.';

CREATE EVENT TRIGGER pg_orm_extension_created ON ddl_command_end
	WHEN TAG IN ('CREATE EXTENSION')
	EXECUTE FUNCTION orm.extension_created();
COMMENT ON EVENT TRIGGER pg_orm_extension_created IS
'Makes the navigation functions anew when Citus is created
(orm.extension_created).';
