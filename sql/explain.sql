\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_explain;
CREATE DATABASE regress_orm_explain
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_explain SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_explain_user;
\c regress_orm_explain
\set ECHO all
--
-- What SQL a call runs, by an ordinary role
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_explain_user;
GRANT CREATE ON SCHEMA public TO regress_orm_explain_user;
SET ROLE regress_orm_explain_user;
CREATE TABLE users (id int PRIMARY KEY, name varchar(32) NOT NULL, age int);
CREATE TABLE log (id int PRIMARY KEY, what text);
SELECT orm.map('users', 'Users'), orm.map('log', 'Log');
INSERT INTO users VALUES (1, 'lqz', 30), (2, 'egon', 20);
ANALYZE users;
\pset format unaligned
\pset tuples_only on
-- without what differs from run to run
CREATE FUNCTION explained(call text, with_analyze bool = false) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(line, '  ?\(cost=\S+ rows=\S+ width=\d+\)', ''), 'time=\S+( rows=\d+)?(\.00)?', 'time=T\1', 'g')
		FROM orm.explain(call, with_analyze) line
$$;

SELECT explained($$orm.query(NULL::users, 'id > :low', 'name', params => '{"low": 1}', row_limit => 5)$$);
SELECT explained($$SELECT count(*) FROM orm.query(NULL::users, filter_by => '{"name": ["lqz", "egon"]}')$$, true);
-- costs are shown
SELECT count(*) FROM orm.explain($$orm.query(NULL::users)$$) line WHERE line ~ '\(cost=\S+ rows=2 width=\d+\)';
SELECT explained($$orm.update_where(NULL::users, 'id = 1', '{"age": 31}')$$, with_analyze => true);
SELECT explained($$orm.delete_where(NULL::users, 'id = 1')$$);
-- all is as it was
SELECT * FROM users ORDER BY id;

-- a call that sends nothing
BEGIN;
SELECT name FROM orm.query(NULL::users, 'id = 1');
SELECT explained($$orm.get(NULL::users, 1)$$);
-- what is pending is flushed by the call and pending again after it
SELECT id FROM orm.add(NULL::users, '{"id": 3, "name": "new"}');
SELECT regexp_replace(line, ' *\(cost[^)]*\)', '') FROM orm.explain($$orm.query(NULL::users, 'age > 1')$$) line;
SELECT identity, state FROM orm.session_objects ORDER BY identity;
SELECT regexp_replace(line, ' *\(cost[^)]*\)', '') FROM orm.explain($$orm.flush()$$) line;
ROLLBACK;

-- triggers take part, with their own statements of pg_orm, and are rolled back
CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM orm.update_where(NULL::log, 'true', '{"what": "changed"}');
	RETURN NULL;
END $$;
INSERT INTO log VALUES (1, 'nothing');
CREATE TRIGGER log_change AFTER UPDATE ON users EXECUTE FUNCTION log_change();
SELECT explained($$orm.update_where(NULL::users, 'id = 1', set => 'age = age + 1')$$, true);
SELECT * FROM log;
-- explained within what is explained
SELECT explained($$SELECT * FROM orm.explain('orm.query(NULL::log)')$$);
SELECT explained($$orm.query(NULL::log)$$);

--
-- Errors leave nothing behind
--
SELECT orm.explain('drop table users');
SELECT orm.explain('SELECT 1; DROP TABLE users');
SELECT orm.explain('DELETE FROM users');
SELECT orm.explain('orm.query(NULL::users), users');
SELECT orm.explain('orm.query(NULL::users) WHERE true');
SELECT orm.explain('1');
SELECT orm.explain('');
SELECT orm.explain('CALL orm.commit()');
SELECT orm.explain(NULL);
SELECT orm.explain($$orm.query(NULL::users, 'nmae = 1')$$);
BEGIN;
SELECT name FROM orm.query(NULL::users, 'id = 1');
SAVEPOINT s;
SELECT orm.explain($$orm.update_where(NULL::users, 'true', '{"name": null}')$$);
ROLLBACK TO s;
SELECT identity, state FROM orm.session_objects;
SELECT explained($$orm.query(NULL::log)$$);
COMMIT;
-- every statement of pg_orm's own is shown at DEBUG1 as well
SET client_min_messages = debug1;
SELECT orm.update_where(NULL::log, 'id = 1', '{"what": "shown"}');
RESET client_min_messages;

\c postgres
DROP DATABASE regress_orm_explain;
DROP ROLE regress_orm_explain_user;
