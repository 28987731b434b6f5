\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_reading;
CREATE DATABASE regress_orm_reading
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_reading SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_reading_user;
DROP ROLE IF EXISTS regress_orm_reading_guest;
\c regress_orm_reading
\set ECHO all
--
-- orm.query as a node of the plan: what it is used for, and that it does what
-- the function does
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_reading_user;
CREATE ROLE regress_orm_reading_guest;
GRANT CREATE ON SCHEMA public TO regress_orm_reading_user;
GRANT CREATE ON DATABASE regress_orm_reading TO regress_orm_reading_user;
SET ROLE regress_orm_reading_user;

CREATE TABLE b (id int PRIMARY KEY, name text, age int);
CREATE TABLE c (id int PRIMARY KEY, b_id int REFERENCES b ON DELETE CASCADE, n int);
SELECT count(orm.map(t::regclass)) FROM (VALUES ('b'), ('c')) v(t);
SELECT orm.relate('c', 'owner', 'b', backref => 'cs');
INSERT INTO b SELECT i, 'n' || i, i * 10 FROM generate_series(1, 5) i;
INSERT INTO c SELECT i, 1 + i % 5, i FROM generate_series(1, 10) i;
ANALYZE b, c;
-- how many objects are in the session
CREATE FUNCTION loaded() RETURNS bigint STABLE LANGUAGE sql AS
	'SELECT count(*) FROM orm.session_objects';
CREATE SEQUENCE s;
CREATE FUNCTION bump(n int) RETURNS int VOLATILE LANGUAGE plpgsql AS
	$$BEGIN UPDATE b SET age = age + 1000 WHERE id = n; RETURN n; END$$;

--
-- Which plans have it: a plain SELECT of columns that runs nothing else
--
CREATE FUNCTION node(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ '(Custom|Function) Scan' THEN
			RETURN regexp_replace(trim(line), '^-> *', '');
		END IF;
	END LOOP;
	RETURN 'none';
END $$;
EXPLAIN (COSTS OFF, VERBOSE) SELECT sum(age) FROM orm.query(NULL::b, 'id > 1') q;
EXPLAIN (COSTS OFF) SELECT name, max(age) FROM orm.query(NULL::b) GROUP BY name HAVING max(age) > 1;
EXPLAIN (COSTS OFF) SELECT name FROM orm.query(NULL::b) x(i, n, a) JOIN c ON c.b_id = i JOIN b USING (id) WHERE a > 1;
SELECT node(q), q FROM (VALUES
	('SELECT * FROM orm.query(NULL::b)'),
	('SELECT name FROM orm.query(NULL::b, order_by => ''id'') LIMIT 1'),
	('SELECT * FROM (SELECT age FROM orm.query(NULL::b) OFFSET 0) s'),
	('WITH q AS MATERIALIZED (SELECT * FROM orm.query(NULL::b)) SELECT sum(age) FROM q'),
	('SELECT 1 WHERE EXISTS (SELECT FROM orm.query(NULL::b))'),
	('SELECT sum(age) OVER (ORDER BY id) FROM orm.query(NULL::b)'),
	('SELECT age FROM orm.query(NULL::b, $$name = ''$$ || current_setting(''work_mem'') || $$''$$)'),
	-- the row as a whole
	('SELECT q FROM orm.query(NULL::b) q'),
	('SELECT count(q) FROM orm.query(NULL::b) q'),
	('SELECT age FROM orm.query(NULL::b) q WHERE q IS NOT NULL'),
	-- which a navigation function is not
	('SELECT age FROM orm.query(NULL::b) q, cs(q)'),
	-- something may be done between the rows
	('SELECT bump(id) FROM orm.query(NULL::b)'),
	('SELECT id FROM orm.query(NULL::b) WHERE (SELECT bump(1)) = 1'),
	('SELECT id, (SELECT bump(q.id)) FROM orm.query(NULL::b) q'),
	('SELECT id, nextval(''s'') FROM orm.query(NULL::b)'),
	('WITH w AS (DELETE FROM c RETURNING *) SELECT age FROM orm.query(NULL::b)'),
	('INSERT INTO b (id) SELECT id + 10 FROM orm.query(NULL::b)'),
	('UPDATE b SET age = q.age FROM orm.query(NULL::b) q WHERE b.id = q.id'),
	('SELECT q.age FROM orm.query(NULL::b) q, c FOR UPDATE OF c'),
	('SELECT age FROM orm.query(NULL::b) WHERE random() < 2'),
	-- arguments that depend on the rest
	('SELECT age FROM c, orm.query(NULL::b, params => jsonb_build_array(c.n), filter => ''id = $1'')'),
	('SELECT age FROM orm.query(NULL::b, (SELECT ''true'')) q'),
	('SELECT (SELECT sum(age) FROM orm.query(NULL::b, ''id = '' || c.id)) FROM c'),
	-- not by itself
	('SELECT age FROM orm.query(NULL::b) WITH ORDINALITY'),
	('SELECT x.id FROM ROWS FROM (orm.query(NULL::b), generate_series(1, 2)) x'),
	('SELECT age FROM orm.first(NULL::b)'),
	('SELECT orm.query(NULL::b)')) v(q);
-- in a new connection, too, where nothing has loaded the library
\c
SET ROLE regress_orm_reading_user;
EXPLAIN (COSTS OFF) SELECT sum(age) FROM orm.query(NULL::b);

--
-- How many rows the planner expects where that matters: those of the call's
-- own statement, and 1000 if it cannot know
--
CREATE FUNCTION expected(call text, statement text DEFAULT 'SELECT FROM %s q JOIN c USING (id)')
	RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || format(statement, call) LOOP
		IF line ~ '(Custom|Function) Scan' THEN
			RETURN substring(line, 'rows=(\d+)');
		END IF;
	END LOOP;
	RETURN 'none';
END $$;
CREATE TABLE many (id int PRIMARY KEY, kind int, name text);
SELECT orm.map('many');
INSERT INTO many SELECT i, i % 10, 'n' || i FROM generate_series(1, 2000) i;
ANALYZE many;
SELECT expected(call), call FROM (VALUES
	('orm.query(NULL::many)'),
	('orm.query(NULL::many, ''id = 7'')'),
	('orm.query(NULL::many, ''kind = 7'', ''name'')'),
	('orm.query(NULL::many, filter_by => ''{"kind": 7}'')'),
	('orm.query(NULL::many, filter_by => ''{"id": [1, 2, 3]}'')'),
	('orm.query(NULL::many, ''kind = :k'', params => jsonb_build_object(''k'', 7))'),
	('orm.query(NULL::many, row_limit => 20)'),
	('orm.query(NULL::many, ''false'')'),
	('orm.query(NULL::many, ''id = '' || (random() * 0)::int)')) v(call);
SELECT expected('orm.query(NULL::many)', statement), statement FROM (VALUES
	('SELECT kind, count(*) FROM %s GROUP BY kind'),
	('SELECT DISTINCT kind FROM %s'),
	('SELECT FROM (SELECT kind FROM %s OFFSET 0) s JOIN c ON kind = id'),
	-- nothing depends on it
	('SELECT * FROM %s'),
	('SELECT * FROM %s ORDER BY kind')) v(statement);
-- to whom the table is closed it is not told what is in it
RESET ROLE;
SET ROLE regress_orm_reading_guest;
SELECT expected('orm.query(NULL::many, ''kind = 7'')', 'SELECT FROM %s q, (VALUES (1), (2)) v');
RESET ROLE;
GRANT SELECT (id, name) ON many TO regress_orm_reading_guest;
SET ROLE regress_orm_reading_guest;
SELECT expected('orm.query(NULL::many, ''kind = 7'')', 'SELECT FROM %s q, (VALUES (1), (2)) v');
RESET ROLE;
GRANT SELECT ON many TO regress_orm_reading_guest;
SET ROLE regress_orm_reading_guest;
SELECT expected('orm.query(NULL::many, ''kind = 7'')', 'SELECT FROM %s q, (VALUES (1), (2)) v');
RESET ROLE;
SET ROLE regress_orm_reading_user;
-- wrong criteria are found when it is planned
EXPLAIN SELECT FROM orm.query(NULL::many, 'knd = 7') q JOIN c USING (id);

--
-- The same rows as the table's
--
SELECT * FROM orm.query(NULL::b);
SELECT name, age FROM orm.query(NULL::b, 'id < :n', 'id DESC', params => '{"n": 4}', row_limit => 2);
SELECT id FROM orm.query(NULL::b, filter_by => '{"name": ["n2", "n3"]}') q WHERE age > 20;
SELECT sum(age), count(*), min(name) FROM orm.query(NULL::b);
SELECT sum(DISTINCT age / 20), string_agg(name, ',' ORDER BY age DESC) FROM orm.query(NULL::b);
SELECT age % 20 AS k, sum(age) FROM orm.query(NULL::b) GROUP BY k ORDER BY k;
SELECT DISTINCT age % 20 AS k FROM orm.query(NULL::b) ORDER BY k;
SELECT id, sum(age) OVER (ORDER BY id) FROM orm.query(NULL::b) ORDER BY id;
SELECT q.name, sum(c.n) FROM orm.query(NULL::b) q JOIN c ON c.b_id = q.id GROUP BY q.name HAVING sum(c.n) > 10 ORDER BY 1;
SELECT c.id FROM c WHERE EXISTS (SELECT FROM orm.query(NULL::b, 'id > 4') q WHERE q.id = c.b_id) ORDER BY 1;
SELECT c.id, (SELECT sum(q.age) FROM orm.query(NULL::b, 'id < 4') q WHERE q.id <= c.id) FROM c WHERE id < 5 ORDER BY 1;
SELECT id FROM orm.query(NULL::b, 'id = 1') UNION ALL SELECT age FROM orm.query(NULL::b, 'id = 2');
SELECT id FROM orm.query(NULL::b, 'id < 3') EXCEPT SELECT id FROM orm.query(NULL::b, 'id = 2');
WITH q AS (SELECT * FROM orm.query(NULL::b)) SELECT a.id FROM q a JOIN q b ON a.age = b.id * 20 ORDER BY 1;
SELECT (c.owner).name, q.age FROM orm.query(NULL::c) c JOIN orm.query(NULL::b) q ON q.id = c.b_id WHERE c.id < 3 ORDER BY c.id;
SELECT 1 + a FROM orm.query(NULL::b) AS q(i, n, a) LIMIT 1;
SELECT sum(age) FROM orm.query(NULL::b, 'false');
SELECT age FROM orm.query(NULL::b) WHERE current_date < '2000-01-01';
CREATE TABLE copied AS SELECT * FROM orm.query(NULL::b);
SELECT count(*) = 5 AND sum(age) = 150 AS same FROM copied;
COPY (SELECT name FROM orm.query(NULL::b, 'id > 3', 'id')) TO STDOUT;
INSERT INTO c (id, b_id) SELECT 100 + id, id FROM orm.query(NULL::c, 'id < 6') RETURNING id;
DELETE FROM c WHERE id > 100;
-- the inner side of a join, read again and again
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT sum(q.age * c.n) FROM c LEFT JOIN orm.query(NULL::b, 'id < 4') q ON q.id < c.b_id;
SET enable_material = on;
SELECT sum(q.age * c.n) FROM c LEFT JOIN orm.query(NULL::b, 'id < 4') q ON q.id < c.b_id;
RESET enable_hashjoin;
RESET enable_mergejoin;
-- a parallel plan is run at once
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT sum(age) FROM orm.query(NULL::b, 'id > 1');
COMMIT;

--
-- What is loaded: every row that is read, but for a query that shows only
-- aggregates of columns
--
BEGIN;
SELECT sum(age), max(name) FROM orm.query(NULL::b);
SELECT age % 20 AS k FROM orm.query(NULL::b) GROUP BY k ORDER BY k;
SELECT loaded();
SELECT name FROM orm.query(NULL::b, 'id < 3') ORDER BY name;
SELECT loaded();
SELECT count(*) FROM orm.query(NULL::b, 'id < 4');
SELECT loaded();
SELECT sum(age), count(*) FROM orm.query(NULL::b);
SELECT loaded();
ROLLBACK;
-- as far as it is read
BEGIN;
SELECT id FROM orm.query(NULL::b, order_by => 'id DESC') LIMIT 2;
SELECT loaded();
SELECT id FROM orm.query(NULL::b) LIMIT 0;
SELECT loaded();
COMMIT;
-- within the limit of the identity map
BEGIN;
SET LOCAL orm.identity_map_limit = 2;
SELECT id FROM orm.query(NULL::b, order_by => 'id');
SELECT identity FROM orm.session_objects ORDER BY 1;
SELECT id FROM orm.query(NULL::b);
SELECT identity FROM orm.session_objects ORDER BY 1;
-- but what is changed is seen
SET LOCAL orm.autoflush = off;
SELECT orm.set(orm.get(NULL::b, 5), '{"age": 55}');
SELECT id, age FROM orm.query(NULL::b);
SELECT q FROM orm.query(NULL::b) q;
SELECT identity, state FROM orm.session_objects ORDER BY 1;
ROLLBACK;

--
-- What is shown is the session's version, in aggregates too
--
-- pending changes are flushed first
BEGIN;
SELECT orm.set(orm.get(NULL::b, 1), '{"age": 12}');
SELECT sum(age) FROM orm.query(NULL::b);
SELECT age FROM b WHERE id = 1;
SELECT orm.add(NULL::b, '{"id": 6, "age": 60}');
SELECT sum(age), count(*) FROM orm.query(NULL::b);
SELECT orm.delete(orm.get(NULL::b, 2));
SELECT sum(age) FROM orm.query(NULL::b);
SELECT id FROM orm.query(NULL::b, order_by => 'id');
ROLLBACK;
-- or shown without being flushed
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.set(orm.get(NULL::b, 1), '{"age": 13}');
SELECT orm.delete(orm.get(NULL::b, 2));
SELECT sum(age) FROM orm.query(NULL::b);
SELECT id, age FROM orm.query(NULL::b, order_by => 'id');
SELECT sum(age) FROM orm.query(NULL::b, populate_existing => true);
ROLLBACK;
-- what was expired is read anew
BEGIN;
SELECT count(*) FROM orm.query(NULL::b);
UPDATE b SET age = age + 1 WHERE id = 1;
SELECT sum(age) FROM orm.query(NULL::b);
SELECT age FROM orm.query(NULL::b, 'id = 1');
SELECT age FROM orm.get(NULL::b, 1);
ROLLBACK;
-- prepared before there are objects, and after
PREPARE total AS SELECT sum(age) FROM orm.query(NULL::b);
PREPARE of(text, jsonb) AS SELECT sum(age) FROM orm.query(NULL::b, $1, params => $2);
PREPARE rows AS SELECT id, age FROM orm.query(NULL::b, 'id < 3', 'id');
SET plan_cache_mode = force_generic_plan;
EXECUTE total;
EXECUTE of('id = $1', '[3]');
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.set(orm.get(NULL::b, 3), '{"age": 33}');
EXECUTE total;
EXECUTE of('id = $1', '[3]');
EXECUTE of('id = $1', '[4]');
EXECUTE rows;
ROLLBACK;
EXECUTE total;
EXECUTE rows;

--
-- Whatever comes between two rows
--
-- a cursor that can go back
BEGIN;
DECLARE back CURSOR FOR SELECT id, age FROM orm.query(NULL::b, order_by => 'id');
FETCH 2 FROM back;
SELECT loaded();
UPDATE b SET age = 0 WHERE id = 4;
FETCH 2 FROM back;
SELECT age FROM orm.get(NULL::b, 4);
FETCH BACKWARD 3 FROM back;
ROLLBACK;
-- one that cannot: what was read before a write is shown and not kept
BEGIN;
DECLARE ahead NO SCROLL CURSOR FOR SELECT id, age FROM orm.query(NULL::b, order_by => 'id');
FETCH 2 FROM ahead;
UPDATE b SET age = 0 WHERE id = 3;
SELECT orm.delete(orm.get(NULL::b, 4));
FETCH 2 FROM ahead;
SELECT age FROM orm.get(NULL::b, 3);
SELECT orm.get(NULL::b, 4) IS NULL AS gone;
SELECT orm.set(orm.get(NULL::b, 5), '{"age": 5}');
FETCH 2 FROM ahead;
ROLLBACK;
-- another user, another session, none
BEGIN;
DECLARE ahead NO SCROLL CURSOR FOR SELECT id, age FROM orm.query(NULL::b, order_by => 'id');
FETCH 1 FROM ahead;
SET LOCAL orm.session = 'other';
FETCH 1 FROM ahead;
SELECT loaded();
SET LOCAL orm.session = 'main';
SELECT loaded();
CALL orm.close();
FETCH 1 FROM ahead;
DISCARD PLANS;
FETCH 1 FROM ahead;
SAVEPOINT s;
FETCH 1 FROM ahead;
ROLLBACK TO s;
SELECT loaded();
COMMIT;
BEGIN;
DECLARE held NO SCROLL CURSOR WITH HOLD FOR SELECT id FROM orm.query(NULL::b, order_by => 'id');
FETCH 1 FROM held;
COMMIT;
FETCH 2 FROM held;
CLOSE held;
-- a function that gives its rows one by one
CREATE FUNCTION one_by_one() RETURNS TABLE (id int, age int) LANGUAGE sql STABLE AS
	$$SELECT id, age FROM orm.query(NULL::b, order_by => 'id')$$;
BEGIN;
SELECT (r).id, (r).age, bump(4) FROM (SELECT one_by_one() r OFFSET 0) s;
SELECT age FROM orm.get(NULL::b, 4);
ROLLBACK;
DO $$
DECLARE
	r record;
	n int := 0;
BEGIN
	FOR r IN SELECT id, age FROM orm.query(NULL::b, order_by => 'id') LOOP
		PERFORM orm.set(orm.get(NULL::b, r.id), jsonb_build_object('age', r.age + 1));
		PERFORM orm.flush();
		n := n + r.age;
	END LOOP;
	ASSERT n = 150;
	ASSERT (SELECT sum(age) FROM b) = 155;
	ASSERT (SELECT sum(age) FROM orm.query(NULL::b)) = 155;
	-- an error in the middle
	FOR n IN 1 .. 3 LOOP
		BEGIN
			PERFORM age FROM orm.query(NULL::b, '100 / (3 - id) > 0');
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
	UPDATE b SET age = id * 10;
END $$;
SELECT age FROM orm.query(NULL::b, '100 / (3 - id) > 0');
\echo :SQLSTATE
SELECT age FROM orm.query(NULL::b, '100 / (3 - id) > 0', order_by => 'name');
-- rows that the statement itself makes are not seen
BEGIN;
INSERT INTO b (id) SELECT id + 10 FROM orm.query(NULL::b);
SELECT count(*) FROM b;
ROLLBACK;

--
-- What depends on the call has the call
--
CREATE VIEW v AS SELECT sum(age) AS total FROM orm.query(NULL::b);
-- (newer versions leave the table's name out)
SELECT replace(pg_get_viewdef('v'), 'query.age', 'age');
SELECT * FROM v;
CREATE MATERIALIZED VIEW m AS SELECT sum(age) AS total FROM b;
CREATE FUNCTION f() RETURNS bigint LANGUAGE sql
	BEGIN ATOMIC SELECT sum(age) FROM orm.query(NULL::b); END;
SELECT f();
SELECT pg_get_function_sqlbody('f'::regproc);
CREATE RULE r AS ON UPDATE TO v DO INSTEAD SELECT sum(age) FROM orm.query(NULL::b);
SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename = 'r';
UPDATE v SET total = 1;

--
-- Privileges and row security
--
RESET ROLE;
REVOKE EXECUTE ON FUNCTION orm.query FROM PUBLIC;
SET ROLE regress_orm_reading_user;
SELECT sum(age) FROM orm.query(NULL::b);
\echo :SQLSTATE
SELECT * FROM orm.query(NULL::b);
RESET ROLE;
GRANT EXECUTE ON FUNCTION orm.query TO PUBLIC;
SET ROLE regress_orm_reading_guest;
SELECT sum(age) FROM orm.query(NULL::b);
\echo :SQLSTATE
SELECT age FROM orm.query(NULL::b);
\echo :SQLSTATE
EXECUTE total;
SET ROLE regress_orm_reading_user;
GRANT SELECT (id, age) ON b TO regress_orm_reading_guest;
SET ROLE regress_orm_reading_guest;
SELECT sum(age) FROM orm.query(NULL::b);
\echo :SQLSTATE
SET ROLE regress_orm_reading_user;
GRANT SELECT ON b TO regress_orm_reading_guest;
ALTER TABLE b ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON b TO regress_orm_reading_guest USING (id <= (SELECT max(c.id) FROM c WHERE n < 3));
GRANT SELECT ON c TO regress_orm_reading_guest;
EXECUTE total;
SET ROLE regress_orm_reading_guest;
EXECUTE total;
SELECT sum(age) FROM orm.query(NULL::b);
SELECT id FROM orm.query(NULL::b) ORDER BY id;
SET ROLE regress_orm_reading_user;
-- what one role has loaded is not another's
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.set(orm.get(NULL::b, 1), '{"age": 99}');
EXECUTE total;
SET LOCAL ROLE regress_orm_reading_guest;
EXECUTE total;
ROLLBACK;
ALTER TABLE b DISABLE ROW LEVEL SECURITY;

--
-- Relations of every kind
--
CREATE TABLE parted (id int, k int, t text DEFAULT 'x', PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (t text, k int NOT NULL, id int NOT NULL);
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
CREATE TABLE parent (id int PRIMARY KEY, a int);
CREATE TABLE child (b int, PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE wide (id int PRIMARY KEY, long text);
ALTER TABLE wide ALTER long SET STORAGE EXTERNAL;
CREATE TABLE keyed (code text COLLATE "C", d date, v int, PRIMARY KEY (code, d));
CREATE TABLE changing (id int PRIMARY KEY, a int, z int);
CREATE VIEW shown AS SELECT id, age FROM b;
CREATE VIEW reordered AS SELECT age, name, id FROM b WHERE id > 1;
CREATE TABLE unmapped (id int PRIMARY KEY);
SELECT count(orm.map(t::regclass)) FROM (VALUES ('parted'), ('parent'),
	('child'), ('wide'), ('keyed'), ('changing')) v(t);
INSERT INTO parted VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 1, 'c');
INSERT INTO parent VALUES (1, 10);
INSERT INTO child VALUES (2, 20, 200);
INSERT INTO wide SELECT i, repeat(i::text, 10000) FROM generate_series(1, 3) i;
INSERT INTO keyed VALUES ('a', '2020-01-01', 1), ('b', '2020-01-01', 2), ('a', '2020-01-02', 3);
INSERT INTO changing VALUES (1, 1, 1), (2, 2, 2);
BEGIN;
SELECT sum(id) FROM orm.query(NULL::parted);
SELECT id, k, t FROM orm.query(NULL::parted) ORDER BY id;
SELECT id, t FROM orm.query(NULL::parted, 'k = 1') ORDER BY id;
SELECT id, t FROM orm.query(NULL::parted, 'k = 2');
SELECT sum(a) FROM orm.query(NULL::parent);
SELECT id, a FROM orm.query(NULL::parent) ORDER BY id;
SELECT * FROM orm.query(NULL::child);
SELECT id, length(long) FROM orm.query(NULL::wide) ORDER BY id;
SELECT sum(length(long)) FROM orm.query(NULL::wide);
SELECT code, sum(v) FROM orm.query(NULL::keyed) GROUP BY code ORDER BY code;
SELECT * FROM orm.query(NULL::keyed) ORDER BY code, d;
SELECT class, identity FROM orm.session_objects ORDER BY class, identity::text;
SELECT orm.set(orm.get(NULL::parted, 2, 2), '{"t": "changed"}');
SELECT orm.set(orm.get(NULL::keyed, 'a', '2020-01-02'), '{"v": 30}');
SELECT orm.set(orm.get(NULL::wide, 2), '{"long": "short"}');
SELECT orm.flush();
SELECT id, k, t FROM orm.query(NULL::parted) ORDER BY id;
SELECT string_agg(t, ' ' ORDER BY id) FROM orm.query(NULL::parted);
SELECT sum(v) FROM orm.query(NULL::keyed);
SELECT sum(length(long)) FROM orm.query(NULL::wide);
ROLLBACK;
SELECT sum(id) FROM orm.query(NULL::unmapped);
\echo :SQLSTATE
SELECT id FROM orm.query(NULL::unmapped);
\echo :SQLSTATE
SELECT 1 FROM orm.query(NULL::int);
\echo :SQLSTATE
-- a table that is altered under a plan
PREPARE change AS SELECT sum(a) FROM orm.query(NULL::changing);
PREPARE all_of AS SELECT * FROM orm.query(NULL::changing, order_by => 'id');
EXECUTE change;
EXECUTE all_of;
ALTER TABLE changing ADD y int DEFAULT 7;
EXECUTE change;
EXECUTE all_of;
SELECT id, y FROM orm.query(NULL::changing) ORDER BY id;
SELECT sum(y) FROM orm.query(NULL::changing);
BEGIN;
SELECT * FROM orm.query(NULL::changing) ORDER BY id;
SELECT * FROM orm.get(NULL::changing, 1);
ALTER TABLE changing ADD x int DEFAULT 8;
SELECT * FROM orm.query(NULL::changing) ORDER BY id;
SELECT sum(x + y) FROM orm.query(NULL::changing);
SELECT orm.set(orm.get(NULL::changing, 1), '{"x": 9}');
SELECT sum(x + y) FROM orm.query(NULL::changing);
COMMIT;
ALTER TABLE changing ALTER z TYPE text;
SELECT * FROM orm.query(NULL::changing) ORDER BY id;
EXECUTE change;
ALTER TABLE changing DROP COLUMN z;
EXECUTE change;
SELECT node('SELECT sum(a) FROM orm.query(NULL::changing)');
SELECT id, a, y, x FROM orm.query(NULL::changing) ORDER BY id;
SELECT sum(a) FROM orm.query(NULL::changing);
ALTER TABLE changing DROP COLUMN a;
EXECUTE change;
\echo :SQLSTATE

--
-- orm.get: objects in the order of loading, in another, and what is between
--
CREATE TABLE short (id int2 PRIMARY KEY, v int);
CREATE TABLE long (id int8 PRIMARY KEY, v int);
CREATE TABLE dated (id date PRIMARY KEY, v int);
CREATE TABLE pair (a int, b int8, v int, PRIMARY KEY (a, b));
SELECT count(orm.map(t::regclass)) FROM (VALUES ('short'), ('long'), ('dated'), ('pair')) v(t);
INSERT INTO short SELECT i, i FROM generate_series(-3, 3) i;
INSERT INTO long SELECT i * 4294967296, i FROM generate_series(-3, 3) i;
INSERT INTO dated SELECT '2000-01-01'::date + i, i FROM generate_series(-3, 3) i;
INSERT INTO pair SELECT i, i * 4294967296, i FROM generate_series(-3, 3) i;
BEGIN;
SELECT sum(v) FROM orm.query(NULL::short, populate_existing => true);
SELECT sum(v) FROM orm.query(NULL::long, populate_existing => true);
SELECT sum(v) FROM orm.query(NULL::dated, populate_existing => true);
SELECT sum(v) FROM orm.query(NULL::pair, populate_existing => true);
SELECT loaded();
-- values that the tables do not have tell what is from memory
SET LOCAL orm.autoflush = off;
SELECT count(orm.set(orm.get(NULL::short, i), '{"v": 7}')) FROM generate_series(-3, 3) i;
SELECT count(orm.set(orm.get(NULL::long, i * 4294967296), '{"v": 7}')) FROM generate_series(3, -3, -1) i;
SELECT count(orm.set(orm.get(NULL::dated, '2000-01-01'::date + i), '{"v": 7}')) FROM generate_series(-3, 3, 2) i;
SELECT count(orm.set(orm.get(NULL::pair, i, i * 4294967296), '{"v": 7}')) FROM generate_series(3, -3, -2) i;
SELECT string_agg((orm.get(NULL::short, i)).v::text, ' ') FROM generate_series(-4, 4) i;
SELECT string_agg((orm.get(NULL::long, i * 4294967296)).v::text, ' ') FROM generate_series(-4, 4) i;
SELECT string_agg((orm.get(NULL::dated, '2000-01-01'::date + i)).v::text, ' ') FROM generate_series(-4, 4) i;
SELECT string_agg((orm.get(NULL::pair, i, i * 4294967296)).v::text, ' ') FROM generate_series(-4, 4) i;
-- several models, and keys of which none has a row
SELECT string_agg((orm.get(NULL::short, i)).v || ' ' || (orm.get(NULL::long, i * 4294967296)).v, ' ')
	FROM generate_series(3, -3, -1) i;
SELECT orm.get(NULL::long, 1::int8) IS NULL, orm.get(NULL::long, 3) IS NULL, orm.get(NULL::pair, 1, 2) IS NULL;
-- one that goes while it is the last that was found
SELECT (orm.get(NULL::short, 1)).v;
SELECT orm.expunge(orm.get(NULL::short, 1));
SELECT (orm.get(NULL::short, 2)).v, (orm.get(NULL::short, 1)).v, (orm.get(NULL::short, 3)).v;
SAVEPOINT s;
SELECT orm.add(NULL::short, '{"id": 9, "v": 9}');
SELECT (orm.get(NULL::short, 9)).v;
ROLLBACK TO s;
SELECT orm.get(NULL::short, 9) IS NULL, (orm.get(NULL::short, 2)).v;
-- a row from before a column was added, changed and not
SET LOCAL orm.autoflush = on;
ALTER TABLE short ADD w int DEFAULT 5;
SELECT orm.get(NULL::short, 1), (orm.get(NULL::short, 2)).w;
SELECT orm.set(orm.get(NULL::short, 2), '{"w": 6}');
SELECT (orm.get(NULL::short, 2)).w, (orm.get(NULL::short, 3)).w;
ALTER TABLE short ALTER w TYPE text;
SELECT (orm.get(NULL::short, 2)).w, (orm.get(NULL::short, 3)).w;
ROLLBACK;

\c postgres
DROP DATABASE regress_orm_reading;
DROP ROLE regress_orm_reading_user;
DROP ROLE regress_orm_reading_guest;
