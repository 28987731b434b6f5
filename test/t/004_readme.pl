# The SQL of the README, run from its first line to its last by an ordinary
# role.  Only what a comment "-- ERROR sqlstate" announces may fail, and a
# block of text after one of SQL is what that prints.

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

# The blocks of SQL: where they stand, what they print and how they fail.
my @blocks;
my $heading = '';
my $readme = slurp_file("$FindBin::RealBin/../../README.md");
while ($readme =~ /^##+ ([^\n]*)|^```(sql|text)\n(.*?)^```$/msg)
{
	if (defined $1)
	{
		$heading = $1;
	}
	elsif ($2 eq 'text')
	{
		$blocks[-1]{prints} = $3;
	}
	else
	{
		push @blocks, { name => "$heading, block " . @blocks, sql => $3 };
		$blocks[-1]{errors} = join ' ', $3 =~ /-- ERROR (\w{5})$/mg;
	}
}
cmp_ok(scalar(@blocks), '>', 10, 'the README has examples');

my $script = "SET SESSION AUTHORIZATION app;\n";
for my $number (0 .. $#blocks)
{
	$script .= "\\echo BLOCK $number\n\\warn BLOCK $number\n"
	  . $blocks[$number]{sql};
}

my ($status, $stdout, $stderr) = $node->psql(
	'app', $script,
	on_error_stop => 0,
	extra_params => [
		'-v', 'VERBOSITY=sqlstate', '-P', 'format=aligned', '-P',
		'tuples_only=off'
	]);
is($status, 0, 'psql ran to the end');

# What stands between the markers of a block, without blanks at line ends.
sub of_block
{
	my ($output, $number) = @_;
	my ($part) = $output =~ /^BLOCK $number\n(.*?)(?:^BLOCK \d+(?:\n|\z)|\z)/ms;

	$part =~ s/[ \t]+$//mg;
	$part =~ s/\n+/\n/g;
	$part =~ s/\n\z//;
	return $part;
}

for my $number (0 .. $#blocks)
{
	my $block = $blocks[$number];
	my $messages = of_block($stderr, $number);

	is(join(' ', $messages =~ /ERROR:\s+(\w{5})/g),
		$block->{errors}, "$block->{name}: errors are those announced")
	  or diag($messages);
	next unless defined $block->{prints};
	is(of_block($stdout, $number), of_block("BLOCK 0\n$block->{prints}", 0),
		"$block->{name}: prints what the README says");
}

done_testing();
