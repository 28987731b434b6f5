/*-------------------------------------------------------------------------
 *
 * transaction.h
 *	  The procedures orm.begin to orm.close, as the other files of the
 *	  session module see them: what they report to transaction.c.
 *
 * The events run in (sub)transaction callbacks: they look nothing up,
 * allocate nothing and raise nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_SESSION_TRANSACTION_H
#define PG_ORM_SESSION_TRANSACTION_H

#include "access/xact.h"
#include "nodes/plannodes.h"

/*
 * From the one transaction callback, at XACT_EVENT_COMMIT, _PREPARE and
 * _ABORT, while the sessions are still there: scopes end, and sessions that
 * orm.close() closed are dropped.
 */
extern void transaction_xact_event(XactEvent event);

/* From the one subtransaction callback, after the objects were rolled back. */
extern void transaction_subxact_event(SubXactEvent event,
									  SubTransactionId my_subid,
									  SubTransactionId parent_subid);

/*
 * From the hooks for every statement, plain or utility, immediately before it
 * is passed on to ExecutorStart or ProcessUtility (so after a flush).
 */
extern void transaction_statement_started(PlannedStmt *plan);

#endif							/* PG_ORM_SESSION_TRANSACTION_H */
