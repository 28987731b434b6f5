\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_documents;
CREATE DATABASE regress_orm_documents
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_documents SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_documents_user;
DROP ROLE IF EXISTS regress_orm_documents_guest;
\c regress_orm_documents
\set ECHO all
--
-- Reading documents: orm.find, orm.document, etags
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_documents_user;
CREATE ROLE regress_orm_documents_guest;
GRANT CREATE ON SCHEMA public TO regress_orm_documents_user;
SET ROLE regress_orm_documents_user;

CREATE TABLE hobby (id int PRIMARY KEY, caption varchar(50));
CREATE TABLE person (nid int PRIMARY KEY, name varchar(32),
	hobby_id int REFERENCES hobby);
CREATE TABLE boy (id serial PRIMARY KEY, hostname text);
CREATE TABLE girl (id serial PRIMARY KEY, name text);
CREATE TABLE boy2girl (girl_id int REFERENCES girl, boy_id int REFERENCES boy,
	PRIMARY KEY (boy_id, girl_id));
SELECT count(orm.map(t::regclass, c)) FROM (VALUES ('hobby', 'Hobby'),
	('person', 'Person'), ('boy', 'Boy'), ('girl', 'Girl')) v(t, c);
SELECT orm.relate('Person', 'hobby', 'Hobby', backref => 'pers');
SELECT orm.relate('Boy', 'girls', 'Girl', secondary => 'boy2girl',
	backref => 'boys', order_by => 'name DESC');

-- what the session has pending is seen, as by any other statement
BEGIN;
SELECT id FROM orm.add_all(NULL::hobby, '[{"id": 1, "caption": "篮球"}, {"id": 2, "caption": "人妖"}]');
SELECT nid FROM orm.add_all(NULL::person, '[{"nid": 1, "name": "lqz", "hobby_id": 1}, {"nid": 2, "name": "egon", "hobby_id": 2}, {"nid": 3, "name": "alex"}]');
SELECT * FROM orm.find('Hobby', '{ caption pers { name } }');
SELECT id FROM orm.add(NULL::boy, '{"hostname": "b1", "girls": [{"name": "g1"}, {"name": "g2"}]}');
SELECT orm.document(b, '{ hostname girls { name } }') FROM orm.get(NULL::boy, 1) b;
SELECT count(orm.set(p, '{"name": "LQZ"}')) FROM orm.get(NULL::person, 1) p;
SELECT orm.document(p, '{ name hobby { caption } }') FROM orm.get(NULL::person, 1) p;
COMMIT;

-- links that are there once each have their columns in scope, but for names
-- that the table itself has; of other links nothing is seen
CREATE TABLE ranked (boy_id int REFERENCES boy, girl_id int REFERENCES girl,
	rank int, name text, secret text, UNIQUE (girl_id, boy_id));
SELECT orm.relate('Boy', 'ranked', 'Girl', secondary => 'ranked',
	order_by => 'ranked.rank DESC NULLS LAST');
INSERT INTO girl SELECT 10 + i, 'r' || i % 3 FROM generate_series(1, 4) i;
INSERT INTO boy VALUES (10, 'b10'), (11, 'b11');
INSERT INTO ranked SELECT b, 10 + i, nullif(i, 2) * 7 % 5, 'x' || -i FROM generate_series(1, 4) i, (VALUES (10), (11)) v(b);
SELECT f FROM orm.find('Boy', '{ id ranked { id } }', 'id = 10') f;
SELECT f FROM orm.find('Boy', '{ id ranked(order_by: "name, rank", filter: "ranked.rank IS NOT NULL", limit: 2) { id name } }', 'id > 9') f;
GRANT SELECT ON boy, girl TO regress_orm_documents_guest;
GRANT SELECT (boy_id, girl_id, rank) ON ranked TO regress_orm_documents_guest;
SET ROLE regress_orm_documents_guest;
SELECT f FROM orm.find('Boy', '{ id ranked { id } }', 'id = 10') f;
SELECT f FROM orm.find('Boy', '{ id ranked(order_by: "secret") { id } }', 'id = 10') f;
RESET ROLE;
SET ROLE regress_orm_documents_user;
REVOKE ALL ON boy, girl FROM regress_orm_documents_guest;
ALTER TABLE ranked DROP CONSTRAINT ranked_girl_id_boy_id_key;
SELECT f FROM orm.find('Boy', '{ id ranked { id } }', 'id = 10') f;
SELECT f FROM orm.find('Boy', '{ id ranked(order_by: "id") { id } }', 'id = 10') f;
DROP TABLE ranked;
DELETE FROM boy WHERE id >= 10;
DELETE FROM girl WHERE id >= 10;

-- criteria, order, a part
SELECT * FROM orm.find('Person', '{ name }', 'nid > 1', order_by => 'name');
SELECT * FROM orm.find('Person', '{ name }', filter_by => '{"hobby": {"caption": "人妖"}}');
SELECT * FROM orm.find('Person', '{ name }', row_limit => 1, row_offset => 1);
SELECT * FROM orm.find('Person', '{ name }', 'name = :who', params => '{"who": "alex"}');
SELECT * FROM orm.find('Person', '{ name }', '(person.hobby).caption = $1', params => '["篮球"]');
SELECT count(*) FROM orm.find('Person', '{ name }', 'false');
SELECT f->>'name' AS name FROM orm.find('Person', '{ name }') f ORDER BY 1 DESC;

-- criteria with operators, and through relationships
SELECT (SELECT string_agg(d->>'nid', ',') FROM orm.find('Person', '{ nid }', filter_by => f::jsonb) d) AS found, f FROM (VALUES
	(1, '{"nid": {"ge": 2}}'), (2, '{"nid": {"gt": 1, "lt": 3}}'), (3, '{"nid": {"le": 1}}'),
	(4, '{"nid": {"eq": 3}}'), (5, '{"nid": {"ne": 3}}'), (6, '{"nid": {"in": [1, 3]}}'),
	(7, '{"nid": {"not_in": [1, 3, null]}}'), (8, '{"nid": {"between": [2, 3]}}'),
	(9, '{"hobby_id": {"is_null": true}}'), (10, '{"hobby_id": {"is_null": false}}'),
	(11, '{"hobby_id": {"eq": null}}'), (12, '{"hobby_id": {"ne": null}}'), (13, '{"hobby_id": {"ne": 1}}'),
	(14, '{"name": {"like": "%e%"}}'), (15, '{"name": {"ilike": "L%"}}'),
	(16, '{"or": [{"nid": 1}, {"name": "alex", "nid": 3}]}'), (17, '{"and": [{"nid": {"gt": 1}}, {"name": "egon"}]}'),
	(18, '{"not": {"nid": 1}}'), (19, '{"not": {"hobby": {"caption": {"like": "篮%"}}}}'),
	(20, '{"hobby": {"or": [{"id": 1}, {"id": 2}]}}'), (21, '{"hobby": {"pers": {"some": {"name": {"like": "e%"}}}}}'),
	(22, '{"or": []}'), (23, '{"nid": {"in": []}}'), (24, '{"nid": {"not_in": []}}')) v(n, f) ORDER BY n;
SELECT (SELECT string_agg(d->>'id', ',') FROM orm.find('Hobby', '{ id }', filter_by => f::jsonb) d) AS found, f FROM (VALUES
	(1, '{"pers": {"some": {}}}'), (2, '{"pers": {"none": {"name": "LQZ"}}}'),
	(3, '{"pers": {"every": {"name": {"like": "e%"}}}}'), (4, '{"pers": {"none": {}}}'),
	(5, '{"pers": {"some": {"nid": 1}, "none": {"nid": 2}}}'), (6, '{"not": {"pers": {"name": "egon"}}}'),
	(7, '{"pers": {"name": {"ne": "egon"}}}'), (8, '{"not": {"not": {"id": 1}}}')) v(n, f) ORDER BY n;
SELECT (SELECT string_agg(d->>'name', ',') FROM orm.find('Girl', '{ name }', filter_by => f::jsonb) d) AS found, f FROM (VALUES
	(1, '{"boys": {"every": {"hostname": "b1"}}}'), (2, '{"boys": {"none": {"hostname": {"ge": "b"}}}}')) v(n, f)
	ORDER BY n;
-- what every says of a NULL
UPDATE person SET name = NULL WHERE nid = 2;
SELECT orm.find('Hobby', '{ id }', filter_by => '{"pers": {"every": {"name": {"like": "e%"}}}}');
UPDATE person SET name = 'egon' WHERE nid = 2;
CREATE FUNCTION wrong(class text, filter_by jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	PERFORM orm.find(class, '{ id: "' || CASE class WHEN 'Person' THEN 'nid' ELSE 'id' END || '" }', filter_by => filter_by);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || COALESCE(' ' || NULLIF(hint, ''), '');
END $$;
SELECT f, wrong(c, f::jsonb) FROM (VALUES ('Person', '{"nid": {}}'), ('Person', '{"nid": {"gte": 1}}'),
	('Person', '{"nid": {"whatever": 1}}'), ('Person', '{"nid": {"lt": null}}'), ('Person', '{"nid": {"lt": "x"}}'),
	('Person', '{"nid": {"lt": [1]}}'), ('Person', '{"nid": {"between": [1]}}'), ('Person', '{"nid": {"between": 1}}'),
	('Person', '{"nid": {"in": 1}}'), ('Person', '{"nid": {"not_in": 1}}'), ('Person', '{"nid": {"like": "x"}}'),
	('Person', '{"name": {"like": 1}}'), ('Person', '{"nid": {"is_null": 1}}'), ('Person', '{"or": {}}'),
	('Person', '{"or": [1]}'), ('Person', '{"or": [{}]}'), ('Person', '{"not": []}'), ('Person', '{"not": {}}'),
	('Person', '{"hobby": {"some": {"id": 1}}}'), ('Hobby', '{"pers": {"every": {}}}'), ('Hobby', '{"pers": {"some": 1}}'),
	('Hobby', '{"pers": {"some": {"nid": 1}, "nid": 1}}')) v(c, f);
-- an object is no value for calls that may get values from anywhere
SELECT orm.query(NULL::person, filter_by => '{"nid": {"ne": 1}}');

-- objects that are not there
\set VERBOSITY sqlstate
SELECT orm.document(NULL::person, '{ name }');
SELECT orm.document(jsonb_populate_record(NULL::person, '{"nid": 99}'), '{ name }');
SELECT orm.document(ROW(1), '{ name }');
SELECT orm.document(p, 'name') FROM person p;
SELECT * FROM orm.find('Person', '{ name }', 'nosuch = 1');
SELECT * FROM orm.find('Person', '{ name }', filter_by => '{}');
\set VERBOSITY default

-- one statement for each level, however many rows
INSERT INTO hobby SELECT i, 'hobby ' || i FROM generate_series(3, 3000) i;
INSERT INTO person SELECT i, 'person ' || i, 1 + i % 3000 FROM generate_series(4, 9000) i;
CREATE INDEX ON person (hobby_id);
ANALYZE hobby, person;
SELECT explain FROM orm.explain($$SELECT count(*) FROM orm.find('Hobby',
	'{ caption pers { name hobby { caption } } }', 'id < 3')$$) WHERE explain LIKE '/*%';
SELECT explain FROM orm.explain($$SELECT count(*) FROM orm.find('Hobby',
	'{ caption pers { name hobby { caption } } }')$$) WHERE explain LIKE '/*%';
SELECT explain FROM orm.explain($$SELECT count(*) FROM orm.find('Boy',
	'{ hostname girls(limit: 2) { name boys { id } } }')$$) WHERE explain LIKE '/*%';
SELECT explain FROM orm.explain($$SELECT count(*) FROM orm.find('Hobby',
	'{ caption pers(limit: 1, order_by: "name DESC") { name } }')$$) WHERE explain LIKE '/*%';
SELECT explain FROM orm.explain($$SELECT count(*) FROM orm.find('Hobby',
	'{ caption pers(limit: 1, order_by: "name DESC") { name } }', 'id < 3')$$) WHERE explain LIKE '/*%';

-- the documents are those that SQL makes, by keys and as a whole
CREATE FUNCTION by_hand(low int, high int) RETURNS SETOF jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('id', h.id, 'pers', COALESCE((SELECT
		jsonb_agg(jsonb_build_object('name', p.name, 'h', jsonb_build_object('caption', h.caption)) ORDER BY p.nid)
		FROM person p WHERE p.hobby_id = h.id), '[]'))
	FROM hobby h WHERE h.id BETWEEN low AND high $$;
SELECT count(*) FROM (SELECT d::jsonb FROM orm.find('Hobby', '{ id pers { name h: hobby { caption } } }') d
	EXCEPT ALL SELECT by_hand(1, 3000)) x;
SELECT count(*) FROM (SELECT by_hand(1, 3000)
	EXCEPT ALL SELECT d::jsonb FROM orm.find('Hobby', '{ id pers { name h: hobby { caption } } }') d) x;
SELECT count(*) FROM (SELECT d::jsonb FROM orm.find('Hobby', '{ id pers { name h: hobby { caption } } }', 'id BETWEEN 7 AND 50') d
	INTERSECT ALL SELECT by_hand(7, 50)) x;
SELECT count(*) FROM (SELECT orm.document(h, '{ id pers { name h: hobby { caption } } }')::jsonb FROM hobby h WHERE id <= 20
	INTERSECT ALL SELECT by_hand(1, 20)) x;
SELECT count(*) FROM (SELECT orm.row_document(h, '{ id pers { name h: hobby { caption } } }') FROM hobby h WHERE id <= 20
	INTERSECT ALL SELECT by_hand(1, 20)) x;
-- limits, for few and for many parents
WITH limited AS (SELECT f->>'id' AS id, f->'pers' AS pers FROM orm.find('Hobby',
	'{ id pers(order_by: "nid DESC", limit: 2, offset: 1) { nid } }', 'id < 4') f)
	SELECT id, pers FROM limited ORDER BY id;
SELECT count(*) FROM (SELECT d->>'id' AS id, d->'pers'->>0 AS first FROM orm.find('Hobby',
	'{ id pers(order_by: "nid DESC", limit: 1) { nid } }') d) x
	WHERE first::jsonb->>'nid' IS DISTINCT FROM
		(SELECT max(nid)::text FROM person WHERE hobby_id = x.id::int);

-- within a function that is STABLE, and inside a query
CREATE FUNCTION first_hobby() RETURNS json STABLE LANGUAGE sql AS
	$$SELECT f FROM orm.find('Hobby', '{ id }', row_limit => 1) f$$;
SELECT first_hobby();
SELECT h.id, f FROM hobby h, LATERAL orm.find('Person', '{ nid }', 'hobby_id = :h',
	row_limit => 1, params => jsonb_build_object('h', h.id)) f WHERE h.id < 3 ORDER BY 1;

--
-- keys of other types, of several columns, and to one's own table
--
CREATE TABLE country (code text, region char(3), title text, PRIMARY KEY (code, region));
CREATE TABLE town (id numeric PRIMARY KEY, country_code varchar(5), country_region char(3),
	title text, part_of numeric REFERENCES town, small_id smallint,
	FOREIGN KEY (country_code, country_region) REFERENCES country);
CREATE TABLE "Odd ""Näme" (id bigint PRIMARY KEY, "select" text, "Odd ""Näme" int);
CREATE TABLE child (id int PRIMARY KEY, odd_id int REFERENCES "Odd ""Näme");
SELECT orm.map('country'), orm.map('town'), orm.map('child'), orm.map('"Odd ""Näme"', 'Odd');
SELECT orm.relate('town', 'country', 'country', backref => 'towns');
SELECT orm.relate('town', 'whole', 'town', backref => 'parts', foreign_keys => '{part_of}', remote_side => '{id}');
SELECT orm.relate('child', 'odd', 'Odd', backref => 'children');
INSERT INTO country VALUES ('de', 'BY', 'Bavaria'), ('de', 'BE', 'Berlin'), ('fr', 'BE', 'x');
INSERT INTO town VALUES (1.0, 'de', 'BY', 'Munich', NULL), (2, 'de', 'BE', 'Berlin', NULL),
	(3, 'de', 'BE', 'Mitte', 2.00), (4, 'de', NULL, 'nowhere', 1);
INSERT INTO "Odd ""Näme" VALUES (1, 'a', 7), (5000000000, 'b', 8);
INSERT INTO child VALUES (1, 1), (2, 1), (3, NULL);
SELECT * FROM orm.find('country', '{ * towns { id title parts { title } whole { title } } }');
SELECT * FROM orm.find('town', '{ title country { title } whole { title } }');
SELECT * FROM orm.find('country', '{ code towns(limit: 1, order_by: "title DESC") { title } }');
SELECT * FROM orm.find('Odd', '{ * children { id odd { "select" } } }');
SELECT * FROM orm.find('child', '{ id odd { id } }');
CREATE FUNCTION odd_one("Odd ""Näme") RETURNS text STABLE LANGUAGE sql AS $$SELECT $1."select" || '!'$$;
SELECT * FROM orm.find('Odd', '{ odd_one }');
SELECT orm.row_document(o, '{ odd_one children { id } }') FROM "Odd ""Näme" o;

-- collations that differ
CREATE TABLE tag (name text COLLATE "C" PRIMARY KEY);
CREATE TABLE post (id int PRIMARY KEY, tag text COLLATE "POSIX" REFERENCES tag);
CREATE TABLE post_tag (post int REFERENCES post, tag text COLLATE "POSIX" REFERENCES tag);
SELECT orm.map('tag'), orm.map('post');
SELECT orm.relate('post', 'tagged', 'tag', backref => 'posts');
SELECT orm.relate('post', 'tags', 'tag', secondary => 'post_tag', backref => 'all_posts');
INSERT INTO tag VALUES ('a'), ('b');
INSERT INTO post VALUES (1, 'a'), (2, 'b');
INSERT INTO post_tag VALUES (1, 'a'), (1, 'b'), (1, 'b'), (2, NULL), (NULL, 'a');
SELECT * FROM orm.find('post', '{ id tagged { name } tags { name } }');
SELECT * FROM orm.find('tag', '{ posts(limit: 1) { id } all_posts(limit: 1) { id } }');

-- partitions
CREATE TABLE part (id int PRIMARY KEY, k int) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (1) TO (10);
CREATE TABLE part2 (k int, gone int, id int NOT NULL);
ALTER TABLE part2 DROP COLUMN gone;
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES FROM (10) TO (20);
SELECT orm.map('part');
INSERT INTO part VALUES (1, 10), (11, 110);
SELECT * FROM orm.find('part');
SELECT orm.row_document(p, '{ * }') FROM part p ORDER BY id;
-- the columns of a document follow the table
ALTER TABLE part ADD COLUMN added text DEFAULT 'new';
SELECT * FROM orm.find('part');
PREPARE follows AS SELECT orm.row_document(p, '{ * }') FROM part p ORDER BY id;
EXECUTE follows;
ALTER TABLE part DROP COLUMN k;
EXECUTE follows;

--
-- types: as to_json has them
--
CREATE TYPE mood AS ENUM ('sad', 'très gai');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS numeric CHECK (value > 0);
CREATE DOMAIN pairs AS pair[];
CREATE TABLE types (id int PRIMARY KEY, b bool, i2 smallint, i8 bigint, f4 real,
	f8 double precision, n numeric, t text, v varchar(9), c char(5), ch "char", na name,
	by bytea, d date, tm time, ttz timetz, ts timestamp, tstz timestamptz, iv interval,
	u uuid, j json, jb jsonb, ia int[], ta text[], e mood, ea mood[], p pair, pa pair[],
	dn positive, dp pairs, r int4range, mr nummultirange, ip inet, bi bit(3), mo money,
	pt point, o oid, reg regclass, tsv tsvector);
SELECT orm.map('types');
INSERT INTO types VALUES (1, true, -32768, 9223372036854775807, 1.5, 1e300,
	123456789012345678901234567890.1234567890, e'a"b\\c\n\t\x01/é篮球😀', 'v', 'c', 'x', 'na',
	'\x00ff', '2020-02-29', '12:34:56.789', '12:34:56+02', '2020-01-01 00:00:00.000001',
	'2020-06-01 12:00:00+00', '1 year 2 days', '00000000-0000-0000-0000-000000000001',
	'{"a" :1, "a": 2}', '{"a": [1, null]}', '{1,NULL,3}', '{a,"b c",NULL}', 'très gai',
	'{sad}', '(1,"x y")', '{"(1,a)","(,)"}', 5, '{"(2,b)"}', '[1,5)', '{[1,2),[3.5,4)}',
	'10.0.0.1/8', '101', '12.50', '(1,2)', 42, 'pg_class', 'a:1 b');
INSERT INTO types (id) VALUES (2);
INSERT INTO types (id, f4, f8, n, d, ts, tstz, ia, t) VALUES (3, 'NaN', '-Infinity', 'NaN',
	'infinity', '-infinity', 'infinity', '{}', ''),
	(4, 'Infinity', -0.0, 1.00, '0044-03-15 BC', '294276-12-31 23:59:59', NULL, '{{1,2},{3,4}}', ' ');
SET TimeZone = 'Asia/Kolkata';
SELECT f::text = (SELECT row_to_json(ty)::text FROM types ty WHERE ty.id = (f->>'id')::int) AS same
	FROM orm.find('types') f;
SET extra_float_digits = 0;
SET bytea_output = 'escape';
SET IntervalStyle = 'iso_8601';
SET DateStyle = 'German';
SELECT f::text = (SELECT row_to_json(ty)::text FROM types ty WHERE ty.id = (f->>'id')::int) AS same
	FROM orm.find('types') f;
-- every ASCII character, long and short
CREATE TABLE texts (id int PRIMARY KEY, t text);
SELECT orm.map('texts');
INSERT INTO texts SELECT i, repeat('é', i % 9) || chr(i) || repeat('x', i % 11) || chr(i)
	FROM generate_series(1, 300) i;
INSERT INTO texts VALUES (1000, repeat('long "text" ', 100000));
SELECT count(*), count(*) FILTER (WHERE f::text = row_to_json(te)::text)
	FROM orm.find('texts') f JOIN texts te ON te.id = (f->>'id')::int;

--
-- etags
--
-- the same under all settings
CREATE TEMP TABLE etags AS SELECT id, orm.row_etag(ty, '{ * }') FROM types ty;
RESET extra_float_digits; RESET bytea_output; RESET IntervalStyle; RESET DateStyle;
SET TimeZone = 'UTC';
SELECT count(*) FROM etags e JOIN types ty USING (id) WHERE e.row_etag = orm.row_etag(ty, '{ * }');
SELECT f->>'_etag' = e.row_etag AS same FROM orm.find('types', '{ * _etag }') f
	JOIN etags e ON e.id = (f->>'id')::int;
-- another one for any change of what is checked, and only then
CREATE FUNCTION etag_of(selection text) RETURNS text LANGUAGE sql AS
	$$SELECT orm.row_etag(h, selection) FROM hobby h WHERE id = 1$$;
CREATE FUNCTION etag_changes(selection text, change text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	before text := etag_of(selection);
	changed bool;
BEGIN
	BEGIN
		EXECUTE change;
		changed := before <> etag_of(selection);
		RAISE EXCEPTION USING ERRCODE = 'UUUUU';
	EXCEPTION WHEN SQLSTATE 'UUUUU' THEN RETURN changed;
	END;
END $$;
DELETE FROM person WHERE nid > 5 AND hobby_id = 1 AND nid % 2 = 1;
SELECT etag_changes(s, c), s, c FROM (VALUES
	('{ caption }', $$UPDATE hobby SET caption = 'x' WHERE id = 1$$),
	('{ caption }', $$UPDATE hobby SET caption = NULL WHERE id = 1$$),
	('{ id }', $$UPDATE hobby SET caption = 'x' WHERE id = 1$$),
	('{ id caption @nocheck }', $$UPDATE hobby SET caption = 'x' WHERE id = 1$$),
	('{ id caption @hidden }', $$UPDATE hobby SET caption = 'x' WHERE id = 1$$),
	('@nocheck { * }', $$UPDATE hobby SET caption = 'x' WHERE id = 1$$),
	('{ pers { nid name } }', $$UPDATE person SET name = 'x' WHERE hobby_id = 1$$),
	('{ pers { nid name @nocheck } }', $$UPDATE person SET name = 'x' WHERE hobby_id = 1$$),
	('{ pers @nocheck { nid name } }', $$UPDATE person SET name = 'x' WHERE hobby_id = 1$$),
	('{ pers @nocheck { nid name } }', $$DELETE FROM person WHERE hobby_id = 1$$),
	('{ pers @hidden { nid name } id }', $$UPDATE person SET name = 'x' WHERE hobby_id = 1$$),
	('{ pers { nid } }', $$INSERT INTO person VALUES (100000, 'x', 1)$$),
	('{ pers { nid } }', $$UPDATE person SET hobby_id = NULL WHERE nid = 3000$$),
	('{ pers { name } }', $$UPDATE person SET nid = 100000 WHERE nid = 3000$$),
	('{ pers { name hobby { caption } } }', $$UPDATE hobby SET caption = 'x' WHERE id = 1$$),
	('{ pers { nid hobby @nocheck { caption } } }', $$UPDATE hobby SET caption = 'x' WHERE id = 1$$)) v(s, c);
-- it does not depend on the order of children, nor on the keys of the document
SELECT etag_of('{ id pers { name } }') = etag_of('{ n: id p: pers(order_by: "name DESC") { x: name } }');
-- 1 and 1.0 are different values of numeric, '' is not NULL, and borders count
CREATE TABLE pairs_of (id int PRIMARY KEY, a text, b text);
SELECT orm.map('pairs_of');
INSERT INTO pairs_of VALUES (1, 'ab', 'c'), (2, 'a', 'bc'), (3, '', NULL), (4, NULL, '');
SELECT count(DISTINCT orm.row_etag(p, '{ a b }')) FROM pairs_of p;

--
-- what is kept of a selection from call to call follows what it depends on
--
CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node, n int, name text);
INSERT INTO node VALUES (1, NULL, 10, 'a'), (2, 1, 20, 'b'), (3, 1, 15, 'c'), (4, 2, 5, 'd');
SELECT orm.map('node', 'Node');
SELECT orm.relate('Node', 'parent', 'Node', foreign_keys => '{up}', remote_side => '{id}', backref => 'nodes');
CREATE FUNCTION label(node) RETURNS text STABLE LANGUAGE sql AS 'SELECT $1.name || $1.id';
CREATE FUNCTION show_node(id int) RETURNS json LANGUAGE sql AS
	$$ SELECT orm.document(o, '{ id label nodes(order_by: "ranking(node.n)") { n } }') FROM node o WHERE o.id = $1 $$;
RESET ROLE;
CREATE SCHEMA s1 AUTHORIZATION regress_orm_documents_user;
CREATE SCHEMA s2 AUTHORIZATION regress_orm_documents_user;
SET ROLE regress_orm_documents_user;
CREATE FUNCTION s1.ranking(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION s2.ranking(int) RETURNS int LANGUAGE sql AS 'SELECT -$1';
SET search_path = public, s1;
SELECT show_node(1);
SET search_path = public, s2;
SELECT show_node(1);
SET search_path = public, s1;
-- another function of the name, of another type
DROP FUNCTION label(node);
CREATE FUNCTION label(node) RETURNS int[] STABLE LANGUAGE sql AS 'SELECT ARRAY[$1.id, $1.n]';
SELECT show_node(1);
ALTER TABLE node ALTER n TYPE text USING 'n' || n;
SELECT show_node(2);
DROP FUNCTION label(node);
CREATE FUNCTION label(node) RETURNS text STABLE LANGUAGE sql AS 'SELECT $1.name';
CREATE OR REPLACE FUNCTION s1.ranking(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
SELECT show_node(1);
ALTER TABLE node DROP n;
SELECT show_node(1);
ALTER TABLE node ADD n text;
SELECT show_node(1);
-- how values of a type are shown
RESET ROLE;
CREATE TYPE public.weather AS ENUM ('sad', 'glad');
ALTER TABLE node ADD mood public.weather DEFAULT 'glad';
SELECT orm.document(o, '{ id mood nodes(order_by: "id") { mood } }') FROM node o WHERE id = 1;
ALTER TYPE weather RENAME VALUE 'glad' TO 'happy';
ALTER TYPE weather RENAME TO climate;
SELECT orm.document(o, '{ id mood nodes(order_by: "id") { mood } }') FROM node o WHERE id = 1;
CREATE FUNCTION mood_json(climate) RETURNS json IMMUTABLE LANGUAGE sql AS $$ SELECT json_build_object('mood', $1::text) $$;
CREATE CAST (climate AS json) WITH FUNCTION mood_json(climate);
SELECT orm.document(o, '{ id mood nodes(order_by: "id") { mood } }') FROM node o WHERE id = 1;
DROP CAST (climate AS json);
SELECT orm.document(o, '{ id mood nodes(order_by: "id") { mood } }') FROM node o WHERE id = 1;
SET ROLE regress_orm_documents_user;
-- a function that wants the same document of another object
DROP FUNCTION label(node);
CREATE FUNCTION label(node) RETURNS json LANGUAGE plpgsql AS
	$$ BEGIN RETURN CASE WHEN $1.up IS NOT NULL THEN show_node($1.up) END; END $$;
SELECT show_node(4);
-- after an error in the middle of it
CREATE OR REPLACE FUNCTION label(node) RETURNS json LANGUAGE plpgsql AS
	$$ BEGIN RETURN to_json(1 / ($1.id - 2)); END $$;
SELECT show_node(i) FROM generate_series(1, 2) i;
SELECT show_node(3);
DO $$ BEGIN PERFORM show_node(2); EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'by zero'; END $$;
SELECT show_node(3);
RESET search_path;
-- a limit for one parent, and for several
SELECT f FROM orm.find('Node', '{ id nodes(limit: 1, offset: 1) { id } }', 'id = 1') f;
SELECT f FROM orm.find('Node', '{ id nodes(limit: 1, order_by: "id DESC") { id } }', 'id < 3') f;

--
-- grants and row security are the caller's
--
ALTER TABLE person ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON person TO PUBLIC USING (nid > 2);
GRANT SELECT ON hobby, person TO regress_orm_documents_guest;
RESET ROLE;
SET ROLE regress_orm_documents_guest;
SELECT * FROM orm.find('Hobby', '{ id pers(limit: 1) { nid } }', 'id < 3');
SELECT count(*) FROM orm.find('Person', '{ nid }', 'nid < 4');
SELECT * FROM orm.find('Person', '{ * }', 'nid = 1');
\set VERBOSITY sqlstate
SELECT * FROM orm.find('Boy');
SELECT orm.row_document(h, '{ * boys { id } }') FROM hobby h;
\set VERBOSITY default
RESET ROLE;

\c postgres
DROP DATABASE regress_orm_documents;
DROP ROLE regress_orm_documents_user;
DROP ROLE regress_orm_documents_guest;
