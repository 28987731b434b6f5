# A real PgBouncer in transaction mode between clients and the server:
# sessions, savepoints, documents and engines work through it, and no client
# ever sees anything of another one's session, though they share server
# connections.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use PgOrmTest;

my ($pgbouncer) =
  grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
plan skip_all => 'PgBouncer is not installed' unless defined $pgbouncer;

my $node = new_server('main');
add_database($node, 'app');
$node->safe_psql(
	'app', q{
	SET SESSION AUTHORIZATION app;
	CREATE EXTENSION pg_orm_tutorial;
	SELECT orm.create_engine('one', pool_size => 1, pool_timeout => 0.1);
	SELECT orm.sessionmaker('one', 'one');
	SELECT orm.create_engine('two', pool_size => 2, pool_timeout => 60);
	SELECT orm.sessionmaker('two', 'two');
	SELECT orm.sessionmaker('keep', 'two', expire_on_commit => false);
});

#
# PgBouncer
#
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my ($port, $pooled, $pidfile);

# Waits until the condition holds.
sub wait_until
{
	my ($what, $condition) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if $condition->();
		select undef, undef, undef, 0.1;
	}
	die "timed out: $what";
}

sub stop_pgbouncer
{
	return unless defined $pidfile && -e $pidfile;
	kill 'TERM', slurp_file($pidfile);
	wait_until('PgBouncer stops', sub { !-e $pidfile });
	return;
}

# Starts another one, with further settings: name => value.
sub start_pgbouncer
{
	my (%settings) = @_;

	stop_pgbouncer();
	$port = PostgreSQL::Test::Cluster::get_free_port();
	$pooled = "host=$dir port=$port dbname=app user=app";
	$pidfile = "$dir/pid.$port";
	append_to_file("$dir/users", qq("app" ""\n)) unless -e "$dir/users";
	unlink "$dir/ini";
	append_to_file(
		"$dir/ini", sprintf q{
[databases]
app = host=%s port=%d
[pgbouncer]
pool_mode = transaction
listen_port = %d
unix_socket_dir = %s
auth_type = trust
auth_file = %s/users
logfile = %s/log
pidfile = %s
%s
}, $node->host, $node->port, $port, $dir, $dir, $dir, $pidfile,
		join("\n", map { "$_ = $settings{$_}" } sort keys %settings));
	system_or_bail($pgbouncer, '-q', '-d', "$dir/ini");
	wait_until(
		'PgBouncer starts',
		sub {
			IPC::Run::run [ 'psql', '-XAtc', 'SELECT 1', $pooled ],
			  '>', \my $out, '2>', \my $error;
		});
	return;
}

END
{
	my $status = $?;
	stop_pgbouncer();
	$? = $status;
}

sub client
{
	return $node->background_psql(
		'app',
		on_error_stop => 0,
		extra_params => [ '-d', $pooled ]);
}

# Runs statements, each by itself, and returns the last one's output.
sub run
{
	my ($client, @statements) = @_;
	my $result;
	$result = $client->query_safe($_) for @statements;
	return $result;
}

# The message of the error that the statement is.
sub error
{
	my ($client, $statement) = @_;
	$client->query($statement);
	my ($message) = $client->{stderr} =~ /ERROR:  ([^\n]*)/;
	$client->{stderr} = '';
	return $message;
}

my $nothing = 'SELECT count(*) FROM orm.session_objects';
my $used = 'SELECT sum(in_use) FROM orm.engine_status()';

#
# One server connection for all clients
#
start_pgbouncer(default_pool_size => 1);
my ($one, $two) = (client(), client());
my $server = run($one, 'SELECT pg_backend_pid()');
is(run($two, 'SELECT pg_backend_pid()'),
	$server, 'two clients have one server connection');

# The server connection is still that one, and has nothing in it.
sub check_empty
{
	my ($what) = @_;
	is( run($two, 'SELECT pg_backend_pid()'), $server,
		"$what: the same connection");
	is(run($two, $nothing), '0', "$what: nothing is left in it");
	is(run($two, 'SHOW orm.session'), 'main', "$what: the session is main");
	is(run($two, $used), '0', "$what: no slot is in use");
	return;
}

run($one, 'BEGIN', q{SELECT orm.add(NULL::hobby, '{"id": 1}')}, 'COMMIT');
check_empty('BEGIN and COMMIT');
is(run($two, 'SELECT caption FROM orm.get(NULL::hobby, 1)'),
	'篮球', 'what is committed is there');

run($one, 'BEGIN', q{SELECT orm.add(NULL::hobby, '{"id": 2}')}, 'ROLLBACK');
check_empty('ROLLBACK');
run($one, q{SELECT orm.add(NULL::hobby, '{"id": 2}')});
check_empty('autocommit');

run($one, 'BEGIN', q{SET LOCAL orm.session = 'two/mine'},
	q{SELECT orm.get(NULL::hobby, 1)});
is(run($one, $used), '1', 'a session by SET LOCAL has a slot');
run($one, 'COMMIT');
check_empty('SET LOCAL orm.session');

run($one, q{CALL orm.begin('two/mine')},
	q{SELECT orm.add(NULL::hobby, '{"id": 3, "caption": "kept"}')});
is(run($one, $used), '1', 'a session that has begun has a slot');
run($one, 'CALL orm.commit()');
check_empty('orm.commit()');
run($one, q{CALL orm.begin('two/mine')},
	q{SELECT orm.add(NULL::hobby, '{"id": 4}')}, 'CALL orm.rollback()');
check_empty('orm.rollback()');
run($one, q{CALL orm.begin('two/mine')},
	q{SELECT orm.add(NULL::hobby, '{"id": 4}')}, 'CALL orm.close()');
check_empty('orm.close()');

# savepoints
run($one, q{CALL orm.begin('two/mine')}, 'CALL orm.begin_nested()',
	q{SELECT orm.add(NULL::hobby, '{"id": 5}')}, 'CALL orm.commit_nested()',
	'CALL orm.begin_nested()', q{SELECT orm.add(NULL::hobby, '{"id": 6}')},
	q{SELECT orm.set(h, '{"caption": "no"}') FROM orm.get(NULL::hobby, 5) h},
	'CALL orm.rollback_nested()');
is( run($one,
		'SELECT identity, state FROM orm.session_objects ORDER BY 1'),
	'{"id": 5}|persistent', 'a savepoint takes the session back');
is( error($one, q{SELECT orm.add(NULL::hobby, '{"id": 1}'); SELECT orm.flush()}),
	'duplicate key value violates unique constraint "hobby_pkey"',
	'an error');
run($one, 'ROLLBACK');
check_empty('an error');
run($one, q{CALL orm.begin('two/mine')}, 'CALL orm.begin_nested()',
	q{SELECT orm.add(NULL::hobby, '{"id": 5}')}, 'CALL orm.begin_nested()',
	q{SELECT orm.add(NULL::hobby, '{"id": 6}')}, 'SAVEPOINT mine');
error($one, 'SELECT 1/0');
run($one, 'ROLLBACK TO "two/mine.2"', 'CALL orm.rollback_nested()',
	'CALL orm.commit()');
check_empty('savepoints');
is(run($two, 'SELECT string_agg(id::text, \',\' ORDER BY id) FROM hobby'),
	'1,2,3,5', 'and what they kept is written');

# a graph in one statement
run($one, q{SELECT orm.add(NULL::boy,
	'{"hostname": "b1", "girls": [{"name": "g1"}, {"name": "g2"}]}')});
check_empty('a graph');
is( run($two, 'SELECT string_agg(g.name, \',\' ORDER BY g.name) FROM boy b, girls(b) g'),
	'g1,g2', 'and its links are written');

# documents and ORM views
run($one, q{SELECT orm.save('Hobby', '{"id": 8, "caption": "saved",
	"pers": [{"name": "p1"}, {"name": "p2"}]}')});
check_empty('orm.save');
is( run($two, q{SELECT d ->> 'caption', json_array_length(d -> 'pers')
	FROM orm.find('Hobby', '{ caption pers { name } }', 'id = 8') d}),
	'saved|2', 'a document is written and read');
check_empty('orm.find');
run($one, q{SELECT orm.create_view('hobby_documents', 'Hobby',
	'@update { id caption pers @insert @delete { name } }')},
	q{CALL orm.begin('two/mine')},
	q{UPDATE hobby_documents SET data = jsonb_set(data, '{caption}', '"changed"') WHERE id = 8},
	'CALL orm.commit()');
check_empty('an ORM view');
is( run($two, q{SELECT data ->> 'caption' FROM hobby_documents WHERE id = 8}),
	'changed', 'a document is changed through a view');

# objects that a session keeps are kept by the server connection
run($one, q{CALL orm.begin('keep/mine')},
	'SELECT orm.get(NULL::hobby, 1)', 'CALL orm.commit()');
is(run($two, $nothing), '1', 'expire_on_commit off is not for poolers');
run($two, 'CALL orm.close(\'keep/mine\')');
check_empty('orm.close(name)');

# a client that goes away in its transaction
run($one, q{CALL orm.begin('one/mine')},
	q{SELECT orm.add(NULL::hobby, '{"id": 7}')});
$one->quit;
is(run($two, $nothing), '0', 'disconnect: nothing is left');
is(run($two, 'SELECT count(*) FROM hobby WHERE id = 7'),
	'0', 'disconnect: it is rolled back');
$node->poll_query_until('app',
	'SELECT sum(in_use) = 0 FROM orm.engine_status()')
  or die 'the slot is not freed';
is(run($two, q{CALL orm.begin('one/other')}, $used, 'COMMIT', $used),
	'0', 'disconnect: its slot is free');
$two->quit;

#
# DISCARD ALL after each transaction
#
start_pgbouncer(
	default_pool_size => 2,
	server_reset_query => 'DISCARD ALL',
	server_reset_query_always => 1);
($one, $two) = (client(), client());
run($one, q{CALL orm.begin('keep/mine')},
	'SELECT orm.get(NULL::hobby, 1)', 'CALL orm.commit()');
is(run($two, $nothing), '0', 'DISCARD ALL takes what a session has kept');
run($one, q{CALL orm.begin('one/mine')});
run($two, 'SELECT 1') for 1 .. 3;
is(run($two, $used), '1', 'and no slot of another connection');
run($one, 'CALL orm.commit()');
$_->quit for $one, $two;

#
# Several server connections: the limit holds over all of them, and for those
# who come without PgBouncer
#
start_pgbouncer(default_pool_size => 4);
($one, $two) = (client(), client());
my $timeout = 'QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 0.10';
run($one, q{CALL orm.begin('one/mine')});
isnt(run($two, 'SELECT pg_backend_pid()'),
	run($one, 'SELECT pg_backend_pid()'), 'two server connections');
is(error($two, q{CALL orm.begin('one/other')}),
	$timeout, 'the slot is in use, through PgBouncer');
my ($status, $stdout, $stderr) =
  $node->psql('app', q{CALL orm.begin('one/other')});
like($stderr, qr/\Q$timeout\E/, 'and without it');
run($one, 'CALL orm.commit()');
is( run($two, q{CALL orm.begin('one/other')}, $used),
	'1', 'it is free after the commit, though the connection stays');
run($two, 'CALL orm.rollback()');
$_->quit for $one, $two;

# ten clients on four server connections and two slots
my $script = "$dir/script";
append_to_file(
	$script, q{
CALL orm.begin('two/:client_id');
SELECT 1 / (in_use BETWEEN 1 AND 2)::int FROM orm.engine_status() WHERE engine = 'two';
SELECT 1 / (count(*) = 0)::int FROM orm.session_objects;
SELECT orm.add(NULL::person, jsonb_build_object('name', 'client :client_id'));
SELECT 1 / (count(*) = 1)::int FROM orm.session_objects;
CALL orm.begin_nested();
SELECT orm.add(NULL::person, '{"name": "no"}');
CALL orm.rollback_nested();
CALL orm.commit();
});
command_like(
	[
		'pgbench', '-n', '-c', '10', '-j', '2', '-t', '20', '-f', $script,
		$pooled
	],
	qr{processed: 200/200},
	'ten clients');
is( $node->safe_psql('app', q{SELECT count(*), count(DISTINCT name), count(*) FILTER (WHERE name = 'no') FROM person WHERE hobby_id IS NULL}),
	'200|10|0', 'each has written its own');
is($node->safe_psql('app', $used), '0', 'no slot is left behind');
like(slurp_file("$dir/log"), qr/process up: PgBouncer/, 'it was PgBouncer');

done_testing();
