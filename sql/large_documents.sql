\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_large_documents;
CREATE DATABASE regress_orm_large_documents
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_large_documents SET lc_messages TO 'C';
\c regress_orm_large_documents
SET client_min_messages = warning;
CREATE EXTENSION pg_orm;
RESET client_min_messages;
\set ECHO all
--
-- Documents that are larger than hash_mem: rows go to a file, and come back
--
CREATE TABLE region (id int PRIMARY KEY, name text);
CREATE TABLE shop (id bigint PRIMARY KEY, name text, region_id int REFERENCES region);
CREATE TABLE item (id int PRIMARY KEY, shop_id bigint REFERENCES shop, note text, kind int REFERENCES region);
CREATE TABLE part (item_id int REFERENCES item, no smallint, note text, PRIMARY KEY (item_id, no));
CREATE TABLE label (name text PRIMARY KEY, note text);
CREATE TABLE item_label (item_id int REFERENCES item, label text REFERENCES label, PRIMARY KEY (item_id, label));
INSERT INTO region SELECT i, repeat('region', i % 50) || i FROM generate_series(1, 1000) i;
INSERT INTO shop SELECT i * 10000000000, 'shop ' || i, CASE WHEN i % 2 = 0 THEN 999 ELSE i END FROM generate_series(1, 300) i;
-- neither in the order of their shops nor in that of their key
INSERT INTO item SELECT (i * 7919) % 6007, 10000000000 * (1 + (i * 31) % 300), repeat('é"', i % 40), 1 + i % 1000
	FROM generate_series(1, 6000) i;
INSERT INTO item VALUES (30000, 10000000000, repeat('long ', 50000)), (30001, NULL, 'of no shop');
INSERT INTO part SELECT (i * 7919) % 6007, 2 - i % 2, CASE WHEN i % 3 > 0 THEN 'part ' || i END FROM generate_series(1, 6000) i;
INSERT INTO label SELECT 'label ' || i, repeat('x', i) FROM generate_series(1, 300) i;
INSERT INTO item_label SELECT (i * 7919) % 6007, 'label ' || 1 + (i * 7) % 300 FROM generate_series(1, 6000) i;
CREATE INDEX ON item (shop_id);
ANALYZE;
SELECT count(orm.map(t::regclass)) FROM unnest('{region, shop, item, part, label}'::text[]) t;
SELECT orm.relate('shop', 'region', 'region', backref => 'shops');
SELECT orm.relate('item', 'shop', 'shop', backref => 'items');
SELECT orm.relate('item', 'kind_of', 'region', foreign_keys => '{kind}');
SELECT orm.relate('part', 'item', 'item', backref => 'parts');
SELECT orm.relate('item', 'labels', 'label', secondary => 'item_label');

CREATE TABLE selections (n int, class text, selection text);
INSERT INTO selections VALUES (1, 'shop', '{ * items { * } }'), (2, 'shop', '{ id items { note parts { no note } } region { name } }'),
	(3, 'item', '{ id kind_of { name shops { name } } labels { name note } }'),
	(4, 'shop', '{ name items(order_by: "note DESC, id") { id kind_of { name } labels { note } parts { note } } _etag }'),
	(5, 'region', '{ id shops { items(limit: 3) { id shop @unnest { shop_name: name } } _etag } }'),
	(6, 'item', '{ * }'), (7, 'label', '{ name }');
CREATE FUNCTION documents(class text, selection text) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT md5(string_agg(f::text, E'\n')) || ' ' || count(*) FROM orm.find(class, selection) f $$;
CREATE FUNCTION temporary_files() RETURNS bigint LANGUAGE sql AS
	$$SELECT count(*) FROM pg_ls_tmpdir() WHERE name LIKE 'pgsql_tmp' || pg_backend_pid() || '.%'$$;

-- all in memory: the documents that SQL makes
SET work_mem = '256MB';
SELECT count(*), count(*) FILTER (WHERE f::text::jsonb = jsonb_build_object('id', s.id, 'name', s.name, 'region_id', s.region_id,
	'items', COALESCE((SELECT jsonb_agg(to_jsonb(i) ORDER BY i.id) FROM item i WHERE i.shop_id = s.id), '[]')))
	FROM orm.find('shop', '{ * items { * } }') f JOIN shop s ON s.id = (f ->> 'id')::bigint;
CREATE TABLE in_memory AS SELECT n, documents(class, selection) FROM selections;
-- and with little memory the same ones
SET hash_mem_multiplier = 1;
SET work_mem = '64kB';
SELECT s.n, documents(class, selection) = m.documents AS same FROM selections s JOIN in_memory m USING (n) ORDER BY n;
SET work_mem = '1MB';
SELECT s.n, documents(class, selection) = m.documents AS same FROM selections s JOIN in_memory m USING (n) ORDER BY n;
-- by keys, by rows
SET work_mem = '64kB';
CREATE TABLE region_documents AS SELECT r.id, orm.row_document(r, '{ shops { items { * labels { * } } } }') AS row,
	orm.document(r, '{ shops { items { * labels { * } } } }')::jsonb AS key,
	orm.row_etag(r, '{ shops { items { * labels { * } } } }') AS etag FROM region r WHERE id < 5;
SET work_mem = '256MB';
SELECT d.id, d.row = d.key, d.row = orm.row_document(r, '{ shops { items { * labels { * } } } }') AS same,
	d.etag = orm.row_etag(r, '{ shops { items { * labels { * } } } }') AS same_etag FROM region r JOIN region_documents d USING (id) ORDER BY id;

-- a file is used with little memory, and not with enough
SET temp_file_limit = 0;
SELECT documents('shop', '{ * items { * } }') = documents FROM in_memory WHERE n = 1;
SET work_mem = '64kB';
\set VERBOSITY sqlstate
SELECT documents('shop', '{ * items { * } }');
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
RESET temp_file_limit;
SELECT temporary_files();

-- errors in the middle: of a function on a row, of a level below, and again in subtransactions
CREATE FUNCTION fragile(item) RETURNS int LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF $1.id::text = current_setting('app.fragile') THEN
		RAISE EXCEPTION 'broken item';
	END IF;
	RETURN $1.id;
END $$;
SET app.fragile = 'no';
CREATE TABLE fragile_in_memory AS SELECT documents('shop', '{ name items { fragile note parts { note } } }');
SELECT set_config('app.fragile', max(i.id)::text, false) IS NULL AS unset FROM item i JOIN shop s ON s.id = i.shop_id WHERE s.region_id = 999;
SELECT count(*) FROM orm.find('shop', '{ name items { fragile note parts { note } } }');
SELECT temporary_files();
DO $$
DECLARE
	broken int := 0;
	same int := 0;
	files bigint := 0;
	fragile text := current_setting('app.fragile');
	r region;
	doc json;
BEGIN
	SELECT * INTO r FROM region WHERE id = 999;
	FOR i IN 1 .. 8 LOOP
		PERFORM set_config('app.fragile', CASE WHEN i % 2 = 0 THEN 'no' ELSE fragile END, false);
		BEGIN
			IF i > 4 AND documents('shop', '{ name items { fragile note parts { note } } }') = (TABLE fragile_in_memory) THEN
				same := same + 1;
			END IF;
			-- one call site, with the reader that the error has left
			doc := orm.document(r, '{ shops { items { fragile note } } }');
			same := same + (json_array_length(doc -> 'shops') = 150)::int;
		EXCEPTION WHEN raise_exception THEN
			broken := broken + 1;
		END;
		files := files + temporary_files();
	END LOOP;
	RAISE NOTICE 'broken %, same %, files %', broken, same, files;
	PERFORM set_config('app.fragile', fragile, false);
END $$;
BEGIN;
SAVEPOINT a;
SELECT count(*) FROM orm.find('shop', '{ name items { fragile note } }');
ROLLBACK TO a;
SELECT set_config('app.fragile', 'no', false);
SELECT documents('shop', '{ name items { fragile note parts { note } } }') = (TABLE fragile_in_memory) AS same;
-- a cursor over documents, over a savepoint
DECLARE c CURSOR FOR SELECT f FROM orm.find('item', '{ id note }') f;
MOVE 3000 IN c;
SAVEPOINT b;
SELECT 1 / 0;
ROLLBACK TO b;
SELECT temporary_files() > 0 AS open;
MOVE 2000 IN c;
FETCH 1 FROM c;
CLOSE c;
COMMIT;
SELECT temporary_files();

\set ECHO none
\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_orm_large_documents;
