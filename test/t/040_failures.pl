# Failures at every step of calls leave nothing behind: a part of what
# test/trust/failures does.
use strict;
use warnings;

use PgOrmTest;

my $node = python_server(q(
log_min_messages = warning
log_statement = none
));
python_checks($node, 'failures.py', 'quick', $node->logfile);
