\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_versions;
CREATE DATABASE regress_orm_versions
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_versions SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_versions_user;
\c regress_orm_versions
-- the other backend: commits at once
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION dblink;
CREATE FUNCTION elsewhere(sql text) RETURNS text
	LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		RETURN dblink_exec(format('dbname=%s host=%s port=%s', current_database(),
			(SELECT split_part(setting, ', ', 1) FROM pg_settings
				WHERE name = 'unix_socket_directories'),
			current_setting('port')), sql);
	END $$;
\set ECHO all
--
-- Lost updates: an object is written only if nobody else has written its row
-- since it was loaded; by an ordinary role
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_versions_user;
GRANT CREATE ON SCHEMA public TO regress_orm_versions_user;
SET ROLE regress_orm_versions_user;
\pset format unaligned
\pset tuples_only on
-- what is loaded stays so, and elsewhere() flushes nothing
SET orm.autoflush = off;

\set objects 'SELECT class, identity, state FROM orm.session_objects ORDER BY class COLLATE "C", identity::text;'
CREATE FUNCTION fails(call text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE detail text; hint text;
	BEGIN
		EXECUTE 'SELECT ' || call;
		RETURN 'no error';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
	END $$;

--
-- by xmin, which every table has
--
CREATE TABLE item (id int PRIMARY KEY, label text, n int DEFAULT 0);
SELECT orm.map('item', 'Item');
INSERT INTO item SELECT i, 'item ' || i FROM generate_series(1, 5) i;

-- changed by somebody else: also where it was another column, or no change
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::item, 1), '{"label": "mine"}');
SELECT * FROM orm.set(orm.get(NULL::item, 2), '{"label": "mine"}');
SELECT elsewhere('UPDATE item SET n = 0 WHERE id = 2');
SELECT fails('orm.flush()');
-- the session is as it was before the flush
:objects
SELECT label FROM item WHERE id < 3 ORDER BY id;
-- the way out: look at what is stored, and decide again
SELECT * FROM orm.refresh(ROW(2, NULL, NULL)::item);
SELECT * FROM orm.set(orm.get(NULL::item, 2), '{"label": "mine"}');
SELECT orm.flush();
ROLLBACK;
-- deleted by somebody else
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::item, 5), '{"label": "mine"}');
SELECT elsewhere('DELETE FROM item WHERE id = 5');
SELECT fails('orm.flush()');
:objects
COMMIT;
\echo :LAST_ERROR_SQLSTATE
-- a DELETE is checked, too
BEGIN;
SELECT orm.delete(orm.get(NULL::item, 4));
SELECT elsewhere('UPDATE item SET n = 1 WHERE id = 4');
SELECT fails('orm.flush()');
SELECT orm.expire(ROW(4, NULL, NULL)::item);
SELECT orm.delete(orm.get(NULL::item, 3));
SELECT elsewhere('DELETE FROM item WHERE id = 3');
SELECT fails('orm.flush()');
ROLLBACK;
-- a key that changes
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::item, 4), '{"id": 40}');
SELECT elsewhere('UPDATE item SET n = 2 WHERE id = 4');
SELECT fails('orm.flush()');
ROLLBACK;
-- what was only appended, and never loaded, has no version to compare
CREATE TABLE part (id int PRIMARY KEY, item_id int REFERENCES item, label text);
SELECT orm.map('part', 'Part');
SELECT orm.relate('Item', 'parts', 'Part', backref => 'item');
INSERT INTO part VALUES (1, NULL, 'a'), (2, 1, 'b');
BEGIN;
SELECT orm.append(ROW(2, NULL, NULL)::item, 'parts', ROW(1, NULL, NULL)::part);
SELECT elsewhere($$UPDATE part SET label = 'A'$$);
SELECT orm.flush();
SELECT * FROM part ORDER BY id;
-- an orphan that somebody else has changed
SELECT orm.remove(ROW(1, NULL, NULL)::item, 'parts', ROW(2, NULL, NULL)::part);
SELECT elsewhere($$UPDATE part SET label = 'B' WHERE id = 2$$);
SELECT fails('orm.flush()');
ROLLBACK;

-- this transaction's own changes are no conflict, by whatever statement
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::item, 1), '{"label": "mine"}');
UPDATE item SET n = n + 10 WHERE id = 1;
SELECT orm.flush();
SELECT * FROM orm.set(orm.get(NULL::item, 1), '{"label": "mine again"}');
DO $$ BEGIN UPDATE item SET n = n + 10; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$;
UPDATE item SET n = n + 10 WHERE id = 1;
SELECT orm.flush();
SELECT * FROM item WHERE id = 1;
-- what this transaction has deleted and inserted again is its own as well
SELECT * FROM orm.set(orm.get(NULL::item, 2), '{"label": "mine"}');
DELETE FROM item WHERE id = 2;
SAVEPOINT s;
SELECT fails('orm.flush()');
INSERT INTO item VALUES (2, 'anew');
SELECT orm.flush();
SELECT * FROM item WHERE id = 2;
ROLLBACK;
-- written in a savepoint that was rolled back: as it was loaded
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::item, 1), '{"label": "mine"}');
SAVEPOINT s;
UPDATE item SET n = 99 WHERE id = 1;
SELECT orm.flush();
ROLLBACK TO s;
SELECT elsewhere('UPDATE item SET n = 3 WHERE id = 1');
SELECT fails('orm.flush()');
ROLLBACK;
-- locked by this transaction, or changed back and forth, it is what it was
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::item, 1), '{"label": "mine"}');
SELECT FROM item WHERE id = 1 FOR UPDATE;
SELECT orm.flush();
SELECT * FROM item WHERE id = 1;
ROLLBACK;

-- objects that outlive the transaction keep their version
SET orm.expire_on_commit = off;
SELECT * FROM orm.get(NULL::item, 1);
SELECT elsewhere('UPDATE item SET n = 4 WHERE id = 1');
SELECT fails($$orm.set(orm.get(NULL::item, 1), '{"label": "mine"}')$$);
SELECT * FROM orm.set(orm.get(NULL::item, 1), '{"label": "mine"}');
SELECT * FROM orm.refresh(orm.get(NULL::item, 1));
SELECT * FROM orm.set(orm.get(NULL::item, 1), '{"label": "mine"}');
SELECT * FROM orm.set(orm.get(NULL::item, 1), '{"label": "mine once more"}');
SELECT elsewhere('UPDATE item SET n = 5 WHERE id = 1');
SELECT orm.delete(orm.get(NULL::item, 1));
-- what has been expired has none, unless a change was based on it
SELECT * FROM orm.get(NULL::part, 1);
UPDATE part SET label = 'raw' WHERE id = 1;
SELECT orm.append(ROW(4, NULL, NULL)::item, 'parts', ROW(1, NULL, NULL)::part);
SELECT orm.update_where(NULL::part, 'id = 1', '{"label": "bulk"}');
SELECT orm.append(ROW(2, NULL, NULL)::item, 'parts', ROW(1, NULL, NULL)::part);
SELECT * FROM part WHERE id = 1;
RESET orm.expire_on_commit;
SELECT orm.expunge_all();

--
-- partitioned tables
--
CREATE TABLE event (day int, id int, label text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (10);
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (10) TO (20);
SELECT orm.map('event', 'Event');
INSERT INTO event VALUES (1, 1, 'a'), (1, 2, 'b'), (11, 1, 'c');
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::event, 1, 1), '{"label": "mine"}');
SELECT * FROM orm.set(orm.get(NULL::event, 11, 1), '{"day": 2}');
SELECT elsewhere($$UPDATE event SET label = 'B' WHERE id = 2$$);
SELECT orm.flush();
SELECT * FROM event ORDER BY 1, 2;
SELECT * FROM orm.set(orm.get(NULL::event, 1, 2), '{"label": "mine"}');
SELECT elsewhere($$UPDATE event SET label = 'BB' WHERE id = 2$$);
SELECT fails('orm.flush()');
SELECT orm.expire(ROW(1, 2, NULL)::event);
SELECT orm.delete(orm.get(NULL::event, 1, 2));
SELECT elsewhere('DELETE FROM event WHERE id = 2');
SELECT fails('orm.flush()');
ROLLBACK;

--
-- by a version column
--
CREATE TABLE doc (id int PRIMARY KEY, label text, version int NOT NULL DEFAULT 1);
SELECT orm.map('doc', 'Doc', version_column => 'version');
BEGIN;
SELECT * FROM orm.add_all(NULL::doc, '[{"id": 1, "label": "a"}, {"id": 2, "label": "b", "version": 7}]');
SELECT orm.flush();
-- it counts the updates
SELECT * FROM orm.set(orm.get(NULL::doc, 1), '{"label": "aa"}');
SELECT orm.flush();
SELECT * FROM orm.get(NULL::doc, 1);
-- but none without a change, and once for each flush
SELECT * FROM orm.set(orm.get(NULL::doc, 1), '{"label": "aa"}');
SELECT orm.flush();
SELECT * FROM orm.set(orm.get(NULL::doc, 2), '{"label": "x"}');
SELECT * FROM orm.set(orm.get(NULL::doc, 2), '{"label": "bb"}');
COMMIT;
SELECT * FROM doc ORDER BY id;
-- lost updates
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::doc, 1), '{"label": "mine"}');
SELECT elsewhere($$UPDATE doc SET label = 'theirs', version = version + 1 WHERE id = 1$$);
SELECT fails('orm.flush()');
ROLLBACK;
BEGIN;
SELECT orm.delete(orm.get(NULL::doc, 1));
SELECT elsewhere($$UPDATE doc SET label = 'theirs again', version = version + 1 WHERE id = 1$$);
SELECT fails('orm.flush()');
ROLLBACK;
-- who does not count does not conflict: a column is the client's word
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::doc, 1), '{"label": "mine"}');
SELECT elsewhere($$UPDATE doc SET label = 'uncounted' WHERE id = 1$$);
SELECT orm.flush();
SELECT * FROM doc WHERE id = 1;
ROLLBACK;
-- bulk changes neither check nor count
BEGIN;
SELECT * FROM orm.get(NULL::doc, 1);
SELECT orm.update_where(NULL::doc, 'id = 1', '{"label": "bulk"}');
SELECT * FROM orm.set(orm.get(NULL::doc, 1), '{"label": "mine"}');
SELECT orm.flush();
SELECT * FROM orm.get(NULL::doc, 1);
-- nor is what this transaction counted on its own a conflict
UPDATE doc SET version = 50 WHERE id = 1;
SELECT * FROM orm.set(orm.get(NULL::doc, 1), '{"label": "mine again"}');
UPDATE doc SET version = 60 WHERE id = 1;
SELECT orm.flush();
SELECT * FROM orm.get(NULL::doc, 1);
ROLLBACK;
-- a version given to orm.set is compared, and not taken: the UPDATE counts
BEGIN;
SELECT fails($$orm.set(orm.get(NULL::doc, 2), '{"label": "B", "version": 100}')$$);
SELECT * FROM orm.set(orm.get(NULL::doc, 2), '{"label": "B", "version": 8}');
SELECT * FROM orm.set(orm.get(NULL::doc, 2), '{"version": null}');
SELECT orm.flush();
SELECT * FROM doc WHERE id = 2;
-- one that is not stored yet begins as it likes
SELECT * FROM orm.add(NULL::doc, '{"id": 3}');
SELECT * FROM orm.set(orm.get(NULL::doc, 3), '{"version": 30}');
SELECT orm.flush();
ROLLBACK;
-- a savepoint brings the version back
BEGIN;
SELECT * FROM orm.get(NULL::doc, 2);
SAVEPOINT s;
SELECT * FROM orm.set(orm.get(NULL::doc, 2), '{"label": "B"}');
SELECT orm.flush();
ROLLBACK TO s;
SELECT * FROM orm.set(orm.get(NULL::doc, 2), '{"label": "BB"}');
SELECT orm.flush();
SELECT * FROM orm.get(NULL::doc, 2);
ROLLBACK;

-- across requests: what is merged names the version that the client has seen
BEGIN;
SELECT * FROM orm.merge(NULL::doc, '{"id": 2, "label": "seen", "version": 8}');
SELECT orm.flush();
SELECT fails($$orm.merge(NULL::doc, '{"id": 2, "label": "late", "version": 8}')$$);
SELECT fails($$orm.merge(ROW(2, 'late', 8)::doc)$$);
SELECT * FROM orm.merge(ROW(2, 'in time', 9)::doc);
SELECT orm.flush();
-- without one there is no check
SELECT * FROM orm.merge(NULL::doc, '{"id": 2, "label": "whatever"}');
SELECT * FROM orm.merge(ROW(2, 'whatever else', NULL)::doc);
SELECT orm.flush();
SELECT * FROM orm.merge(NULL::doc, '{"id": 3, "label": "new", "version": 5}');
SELECT orm.flush();
SELECT * FROM doc ORDER BY id;
ROLLBACK;
-- inside of a graph too
CREATE TABLE page (id int PRIMARY KEY, doc_id int REFERENCES doc, label text, version bigint NOT NULL DEFAULT 1);
SELECT orm.map('page', 'Page', version_column => 'version');
SELECT orm.relate('Doc', 'pages', 'Page', backref => 'doc');
INSERT INTO page VALUES (1, 1, 'p1', 3), (2, NULL, 'p2', 4);
BEGIN;
SELECT fails($$orm.merge(NULL::doc, '{"id": 1, "pages": [{"id": 1, "label": "x", "version": 2}]}')$$);
SELECT fails($$orm.add(NULL::doc, '{"id": 9, "pages": [{"id": 2, "label": "x", "version": 3}]}')$$);
:objects
SELECT * FROM orm.merge(NULL::doc, '{"id": 1, "pages": [{"id": 1, "label": "x", "version": 3}, {"id": 2, "version": 4}]}');
SELECT orm.flush();
SELECT * FROM page ORDER BY id;
-- the version of the owner counts changes of its own columns only
SELECT version FROM doc WHERE id = 1;
ROLLBACK;
-- a member that is not loaded has no version to compare, but counts
BEGIN;
SELECT orm.append(ROW(2, NULL, NULL)::doc, 'pages', ROW(1, NULL, NULL, NULL)::page);
SELECT orm.flush();
SELECT * FROM page WHERE id = 1;
ROLLBACK;
-- the row switch counts as well
BEGIN;
SELECT orm.delete(orm.get(NULL::page, 1));
SELECT * FROM orm.add(NULL::page, '{"id": 1, "label": "again"}');
SELECT orm.flush();
SELECT * FROM page WHERE id = 1;
SELECT orm.delete(orm.get(NULL::page, 1));
SELECT * FROM orm.add(NULL::page, '{"id": 1, "label": "again"}');
SELECT orm.flush();
ROLLBACK;

-- a version that is NULL cannot be checked
CREATE TABLE loose (id int PRIMARY KEY, label text, version smallint);
SELECT orm.map('loose', 'Loose', version_column => 'version');
INSERT INTO loose VALUES (1, 'a', NULL), (2, 'b', 1);
SELECT fails('orm.get(NULL::loose, 1)');
SELECT fails($$orm.query(NULL::loose, 'true')$$);
SELECT orm.get(NULL::loose, 2);
BEGIN;
SELECT fails($$orm.flush() FROM orm.add(NULL::loose, '{"id": 3, "version": null}')$$);
-- a new row has version 1 where the table has no default
SELECT * FROM orm.add(NULL::loose, '{"id": 4}');
SELECT * FROM orm.add(ROW(5, 'five', NULL)::loose);
SELECT orm.flush();
SELECT * FROM orm.merge(NULL::loose, '{"id": 6, "label": "six"}');
SELECT fails($$orm.merge(NULL::loose, '{"id": 1, "label": "x"}')$$);
ROLLBACK;
-- and one that is no number cannot be counted
CREATE TABLE wordy (id int PRIMARY KEY, version text);
SELECT fails($$orm.map('wordy', version_column => 'version')$$);

--
-- views and foreign tables have no xmin; with a version column they are checked
--
CREATE VIEW doc_view AS SELECT id, label, version FROM doc;
SELECT orm.map('doc_view', 'DocView', version_column => 'version', primary_key => '{id}');
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::doc_view, 1), '{"label": "mine"}');
SELECT elsewhere($$UPDATE doc SET version = version + 1 WHERE id = 1$$);
SELECT fails('orm.flush()');
SELECT * FROM orm.refresh(ROW(1, NULL, NULL)::doc_view);
SELECT * FROM orm.set(orm.get(NULL::doc_view, 1), '{"label": "mine"}');
SELECT orm.flush();
SELECT orm.delete(orm.get(NULL::doc_view, 2));
SELECT elsewhere($$DELETE FROM doc WHERE id = 2$$);
SELECT fails('orm.flush()');
ROLLBACK;
RESET ROLE;
DO $$
BEGIN
	EXECUTE format('CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw
		OPTIONS (dbname %L, host %L, port %L)', current_database(),
		(SELECT split_part(setting, ', ', 1) FROM pg_settings
			WHERE name = 'unix_socket_directories'),
		current_setting('port'));
END $$;
CREATE USER MAPPING FOR CURRENT_USER SERVER loop;
CREATE FOREIGN TABLE far (id int, label text, version int) SERVER loop OPTIONS (table_name 'doc');
SELECT orm.map('far', 'Far', version_column => 'version', primary_key => '{id}');
BEGIN;
SELECT * FROM orm.get(NULL::far, 1);
SELECT * FROM orm.set(orm.get(NULL::far, 1), '{"label": "mine"}');
COMMIT;
SELECT * FROM doc;
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::far, 1), '{"label": "mine, too"}');
SELECT elsewhere($$UPDATE doc SET version = version + 1 WHERE id = 1$$);
SELECT fails('orm.flush()');
ROLLBACK;
SET ROLE regress_orm_versions_user;

--
-- a row that was left out, and is not stale
--
-- by a trigger
CREATE TABLE guarded (id int PRIMARY KEY, label text);
SELECT orm.map('guarded', 'Guarded');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON guarded FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO guarded VALUES (1, 'a'), (2, 'b');
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::guarded, 1), '{"label": "x"}');
SELECT fails('orm.flush()');
SELECT orm.delete(orm.get(NULL::guarded, 1));
SELECT fails('orm.flush()');
-- stale comes first
SELECT elsewhere($$SET session_replication_role = replica; UPDATE guarded SET label = 'b' WHERE id = 1$$);
SELECT fails('orm.flush()');
ROLLBACK;
-- by a policy
DROP TRIGGER refuse ON guarded;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY see ON guarded FOR SELECT USING (true);
CREATE POLICY change ON guarded FOR UPDATE USING (id > 1);
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::guarded, 2), '{"label": "y"}');
SELECT orm.flush();
SELECT * FROM orm.set(orm.get(NULL::guarded, 1), '{"label": "x"}');
SELECT fails('orm.flush()');
SELECT orm.expire(ROW(1, NULL)::guarded);
SELECT orm.delete(orm.get(NULL::guarded, 1));
SELECT fails('orm.flush()');
ROLLBACK;
-- a policy that hides the row now: it is gone for this role
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::guarded, 2), '{"label": "y"}');
ALTER POLICY see ON guarded USING (id = 1);
SELECT fails('orm.flush()');
ROLLBACK;

RESET ROLE;
\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_orm_versions;
DROP ROLE regress_orm_versions_user;
