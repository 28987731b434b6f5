\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_tutorial;
DROP ROLE IF EXISTS regress_orm_tutorial_owner, regress_orm_tutorial_other;
CREATE ROLE regress_orm_tutorial_owner;
CREATE ROLE regress_orm_tutorial_other;
CREATE DATABASE regress_orm_tutorial OWNER regress_orm_tutorial_owner
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_tutorial SET lc_messages TO 'C';
\c regress_orm_tutorial
CREATE EXTENSION pg_orm;
\set SHOW_CONTEXT never
\set ECHO all
--
-- The tutorial's models as an extension: by an ordinary role, in a schema of
-- its choice, without touching what else is declared
--
SET SESSION AUTHORIZATION regress_orm_tutorial_owner;
CREATE SCHEMA app;
CREATE SCHEMA own;
SET search_path = own, public;

-- a declaration of the user's own, whose table is not there yet
SELECT orm.declare('Mine', 'mine', schema => 'app',
	columns => ARRAY[orm.column('id', 'integer', primary_key => true)]);

CREATE EXTENSION pg_orm_tutorial SCHEMA app;
SELECT class, relation, primary_key, declared, owner, extension
	FROM orm.models ORDER BY class;
SELECT class, name, target, direction, uselist, secondary, reverse, extension
	FROM orm.relationships ORDER BY class, name;
-- row types are members too since PostgreSQL 17
SELECT pg_describe_object(classid, objid, 0) AS member
	FROM pg_depend WHERE deptype = 'e'
		AND classid <> 'pg_type'::regclass AND refobjid =
			(SELECT oid FROM pg_extension WHERE extname = 'pg_orm_tutorial')
	ORDER BY member;

-- the tables are as the tutorial declares them
\d app.users
\d app.hobby
\d app.person
\d app.boy2girl
\d app.girl
\d app.boy
SELECT p.oid::regprocedure, prorettype::regtype, proretset,
		pg_get_userbyid(proowner) AS owner
	FROM pg_proc p WHERE pronamespace = 'app'::regnamespace ORDER BY p.oid::regprocedure::text COLLATE "C";

-- create_all and drop_all leave the extension's tables alone
SELECT orm.create_all('app');
SELECT orm.drop_all('app');
SELECT class FROM orm.models WHERE relation IS NOT NULL ORDER BY class;

-- somebody else may read the catalog and, without grants, nothing more
GRANT USAGE ON SCHEMA app TO regress_orm_tutorial_other;
SET SESSION AUTHORIZATION regress_orm_tutorial_other;
SELECT count(*) FROM orm.models;
SELECT orm.unmap('Users');
SELECT * FROM orm.query(NULL::app.users);
SELECT orm.add(NULL::app.users, '{"name": "x"}');
SET SESSION AUTHORIZATION regress_orm_tutorial_owner;

-- the same six classes by orm.declare give the same catalog
SELECT orm.declare('MyUsers', 'users',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true),
		orm.column('name', 'varchar(32)', index => true, nullable => false),
		orm.column('age', 'integer'),
		orm.column('email', 'varchar(32)', unique_key => true),
		orm.column('ctime', 'timestamp', default_sql => 'localtimestamp'),
		orm.column('extra', 'text', nullable => true)],
	constraints => ARRAY['CONSTRAINT uix_id_name UNIQUE (id, name)'],
	indexes => ARRAY['ix_id_name ON (name, email)']);
SELECT orm.declare('MyHobby', 'hobby',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true),
		orm.column('caption', 'varchar(50)', default_sql => '''篮球''')]);
SELECT orm.declare('MyPerson', 'person',
	columns => ARRAY[
		orm.column('nid', 'integer', primary_key => true),
		orm.column('name', 'varchar(32)', index => true, nullable => true),
		orm.column('hobby_id', 'integer', foreign_key => 'hobby.id')],
	relationships => ARRAY[
		orm.relationship('hobby', 'MyHobby', backref => 'pers')]);
SELECT orm.declare('MyBoy2Girl', 'boy2girl',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true, autoincrement => true),
		orm.column('girl_id', 'integer', foreign_key => 'girl.id'),
		orm.column('boy_id', 'integer', foreign_key => 'boy.id')]);
SELECT orm.declare('MyGirl', 'girl',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true),
		orm.column('name', 'varchar(64)', unique_key => true, nullable => false)]);
SELECT orm.declare('MyBoy', 'boy',
	columns => ARRAY[
		orm.column('id', 'integer', primary_key => true, autoincrement => true),
		orm.column('hostname', 'varchar(64)', unique_key => true,
			nullable => false)],
	relationships => ARRAY[
		orm.relationship('girls', 'MyGirl', secondary => 'boy2girl',
			backref => 'boys')]);
SELECT orm.create_all();
SELECT orm.create_all();

-- what describes the tables of a schema, without its name
CREATE FUNCTION own.described(regnamespace) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT format('%s.%s %s %s %s %s', relname, attname,
			format_type(atttypid, atttypmod), attnotnull, attidentity,
			pg_get_expr(adbin, adrelid))
		FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
			LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
		WHERE relnamespace = $1 AND relkind = 'r' AND attnum > 0
	UNION ALL
	SELECT replace(format('%s %s', conname, pg_get_constraintdef(c.oid)),
			$1::text || '.', '')
		FROM pg_constraint c WHERE connamespace = $1
	UNION ALL
	SELECT replace(pg_get_indexdef(c.oid), $1::text || '.', '')
		FROM pg_class c WHERE relnamespace = $1 AND relkind = 'i'
	UNION ALL
	SELECT replace(format('%s %s', p.oid::regprocedure, prosrc), $1::text || '.', '')
		FROM pg_proc p WHERE pronamespace = $1 AND proname <> 'described'
$$;
SELECT count(*) > 40 AS something FROM own.described('app');
SET search_path = pg_catalog;
(SELECT 'only app' AS difference, d FROM own.described('app') d
	EXCEPT ALL SELECT 'only app', d FROM own.described('own') d)
UNION ALL
(SELECT 'only own', d FROM own.described('own') d
	EXCEPT ALL SELECT 'only own', d FROM own.described('app') d)
ORDER BY 1, 2;
SET search_path = own, public;

-- drop_all, twice, and create_all again: drop_db() and init_db()
SELECT orm.drop_all();
SELECT orm.drop_all();
SELECT orm.create_all();
SELECT orm.drop_all();

-- what users made of the extension's functions keeps it from being dropped
CREATE VIEW own.fans AS SELECT h.caption, p.name FROM app.hobby h, app.pers(h) p;
DROP EXTENSION pg_orm_tutorial;
DROP VIEW own.fans;

-- a table of the extension cannot go without it
DROP TABLE app.users;
SELECT orm.unmap('Users');

-- everything that is the extension's goes with it, and nothing else
DROP EXTENSION pg_orm_tutorial;
SELECT class, relation FROM orm.models ORDER BY class;
SELECT class, name FROM orm.relationships WHERE class NOT LIKE 'My%';
SELECT p.oid::regprocedure FROM pg_proc p
	WHERE pronamespace = 'app'::regnamespace ORDER BY 1;
SELECT c.oid::regclass FROM pg_class c
	WHERE relnamespace = 'app'::regnamespace ORDER BY 1;

-- a table that is declared already is not made twice
CREATE EXTENSION pg_orm_tutorial;
-- without a schema named it goes where search_path says
SET search_path = public;
CREATE EXTENSION pg_orm_tutorial;
SELECT class, relation FROM orm.models WHERE extension IS NOT NULL
	ORDER BY class;

-- the whole of it: the user's own tables stay, what was generated goes
SET search_path = own, public;
SELECT orm.create_all();
RESET SESSION AUTHORIZATION;
DROP EXTENSION pg_orm;
DROP EXTENSION pg_orm CASCADE;
SELECT c.oid::regclass FROM pg_class c
	WHERE relnamespace IN ('own'::regnamespace, 'public'::regnamespace)
		AND relkind = 'r'
	ORDER BY relname;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'own'::regnamespace
	AND proname <> 'described';

\c contrib_regression
DROP DATABASE regress_orm_tutorial;
DROP ROLE regress_orm_tutorial_owner, regress_orm_tutorial_other;
