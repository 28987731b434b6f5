\set ECHO none
-- Every test has a database of its own, in one encoding and locale whatever
-- the cluster's are.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_install;
CREATE DATABASE regress_orm_install
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_install SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_install_user;
\c regress_orm_install
\set ECHO all
--
-- What CREATE EXTENSION makes, looked at by an ordinary role
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_install_user;
SET ROLE regress_orm_install_user;

SELECT extname, extversion, n.nspname, extrelocatable
	FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
	WHERE extname = 'pg_orm';
SELECT has_schema_privilege('orm', 'USAGE') AS usage,
	has_schema_privilege('orm', 'CREATE') AS "create";

-- everything in the schema belongs to the extension: no rows
SELECT p.oid::regprocedure
	FROM pg_proc p
	WHERE pronamespace = 'orm'::regnamespace
		AND NOT EXISTS (SELECT FROM pg_depend d
			WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
				AND d.deptype = 'e')
	ORDER BY 1;

-- members without a comment: no rows (row types and array types of tables,
-- indexes, TOAST tables, internal triggers and rules are not members)
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS no_comment
	FROM pg_depend d
		JOIN pg_extension e
			ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'pg_orm' AND d.deptype = 'e'
		AND coalesce(obj_description(d.objid,
				(SELECT relname FROM pg_class WHERE oid = d.classid)), '') = ''
		AND NOT (d.classid = 'pg_type'::regclass
			AND EXISTS (SELECT FROM pg_type t
				LEFT JOIN pg_class c ON c.oid = t.typrelid
				WHERE t.oid = d.objid
					AND (c.relkind <> 'c' OR t.typcategory = 'A')))
		AND NOT (d.classid = 'pg_cast'::regclass)
	ORDER BY 1;

-- comments of what is called by hand have an example: no rows
SELECT p.oid::regprocedure AS no_example
	FROM pg_proc p
	WHERE pronamespace = 'orm'::regnamespace
		AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
		AND obj_description(p.oid, 'pg_proc') !~* '(SELECT|CALL|PERFORM|EXPLAIN|UPDATE|INSERT|CREATE|ALTER) '
	ORDER BY 1;

-- what PUBLIC may not call
SELECT p.oid::regprocedure AS not_public
	FROM pg_proc p
	WHERE pronamespace = 'orm'::regnamespace
		AND NOT has_function_privilege(p.oid, 'EXECUTE')
	ORDER BY 1;

-- what PUBLIC may not read, and what it may write: no rows
SELECT c.oid::regclass AS not_readable
	FROM pg_class c
	WHERE relnamespace = 'orm'::regnamespace AND relkind IN ('r', 'v')
		AND NOT has_table_privilege(c.oid, 'SELECT')
	ORDER BY 1;
SELECT c.oid::regclass AS writable
	FROM pg_class c
	WHERE relnamespace = 'orm'::regnamespace AND relkind IN ('r', 'v', 'S')
		AND CASE relkind
			WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE, UPDATE')
			ELSE has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
		END
	ORDER BY 1;

-- nothing runs with somebody else's rights: no rows
SELECT p.oid::regprocedure AS security_definer
	FROM pg_proc p
	WHERE pronamespace = 'orm'::regnamespace AND prosecdef
	ORDER BY 1;

-- builtins that would be shadowed for somebody with orm in search_path: no
-- rows (the same name, callable with the same arguments)
SELECT o.oid::regprocedure AS ours, b.oid::regprocedure AS builtin
	FROM pg_proc o JOIN pg_proc b ON b.proname = o.proname
	WHERE o.pronamespace = 'orm'::regnamespace
		AND b.pronamespace = 'pg_catalog'::regnamespace
		AND o.proargtypes = b.proargtypes
	ORDER BY 1, 2;
SELECT o.oid::regtype AS ours, b.oid::regtype AS builtin
	FROM pg_type o JOIN pg_type b ON b.typname = o.typname
	WHERE o.typnamespace = 'orm'::regnamespace
		AND b.typnamespace = 'pg_catalog'::regnamespace
	ORDER BY 1, 2;
SELECT o.oid::regclass AS ours, b.oid::regclass AS builtin
	FROM pg_class o JOIN pg_class b ON b.relname = o.relname
	WHERE o.relnamespace = 'orm'::regnamespace
		AND b.relnamespace IN ('pg_catalog'::regnamespace,
			'information_schema'::regnamespace)
	ORDER BY 1, 2;

RESET ROLE;

-- away and back
DROP EXTENSION pg_orm;
SELECT count(*) FROM pg_namespace WHERE nspname = 'orm';
CREATE EXTENSION pg_orm;
-- it cannot be moved
ALTER EXTENSION pg_orm SET SCHEMA public;
DROP EXTENSION pg_orm;

-- a schema of that name that is there already is left alone
\set SHOW_CONTEXT never
CREATE SCHEMA orm;
CREATE EXTENSION pg_orm;
DROP SCHEMA orm;

DROP ROLE regress_orm_install_user;
