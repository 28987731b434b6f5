\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_automap;
DROP ROLE IF EXISTS regress_orm_automap_user, regress_orm_automap_other;
CREATE ROLE regress_orm_automap_user;
CREATE ROLE regress_orm_automap_other;
CREATE DATABASE regress_orm_automap OWNER regress_orm_automap_user
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_automap SET lc_messages TO 'C';
\c regress_orm_automap
SET client_min_messages = warning;
CREATE EXTENSION pg_orm;
CREATE SCHEMA app AUTHORIZATION regress_orm_automap_user;
CREATE SCHEMA other AUTHORIZATION regress_orm_automap_other;
GRANT USAGE ON SCHEMA app TO regress_orm_automap_other;
GRANT USAGE ON SCHEMA other TO regress_orm_automap_user;
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
-- orm.automap and orm.diagram
--
SET SESSION AUTHORIZATION regress_orm_automap_other;
CREATE TABLE other.theirs (id int PRIMARY KEY);
GRANT REFERENCES, SELECT ON other.theirs TO regress_orm_automap_user;
SELECT orm.map('other.theirs', 'Theirs');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_orm_automap_user;
SET search_path = app, public;
CREATE TABLE author (id int PRIMARY KEY, name varchar(20));
CREATE TABLE book (
	id int PRIMARY KEY,
	author_id int NOT NULL REFERENCES author ON DELETE CASCADE,
	editor_id int REFERENCES author ON DELETE SET NULL,
	sequel_of int REFERENCES book,
	theirs_id int REFERENCES other.theirs);
CREATE TABLE tag (id int PRIMARY KEY, book_collection text);
CREATE TABLE book_tag (book_id int REFERENCES book, tag_id int REFERENCES tag,
	PRIMARY KEY (book_id, tag_id));
CREATE TABLE likes (a int REFERENCES author, b int REFERENCES author, PRIMARY KEY (a, b));
-- more than two foreign keys make it a class
CREATE TABLE review (book_id int REFERENCES book, author_id int REFERENCES author,
	stars int, PRIMARY KEY (book_id, author_id));
CREATE TABLE log (at date, id int, tag int REFERENCES tag, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
CREATE TABLE keyless (id int);
CREATE TABLE "Eine | Größe" ("Id ""x""" int PRIMARY KEY);

SELECT * FROM orm.automap();
-- again: nothing new
SELECT * FROM orm.automap();
\pset format aligned
\pset tuples_only off
SELECT class, name, target, direction, local_columns, remote_columns, secondary, reverse
	FROM orm.relationships ORDER BY class, name;
SELECT class, name, cascade, passive_deletes FROM orm.relationships
	WHERE cascade <> 'save-update, merge' OR passive_deletes ORDER BY class, name;
\pset format unaligned
\pset tuples_only on
-- a new table later
CREATE TABLE chapter (id int PRIMARY KEY, book_id int NOT NULL REFERENCES book);
SELECT * FROM orm.automap();
SELECT class, name FROM orm.relationships WHERE target = 'chapter' OR class = 'chapter' ORDER BY 1;
-- a class's name is taken: the schema is added
CREATE SCHEMA app2;
CREATE TABLE app2.tag (id int PRIMARY KEY);
SELECT * FROM orm.automap('app2');
SELECT try($$SELECT orm.automap('nowhere')$$);
SELECT try($$SELECT orm.automap(NULL)$$);
-- others' tables are left alone
SELECT orm.automap('other');

SELECT orm.diagram();
SELECT orm.diagram('dot');
SELECT try($$SELECT orm.diagram('svg')$$);

RESET SESSION AUTHORIZATION;
\c contrib_regression
DROP DATABASE regress_orm_automap;
DROP ROLE regress_orm_automap_user, regress_orm_automap_other;
