\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_savepoints;
CREATE DATABASE regress_orm_savepoints
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_savepoints SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_savepoints_user;
\c regress_orm_savepoints
\set ECHO all
--
-- Savepoints: the session rolls back with the database
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_savepoints_user;
GRANT CREATE ON SCHEMA public TO regress_orm_savepoints_user;
GRANT pg_read_all_stats TO regress_orm_savepoints_user;
SET ROLE regress_orm_savepoints_user;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never

CREATE TABLE thing (id int PRIMARY KEY, label text, n int DEFAULT 0);
SELECT orm.map('thing');
INSERT INTO thing SELECT i, 'stored' FROM generate_series(1, 4) i;
-- what the session has: state, and the row as far as it is known, without SQL
CREATE FUNCTION shown(id int, state text) RETURNS text LANGUAGE sql AS
	$$SELECT CASE WHEN state IN ('new', 'dirty', 'persistent')
		THEN (orm.get(NULL::thing, id))::text END$$;
CREATE FUNCTION look(OUT id int, OUT state text, OUT "row" text)
	RETURNS SETOF record LANGUAGE sql
	SET orm.autoflush = off AS
	$$SELECT (o.identity ->> 'id')::int, o.state,
		shown((o.identity ->> 'id')::int, o.state)
		FROM (SELECT * FROM orm.session_objects WHERE class = 'thing'
			ORDER BY identity) o$$;
CREATE FUNCTION add(id int, label text) RETURNS void LANGUAGE sql AS
	$$SELECT FROM orm.add(NULL::thing,
		jsonb_build_object('id', id, 'label', label))$$;
CREATE FUNCTION set(id int, label text) RETURNS void LANGUAGE sql AS
	$$SELECT FROM orm.set((id, NULL, NULL)::thing,
		jsonb_build_object('label', label))$$;
CREATE FUNCTION del(id int) RETURNS void LANGUAGE sql AS
	$$SELECT orm.delete((id, NULL, NULL)::thing)$$;
CREATE FUNCTION rekey(id int, key int) RETURNS void LANGUAGE sql AS
	$$SELECT FROM orm.set((id, NULL, NULL)::thing,
		jsonb_build_object('id', key))$$;

--
-- The matrix: what an object was when the savepoint was set, against what
-- became of it until the rollback.  autoflush is off, so that the client's
-- SAVEPOINT does not flush either.
--
CREATE FUNCTION prepare(kind text, id int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		CASE kind
			WHEN 'absent' THEN NULL;
			WHEN 'loaded' THEN PERFORM orm.get(NULL::thing, id);
			WHEN 'dirty' THEN PERFORM set(id, 'before');
			WHEN 'marked' THEN PERFORM del(id);
			WHEN 'new' THEN PERFORM add(id + 100, 'before');
			WHEN 'flushed new' THEN
				PERFORM add(id + 100, 'before');
				PERFORM orm.flush();
			WHEN 'flushed dirty' THEN
				PERFORM set(id, 'before');
				PERFORM orm.flush();
			WHEN 'flushed deleted' THEN
				PERFORM del(id);
				PERFORM orm.flush();
			WHEN 'expired' THEN
				PERFORM orm.get(NULL::thing, id);
				PERFORM orm.expire((id, NULL, NULL)::thing);
			WHEN 'rekeyed' THEN
				PERFORM rekey(id, id + 200);
			WHEN 'flushed rekeyed' THEN
				PERFORM rekey(id, id + 200);
				PERFORM orm.flush();
		END CASE;
	END $$;
-- the id under which the object goes
CREATE FUNCTION id_of(kind text, id int) RETURNS int LANGUAGE sql AS
	$$SELECT CASE WHEN kind ~ 'new' THEN id + 100
		WHEN kind = 'flushed rekeyed' THEN id + 200 ELSE id END$$;
CREATE FUNCTION change(what text, id int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		CASE what
			WHEN 'nothing' THEN NULL;
			WHEN 'get' THEN PERFORM orm.get(NULL::thing, id);
			WHEN 'flush' THEN PERFORM orm.flush();
			WHEN 'set' THEN PERFORM set(id, 'after');
			WHEN 'set, flush' THEN
				PERFORM set(id, 'after');
				PERFORM orm.flush();
			WHEN 'delete' THEN PERFORM del(id);
			WHEN 'delete, flush' THEN
				PERFORM del(id);
				PERFORM orm.flush();
			WHEN 'delete, flush, add, flush' THEN
				PERFORM del(id);
				PERFORM orm.flush();
				PERFORM add(id, 'again');
				PERFORM orm.flush();
			WHEN 'switch row' THEN
				PERFORM del(id);
				PERFORM add(id, 'switched');
			WHEN 'expire' THEN PERFORM orm.expire((id, NULL, NULL)::thing);
			WHEN 'refresh' THEN PERFORM orm.refresh((id, NULL, NULL)::thing);
			WHEN 'expunge' THEN PERFORM orm.expunge((id, NULL, NULL)::thing);
			WHEN 'expunge, get' THEN
				PERFORM orm.expunge((id, NULL, NULL)::thing);
				PERFORM orm.get(NULL::thing, id);
			WHEN 'rekey, flush' THEN
				PERFORM rekey(id, id + 1000);
				PERFORM orm.flush();
			WHEN 'rekey twice' THEN
				PERFORM rekey(id, id + 1000);
				PERFORM orm.flush();
				PERFORM rekey(id + 1000, id + 2000);
				PERFORM orm.flush();
				PERFORM rekey(id + 2000, id);
				PERFORM orm.flush();
			WHEN 'raw update' THEN UPDATE thing t SET n = t.n + 1;
			WHEN 'raw delete' THEN DELETE FROM thing;
		END CASE;
	END $$;
CREATE FUNCTION state_of_session() RETURNS text LANGUAGE sql
	SET orm.autoflush = off AS
	$$SELECT coalesce(string_agg(concat_ws(' ', id, state, row), ', '
		ORDER BY id), 'empty') FROM look()$$;
-- runs one case in an exception block that is rolled back, and compares
CREATE FUNCTION matrix_case(kind text, what text, levels int) RETURNS text
	LANGUAGE plpgsql SET orm.autoflush = off AS $$
	DECLARE
		before text;
		rows_before text;
		after text;
		rows_after text;
	BEGIN
		BEGIN
			PERFORM prepare(kind, 1);
			before := state_of_session();
			SELECT string_agg(t::text, ' ' ORDER BY t.id) INTO rows_before FROM thing t;
			BEGIN
				IF levels > 1 THEN
					BEGIN		-- this one is released into the next
						PERFORM change(what, id_of(kind, 1));
					EXCEPTION WHEN division_by_zero THEN NULL;
					END;
					PERFORM set(4, 'too');
				ELSE
					PERFORM change(what, id_of(kind, 1));
				END IF;
				RAISE EXCEPTION 'rollback';
			EXCEPTION WHEN OTHERS THEN
				IF SQLERRM <> 'rollback' THEN
					RAISE EXCEPTION USING ERRCODE = 'RMTRX', MESSAGE =
						'refused (' || SQLSTATE || ')';
				END IF;
			END;
			after := state_of_session();
			SELECT string_agg(t::text, ' ' ORDER BY t.id) INTO rows_after FROM thing t;
			IF rows_before <> rows_after THEN
				RAISE EXCEPTION USING ERRCODE = 'RMTRX', MESSAGE = 'rows differ';
			ELSIF before <> after THEN
				RAISE EXCEPTION USING ERRCODE = 'RMTRX', MESSAGE =
					format('before: %s; after: %s', before, after);
			END IF;
			-- what was pending can still be flushed
			PERFORM orm.flush();
			IF state_of_session() ~ '(new|dirty|deleted)' THEN
				RAISE EXCEPTION USING ERRCODE = 'RMTRX', MESSAGE = 'not flushed';
			END IF;
			RAISE EXCEPTION USING ERRCODE = 'RMTRX', MESSAGE = 'same';
		EXCEPTION WHEN SQLSTATE 'RMTRX' THEN
			after := SQLERRM;
		END;
		-- the outer block is rolled back as well
		IF state_of_session() <> 'empty' THEN
			RETURN after || ', but left: ' || state_of_session();
		END IF;
		RETURN after;
	END $$;
-- all of it: what is neither the same nor refused is shown
SELECT kind, what, levels, matrix_case(kind, what, levels) AS result
	INTO TEMP TABLE matrix
	FROM unnest('{absent, loaded, dirty, marked, new, flushed new,
			flushed dirty, flushed deleted, expired, rekeyed, flushed rekeyed}'::text[])
			WITH ORDINALITY AS k (kind, i),
		unnest(ARRAY['nothing', 'get', 'flush', 'set', 'set, flush', 'delete',
			'delete, flush', 'delete, flush, add, flush', 'switch row', 'expire',
			'refresh', 'expunge', 'expunge, get', 'rekey, flush', 'rekey twice',
			'raw update', 'raw delete']) WITH ORDINALITY AS w (what, j),
		generate_series(1, 2) levels
	ORDER BY i, j, levels;
SELECT kind, what, levels, result FROM matrix
	WHERE result <> 'same' AND result !~ '^refused' ;
-- refused: what the state does not allow
SELECT kind, string_agg(what || ': ' || result, '; ' ORDER BY what)
	FROM matrix WHERE result ~ '^refused' AND levels = 1
	GROUP BY kind ORDER BY kind;
SELECT result, count(*) FROM matrix GROUP BY result ORDER BY result;
SELECT count(*) FROM look();

--
-- The client's own savepoints: SAVEPOINT flushes (internals B8)
--
BEGIN;
SELECT add(10, 'first'), set(1, 'changed'), del(2);
SELECT * FROM look();
SAVEPOINT a;
SELECT * FROM look();
SELECT add(11, 'second'), set(10, 'second'), set(1, 'second'), del(3);
SAVEPOINT b;
SELECT add(12, 'third'), set(11, 'third'), del(10), rekey(1, 100);
SELECT orm.flush();
SELECT * FROM look();
SELECT * FROM thing ORDER BY id;
ROLLBACK TO b;
SELECT * FROM look();
SELECT * FROM thing ORDER BY id;
ROLLBACK TO a;
SELECT * FROM look();
SELECT * FROM thing ORDER BY id;
-- a released savepoint's work belongs to the level below
SELECT set(1, 'in a');
SAVEPOINT c;
SELECT set(1, 'in c'), add(13, 'in c'), del(4);
SAVEPOINT d;
SELECT set(13, 'in d'), rekey(3, 33);
RELEASE c;
SELECT orm.flush();
SELECT * FROM look();
ROLLBACK TO a;
SELECT * FROM look();
RELEASE a;
SELECT * FROM look();
ROLLBACK;
SELECT * FROM look();

--
-- Exception blocks: what was pending before is pending again, whether the
-- block flushed it or not
--
DO $$
BEGIN
	PERFORM add(20, 'pending'), set(1, 'pending'), del(2);
	BEGIN
		PERFORM count(*) FROM thing;
		RAISE EXCEPTION 'away';
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	RAISE NOTICE '%', state_of_session();
END $$;
SELECT * FROM thing ORDER BY id;
DELETE FROM thing;
INSERT INTO thing SELECT i, 'stored' FROM generate_series(1, 4) i;
-- three deep: the innermost, the middle, the outer one fails
CREATE FUNCTION nested(fail int) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		step text := '';
	BEGIN
		PERFORM set(1, 'outside'), add(30, 'outside');
		BEGIN
			PERFORM set(1, 'one'), add(31, 'one');
			PERFORM count(*) FROM thing;
			BEGIN
				PERFORM set(1, 'two'), set(30, 'two'), del(2);
				PERFORM count(*) FROM thing;
				BEGIN
					PERFORM set(1, 'three'), del(30), del(31), add(2, 'three');
					PERFORM count(*) FROM thing;
					PERFORM 1 / (3 - fail);
				EXCEPTION WHEN division_by_zero THEN
					step := step || '3: ' || state_of_session() || E'\n';
				END;
				PERFORM 1 / (2 - fail);
			EXCEPTION WHEN division_by_zero THEN
				step := step || '2: ' || state_of_session() || E'\n';
			END;
			PERFORM 1 / (1 - fail);
		EXCEPTION WHEN division_by_zero THEN
			step := step || '1: ' || state_of_session() || E'\n';
		END;
		RETURN step || 'end: ' || state_of_session();
	END $$;
BEGIN;
SELECT nested(0);
SELECT * FROM thing ORDER BY id;
ROLLBACK;
BEGIN;
SELECT nested(3);
SELECT * FROM thing ORDER BY id;
ROLLBACK;
BEGIN;
SELECT nested(2);
SELECT * FROM thing ORDER BY id;
ROLLBACK;
BEGIN;
SELECT nested(1);
SELECT * FROM thing ORDER BY id;
ROLLBACK;

--
-- A flush that fails: in a block, after some of its statements
--
CREATE TABLE strict (id int PRIMARY KEY, v int CHECK (v < 10));
SELECT orm.map('strict');
DO $$
BEGIN
	PERFORM add(40, 'kept'), set(1, 'kept'), del(2);
	PERFORM orm.add(NULL::strict, '{"id": 1, "v": 11}');
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM orm.flush();
		EXCEPTION WHEN check_violation THEN
			RAISE NOTICE 'refused: %', state_of_session();
		END;
	END LOOP;
	-- repaired
	PERFORM orm.set(ROW(1, NULL)::strict, '{"v": 9}');
	RAISE NOTICE 'flushed: %', orm.flush();
END $$;
TABLE strict;
SELECT * FROM thing ORDER BY id;
-- at the top it takes the transaction with it
BEGIN;
SELECT add(41, 'lost');
SELECT orm.add(NULL::strict, '{"id": 2, "v": 11}');
SELECT count(*) FROM thing;
SELECT 1;
ROLLBACK;
SELECT * FROM look();
-- with a savepoint it can be repaired: what was pending is there again
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT add(41, 'saved');
SELECT orm.add(NULL::strict, '{"id": 2, "v": 11}');
SAVEPOINT s;
SELECT orm.flush();
ROLLBACK TO s;
SELECT * FROM look();
SELECT orm.expunge(ROW(2, NULL)::strict);
COMMIT;
SELECT * FROM thing WHERE id = 41;
-- an exception block in a trigger of the flush: it goes on
CREATE FUNCTION block() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN
			PERFORM orm.set(ROW(3, NULL, NULL)::thing, '{"label": "lost"}');
			PERFORM orm.add(NULL::thing, '{"id": 52, "label": "lost"}');
			UPDATE thing SET n = 99 WHERE id = NEW.id;
			RAISE EXCEPTION 'x';
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
		BEGIN
			PERFORM orm.set(ROW(4, NULL, NULL)::thing, '{"label": "by the trigger"}');
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
		RETURN NULL;
	END $$;
CREATE TRIGGER block AFTER INSERT ON thing
	FOR EACH ROW EXECUTE FUNCTION block();
BEGIN;
SELECT orm.get(NULL::thing, 3);
SELECT add(50, 'a'), add(51, 'b');
SELECT orm.flush();
SELECT * FROM look();
ROLLBACK;
-- and a trigger whose whole flush is rolled back in such a block
DO $$
BEGIN
	BEGIN
		PERFORM add(50, 'a');
		PERFORM orm.flush();
		RAISE EXCEPTION 'x';
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	PERFORM add(51, 'b');
	RAISE NOTICE 'flushed: %', orm.flush();
	RAISE NOTICE '%', state_of_session();
	ROLLBACK;
END $$;
DROP TRIGGER block ON thing;
-- a failed flush within a trigger's block leaves the session able to flush
CREATE FUNCTION other_session() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('orm.session', 'inner', true);
		BEGIN
			PERFORM orm.add(NULL::strict, '{"id": 3, "v": 11}');
			PERFORM orm.flush();
		EXCEPTION WHEN check_violation THEN
			RAISE NOTICE 'inner session refused';
		END;
		PERFORM orm.add(NULL::strict, '{"id": 3, "v": 3}');
		RAISE NOTICE 'inner session flushed %', orm.flush();
		PERFORM set_config('orm.session', 'main', true);
		RETURN NULL;
	END $$;
CREATE TRIGGER other AFTER INSERT ON thing
	FOR EACH ROW EXECUTE FUNCTION other_session();
BEGIN;
SELECT add(60, 'a');
SELECT orm.flush();
SELECT session, class, identity, state FROM orm.session_objects
	ORDER BY session, class;
COMMIT;
DROP TRIGGER other ON thing;
TABLE strict ORDER BY id;
TRUNCATE thing, strict;
INSERT INTO thing SELECT i, 'stored' FROM generate_series(1, 4) i;

--
-- Keys: switches, chains, places exchanged, and a new object on an old key
--
CREATE TABLE place (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
SELECT orm.map('place');
INSERT INTO place VALUES (1, 'one'), (2, 'two'), (3, 'three');
CREATE FUNCTION places() RETURNS text LANGUAGE sql VOLATILE AS
	$$SELECT string_agg(i || '=' || coalesce((orm.get(NULL::place, i)).v, '-'), ' '
		ORDER BY i) FROM unnest(ARRAY[1, 2, 3, 4, 5]) i$$;
BEGIN;
SELECT places();
SAVEPOINT a;
SELECT count(orm.set(orm.get(NULL::place, id), jsonb_build_object('id', id % 3 + 1)))
	FROM place;
SELECT orm.flush(), places();
SAVEPOINT b;
SELECT count(orm.set(orm.get(NULL::place, id), jsonb_build_object('id', id % 3 + 1)))
	FROM place;
SELECT orm.flush(), places();
SAVEPOINT c;
SELECT count(orm.set(orm.get(NULL::place, id), jsonb_build_object('id', id % 3 + 1)))
	FROM place;
SELECT orm.flush(), places();
ROLLBACK TO c;
SELECT places();
RELEASE c;
SELECT places();
ROLLBACK TO b;
SELECT places();
ROLLBACK TO a;
SELECT places();
-- the key of an object that has moved away is another's
SELECT orm.set(orm.get(NULL::place, 1), '{"id": 4}');
SELECT orm.flush();
SELECT orm.add(NULL::place, '{"id": 1, "v": "new one"}');
SELECT orm.flush(), places();
SELECT orm.delete(orm.get(NULL::place, 4));
SELECT orm.flush(), places();
ROLLBACK TO a;
SELECT places();
SELECT orm.set(orm.get(NULL::place, 1), '{"v": "still one"}');
COMMIT;
SELECT * FROM place ORDER BY id;

--
-- Commit with savepoints open; a subtransaction per statement
--
BEGIN;
SAVEPOINT a;
SELECT set(1, 'in a');
SAVEPOINT b;
SELECT add(70, 'in b');
COMMIT;
SELECT * FROM thing ORDER BY id;
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT add(71, 'psql');
SELECT 1 / 0;
SELECT set(71, 'psql again');
SELECT orm.flush();
SELECT set(999, 'no such');
SELECT * FROM look();
COMMIT;
\set ON_ERROR_ROLLBACK off
SELECT * FROM thing WHERE id > 70;

--
-- With orm.expire_on_commit off
--
SET orm.expire_on_commit = off;
BEGIN;
SELECT orm.get(NULL::thing, 1);
SAVEPOINT a;
SELECT set(1, 'kept'), add(72, 'kept');
RELEASE a;
COMMIT;
SELECT * FROM look();
BEGIN;
SAVEPOINT a;
SELECT set(1, 'not'), del(72), set(72, NULL);
ROLLBACK TO a;
SELECT set(1, 'not'), del(72);
SAVEPOINT b;
ROLLBACK TO a;
SELECT * FROM look();
SELECT orm.expunge((1, NULL, NULL)::thing);
COMMIT;
SELECT * FROM look();
BEGIN;
SELECT del(72);
ROLLBACK;
SELECT * FROM look();
RESET orm.expire_on_commit;

--
-- The table is altered within a level that is rolled back
--
DO $$
BEGIN
	PERFORM set(1, 'pending'), add(80, 'pending');
	BEGIN
		ALTER TABLE thing ALTER n TYPE text;
		RAISE NOTICE 'altered: %', state_of_session();
		EXECUTE $set$SELECT orm.set((1, NULL, NULL)::thing,
			'{"label": "while altered"}')$set$;
		RAISE EXCEPTION 'back';
	EXCEPTION WHEN OTHERS THEN
		RAISE NOTICE '%', SQLERRM;
	END;
	RAISE NOTICE 'back: %', state_of_session();
END $$;
SELECT * FROM thing WHERE id IN (1, 80) ORDER BY id;

--
-- Many levels: neither memory nor time grows with those that touched nothing
--
CREATE FUNCTION blocks(n int, load bool) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. n LOOP
			BEGIN
				IF load THEN
					PERFORM set(1, 'round ' || i);
					PERFORM add(1000 + i, 'x');
				END IF;
				RAISE EXCEPTION 'x';
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
			BEGIN
				IF load THEN
					PERFORM set(2, 'round ' || i);
				END IF;
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
	END $$;
BEGIN;
SELECT count(orm.get(NULL::thing, id)) FROM thing WHERE id <= 4;
SELECT blocks(10, true);
SELECT sum(total_bytes) AS before FROM pg_backend_memory_contexts
	WHERE name ~ 'pg_orm' \gset
SELECT blocks(1000, true);
SELECT blocks(1000, false);
SELECT sum(total_bytes) <= :before + 8192 AS same_memory
	FROM pg_backend_memory_contexts WHERE name ~ 'pg_orm';
SELECT * FROM look();
COMMIT;
SELECT * FROM thing WHERE id IN (1, 2) ORDER BY id;
-- a hundred deep
CREATE FUNCTION deep(n int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		result int;
	BEGIN
		IF n = 0 THEN
			RETURN (orm.get(NULL::thing, 1)).n;
		END IF;
		BEGIN
			PERFORM orm.set(u, jsonb_build_object('n', u.n + 1))
				FROM orm.get(NULL::thing, 1) u;
			IF n % 3 = 0 THEN
				PERFORM orm.flush();
			END IF;
			result := deep(n - 1);
			IF n % 2 = 0 THEN
				RAISE EXCEPTION 'x';
			END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
		RETURN result;
	END $$;
BEGIN;
SELECT deep(100);
SELECT (orm.get(NULL::thing, 1)).n;
ROLLBACK;
BEGIN;
SELECT deep(1), (orm.get(NULL::thing, 1)).n;
COMMIT;
SELECT n FROM thing WHERE id = 1;

RESET ROLE;
DROP OWNED BY regress_orm_savepoints_user CASCADE;
DROP ROLE regress_orm_savepoints_user;
