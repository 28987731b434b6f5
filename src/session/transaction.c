/*-------------------------------------------------------------------------
 *
 * transaction.c
 *	  The transaction calls, orm.begin to orm.close: they come next.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "session/internal.h"
#include "session/transaction.h"

void
transaction_xact_event(XactEvent event)
{
}

void
transaction_subxact_event(SubXactEvent event, SubTransactionId my_subid,
						  SubTransactionId parent_subid)
{
}

void
transaction_statement_started(PlannedStmt *plan)
{
}

void
transaction_utility_done(PlannedStmt *plan)
{
}
