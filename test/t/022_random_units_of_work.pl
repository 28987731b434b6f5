# Random programs of session calls, savepoints, raw SQL and errors, compared
# with a model (test/fuzz/unit_of_work.py).  ORM_FUZZ_SEEDS is the number of
# runs of 100 programs.
use strict;
use warnings;

use PgOrmTest;

random_programs('unit_of_work.py', 3, 100,
	extra => [ '--locale=C', '--encoding=UTF8' ]);
