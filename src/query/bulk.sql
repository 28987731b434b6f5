-- Bulk changes: src/query/bulk.c

CREATE FUNCTION orm.update_where(model anyelement, filter text DEFAULT NULL,
    changes jsonb DEFAULT NULL, "set" text DEFAULT NULL,
    filter_by jsonb DEFAULT NULL, params jsonb DEFAULT NULL,
    synchronize_session anycompatible DEFAULT 'auto'::text,
    at_most bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'orm_update_where'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION orm.update_where(anyelement, text, jsonb, text, jsonb, jsonb, anycompatible, bigint) IS
'Changes all rows of a model that meet the criteria, with one UPDATE, and returns how many it matched.
model: NULL::table. filter, filter_by, params: as for orm.query; one of the first two is required. changes: values by column (or by relationship to one row). set: an SQL SET list. synchronize_session: how the session''s objects are brought in line (''auto'', ''evaluate'', ''fetch'', or ''false'' to leave them alone). at_most: more rows than that are an error.
Errors: those of orm.query, and 22023 (no criteria, nothing to change, wrong synchronize_session), 0A000 (criteria that ''evaluate'' cannot evaluate), 54000 (more rows than at_most).
Example: SELECT orm.update_where(NULL::users, ''id > 3'', set => $$name = name || ''099''$$);';

CREATE FUNCTION orm.delete_where(model anyelement, filter text DEFAULT NULL,
    filter_by jsonb DEFAULT NULL, params jsonb DEFAULT NULL,
    synchronize_session anycompatible DEFAULT 'auto'::text,
    at_most bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'orm_delete_where'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION orm.delete_where(anyelement, text, jsonb, jsonb, anycompatible, bigint) IS
'Deletes all rows of a model that meet the criteria, with one DELETE, and returns how many they were. Objects of deleted rows leave the session.
Parameters and errors are those of orm.update_where.
Example: SELECT orm.delete_where(NULL::users, ''id > 2'');';
