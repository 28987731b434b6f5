\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_privileges;
CREATE DATABASE regress_orm_privileges
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_privileges SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_privileges_owner;
DROP ROLE IF EXISTS regress_orm_privileges_reader;
DROP ROLE IF EXISTS regress_orm_privileges_columns;
DROP ROLE IF EXISTS regress_orm_privileges_writer;
DROP ROLE IF EXISTS regress_orm_privileges_inserter;
DROP ROLE IF EXISTS regress_orm_privileges_updater;
DROP ROLE IF EXISTS regress_orm_privileges_deleter;
DROP ROLE IF EXISTS regress_orm_privileges_stranger;
\c regress_orm_privileges
\set ECHO all
--
-- Who may do what: no call reads or writes a row or a column that the same
-- role could not read or write with plain SQL
--
CREATE EXTENSION pg_orm;
CREATE EXTENSION postgres_fdw;
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
CREATE ROLE regress_orm_privileges_owner;
CREATE ROLE regress_orm_privileges_reader;		-- SELECT
CREATE ROLE regress_orm_privileges_columns;		-- all, on id and name
CREATE ROLE regress_orm_privileges_writer;		-- all
CREATE ROLE regress_orm_privileges_inserter;	-- INSERT
CREATE ROLE regress_orm_privileges_updater;		-- UPDATE
CREATE ROLE regress_orm_privileges_deleter;		-- DELETE
CREATE ROLE regress_orm_privileges_stranger;	-- nothing
CREATE SCHEMA app AUTHORIZATION regress_orm_privileges_owner;
GRANT USAGE ON SCHEMA app TO PUBLIC;
SET search_path TO app, public;

-- a foreign table needs the superuser
CREATE TABLE far_base (id int PRIMARY KEY, name text, secret text);
DO $$
BEGIN
	EXECUTE format('CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw'
		' OPTIONS (host %L, port %L, dbname %L)',
		split_part(current_setting('unix_socket_directories'), ',', 1),
		current_setting('port'), current_database());
	EXECUTE format('CREATE USER MAPPING FOR PUBLIC SERVER loopback'
		' OPTIONS (user %L, password_required ''false'')', current_user);
END $$;
GRANT USAGE ON FOREIGN SERVER loopback TO regress_orm_privileges_owner;

SET ROLE regress_orm_privileges_owner;
CREATE TABLE plain (id int PRIMARY KEY, name text, secret text);
CREATE TABLE part (id int PRIMARY KEY, name text, secret text)
	PARTITION BY RANGE (id);
CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (2);
CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (2) TO (100);
CREATE TABLE seen_base (id int PRIMARY KEY, name text, secret text);
CREATE VIEW seen AS SELECT * FROM seen_base;
CREATE FOREIGN TABLE far (id int, name text, secret text)
	SERVER loopback OPTIONS (table_name 'far_base');
CREATE TABLE guarded (id int PRIMARY KEY, name text, secret text);
CREATE TABLE guarded_part (id int PRIMARY KEY, name text, secret text)
	PARTITION BY RANGE (id);
CREATE TABLE guarded_low PARTITION OF guarded_part FOR VALUES FROM (0) TO (2);
CREATE TABLE guarded_high PARTITION OF guarded_part FOR VALUES FROM (2) TO (100);
-- the owner sees all, others 1 and 2, change 1, delete 2, and insert from 9
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON guarded FOR SELECT USING (id <= 2 OR id >= 9);
CREATE POLICY change ON guarded FOR UPDATE USING (id = 1) WITH CHECK (name <> 'never');
CREATE POLICY remove ON guarded FOR DELETE USING (id = 2);
CREATE POLICY insert ON guarded FOR INSERT WITH CHECK (id = 9);
ALTER TABLE guarded_part ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON guarded_part FOR SELECT USING (id <= 2 OR id >= 9);
CREATE POLICY change ON guarded_part FOR UPDATE USING (id = 1) WITH CHECK (name <> 'never');
CREATE POLICY remove ON guarded_part FOR DELETE USING (id = 2);
CREATE POLICY insert ON guarded_part FOR INSERT WITH CHECK (id = 9);

SELECT orm.map('plain', 'Plain'), orm.map('part', 'Part'),
	orm.map('seen', 'Seen', primary_key => '{id}'),
	orm.map('far', 'Far', primary_key => '{id}'),
	orm.map('guarded', 'Guarded'), orm.map('guarded_part', 'GuardedPart');
DO $$
DECLARE
	t text;
	role text := 'regress_orm_privileges_';
BEGIN
	FOREACH t IN ARRAY '{plain, part, seen, far, guarded, guarded_part}'::text[] LOOP
		EXECUTE format($sql$
			INSERT INTO %1$I VALUES (1, 'one', 's1'), (2, 'two', 's2'), (3, 'three', 's3');
			GRANT SELECT ON %1$I TO %2$sreader;
			GRANT SELECT (id, name), INSERT (id, name), UPDATE (id, name) ON %1$I TO %2$scolumns;
			GRANT SELECT, INSERT, UPDATE, DELETE ON %1$I TO %2$swriter;
			GRANT INSERT ON %1$I TO %2$sinserter;
			GRANT UPDATE ON %1$I TO %2$supdater;
			GRANT DELETE ON %1$I TO %2$sdeleter;
			CREATE TABLE %1$s_kid (id int PRIMARY KEY, up_id int);
			INSERT INTO %1$s_kid VALUES (1, 1), (2, 2), (3, 3);
			GRANT SELECT, INSERT, UPDATE, DELETE ON %1$s_kid TO PUBLIC;
		$sql$, t, role);
		PERFORM orm.map((t || '_kid')::regclass, t || 'kid');
		PERFORM orm.relate(t || 'kid', 'up', t, backref => 'kids',
			foreign_keys => '{up_id}');
	END LOOP;
END $$;
RESET ROLE;

--
-- Each operation in plain SQL and as a call, both as statements that give
-- one column of text; %T is the table, %C the class
--
CREATE TEMPORARY TABLE operation (number serial, name text, plain text, call text);
INSERT INTO operation (name, plain, call) VALUES
('get', 'SELECT t::text FROM %T t WHERE id = 3',
	'SELECT g::text FROM orm.get(NULL::%T, 3) g WHERE g IS NOT NULL'),
('get by text', 'SELECT t::text FROM %T t WHERE id = 1',
	$$SELECT g::text FROM orm.get(NULL::%T, '1') g WHERE g IS NOT NULL$$),
('get a column', 'SELECT name FROM %T t WHERE id = 1',
	'SELECT name FROM orm.get(NULL::%T, 1) g WHERE g IS NOT NULL'),
('query', 'SELECT t::text FROM %T t', 'SELECT q::text FROM orm.query(NULL::%T) q'),
('query by a secret', $$SELECT id::text FROM %T t WHERE secret = 's1'$$,
	$$SELECT id::text FROM orm.query(NULL::%T, filter_by => '{"secret": "s1"}') q$$),
('query in order of a secret', 'SELECT id::text FROM %T t ORDER BY secret',
	$$SELECT id::text FROM orm.query(NULL::%T, order_by => 'secret') q$$),
('first', 'SELECT t::text FROM %T t ORDER BY id DESC LIMIT 1',
	$$SELECT q::text FROM orm.first(NULL::%T, order_by => 'id DESC') q$$),
('one', 'SELECT t::text FROM %T t WHERE id = 1',
	$$SELECT q::text FROM orm.one(NULL::%T, 'id = 1') q$$),
('one_or_none', 'SELECT t::text FROM %T t WHERE id = 3',
	$$SELECT q::text FROM orm.one_or_none(NULL::%T, 'id = 3') q$$),
('refresh', 'SELECT t::text FROM %T t WHERE id = 1',
	$$SELECT orm.refresh((1, NULL, NULL)::%T)::text$$),
('find', 'SELECT to_jsonb(t)::text FROM %T t',
	$$SELECT d::jsonb::text FROM orm.find('%C') d$$),
('find some columns', $$SELECT jsonb_build_object('id', id, 'name', name)::text FROM %T t$$,
	$$SELECT d::jsonb::text FROM orm.find('%C', '{ id name }') d$$),
('find nested', $$SELECT jsonb_build_object('id', k.id, 'up', to_jsonb(t))::text
		FROM %T_kid k LEFT JOIN %T t ON t.id = k.up_id$$,
	$$SELECT d::jsonb::text FROM orm.find('%Ckid', '{ id up { * } }') d$$),
('document', 'SELECT to_jsonb(t)::text FROM %T t WHERE id = 1',
	$$SELECT orm.document((1, NULL, NULL)::%T, '{ * }')::jsonb::text$$),
('row_document', $$SELECT jsonb_build_object('id', 1, 'up', to_jsonb(t))::text FROM %T t WHERE id = 1$$,
	$$SELECT orm.row_document((1, 1)::%T_kid, '{ id up { * } }')::jsonb::text$$),
('row_etag', 'SELECT count(t)::text FROM %T t WHERE id = 1',
	$$SELECT count(orm.row_etag((1, 1)::%T_kid, '{ id up { * } }'))::text$$),
('to_one', 'SELECT (SELECT t FROM %T t WHERE t.id = k.up_id)::text FROM %T_kid k',
	'SELECT orm.to_one(NULL::%T, k.up_id)::text FROM %T_kid k'),
('to_one_by', $$SELECT (SELECT t FROM %T t WHERE t.name = 'two')::text FROM %T_kid k$$,
	$$SELECT orm.to_one_by(NULL::%T, '{name}', 'two'::text)::text FROM %T_kid k$$),
('navigation', 'SELECT t::text FROM %T_kid k JOIN %T t ON t.id = k.up_id',
	'SELECT u::text FROM %T_kid k, up(k) u WHERE u IS NOT NULL'),
('navigation back', 'SELECT t.name || k.id FROM %T t JOIN %T_kid k ON t.id = k.up_id',
	'SELECT t.name || k.id FROM %T t, kids(t) k'),
('explain', $$SELECT 'plan' FROM (SELECT count(t) FROM %T t) t$$,
	$$SELECT 'plan' FROM orm.explain($e$orm.query(NULL::%T)$e$) HAVING count(*) > 1$$),
('explain with effects', $$UPDATE %T SET name = 'x' WHERE false$$,
	$$SELECT FROM orm.explain($e$orm.update_where(NULL::%T, 'true', '{"name": "x"}')$e$, true)$$),
('add', $$INSERT INTO %T VALUES (9, 'nine', 's9') RETURNING %T::text$$,
	$$SELECT a::text FROM orm.add(NULL::%T, '{"id": 9, "name": "nine", "secret": "s9"}') a$$),
('add a row', $$INSERT INTO %T VALUES (9, 'nine', 's9') RETURNING %T::text$$,
	$$SELECT a::text FROM orm.add((9, 'nine', 's9')::%T) a$$),
('add some columns', $$INSERT INTO %T (id, name) VALUES (9, 'nine') RETURNING id::text || name$$,
	$$SELECT id::text || name FROM orm.add(NULL::%T, '{"id": 9, "name": "nine"}') a$$),
('add all', $$INSERT INTO %T VALUES (8, 'eight'), (9, 'nine') RETURNING %T::text$$,
	$$SELECT a::text FROM orm.add_all(NULL::%T, '[{"id": 8, "name": "eight"}, {"id": 9, "name": "nine"}]') a$$),
('add without a result', $$INSERT INTO %T VALUES (9, 'nine', 's9')$$,
	$$SELECT FROM orm.add(NULL::%T, '{"id": 9, "name": "nine", "secret": "s9"}')$$),
('add to a kid', $$WITH u AS (INSERT INTO %T VALUES (9, 'nine', 's9'))
		INSERT INTO %T_kid VALUES (9, 9)$$,
	$$SELECT FROM orm.add(NULL::%T_kid, '{"id": 9, "up": {"id": 9, "name": "nine", "secret": "s9"}}')$$),
('set', $$UPDATE %T SET name = 'x' WHERE id = 1 RETURNING %T::text$$,
	$$SELECT s::text FROM orm.set((1, NULL, NULL)::%T, '{"name": "x"}') s$$),
('set the invisible', $$UPDATE %T SET name = 'x' WHERE id = 3 RETURNING %T::text$$,
	$$SELECT s::text FROM orm.set((3, NULL, NULL)::%T, '{"name": "x"}') s$$),
('set the unchangeable', $$UPDATE %T SET name = 'x' WHERE id = 2 RETURNING %T::text$$,
	$$SELECT s::text FROM orm.set((2, NULL, NULL)::%T, '{"name": "x"}') s$$),
('set what a policy forbids', $$UPDATE %T SET name = 'never' WHERE id = 1 RETURNING %T::text$$,
	$$SELECT s::text FROM orm.set((1, NULL, NULL)::%T, '{"name": "never"}') s$$),
('set a secret', $$UPDATE %T SET secret = 'x' WHERE id = 1 RETURNING %T::text$$,
	$$SELECT s::text FROM orm.set((1, NULL, NULL)::%T, '{"secret": "x"}') s$$),
('set a key', $$UPDATE %T SET id = 20 WHERE id = 2 RETURNING %T::text$$,
	$$SELECT s::text FROM orm.set((2, NULL, NULL)::%T, '{"id": 20}') s$$),
('set without a result', $$UPDATE %T SET name = 'x' WHERE id = 1$$,
	$$SELECT FROM orm.set((1, NULL, NULL)::%T, '{"name": "x"}') s$$),
('set a relationship', $$UPDATE %T_kid SET up_id = 2 WHERE id = 1 AND EXISTS (SELECT FROM %T WHERE id = 2)$$,
	$$SELECT FROM orm.set((1, NULL)::%T_kid, '{"up": {"id": 2}}') s$$),
('append', $$UPDATE %T_kid SET up_id = 2 WHERE id = 1$$,
	$$SELECT FROM orm.append((2, NULL, NULL)::%T, 'kids', (1, NULL)::%T_kid)$$),
('remove', $$UPDATE %T_kid SET up_id = NULL WHERE id = 1$$,
	$$SELECT FROM orm.remove((1, NULL, NULL)::%T, 'kids', (1, NULL)::%T_kid)$$),
('merge', $$UPDATE %T SET name = 'x' WHERE id = 1 RETURNING %T::text$$,
	$$SELECT m::text FROM orm.merge(NULL::%T, '{"id": 1, "name": "x"}') m$$),
('merge a row', $$UPDATE %T SET name = 'x', secret = 'y' WHERE id = 1 RETURNING %T::text$$,
	$$SELECT m::text FROM orm.merge((1, 'x', 'y')::%T) m$$),
('merge something new', $$INSERT INTO %T VALUES (9, 'nine', 's9') RETURNING %T::text$$,
	$$SELECT m::text FROM orm.merge(NULL::%T, '{"id": 9, "name": "nine", "secret": "s9"}') m$$),
('save', $$UPDATE %T SET name = 'x' WHERE id = 1 RETURNING to_jsonb(%T)::text$$,
	$$SELECT orm.save('%C', '{"id": 1, "name": "x"}')::text$$),
('save nested', $$UPDATE %T SET name = 'x' WHERE id = 1 RETURNING jsonb_build_object('id', 1, 'up', jsonb_build_object('id', id, 'name', name))::text$$,
	$$SELECT orm.save('%Ckid', '{"id": 1, "up": {"id": 1, "name": "x"}}', '{ id up { id name } }')::text$$),
('save something new', $$INSERT INTO %T (id, name) VALUES (9, 'nine') RETURNING jsonb_build_object('id', id, 'name', name)::text$$,
	$$SELECT orm.save('%C', '{"id": 9, "name": "nine"}', '{ id name }')::text$$),
('delete', $$WITH k AS (UPDATE %T_kid SET up_id = NULL WHERE up_id = 2) DELETE FROM %T WHERE id = 2$$,
	'SELECT FROM orm.delete((2, NULL, NULL)::%T) OFFSET 1'),
('delete the undeletable', $$WITH k AS (UPDATE %T_kid SET up_id = NULL WHERE up_id = 1) DELETE FROM %T WHERE id = 1$$,
	'SELECT FROM orm.delete((1, NULL, NULL)::%T) OFFSET 1'),
('update_where', $$WITH u AS (UPDATE %T SET name = 'x' RETURNING 1) SELECT count(*)::text FROM u$$,
	$$SELECT orm.update_where(NULL::%T, 'true', '{"name": "x"}')::text$$),
('update_where, unseen', $$UPDATE %T SET name = 'x'$$,
	$$SELECT FROM orm.update_where(NULL::%T, 'true', '{"name": "x"}', synchronize_session => 'false')$$),
('update_where by a secret', $$WITH u AS (UPDATE %T SET name = 'x' WHERE secret = 's1' RETURNING 1) SELECT count(*)::text FROM u$$,
	$$SELECT orm.update_where(NULL::%T, $f$secret = 's1'$f$, '{"name": "x"}', synchronize_session => false)::text$$),
('update_where from a secret', $$WITH u AS (UPDATE %T SET name = secret RETURNING 1) SELECT count(*)::text FROM u$$,
	$$SELECT orm.update_where(NULL::%T, 'true', "set" => 'name = secret', synchronize_session => 'fetch')::text$$),
('delete_where', $$DELETE FROM %T$$,
	$$SELECT FROM orm.delete_where(NULL::%T, 'true')$$),
('delete_where by a secret', $$WITH d AS (DELETE FROM %T WHERE secret = 's2' RETURNING 1) SELECT count(*)::text FROM d$$,
	$$SELECT orm.delete_where(NULL::%T, filter_by => '{"secret": "s2"}')::text$$);

-- What a statement gives to a role and what it leaves behind, or its SQLSTATE;
-- it is rolled back.  before is what the tables' owner does first.
CREATE FUNCTION pg_temp.outcome(kind text, role text, statement text,
	before text, OUT gives text, OUT leaves text) AS $$
DECLARE
	sql text := replace(replace(statement, '%T', kind), '%C', kind);
	item text;
	items text[];
BEGIN
	IF before IS NOT NULL THEN
		SET LOCAL ROLE regress_orm_privileges_owner;
		EXECUTE replace(before, '%T', kind);
		RESET ROLE;
	END IF;
	EXECUTE format('SET LOCAL ROLE regress_orm_privileges_%s', role);
	IF sql ~ '^SELECT FROM' OR sql ~ '^(INSERT|UPDATE|DELETE|WITH)' AND sql !~ 'RETURNING' THEN
		EXECUTE sql;
	ELSE
		FOR item IN EXECUTE sql LOOP
			items := items || coalesce(item, 'NULL');
		END LOOP;
	END IF;
	PERFORM orm.flush();
	RESET ROLE;
	gives := array(SELECT i FROM unnest(items) i ORDER BY i)::text;
	EXECUTE format('SELECT string_agg(t, '' '' ORDER BY t) FROM (
		SELECT t::text FROM %1$s t UNION ALL SELECT t::text FROM %1$s_kid t) t(t)', kind)
		INTO leaves;
	RAISE EXCEPTION USING ERRCODE = 'TRUST', MESSAGE = gives, DETAIL = leaves;
EXCEPTION
	WHEN SQLSTATE 'TRUST' THEN
		GET STACKED DIAGNOSTICS gives = MESSAGE_TEXT, leaves = PG_EXCEPTION_DETAIL;
	WHEN OTHERS THEN
		gives := SQLSTATE || ' ' || SQLERRM;
END $$ LANGUAGE plpgsql;

CREATE TEMPORARY TABLE result (kind text, variant text, role text, operation text,
	number int, plain_gives text, plain_leaves text, call_gives text,
	call_leaves text, untouched text, verdict "char");
CREATE TEMPORARY TABLE variant (variant text, before text);
INSERT INTO variant VALUES ('cold', NULL),
	('loaded by the owner', 'SELECT count(*) FROM orm.query(NULL::%T)'),
	('changed by the owner', $$SELECT FROM orm.set((1, NULL, NULL)::%T, '{"secret": "new"}')$$);
INSERT INTO result
	SELECT kind, variant, role, o.name, o.number, p.gives, p.leaves, c.gives, c.leaves, n.leaves
	FROM unnest('{plain, part, seen, far, guarded, guarded_part}'::text[]) kind,
		variant v,
		unnest('{owner, reader, columns, writer, inserter, updater, deleter, stranger}'::text[]) role,
		operation o,
		pg_temp.outcome(kind, role, o.plain, v.before) p,
		pg_temp.outcome(kind, role, o.call, v.before) c,
		pg_temp.outcome(kind, 'owner', 'SELECT 1', v.before) n
	-- which discards what the owner has changed
	WHERE NOT (role = 'owner' AND o.name = 'refresh' AND v.variant LIKE 'changed%');

-- = gives and leaves what plain SQL does, < refuses what plain SQL allows (it
-- reads whole rows, and says what it did not find), 0 neither gives nor
-- leaves anything where plain SQL is refused, ~ leaves the same but gives the
-- row without what another role has changed and not flushed, ! is wrong
UPDATE result SET verdict = CASE
	WHEN call_leaves IS NULL AND plain_leaves IS NULL THEN '='
	WHEN call_leaves IS NULL THEN '<'
	WHEN plain_leaves IS NULL AND call_gives IN ('{}', '{NULL,NULL,NULL}') AND call_leaves = untouched THEN '0'
	WHEN plain_gives = call_gives AND plain_leaves = call_leaves THEN '='
	WHEN plain_leaves = call_leaves AND plain_gives = replace(call_gives, 's1', 'new')
		AND variant LIKE 'changed%' AND role <> 'owner' THEN '~'
	ELSE '!' END;
SELECT kind, variant, role, operation, plain_gives, call_gives, call_leaves
	FROM result WHERE verdict = '!' ORDER BY kind, variant, role, number;
-- by role: owner reader columns writer inserter updater deleter stranger
\pset tuples_only off
WITH by_kind AS (
	SELECT kind, number, operation,
		string_agg(verdict, '' ORDER BY role_number) FILTER (WHERE variant = 'cold') AS cold,
		string_agg(verdict, '' ORDER BY role_number) FILTER (WHERE variant LIKE 'loaded%') AS loaded,
		string_agg(verdict, '' ORDER BY role_number) FILTER (WHERE variant LIKE 'changed%') AS changed
	FROM result, array_position('{owner, reader, columns, writer, inserter, updater, deleter, stranger}'::text[], role) role_number
	GROUP BY kind, number, operation)
SELECT operation, cold, loaded, changed, string_agg(kind, ' ' ORDER BY kind COLLATE "C") AS kinds
	FROM by_kind GROUP BY number, operation, cold, loaded, changed
	ORDER BY number, cold COLLATE "C", loaded COLLATE "C", changed COLLATE "C";
\pset tuples_only on

--
-- Nothing is forgotten: what is neither in the matrix nor here fails
--
CREATE TEMPORARY TABLE elsewhere (name text, because text);
INSERT INTO elsewhere VALUES
	('append', 'in the matrix'), ('remove', 'in the matrix'),
	('declare', 'below'), ('create_all', 'below'), ('drop_all', 'below'),
	('map', 'below'), ('automap', 'below'), ('relate', 'below'), ('unmap', 'below'),
	('repair', 'below'), ('create_view', 'below'), ('drop_view', 'below'),
	('create_engine', 'below'), ('drop_engine', 'below'),
	('sessionmaker', 'below'), ('drop_sessionmaker', 'below'),
	('is_modified', 'below'), ('expire', 'below'), ('expunge', 'below'),
	('expire_all', 'below'), ('expunge_all', 'below'), ('flush', 'below'),
	('list_session_objects', 'below'), ('pending_statements', 'below'),
	('catalog_changed', 'below'), ('relationship_changed', 'below'),
	('engines_changed', 'below'), ('write_document', 'below'),
	('objects_dropped', 'event trigger'), ('objects_altered', 'event trigger'),
	('extension_created', 'event trigger'),
	('column', 'makes a value'), ('relationship', 'makes a value'),
	('row_unchanged', 'compares two values'), ('not_distributed', 'raises an error'),
	('diagram', 'shows the catalog, which all may read'),
	('json_schema', 'shows the catalog, which all may read'),
	('query_estimate', 'of the planner'),
	('engine_status', 'shows no row of anybody'),
	('begin', 'transactions'), ('begin_nested', 'transactions'),
	('commit', 'transactions'), ('commit_nested', 'transactions'),
	('rollback', 'transactions'), ('rollback_nested', 'transactions'),
	('close', 'transactions');
SELECT DISTINCT proname FROM pg_proc
	WHERE pronamespace = 'orm'::regnamespace
		AND NOT EXISTS (SELECT FROM operation WHERE call LIKE '%orm.' || proname || '(%')
		AND NOT EXISTS (SELECT FROM elsewhere WHERE name = proname)
	ORDER BY proname;
-- all run as their caller, and only these are not for everybody
SELECT proname, prosecdef FROM pg_proc
	WHERE pronamespace = 'orm'::regnamespace
		AND (prosecdef OR NOT has_function_privilege('regress_orm_privileges_stranger', oid, 'EXECUTE'))
	ORDER BY proname;
-- what everybody may do with the relations
SELECT relname, string_agg(privilege_type, ' ' ORDER BY privilege_type)
	FROM pg_class, aclexplode(relacl)
	WHERE relnamespace = 'orm'::regnamespace AND grantee = 0
	GROUP BY relname ORDER BY relname COLLATE "C";

--
-- The catalog is its tables' owners' business, and nobody writes to it directly
--
-- A statement of a role: its SQLSTATE and message, or that it was allowed
CREATE FUNCTION pg_temp.attempt(role text, statement text) RETURNS text AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE regress_orm_privileges_%s', role);
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'TRUST', MESSAGE = 'allowed';
EXCEPTION
	WHEN SQLSTATE 'TRUST' THEN RETURN SQLERRM;
	WHEN OTHERS THEN RETURN SQLSTATE || ': ' || SQLERRM;
END $$ LANGUAGE plpgsql;
GRANT ALL ON plain, plain_kid TO regress_orm_privileges_writer;
GRANT CREATE ON SCHEMA app TO regress_orm_privileges_writer;
SET ROLE regress_orm_privileges_writer;
CREATE TABLE mine (id int PRIMARY KEY, up_id int);
SELECT orm.map('mine', 'Mine');
CREATE VIEW mine_fake AS SELECT * FROM orm.model_def;
CREATE TABLE fake_models AS SELECT * FROM orm.model_def WHERE class = 'Plain';
CREATE TABLE fake_relationships AS SELECT * FROM orm.relationship_def WHERE class = 'plainkid';
CREATE TABLE fake_engines AS SELECT * FROM orm.engine_def WHERE false;
RESET ROLE;
SELECT statement, pg_temp.attempt('writer', statement) FROM unnest(ARRAY[
	$$SELECT orm.map('far_base')$$,
	$$SELECT orm.map('plain', 'Another')$$,
	$$SELECT orm.unmap('Plain')$$,
	$$SELECT orm.relate('Plain', 'other', 'Mine', foreign_keys => '{id}')$$,
	$$SELECT orm.relate('Mine', 'up', 'Plain', foreign_keys => '{up_id}')$$,
	$$SELECT orm.relate('Mine', 'up', 'Plain', foreign_keys => '{up_id}', backref => 'mines')$$,
	$$SELECT orm.declare('Declared', 'plain', ARRAY[orm.column('id', 'int', primary_key => true)])$$,
	$$SELECT orm.declare('Plain', 'new', ARRAY[orm.column('id', 'int', primary_key => true)])$$,
	$$SELECT orm.declare('Elsewhere', 'new', ARRAY[orm.column('id', 'int', primary_key => true)], schema => 'orm')$$,
	$$SELECT orm.declare('Elsewhere', 'new', ARRAY[orm.column('id', 'int', primary_key => true)], schema => 'pg_catalog')$$,
	$$SELECT orm.repair()$$,
	$$SELECT orm.create_view('doc', 'Plain', '{ id }')$$,
	$$SELECT orm.create_view('orm.doc', 'Plain', '{ id }')$$,
	$$SELECT orm.create_view('pg_catalog.doc', 'Plain', '{ id }')$$,
	$$SELECT orm.drop_view('seen')$$,
	$$SELECT orm.create_engine('e')$$, $$SELECT orm.drop_engine('e')$$,
	$$SELECT orm.sessionmaker('s', 'e')$$, $$SELECT orm.drop_sessionmaker('s')$$,
	$$INSERT INTO orm.model_def SELECT * FROM fake_models$$,
	$$UPDATE orm.model_def SET relation = 'mine'::regclass WHERE class = 'Plain'$$,
	$$DELETE FROM orm.relationship_def$$,
	$$TRUNCATE orm.model_def CASCADE$$,
	$$UPDATE orm.models SET class = 'x'$$,
	$$UPDATE mine_fake SET class = 'x'$$,
	$$INSERT INTO orm.engine_def SELECT * FROM fake_engines$$,
	$$ALTER TABLE orm.model_def DISABLE TRIGGER ALL$$,
	$$CREATE FUNCTION orm.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'$$,
	$$CREATE TRIGGER fake AFTER INSERT ON fake_models FOR EACH ROW EXECUTE FUNCTION orm.catalog_changed();
		INSERT INTO fake_models SELECT * FROM fake_models$$,
	$$CREATE TRIGGER fake AFTER INSERT ON fake_relationships FOR EACH ROW EXECUTE FUNCTION orm.relationship_changed();
		INSERT INTO fake_relationships SELECT * FROM fake_relationships$$,
	$$CREATE TRIGGER fake AFTER INSERT ON fake_engines FOR EACH ROW EXECUTE FUNCTION orm.engines_changed();
		INSERT INTO fake_engines (name) VALUES ('x')$$,
	$$CREATE TRIGGER fake BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION orm.write_document('Plain', '@insert { * }');
		INSERT INTO mine VALUES (1, 1)$$,
	$$CREATE TRIGGER fake INSTEAD OF INSERT ON mine_fake FOR EACH ROW EXECUTE FUNCTION orm.write_document('Plain', '@insert { * }');
		INSERT INTO mine_fake (class) VALUES ('x')$$,
	$$CREATE VIEW odd AS SELECT 1::text AS id, NULL::int AS data, NULL::int AS etag;
		CREATE TRIGGER fake INSTEAD OF INSERT ON odd FOR EACH ROW EXECUTE FUNCTION orm.write_document('Plain', '@insert { * }');
		INSERT INTO odd (id) VALUES ('x')$$,
	$$CREATE VIEW odd AS SELECT 1 AS id, NULL::int AS data, NULL::text AS etag;
		CREATE TRIGGER fake INSTEAD OF INSERT ON odd FOR EACH ROW EXECUTE FUNCTION orm.write_document('Plain', '@insert { * }');
		INSERT INTO odd (data) VALUES (7)$$,
	$$SELECT orm.catalog_changed()$$, $$SELECT orm.objects_dropped()$$]) statement;
-- these take what is the caller's own, and leave the rest alone
SET ROLE regress_orm_privileges_owner;
SELECT orm.declare('Declared', 'declared', ARRAY[orm.column('id', 'int', primary_key => true)]);
CREATE TABLE unmapped (id int PRIMARY KEY);
SET ROLE regress_orm_privileges_writer;
BEGIN;
CREATE TABLE also_mine (id int PRIMARY KEY);
SELECT orm.create_all('app');
SELECT orm.drop_all('app');
SELECT orm.automap('app');
ROLLBACK;
SET ROLE regress_orm_privileges_owner;
BEGIN;
SELECT orm.create_all('app');
ROLLBACK;
RESET ROLE;
DROP VIEW mine_fake;
DROP TABLE fake_models, fake_relationships, fake_engines;

--
-- A navigation function that somebody else made beforehand, to be given to the
-- table's owner with the rights of its owner
--
SET ROLE regress_orm_privileges_writer;
CREATE FUNCTION other(guarded_kid) RETURNS plain LANGUAGE sql STABLE
	PARALLEL RESTRICTED SECURITY DEFINER SET search_path = app AS
	'SELECT orm.to_one(NULL::app.plain, $1.up_id)';
ALTER FUNCTION other(guarded_kid) DEPENDS ON EXTENSION pg_orm;
SET ROLE regress_orm_privileges_owner;
SELECT orm.relate('guarded_kid', 'other', 'Plain', foreign_keys => '{up_id}');
SELECT pg_get_userbyid(proowner), prosecdef, proconfig FROM pg_proc
	WHERE proname = 'other';
SET ROLE regress_orm_privileges_stranger;
SELECT other((1, 1)::guarded_kid);
RESET ROLE;

--
-- The session and its roles
--
GRANT SELECT, INSERT, UPDATE ON mine TO PUBLIC;
SET ROLE regress_orm_privileges_owner;
BEGIN;
SELECT orm.set((1, NULL, NULL)::plain, '{"secret": "changed"}');
SELECT count(*) FROM orm.query(NULL::part);
SELECT orm.set((1, NULL, NULL)::plain, '{"secret": "changed again"}');
SET LOCAL ROLE regress_orm_privileges_stranger;
-- neither the objects of another role, nor what it has changed
SELECT * FROM orm.session_objects;
SELECT * FROM orm.pending_statements();
SELECT orm.is_modified((1, NULL, NULL)::plain);
SELECT orm.expire((1, NULL, NULL)::plain);
SELECT orm.expunge((1, NULL, NULL)::plain);
SELECT orm.expunge_all();
-- but may have them written, by the role that changed them
SELECT orm.flush();
SET LOCAL ROLE regress_orm_privileges_owner;
SELECT * FROM orm.session_objects WHERE class = 'Plain';
SELECT secret FROM plain WHERE id = 1;
ROLLBACK;
-- privileges that are taken away in mid-transaction
SET ROLE regress_orm_privileges_reader;
BEGIN;
SELECT * FROM orm.get(NULL::plain, 1);
SELECT name FROM orm.to_one(NULL::plain, 1);
RESET ROLE;
REVOKE SELECT ON plain FROM regress_orm_privileges_reader;
SET LOCAL ROLE regress_orm_privileges_reader;
SAVEPOINT s;
SELECT * FROM orm.get(NULL::plain, 1);
ROLLBACK TO s;
SELECT name FROM orm.to_one(NULL::plain, 1);
ROLLBACK;
-- a row that a policy hides by a setting, and one that it hides no more
RESET ROLE;
ALTER POLICY see ON guarded USING (id = current_setting('app.tenant')::int);
SET ROLE regress_orm_privileges_reader;
BEGIN;
SET LOCAL app.tenant = 1;
SELECT * FROM orm.query(NULL::guarded);
SELECT * FROM orm.to_one(NULL::guarded, 1);
SET LOCAL app.tenant = 2;
SELECT * FROM orm.get(NULL::guarded, 1);
SELECT * FROM orm.to_one(NULL::guarded, 1);
SELECT * FROM orm.query(NULL::guarded);
SELECT k.id, (k.up).name FROM guarded_kid k ORDER BY id;
SELECT * FROM orm.find('guarded');
SET LOCAL row_security = off;
SAVEPOINT s;
SELECT * FROM orm.get(NULL::guarded, 2);
ROLLBACK TO s;
SELECT * FROM orm.query(NULL::guarded);
ROLLBACK TO s;
SELECT * FROM orm.to_one(NULL::guarded, 2);
ROLLBACK;
RESET ROLE;
ALTER POLICY see ON guarded USING (id <= 2 OR id >= 9);
-- a partition is not the table: what was granted on this counts
SET ROLE regress_orm_privileges_owner;
SELECT orm.map('part_low', 'PartLow');
SET ROLE regress_orm_privileges_reader;
BEGIN;
SELECT * FROM orm.query(NULL::part);
SELECT * FROM orm.get(NULL::part_low, 1);
ROLLBACK;
SELECT * FROM orm.to_one(NULL::part_low, 1);

--
-- SECURITY DEFINER functions
--
RESET ROLE;
GRANT CREATE ON SCHEMA app TO regress_orm_privileges_owner;
SET ROLE regress_orm_privileges_owner;
CREATE FUNCTION load_all() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS
	'SELECT count(*) FROM orm.query(NULL::app.plain)';
CREATE FUNCTION change_secret() RETURNS void SECURITY DEFINER LANGUAGE sql AS
	$$SELECT FROM orm.set((1, NULL, NULL)::app.plain, '{"secret": "by definer"}')$$;
CREATE FUNCTION look() RETURNS text SECURITY DEFINER LANGUAGE sql AS
	'SELECT string_agg(p::text, '' '' ORDER BY id) FROM app.plain p';
CREATE FUNCTION who() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% %', TG_TABLE_NAME, current_user;
	RETURN NEW;
END $$;
CREATE TRIGGER who BEFORE INSERT OR UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION who();
GRANT TRIGGER ON plain TO PUBLIC;
RESET ROLE;
CREATE TRIGGER who BEFORE INSERT OR UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION app.who();
SET ROLE regress_orm_privileges_stranger;
BEGIN;
-- what it loads is not the caller's
SELECT load_all();
SAVEPOINT s;
SELECT * FROM orm.get(NULL::plain, 1);
ROLLBACK TO s;
-- what it changes is changed by its owner, what the caller changes is not
SELECT orm.add(NULL::mine, '{"id": 1}');
SELECT change_secret();
SELECT * FROM orm.session_objects;
SELECT look();
ROLLBACK;
-- a call that the caller may not make is not made by the function's flush
SELECT orm.add(NULL::plain, '{"id": 5}');
SELECT look();
-- orm.explain shows what the caller runs, and no more
SELECT * FROM orm.explain('app.load_all()');
SELECT count(*) > 0 FROM orm.explain('orm.query(NULL::app.mine)');

--
-- What runs in a maintenance command of somebody else changes nothing
--
SET ROLE regress_orm_privileges_writer;
CREATE TABLE trap (id int);
INSERT INTO trap VALUES (1);
CREATE FUNCTION snap(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE INDEX ON trap (snap(id));
CREATE OR REPLACE FUNCTION snap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	PERFORM orm.add(NULL::app.mine, '{"id": 66}');
	RETURN $1;
END $$;
RESET ROLE;
REINDEX TABLE trap;
SELECT * FROM orm.session_objects;

RESET ROLE;
SET client_min_messages = warning;
DROP OWNED BY regress_orm_privileges_owner, regress_orm_privileges_writer CASCADE;
DROP OWNED BY regress_orm_privileges_reader, regress_orm_privileges_columns,
	regress_orm_privileges_inserter, regress_orm_privileges_updater,
	regress_orm_privileges_deleter, regress_orm_privileges_stranger;
DROP ROLE regress_orm_privileges_owner, regress_orm_privileges_reader,
	regress_orm_privileges_columns, regress_orm_privileges_writer,
	regress_orm_privileges_inserter, regress_orm_privileges_updater,
	regress_orm_privileges_deleter, regress_orm_privileges_stranger;
