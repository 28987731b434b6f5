\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_walk;
DROP ROLE IF EXISTS regress_orm_walk_user;
CREATE ROLE regress_orm_walk_user;
CREATE DATABASE regress_orm_walk OWNER regress_orm_walk_user
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_walk SET lc_messages TO 'C';
\c regress_orm_walk
CREATE EXTENSION pg_orm;
GRANT CREATE ON SCHEMA public TO regress_orm_walk_user;
\getenv root PG_ABS_SRCDIR
\set walk :root '/test/walk.sql'
\set ECHO all
--
-- The walk through the tutorial, as "make demo" shows it, by an ordinary role
--
SET SESSION AUTHORIZATION regress_orm_walk_user;
\i :walk
RESET SESSION AUTHORIZATION;
\c contrib_regression
DROP DATABASE regress_orm_walk;
DROP ROLE regress_orm_walk_user;
