# Random models, selections and documents, read and written, checked against
# the plain rows (test/fuzz/documents.py).
# ORM_FUZZ_SEEDS is the number of runs.
use strict;
use warnings;

use PgOrmTest;

random_programs('documents.py', 6, 30,
	extra => [ '--locale=C.UTF-8', '--encoding=UTF8' ]);
