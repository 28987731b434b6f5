# Dump and restore: declared, mapped and shipped models come back with their
# rows, their relationships and their generated functions.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use PgOrmTest;

my $node = new_server('main');
my $dump = $node->backup_dir . '/pg_orm.dump';
mkdir $node->backup_dir;

# Everything of the models that a restore has to bring back, as text.  OIDs
# differ, the order of rows may.
my $catalog = q(
	SELECT m::text FROM orm.models m ORDER BY class;
	SELECT r::text FROM orm.relationships r ORDER BY class, name;
	SELECT p.oid::regprocedure, pg_get_userbyid(proowner), prorettype::regtype,
		proretset, provolatile, prosrc
		FROM pg_proc p WHERE pronamespace IN ('app'::regnamespace,
			'public'::regnamespace)
		ORDER BY p.oid::regprocedure::text;
	SELECT objid::regprocedure, refobjid::regclass
		FROM pg_depend WHERE classid = 'pg_proc'::regclass AND deptype = 'a'
			AND refclassid = 'pg_class'::regclass
		ORDER BY objid::regprocedure::text, refobjid::regclass::text;
	SELECT p.oid::regprocedure, extname
		FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
			JOIN pg_extension e ON e.oid = d.refobjid
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'x'
		ORDER BY p.oid::regprocedure::text;);
my $rows = q(
	SELECT p::text, h::text FROM person p, hobby(p) h ORDER BY 1;
	SELECT h.caption, p.name FROM hobby h, pers(h) p ORDER BY 1, 2;
	SELECT b.hostname, g.name FROM boy b, girls(b) g ORDER BY 1, 2;
	SELECT i::text, (i."order").no FROM "Order item" i ORDER BY 1;
	SELECT o.no, i.line FROM "Order" o, items(o) i ORDER BY 1, 2;
	SELECT * FROM names ORDER BY 1;
	SELECT * FROM "Order doc" ORDER BY region, no;
	SELECT orm.json_schema('"Order doc"'););

# As the role that owns the models.
sub as_app
{
	my ($database, $sql) = @_;
	return $node->safe_psql($database, "SET SESSION AUTHORIZATION app; $sql");
}

sub restore
{
	my ($database, $file, @options) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER app");
	$node->safe_psql('postgres',
		"ALTER DATABASE $database SET search_path = app, public");
	$node->command_ok(
		[ 'pg_restore', '--exit-on-error', @options, '-d', $database, $file ],
		"pg_restore into $database");
}

# What has to work in a database that was restored.
sub check_restored
{
	my ($database, $wanted_catalog, $wanted_rows) = @_;

	is(as_app($database, $catalog), $wanted_catalog,
		"$database: the catalog is the same");
	is(as_app($database, $rows), $wanted_rows,
		"$database: so are the rows and what navigation finds");
	is( as_app(
			$database,
			q(SELECT nid FROM orm.add(NULL::person, '{"name": "new"}');)),
		3,
		"$database: keys go on where they were");
	is( as_app(
			$database,
			q(INSERT INTO "Order doc" (data)
				VALUES ('{"region": "南", "no": 7}') RETURNING data;
			DELETE FROM "Order doc" WHERE no = 7 RETURNING no;)),
		qq({"no": 7, "items": [], "region": "南"}\n7),
		"$database: ORM views can be written");
	is( as_app(
			$database, q(SELECT orm.drop_all('other');
				SELECT class FROM orm.models WHERE relation IS NULL;
				SELECT orm.create_all('other');)),
		"other.declared\nDeclared\nother.declared",
		"$database: a declaration is there to drop and create its table");
	as_app($database, 'DROP TABLE "Order item"');
	is( as_app(
			$database,
			q(SELECT count(*) FROM orm.models WHERE class = 'Item';
			SELECT to_regproc('items');)),
		"0\n",
		"$database: DROP TABLE without CASCADE takes everything along");
	$node->safe_psql($database, 'DROP EXTENSION pg_orm_tutorial CASCADE');
	is( as_app(
			$database, q(SELECT class FROM orm.models ORDER BY 1)),
		"Declared\nOrder",
		"$database: the shipped models go with their extension");
}

add_database($node, 'original');
# By a superuser, who is the one to restore it, too.
$node->safe_psql(
	'original', q(CREATE EXTENSION pg_orm_tutorial;
	GRANT ALL ON ALL TABLES IN SCHEMA app TO app;
	GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO app;));
as_app(
	'original', q(
	SELECT orm.add_all(NULL::hobby,
		'[{"id": 1}, {"id": 2, "caption": "人妖"}]');
	SELECT orm.add_all(NULL::person,
		'[{"name": "lqz", "hobby_id": 1}, {"name": "egon", "hobby_id": 2}]');
	SELECT orm.add(NULL::boy, '{"hostname": "b1"}');
	SELECT orm.add_all(NULL::girl, '[{"name": "g1"}, {"name": "g2"}]');
	SELECT orm.add_all(NULL::boy2girl,
		'[{"boy_id": 1, "girl_id": 1}, {"boy_id": 1, "girl_id": 2}]');
	CREATE VIEW names AS
		SELECT h.caption, p.name FROM hobby h, pers(h) p;

	CREATE TABLE "Order" (region text, no int, PRIMARY KEY (region, no));
	CREATE TABLE "Order item" (
		line int PRIMARY KEY, "Region" text, no int,
		FOREIGN KEY ("Region", no) REFERENCES "Order");
	INSERT INTO "Order" VALUES ('北', 1), ('北', 2);
	INSERT INTO "Order item" VALUES (1, '北', 1), (2, '北', 1), (3, NULL, 1);
	SELECT orm.map('"Order"', 'Order');
	SELECT orm.map('"Order item"', 'Item');
	SELECT orm.relate('Item', 'order', 'Order', backref => 'items');
	SELECT orm.create_view('"Order doc"', 'Order',
		'@insert @update @delete { region no items { line } }');

	CREATE SCHEMA other;
	SELECT orm.declare('Declared', 'declared', schema => 'other',
		columns => ARRAY[
			orm.column('id', 'integer', primary_key => true),
			orm.column('parent_id', 'integer', foreign_key => 'declared.id')],
		relationships => ARRAY[
			orm.relationship('parent', 'Declared', backref => 'children',
				remote_side => '{id}')]);
	SELECT orm.create_all('other');));

my $original_catalog = as_app('original', $catalog);
my $original_rows = as_app('original', $rows);
like($original_rows, qr/人妖/, 'there are rows');

$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'original' ], 'pg_dump');

restore('whole', $dump);
check_restored('whole', $original_catalog, $original_rows);

# section by section, as pg_upgrade does it: the row triggers make nothing,
# the plain functions of the dump are there, their dependencies are not
$node->safe_psql('postgres', 'CREATE DATABASE sections OWNER app');
$node->safe_psql('postgres',
	'ALTER DATABASE sections SET search_path = app, public');
for my $section (qw(pre-data data post-data))
{
	$node->command_ok(
		[
			'pg_restore', '--exit-on-error', "--section=$section",
			'--disable-triggers', '-d', 'sections', $dump
		],
		"pg_restore --section=$section");
}
isnt(as_app('sections', $catalog),
	$original_catalog, 'something is missing then');
$node->safe_psql('sections', 'SELECT orm.repair()');
$node->safe_psql('sections', 'SELECT orm.repair()');
check_restored('sections', $original_catalog, $original_rows);

# With several jobs data comes in any order.  (PostgreSQL itself does not
# order the tables of an extension there, and so the tutorial's are left out.)
$node->safe_psql('postgres', 'CREATE DATABASE own TEMPLATE original');
$node->safe_psql('own', 'DROP EXTENSION pg_orm_tutorial CASCADE');
my $own_catalog = as_app('own', $catalog);
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.own", 'own' ],
	'pg_dump without the tutorial');
restore('parallel', "$dump.own", '-j2');
$node->safe_psql('parallel', 'SELECT orm.repair()');
is(as_app('parallel', $catalog), $own_catalog,
	'parallel: the catalog is the same');

# from a directory, written by several jobs
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dump.directory", 'own' ],
	'pg_dump into a directory');
restore('directory', "$dump.directory", '-j2');
$node->safe_psql('directory', 'SELECT orm.repair()');
is(as_app('directory', $catalog), $own_catalog,
	'directory: the catalog is the same');

# the schema first, the rows later
restore('schema_first', "$dump.own", '--schema-only');
$node->command_ok(
	[
		'pg_restore', '--exit-on-error', '--data-only', '--disable-triggers',
		'-d', 'schema_first', "$dump.own"
	],
	'pg_restore --data-only');
$node->safe_psql('schema_first', 'SELECT orm.repair()');
is(as_app('schema_first', $catalog), $own_catalog,
	'schema_first: the catalog is the same');

# a schema without its data: nothing is mapped, nothing is in the way
restore('schema_only', $dump, '--schema-only');
is(as_app('schema_only', q(SELECT class FROM orm.models
		WHERE extension IS NULL)), '', 'a schema-only restore maps nothing');
$node->safe_psql('schema_only', 'SELECT orm.repair()');

done_testing();
