\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_errors;
DROP ROLE IF EXISTS regress_orm_errors_owner, regress_orm_errors_other;
CREATE ROLE regress_orm_errors_owner;
CREATE ROLE regress_orm_errors_other;
CREATE DATABASE regress_orm_errors OWNER regress_orm_errors_owner
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_errors SET lc_messages TO 'C';
\c regress_orm_errors
CREATE EXTENSION pg_orm;
SET SESSION AUTHORIZATION regress_orm_errors_owner;
CREATE SCHEMA app;
SET search_path = app;
CREATE EXTENSION pg_orm_tutorial;
CREATE TABLE no_key (a int);
CREATE TABLE not_mapped (id int PRIMARY KEY);
CREATE TABLE pair (a int, b text, c int, PRIMARY KEY (a, b));
CREATE TYPE loose AS (id int, name text);
CREATE TABLE twice (id int PRIMARY KEY, one int REFERENCES hobby,
	two int REFERENCES hobby);
\o /dev/null
SELECT orm.map('pair', 'Pair');
SELECT orm.map('twice', 'Twice');
SELECT orm.add(NULL::hobby, '{}');
SELECT orm.add_all(NULL::users, '[{"name": "one", "age": 1, "email": "1@x"},
	{"name": "two", "age": 1}]');
SELECT orm.add(NULL::pair, '{"a": 1, "b": "x"}');
\o
\set VERBOSITY sqlstate
\set ECHO all
--
-- Wrong input: one SQLSTATE per cause, and the transaction can go on
--
BEGIN;
SELECT id FROM orm.add(NULL::users, '{"id": 10, "name": "pending"}');
SAVEPOINT before;
\set ECHO none
-- From here on each statement that fails is undone by itself.
\set ON_ERROR_ROLLBACK on
\set ECHO all

-- what does not exist
SELECT * FROM orm.query(NULL::no_such_type);
SELECT * FROM orm.query(NULL::not_mapped);
SELECT * FROM orm.query(NULL::loose);
SELECT * FROM orm.query(1);
SELECT * FROM orm.add(NULL::not_mapped, '{}');
SELECT orm.unmap('Userz');
SELECT orm.relate('Userz', 'x', 'Hobby');
SELECT orm.relate('Person', 'x', 'Hobbi');
SELECT orm.map('no_such_table');
SELECT * FROM orm.query(NULL::users, 'nmae = 1');
SELECT * FROM orm.query(NULL::users, order_by => 'nmae');
SELECT * FROM orm.query(NULL::users, filter_by => '{"nmae": 1}');
SELECT * FROM orm.add(NULL::users, '{"nmae": "x"}');
SELECT orm.set(orm.get(NULL::users, 1), '{"nmae": "x"}');
SELECT orm.update_where(NULL::users, 'id = 1', '{"nmae": "x"}');
SELECT orm.update_where(NULL::users, 'id = 1', set => 'nmae = 1');

-- tables that cannot be mapped, relationships that cannot be made
SELECT orm.map('no_key');
SELECT orm.map('users');
SELECT orm.map('not_mapped', 'Users');
SELECT orm.map('pg_catalog.pg_class');
SELECT orm.relate('Users', 'boys', 'Boy');
SELECT orm.relate('Twice', 'hobby', 'Hobby');
SELECT orm.relate('Person', 'name', 'Hobby');
SELECT orm.relate('Person', 'hobby', 'Hobby');

-- JSON of the wrong shape
SELECT * FROM orm.add(NULL::users, '[]');
SELECT * FROM orm.add(NULL::users, '"lqz"');
SELECT * FROM orm.add(NULL::users, 'null');
SELECT * FROM orm.add(NULL::users, NULL::jsonb);
SELECT * FROM orm.add_all(NULL::users, '{"name": "x"}');
SELECT * FROM orm.add_all(NULL::users, '[1]');
SELECT * FROM orm.add_all(NULL::users, NULL);
SELECT orm.set(orm.get(NULL::users, 1), '[1]');
SELECT * FROM orm.query(NULL::users, filter_by => '[1]');
SELECT * FROM orm.query(NULL::users, 'id = :id', params => '1');
SELECT orm.update_where(NULL::users, 'id = 1', '[1]');
SELECT * FROM orm.add(NULL::users, '{"name": ');

-- SQL of the wrong shape
SELECT * FROM orm.query(NULL::users, 'age');
SELECT * FROM orm.query(NULL::users, 'age >');
SELECT * FROM orm.query(NULL::users, 'true) OR (true');
SELECT * FROM orm.query(NULL::users, 'true ORDER BY 1');
SELECT * FROM orm.query(NULL::users, 'true; DROP TABLE users');
SELECT id FROM orm.query(NULL::users, 'id = 1 -- and that is all');
SELECT * FROM orm.query(NULL::users, '/* open');
SELECT * FROM orm.query(NULL::users, order_by => 'id LIMIT 1');
SELECT * FROM orm.query(NULL::users, order_by => 'id; SELECT 1');
SELECT * FROM orm.query(NULL::users, 'id = :id');
SELECT * FROM orm.query(NULL::users, 'id = $2', params => '[1]');
SELECT orm.update_where(NULL::users, 'id = 1', set => 'age = 1 WHERE true');
SELECT orm.update_where(NULL::users, 'id = 1', set => 'age');
SELECT orm.update_where(NULL::users, 'sum(age) > 1', '{"age": 1}');

-- one in the place of the other
SELECT * FROM orm.query(NULL::users, '{"id": 1}');
SELECT orm.update_where(NULL::users, 'id = 1', set => '{"age": 1}');
SELECT orm.update_where(NULL::users, 'id = 1', '{"age": "age + 1"}');

-- no criteria
SELECT orm.update_where(NULL::users, changes => '{"age": 1}');
SELECT orm.update_where(NULL::users, NULL, '{"age": 1}');
SELECT orm.update_where(NULL::users, filter_by => '{}', changes => '{"age": 1}');
SELECT orm.delete_where(NULL::users);
SELECT orm.delete_where(NULL::users, filter_by => '{}');
SELECT orm.delete_where(NULL::users, filter_by => NULL);
SELECT * FROM orm.query(NULL::users, filter_by => '{}');
SELECT orm.update_where(NULL::users, 'id = 1');
SELECT orm.update_where(NULL::users, 'id = 1', '{}');

-- options
SELECT orm.update_where(NULL::users, 'id = 1', '{"age": 1}', synchronize_session => 'maybe');
SELECT orm.delete_where(NULL::users, 'id = 1', synchronize_session => true);
SELECT orm.update_where(NULL::users, 'id IN (SELECT id FROM users)', '{"age": 1}', synchronize_session => 'evaluate');
SELECT orm.update_where(NULL::users, 'random() < 2', '{"age": 1}', synchronize_session => 'evaluate');
SELECT orm.update_where(NULL::users, 'true', '{"age": 1}', at_most => 1);
SELECT orm.update_where(NULL::users, 'true', '{"age": 1}', at_most => -1);
SELECT * FROM orm.query(NULL::users, row_limit => -1);
SELECT orm.diagram('crayon');
SET orm.session = 'a.b';
SET orm.session = '';

-- keys
SELECT orm.get(NULL::users);
SELECT orm.get(NULL::users, 1, 2);
SELECT orm.get(NULL::pair, 1);
SELECT orm.get(NULL::users, 'x');
SELECT orm.get(NULL::users, NULL::int);
SELECT orm.get(NULL::users, 99);
SELECT * FROM orm.one(NULL::users, 'id = 99');
SELECT * FROM orm.one(NULL::users, 'age = 1');
SELECT * FROM orm.one_or_none(NULL::users, 'id = 99');
SELECT * FROM orm.one_or_none(NULL::users, 'age = 1');

-- objects
SELECT orm.set(NULL::users, '{"age": 1}');
SELECT orm.delete(NULL::users);
SELECT orm.refresh(NULL::users);
SELECT orm.add(NULL::users);
SELECT orm.set(jsonb_populate_record(NULL::users, '{"id": 99}'), '{"age": 1}');
SELECT orm.delete(jsonb_populate_record(NULL::users, '{"id": 99}'));
SELECT orm.set(jsonb_populate_record(NULL::users, '{"name": "x"}'), '{"age": 1}');
-- of this transaction's, not flushed
SET orm.autoflush = off;
SELECT id FROM orm.add(NULL::hobby, '{"id": 20}');
SELECT orm.refresh(orm.get(NULL::hobby, 20));
SELECT orm.expire(orm.get(NULL::hobby, 20));
SELECT orm.delete(orm.get(NULL::hobby, 1));
SELECT orm.get(NULL::hobby, 1);
SELECT orm.set(jsonb_populate_record(NULL::hobby, '{"id": 1}'), '{"caption": "x"}');
RESET orm.autoflush;

-- values, some found at once, some by the flush
SELECT orm.add(NULL::users, '{"name": "x", "age": "many"}');
SELECT orm.add(NULL::users, '{"name": "x", "age": 99999999999}');
SELECT orm.add(NULL::users, jsonb_build_object('name', repeat('x', 33)));
SELECT id, orm.flush() FROM orm.add(NULL::users, '{"name": null}');
SELECT id, orm.flush() FROM orm.add(NULL::users, '{"age": 1}');
SELECT id, orm.flush() FROM orm.add(NULL::users, '{"id": 1, "name": "x"}');
SELECT id, orm.flush() FROM orm.add(NULL::users, '{"name": "x", "email": "1@x"}');
SELECT nid, orm.flush() FROM orm.add(NULL::person, '{"hobby_id": 99}');
SELECT orm.update_where(NULL::users, 'id = 1', '{"name": null}');
SELECT orm.update_where(NULL::users, 'id = 1', '{"age": "many"}');

-- transaction calls that are not the client's own statement
DO $$ BEGIN CALL orm.begin(); END $$;
DO $$ BEGIN CALL orm.commit(); END $$;
CREATE PROCEDURE wrapped() LANGUAGE plpgsql AS 'BEGIN CALL orm.begin_nested(); END';
CALL wrapped();

-- of all that, only what succeeded is done: user 10 and hobby 20 are there,
-- hobby 1 is not
SELECT id, name, age, email FROM users ORDER BY id;
SELECT * FROM hobby ORDER BY id;
\set ECHO none
\set ON_ERROR_ROLLBACK off
\set ECHO all
ROLLBACK;

-- several statements in one string
CALL orm.begin()\; SELECT 1;
SELECT 1\; CALL orm.commit();
ROLLBACK;

-- commit and rollback with nothing open do nothing
CALL orm.commit();
CALL orm.rollback();
CALL orm.close();
CALL orm.commit_nested();
CALL orm.rollback_nested();

-- sessions out of order
CALL orm.begin('outer');
CALL orm.begin('outer');
ROLLBACK;
CALL orm.begin('outer');
CALL orm.begin('inner');
CALL orm.close('outer');
ROLLBACK;
CALL orm.begin('a.b');
CALL orm.begin('');

-- a flush fails in somebody else's SELECT, or at COMMIT, and says why
\set VERBOSITY default
BEGIN;
SELECT id FROM orm.add(NULL::users, '{"id": 1, "name": "x"}');
SELECT count(*) FROM hobby;
ROLLBACK;
BEGIN;
SELECT id FROM orm.add(NULL::users, '{"id": 1, "name": "x"}');
COMMIT;
-- in autocommit it is the statement's own failure
SELECT id FROM orm.add(NULL::users, '{"id": 1, "name": "x"}');
SELECT id, name FROM users ORDER BY id;
-- after ROLLBACK TO the session is what it was
BEGIN;
SELECT id FROM orm.add(NULL::users, '{"id": 10, "name": "kept"}');
SAVEPOINT here;
SELECT id FROM orm.add(NULL::users, '{"id": 1, "name": "x"}');
SELECT count(*) FROM hobby;
ROLLBACK TO here;
SELECT id, name FROM users ORDER BY id;
ROLLBACK;

-- hints
\set SHOW_CONTEXT never
SELECT * FROM orm.query(NULL::users, 'nmae = 1');
SELECT * FROM orm.add(NULL::users, '{"nmae": "x"}');
SELECT orm.unmap('User');
SELECT * FROM orm.query(NULL::not_mapped);
SELECT * FROM orm.query(NULL::users, '{"id": 1}');
SELECT orm.delete_where(NULL::users);
SELECT orm.update_where(NULL::users, 'id = 1', '{"age": "age + 1"}');
SELECT orm.update_where(NULL::users, 'id IN (SELECT id FROM users)', '{"age": 1}', synchronize_session => 'evaluate');
SELECT orm.update_where(NULL::users, 'true', '{"age": 1}', at_most => 1);
SELECT orm.relate('Twice', 'hobby', 'Hobby');
SELECT orm.declare('Typed', 'typed', ARRAY[orm.column('id', 'Integer', primary_key => true), orm.column('name', 'String(32)')]);
SELECT orm.declare('Typed', 'typed', ARRAY[orm.column('id', 'integer', primary_key => true), orm.column('at', 'DateTime')]);
SELECT orm.declare('Typed', 'typed', ARRAY[orm.column('id', 'integer', primary_key => true), orm.column('caption', 'text', default_sql => '篮球')]);
DO $$ BEGIN CALL orm.begin(); END $$;

-- types that cannot be compared, or have no array
\set VERBOSITY terse
CREATE TABLE odd (id int PRIMARY KEY, j json);
CREATE TABLE data (data int PRIMARY KEY, id int);
CREATE TABLE small (id int PRIMARY KEY, version smallint);
CREATE FUNCTION arrays(odd) RETURNS SETOF int[] LANGUAGE sql AS 'SELECT ARRAY[$1.id]';
CREATE FUNCTION numbers(odd) RETURNS SETOF int LANGUAGE sql AS 'SELECT $1.id';
INSERT INTO odd VALUES (1, '1');
INSERT INTO small VALUES (1, NULL), (2, 32767);
SELECT orm.map('odd', 'Odd'), orm.map('data', 'Data'),
	orm.map('small', 'Small', version_column => 'version');
SELECT orm.to_one_by(NULL::odd, '{j}', '1'::json);
SELECT * FROM orm.query(NULL::odd, filter_by => '{"j": 1}');
SELECT orm.find('Odd', '{ arrays }');
SELECT orm.find('Odd', '{ id numbers }');
SELECT orm.create_view('odd_view', 'Odd', '{ id numbers }');
SELECT orm.json_schema('odd_view') -> 'properties' -> 'numbers' AS numbers;
SELECT orm.create_view('data_view', 'Data', '{ id }');
SELECT orm.set(orm.get(NULL::small, 1), '{"id": 3}');
SELECT orm.update_where(NULL::person, 'true', '{"hobby": 1}');

-- declarations that would not make a table
SELECT orm.declare('Odd2', '', ARRAY[orm.column('id', 'int', primary_key => true)]);
SELECT orm.declare('Odd2', 'odd2', ARRAY[orm.column('', 'int', primary_key => true)]);
SELECT orm.declare('Odd2', 'odd2', ARRAY[orm.column(repeat('x', 64), 'int', primary_key => true)]);
SELECT orm.declare('Odd2', 'odd2', ARRAY[orm.column('id', 'int', primary_key => true), orm.column('id', 'text')]);
SELECT orm.declare('Odd2', 'odd2', ARRAY[orm.column('xmin', 'int', primary_key => true)]);
SELECT orm.declare('Odd2', 'odd2', ARRAY[orm.column('id', 'int', primary_key => true)], schema => NULL);
SELECT orm.declare('Odd2', 'odd2', ARRAY[orm.column('id', 'int', primary_key => true)]);
CREATE VIEW odd2 AS SELECT 1 AS id;
SELECT * FROM orm.create_all();
SELECT orm.relate('Odd', 'id', 'Data', foreign_keys => '{id}');

-- a role without grants
GRANT USAGE ON SCHEMA app TO regress_orm_errors_other;
GRANT SELECT (id, name) ON users TO regress_orm_errors_other;
SET SESSION AUTHORIZATION regress_orm_errors_other;
SET search_path = app;
SELECT orm.get(NULL::hobby, 1);
SELECT * FROM orm.query(NULL::hobby);
SELECT * FROM orm.query(NULL::users);
SELECT orm.add(NULL::hobby, '{"id": 30}');
SELECT orm.set(jsonb_populate_record(NULL::hobby, '{"id": 1}'), '{"caption": "x"}');
SELECT orm.delete(jsonb_populate_record(NULL::hobby, '{"id": 1}'));
SELECT orm.update_where(NULL::hobby, 'true', '{"caption": "x"}');
SELECT orm.delete_where(NULL::hobby, 'true');
SELECT (p.hobby).caption FROM person p;
SELECT orm.map('not_mapped');
SELECT orm.unmap('Hobby');
SELECT orm.relate('Person', 'again', 'Hobby');
SELECT orm.repair();
INSERT INTO orm.model_def (class, schema_name, table_name, owner) VALUES ('X', 'app', 'x', 'me');
UPDATE orm.model_def SET class = 'X';

\c contrib_regression
DROP DATABASE regress_orm_errors;
DROP ROLE regress_orm_errors_owner, regress_orm_errors_other;
