\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_selection;
CREATE DATABASE regress_orm_selection
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_selection SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_selection_user;
DROP ROLE IF EXISTS regress_orm_selection_guest;
\c regress_orm_selection
\set ECHO all
--
-- Selections: which part of a graph a document has
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_selection_user;
CREATE ROLE regress_orm_selection_guest;
GRANT CREATE ON SCHEMA public TO regress_orm_selection_user;
SET ROLE regress_orm_selection_user;

CREATE TABLE hobby (id int PRIMARY KEY, caption varchar(50));
CREATE TABLE person (nid int PRIMARY KEY, name varchar(32),
	hobby_id int REFERENCES hobby, "odd ""name" text, "größe" int);
CREATE TABLE boy (id int PRIMARY KEY, hostname text);
CREATE TABLE girl (id int PRIMARY KEY, name text);
CREATE TABLE boy2girl (id int PRIMARY KEY, girl_id int REFERENCES girl,
	boy_id int REFERENCES boy);
SELECT count(orm.map(t::regclass, c)) FROM (VALUES ('hobby', 'Hobby'),
	('person', 'Person'), ('boy', 'Boy'), ('girl', 'Girl')) v(t, c);
SELECT orm.relate('Person', 'hobby', 'Hobby', backref => 'pers');
SELECT orm.relate('Boy', 'girls', 'Girl', secondary => 'boy2girl', backref => 'boys');
CREATE FUNCTION shout(person) RETURNS text STABLE
	LANGUAGE sql AS $$SELECT upper($1.name)$$;
CREATE FUNCTION letters(person) RETURNS SETOF text STABLE
	LANGUAGE sql AS $$SELECT regexp_split_to_table($1.name, '')$$;
CREATE FUNCTION pair(person, OUT a int, OUT b text) STABLE
	LANGUAGE sql AS $$SELECT $1.nid, $1.name$$;
INSERT INTO hobby VALUES (1, '篮球'), (2, '人妖'), (3, 'none');
INSERT INTO person VALUES (1, 'lqz', 1, 'x"y', 170), (2, 'egon', 2, NULL, NULL),
	(3, 'alex', NULL, '', 0), (4, 'both', 2, e'\t\\', -1);
INSERT INTO boy VALUES (1, 'b1'), (2, 'b2'), (3, 'b3');
INSERT INTO girl VALUES (1, 'g1'), (2, 'g2');
INSERT INTO boy2girl VALUES (1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2);

-- columns, "*", other keys, quoted names
SELECT * FROM orm.find('Hobby', '{ id caption }');
SELECT * FROM orm.find('hobby');
SELECT * FROM orm.find('Hobby', '{id,caption,}');
SELECT * FROM orm.find('Person', '{ * number: nid who: name }', 'nid = 1');
SELECT * FROM orm.find('Person', '{ "odd \"name" größe "a key": name }');
SELECT * FROM orm.find('Person', '{ "\u006eame" } # the name', 'nid = 1');
SELECT * FROM orm.find('Hobby', '{ * caption @hidden }', 'id = 1');

-- a set of ROWS 1 is one value or null, and its query is planned with the rest
CREATE FUNCTION pers_count(h hobby) RETURNS SETOF bigint ROWS 1 STABLE LANGUAGE sql
	AS 'SELECT count(*) FROM person p WHERE p.hobby_id = h.id';
CREATE FUNCTION first_pers(h hobby) RETURNS SETOF person ROWS 1 STABLE LANGUAGE sql
	AS 'SELECT * FROM person p WHERE p.hobby_id = h.id ORDER BY p.nid LIMIT 1';
CREATE FUNCTION bounds(h hobby) RETURNS TABLE (low int, high int) ROWS 1 STABLE LANGUAGE sql
	AS 'SELECT min(nid), max(nid) FROM person p WHERE p.hobby_id = h.id HAVING count(*) > 0';
CREATE FUNCTION names(h hobby) RETURNS SETOF text ROWS 1 STABLE LANGUAGE sql
	AS 'SELECT name FROM person p WHERE p.hobby_id = h.id';
SELECT * FROM orm.find('Hobby', '{ id pers_count first_pers bounds }');
SELECT orm.row_document(h, '{ pers_count bounds }') FROM hobby h WHERE id = 2;
SELECT * FROM orm.find('Person', '{ hobby { pers_count } }', 'nid < 4');
SELECT * FROM orm.find('Hobby', '{ names }', 'id = 1');
SELECT * FROM orm.find('Hobby', '{ names }', 'id = 2');
SELECT count(*) FROM orm.explain($$SELECT * FROM orm.find('Hobby', '{ pers_count }', 'id = 2')$$) WHERE explain LIKE '%Scan on person%';

-- relationships
SELECT * FROM orm.find('Person', '{ name hobby { caption } }');
SELECT * FROM orm.find('Hobby', '{ caption pers { name } }');
SELECT * FROM orm.find('Boy', '{ hostname girls { name } }');
SELECT * FROM orm.find('Girl', '{ name boys { hostname girls { name } } }');
SELECT * FROM orm.find('Person', '{ name hobby @unnest { caption pers { nid } } }');
SELECT * FROM orm.find('Person', '{ h: hobby { id } hobby { caption } }', 'nid < 3');

-- functions of a row
SELECT * FROM orm.find('Person', '{ shout letters loud: shout pair }', 'nid = 1');

-- arguments
SELECT * FROM orm.find('Hobby', '{ id pers(order_by: "name DESC") { name } }');
SELECT * FROM orm.find('Hobby', '{ id pers(order_by: "name DESC", limit: 1) { name } }');
SELECT * FROM orm.find('Hobby', '{ id pers(order_by: "name", limit: 1, offset: 1) { name } }');
SELECT * FROM orm.find('Hobby', '{ id pers(offset: 1) { name } }');
SELECT * FROM orm.find('Hobby', '{ id pers(limit: 0) { name } }');
SELECT * FROM orm.find('Boy', '{ id girls(limit: 1, order_by: "name DESC") { name } }');
SELECT * FROM orm.find('Hobby', '{ id pers(filter: "nid > :low") { name } }', params => '{"low": 2}');
SELECT * FROM orm.find('Hobby', '{ id pers(filter: "nid > $2") { name } }', 'id > $1', params => '[1, 2]');
SELECT * FROM orm.find('Hobby', '{ id pers(filter_by: {name: "both", größe: [-1, 1], "odd \"name": "\t\\"}) { name } }');
SELECT * FROM orm.find('Boy', '{ id girls(filter: "id = 2", filter_by: {boys: {hostname: "b1"}}) { name } }');
SELECT * FROM orm.find('Person', '{ nid hobby(filter: "id = 1") { caption } }');

-- a function that the user may not execute
RESET ROLE;
REVOKE EXECUTE ON FUNCTION shout(person) FROM PUBLIC;
GRANT SELECT ON person TO regress_orm_selection_guest;
SET ROLE regress_orm_selection_guest;
SELECT * FROM orm.find('Person', '{ name }', 'nid = 1');
SELECT * FROM orm.find('Person', '{ shout }');
SELECT * FROM orm.find('Person', '{ hobby { caption } }');
RESET ROLE;
SET ROLE regress_orm_selection_user;

--
-- wrong notation: 42601 with the position
--
SELECT orm.find('Hobby', '');
SELECT orm.find('Hobby', 'id = 1');
SELECT orm.find('Hobby', NULL);
SELECT orm.find('Hobby', '{');
SELECT orm.find('Hobby', '{ }');
SELECT orm.find('Hobby', '{ id');
SELECT orm.find('Hobby', '{ id } }');
SELECT orm.find('Hobby', '{ id: }');
SELECT orm.find('Hobby', '{ 1 }');
SELECT orm.find('Hobby', '{ id; }');
SELECT orm.find('Hobby', '{ "id }');
SELECT orm.find('Hobby', '{ "\x" }');
SELECT orm.find('Hobby', '{ "\ud800" }');
SELECT orm.find('Hobby', '{ id id }');
SELECT orm.find('Hobby', '{ * * }');
SELECT orm.find('Hobby', '{ * { id } }');
SELECT orm.find('Hobby', '{ id { x } }');
SELECT orm.find('Hobby', '{ id: caption id }');
SELECT orm.find('Person', '{ hobby }');
SELECT orm.find('Person', '{ shout { x } }');
SELECT orm.find('Person', '{ name hobby @unnest { name: caption } }');
SELECT orm.find('Person', '{ h: hobby @unnest { caption } }');
SELECT orm.find('Person', '{ hobby @unnest { caption @hidden } }');
SELECT orm.find('Hobby', '{ id pers @unnest { name } }');
SELECT orm.find('Hobby', '{ id @unnest }');
SELECT orm.find('Hobby', '{ id @update }');
SELECT orm.find('Hobby', '{ id @nochek }');
SELECT orm.find('Hobby', '{ id @whatever }');
SELECT orm.find('Hobby', '@hidden { id }');
SELECT orm.find('Hobby', '{ id(limit: 1) }');
SELECT orm.find('Hobby', '{ pers(limit: "1") { name } }');
SELECT orm.find('Hobby', '{ pers(limit: -1) { name } }');
SELECT orm.find('Hobby', '{ pers(limit: 1.5) { name } }');
SELECT orm.find('Hobby', '{ pers(limt: 1) { name } }');
SELECT orm.find('Hobby', '{ pers(first: 1) { name } }');
SELECT orm.find('Hobby', '{ pers(limit: 1, limit: 2) { name } }');
SELECT orm.find('Hobby', '{ pers(filter_by: "x") { name } }');
SELECT orm.find('Hobby', '{ pers(filter_by: {name}) { name } }');
SELECT orm.find('Hobby', '{ pers(filter_by: {name: yes}) { name } }');
SELECT orm.find('Hobby', '{ pers(filter_by: {nid: 1.}) { name } }');
SELECT orm.find('Hobby', '{ pers(filter: nid) { name } }');
SELECT orm.find('Person', '{ hobby(limit: 1) { caption } }');
SELECT orm.find('Hobby', '{ 人 }');
SELECT orm.find('Hobby', '{ caption, 篮球: id, xx }');
DO $$
BEGIN
	PERFORM orm.find('Hobby', repeat('{ pers { hobby ', 50000));
EXCEPTION WHEN statement_too_complex THEN
	RAISE NOTICE 'too deep: %', SQLSTATE;
END $$;

-- values of arguments: as in JSON
SELECT orm.find('Hobby', '{ id pers(filter_by: {name: null}, limit: 1) { name } }');
SELECT orm.find('Hobby', '{ id pers(filter_by: {nid: [1, 2], name: "\u6c49\ud83d\ude00"}) { name } }');
SELECT orm.find('Hobby', '{ id pers(filter_by: {name: "\ud83d"}) { name } }');
SELECT orm.find('Hobby', '{ id pers(filter_by: {name: "\u12x4"}) { name } }');
SELECT orm.find('Hobby', '{ id pers(filter_by: {nid: true}) { name } }');
SELECT orm.find('Hobby', '{ id pers(limit: null) { name } }');
SELECT orm.find('Hobby', '{ id pers(limit: [1]) { name } }');

-- unknown names
\set VERBOSITY sqlstate
SELECT orm.find('Hoby', '{ id }');
SELECT orm.find('Hobby', '{ x }');
SELECT orm.find('Hobby', '{ x { y } }');
\set VERBOSITY default
SELECT orm.find('Hoby', '{ id }');
SELECT orm.find('Hobby', '{ captoin }');
SELECT orm.find('Hobby', '{ id per { name } }');
SELECT orm.find('Hobby', '{ id pers { nam } }');
SELECT orm.find('Hobby', '{ id pers { hobby { captain } } }');

-- wrong fragments say where they stand
SELECT orm.find('Hobby', '{ id pers(filter: "nid >") { name } }');
SELECT orm.find('Hobby', '{ id pers(filter: "nosuch = 1") { name } }');
SELECT orm.find('Hobby', '{ id pers(filter: "true) OR (true") { name } }');
SELECT orm.find('Hobby', '{ id pers(order_by: "name; DROP TABLE hobby") { name } }');
SELECT orm.find('Hobby', '{ id pers(filter: "nid = :low") { name } }');
SELECT orm.find('Hobby', '{ id pers(filter_by: {nosuch: 1}) { name } }');
SELECT orm.find('Hobby', '{ id pers(filter_by: {}) { name } }');
SELECT orm.find('Hobby', '{ id pers(filter_by: {nid: "x"}) { name } }');

\c postgres
DROP DATABASE regress_orm_selection;
DROP ROLE regress_orm_selection_user;
DROP ROLE regress_orm_selection_guest;
