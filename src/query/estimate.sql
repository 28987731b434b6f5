-- What the planner asks about orm.query: src/query/estimate.c

CREATE FUNCTION orm.query_estimate(internal) RETURNS internal
AS 'MODULE_PATHNAME', 'orm_query_estimate'
LANGUAGE C STRICT;

COMMENT ON FUNCTION orm.query_estimate(internal) IS
'For the planner: how many rows a call of orm.query is going to give.';

