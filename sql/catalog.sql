\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_catalog;
DROP ROLE IF EXISTS regress_orm_catalog_user, regress_orm_catalog_other;
CREATE ROLE regress_orm_catalog_user;
CREATE ROLE regress_orm_catalog_other;
CREATE DATABASE regress_orm_catalog OWNER regress_orm_catalog_user
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_catalog SET lc_messages TO 'C';
\c regress_orm_catalog
SET client_min_messages = warning;
CREATE EXTENSION pg_orm;
CREATE SCHEMA app AUTHORIZATION regress_orm_catalog_user;
CREATE SCHEMA other AUTHORIZATION regress_orm_catalog_other;
GRANT USAGE ON SCHEMA app TO regress_orm_catalog_other;
GRANT USAGE ON SCHEMA other TO regress_orm_catalog_user;
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
-- The catalog: who may write it, and how it follows the tables
--
SET SESSION AUTHORIZATION regress_orm_catalog_user;
SET search_path = app, public;
CREATE TABLE hobby (id int PRIMARY KEY, caption text);
CREATE TABLE person (nid int PRIMARY KEY, name text, v int, hobby_id int REFERENCES hobby);
CREATE TABLE boy (id int PRIMARY KEY);
CREATE TABLE girl (id int PRIMARY KEY);
CREATE TABLE boy2girl (boy_id int REFERENCES boy, girl_id int REFERENCES girl);
INSERT INTO hobby VALUES (1, 'chess');
INSERT INTO person VALUES (1, 'Ann', 1, 1);
INSERT INTO boy VALUES (1); INSERT INTO girl VALUES (1); INSERT INTO boy2girl VALUES (1, 1);
SELECT orm.map('hobby', 'Hobby'), orm.map('person', 'Person', 'v'), orm.map('boy', 'Boy'), orm.map('girl', 'Girl');
SELECT orm.relate('Person', 'hobby', 'Hobby', backref => 'pers');
SELECT orm.relate('Boy', 'girls', 'Girl', backref => 'boys', secondary => 'boy2girl');

-- everybody reads, nobody writes
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_orm_catalog_other;
SELECT count(*) FROM orm.models;
SELECT count(*) FROM orm.relationships;
SELECT try($$INSERT INTO orm.model_def (class, schema_name, table_name, owner) VALUES ('x', 'x', 'x', 'x')$$);
SELECT try($$UPDATE orm.model_def SET class = 'x'$$);
SELECT try($$DELETE FROM orm.relationship_def$$);
SELECT try($$TRUNCATE orm.relationship_def$$);
SELECT try($$SELECT orm.catalog_changed()$$);
SELECT try($$SELECT orm.repair()$$);
RESET SESSION AUTHORIZATION;

-- the superuser too is held to what exists
SELECT try($$INSERT INTO orm.model_def (class, relation, schema_name, table_name, owner)
	VALUES ('x', '4294967294', 'x', 'x', 'x')$$);
SET SESSION AUTHORIZATION regress_orm_catalog_user;

-- columns, tables and schemas that are renamed or moved are followed
CREATE VIEW uses AS SELECT p.nid, (p.hobby).caption FROM person p;
ALTER TABLE person RENAME hobby_id TO "Hobby Id";
ALTER TABLE person RENAME v TO version;
ALTER TABLE hobby RENAME id TO "Größe";
SELECT local_columns, remote_columns FROM orm.relationships WHERE name = 'hobby';
SELECT version_column FROM orm.models WHERE class = 'Person';
SELECT * FROM uses;
ALTER TABLE hobby RENAME TO "Hob by";
SELECT * FROM uses;
CREATE SCHEMA "Neu";
ALTER TABLE "Hob by" SET SCHEMA "Neu";
SELECT * FROM uses;
SELECT h.caption, p.name FROM "Neu"."Hob by" h, "Neu".pers(h) p;
ALTER SCHEMA "Neu" RENAME TO neu;
SELECT * FROM uses;
SELECT h.caption, p.name FROM neu."Hob by" h, neu.pers(h) p;
ALTER TABLE boy2girl RENAME boy_id TO b;
ALTER TABLE boy2girl SET SCHEMA neu;
SELECT b.id, g.id FROM boy b, girls(b) g;
ALTER TABLE person ALTER "Hobby Id" TYPE bigint;
SELECT * FROM uses;
ALTER TABLE person RENAME CONSTRAINT person_hobby_id_fkey TO fk;
SELECT constraint_name FROM orm.relationship_def WHERE name = 'hobby';
SELECT class, relation, primary_key FROM orm.models ORDER BY class;
-- a rolled back rename too
BEGIN;
ALTER TABLE person RENAME "Hobby Id" TO h;
SELECT * FROM uses;
SAVEPOINT s;
ALTER TABLE person RENAME h TO h2;
SELECT * FROM uses;
ROLLBACK TO s;
SELECT * FROM uses;
ROLLBACK;
SELECT * FROM uses;
-- the key is that of the constraint
ALTER TABLE girl DROP CONSTRAINT girl_pkey CASCADE;
SELECT try($$SELECT orm.relate('Girl', 'x', 'Girl')$$);
ALTER TABLE girl ADD COLUMN other int DEFAULT 1, ADD PRIMARY KEY (other, id);
SELECT primary_key FROM orm.model_def WHERE class = 'Girl';

-- what a column of that name hides
ALTER TABLE person ADD COLUMN hobby text;
SELECT class, name, shadowed FROM orm.relationships WHERE shadowed;
ALTER TABLE person DROP COLUMN hobby;
SELECT class, name, shadowed FROM orm.relationships WHERE shadowed;

-- what is dropped is forgotten; a column takes its relationships along
SELECT try($$ALTER TABLE person DROP COLUMN "Hobby Id"$$);
DROP VIEW uses;
ALTER TABLE person DROP COLUMN version, DROP COLUMN "Hobby Id";
SELECT class, name FROM orm.relationships ORDER BY 1;
SELECT version_column FROM orm.models WHERE class = 'Person';
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace IN ('app'::regnamespace, 'neu'::regnamespace) ORDER BY 1;
-- a secondary table
DROP TABLE neu.boy2girl;
SELECT class, name FROM orm.relationships ORDER BY 1;
-- a schema, with what is declared in it
SELECT orm.declare('Declared', 'declared', ARRAY[orm.column('id', 'int', true)], schema => 'neu');
\set VERBOSITY terse
DROP SCHEMA neu CASCADE;
\set VERBOSITY default
SELECT class, relation FROM orm.models ORDER BY class;
-- a drop that is rolled back
BEGIN;
DROP TABLE person;
SELECT class FROM orm.models ORDER BY class;
ROLLBACK;
SELECT class FROM orm.models ORDER BY class;
-- unmapped tables are nobody's business
CREATE TABLE plain (id int PRIMARY KEY, a int);
ALTER TABLE plain RENAME a TO b;
ALTER TABLE plain DROP COLUMN b;
DROP TABLE plain;
CREATE TEMP TABLE plain (id int);
DROP TABLE plain;

-- an owner that changes takes the functions along
ALTER TABLE person ADD hobby_id int;
CREATE TABLE hobby (id int PRIMARY KEY, caption text);
SELECT orm.map('hobby', 'Hobby'), orm.relate('Person', 'hobby', 'Hobby', foreign_keys => '{hobby_id}', backref => 'pers');
RESET SESSION AUTHORIZATION;
GRANT CREATE ON SCHEMA app TO regress_orm_catalog_other;
ALTER TABLE app.person OWNER TO regress_orm_catalog_other;
SELECT proname, proowner::regrole FROM pg_proc WHERE pronamespace = 'app'::regnamespace ORDER BY 1;
SELECT owner FROM orm.models WHERE class = 'Person';
ALTER TABLE app.person OWNER TO regress_orm_catalog_user;

-- declared tables are made and dropped by who declared them
SET SESSION AUTHORIZATION regress_orm_catalog_other;
SELECT orm.declare('Mine', 'mine', ARRAY[orm.column('id', 'int', true)], schema => 'app');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_orm_catalog_user;
SET search_path = app, public;
SELECT * FROM orm.create_all();
SELECT try($$SELECT orm.unmap('Mine')$$);
SELECT try($$SELECT orm.declare('X', 'x', ARRAY[orm.column('id', 'int', true)], schema => 'other')$$);
RESET SESSION AUTHORIZATION;
-- not by a superuser either: it would run what others declared
SELECT * FROM orm.create_all('app');
SET SESSION AUTHORIZATION regress_orm_catalog_other;
SELECT * FROM orm.create_all('app');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_orm_catalog_user;
SELECT * FROM orm.drop_all();
RESET SESSION AUTHORIZATION;
SELECT * FROM orm.drop_all('app');
SET SESSION AUTHORIZATION regress_orm_catalog_other;
SELECT * FROM orm.drop_all('app');
SELECT orm.unmap('Mine');
RESET SESSION AUTHORIZATION;

--
-- Unseen changes: event triggers do not run in this mode
--
SET search_path = app, public;
CREATE TABLE gone (id int PRIMARY KEY, up int REFERENCES gone);
SELECT orm.map('gone', 'Gone'), orm.relate('Gone', 'downs', 'Gone'), orm.relate('Person', 'gone', 'Gone', foreign_keys => '{hobby_id}');
SET session_replication_role = replica;
DROP TABLE gone CASCADE;
ALTER TABLE person RENAME hobby_id TO hid;
RESET session_replication_role;
-- the dangling class is not shown, not found and not in the way
SELECT class FROM orm.models ORDER BY class;
SELECT try($$SELECT orm.relate('Hobby', 'x', 'Gone')$$);
SELECT orm.diagram();
-- nor dumped
SELECT format('SELECT class FROM %s %s ORDER BY class', t::regclass, cond)
	FROM pg_extension, unnest(extconfig, extcondition) AS u (t, cond)
	WHERE extname = 'pg_orm' AND t::regclass::text !~ 'engine|sessionmaker'
	ORDER BY t::regclass::text \gexec
SELECT try($$SELECT orm.unmap('Gone')$$);
SELECT try($$SELECT orm.repair()$$);
SELECT try($$SELECT orm.repair()$$);
SELECT class FROM orm.model_def ORDER BY class;

-- a foreign key tells which column was renamed unseen
ALTER TABLE person RENAME hid TO hobby_id;
SELECT orm.unmap('Person'), orm.map('person', 'Person');
ALTER TABLE person ADD FOREIGN KEY (hobby_id) REFERENCES hobby;
SELECT orm.relate('Person', 'hobby', 'Hobby', backref => 'pers');
SET session_replication_role = replica;
ALTER TABLE person RENAME hobby_id TO hid;
RESET session_replication_role;
SELECT orm.repair();
SELECT local_columns FROM orm.relationships WHERE name = 'hobby';
SELECT name, (p.hobby).caption FROM person p;

-- what was generated goes with its table, without CASCADE, also after repair
DROP TABLE person;
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'app'::regnamespace ORDER BY 1;
DROP TABLE hobby, boy, girl;
SELECT count(*) FROM orm.model_def;

--
-- Models that an extension ships
--
CREATE SCHEMA tut;
CREATE EXTENSION pg_orm_tutorial SCHEMA tut;
SELECT class, relation, declared, extension FROM orm.models ORDER BY class;
SELECT class, name, extension FROM orm.relationship_def ORDER BY 1, 2;
-- they are the extension's: nobody else makes, drops or forgets them
SELECT * FROM orm.create_all('tut', checkfirst => false);
SELECT * FROM orm.drop_all('tut');
SELECT try($$SELECT orm.unmap('Hobby')$$);
-- and not dumped: the script makes them again; one's own additions are
CREATE TABLE mine (id int PRIMARY KEY, user_id int REFERENCES tut.users);
SELECT orm.map('mine', 'Mine'), orm.relate('Mine', 'user', 'Users', backref => 'mines');
SELECT orm.relate('Hobby', 'people', 'Person');
SELECT format('SELECT class FROM %s %s ORDER BY class', t::regclass, cond)
	FROM pg_extension, unnest(extconfig, extcondition) AS u (t, cond)
	WHERE extname = 'pg_orm' AND t::regclass::text !~ 'engine|sessionmaker'
	ORDER BY t::regclass::text \gexec
\set VERBOSITY terse
DROP EXTENSION pg_orm_tutorial CASCADE;
\set VERBOSITY default
SELECT class FROM orm.models;
SELECT class, name FROM orm.relationship_def;
DROP TABLE mine;

-- DROP EXTENSION takes the functions along, not the tables
CREATE TABLE h (id int PRIMARY KEY, up int REFERENCES h);
SELECT orm.map('h'), orm.relate('h', 'downs', 'h', backref => 'above');
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'app'::regnamespace ORDER BY 1;
CREATE VIEW uses AS SELECT (h.above).id FROM h;
SELECT try('DROP EXTENSION pg_orm');
DROP VIEW uses;
DROP EXTENSION pg_orm;
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'app'::regnamespace ORDER BY 1;
SELECT count(*) FROM h;
-- and back
CREATE EXTENSION pg_orm;
SELECT count(*) FROM orm.models;
SELECT orm.map('h');

RESET SESSION AUTHORIZATION;
\c contrib_regression
DROP DATABASE regress_orm_catalog;
DROP ROLE regress_orm_catalog_user, regress_orm_catalog_other;
