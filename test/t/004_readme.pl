# The SQL of the README, run from its first line to its last by an ordinary
# role.  Only what a comment "-- ERROR sqlstate" announces may fail.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use PgOrmTest;

my $node = new_server('main');
add_database($node, 'app');

my $readme = slurp_file("$FindBin::RealBin/../../README.md");
my $section = '';
my ($script, @expected) = ('SET SESSION AUTHORIZATION app;');
while ($readme =~ /^##+ ([^\n]*)|^```sql\n(.*?)^```$/msg)
{
	if (defined $1)
	{
		$section = $1;
		next;
	}
	my $block = $2;
	while ($block =~ /^([^\n]*?)(?:-- ERROR (\w{5}))?$/mg)
	{
		push @expected, "$section: $2" if defined $2;
	}
	$script .= "\n\\warn SECTION:$section\n$block";
}

my ($status, $stdout, $stderr) = $node->psql('app', $script,
	extra_params => [ '-v', 'VERBOSITY=sqlstate' ],
	on_error_stop => 0);
is($status, 0, 'psql ran to the end');

my @errors;
for my $line (split /\n/, $stderr)
{
	if ($line =~ /SECTION:(.*)/)
	{
		$section = $1;
	}
	elsif ($line =~ /ERROR:\s+(\w{5})/)
	{
		push @errors, "$section: $1";
	}
}
is_deeply(\@errors, \@expected, 'errors are those announced')
  or diag($stderr);
cmp_ok(scalar(@expected), '>', 3, 'there are some');

done_testing();
