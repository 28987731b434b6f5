\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_unit_of_work;
CREATE DATABASE regress_orm_unit_of_work
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_unit_of_work SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_unit_of_work_user;
DROP ROLE IF EXISTS regress_orm_unit_of_work_clerk;
\c regress_orm_unit_of_work
\set ECHO all
--
-- What a flush writes: which statements, in which order
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_unit_of_work_user;
CREATE ROLE regress_orm_unit_of_work_clerk;
GRANT CREATE ON SCHEMA public TO regress_orm_unit_of_work_user;
GRANT regress_orm_unit_of_work_clerk TO regress_orm_unit_of_work_user;
SET ROLE regress_orm_unit_of_work_user;
\pset format unaligned
\pset tuples_only on

\set objects 'SELECT class, identity, state FROM orm.session_objects ORDER BY class COLLATE "C", identity::text;'
\set statements 'SELECT class, operation, objects FROM orm.pending_statements();'
CREATE FUNCTION fails(call text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE detail text; hint text;
	BEGIN
		EXECUTE 'SELECT ' || call;
		RETURN 'no error';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
	END $$;

CREATE TABLE boy (id int PRIMARY KEY, name text UNIQUE, age int, size numeric(5, 1));
CREATE TABLE girl (id int PRIMARY KEY, name text);
CREATE TABLE boy_girl (boy_id int REFERENCES boy, girl_id int REFERENCES girl,
	PRIMARY KEY (girl_id, boy_id));
CREATE TABLE toy (id int PRIMARY KEY, boy_id int REFERENCES boy, name text);
SELECT count(orm.map(t::regclass, initcap(t))) FROM unnest('{boy,girl,toy}'::text[]) t;
SELECT orm.relate('Boy', 'girls', 'Girl', secondary => 'boy_girl', backref => 'boys');
SELECT orm.relate('Toy', 'boy', 'Boy', backref => 'toys');

--
-- INSERT, UPDATE, association rows, DELETE: one statement for each model and
-- kind of change, tables that are referenced first, deletes in reverse
--
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT * FROM orm.add(NULL::toy, '{"id": 1, "name": "ball", "boy_id": 1}');
SELECT count(*) FROM orm.add_all(NULL::girl, '[{"id": 2, "name": "g2"}, {"id": 1, "name": "g1"}]');
SELECT orm.append(ROW(1, NULL)::girl, 'boys', ROW(1, NULL, NULL, NULL)::boy);
SELECT count(*) FROM orm.add_all(NULL::boy, '[{"id": 2, "name": "b2"}, {"id": 1, "name": "b1"}]');
SELECT * FROM orm.add(NULL::toy, '{"id": 2, "name": "car"}');
SELECT * FROM orm.pending_statements();
SELECT orm.flush();
SELECT orm.delete(orm.get(NULL::girl, 2));
SELECT * FROM orm.set(orm.get(NULL::toy, 2), '{"boy_id": 1}');
SELECT orm.delete(orm.get(NULL::boy, 2));
SELECT orm.delete(orm.get(NULL::toy, 1));
SELECT * FROM orm.add(NULL::boy, '{"id": 3, "name": "b3"}');
SELECT orm.append(ROW(1, NULL)::girl, 'boys', ROW(3, NULL, NULL, NULL)::boy);
SELECT orm.remove(ROW(1, NULL)::girl, 'boys', ROW(1, NULL, NULL, NULL)::boy);
SELECT * FROM orm.pending_statements();
SELECT orm.flush();
SELECT * FROM boy ORDER BY id;
SELECT * FROM toy ORDER BY id;
SELECT * FROM boy_girl ORDER BY 1, 2;
COMMIT;

-- an UPDATE has the columns that changed; the same shape has the same text
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT * FROM orm.set(orm.get(NULL::boy, 1), '{"name": "one", "age": null}');
SELECT * FROM orm.set(orm.get(NULL::boy, 3), '{"name": "three", "age": 3}');
SELECT class, operation, objects, statement FROM orm.pending_statements();
-- no net change, no statement
SELECT * FROM orm.set(orm.get(NULL::boy, 3), '{"name": "b3"}');
SELECT * FROM orm.set(orm.get(NULL::boy, 1), '{"name": "b1"}');
SELECT * FROM orm.set(orm.get(NULL::boy, 3), '{"age": null, "size": null}');
:objects
:statements
SELECT orm.flush();
-- a value that is rounded on its way is what is stored
SELECT size FROM orm.set(orm.get(NULL::boy, 3), '{"size": 1.25}');
SELECT orm.flush();
SELECT size FROM orm.set(orm.get(NULL::boy, 3), '{"size": 1.3}');
:statements
ROLLBACK;

-- INSERT comes before DELETE: a unique value cannot be handed on in one flush
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.delete(orm.get(NULL::boy, 3));
SELECT name FROM orm.add(NULL::boy, '{"id": 4, "name": "b3"}');
:statements
SELECT fails('orm.flush()');
:objects
SELECT orm.expunge(orm.get(NULL::boy, 4));
SELECT orm.flush();
SELECT name FROM orm.add(NULL::boy, '{"id": 4, "name": "b3"}');
SELECT orm.flush();
ROLLBACK;
-- but the same key can: one UPDATE, and the links of the one before go
BEGIN;
SELECT orm.delete(orm.get(NULL::boy, 3));
SELECT * FROM orm.add(NULL::boy, '{"id": 3, "name": "again"}');
:statements
SELECT * FROM boy ORDER BY id;
SELECT * FROM boy_girl ORDER BY 1, 2;
ROLLBACK;
-- while a row that is added again brings the object back
BEGIN;
SELECT orm.delete(orm.get(NULL::boy, 3));
SELECT * FROM orm.add(ROW(3, 'again', NULL, NULL)::boy);
:statements
SELECT * FROM boy ORDER BY id;
SELECT * FROM boy_girl ORDER BY 1, 2;
ROLLBACK;

-- what a flush returns: rows, association rows too
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT id FROM orm.add(NULL::boy, '{"id": 5, "girls": [1, {"id": 5, "name": "g5"}], "toys": [{"id": 5}]}');
SELECT orm.flush();
SELECT orm.flush();
SELECT orm.append(ROW(5, NULL, NULL, NULL)::boy, 'girls', ROW(1, NULL)::girl);
SELECT orm.flush();
SELECT orm.delete(orm.get(NULL::boy, 5));
SELECT orm.flush();
ROLLBACK;

-- the text does not depend on the values, nor on the number of objects (but
-- of one it is another)
CREATE TEMP TABLE texts AS SELECT NULL::text AS statement LIMIT 0;
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT count(*) FROM orm.add_all(NULL::girl, '[{"id": 100, "name": "x"}]');
INSERT INTO texts SELECT statement FROM orm.pending_statements();
SELECT orm.flush();
SELECT count(*) FROM orm.add_all(NULL::girl,
	(SELECT jsonb_agg(jsonb_build_object('id', i, 'name', 'y' || i)) FROM generate_series(101, 3000) i));
INSERT INTO texts SELECT statement FROM orm.pending_statements();
SELECT orm.flush();
SELECT count(orm.set(g, '{"name": "z"}')) FROM girl g WHERE id = 100;
INSERT INTO texts SELECT statement FROM orm.pending_statements();
SELECT orm.flush();
SELECT count(orm.set(g, '{"name": "zz"}')) FROM girl g WHERE id >= 100;
:statements
INSERT INTO texts SELECT statement FROM orm.pending_statements();
SELECT orm.flush();
SELECT count(orm.delete(g)) FROM girl g WHERE id > 100;
:statements
SELECT orm.flush();
SELECT count(*), count(DISTINCT statement) FROM texts;
SELECT * FROM girl ORDER BY id;
ROLLBACK;

--
-- Circles
--
-- a table that references itself: by one statement, in whatever order
CREATE TABLE node (id int PRIMARY KEY, parent_id int REFERENCES node, label text);
SELECT orm.map('node', 'Node');
SELECT orm.relate('Node', 'children', 'Node', backref => 'parent');
BEGIN;
SELECT count(*) FROM orm.add_all(NULL::node, '[{"id": 1, "parent_id": 3}, {"id": 2, "parent_id": 1},
	{"id": 3, "parent_id": 3}, {"id": 4, "parent_id": 2}]');
:statements
SELECT * FROM node ORDER BY id;
SELECT count(orm.delete(n)) FROM node n WHERE id <> 4;
SELECT * FROM node ORDER BY id;
ROLLBACK;
-- row by row, where a trigger has a say in each: parents come first, and of
-- what is left the lowest key
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE NOTICE '% of % %', TG_OP, TG_TABLE_NAME, NEW;
		RETURN NEW;
	END $$;
CREATE TRIGGER tell BEFORE INSERT OR UPDATE ON node FOR EACH ROW EXECUTE FUNCTION tell();
BEGIN;
SELECT count(*) FROM orm.add_all(NULL::node, '[{"id": 1, "parent_id": 3}, {"id": 2}, {"id": 3, "parent_id": 3}]');
:statements
SELECT orm.flush();
:objects
SELECT * FROM node ORDER BY id;
SELECT * FROM orm.get(NULL::node, 1);
ROLLBACK;
-- those of a circle get their parents when these are there
BEGIN;
SELECT count(*) FROM orm.add_all(NULL::node, '[{"id": 1, "parent_id": 3}, {"id": 2}, {"id": 3, "parent_id": 1}]');
SELECT orm.flush();
SELECT * FROM node ORDER BY id;
ROLLBACK;
DROP TABLE node;
-- the same where the reference must not be NULL
CREATE TABLE leaf (id int PRIMARY KEY, root_id int NOT NULL REFERENCES leaf);
SELECT orm.map('leaf', 'Leaf');
SELECT orm.relate('Leaf', 'leaves', 'Leaf', backref => 'root');
CREATE TRIGGER tell BEFORE INSERT ON leaf FOR EACH ROW EXECUTE FUNCTION tell();
BEGIN;
SELECT count(*) FROM orm.add_all(NULL::leaf, '[{"id": 1, "root_id": 1}, {"id": 2, "root_id": 1}]');
SELECT orm.flush();
SELECT * FROM orm.add(NULL::leaf, '{"id": 5, "root": {"id": 4, "root_id": 1}}');
SELECT orm.flush();
SELECT * FROM orm.add(NULL::leaf, '{"id": 6, "root": {"id": 8, "root": {"id": 7, "root_id": 1}}}');
SELECT orm.flush();
SELECT * FROM leaf ORDER BY id;
SAVEPOINT s;
SELECT count(*) FROM orm.add_all(NULL::leaf, '[{"id": 10, "root_id": 12}, {"id": 11, "root_id": 10}, {"id": 12, "root_id": 11}]');
SELECT orm.flush();
ROLLBACK TO s;
-- without the trigger it is one statement
DROP TRIGGER tell ON leaf;
SELECT count(*) FROM orm.add_all(NULL::leaf, '[{"id": 10, "root_id": 12}, {"id": 11, "root_id": 10}, {"id": 12, "root_id": 11}]');
SELECT * FROM leaf ORDER BY id;
ROLLBACK;
DROP TABLE leaf;
-- and in several statements, since there are more than 64 MB
CREATE TABLE heavy (id int PRIMARY KEY, above int NOT NULL REFERENCES heavy,
	beside int REFERENCES heavy, body text);
SELECT orm.map('heavy', 'Heavy');
CREATE FUNCTION tell_rows() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE NOTICE '% of %', TG_OP, (SELECT count(*) > 0 FROM changed);
		RETURN NULL;
	END $$;
CREATE TRIGGER tell AFTER INSERT ON heavy REFERENCING NEW TABLE AS changed
	FOR EACH STATEMENT EXECUTE FUNCTION tell_rows();
CREATE TRIGGER tell_update AFTER UPDATE ON heavy REFERENCING NEW TABLE AS changed
	FOR EACH STATEMENT EXECUTE FUNCTION tell_rows();
BEGIN;
SELECT count(*) FROM generate_series(1, 100) i, orm.add(NULL::heavy, jsonb_build_object(
	'id', i, 'above', least(i + 1, 100), 'beside', 101 - i, 'body', repeat('x', 1000000)));
SELECT orm.flush();
SELECT count(*) FROM heavy WHERE above = least(id + 1, 100) AND beside = 101 - id;
ROLLBACK;
DROP TABLE heavy;

-- between tables, with a way out: what can be NULL is set afterwards
CREATE TABLE team (id int PRIMARY KEY, name text, captain_id int);
CREATE TABLE player (id int PRIMARY KEY, name text, team_id int NOT NULL REFERENCES team);
ALTER TABLE team ADD FOREIGN KEY (captain_id) REFERENCES player;
SELECT orm.map('team', 'Team'), orm.map('player', 'Player');
SELECT orm.relate('Team', 'captain', 'Player', foreign_keys => '{captain_id}', backref => 'leads');
SELECT orm.relate('Player', 'team', 'Team', foreign_keys => '{team_id}', backref => 'players');
CREATE TRIGGER tell BEFORE UPDATE ON team FOR EACH ROW EXECUTE FUNCTION tell();
BEGIN;
SELECT * FROM orm.add(NULL::team, '{"id": 1, "captain_id": 1, "players": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}');
SELECT * FROM orm.add(NULL::team, '{"id": 2, "captain_id": 3}');
SELECT * FROM orm.add(NULL::player, '{"id": 3, "name": "c", "team": 2}');
:statements
SELECT orm.flush();
:objects
SELECT t.id, c.name FROM team t, captain(t) c ORDER BY 1;
-- the same backwards
SET LOCAL orm.autoflush = off;
SELECT count(orm.delete(p)) FROM player p;
SELECT count(orm.delete(t)) FROM team t;
:statements
SELECT orm.flush();
SELECT count(*) FROM team, player;
ROLLBACK;
DROP TABLE team, player CASCADE;
-- of a key of several columns one that may be NULL is enough
CREATE TABLE unit (region int, no int, head int, PRIMARY KEY (region, no));
CREATE TABLE person (region int, no int, unit int NOT NULL, PRIMARY KEY (region, no),
	FOREIGN KEY (region, unit) REFERENCES unit);
ALTER TABLE unit ADD FOREIGN KEY (region, head) REFERENCES person;
SELECT orm.map('unit', 'Unit'), orm.map('person', 'Person');
BEGIN;
SELECT * FROM orm.add(NULL::person, '{"region": 1, "no": 1, "unit": 1}');
SELECT * FROM orm.add(NULL::unit, '{"region": 1, "no": 1, "head": 1}');
SELECT * FROM unit, person;
SET LOCAL orm.autoflush = off;
SELECT orm.delete(orm.get(NULL::unit, 1, 1)), orm.delete(orm.get(NULL::person, 1, 1));
SELECT orm.flush();
ROLLBACK;
DROP TABLE unit, person CASCADE;

-- without a way out: an error that says so, and the session as before
CREATE TABLE husband (id int PRIMARY KEY, wife_id int NOT NULL);
CREATE TABLE wife (id int PRIMARY KEY, husband_id int NOT NULL REFERENCES husband);
ALTER TABLE husband ADD FOREIGN KEY (wife_id) REFERENCES wife;
SELECT orm.map('husband', 'Husband'), orm.map('wife', 'Wife');
SET orm.autoflush = off;
BEGIN;
SELECT count(*) FROM orm.add(NULL::husband, '{"id": 1, "wife_id": 1}');
SELECT count(*) FROM orm.add(NULL::wife, '{"id": 1, "husband_id": 1}');
SELECT fails('orm.flush()');
:objects
ROLLBACK;
-- one that is not checked before the end of the transaction is no obstacle
ALTER TABLE wife ALTER CONSTRAINT wife_husband_id_fkey DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT count(*) FROM orm.add(NULL::husband, '{"id": 1, "wife_id": 1}');
SELECT count(*) FROM orm.add(NULL::wife, '{"id": 1, "husband_id": 1}');
SELECT orm.flush();
COMMIT;
BEGIN;
SELECT orm.delete(orm.get(NULL::husband, 1));
SELECT orm.delete(orm.get(NULL::wife, 1));
SELECT orm.flush();
COMMIT;
SELECT count(*) FROM husband, wife;
RESET orm.autoflush;

--
-- What else a flush sets off
--
-- triggers, ON DELETE and ON UPDATE actions that write to other mapped tables:
-- their objects are read again, pending changes stay
CREATE TABLE house (id int PRIMARY KEY, rooms int NOT NULL DEFAULT 0);
CREATE TABLE room (id int PRIMARY KEY, name text,
	house_id int REFERENCES house ON UPDATE CASCADE ON DELETE SET NULL);
CREATE FUNCTION count_rooms() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		UPDATE house SET rooms = (SELECT count(*) FROM room WHERE house_id = house.id);
		RETURN NULL;
	END $$;
CREATE TRIGGER count_rooms AFTER INSERT OR UPDATE OR DELETE ON room EXECUTE FUNCTION count_rooms();
SELECT orm.map('house', 'House'), orm.map('room', 'Room');
SELECT orm.relate('House', 'rooms_in', 'Room', backref => 'house', passive_deletes => true);
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT * FROM orm.add(NULL::house, '{"id": 1, "rooms_in": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}');
SELECT orm.flush();
:objects
SELECT * FROM orm.get(NULL::house, 1);
SELECT * FROM orm.add(NULL::room, '{"id": 3, "house": 1}');
SELECT * FROM orm.set(orm.get(NULL::house, 1), '{"rooms": 77}');
SELECT * FROM orm.set(orm.get(NULL::room, 1), '{"name": "A"}');
SELECT orm.flush();
:objects
SELECT * FROM house;
-- the key of the house moves its rooms, one of which has a change pending
SELECT * FROM orm.set(orm.get(NULL::room, 2), '{"name": "B"}');
SELECT * FROM orm.set(orm.get(NULL::house, 1), '{"id": 10}');
SELECT orm.flush();
:objects
SELECT * FROM orm.query(NULL::room, 'true', 'id');
SELECT * FROM orm.get(NULL::house, 10);
-- a house goes, its rooms are loaded
SELECT * FROM orm.set(orm.get(NULL::room, 3), '{"name": "C"}');
SELECT orm.expunge(orm.get(NULL::room, 2));
SELECT orm.delete(orm.get(NULL::house, 10));
:statements
SELECT orm.flush();
SELECT * FROM orm.query(NULL::room, 'true', 'id');
SELECT orm.get(NULL::house, 10) IS NULL;
ROLLBACK;

--
-- Several roles in one session: each one's changes are written as that role
--
CREATE TABLE diary (id int PRIMARY KEY, line text, writer name);
CREATE FUNCTION sign() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN NEW.writer := current_user; RETURN NEW; END $$;
CREATE TRIGGER sign BEFORE INSERT OR UPDATE ON diary FOR EACH ROW EXECUTE FUNCTION sign();
GRANT SELECT, INSERT ON diary TO regress_orm_unit_of_work_clerk;
SELECT orm.map('diary', 'Diary');
BEGIN;
SELECT line FROM orm.add(NULL::diary, '{"id": 1, "line": "mine"}');
SET ROLE regress_orm_unit_of_work_clerk;
SELECT line FROM orm.add(NULL::diary, '{"id": 2, "line": "the clerk''s"}');
-- only what is one's own is shown
:objects
:statements
RESET ROLE;
SET ROLE regress_orm_unit_of_work_user;
SELECT line FROM orm.add(NULL::diary, '{"id": 3, "line": "mine too"}');
:statements
SELECT orm.flush();
SELECT current_user;
SELECT * FROM diary ORDER BY id;
ROLLBACK;
-- a statement that fails as that role leaves the one who is there now
BEGIN;
SET LOCAL orm.autoflush = off;
SET ROLE regress_orm_unit_of_work_clerk;
SELECT line FROM orm.add(NULL::diary, '{"id": 2, "line": "the clerk''s"}');
RESET ROLE;
SET ROLE regress_orm_unit_of_work_user;
REVOKE INSERT ON diary FROM regress_orm_unit_of_work_clerk;
SELECT fails('orm.flush()');
SELECT current_user;
ROLLBACK;

--
-- A class that is forgotten: what is pending is written before, or it stays
--
CREATE TABLE shelf (id int PRIMARY KEY);
CREATE TABLE thing (id int PRIMARY KEY);
CREATE TABLE shelf_thing (shelf int REFERENCES shelf, thing int REFERENCES thing,
	PRIMARY KEY (shelf, thing));
SELECT orm.map('shelf', 'Shelf'), orm.map('thing', 'Thing');
SELECT orm.relate('Shelf', 'things', 'Thing', secondary => 'shelf_thing');
BEGIN;
SELECT orm.add(NULL::thing, '{"id": 1}');
SELECT orm.unmap('Thing');
TABLE thing;
COMMIT;
SELECT orm.map('thing', 'Thing');
SELECT orm.relate('Shelf', 'things', 'Thing', secondary => 'shelf_thing');
SET orm.autoflush = off;
BEGIN;
SELECT orm.add(NULL::thing, '{"id": 2}');
SELECT fails($$orm.unmap('Thing')$$);
SELECT orm.flush();
-- links are pending of either class, and of their table
SELECT orm.add(NULL::shelf, '{"id": 1, "things": [1, 2]}');
:statements
SELECT fails($$orm.unmap('Thing')$$), fails($$orm.unmap('Shelf')$$);
SAVEPOINT here;
DROP TABLE shelf_thing;
ROLLBACK TO here;
DROP TABLE thing CASCADE;
ROLLBACK TO here;
SELECT orm.flush();
SELECT orm.unmap('Thing');
COMMIT;
SELECT * FROM thing ORDER BY id;
-- nor is a declared table dropped while something is pending for it
SELECT orm.declare('Part', 'part', ARRAY[orm.column('id', 'int', true)]);
SELECT orm.create_all();
BEGIN;
SELECT orm.add(NULL::part, '{"id": 7}');
SELECT fails('orm.drop_all()');
SET LOCAL orm.autoflush = on;
SELECT orm.drop_all();
COMMIT;
-- DROP TABLE flushes like any DDL; what another session has cannot be
SELECT orm.create_all();
SET orm.autoflush = on;
BEGIN;
SELECT orm.add(NULL::part, '{"id": 8}');
SAVEPOINT here;
DROP TABLE part;
ROLLBACK TO here;
SET LOCAL orm.session = 'other';
SELECT orm.add(NULL::part, '{"id": 9}');
RESET orm.session;
DROP TABLE part;
ROLLBACK;
SELECT orm.drop_all();

-- more sets of changed columns than statements are kept for
CREATE TABLE wide (id int PRIMARY KEY, a int, b int, c int, d int, e int, f int, g int, h int, i int, j int);
SELECT orm.map('wide');
INSERT INTO wide SELECT n FROM generate_series(1, 1023) n;
BEGIN;
SELECT count(orm.set(w, (SELECT jsonb_object_agg(chr(97 + bit), id) FROM generate_series(0, 9) bit
	WHERE id & (1 << bit) <> 0))) FROM wide w;
SELECT orm.flush();
SELECT count(orm.set(w, '{"a": 0, "j": 0}')) FROM wide w;
COMMIT;
SELECT count(*) FILTER (WHERE a = 0 AND j = 0) AS set, count(*) FILTER (WHERE b = id) AS b, count(*) FILTER (WHERE i = id) AS i,
	count(*) FILTER (WHERE num_nonnulls(b, c, d, e, f, g, h, i) = bit_count(((id >> 1) & 255)::bit(8))) AS as_they_were FROM wide;

RESET ROLE;
\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_orm_unit_of_work;
DROP ROLE regress_orm_unit_of_work_user;
DROP ROLE regress_orm_unit_of_work_clerk;
