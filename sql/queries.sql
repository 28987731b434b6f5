\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_queries;
CREATE DATABASE regress_orm_queries
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_queries SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_queries_user;
DROP ROLE IF EXISTS regress_orm_queries_guest;
\c regress_orm_queries
\set ECHO all
--
-- Loading objects by criteria, by an ordinary role
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_queries_user;
CREATE ROLE regress_orm_queries_guest;
GRANT CREATE ON SCHEMA public TO regress_orm_queries_user;
GRANT CREATE ON DATABASE regress_orm_queries TO regress_orm_queries_user;
SET ROLE regress_orm_queries_user;
SET extra_float_digits = 1;

CREATE TABLE users (id int PRIMARY KEY, name varchar(32) NOT NULL, age int,
	email varchar(32) UNIQUE, tags text[], doc jsonb);
CREATE TABLE hobby (id int PRIMARY KEY, caption varchar(50));
CREATE TABLE person (nid int PRIMARY KEY, name varchar(32),
	hobby_id int REFERENCES hobby);
CREATE TABLE boy (id int PRIMARY KEY, hostname text);
CREATE TABLE girl (id int PRIMARY KEY, name text);
CREATE TABLE boy2girl (id int PRIMARY KEY, girl_id int REFERENCES girl,
	boy_id int REFERENCES boy);
SELECT count(orm.map(t::regclass, c)) FROM (VALUES ('users', 'Users'),
	('hobby', 'Hobby'), ('person', 'Person'), ('boy', 'Boy'), ('girl', 'Girl'),
	('boy2girl', 'Boy2Girl')) v(t, c);
SELECT orm.relate('Person', 'hobby', 'Hobby', backref => 'pers');
SELECT orm.relate('Boy', 'girls', 'Girl', secondary => 'boy2girl', backref => 'boys');
INSERT INTO users VALUES (1, 'lqz', 30, 'a@x', '{a,b}', '{"k": 1}'),
	(2, 'egon', 20, 'b@x', '{c}', '[1]'), (3, 'alex', NULL, NULL, NULL, NULL),
	(4, 'lqz', 25, 'd@x', '{}', '2'), (5, 'wusir', 30, 'e@x', NULL, 'null');
INSERT INTO hobby VALUES (1, '篮球'), (2, '人妖'), (3, 'none');
INSERT INTO person VALUES (1, 'lqz', 1), (2, 'egon', 2), (3, 'alex', NULL), (4, 'both', 2);
INSERT INTO boy VALUES (1, 'b1'), (2, 'b2'), (3, 'b3');
INSERT INTO girl VALUES (1, 'g1'), (2, 'g2');
INSERT INTO boy2girl VALUES (1, 1, 1), (2, 2, 1), (3, 2, 2);

-- the seed's queries
SELECT id, name, age FROM orm.query(NULL::users, order_by => 'name DESC, age ASC');
SELECT name AS newname FROM orm.query(NULL::users, order_by => 'id');
SELECT id FROM orm.query(NULL::users, 'id IN (1,3,4)', 'id');
SELECT id FROM orm.query(NULL::users, 'id BETWEEN 1 AND 3', 'id');
SELECT id FROM orm.query(NULL::users, 'NOT (id IN (1,3,4))', 'id');
SELECT id FROM orm.query(NULL::users, 'id > :low', 'id', params => '{"low": 3}');
SELECT p.name, h.caption
	FROM orm.first(NULL::person, filter_by => '{"name": "lqz"}') p, hobby(p) h;
SELECT p.name, (p.hobby).caption
	FROM orm.first(NULL::person, filter_by => '{"name": "lqz"}') p;
SELECT p.name
	FROM orm.first(NULL::hobby, filter_by => '{"caption": "人妖"}') h, pers(h) p
	ORDER BY 1;

--
-- first, one, one_or_none: a row, no row, or an error
--
SELECT id FROM orm.first(NULL::users, order_by => 'id DESC');
SELECT count(*) FROM orm.first(NULL::users, 'false');
SELECT id FROM orm.one(NULL::users, 'id = 2');
SELECT id FROM orm.one(NULL::users, 'false');
\echo :SQLSTATE
SELECT id FROM orm.one(NULL::users, filter_by => '{"name": "lqz"}');
\echo :SQLSTATE
SELECT id FROM orm.one_or_none(NULL::users, 'id = 2');
SELECT count(*) FROM orm.one_or_none(NULL::users, 'false');
SELECT id FROM orm.one_or_none(NULL::users);
\echo :SQLSTATE

-- a page; NULL is no limit
SELECT id FROM orm.query(NULL::users, order_by => 'id', row_limit => 2, row_offset => 1);
SELECT id FROM orm.query(NULL::users, order_by => 'id', row_limit => NULL, row_offset => 3);
SELECT id FROM orm.query(NULL::users, row_limit => 0);
SELECT id FROM orm.query(NULL::users, row_limit => -1);

--
-- filter_by: equality, IN, IS NULL
--
CREATE FUNCTION ids(filter_by jsonb) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(id::text, ' ' ORDER BY id) FROM orm.query(NULL::users, filter_by => filter_by)$$;
SELECT ids('{"name": "lqz"}');
SELECT ids('{"name": "lqz", "age": 30}');
SELECT ids('{"id": [1, 3, 7]}');
SELECT ids('{"age": null}');
-- as in SQL, NULL in a list finds nothing, and an empty list nothing at all
SELECT ids('{"age": [20, null]}');
SELECT ids('{"id": []}');
-- a number as text; text longer than the column
SELECT ids('{"id": "3"}');
SELECT ids('{"name": "a name that is longer than its thirty-two characters"}');
-- an array column equals an array, and is IN an array of arrays
SELECT ids('{"tags": ["a", "b"]}');
SELECT ids('{"tags": []}');
SELECT ids('{"tags": [["c"], ["a", "b"]]}');
-- a jsonb column equals a document, and is IN an array of documents
SELECT ids('{"doc": {"k": 1}}');
SELECT ids('{"doc": [2, {"k": 1}]}');
SELECT ids('{"doc": [[1]]}');

--
-- filter_by over relationships
--
CREATE FUNCTION people(filter_by jsonb) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(name, ' ' ORDER BY nid) FROM orm.query(NULL::person, filter_by => filter_by)$$;
CREATE FUNCTION hobbies(filter_by jsonb) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(id::text, ' ' ORDER BY id) FROM orm.query(NULL::hobby, filter_by => filter_by)$$;
CREATE FUNCTION boys_where(filter_by jsonb) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(hostname, ' ' ORDER BY id) FROM orm.query(NULL::boy, filter_by => filter_by)$$;
SELECT people('{"hobby": {"id": 2}}');
SELECT people('{"hobby": {"caption": "篮球"}}');
SELECT people('{"hobby": {"caption": "人妖"}, "name": "both"}');
SELECT people('{"hobby": null}');
SELECT people('{"hobby": [{"id": 1}, null]}');
SELECT people('{"hobby": []}');
SELECT hobbies('{"pers": {"name": "egon"}}');
SELECT hobbies('{"pers": null}');
SELECT hobbies('{"pers": [{"name": "lqz"}, {"nid": 4}]}');
SELECT boys_where('{"girls": {"name": "g2"}}');
SELECT boys_where('{"girls": {"id": 1}}');
SELECT boys_where('{"girls": null}');
-- the boys that know a girl who knows b1
SELECT boys_where('{"girls": {"boys": {"hostname": "b1"}}}');

-- it is a join for the planner: no subplan
SET enable_mergejoin = off;
SET enable_nestloop = off;
SELECT regexp_replace(line, ' *\(cost.*\)', '') AS plan
	FROM orm.explain($$orm.query(NULL::hobby, filter_by => '{"pers": {"name": "egon"}}')$$) line;
RESET enable_mergejoin;
RESET enable_nestloop;

--
-- params
--
SELECT id FROM orm.query(NULL::users, 'name = $1 AND age > $2', 'id', params => '["lqz", 26]');
SELECT id FROM orm.query(NULL::users, 'id = ANY(:ids)', 'id', params => '{"ids": [1, 4]}');
SELECT id FROM orm.query(NULL::users, 'tags = :tags', params => '{"tags": ["a", "b"]}');
SELECT id FROM orm.query(NULL::users, 'doc = :doc', params => '{"doc": {"k": 1}}');
SELECT id FROM orm.query(NULL::users, 'age IS NOT DISTINCT FROM :age', params => '{"age": null}');
-- all fragments share them, and filter_by adds its own
SELECT id FROM orm.query(NULL::users, 'id <> :id', 'abs(id - :id), id', '{"name": ["lqz", "alex"]}', '{"id": 3, "unused": 1}');
SELECT id FROM orm.query(NULL::users, 'id <> $1', 'id', '{"name": ["lqz", "alex"]}', '[3, 9]');
-- a colon is a parameter only where it is one
SELECT id FROM orm.query(NULL::users, $$name = 'lqz'::text AND ':x' <> $q$:x$q$ AND id::int = :x -- :y$$, params => '{"x": 1}');
SELECT id FROM orm.query(NULL::users, '/* :y */ (ARRAY[10, 20, 30])[id:id] = ARRAY[:x::int]', params => '{"x": 20}');
SELECT id FROM orm.query(NULL::users, '(ARRAY[1, :x, 3])[:n] = id AND "id" = :x', params => '{"x": 2, "n": 2}');
SELECT id FROM orm.query(NULL::users, '(ARRAY[:x, :x, 3])[:n : :n] = ARRAY[id]', params => '{"x": 2, "n": 2}');
SELECT id FROM orm.query(NULL::users, '(ARRAY[1, 2])[:id] = ARRAY[1] AND id = 1');
SELECT count(*) FROM orm.query(NULL::users, '0 + :a + :b + :c + :d + :e + :f + :g + :h + :i + :j + :k = :l AND id=:a',
	params => '{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":11}');

--
-- the table's own name and navigation in a fragment
--
SELECT nid FROM orm.query(NULL::person, $$(person.hobby).caption = :c AND person.nid < 4$$, params => '{"c": "人妖"}');
SELECT id FROM orm.query(NULL::hobby, 'hobby.id IN (SELECT p.hobby_id FROM person p)', 'hobby.id');
SELECT id FROM orm.query(NULL::hobby, 'EXISTS (SELECT FROM pers(hobby) p WHERE p.name = $1)', params => '["egon"]');

--
-- The identity map: what is loaded stays as it is, unless populate_existing
--
BEGIN;
SELECT id, age FROM orm.query(NULL::users, 'id = 1');
SET LOCAL orm.autoflush = off;
SELECT id, age FROM orm.set(ROW(1, NULL, NULL, NULL, NULL, NULL)::users, '{"age": 31}');
SELECT id, age FROM orm.query(NULL::users, 'age = 30', 'id');
SELECT id, age FROM orm.query(NULL::users, 'id = 1', populate_existing => true);
SELECT class, identity, state, modified FROM orm.session_objects ORDER BY identity;
ROLLBACK;
-- pending changes are flushed before a query
BEGIN;
SELECT id, age FROM orm.set(ROW(1, NULL, NULL, NULL, NULL, NULL)::users, '{"age": 31}');
SELECT id FROM orm.add(NULL::users, '{"id": 6, "name": "new", "age": 31}');
SELECT id, age FROM orm.query(NULL::users, 'age = 31', 'id');
ROLLBACK;
-- but wrong criteria are an error before anything is flushed
BEGIN;
SELECT id FROM orm.add(NULL::users, '{"id": 6, "name": "new"}');
SAVEPOINT s;
SELECT orm.expunge_all();
SELECT id FROM orm.add(NULL::users, '{"id": 7, "name": null}');
SELECT id FROM orm.query(NULL::users, 'nonsense');
ROLLBACK;

--
-- Names: quoted, not ASCII, looking like SQL; a composite key
--
CREATE SCHEMA "Größe";
CREATE TABLE "Größe"."select" ("from" int, "naïve ""x""" text, "用户" text,
	PRIMARY KEY ("from", "用户"));
INSERT INTO "Größe"."select" VALUES (1, 'one', '甲'), (2, 'two', '乙');
SELECT orm.map('"Größe"."select"', 'An */ odd "class"');
SELECT * FROM orm.query(NULL::"Größe"."select", '"from" > :低', '"用户"', params => '{"低": 1}');
SELECT * FROM orm.query(NULL::"Größe"."select", filter_by => '{"naïve \"x\"": "one", "用户": ["甲", "丙"]}');
SELECT * FROM orm.query(NULL::"Größe"."select", '"select"."用户" = $1', params => '["乙"]');

-- a composite foreign key
CREATE TABLE part (id int PRIMARY KEY, a int, b text,
	FOREIGN KEY (a, b) REFERENCES "Größe"."select");
INSERT INTO part VALUES (1, 1, '甲'), (2, 2, '乙'), (3, 2, NULL);
SELECT orm.map('part', 'Part');
SELECT orm.relate('Part', 'whole', 'An */ odd "class"', backref => 'parts');
SELECT id FROM orm.query(NULL::part, filter_by => '{"whole": {"from": 2, "用户": "乙"}}');
SELECT id FROM orm.query(NULL::part, filter_by => '{"whole": {"naïve \"x\"": "one"}}');
SELECT id FROM orm.query(NULL::part, filter_by => '{"whole": null}');
SELECT "from" FROM orm.query(NULL::"Größe"."select", filter_by => '{"parts": {"id": 2}}');
SELECT "from" FROM orm.query(NULL::"Größe"."select", filter_by => '{"parts": null}');

-- the two sides of a foreign key may have different collations
CREATE TABLE tag (name text COLLATE "C" PRIMARY KEY, n int);
CREATE TABLE post (id int PRIMARY KEY, tag text COLLATE "POSIX" REFERENCES tag);
INSERT INTO tag VALUES ('a', 1), ('b', 2);
INSERT INTO post VALUES (1, 'a'), (2, 'b');
SELECT orm.map('tag', 'Tag'), orm.map('post', 'Post');
SELECT orm.relate('Post', 'tagged', 'Tag', backref => 'posts');
SELECT id FROM orm.query(NULL::post, filter_by => '{"tagged": {"n": 2}}');
SELECT n FROM orm.query(NULL::tag, filter_by => '{"posts": {"id": 1}}');
SELECT n FROM orm.query(NULL::tag, filter_by => '{"posts": null}');

-- a domain over the row type, and a view
CREATE DOMAIN tag_domain AS tag;
SELECT * FROM orm.query(NULL::tag_domain, 'n > 1');
CREATE VIEW tag_view AS SELECT n, name FROM tag WHERE n < 2;
SELECT orm.map('tag_view', 'TagView', primary_key => '{name}');
SELECT * FROM orm.query(NULL::tag_view, filter_by => '{"name": ["a", "b"]}');

-- a self-referential one
CREATE TABLE node (id int PRIMARY KEY, parent_id int REFERENCES node);
INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2);
SELECT orm.map('node', 'Node');
SELECT orm.relate('Node', 'parent', 'Node', backref => 'children', remote_side => '{id}');
SELECT id FROM orm.query(NULL::node, filter_by => '{"parent": {"parent": {"id": 1}}}');
SELECT id FROM orm.query(NULL::node, filter_by => '{"children": {"children": {"id": 3}}}');

-- dropped columns, a column that comes later, a partitioned table
CREATE TABLE parted (gone int, id int, kind text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a');
CREATE TABLE parted_b (kind text NOT NULL, gone int, id int NOT NULL, PRIMARY KEY (id, kind));
ALTER TABLE parted ATTACH PARTITION parted_b FOR VALUES IN ('b');
ALTER TABLE parted DROP COLUMN gone;
SELECT orm.map('parted', 'Parted');
INSERT INTO parted VALUES (1, 'a'), (1, 'b');
SELECT * FROM orm.query(NULL::parted, order_by => 'kind');
ALTER TABLE parted ADD COLUMN more text DEFAULT 'later';
SELECT * FROM orm.query(NULL::parted, order_by => 'kind');
SELECT * FROM orm.query(NULL::parted, filter_by => '{"kind": "b", "more": "later"}');

--
-- Columns whose type finds its operators outside pg_catalog are compared with
-- those, whatever the search_path
--
CREATE DOMAIN short AS varchar(3) CHECK (VALUE <> 'bad');
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE typed (id bigint PRIMARY KEY, s short, m mood, r int4range, c char(5),
	n numeric(6,2), t timestamptz, u uuid, j json);
INSERT INTO typed VALUES (1, 'abc', 'happy', '[1,5)', 'x', 1.50, '2020-01-02 03:04:05+00', '00000000-0000-0000-0000-000000000001', '{}');
SELECT orm.map('typed', 'Typed');
SELECT count(*) FROM orm.query(NULL::typed, filter_by =>
	'{"s": "abc", "m": "happy", "r": "[1,4]", "c": "x", "n": 1.5, "t": "2020-01-02T03:04:05Z", "u": "00000000-0000-0000-0000-000000000001"}');
SELECT count(*) FROM orm.query(NULL::typed, filter_by => '{"s": "bad", "m": ["sad", "happy"]}');
SELECT count(*) FROM orm.query(NULL::typed, filter_by => '{"j": {}}');
\echo :SQLSTATE
CREATE SCHEMA evil;
CREATE FUNCTION evil.yes(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.yes);
SET search_path = evil, pg_catalog, public;
SELECT count(*) FROM orm.query(NULL::users, filter_by => '{"id": 1}');
SELECT count(*) FROM orm.query(NULL::person, filter_by => '{"hobby": {"caption": "篮球"}}');
-- the user's own names and operators mean what they mean in SQL
SELECT count(*) FROM orm.query(NULL::users, 'id = 1');
RESET search_path;
SELECT count(*) FROM orm.query(NULL::users, 'id = 1');

--
-- Grants and row security are those of the caller
--
SET ROLE regress_orm_queries_guest;
SELECT id FROM orm.query(NULL::users);
\echo :SQLSTATE
SET ROLE regress_orm_queries_user;
GRANT SELECT ON users TO regress_orm_queries_guest;
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON users TO regress_orm_queries_guest USING (name = 'lqz');
BEGIN;
SELECT id FROM orm.query(NULL::users, order_by => 'id');
SET LOCAL ROLE regress_orm_queries_guest;
SELECT id FROM orm.query(NULL::users, order_by => 'id');
SELECT nid FROM orm.query(NULL::person);
ROLLBACK;

--
-- Plans are kept for each shape, and made anew when something changes
--
SELECT name FROM orm.query(NULL::users, 'id = 1');
ALTER TABLE users RENAME COLUMN name TO label;
SELECT label FROM orm.query(NULL::users, 'id = 1');
SELECT label FROM orm.query(NULL::users, filter_by => '{"label": "egon"}');
SELECT label FROM orm.query(NULL::users, 'name = 1');
\echo :SQLSTATE
ALTER TABLE users RENAME TO people_renamed;
SELECT label FROM orm.query(NULL::people_renamed, 'people_renamed.id = 1');
-- more shapes than are kept
DO $$
DECLARE n bigint;
BEGIN
	FOR i IN 1 .. 600 LOOP
		SELECT count(*) INTO n FROM orm.query(NULL::hobby, 'id = ' || i % 300);
		ASSERT n = (i % 300 BETWEEN 1 AND 3)::int;
	END LOOP;
END $$;
RESET ROLE;
SELECT total_nblocks > 0 AS kept, total_bytes < 8 * 1024 * 1024 AS bounded
	FROM (SELECT sum(total_nblocks) AS total_nblocks, sum(total_bytes) AS total_bytes
		FROM pg_backend_memory_contexts WHERE name LIKE 'pg_orm kept statement%') m;
SET ROLE regress_orm_queries_user;
-- a query inside a query, and inside a PL/pgSQL loop
CREATE FUNCTION twice(int) RETURNS bigint LANGUAGE sql AS
	$$SELECT count(*) FROM orm.query(NULL::hobby, 'id > ' || $1)$$;
SELECT id FROM orm.query(NULL::hobby, 'twice(id) = 1');

\c postgres
DROP DATABASE regress_orm_queries;
DROP ROLE regress_orm_queries_user;
DROP ROLE regress_orm_queries_guest;
