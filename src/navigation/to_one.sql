-- ---------------------------------------------------------------------------
-- navigation/to_one: the object that a foreign key refers to.
-- ---------------------------------------------------------------------------

-- Restricted and not safe: what it reads may be a temporary or a foreign
-- table, which the planner does not know; and one memo is better than one per
-- worker.
CREATE FUNCTION orm.to_one(target anyelement, VARIADIC key "any")
	RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_to_one'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 5;
COMMENT ON FUNCTION orm.to_one(anyelement, "any") IS
'The object of a mapped table by its primary key, or NULL if a key value is
NULL or no row has the key. target names the table by its row type and its
value is not read; key has as many values as the primary key. It reads what
the calling query sees, as the present user; this is what navigation functions
of many-to-one relationships call.
Errors: 42704 the row type is not mapped, 22023 wrong number of key values,
42501 no SELECT privilege on all columns, 40001 the table was rewritten or
truncated while the query ran.
Example: SELECT p.name, (orm.to_one(NULL::hobby, p.hobby_id)).caption
FROM person p;';

-- For drivers that send parameters without a type.
CREATE FUNCTION orm.to_one(target anyelement, VARIADIC key text[])
	RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_to_one'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 5;
COMMENT ON FUNCTION orm.to_one(anyelement, text[]) IS
'As orm.to_one(target, VARIADIC "any"), with the key as text: untyped
parameters and literals arrive here.
Errors: 42704 the row type is not mapped, 22023 wrong number of key values,
22P02 a value that is none of the key''s type, 42501 no SELECT privilege, 40001
the table was rewritten while the query ran.
Example: PREPARE get AS SELECT caption FROM orm.to_one(NULL::hobby, $1);';

-- By columns that are not the primary key: a one-to-one relationship whose
-- foreign key is on the other side, or a foreign key to another unique key.
CREATE FUNCTION orm.to_one_by(target anyelement, columns name[],
							  VARIADIC key "any")
	RETURNS anyelement
	AS 'MODULE_PATHNAME', 'orm_to_one_by'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 5;
COMMENT ON FUNCTION orm.to_one_by(anyelement, name[], "any") IS
'The object of a mapped table by other columns than its primary key, or NULL
if a value is NULL or no row has them; one of the rows if there are several.
target names the table by its row type, columns (a constant) are the columns
that key has the values of; otherwise as orm.to_one. Navigation functions of
one-to-one relationships call it.
Errors: 42704 the row type is not mapped, 42703 no such column, 22023 wrong
number of values or no constant columns, 42501 no SELECT privilege on all
columns, 40001 the table was rewritten while the query ran.
Example: SELECT p.name, (orm.to_one_by(NULL::hobby, ''{caption}'',
p.favourite)).id FROM person p;';
