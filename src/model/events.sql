-- ---------------------------------------------------------------------------
-- model/events: the catalog follows what happens to tables
-- ---------------------------------------------------------------------------

CREATE FUNCTION orm.objects_dropped() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'orm_objects_dropped' LANGUAGE C;
COMMENT ON FUNCTION orm.objects_dropped() IS
'Event trigger: forgets the classes and relationships whose tables, columns,
schemas or extensions were dropped. Not to be called.';

CREATE FUNCTION orm.objects_altered() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'orm_objects_altered' LANGUAGE C;
COMMENT ON FUNCTION orm.objects_altered() IS
'Event trigger: follows renamed columns, renamed and moved tables, and makes
their navigation functions anew. Not to be called.';

CREATE EVENT TRIGGER pg_orm_objects_dropped ON sql_drop
	EXECUTE FUNCTION orm.objects_dropped();
COMMENT ON EVENT TRIGGER pg_orm_objects_dropped IS
'Forgets the models of dropped tables (orm.objects_dropped).';

CREATE EVENT TRIGGER pg_orm_objects_altered ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER VIEW', 'ALTER FOREIGN TABLE',
				 'ALTER MATERIALIZED VIEW', 'ALTER SCHEMA')
	EXECUTE FUNCTION orm.objects_altered();
COMMENT ON EVENT TRIGGER pg_orm_objects_altered IS
'Follows renames and moves of mapped tables (orm.objects_altered).';

CREATE FUNCTION orm.repair() RETURNS void
	AS 'MODULE_PATHNAME', 'orm_repair' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.repair() IS
'Brings the catalog and the navigation functions in line with the tables: to be
called after pg_upgrade, after a restore of parts of a dump, and after DDL with
event triggers switched off. Repeating it does no harm.
Errors: 42501 not the owner of the database.
Example: SELECT orm.repair();';
