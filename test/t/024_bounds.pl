# How much memory a session takes, and what savepoints cost when much is
# loaded.  All limits are generous.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use PgOrmTest;

my $node = new_server('main');
add_database($node, 'bounds');
$node->safe_psql('bounds', <<'EOS');
CREATE TABLE item (id int PRIMARY KEY, label text, n int DEFAULT 0);
INSERT INTO item SELECT i, 'item ' || i FROM generate_series(1, 1000000) i;
ANALYZE item;
SELECT orm.map('item');
CREATE VIEW memory AS
	SELECT coalesce(sum(total_bytes), 0) / 1024 AS kb,
			coalesce(sum(used_bytes), 0) / 1024 AS used_kb
		FROM pg_backend_memory_contexts WHERE name LIKE 'pg_orm%';
CREATE VIEW counts AS
	SELECT count(*) AS objects FROM orm.session_objects;
EOS

# Runs a script in one session; returns the rows that begin with "name:" as a
# hash by name.
sub results
{
	my ($script) = @_;
	my $out = $node->safe_psql('bounds', $script);

	return map { /^(\w+):(.*)/ ? ($1, $2) : () } split(/\n/, $out);
}

# --- orm.identity_map_limit: clean objects are forgotten
my %r = results(<<'EOS');
SET orm.identity_map_limit = 1000;
BEGIN;
SELECT count(*) FROM orm.query(NULL::item, 'true');
SELECT 'queried:' || objects FROM counts;
SELECT 'queried_kb:' || kb FROM memory;
SELECT count(orm.get(NULL::item, i)) FROM generate_series(1, 20000) i;
SELECT 'got:' || objects FROM counts;
SET orm.autoflush = off;
-- but none with pending changes
SELECT count(orm.set(ROW(i, NULL, NULL)::item, '{"n": 1}')) FROM generate_series(1, 20000) i;
SELECT 'dirty:' || objects FROM counts;
SELECT 'dirty_kb:' || kb FROM memory;
SELECT 'flushed:' || orm.flush();
-- what has been flushed is clean
SELECT count(*) FROM orm.query(NULL::item, 'id > 900000');
SELECT 'clean:' || objects FROM counts;
SELECT 'sum:' || sum(n) FROM item;
COMMIT;
SELECT 'end:' || objects FROM counts;
SELECT 'end_kb:' || kb FROM memory;
EOS
is($r{queried}, 1000, 'a query over a million rows leaves as many as allowed');
cmp_ok($r{queried_kb}, '<', 5000, '... in little memory');
is($r{got}, 1000, 'so do single objects');
cmp_ok($r{dirty}, '>=', 20000, 'objects with pending changes stay');
cmp_ok($r{dirty_kb}, '>', 2000, '... and their memory can be seen');
is($r{flushed}, 20000, 'all of them are written');
is($r{clean}, 1000, 'afterwards they are forgotten like others');
is($r{sum}, 20000, 'nothing was lost');
is($r{end}, 0, 'nothing is left after the transaction');
# but the megabytes that a session keeps for its next transaction
cmp_ok($r{end_kb}, '<', 5000, '... of the memory, too');

# --- orm.identity_map_memory: so are large ones, be they few
$node->safe_psql('bounds', <<'EOS');
CREATE TABLE wide (id int PRIMARY KEY, label text, body text);
ALTER TABLE wide ALTER body SET STORAGE EXTERNAL;
INSERT INTO wide SELECT i, 'wide ' || i, repeat('x', 1000000) FROM generate_series(1, 40) i;
SELECT orm.map('wide');
EOS
%r = results(<<'EOS');
SET orm.identity_map_memory = '8MB';
BEGIN;
SELECT count(*) FROM orm.query(NULL::wide, 'true');
SELECT 'queried:' || objects FROM counts;
SELECT 'queried_kb:' || kb FROM memory;
-- expired objects are read again one by one
UPDATE wide SET label = label || '!';
SELECT sum(length((orm.get(NULL::wide, i)).body)) FROM generate_series(1, 40) i;
SELECT 'got:' || objects FROM counts;
SET LOCAL orm.autoflush = off;
SELECT count(orm.set(ROW(i, NULL, NULL)::wide, '{"label": "changed"}')) FROM generate_series(1, 30) i;
SELECT 'dirty:' || objects FROM counts;
SELECT 'flushed:' || orm.flush();
SELECT 'clean:' || objects FROM counts;
SELECT 'clean_kb:' || kb FROM memory;
SELECT 'stored:' || count(*) FROM wide WHERE label = 'changed';
SELECT 'body:' || length(body) || ' ' || label FROM orm.get(NULL::wide, 1);
COMMIT;
EOS
is($r{queried}, 8, 'as many large objects as their memory allows');
cmp_ok($r{queried_kb}, '<', 20000, '... in not much more');
is($r{got}, 8, 'those that are read again, too');
cmp_ok($r{dirty}, '>=', 30, 'objects with pending changes stay, however large');
is($r{flushed}, 30, '... are written');
is($r{clean}, 8, '... and forgotten by the flush');
cmp_ok($r{clean_kb}, '<', 20000, '... with their memory');
is("$r{stored} $r{body}", '30 1000000 changed', 'nothing was lost');

# --- memory goes back with orm.close, ROLLBACK, DISCARD ALL
%r = results(<<'EOS');
SET orm.identity_map_limit = 1000000;
SELECT count(*) FROM orm.query(NULL::item, 'id <= 10');
SELECT 'before:' || kb FROM memory;
CALL orm.begin('big');
SELECT count(*) FROM orm.query(NULL::item, 'id <= 100000');
SELECT 'loaded:' || kb FROM memory;
CALL orm.close('big');
SELECT 'closed:' || kb FROM memory;
BEGIN;
SELECT count(*) FROM orm.query(NULL::item, 'id <= 100000');
ROLLBACK;
SELECT 'rolled_back:' || kb FROM memory;
SET orm.expire_on_commit = off;
SELECT count(*) FROM orm.query(NULL::item, 'id <= 100000');
SELECT 'kept:' || kb FROM memory;
DISCARD ALL;
SELECT 'discarded:' || kb FROM memory;
EOS
cmp_ok($r{loaded}, '>', $r{before} + 10000, 'a session of 100,000 objects');
for my $name (qw(closed rolled_back discarded))
{
	my $kept = $name eq 'rolled_back' ? 4500 : 500;

	cmp_ok($r{$name}, '<', $r{before} + $kept, "memory is back: $name");
}
cmp_ok($r{kept}, '>', $r{before} + 10000,
	'memory is kept with the objects that outlive their transaction');

# --- what is made anew when a table was altered takes the place of the old
$node->safe_psql('bounds', <<'EOS');
CREATE TABLE altered (id int PRIMARY KEY, n int);
INSERT INTO altered VALUES (1, 0);
SELECT orm.map('altered');
EOS
my $altering = join('', map { <<EOS } 1 .. 300);
ALTER TABLE altered ALTER n SET STATISTICS $_;
SELECT count(*) FROM orm.query(NULL::altered, 'n >= 0');
SELECT orm.set(orm.get(NULL::altered, 1), '{"n": $_}');
SELECT orm.save('altered', '{"id": 1, "n": -$_}');
EOS
%r = results(<<EOS);
$altering
SELECT 'before:' || used_kb FROM memory;
$altering
SELECT 'after:' || used_kb FROM memory;
EOS
cmp_ok($r{after}, '<', $r{before} + 8, 'memory does not grow with DDL');

# --- savepoints and exception blocks cost what they touch
my $blocks = <<'EOS';
DO $$ BEGIN
	FOR i IN 1..10000 LOOP
		BEGIN
			PERFORM orm.set(ROW(1 + i % 10, NULL, NULL)::item, jsonb_build_object('n', i));
			IF i % 2 = 0 THEN PERFORM 1/0; END IF;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
END $$;
EOS
%r = results(<<EOS);
SET orm.identity_map_limit = 1000000;
SET orm.autoflush = off;
CREATE TEMP TABLE clock (name text, at timestamptz);
BEGIN;
INSERT INTO clock VALUES ('empty from', clock_timestamp());
$blocks
INSERT INTO clock VALUES ('empty to', clock_timestamp());
SELECT count(*) FROM orm.query(NULL::item, 'id <= 300000');
SELECT 'before:' || kb FROM memory;
INSERT INTO clock VALUES ('full from', clock_timestamp());
$blocks
INSERT INTO clock VALUES ('full to', clock_timestamp());
SELECT 'after:' || kb FROM memory;
SELECT 'n:' || string_agg(n::text, ' ' ORDER BY id) FROM orm.query(NULL::item, 'id <= 10');
COMMIT;
SELECT 'empty:' || extract(epoch FROM (SELECT at FROM clock WHERE name = 'empty to')
	- (SELECT at FROM clock WHERE name = 'empty from'));
SELECT 'full:' || extract(epoch FROM (SELECT at FROM clock WHERE name = 'full to')
	- (SELECT at FROM clock WHERE name = 'full from'));
EOS
note("10,000 exception blocks: $r{empty} s, with 300,000 objects $r{full} s");
cmp_ok($r{full}, '<', $r{empty} * 5 + 2,
	'10,000 exception blocks beside 300,000 objects');
cmp_ok($r{after}, '<', $r{before} + 1000, '... leave nothing behind');
is($r{n}, '1 9991 1 9993 1 9995 1 9997 1 9999',
	'... and are rolled back one by one');

# --- thousands of open savepoints
my $deep = join('',
	map { "SAVEPOINT s$_;\nSELECT orm.set(ROW(1 + $_ % 3, NULL, NULL)::item, '{\"n\": $_}');\n" }
	  1 .. 3000);
%r = results(<<EOS);
SET orm.autoflush = off;
BEGIN;
SELECT count(*) FROM orm.query(NULL::item, 'id < 10000');
SELECT 'before:' || used_kb FROM memory;
$deep
SELECT 'deep:' || string_agg(n::text, ' ' ORDER BY id) FROM orm.query(NULL::item, 'id <= 3');
ROLLBACK TO s2001;
SELECT 'rolled_back:' || string_agg(n::text, ' ' ORDER BY id) FROM orm.query(NULL::item, 'id <= 3');
RELEASE s1001;
SELECT 'released:' || string_agg(n::text, ' ' ORDER BY id) FROM orm.query(NULL::item, 'id <= 3');
ROLLBACK TO s1000;
SELECT 'further:' || string_agg(n::text, ' ' ORDER BY id) FROM orm.query(NULL::item, 'id <= 3');
RELEASE s1;
SELECT 'after:' || used_kb FROM memory;
COMMIT;
SELECT 'stored:' || string_agg(n::text, ' ' ORDER BY id) FROM item WHERE id <= 3;
EOS
is($r{deep}, '3000 2998 2999', '3,000 savepoints');
is($r{rolled_back}, '1998 1999 2000', '... the upper thousand rolled back');
is($r{released}, '1998 1999 2000', '... the next thousand released');
is($r{further}, '999 997 998', '... and rolled back with the one below');
cmp_ok($r{after}, '<', $r{before} + 100, '... without a trace in memory');
is($r{stored}, '999 997 998', '... and in the table');

# --- those of the session
my $nested = join('',
	map { "CALL orm.begin_nested();\nSELECT orm.set(ROW(5, NULL, NULL)::item, '{\"n\": $_}');\n" }
	  1 .. 1000);
%r = results(<<EOS . "CALL orm.commit_nested();\n" x 500 . "CALL orm.commit();\n"
BEGIN;
$nested
CALL orm.rollback_nested();
SELECT 'inner:' || n FROM orm.get(NULL::item, 5);
EOS
	  . "SELECT 'outer:' || n FROM item WHERE id = 5;\nCOMMIT;\n");
is($r{inner}, 999, '1,000 nested levels, the innermost rolled back');
is($r{outer}, 999, '... the others committed');

$node->stop;
done_testing();
