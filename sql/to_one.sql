\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_to_one;
CREATE DATABASE regress_orm_to_one
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_to_one SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_to_one_user;
DROP ROLE IF EXISTS regress_orm_to_one_tenant;
\c regress_orm_to_one
\set ECHO all
--
-- orm.to_one: the object that a foreign key refers to
--
CREATE EXTENSION pg_orm;
CREATE EXTENSION citext;
CREATE EXTENSION file_fdw;
CREATE ROLE regress_orm_to_one_user;
CREATE ROLE regress_orm_to_one_tenant;
GRANT CREATE ON SCHEMA public TO regress_orm_to_one_user;
SET ROLE regress_orm_to_one_user;
\set SHOW_CONTEXT never

CREATE TABLE hobby (id int PRIMARY KEY, caption text);
CREATE TABLE person (nid int PRIMARY KEY, hobby_id int REFERENCES hobby);
CREATE TABLE lesson (day date, hour int, title text, PRIMARY KEY (hour, day));
CREATE TABLE stray (id int PRIMARY KEY);
SELECT orm.map('hobby'), orm.map('person'), orm.map('lesson');
SELECT orm.relate('person', 'hobby', 'hobby', backref => 'pers');
INSERT INTO hobby SELECT n, 'hobby ' || n FROM generate_series(1, 1000) n;
INSERT INTO person SELECT n, nullif(n % 1001, 0)
	FROM generate_series(1, 3003) n;
INSERT INTO lesson SELECT date '2020-01-01' + n / 3, n % 3, 'lesson ' || n
	FROM generate_series(0, 299) n;
ANALYZE hobby, person, lesson;

--
-- Calls
--
SELECT * FROM orm.to_one(NULL::hobby, 5);
SELECT (orm.to_one(NULL::hobby, 5)).caption;
SELECT orm.to_one(NULL::hobby, NULL::int) IS NULL AS null_key,
	orm.to_one(NULL::hobby, 0) IS NULL AS no_row,
	orm.to_one(NULL::hobby, 99999999999) IS NULL AS out_of_range,
	orm.to_one(NULL::hobby, 7::smallint) AS smallint,
	orm.to_one(NULL::hobby, 7::numeric) AS numeric,
	orm.to_one(NULL::hobby, '7') AS text;
PREPARE untyped AS SELECT caption FROM orm.to_one(NULL::hobby, $1);
EXECUTE untyped ('8');
SELECT orm.to_one(NULL::lesson, 1, date '2020-01-02'),
	orm.to_one(NULL::lesson, '1', '2020-01-02'),
	orm.to_one(NULL::lesson, 1, NULL::date),
	orm.to_one(NULL::lesson, VARIADIC ARRAY['2', '2020-01-03']);
-- the first argument's value is not looked at
SELECT orm.to_one(ROW(1, 'x')::hobby, 9);
-- mistakes
SELECT orm.to_one(NULL::hobby, 1, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one(NULL::lesson, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one(NULL::lesson, VARIADIC ARRAY['1']);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one(NULL::stray, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one(1, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one(NULL::hobby, 'x');
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one(NULL::hobby, now());
\echo :LAST_ERROR_SQLSTATE

--
-- The same as the join, however the rows are found: one by one, or all read
-- at once, into an array, a hash table of integers or one of any key
--
CREATE FUNCTION same(a text, b text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	differing bigint;
BEGIN
	EXECUTE format('SELECT count(*), count(*) FILTER (WHERE
		(a.*) IS DISTINCT FROM (b.*)) FROM (%s) a FULL JOIN (%s) b USING (k)',
		a, b) INTO n, differing;
	RETURN format('%s rows, %s differ', n, differing);
END $$;
CREATE FUNCTION same_as_join(owner regclass, target regclass, fk text,
		key text, "where" text = 'true')
	RETURNS text LANGUAGE sql AS $$
	SELECT same(
		format('SELECT p.ctid k, orm.to_one(NULL::%s, p.%I)::text r,
			(orm.to_one(NULL::%1$s, p.%2$I)).%3$I f FROM %4$s p WHERE %5$s',
			target, fk, key, owner, "where"),
		format('SELECT p.ctid k, h::text r, h.%3$I f
			FROM %4$s p LEFT JOIN %1$s h ON h.%3$I = p.%2$I WHERE %5$s',
			target, fk, key, owner, "where")) $$;
SELECT same_as_join('person', 'hobby', 'hobby_id', 'id', 'nid <= 5');
SELECT same_as_join('person', 'hobby', 'hobby_id', 'id', 'nid <= 50');
SELECT same_as_join('person', 'hobby', 'hobby_id', 'id');
-- keys far apart, negative ones, foreign keys that lead nowhere
CREATE TABLE apart (id bigint PRIMARY KEY, t text);
CREATE TABLE to_apart (apart bigint);
INSERT INTO apart
	SELECT n * 10000000000 - 5000000000000, 't' || n
	FROM generate_series(1, 1000) n;
INSERT INTO to_apart SELECT id + n FROM apart, generate_series(0, 1) n;
SELECT orm.map('apart');
SELECT same_as_join('to_apart', 'apart', 'apart', 'id');
INSERT INTO apart VALUES (9223372036854775807, 'max'),
	(-9223372036854775808, 'min');
INSERT INTO to_apart VALUES (9223372036854775807), (-9223372036854775808),
	(0), (NULL);
SELECT same_as_join('to_apart', 'apart', 'apart', 'id');
-- a key that is no integer, and one of two columns
CREATE TABLE word (w text PRIMARY KEY, t int);
CREATE TABLE to_word (w varchar);
INSERT INTO word SELECT 'word ' || n, n FROM generate_series(1, 1000) n;
INSERT INTO to_word SELECT 'word ' || n FROM generate_series(1, 1100) n;
INSERT INTO to_word VALUES (NULL), ('');
SELECT orm.map('word');
SELECT same_as_join('to_word', 'word', 'w', 'w');
SELECT same('SELECT n k, orm.to_one(NULL::lesson, n % 4,
		date ''2020-01-01'' + n / 3)::text r FROM generate_series(0, 310) n',
	'SELECT n k, l::text r FROM generate_series(0, 310) n LEFT JOIN lesson l
		ON l.hour = n % 4 AND l.day = date ''2020-01-01'' + n / 3');
-- keys that are equal without being the same
CREATE TABLE tag (name citext PRIMARY KEY, n numeric);
INSERT INTO tag SELECT 'Tag' || n, n FROM generate_series(1, 200) n;
CREATE TABLE amount (a numeric PRIMARY KEY, t text);
INSERT INTO amount SELECT n + 0.50, 't' || n FROM generate_series(1, 200) n;
SELECT orm.map('tag'), orm.map('amount');
SELECT count((orm.to_one(NULL::tag, 'tAG' || n)).n),
	count((orm.to_one(NULL::amount, n + 0.5000)).t)
	FROM generate_series(1, 200) n;
-- more rows than hash_mem takes
CREATE TABLE wide (id int PRIMARY KEY, filler text);
INSERT INTO wide SELECT n, repeat('x', 500) || n
	FROM generate_series(1, 3000) n;
ANALYZE wide;
CREATE TABLE to_wide AS SELECT id AS wide FROM wide;
SELECT orm.map('wide');
SELECT same_as_join('to_wide', 'wide', 'wide', 'id');
SET work_mem = '64kB';
SELECT same_as_join('to_wide', 'wide', 'wide', 'id');
-- more than the planner thought
DELETE FROM wide WHERE id > 10;
VACUUM ANALYZE wide;
INSERT INTO wide SELECT n, repeat('x', 500) || n
	FROM generate_series(11, 3000) n;
SELECT same_as_join('to_wide', 'wide', 'wide', 'id');
RESET work_mem;

--
-- Rows of all kinds: toasted, with dropped, added and generated columns
--
CREATE TABLE odd (junk int, id int PRIMARY KEY, big text, gone int,
	twice int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE odd ALTER big SET STORAGE EXTERNAL, DROP junk;
INSERT INTO odd (id, big, gone) SELECT n, repeat(n::text, 3000), n
	FROM generate_series(1, 30) n;
ALTER TABLE odd DROP gone, ADD late text DEFAULT 'late', ADD t int;
INSERT INTO odd (id, big) VALUES (31, 'short');
CREATE TABLE to_odd AS SELECT n % 32 AS odd FROM generate_series(1, 64) n;
SELECT orm.map('odd');
SELECT same_as_join('to_odd', 'odd', 'odd', 'id', 'odd = 3');
SELECT same_as_join('to_odd', 'odd', 'odd', 'id');
SELECT (x).id, (x).late, (x).twice, length((x).big)
	FROM (SELECT orm.to_one(NULL::odd, n) x FROM generate_series(30, 32) n) s;

--
-- Relations of all kinds
--
CREATE TABLE part (id int PRIMARY KEY, t text) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (50);
CREATE TABLE part_2 (t text, id int NOT NULL);
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES FROM (50) TO (200);
INSERT INTO part SELECT n, 'p' || n FROM generate_series(0, 99) n;
ANALYZE part;
CREATE VIEW loud AS SELECT id, upper(caption) AS caption FROM hobby;
-- the view raises for rows that nobody asks for
CREATE VIEW fragile AS SELECT id, 1 / (id - 500) AS one FROM hobby;
CREATE TABLE to_part AS SELECT n AS r FROM generate_series(-1, 101) n;
SELECT orm.map('part'), orm.map('loud', primary_key => '{id}'),
	orm.map('fragile', primary_key => '{id}');
SELECT same_as_join('to_part', 'part', 'r', 'id');
SELECT same_as_join('to_part', 'loud', 'r', 'id');
SELECT count((orm.to_one(NULL::fragile, r)).id) FROM to_part;
SELECT (orm.to_one(NULL::fragile, 500)).one;
RESET ROLE;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE remote (id int, t text) SERVER files
	OPTIONS (program 'printf "1,one\n2,two\n"', format 'csv');
SELECT orm.map('remote', primary_key => '{id}');
SELECT same_as_join('to_part', 'remote', 'r', 'id', 'r < 4');
SELECT same_as_join('to_part', 'remote', 'r', 'id');
SET ROLE regress_orm_to_one_user;

--
-- By other columns than the primary key
--
CREATE TABLE badge (id int PRIMARY KEY, "no $1" int UNIQUE, word text,
	part int, UNIQUE (part, word));
INSERT INTO badge SELECT n, 10000 - n, 'w' || n % 100, n / 100
	FROM generate_series(1, 500) n;
ANALYZE badge;
SELECT orm.map('badge');
SELECT orm.to_one_by(NULL::badge, '{"no $1"}', 9999),
	orm.to_one_by(NULL::badge, '{word,part}', 'w3', 2),
	orm.to_one_by(NULL::badge, '{part,word}', 2, 'w3'),
	orm.to_one_by(NULL::badge, '{part,word}', 2, NULL::text),
	orm.to_one_by(NULL::badge, '{id}', '5'::text);
SELECT same('SELECT n k, orm.to_one_by(NULL::badge, ''{"no $1"}'', n)::text r,
		(orm.to_one(NULL::badge, 10000 - n)).id,
		(orm.to_one_by(NULL::badge, ''{word,part}'', ''w'' || n % 101,
			n % 7)).id id2
		FROM generate_series(9400, 10010) n',
	'SELECT n k, b::text r, b.id, b2.id id2
		FROM generate_series(9400, 10010) n
		LEFT JOIN badge b ON b."no $1" = n
		LEFT JOIN badge b2 ON b2.word = ''w'' || n % 101 AND b2.part = n % 7');
-- one of several
SELECT (orm.to_one_by(NULL::badge, '{part}', n)).part
	FROM generate_series(1, 3) n;
SELECT count((orm.to_one_by(NULL::badge, '{part}', n % 8)).part)
	FROM generate_series(1, 800) n;
SELECT orm.to_one_by(NULL::badge, '{nothing}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one_by(NULL::badge, '{part,word}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one_by(NULL::badge, '{}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one_by(NULL::badge, NULL, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one_by(NULL::badge, ARRAY['part', NULL]::name[], 1, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.to_one_by(NULL::badge, ARRAY[word]::name[], 1) FROM badge;
\echo :LAST_ERROR_SQLSTATE

-- index entries of dead rows on the way
UPDATE badge SET part = part + 100, "no $1" = -"no $1";
UPDATE badge SET part = part - 100, "no $1" = -"no $1";
SELECT count(b), min((b).id), max((b).id), max((b).word)
	FROM (SELECT orm.to_one_by(NULL::badge, '{"no $1"}', n) b,
			orm.to_one(NULL::badge, n - 9980) c
		FROM generate_series(9990, 9999) n) s;

--
-- What the query's snapshot sees, no more and no less
--
-- a volatile function changes the rows while the query runs
CREATE FUNCTION change(n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE hobby SET caption = 'changed' WHERE id = n;
	RETURN (SELECT (orm.to_one(NULL::hobby, n)).caption);
END $$;
BEGIN;
SELECT (orm.to_one(NULL::hobby, n)).caption AS before, change(n),
	(orm.to_one(NULL::hobby, n)).caption AS after
	FROM generate_series(1, 3) n;
SELECT (orm.to_one(NULL::hobby, 1)).caption;
ROLLBACK;
-- a query's own changes
WITH u AS (UPDATE hobby SET caption = 'new' WHERE id = 1 RETURNING id)
	SELECT (orm.to_one(NULL::hobby, id)).caption FROM u;
UPDATE hobby SET caption = 'hobby 1' WHERE id = 1
	RETURNING caption, (orm.to_one(NULL::hobby, id)).caption AS stored;
SELECT (orm.to_one(NULL::hobby, 1)).caption;

-- PL/pgSQL keeps its expressions for the whole transaction
DO $$
DECLARE
	x text;
BEGIN
	FOR i IN 1..3 LOOP
		x := (orm.to_one(NULL::hobby, 1)).caption;
		RAISE NOTICE 'memo % real %', x,
			(SELECT caption FROM hobby WHERE id = 1);
		UPDATE hobby SET caption = 'new ' || i WHERE id = 1;
	END LOOP;
	BEGIN
		UPDATE hobby SET caption = 'rolled back' WHERE id = 1;
		x := (orm.to_one(NULL::hobby, 1)).caption;
		RAISE NOTICE '%', x;
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		x := (orm.to_one(NULL::hobby, 1)).caption;
		RAISE NOTICE '%', x;
	END;
END $$;
CREATE FUNCTION caption(n int) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (orm.to_one(NULL::hobby, n)).caption;
END $$;
DO $$
BEGIN
	RAISE NOTICE '%', caption(1);
	UPDATE hobby SET caption = 'seen' WHERE id = 1;
	RAISE NOTICE '%', caption(1);
	BEGIN
		UPDATE hobby SET caption = 'unseen' WHERE id = 1;
		RAISE NOTICE '%', caption(1);
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		RAISE NOTICE '%', caption(1);
	END;
END $$;
UPDATE hobby SET caption = 'hobby 1' WHERE id = 1;

-- a function that changes rows between the rows of a query over it
CREATE FUNCTION touch(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	UPDATE hobby SET caption = caption || '!' WHERE id = n;
	RETURN n;
END $$;
BEGIN;
SELECT count(*) FILTER (WHERE c = 'hobby ' || n) AS unchanged, count(*)
	FROM (SELECT n, touch(n), (orm.to_one(NULL::hobby, n)).caption c
		FROM generate_series(1, 100) n) s;
ROLLBACK;

-- cursors keep their snapshot, through changes and savepoints, with the
-- rows still to be looked up
BEGIN;
DECLARE c CURSOR FOR SELECT nid, (p.hobby).caption FROM person p
	WHERE nid < 30 ORDER BY nid;
FETCH 2 FROM c;
UPDATE hobby SET caption = 'changed' WHERE id < 30;
SAVEPOINT s;
FETCH 2 FROM c;
ROLLBACK TO s;
FETCH 2 FROM c;
DECLARE d CURSOR FOR SELECT nid, 1 / (nid - 3), (p.hobby).caption
	FROM person p WHERE nid < 30 ORDER BY nid;
FETCH 2 FROM d;
SAVEPOINT s2;
FETCH 1 FROM d;
ROLLBACK TO s2;
FETCH 1 FROM c;
CLOSE c;
SELECT (orm.to_one(NULL::hobby, 5)).caption;
COMMIT;
UPDATE hobby SET caption = 'hobby ' || id WHERE id < 30;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT (p.hobby).caption FROM person p
	WHERE nid < 4 ORDER BY nid;
FETCH 1 FROM h;
COMMIT;
FETCH 2 FROM h;
CLOSE h;
-- an error while a query is half done, caught and not caught
DO $$
BEGIN
	PERFORM (p.hobby).caption, 1 / (nid - 7) FROM person p
		WHERE nid < 20 ORDER BY nid;
EXCEPTION WHEN division_by_zero THEN
	RAISE NOTICE 'caught, and %', (SELECT (p.hobby).caption FROM person p
		WHERE nid = 7);
END $$;
SELECT (p.hobby).caption, 1 / (nid - 3) FROM person p WHERE nid < 5;
-- a loop that is left early
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT (p.hobby).caption FROM person p ORDER BY nid LOOP
		EXIT;
	END LOOP;
	RAISE NOTICE '%', r.caption;
END $$;
-- DDL while a query holds on to rows
CREATE FUNCTION alter_hobby(n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COMMENT ON TABLE hobby IS %L', n);
	EXECUTE format('CREATE TEMP TABLE x%s (a int)', n);
	RETURN (SELECT (orm.to_one(NULL::hobby, n)).caption);
END $$;
SELECT (orm.to_one(NULL::hobby, n)).caption, alter_hobby(n),
	orm.to_one(NULL::hobby, n)
	FROM generate_series(1, 3) n;
DO $$
DECLARE
	x text;
BEGIN
	FOR i IN 1..2 LOOP
		x := (orm.to_one(NULL::hobby, 2))::text;
		RAISE NOTICE '%', x;
		IF i = 1 THEN
			ALTER TABLE hobby ADD rank int DEFAULT 4;
		END IF;
	END LOOP;
END $$;
ALTER TABLE hobby DROP rank;

--
-- Two columns of one object are one look-up, whoever asks
--
CREATE SEQUENCE looked;
CREATE VIEW counted AS
	SELECT h.* FROM hobby h WHERE nextval('looked') IS NOT NULL;
SELECT orm.map('counted', primary_key => '{id}');
SELECT setval('looked', 1, false);
SELECT (orm.to_one(NULL::counted, 3)).id,
	(orm.to_one(NULL::counted, 3)).caption
	FROM generate_series(1, 5);
SELECT nextval('looked') AS next_look_up;

--
-- Grants and row security
--
SET ROLE regress_orm_to_one_tenant;
SELECT orm.to_one(NULL::hobby, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT (orm.to_one(NULL::hobby, n)).id FROM generate_series(1, 100) n;
RESET ROLE;
GRANT SELECT (id) ON hobby TO regress_orm_to_one_tenant;
SET ROLE regress_orm_to_one_tenant;
SELECT (orm.to_one(NULL::hobby, 1)).id;
RESET ROLE;
CREATE TABLE account (id int PRIMARY KEY, tenant text);
INSERT INTO account SELECT n, 't' || n % 2 FROM generate_series(1, 100) n;
ANALYZE account;
GRANT SELECT ON account TO regress_orm_to_one_tenant;
ALTER TABLE account ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON account
	USING (tenant = current_setting('app.tenant'));
SELECT orm.map('account');
SELECT count((orm.to_one(NULL::account, n)).id)
	FROM generate_series(1, 100) n;
SET ROLE regress_orm_to_one_tenant;
SET app.tenant = 't1';
SELECT count((orm.to_one(NULL::account, n)).id),
	min((orm.to_one(NULL::account, n)).tenant),
	max((orm.to_one(NULL::account, n)).tenant)
	FROM generate_series(1, 100) n;
SET app.tenant = 't0';
SELECT count((orm.to_one(NULL::account, n)).id),
	min((orm.to_one(NULL::account, n)).tenant),
	max((orm.to_one(NULL::account, n)).tenant)
	FROM generate_series(1, 100) n;
-- the tenant changes within a function, then the role
DO $$
DECLARE
	x text;
BEGIN
	FOR i IN 1..4 LOOP
		IF i < 3 THEN
			PERFORM set_config('app.tenant', 't' || i % 2, true);
		ELSIF i = 3 THEN
			RESET ROLE;
		ELSE
			SET ROLE regress_orm_to_one_tenant;
			x := set_config('app.tenant', 't1', true);
		END IF;
		x := (orm.to_one(NULL::account, 1)).tenant;
		RAISE NOTICE '%', x;
	END LOOP;
END $$;
SET row_security = off;
SELECT (orm.to_one(NULL::account, 1)).tenant;
\echo :LAST_ERROR_SQLSTATE
RESET row_security;
RESET ROLE;
-- somebody else's function reads with his own rights
CREATE FUNCTION as_owner(n int) RETURNS text LANGUAGE sql SECURITY DEFINER
	STABLE AS 'SELECT (orm.to_one(NULL::account, n)).tenant';
SET ROLE regress_orm_to_one_tenant;
SET app.tenant = 't0';
SELECT n, (orm.to_one(NULL::account, n)).tenant, as_owner(n),
	(orm.to_one(NULL::account, n)).tenant
	FROM generate_series(1, 2) n;
RESET ROLE;
-- a policy that would tell of the rows it is asked about
CREATE FUNCTION tell(n int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'asked about %', n;
	RETURN true;
END $$;
DROP POLICY tenant ON account;
CREATE POLICY told ON account USING (tell(id));
DELETE FROM account WHERE id > 15;
ANALYZE account;
SET ROLE regress_orm_to_one_tenant;
SELECT count((orm.to_one(NULL::account, n % 15 + 1)).id)
	FROM generate_series(1, 30) n WHERE n % 15 <> 3;
RESET ROLE;
-- a policy that navigates
CREATE TABLE holder (id int PRIMARY KEY, name text);
INSERT INTO holder SELECT n, CASE WHEN n % 2 = 0
	THEN 'regress_orm_to_one_tenant' ELSE 'x' END
	FROM generate_series(1, 100) n;
GRANT SELECT ON holder TO regress_orm_to_one_tenant;
SELECT orm.map('holder');
DROP POLICY told ON account;
CREATE POLICY held ON account
	USING ((orm.to_one(NULL::holder, id)).name = current_user);
SET ROLE regress_orm_to_one_tenant;
SELECT n, (orm.to_one(NULL::account, n)).id FROM generate_series(1, 4) n;
RESET ROLE;

--
-- Parallel plans keep it in the leader
--
SET ROLE regress_orm_to_one_user;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT (p.hobby).caption FROM person p WHERE nid > 1;
EXPLAIN (COSTS OFF) SELECT count((p.hobby).caption) FROM person p;
SELECT count((p.hobby).caption), max((p.hobby).id) FROM person p;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- jit
SET jit_above_cost = 0;
SELECT count((p.hobby).caption), max((p.hobby).id) FROM person p;
RESET jit_above_cost;

-- serializable and repeatable read
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count((p.hobby).caption) FROM person p WHERE nid < 20;
UPDATE hobby SET caption = 'mine' WHERE id = 1;
SELECT (orm.to_one(NULL::hobby, 1)).caption;
ROLLBACK;

-- in a check constraint, a default and an index expression's place
CREATE TABLE checked (id int PRIMARY KEY,
	hobby_id int CHECK ((orm.to_one(NULL::hobby, hobby_id)).id IS NOT NULL));
INSERT INTO checked SELECT n, n FROM generate_series(1, 40) n;
INSERT INTO checked VALUES (41, 5000);
INSERT INTO hobby VALUES (5000, 'late');
INSERT INTO checked VALUES (41, 5000);

\c postgres
DROP DATABASE regress_orm_to_one;
DROP ROLE regress_orm_to_one_user, regress_orm_to_one_tenant;
