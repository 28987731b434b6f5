# Shared by the TAP tests: a server with the extension in a database, and an
# ordinary role that owns a schema in it; and tests that are Python programs.
package PgOrmTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_server add_database crash_by
  python_server random_programs python_checks);

# Debian's own, which has its psycopg2.
my $python = '/usr/bin/python3';

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

# A started server for a test in Python, with those lines in its
# configuration; what else is given goes to its init.  Skips the test without
# psycopg2.
sub python_server
{
	my ($conf, %init) = @_;
	my $node;

	plan skip_all => 'no psycopg2'
	  if system("$python -c 'import psycopg2' 2>/dev/null") != 0;
	$node = PostgreSQL::Test::Cluster->new('main');
	$node->init(%init);
	$node->append_conf('postgresql.conf', "fsync = off\n$conf");
	$node->start;
	return $node;
}

# Runs a script of test/fuzz of so many programs (or steps) with several seeds,
# ORM_FUZZ_SEEDS or so many, each of which is a test.
sub random_programs
{
	my ($script, $seeds, $size, %init) = @_;
	my $node = python_server('', %init);

	for my $seed (1 .. $ENV{ORM_FUZZ_SEEDS} // $seeds)
	{
		my ($out, $err) = run_command(
			[
				$python, "test/fuzz/$script",
				$node->connstr('postgres'), $seed, $size
			]);
		is("$out$err", 'ok', "seed $seed");
	}

	my @bad = grep { /^[^\t]*(?:FATAL|PANIC|TRAP|leak)/ }
	  split(/\n/, slurp_file($node->logfile));
	is("@bad", '', 'nothing worse than an error in the server log');

	$node->stop;
	done_testing();
	return;
}

# Runs a script of test/trust, which prints TAP and ends with what failed.
sub python_checks
{
	my ($node, $script, @arguments) = @_;
	my ($out, $err) = run_command(
		[
			$python, "test/trust/$script",
			'host=' . $node->host . ' port=' . $node->port . ' user=' . getpwuid($<),
			@arguments
		]);

	for my $line (split(/\n/, $out))
	{
		is($line, $line =~ s/^not //r, $line) if $line =~ /^(?:not )?ok/;
		note($line) if $line =~ /^#/;
	}
	is($err, '', 'it came to its end');
	like($out, qr/ 0 failed/, 'nothing failed');

	$node->stop;
	done_testing();
	return;
}

1;
