# Random sequences of transaction calls, savepoints and errors, predicted by a
# model (test/fuzz/transactions.py).  ORM_FUZZ_SEEDS is the number of sequences.
use strict;
use warnings;

use PgOrmTest;

random_programs('transactions.py', 6, 600);
