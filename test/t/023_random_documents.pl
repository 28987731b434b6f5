# Random models, selections and documents, read and written, checked against
# the plain rows (test/fuzz/documents.py).
# ORM_FUZZ_SEEDS is the number of runs.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = '/usr/bin/python3';

plan skip_all => 'no psycopg2'
  if system("$python -c 'import psycopg2' 2>/dev/null") != 0;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--locale=C.UTF-8', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', 'fsync = off');
$node->start;

for my $seed (1 .. $ENV{ORM_FUZZ_SEEDS} // 6)
{
	my ($out, $err) = run_command(
		[
			$python, 'test/fuzz/documents.py',
			$node->connstr('postgres'), $seed, 30
		]);
	is("$out$err", 'ok', "seed $seed");
}

my @bad = grep { /^[^\t]*(?:FATAL|PANIC|TRAP|leak)/ }
  split(/\n/, slurp_file($node->logfile));
is("@bad", '', 'nothing worse than an error in the server log');

$node->stop;
done_testing();
