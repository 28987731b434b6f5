CREATE FUNCTION orm.row_unchanged(xmin xid, version xid) RETURNS bool
	AS 'MODULE_PATHNAME', 'orm_row_unchanged'
	LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION orm.row_unchanged(xid, xid) IS
$$For the statements of a flush: is a row the one that was loaded, or one that this transaction wrote itself?
xmin: the row's xmin now. version: its xmin when it was loaded, NULL if that is not known (true then).
Example: SELECT count(*) FROM users u WHERE orm.row_unchanged(u.xmin, '0');$$;
