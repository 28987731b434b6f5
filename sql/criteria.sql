\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_criteria;
CREATE DATABASE regress_orm_criteria
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_criteria SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_criteria_user;
\c regress_orm_criteria
\set ECHO all
--
-- Wrong criteria, and attempts to make them something else, by an ordinary role
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_criteria_user;
GRANT CREATE ON SCHEMA public TO regress_orm_criteria_user;
SET ROLE regress_orm_criteria_user;
CREATE TABLE users (id int PRIMARY KEY, name varchar(32) NOT NULL, age int, tags text[],
	twice int GENERATED ALWAYS AS (age * 2) STORED);
CREATE TABLE person (id int PRIMARY KEY, user_id int REFERENCES users, note text);
CREATE TABLE secret (id int PRIMARY KEY);
CREATE TABLE unmapped (id int PRIMARY KEY);
SELECT orm.map('users', 'Users'), orm.map('person', 'Person'), orm.map('secret', 'Secret');
SELECT orm.relate('Person', 'user', 'Users', backref => 'people');
INSERT INTO users VALUES (1, 'lqz', 30), (2, 'egon', 20), (3, 'alex', NULL);
INSERT INTO person VALUES (1, 1, 'a'), (2, NULL, 'b');

-- what an error says, in one line
CREATE FUNCTION error(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint; message text; detail text; hint text;
BEGIN
	EXECUTE 'SELECT count(*) FROM ' || call INTO n;
	RETURN 'no error: ' || n;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END $$;
CREATE FUNCTION filter_error(filter text, params jsonb = NULL) RETURNS text LANGUAGE sql AS
	$$SELECT error(format('orm.query(NULL::users, %L, params => %L)', filter, params))$$;
CREATE FUNCTION order_error(order_by text) RETURNS text LANGUAGE sql AS
	$$SELECT error(format('orm.query(NULL::users, order_by => %L)', order_by))$$;
CREATE FUNCTION set_error(text) RETURNS text LANGUAGE sql AS
	$$SELECT error(format('orm.update_where(NULL::users, ''true'', "set" => %L)', $1))$$;
CREATE FUNCTION by_error(filter_by jsonb, model text = 'users') RETURNS text LANGUAGE sql AS
	$$SELECT error(format('orm.query(NULL::%I, filter_by => %L)', model, filter_by))$$;
CREATE FUNCTION changes_error(changes jsonb, model text = 'users') RETURNS text LANGUAGE sql AS
	$$SELECT error(format('orm.update_where(NULL::%I, ''true'', %L)', model, changes))$$;
\pset format unaligned
\pset tuples_only on

--
-- A filter is one boolean expression: nothing closes its bracket, adds a
-- clause, ends the statement, or comments out what follows
--
SELECT filter_error('id = 1) OR (true');
SELECT filter_error('id = 1); DROP TABLE users; --');
SELECT filter_error('id = 1; DROP TABLE users');
SELECT filter_error('id = 1;');
SELECT filter_error('true UNION SELECT * FROM users');
SELECT filter_error('true LIMIT 1');
SELECT filter_error('true ORDER BY id');
SELECT filter_error('true FROM secret');
SELECT filter_error('true WHERE false');
SELECT filter_error('true GROUP BY id');
SELECT filter_error('true FOR UPDATE');
SELECT filter_error('true AS x');
SELECT filter_error('true x');
SELECT filter_error('true, false');
SELECT filter_error('DISTINCT true');
SELECT filter_error('ALL true');
SELECT filter_error('*');
SELECT filter_error('users.*');
SELECT filter_error('SELECT true');
SELECT filter_error('true INTO x');
SELECT filter_error('/* true');
SELECT filter_error($$name = 'lqz$$);
SELECT filter_error($_$name = $q$lqz$_$);
SELECT filter_error('"id = 1');
SELECT filter_error('');
SELECT filter_error('   ');
SELECT filter_error('-- nothing');
SELECT filter_error('id = = 1');
-- a comment at its end hides nothing
SELECT filter_error('true --');
SELECT error($$orm.query(NULL::users, 'true --', filter_by => '{"id": 1}')$$);
SELECT error($$orm.query(NULL::users, 'true /* */ --', 'id --', row_limit => 2)$$);
SELECT error($$orm.delete_where(NULL::users, 'false --', at_most => 0)$$);
-- OR stays within its brackets
SELECT error($$orm.query(NULL::users, 'true OR true', filter_by => '{"id": 1}')$$);
-- a sort list, a SET list
SELECT order_error('id) --');
SELECT order_error('id LIMIT 1');
SELECT order_error('id FOR UPDATE');
SELECT order_error('id; DROP TABLE users');
SELECT order_error('id OFFSET 1');
SELECT order_error('');
SELECT order_error('{"id": 1}');
SELECT order_error('idd');
SELECT order_error('id DSC');
SELECT set_error('age = 1 WHERE id = 1');
SELECT set_error('age = 1 FROM secret');
SELECT set_error('age = 1 RETURNING *');
SELECT set_error('age = 1;');
SELECT set_error('age = 1; DROP TABLE users');
SELECT set_error('age = 1 --');
SELECT set_error('age');
SELECT set_error('');
SELECT set_error('{"age": 1}');
SELECT set_error('agee = 1');
SELECT set_error('(age, nme) = (1, 2)');
SELECT set_error('users.age = 1');
SELECT set_error('age = 1, age = 2');
SELECT set_error('twice = 1');
SELECT set_error('id = DEFAULT');
SELECT set_error('name = NULL');
SELECT set_error('name = repeat(''x'', 33)');
-- only what was no error has changed anything
SELECT * FROM users ORDER BY id;

-- the position is one in the fragment, with a name, on its own line
\pset tuples_only off
SELECT * FROM orm.query(NULL::users, $$id > 0
	AND nmae = :nm$$, params => '{"nm": "lqz"}');
SELECT * FROM orm.query(NULL::users, 'id = 1', 'id, (age');
SELECT * FROM orm.query(NULL::users, 'id = :one AND lower(:none) = name', params => '{"one": 1}');
SELECT * FROM orm.query(NULL::users, 'id = :one AND name + 1 = 2', params => '{"one": 1}');
SELECT orm.update_where(NULL::users, 'true', '{"name": "x"}', 'age = agee + 1');
\pset tuples_only on

--
-- Types, names
--
SELECT filter_error('id');
SELECT filter_error('id + 1');
SELECT error($$orm.query(NULL::users, 'name', filter_by => '{"id": 1}')$$);
SELECT filter_error('count(*) > 1');
SELECT filter_error('generate_series(1, 2) > 1');
SELECT filter_error('row_number() OVER () > 1');
SELECT filter_error('nmae = 1');
SELECT filter_error('nothing_like_it = 1');
SELECT filter_error('name = "lqz"');
SELECT filter_error('other.id = 1');
SELECT filter_error('users.nme = 1');
SELECT filter_error('id IN (SELECT nme FROM users)');
SELECT filter_error('nofunction(id)');
SELECT filter_error('1 / (id - 1) > 0');
-- a variable of PL/pgSQL is not seen
DO $$
DECLARE
	low int := 1; hint text;
BEGIN
	PERFORM orm.query(NULL::users, 'id > low');
EXCEPTION WHEN undefined_column THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RAISE NOTICE '% | %', SQLERRM, hint;
END $$;
-- JSON where SQL is wanted
SELECT filter_error('{"name": "lqz"}');
SELECT filter_error(' [1, 2]');
-- and the reverse is PostgreSQL's own error
SELECT orm.query(NULL::users, filter_by => 'id = 1');
SELECT orm.update_where(NULL::users, 'true', 'age = age + 1');

--
-- params
--
SELECT filter_error('id = :x');
SELECT filter_error('id = $1');
SELECT filter_error('id = $2', '[1]');
SELECT filter_error('id = $0', '[1]');
SELECT filter_error('id = $1', '{"x": 1}');
SELECT filter_error('id = :x', '[1]');
SELECT filter_error('id = :lo', '{"low": 1}');
SELECT filter_error('id = :low', '{"low": "abc"}');
SELECT filter_error('id = :low', '{"low": 1.5}');
SELECT filter_error('id = :low', '{"low": [1]}');
SELECT filter_error('id IN (:ids)', '{"ids": [1, 2]}');
SELECT filter_error('name = :n', '{"n": {"a": 1}}');
SELECT filter_error('id = ANY(:ids)', '{"ids": 1}');
SELECT filter_error('id = ANY(:ids)', '{"ids": [1, "x"]}');
SELECT filter_error('id = ANY(:ids)', '{"ids": {"a": 1}}');
SELECT filter_error(':x IS NULL', '{"x": 1}');
SELECT filter_error(':x::int IS NULL', '{"x": 1}');
SELECT filter_error('id = :x OR name = :x', '{"x": 1}');
SELECT filter_error('id = 1', '1');
SELECT filter_error('id = 1', 'null');
SELECT filter_error(': x', '{"x": 1}');
-- a value is never SQL
SELECT filter_error('name = :n', $${"n": "' OR true --"}$$);
SELECT by_error($${"name": "' OR true --"}$$);
SELECT by_error($${"name": ["' OR true --", "') --"]}$$);

--
-- filter_by
--
SELECT by_error('{}');
SELECT by_error('[]');
SELECT by_error('null');
SELECT by_error('1');
SELECT by_error('{"nme": 1}');
SELECT by_error('{"id = 1 OR id": 1}');
SELECT by_error('{"id\" = 1 --": 1}');
SELECT by_error('{"ctid": "(0,1)"}');
SELECT by_error('{"ID": 1}');
SELECT by_error('{"id": {"a": 1}}');
SELECT by_error('{"id": [[1], [2]]}');
SELECT by_error('{"id": [{"a": 1}]}');
SELECT by_error('{"id": "abc"}');
SELECT by_error('{"id": true}');
SELECT by_error('{"id": 1e100}');
SELECT by_error('{"name": {"$ne": null}}');
SELECT by_error('{"tags": "a"}');
SELECT by_error('{"tags": "{a}"}');
SELECT by_error('{"tags": 1}');
SELECT by_error('{"user": 1}', 'person');
SELECT by_error('{"user": {}}', 'person');
SELECT by_error('{"user": [1]}', 'person');
SELECT by_error('{"user": {"nme": 1}}', 'person');
SELECT by_error('{"usr": {"name": 1}}', 'person');
SELECT by_error('{"user": {"name": {"a": 1}}}', 'person');
SELECT by_error('{"people": 1}');
SELECT error($$orm.first(NULL::users, filter_by => '{}')$$);
SELECT error($$orm.one(NULL::users, filter_by => '{}')$$);
SELECT error($$orm.one_or_none(NULL::users, filter_by => '{}')$$);
SELECT error($$orm.update_where(NULL::users, filter_by => '{}', changes => '{"age": 1}')$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}', filter_by => '{}')$$);
SELECT error($$orm.delete_where(NULL::users, filter_by => '{}')$$);

--
-- No criteria, nothing to change, wrong options
--
SELECT error($$orm.update_where(NULL::users, changes => '{"age": 1}')$$);
SELECT error($$orm.update_where(NULL::users, NULL, '{"age": 1}', filter_by => NULL)$$);
SELECT error($$orm.delete_where(NULL::users)$$);
SELECT error($$orm.delete_where(NULL::users, NULL, NULL)$$);
SELECT error($$orm.update_where(NULL::users, 'true')$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{}')$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{}', '')$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}', synchronize_session => 'evalute')$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}', synchronize_session => true)$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}', synchronize_session => NULL)$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}', synchronize_session => NULL::bool)$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}', synchronize_session => 0)$$);
SELECT error($$orm.delete_where(NULL::users, 'true', synchronize_session => 'False')$$);
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}', at_most => -1)$$);
SELECT error($$orm.query(NULL::unmapped)$$);
SELECT error($$orm.query(NULL::int)$$);
SELECT error($$orm.query(NULL)$$);
SELECT error($$orm.update_where(NULL::unmapped, 'true', '{"id": 1}')$$);

--
-- changes
--
SELECT changes_error('[]');
SELECT changes_error('1');
SELECT changes_error('{"nme": 1}');
SELECT changes_error('{"age": "age + 1"}');
SELECT changes_error('{"age": [1]}');
SELECT changes_error('{"name": null}');
SELECT changes_error('{"name": "a name that is longer than its thirty-two characters"}');
SELECT changes_error('{"twice": 1}');
SELECT changes_error('{"id": 9}');
SELECT changes_error('{"user": {"id": 7}}', 'person');
SELECT changes_error('{"user": {"name": "lqz"}}', 'person');
SELECT changes_error('{"user": 1}', 'person');
SELECT changes_error('{"user": [{"id": 1}]}', 'person');
SELECT changes_error('{"user": {"id": 1}, "user_id": 2}', 'person');
SELECT changes_error('{"people": null}');
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}', 'age = 2')$$);
SELECT error($$orm.update_where(NULL::users, 'id = 1', '{"age": 31}', 'name = name || :x', params => '{"x": "!"}')$$);

--
-- 'evaluate' refuses before anything is written, flushes included
--
\set evaluate 'synchronize_session => \'evaluate\')'
SELECT error($$orm.update_where(NULL::users, 'id IN (SELECT user_id FROM person)', '{"age": 1}', $$ || :'evaluate');
SELECT error($$orm.update_where(NULL::users, 'age < random()', '{"age": 1}', $$ || :'evaluate');
SELECT error($$orm.update_where(NULL::users, 'true', "set" => 'age = random()', $$ || :'evaluate');
SELECT error($$orm.update_where(NULL::users, 'true', "set" => 'age = (SELECT max(id) FROM users)', $$ || :'evaluate');
SELECT error($$orm.update_where(NULL::users, filter_by => '{"people": {"note": "a"}}', changes => '{"age": 1}', $$ || :'evaluate');
SELECT error($$orm.delete_where(NULL::users, 'EXISTS (SELECT FROM person)', $$ || :'evaluate');
BEGIN;
SELECT id FROM orm.add(NULL::users, '{"id": 9, "name": null}');
-- the flush would fail, and does not come to it
SELECT orm.update_where(NULL::users, 'age < random()', '{"age": 1}', synchronize_session => 'evaluate');
ROLLBACK;

-- a write in a read-only transaction, and in somebody's index function
BEGIN READ ONLY;
SELECT error($$orm.update_where(NULL::users, 'true', '{"age": 1}')$$);
SELECT error($$orm.query(NULL::users)$$);
COMMIT;
SELECT * FROM users ORDER BY id;

\c postgres
DROP DATABASE regress_orm_criteria;
DROP ROLE regress_orm_criteria_user;
