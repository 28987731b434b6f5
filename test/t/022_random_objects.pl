# Random work on the objects of sessions, checked against the stored rows and
# against what was there at each savepoint (test/fuzz/sessions.py).
# ORM_FUZZ_SEEDS is the number of sequences.
use strict;
use warnings;

use PgOrmTest;

random_programs('sessions.py', 6, 60);
