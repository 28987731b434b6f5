# Hostile text and JSON in every parameter: a part of what
# test/trust/untrusted_text does.
use strict;
use warnings;

use PgOrmTest;

my $node = python_server(q(
log_min_messages = fatal
log_statement = none
));
python_checks($node, 'untrusted.py', 'quick');
