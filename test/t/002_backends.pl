# Two backends at once, each with scoped sessions: neither sees the pending
# objects of the other, and what they write meets in the tables only.

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
$node->safe_psql('app',
	'SET SESSION AUTHORIZATION app; CREATE EXTENSION pg_orm_tutorial');

my $pending = 'SELECT session, class, state FROM orm.session_objects
	ORDER BY session, identity';
my $names = 'SELECT name FROM users ORDER BY name';
my ($one, $two) = map {
	my $psql = $node->background_psql('app');
	$psql->query_safe('SET SESSION AUTHORIZATION app');
	$psql
} 1 .. 2;

# Adds a user in a session of that name.
sub add
{
	my ($backend, $session, $name) = @_;
	$backend->query_safe("CALL orm.begin('$session')");
	$backend->query_safe(
		qq(SELECT orm.add(NULL::users, '{"name": "$name"}')));
}

add($one, 'web', 'one');
add($two, 'web', 'two');
is($one->query_safe('SHOW orm.session'), 'web', 'a begun session is current');
is($one->query_safe($pending), 'web|Users|new',
	'one backend sees its own pending object');
is($two->query_safe($pending), 'web|Users|new', 'the other sees its own');
is($one->query_safe($names), 'one', 'autoflush writes its own only');
is($two->query_safe($names), 'two', 'and so in the other backend');

$one->query_safe('CALL orm.commit()');
$one->query_safe("CALL orm.close('web')");
is($one->query_safe('SHOW orm.session'),
	'main', 'until its transaction ends');
is($two->query_safe($names), "one\ntwo",
	'what is committed is seen by both');
$two->query_safe('CALL orm.rollback()');
$two->query_safe("CALL orm.close('web')");
is($one->query_safe($names), 'one', 'what is rolled back by none');
# not an empty result, which the module of some minor versions mistakes
is($two->query_safe('SELECT count(*) FROM orm.session_objects'), '0',
	'and nothing is left');

# two scopes in one backend
add($one, 'outer', 'outer');
add($one, 'inner', 'inner');
is( $one->query_safe($pending), "inner|Users|new\nouter|Users|new",
	'two scopes of one backend have objects of their own');
is($one->query_safe($names), "inner\none",
	'autoflush writes those of the current one');
$one->query_safe('CALL orm.rollback()');
$one->query_safe("CALL orm.close('inner')");
$one->query_safe('CALL orm.commit()');
$one->query_safe("CALL orm.close('outer')");
is($two->query_safe($names), "one\nouter", 'and its own end');

# The same row in both: the second waits for the first and then sees it.
$one->query_safe('BEGIN');
$one->query_safe(
	q(SELECT orm.set(orm.get(NULL::users, 1), '{"age": 1}'); SELECT orm.flush())
);
$two->query_until(
	qr/start/, q(
\echo start
SELECT orm.update_where(NULL::users, 'id = 1', set => 'age = age + 1');
SELECT age FROM users WHERE id = 1;
));
$node->poll_query_until('app',
	"SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
  or die 'nobody waits';
$one->query_safe('COMMIT');
is($two->query_safe('SELECT age FROM users WHERE id = 1'),
	"1\n2\n2", 'a bulk update waits for a flush and builds on it');

$_->quit for $one, $two;

done_testing();
