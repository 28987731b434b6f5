CREATE FUNCTION orm.row_unchanged(xmin xid, version xid) RETURNS bool
	AS 'MODULE_PATHNAME', 'orm_row_unchanged'
	LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION orm.row_unchanged(xid, xid) IS
$$For the statements of a flush: is a row the one that was loaded, or one that this transaction wrote itself?
xmin: the row's xmin now. version: its xmin when it was loaded, NULL if that is not known (true then).
Example: SELECT count(*) FROM users u WHERE orm.row_unchanged(u.xmin, '0');$$;

CREATE FUNCTION orm.pending_statements(OUT class text, OUT operation text,
		OUT objects bigint, OUT statement text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'orm_pending_statements'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orm.pending_statements() IS
$$The statements that a flush of the current session would run now, in their order, without running any; objects is the number of objects that each is about.
Only changes of the present user are shown. Statements that follow from triggers, or that complete a circle of foreign keys, come to light when the flush runs.
Example: SELECT operation, class, objects FROM orm.pending_statements();$$;
