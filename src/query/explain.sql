-- The SQL behind a call: src/query/explain.c

CREATE FUNCTION orm.explain(call text, with_analyze bool DEFAULT false)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'orm_explain'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION orm.explain(text, bool) IS
'Shows the SQL that an orm call runs, each statement with its plan. The call is run for that and rolled back, with everything that it did.
call: a call such as orm.query(...), or a whole SELECT. with_analyze: show actual times and rows too.
Errors: 42601 (not one call or one SELECT), and those of the call.
Example: SELECT * FROM orm.explain($$orm.query(NULL::users, ''id > 1'')$$);';
