\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_evaluate;
CREATE DATABASE regress_orm_evaluate
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_evaluate SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_evaluate_user;
\c regress_orm_evaluate
\set ECHO all
--
-- After a bulk change object and row are equal, in every mode but 'false',
-- where SQLAlchemy's are not: the cases E1 to E11 and some more
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_evaluate_user;
GRANT CREATE ON SCHEMA public TO regress_orm_evaluate_user;
SET ROLE regress_orm_evaluate_user;
\pset format unaligned
\pset tuples_only on

CREATE TABLE e (id int PRIMARY KEY, name varchar(8), age int, x int, y int,
	c char(4), n numeric(5,1), f float4);
INSERT INTO e VALUES (1, 'axb', 37, 1, 2, 'ab', 1.5, 0.1), (2, 'zzz', 47, NULL, 5, 'ab  ', 2.25, 1e10),
	(3, 'abc', 25, -5, 99, NULL, NULL, NULL), (5, NULL, 29, 0, NULL, 'x', 0, 0);
SELECT orm.map('e', 'E');

/*
 * Loads all objects, runs "before" and then the change, and tells the rows
 * matched, whether the session's objects equal the rows, and the columns of
 * row 1 to 5 that are asked for.  Everything is rolled back.
 */
CREATE FUNCTION bulk_case(mode text, filter text, "set" text, params jsonb = NULL,
	before text = NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	matched bigint; equal bool; same_keys bool; expired bigint;
BEGIN
	PERFORM orm.expunge_all();
	PERFORM count(*) FROM orm.query(NULL::e);
	IF before IS NOT NULL THEN EXECUTE before; END IF;
	IF "set" IS NULL THEN
		matched := orm.delete_where(NULL::e, filter, params => params, synchronize_session => mode);
	ELSE
		matched := orm.update_where(NULL::e, filter, "set" => "set", params => params,
			synchronize_session => mode);
	END IF;
	SELECT count(*) FILTER (WHERE state = 'expired') INTO expired FROM orm.session_objects;
	SELECT coalesce(array_agg(identity->>'id' ORDER BY identity->>'id') FILTER (WHERE state <> 'deleted'), '{}') =
			(SELECT coalesce(array_agg(id::text ORDER BY id::text), '{}') FROM e)
		INTO same_keys FROM orm.session_objects;
	SELECT coalesce(bool_and(o IS NOT DISTINCT FROM e), true) INTO equal
		FROM e LEFT JOIN LATERAL (SELECT g.* FROM orm.get(NULL::e, e.id) g) o ON true;
	RAISE EXCEPTION '% matched, equal %, identities %, % expired', matched, equal, same_keys, expired;
EXCEPTION WHEN raise_exception THEN
	RETURN SQLERRM;
END $$;

CREATE TABLE cases (no serial, name text, filter text, "set" text, params jsonb, before text);
GRANT SELECT ON cases TO PUBLIC;
INSERT INTO cases (name, filter, "set", params, before) VALUES
	('E1 simultaneous SET', 'true', 'x = y, y = x', NULL, NULL),
	('E2 criteria on an expired object', $$name = 'nobody'$$, 'age = 99', NULL, 'SELECT orm.expire(e) FROM e WHERE id = 1'),
	('E2 the object is expired and matches', $$name = 'axb'$$, 'age = 99', NULL, 'SELECT orm.expire(e) FROM e WHERE id = 1'),
	('E3 NOT IN with NULL', 'id NOT IN (2, NULL)', 'age = 99', NULL, NULL),
	('E4 NOT (NULL AND false)', 'NOT (x > 0 AND y = 99)', 'age = 99', NULL, NULL),
	('E5 modulo of a negative', 'x % 3 = -2', 'y = x % 3', NULL, NULL),
	('E6 LIKE is not startswith', $$name LIKE 'a%b'$$, 'age = 99', NULL, NULL),
	('E6 starts_with', $$starts_with(name, 'a%')$$, 'age = 99', NULL, NULL),
	('E7 a parameter', 'name = :nm', 'age = :age', '{"nm": "zzz", "age": 99}', NULL),
	('E8 a pending change in the criteria', 'age > 29', $$name = 'new'$$, NULL,
		$$SET LOCAL orm.autoflush = off; SELECT orm.set(g, '{"age": 10}') FROM orm.get(NULL::e, 2) g$$),
	('E9 integer division', 'x < 0', 'age = x / 2', NULL, NULL),
	('E10 collation', $$name > 'B'$$, 'age = 99', NULL, NULL),
	('E10 char padding', $$c = 'ab'$$, $$c = 'q'$$, NULL, NULL),
	('E10 varchar(8)', 'id = 1', $$name = 'long one'::char(20)$$, NULL, NULL),
	('E10 numeric(5,1)', 'true', 'n = n + 0.05', NULL, NULL),
	('E10 float4', 'true', 'f = f + 0.1::float8', NULL, NULL),
	('E10 numeric to int', 'true', 'age = n * 1.5', NULL, NULL),
	('a literal', 'id > 1', $$name = 'lqz'$$, NULL, NULL),
	('an expression', 'id > 0', $$name = left(name, 4) || '099'$$, NULL, NULL),
	('a value that is the same', 'true', 'age = age', NULL, NULL),
	('no row', 'false', 'age = age + 1', NULL, NULL),
	('now() and its kin', 'now() > ''2000-01-01''', 'age = 1', NULL, NULL),
	('criteria that raise on other rows', 'id = 1 AND 10 / (id - 2) < 0', 'age = 99', NULL, NULL),
	('the key changes', 'id > 1', 'id = id + 100', NULL, NULL),
	('the key changes, once more', 'true', 'id = -id, age = id', NULL, NULL),
	('the key of an expired object changes', 'id = 1', 'id = 7', NULL, 'SELECT orm.expire(e) FROM e WHERE id = 1'),
	('a system column', $$ctid IS NOT NULL$$, 'age = 99', NULL, NULL),
	('the whole row', $$(e).age > 30 AND e IS NOT NULL$$, 'age = 99', NULL, NULL),
	('delete', 'id > 2', NULL, NULL, NULL),
	('delete nothing', 'id = 4', NULL, NULL, NULL),
	('delete by a value', 'age IN (25, 37)', NULL, NULL, NULL),
	('delete an expired object', 'id IN (1, 2)', NULL, NULL, 'SELECT orm.expire(e) FROM e WHERE id = 1'),
	('delete with a pending change', 'age = 47', NULL, NULL,
		$$SET LOCAL orm.autoflush = off; SELECT orm.set(g, '{"age": 10}') FROM orm.get(NULL::e, 2) g$$);

-- READ COMMITTED: others may change rows at any time
SELECT name, bulk_case('auto', filter, "set", params, before) FROM cases WHERE name !~ 'pending' ORDER BY no;
SELECT name, bulk_case('fetch', filter, "set", params, before) FROM cases WHERE name !~ 'pending' ORDER BY no;
SELECT name, bulk_case('evaluate', filter, "set", params, before) FROM cases WHERE name !~ 'pending' ORDER BY no;
-- one snapshot: what can be evaluated is
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT name, bulk_case('auto', filter, "set", params, before) FROM cases WHERE name !~ 'pending' ORDER BY no;
SELECT name, bulk_case('fetch', filter, "set", params, before) FROM cases WHERE name !~ 'pending' ORDER BY no;
SELECT name, bulk_case('evaluate', filter, "set", params, before) FROM cases WHERE name !~ 'pending' ORDER BY no;
COMMIT;
-- the test can fail: 'false' leaves the objects as they are
SELECT name, bulk_case('false', filter, "set", params, before) FROM cases WHERE no IN (1, 5, 29);
-- and the next change is not computed from what it has left behind
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM orm.query(NULL::e);
SELECT orm.update_where(NULL::e, 'true', set => 'x = x + 1', synchronize_session => 'false');
SELECT orm.update_where(NULL::e, 'true', set => 'x = x + 1', synchronize_session => 'evaluate');
SELECT e.id, e.x, g.x FROM e, orm.get(NULL::e, e.id) g ORDER BY 1;
ROLLBACK;

--
-- Pending changes, possible only with autoflush off: the stored row is what
-- criteria are about; what is SET is overwritten, the rest is kept
--
CREATE FUNCTION pending_case(mode text, filter text, "set" text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint; shown e; modified bool; flushed e;
BEGIN
	PERFORM orm.expunge_all();
	SET LOCAL orm.autoflush = off;
	PERFORM orm.set(g, '{"age": 10, "y": 11}') FROM orm.get(NULL::e, 2) g;
	n := orm.update_where(NULL::e, filter, "set" => "set", synchronize_session => mode);
	SELECT * INTO shown FROM orm.get(NULL::e, 2);
	modified := orm.is_modified(shown);
	PERFORM orm.flush();
	SELECT * INTO flushed FROM e WHERE id = shown.id;
	RAISE EXCEPTION '% matched: % %, modified %, flushed %', n, shown,
		CASE WHEN shown = flushed THEN 'equals' ELSE 'differs from' END, modified, flushed;
EXCEPTION WHEN raise_exception THEN
	RETURN SQLERRM;
END $$;
BEGIN;
SELECT m, pending_case(m, 'age > 29', $$name = 'new', y = 1$$) FROM unnest('{auto,fetch,evaluate}'::text[]) m;
SELECT m, pending_case(m, 'age = 10', $$name = 'new', y = 1$$) FROM unnest('{auto,fetch,evaluate}'::text[]) m;
SELECT m, pending_case(m, 'true', $$age = 1, y = 1$$) FROM unnest('{auto,fetch,evaluate}'::text[]) m;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT m, pending_case(m, 'age > 29', $$name = 'new', y = 1$$) FROM unnest('{auto,fetch,evaluate}'::text[]) m;
SELECT m, pending_case(m, 'age = 10', $$name = 'new', y = 1$$) FROM unnest('{auto,fetch,evaluate}'::text[]) m;
ROLLBACK;

--
-- How many statements: evaluation asks for nothing, reading again for the
-- loaded keys, RETURNING comes with the statement itself
--
CREATE FUNCTION statements(call text) RETURNS SETOF text LANGUAGE sql AS
	$$SELECT regexp_replace(line, '\s+', ' ', 'g') FROM orm.explain(call) line WHERE line ~ '^[^ ]|^ [^ ]'$$;
BEGIN;
SELECT id FROM orm.query(NULL::e, 'id = 1');
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1', synchronize_session => 'evaluate')$$);
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1', synchronize_session => 'fetch')$$);
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1', synchronize_session => 'auto')$$);
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1', synchronize_session => false)$$);
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'id = id + 10')$$);
SELECT statements($$orm.delete_where(NULL::e, 'id > 0', synchronize_session => 'evaluate')$$);
SELECT statements($$orm.delete_where(NULL::e, 'id > 0', synchronize_session => 'fetch')$$);
-- nothing in the session: nothing to ask
SELECT orm.expunge_all();
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1')$$);
COMMIT;
-- a row that this transaction wrote cannot be changed by others
BEGIN;
SELECT id FROM orm.add(NULL::e, '{"id": 9, "age": 1}');
SELECT orm.flush();
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1', synchronize_session => 'evaluate')$$);
SELECT orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1', synchronize_session => 'evaluate');
SELECT id, age FROM orm.get(NULL::e, 9);
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT id FROM orm.query(NULL::e, 'id = 1');
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1')$$);
SELECT statements($$orm.delete_where(NULL::e, 'id > 0')$$);
-- criteria that may raise are not evaluated on rows that the statement may skip
SELECT statements($$orm.update_where(NULL::e, '10 / id > 0', "set" => 'age = age + 1')$$);
COMMIT;
-- objects that outlived their transaction are not trusted
SET orm.expire_on_commit = off;
BEGIN;
SELECT id FROM orm.query(NULL::e, 'id = 1');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT statements($$orm.update_where(NULL::e, 'id > 0', "set" => 'age = age + 1')$$);
COMMIT;
RESET orm.expire_on_commit;

--
-- E11: triggers, generated columns, cascades
--
CREATE TABLE t (id int PRIMARY KEY, a int, b int DEFAULT 0, g int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO t VALUES (1, 1), (2, 2);
CREATE FUNCTION t_before() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN NEW.b := NEW.b + NEW.a; RETURN NEW; END$$;
SELECT orm.map('t', 'T');
CREATE FUNCTION t_case(mode text, "set" text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint; shown text; stored text;
BEGIN
	PERFORM orm.expunge_all();
	PERFORM count(*) FROM orm.query(NULL::t);
	n := orm.update_where(NULL::t, 'id > 0', "set" => "set", synchronize_session => mode);
	SELECT string_agg(q::text, ' ' ORDER BY id) INTO shown FROM orm.query(NULL::t) q;
	SELECT string_agg(t::text, ' ' ORDER BY id) INTO stored FROM t;
	RAISE EXCEPTION '% matched, % %', n, CASE WHEN shown = stored THEN 'equal' ELSE 'not equal' END, shown;
EXCEPTION WHEN raise_exception THEN
	RETURN SQLERRM;
END $$;
\set modes 'FROM unnest(\'{auto,fetch,evaluate,false}\'::text[]) m'
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT m, t_case(m, 'a = a + 10') :modes;
COMMIT;
CREATE TRIGGER before BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION t_before();
SELECT m, t_case(m, 'a = a + 10') :modes;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT m, t_case(m, 'a = a + 10') :modes;
COMMIT;
-- a trigger that changes the key
CREATE OR REPLACE FUNCTION t_before() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN NEW.id := NEW.id + 100; RETURN NEW; END$$;
SELECT m, t_case(m, 'a = a + 10') :modes;
-- one that leaves rows out: they are not matched
CREATE OR REPLACE FUNCTION t_before() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN IF NEW.id = 1 THEN RETURN NULL; END IF; RETURN NEW; END$$;
SELECT m, t_case(m, 'a = a + 10') :modes;
-- one that comes after, and changes the same rows once more
DROP TRIGGER before ON t;
CREATE FUNCTION t_after() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN
		IF pg_trigger_depth() = 1 THEN UPDATE t SET b = b - 1 WHERE id = NEW.id OR id = 2; END IF;
		RETURN NULL;
	END$$;
CREATE TRIGGER after AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION t_after();
SELECT m, t_case(m, 'a = a + 10') FROM unnest('{auto,fetch,evaluate}'::text[]) m;
-- one that reads objects while it is at it
CREATE OR REPLACE FUNCTION t_after() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN
		PERFORM orm.set(o, jsonb_build_object('b', o.b + 5)) FROM orm.get(NULL::t, NEW.id) o WHERE o.b = 0;
		RETURN NULL;
	END$$;
SELECT m, t_case(m, 'a = a + 10') FROM unnest('{auto,fetch,evaluate}'::text[]) m;
DROP TRIGGER after ON t;

-- cascades: what the database deletes or changes is not shown as it was
CREATE TABLE parent (id int PRIMARY KEY, name text);
CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE,
	up int REFERENCES child ON DELETE SET NULL);
SELECT orm.map('parent', 'Parent'), orm.map('child', 'Child');
INSERT INTO parent VALUES (1, 'a'), (2, 'b');
INSERT INTO child VALUES (1, 1, NULL), (2, 2, 1), (3, 2, 1);
BEGIN;
SELECT count(*) FROM orm.query(NULL::parent);
SELECT count(*) FROM orm.query(NULL::child);
SELECT orm.update_where(NULL::parent, 'id = 2', "set" => 'id = 7');
SELECT class, identity, state FROM orm.session_objects ORDER BY 1, identity;
SELECT * FROM orm.get(NULL::child, 2);
SELECT orm.delete_where(NULL::parent, 'id = 1');
SELECT class, identity, state FROM orm.session_objects ORDER BY 1, identity;
SELECT * FROM orm.get(NULL::child, 1);
SELECT * FROM orm.query(NULL::child, order_by => 'id');
ROLLBACK;
-- within one table
BEGIN;
SELECT count(*) FROM orm.query(NULL::child);
SELECT orm.delete_where(NULL::child, 'id = 1');
SELECT * FROM orm.get(NULL::child, 2);
ROLLBACK;

\c postgres
DROP DATABASE regress_orm_evaluate;
DROP ROLE regress_orm_evaluate_user;
