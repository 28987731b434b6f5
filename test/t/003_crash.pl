# A backend that ends in mid-transaction: what its session had pending is
# gone, what it had committed is there, and others go on.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use PgOrmTest;

my $node = new_server('main');
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
add_database($node, 'app');
$node->safe_psql('app',
	'SET SESSION AUTHORIZATION app; CREATE EXTENSION pg_orm_tutorial');

# A backend with one user committed, one flushed and one pending; its PID.
sub half_done
{
	my ($name) = @_;
	my $backend = $node->background_psql('app', on_error_stop => 0);

	$backend->query_safe('SET SESSION AUTHORIZATION app');
	$backend->query_safe(
		qq(SELECT orm.add(NULL::users, '{"name": "$name committed"}')));
	$backend->query_safe("CALL orm.begin('$name')");
	$backend->query_safe(
		qq(SELECT orm.add(NULL::users, '{"name": "$name flushed"}')));
	$backend->query_safe('CALL orm.begin_nested()');
	$backend->query_safe(
		qq(SELECT orm.add(NULL::users, '{"name": "$name pending"}')));
	return ($backend, $backend->query_safe('SELECT pg_backend_pid()'));
}

my $names = 'SELECT name FROM users ORDER BY name';

my ($backend, $pid) = half_done('terminated');
$node->safe_psql('app', "SELECT pg_terminate_backend($pid, 10000)");
is($node->safe_psql('app', $names),
	'terminated committed', 'a terminated backend writes nothing more');
eval { $backend->{run}->finish };

($backend, $pid) = half_done('killed');
crash_by($node, $pid);
eval { $backend->{run}->finish };
is($node->safe_psql('app', $names),
	"killed committed\nterminated committed",
	'nor does a killed one, after the server has recovered');
is( $node->safe_psql(
		'app', q(SET SESSION AUTHORIZATION app;
			SELECT count(*) FROM orm.session_objects;
			SELECT orm.update_where(NULL::users, 'true', '{"age": 1}'))),
	"0\n2",
	'and the models work on');

# a prepared transaction survives the crash with what was flushed into it
$node->safe_psql(
	'app', q(SET SESSION AUTHORIZATION app;
	BEGIN;
	SELECT orm.add(NULL::users, '{"name": "prepared"}');
	PREPARE TRANSACTION 'orm';));
$node->stop('immediate');
$node->start;
$node->safe_psql('app', "COMMIT PREPARED 'orm'");
is($node->safe_psql('app', "SELECT count(*) FROM users WHERE name = 'prepared'"),
	1, 'PREPARE TRANSACTION flushes');

done_testing();
