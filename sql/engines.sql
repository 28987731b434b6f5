\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_engines;
DROP ROLE IF EXISTS regress_orm_engines_owner, regress_orm_engines_user;
CREATE ROLE regress_orm_engines_owner;
CREATE ROLE regress_orm_engines_user;
CREATE DATABASE regress_orm_engines OWNER regress_orm_engines_owner
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_engines SET lc_messages TO 'C';
\c regress_orm_engines
CREATE EXTENSION pg_orm;
GRANT CREATE ON SCHEMA public TO regress_orm_engines_user;
\set ECHO all
--
-- Engines are the database owner's, and everybody may look at them
--
\set state 'SELECT engine, size, in_use, overflow, waiting, oldest IS NOT NULL AS oldest FROM orm.engine_status();'
SET ROLE regress_orm_engines_owner;
SELECT orm.create_engine('test1', pool_size => 5, max_overflow => 0,
	pool_timeout => 30, pool_recycle => -1);
SELECT orm.create_engine('defaults');
SELECT orm.sessionmaker('web', engine => 'test1');
SELECT orm.sessionmaker('batch', 'defaults', autoflush => false,
	expire_on_commit => false);
SET ROLE regress_orm_engines_user;
SELECT * FROM orm.engines ORDER BY name;
SELECT * FROM orm.sessionmakers ORDER BY name;
:state
SELECT orm.create_engine('mine');
\echo :LAST_ERROR_SQLSTATE
SELECT orm.sessionmaker('mine', 'test1');
SELECT orm.drop_sessionmaker('web');
SELECT orm.drop_engine('test1');
INSERT INTO orm.engine_def VALUES ('mine', 1, 1, 0, 30, -1);
DELETE FROM orm.sessionmaker_def;

-- to make one that is there changes it
SET ROLE regress_orm_engines_owner;
SELECT orm.create_engine('test1', 1, 1, 0, 3600);
SELECT orm.sessionmaker('batch', 'test1', expire_on_commit => true);
SELECT * FROM orm.engines ORDER BY name;
SELECT * FROM orm.sessionmakers ORDER BY name;
SELECT orm.drop_engine('defaults');
SELECT orm.drop_sessionmaker('batch');
SELECT * FROM orm.engines;
SELECT * FROM orm.sessionmakers;

-- wrong input
SELECT orm.create_engine('');
\echo :LAST_ERROR_SQLSTATE
SELECT orm.create_engine(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.create_engine('x', pool_size => NULL);
SELECT orm.create_engine('x', pool_size => -1);
SELECT orm.create_engine('x', max_overflow => -2);
SELECT orm.create_engine('x', pool_size => 65535, max_overflow => 1);
SELECT orm.create_engine('x', pool_size => 2147483647, max_overflow => 2147483647);
SELECT orm.create_engine('x', pool_timeout => -1);
SELECT orm.create_engine('x', pool_timeout => 'NaN');
SELECT orm.create_engine('x', pool_timeout => 'Infinity');
SELECT orm.create_engine('x', pool_recycle => -2);
\echo :LAST_ERROR_SQLSTATE
SELECT orm.drop_engine('x');
\echo :LAST_ERROR_SQLSTATE
SELECT orm.drop_engine('test1');
\echo :LAST_ERROR_SQLSTATE
SELECT orm.sessionmaker('x', 'x');
\echo :LAST_ERROR_SQLSTATE
SELECT orm.sessionmaker('x', NULL);
SELECT orm.sessionmaker(NULL, 'test1');
SELECT orm.sessionmaker('', 'test1');
SELECT orm.sessionmaker('a.1', 'test1');
SELECT orm.sessionmaker(repeat('x', 49), 'test1');
\echo :LAST_ERROR_SQLSTATE
SELECT orm.drop_sessionmaker('x');
\echo :LAST_ERROR_SQLSTATE
SELECT name FROM orm.engines;

--
-- Slots: from begin to the end of the session's transaction
--
SELECT orm.create_engine('test1', pool_size => 1, max_overflow => 1, pool_timeout => 0.01);
SET ROLE regress_orm_engines_user;
CREATE TABLE item (id int PRIMARY KEY, label text);
SELECT orm.map('item');
CREATE FUNCTION used() RETURNS bigint LANGUAGE sql
	AS 'SELECT sum(in_use) FROM orm.engine_status()';

CALL orm.begin('web/1');
:state
SELECT * FROM orm.add(NULL::item, '{"id": 1, "label": "a"}');
CALL orm.commit();
:state
CALL orm.begin('web/1');
CALL orm.rollback();
SELECT used();
-- the oldest connection is for who may see it
RESET ROLE;
CALL orm.begin('web/1');
:state
ROLLBACK;
SET ROLE regress_orm_engines_user;
CALL orm.begin('web/1');
CALL orm.close();
SELECT used();
CALL orm.begin('web/1');
COMMIT;
SELECT used();
CALL orm.begin('web/1');
ROLLBACK;
SELECT used();
CALL orm.begin('web/1');
SELECT 1/0;
ROLLBACK;
SELECT used();
-- the new transaction is not the session's
CALL orm.begin('web/1');
COMMIT AND CHAIN;
SELECT used();
COMMIT;

-- each session has one of its own; what is above pool_size is overflow
CALL orm.begin('web/1');
CALL orm.begin('web/2');
:state
-- a third cannot have one, since the other two are here
CALL orm.begin('web');
\echo :LAST_ERROR_SQLSTATE
-- and nothing is kept of it
ROLLBACK TO "web/2";
:state
CALL orm.commit();
:state
CALL orm.begin('web');
:state
CALL orm.close();
SELECT used();
CALL orm.commit();
SELECT used();

-- names: the maker's, or the maker's and a slash
CALL orm.begin('website');
SELECT used();
CALL orm.begin('we');
SELECT used();
CALL orm.begin('web/');
SELECT used();
CALL orm.begin('web/a/b c');
SELECT used();
ROLLBACK;

-- the longest name of a maker that fits is the one
SET ROLE regress_orm_engines_owner;
SELECT orm.create_engine('unlimited', pool_size => 0);
SELECT orm.create_engine('overflowing', pool_size => 1, max_overflow => -1);
SELECT orm.sessionmaker('web/admin', 'unlimited');
SELECT orm.sessionmaker('job', 'overflowing');
SET ROLE regress_orm_engines_user;
CALL orm.begin('web/admin');
CALL orm.begin('web/admin/1');
CALL orm.begin('web/admin/2');
CALL orm.begin('web/administrator');
CALL orm.begin('job/1');
CALL orm.begin('job/2');
CALL orm.begin('job/3');
:state
ROLLBACK;
:state

-- in a block of the client's a slot goes with the session's savepoint
BEGIN;
CALL orm.begin('web/1');
SELECT used();
CALL orm.begin_nested();
CALL orm.rollback_nested();
SELECT used();
CALL orm.commit();
SELECT used();
CALL orm.begin('web/1');
SELECT used();
CALL orm.rollback();
SELECT used();
CALL orm.begin('web/1');
SELECT used();
CALL orm.close();
SELECT used();
SAVEPOINT x;
CALL orm.begin('web/1');
SELECT used();
ROLLBACK TO x;
SELECT used();
CALL orm.begin('web/1');
SELECT 1/0;
ROLLBACK TO "web/1";
SELECT used();
SELECT 1/0;
ROLLBACK TO x;
SELECT used();
-- its savepoint is released by the client: it is open till the end
CALL orm.begin('web/1');
RELEASE x;
SELECT used();
COMMIT;
SELECT used();

-- a begin that fails takes none
BEGIN;
CALL orm.begin('web/1');
SAVEPOINT x;
CALL orm.begin('web/1');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO x;
SELECT used();
COMMIT;

-- nothing that a client may call frees one
CALL orm.begin('web/1');
SELECT pg_advisory_unlock_all();
DISCARD ALL;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
CALL orm.begin('web/1');
SELECT pg_advisory_unlock_all();
SELECT used();
ROLLBACK;

--
-- A session that is used without a begin has one from its first use to the
-- end of the transaction, or until it is closed
--
BEGIN;
SET LOCAL orm.session = 'web/1';
SELECT * FROM orm.session_objects;
SELECT orm.is_modified(i) FROM item i;
SELECT orm.flush();
SELECT used();
SELECT * FROM orm.get(NULL::item, 1);
SELECT used();
-- a begin adds no second one, and its end takes nothing away
CALL orm.begin();
SELECT used();
CALL orm.commit();
SELECT used();
CALL orm.close();
SELECT used();
SELECT orm.update_where(NULL::item, 'id = 1', '{"label": "b"}');
SELECT used();
COMMIT;
SELECT used();
BEGIN;
SET LOCAL orm.session = 'web/1';
SAVEPOINT x;
SELECT label FROM orm.query(NULL::item, 'true');
ROLLBACK TO x;
-- it still is the transaction's
SELECT used();
ROLLBACK;
-- and in autocommit with the statement
SET orm.session = 'web/1';
SELECT label, used() FROM orm.get(NULL::item, 1);
SELECT used();
RESET orm.session;

--
-- Settings of the maker
--
SET ROLE regress_orm_engines_owner;
SELECT orm.sessionmaker('web', 'test1', autoflush => false, expire_on_commit => false);
SET ROLE regress_orm_engines_user;
CALL orm.begin('web/1');
SELECT label FROM orm.add(NULL::item, '{"id": 2, "label": "pending"}');
SELECT count(*) FROM item;
CALL orm.commit();
SELECT count(*) FROM item;
SELECT session, identity, state FROM orm.session_objects;
CALL orm.close('web/1');
SELECT session, identity, state FROM orm.session_objects;
-- others follow the settings
BEGIN;
SELECT label FROM orm.add(NULL::item, '{"id": 3, "label": "main"}');
SELECT count(*) FROM item;
ROLLBACK;
SET orm.autoflush = off;
SET orm.expire_on_commit = off;
SET ROLE regress_orm_engines_owner;
SELECT orm.sessionmaker('web', 'test1', autoflush => true, expire_on_commit => true);
SET ROLE regress_orm_engines_user;
CALL orm.begin('web/1');
SELECT label FROM orm.add(NULL::item, '{"id": 3, "label": "flushed"}');
SELECT count(*) FROM item;
CALL orm.commit();
SELECT session, identity, state FROM orm.session_objects;
RESET orm.autoflush;
RESET orm.expire_on_commit;

--
-- Settings are rows: they come and go with their transaction
--
SET ROLE regress_orm_engines_owner;
BEGIN;
SELECT orm.create_engine('test1', pool_size => 7);
SELECT orm.sessionmaker('late', 'test1');
CALL orm.begin('late/1');
:state
ROLLBACK;
CALL orm.begin('late/1');
:state
ROLLBACK;
-- an engine that is dropped has no limit any more
CALL orm.begin('web/1');
SELECT orm.drop_sessionmaker('web');
SELECT orm.drop_sessionmaker('web/admin');
SELECT orm.drop_engine('test1');
CALL orm.begin('web/2');
CALL orm.begin('web/3');
COMMIT;
SELECT * FROM orm.engine_status();
-- a maker whose engine is missing, after a partial restore, has none either
SELECT orm.create_engine('test1', pool_size => 1, pool_timeout => 0);
SELECT orm.sessionmaker('web', 'test1');
RESET ROLE;
DELETE FROM orm.engine_def WHERE name = 'test1';
CALL orm.begin('web/1');
CALL orm.begin('web/2');
SELECT used();
ROLLBACK;
-- who may EXECUTE may do it
GRANT EXECUTE ON FUNCTION orm.create_engine TO regress_orm_engines_user;
SET ROLE regress_orm_engines_user;
SELECT orm.create_engine('mine');
SELECT name FROM orm.engines ORDER BY name;

\c contrib_regression
DROP DATABASE regress_orm_engines;
DROP ROLE regress_orm_engines_owner, regress_orm_engines_user;
