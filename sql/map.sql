\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_map;
DROP ROLE IF EXISTS regress_orm_map_user, regress_orm_map_other;
CREATE ROLE regress_orm_map_user;
CREATE ROLE regress_orm_map_other;
CREATE DATABASE regress_orm_map OWNER regress_orm_map_user
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_map SET lc_messages TO 'C';
\c regress_orm_map
SET client_min_messages = warning;
CREATE EXTENSION pg_orm;
CREATE SCHEMA app AUTHORIZATION regress_orm_map_user;
CREATE SCHEMA other AUTHORIZATION regress_orm_map_other;
GRANT USAGE ON SCHEMA app TO regress_orm_map_other;
GRANT USAGE ON SCHEMA other TO regress_orm_map_user;
-- what a statement raises
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text;
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
		message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n  ', state || ': ' || message, nullif(detail, ''),
		nullif(hint, ''));
END $$;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
\set ECHO all
--
-- Existing tables become models: orm.map, orm.relate, orm.unmap
--
SET SESSION AUTHORIZATION regress_orm_map_user;
SET search_path = app, public;
CREATE TABLE hobby (id int PRIMARY KEY, caption text);
CREATE TABLE person (nid int PRIMARY KEY, name text, version int NOT NULL DEFAULT 1,
	hobby_id int REFERENCES hobby, second_id int CONSTRAINT second REFERENCES hobby (id));
CREATE TABLE boy (id int PRIMARY KEY);
CREATE TABLE girl (id int PRIMARY KEY);
CREATE TABLE boy2girl (boy_id int REFERENCES boy, girl_id int REFERENCES girl,
	PRIMARY KEY (boy_id, girl_id));
CREATE TABLE friend (a int REFERENCES boy, b int REFERENCES boy);
CREATE TABLE node (id int PRIMARY KEY, parent_id int REFERENCES node);
CREATE TABLE profile (person_id int PRIMARY KEY REFERENCES person);
CREATE TABLE "Zwei Teile" ("A b" int, c text, PRIMARY KEY (c, "A b"));
CREATE TABLE teil (id int PRIMARY KEY, x text, y int,
	FOREIGN KEY (x, y) REFERENCES "Zwei Teile" (c, "A b"));
CREATE TABLE part (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE keyless (id int);
CREATE TEMP TABLE temporary (id int PRIMARY KEY);
CREATE SEQUENCE seq;
CREATE VIEW people AS SELECT * FROM person;
CREATE MATERIALIZED VIEW mat AS SELECT 1 AS id;

SELECT orm.map('hobby', 'Hobby');
SELECT orm.map('person', 'Person', version_column => 'version');
SELECT orm.map('boy'), orm.map('girl'), orm.map('node', 'Node'), orm.map('profile', 'Profile');
SELECT orm.map('"Zwei Teile"'), orm.map('teil'), orm.map('part');
SELECT orm.map('people', 'People', primary_key => '{nid}');
SELECT orm.map('mat', primary_key => '{id}');
SELECT class, relation, schema, tablename, declared, primary_key, version_column, owner, extension
	FROM orm.models ORDER BY class;

-- what cannot be mapped
SELECT try($$SELECT orm.map('hobby')$$);
SELECT try($$SELECT orm.map('boy2girl', 'Hobby')$$);
SELECT try($$SELECT orm.map('boy2girl', '')$$);
SELECT try($$SELECT orm.map(NULL)$$);
SELECT try($$SELECT orm.map('nowhere')$$);
SELECT try($$SELECT orm.map('keyless')$$);
SELECT try($$SELECT orm.map('keyless', primary_key => '{id}')$$);
SELECT try($$SELECT orm.map('temporary')$$);
SELECT try($$SELECT orm.map('seq')$$);
SELECT try($$SELECT orm.map('boy2girl', version_column => 'boy')$$);
CREATE VIEW girls_view AS SELECT * FROM girl;
SELECT try($$SELECT orm.map('girls_view')$$);
SELECT try($$SELECT orm.map('girls_view', primary_key => '{idd}')$$);
SELECT try($$SELECT orm.map('girls_view', primary_key => '{NULL}')$$);
SELECT try($$SELECT orm.map('orm.model_def')$$);
SELECT try($$SELECT orm.map('pg_class')$$);

-- relationships: the foreign keys decide the direction
SELECT orm.relate('Person', 'hobby', 'Hobby', backref => 'pers', foreign_keys => '{hobby_id}');
SELECT orm.relate('Hobby', 'seconds', 'Person', backref => 'second', foreign_keys => '{person.second_id}',
	order_by => 'name DESC, nid', cascade => 'all, delete-orphan', passive_deletes => true);
SELECT orm.relate('boy', 'girls', 'girl', backref => 'boys', secondary => 'boy2girl');
SELECT orm.relate('boy', 'likes', 'boy', backref => 'liked_by', secondary => 'friend',
	foreign_keys => '{a}');
SELECT orm.relate('Node', 'children', 'Node');
SELECT orm.relate('Node', 'parent', 'Node', remote_side => '{id}', viewonly => true);
SELECT orm.relate('Profile', 'person', 'person', backref => 'profile', uselist => false);
SELECT orm.relate('teil', 'zwei', 'Zwei Teile', backref => 'teile');
-- without a constraint, the columns say which
SELECT orm.relate('People', 'the_hobby', 'Hobby', foreign_keys => '{hobby_id}');
SELECT orm.relate('Hobby', 'people', 'People', foreign_keys => '{hobby_id}');
SELECT class, name, target, direction, uselist, local_columns, remote_columns, secondary, reverse,
	is_backref, order_by, cascade, passive_deletes, viewonly
	FROM orm.relationships ORDER BY class, name;

-- what cannot be related
SELECT try($$SELECT orm.relate('Persn', 'x', 'Hobby')$$);
SELECT try($$SELECT orm.relate('Person', 'x', 'Hoby')$$);
SELECT try($$SELECT orm.relate('Person', 'x', 'Hobby')$$);
SELECT try($$SELECT orm.relate('Person', 'x', 'Hobby', foreign_keys => '{hobby}')$$);
SELECT try($$SELECT orm.relate('Person', 'x', 'girl')$$);
SELECT try($$SELECT orm.relate('Person', 'x', 'Node', foreign_keys => '{hobby_id}', remote_side => '{parent_id}')$$);
SELECT try($$SELECT orm.relate('boy', 'x', 'boy', secondary => 'friend')$$);
SELECT try($$SELECT orm.relate('boy', 'x', 'girl', secondary => 'boy3girl')$$);
SELECT try($$SELECT orm.relate('boy', 'x', 'girl', secondary => 'friend')$$);
SELECT try($$SELECT orm.relate('teil', 'x', 'Zwei Teile')$$);
SELECT try($$SELECT orm.relate('teil', 'y2', 'Zwei Teile', backref => 'c')$$);
SELECT try($$SELECT orm.relate('teil', 'y2', 'Zwei Teile', backref => 'teile')$$);
SELECT try($$SELECT orm.relate('teil', 'zwei', 'Zwei Teile')$$);
SELECT try($$SELECT orm.relate('teil', '', 'Zwei Teile')$$);
SELECT try($$SELECT orm.relate('teil', NULL, 'Zwei Teile')$$);
SELECT try($$SELECT orm.relate('teil', repeat('x', 64), 'Zwei Teile')$$);
SELECT try($$SELECT orm.relate('teil', 'y2', 'Zwei Teile', cascade => 'al')$$);
SELECT try($$SELECT orm.relate('teil', 'y2', 'Zwei Teile', cascade => 'all, delete-orphan')$$);
SELECT try($$SELECT orm.relate('teil', 'y2', 'Zwei Teile', uselist => true)$$);
SELECT try($$SELECT orm.relate('teil', 'y2', 'Zwei Teile', cascade => 'delete', viewonly => true)$$);
SELECT try($$SELECT orm.relate('Node', 'x', 'Node', order_by => 'id) FROM node --')$$);
SELECT try($$SELECT orm.relate('Node', 'self', 'Node', backref => 'self')$$);

-- the table's name does where no class has it; in two schemas it is ambiguous
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_orm_map_other;
CREATE TABLE other.node (id int PRIMARY KEY, parent_id int REFERENCES other.node);
SELECT orm.map('other.node', 'Other node');
SELECT try($$SELECT orm.relate('node', 'up', 'node', remote_side => '{id}')$$);
SELECT try($$SELECT orm.relate('other.node', 'up', 'node', remote_side => '{id}')$$);
SELECT target FROM orm.relationships WHERE class = 'Other node';
SELECT try($$SELECT orm.unmap('noode')$$);
SELECT try($$SELECT orm.unmap('node')$$);
SELECT orm.unmap('other.node');

-- only the owner may
SELECT try($$SELECT orm.map('app.boy2girl', 'B2g')$$);
SELECT try($$SELECT orm.relate('Node', 'x', 'Node')$$);
SELECT try($$SELECT orm.unmap('Node')$$);
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_orm_map_user;
GRANT REFERENCES ON hobby TO regress_orm_map_other;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_orm_map_other;
CREATE TABLE other.fan (id int PRIMARY KEY, hobby_id int REFERENCES app.hobby);
SELECT orm.map('other.fan', 'Fan');
-- a backref would be a function in the other's schema
SELECT try($$SELECT orm.relate('Fan', 'hobby', 'Hobby', backref => 'fans')$$);
SELECT try($$SELECT orm.relate('Fan', 'hobby', 'Hobby')$$);
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_orm_map_user;

-- unmap forgets the class and what leads to it, not the table
SELECT orm.unmap('Hobby');
SELECT class, name FROM orm.relationships ORDER BY 1, 2;
SELECT count(*) FROM hobby;
SELECT try($$SELECT orm.unmap('Hobby')$$);
SELECT try($$SELECT orm.unmap(NULL)$$);
SELECT orm.map('hobby', 'Hobby');
-- not while a view needs its navigation
SELECT orm.relate('Person', 'hobby', 'Hobby', foreign_keys => '{hobby_id}');
CREATE VIEW uses AS SELECT (p.hobby).caption FROM person p;
SELECT try($$SELECT orm.unmap('Person')$$);
DROP VIEW uses;
SELECT orm.unmap('Person');

RESET SESSION AUTHORIZATION;
\c contrib_regression
DROP DATABASE regress_orm_map;
DROP ROLE regress_orm_map_user, regress_orm_map_other;
