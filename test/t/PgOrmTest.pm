# Shared by the TAP tests: a server with the extension in a database, and an
# ordinary role that owns a schema in it.
package PgOrmTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(new_server add_database crash_by);

# A started server; what else is given goes to its init.
sub new_server
{
	my ($name, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%init, extra => [ '--locale=C.UTF-8', '--encoding=UTF8' ]);
	$node->append_conf('postgresql.conf', "max_prepared_transactions = 10");
	$node->start;
	$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
	return $node;
}

# A database with pg_orm in it and a schema app, which is the role app's own
# and first in everybody's search_path.
sub add_database
{
	my ($node, $database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER app");
	$node->safe_psql('postgres',
		"ALTER DATABASE $database SET search_path = app, public");
	$node->safe_psql(
		$database, qq(
		CREATE EXTENSION pg_orm;
		CREATE SCHEMA app AUTHORIZATION app;));
}

# Kills a backend without mercy and waits until the server, which has to have
# restart_after_crash on, is there again.  (A look at the log, since a query
# sent meanwhile can fail in more than one way.)
sub crash_by
{
	my ($node, $pid) = @_;
	my $offset = -s $node->logfile;

	kill 'KILL', $pid or die "cannot kill $pid";
	$node->wait_for_log(qr/database system is ready to accept connections/,
		$offset);
	return;
}

1;
