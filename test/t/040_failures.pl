# Failures at every step of calls leave nothing behind: a part of what
# test/trust/failures does.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = '/usr/bin/python3';

plan skip_all => 'no psycopg2'
  if system("$python -c 'import psycopg2' 2>/dev/null") != 0;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
fsync = off
log_min_messages = warning
log_statement = none
));
$node->start;

my ($out, $err) = run_command(
	[
		$python, 'test/trust/failures.py',
		'host=' . $node->host . ' port=' . $node->port . ' user=' . getpwuid($<),
		'quick', $node->logfile
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
