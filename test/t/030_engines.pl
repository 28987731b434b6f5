# Slots of an engine when backends end in other ways than by COMMIT, under
# load, in prepared transactions, on a standby, and in a dump.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use PgOrmTest;

my $node = new_server('main', allows_streaming => 1);
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
add_database($node, 'app');
$node->safe_psql(
	'app', q{
	SET SESSION AUTHORIZATION app;
	CREATE TABLE item (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, pid int);
	SELECT orm.map('item');
	SELECT orm.create_engine('one', pool_size => 1, pool_timeout => 60);
	SELECT orm.sessionmaker('web', 'one');
});

sub status
{
	return $node->safe_psql('app',
		"SELECT in_use, waiting FROM orm.engine_status() WHERE engine = 'one'"
	);
}

sub client { return $node->background_psql('app', on_error_stop => 0); }

# Starts a begin that has to wait.
sub wait_for_slot
{
	my ($psql) = @_;
	$psql->query_until(qr/start/, "\\echo start\nCALL orm.begin('web/b');\n");
	$node->poll_query_until('app',
		"SELECT waiting = 1 FROM orm.engine_status() WHERE engine = 'one'")
	  or die 'it does not wait';
}

# One holds the slot until $end, the other waits for it.
sub holder_ends
{
	my ($what, $end) = @_;
	my ($holder, $waiter) = (client(), client());
	my $pid = $holder->query_safe('SELECT pg_backend_pid()');

	$holder->query_safe("CALL orm.begin('web/a')");
	wait_for_slot($waiter);
	is(status(), '1|1', "$what: one holds the slot, one waits");
	$end->($holder, $pid);
	is( $waiter->query_safe('SELECT in_use, waiting FROM orm.engine_status()'),
		'1|0', "$what: the other has it");
	$waiter->quit;
	$node->poll_query_until('app',
		'SELECT in_use = 0 FROM orm.engine_status()')
	  or die 'the slot is not freed';
	pass("$what: freed when the second disconnects");
	eval { $holder->quit };
}

holder_ends('commit', sub { $_[0]->query_safe('COMMIT') });
holder_ends('disconnect', sub { $_[0]->quit });
holder_ends('pg_terminate_backend',
	sub { $node->safe_psql('app', "SELECT pg_terminate_backend($_[1])") });

# who waits is cancelled, and takes nothing along
{
	my ($holder, $waiter) = (client(), client());
	my $pid = $waiter->query_safe('SELECT pg_backend_pid()');

	$holder->query_safe("CALL orm.begin('web/a')");
	wait_for_slot($waiter);
	$node->safe_psql('app', "SELECT pg_cancel_backend($pid)");
	$waiter->query('SELECT 1');
	like($waiter->{stderr}, qr/canceling statement due to user request/,
		'waiting is cancelled');
	is(status(), '1|0', 'and nobody waits any more');
	$_->quit for $holder, $waiter;
}

# kill -9 of the one that holds the slot: the server restarts, and it is free
{
	my $holder = client();
	my $pid = $holder->query_safe('SELECT pg_backend_pid()');

	$holder->query_safe("CALL orm.begin('web/a')");
	$holder->query_safe('SELECT orm.add(NULL::item, \'{"pid": 1}\'); SELECT orm.flush()');
	is(status(), '1|0', 'kill -9: one holds the slot');
	crash_by($node, $pid);
	is(status(), '0|0', 'kill -9: it is free afterwards');
	is($node->safe_psql('app', "CALL orm.begin('web/b')"), '',
		'kill -9: the next one can begin');
	is($node->safe_psql('app', 'SELECT count(*) FROM item'),
		'0', 'kill -9: nothing of it is written');
	eval { $holder->quit };
}

# a prepared transaction keeps the slot until it ends, through a restart too
$node->safe_psql('app', "CALL orm.begin('web/a');\nPREPARE TRANSACTION 'p';");
is(status(), '1|0', 'a prepared transaction keeps its slot');
$node->restart;
is(status(), '1|0', 'through a restart');
$node->safe_psql('app', "COMMIT PREPARED 'p'");
is(status(), '0|0', 'until it is committed');

# many clients: never more than the limit, and everybody gets through
$node->safe_psql('app',
	"SELECT orm.create_engine('one', pool_size => 2, max_overflow => 1, pool_timeout => 60)"
);
$node->pgbench(
	'-n -c 8 -j 2 -t 40 app',
	0,
	[qr{processed: 320/320}],
	[qr/^$/],
	'eight clients share three slots',
	{
		'030_engines' => q{
CALL orm.begin('web/:client_id');
SELECT 1 / (in_use BETWEEN 1 AND 3)::int FROM orm.engine_status();
SELECT * FROM orm.add(NULL::item, '{"pid": 1}');
CALL orm.commit();
}
	});
is($node->safe_psql('app', 'SELECT count(*) FROM item'),
	'320', 'and each has written');
is(status(), '0|0', 'no slot is left behind');

# a standby has no slots to give, and sessions are not kept from reading there
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
is( $standby->safe_psql(
		'app', q{
	CALL orm.begin('web/1');
	CALL orm.begin('web/2');
	CALL orm.begin('web/3');
	CALL orm.begin('web/4');
	SELECT count(*) FROM orm.query(NULL::item, 'true');
	ROLLBACK;
}), '320', 'a standby has no limit');
$standby->stop;

# dump and restore
my $dump = "$node->{_basedir}/dump";
$node->command_ok([ 'pg_dump', '-f', $dump, 'app' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE again OWNER app');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'again' ],
	'restore');
for my $query (
	'SELECT * FROM orm.engine_def',
	'SELECT * FROM orm.sessionmakers',
	'SELECT proname, proacl FROM pg_proc WHERE pronamespace = \'orm\'::regnamespace AND proacl IS NOT NULL ORDER BY 1, 2::text'
  )
{
	is($node->safe_psql('again', $query),
		$node->safe_psql('app', $query), "restored: $query");
}
is($node->safe_psql('again', "SET SESSION AUTHORIZATION app;
	SELECT orm.create_engine('two'); SELECT count(*) FROM orm.engines"),
	"\n2", 'the owner of the restored database makes engines there');

done_testing();
