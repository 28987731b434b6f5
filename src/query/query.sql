-- Loading objects: src/query/query.c

CREATE FUNCTION orm.query(model anyelement, filter text DEFAULT NULL,
    order_by text DEFAULT NULL, filter_by jsonb DEFAULT NULL,
    params jsonb DEFAULT NULL, row_limit bigint DEFAULT NULL,
    row_offset bigint DEFAULT NULL, populate_existing bool DEFAULT false)
RETURNS SETOF anyelement
AS 'MODULE_PATHNAME', 'orm_query'
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT orm.query_estimate;

COMMENT ON FUNCTION orm.query(anyelement, text, text, jsonb, jsonb, bigint, bigint, bool) IS
'Loads the objects of a model that meet the criteria, and returns their rows as the session shows them.
model: NULL::table. filter: a boolean SQL expression over the table''s columns. order_by: an SQL sort list. filter_by: JSON by column or relationship (an array means IN, null means IS NULL). params: values for :name (a JSON object) or $1, $2, ... (a JSON array) in filter and order_by. populate_existing: overwrite what the session has, pending changes too.
In FROM, rows are loaded as far as they are read; a query that shows only aggregates or groups of columns need not load any, but count(*) does.
Errors: 42601 (a fragment is not what it is said to be), 42703 (unknown column), 42804 (the filter is no boolean), 42P02 (no such parameter), 22023 (empty filter_by, wrong JSON shape), 42704 (not a model).
Example: SELECT * FROM orm.query(NULL::users, ''id > :low'', order_by => ''name DESC'', params => ''{"low": 1}'');';

CREATE FUNCTION orm.first(model anyelement, filter text DEFAULT NULL,
    order_by text DEFAULT NULL, filter_by jsonb DEFAULT NULL,
    params jsonb DEFAULT NULL, populate_existing bool DEFAULT false)
RETURNS SETOF anyelement
AS 'MODULE_PATHNAME', 'orm_first'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;

COMMENT ON FUNCTION orm.first(anyelement, text, text, jsonb, jsonb, bool) IS
'Loads the first object that meets the criteria: one row, or none. Parameters and errors are those of orm.query.
Example: SELECT * FROM orm.first(NULL::users, filter_by => ''{"name": "lqz"}'', order_by => ''id'');';

CREATE FUNCTION orm.one(model anyelement, filter text DEFAULT NULL,
    order_by text DEFAULT NULL, filter_by jsonb DEFAULT NULL,
    params jsonb DEFAULT NULL, populate_existing bool DEFAULT false)
RETURNS SETOF anyelement
AS 'MODULE_PATHNAME', 'orm_one'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;

COMMENT ON FUNCTION orm.one(anyelement, text, text, jsonb, jsonb, bool) IS
'Loads the only object that meets the criteria. Parameters and errors are those of orm.query, and P0002 if there is none, P0003 if there are several.
Example: SELECT * FROM orm.one(NULL::users, ''id = 1'');';

CREATE FUNCTION orm.one_or_none(model anyelement, filter text DEFAULT NULL,
    order_by text DEFAULT NULL, filter_by jsonb DEFAULT NULL,
    params jsonb DEFAULT NULL, populate_existing bool DEFAULT false)
RETURNS SETOF anyelement
AS 'MODULE_PATHNAME', 'orm_one_or_none'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;

COMMENT ON FUNCTION orm.one_or_none(anyelement, text, text, jsonb, jsonb, bool) IS
'Loads the only object that meets the criteria: one row, or none. Parameters and errors are those of orm.query, and P0003 if there are several.
Example: SELECT * FROM orm.one_or_none(NULL::users, filter_by => ''{"email": "a@b.c"}'');';
