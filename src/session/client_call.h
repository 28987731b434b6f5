/*-------------------------------------------------------------------------
 *
 * client_call.h
 *	  A CALL that the client has sent as a statement of its own: the only
 *	  place where a transaction may be begun or ended.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_SESSION_CLIENT_CALL_H
#define PG_ORM_SESSION_CLIENT_CALL_H

#include "fmgr.h"
#include "nodes/plannodes.h"
#include "tcop/cmdtag.h"
#include "tcop/utility.h"

/* Once for each backend. */
extern void client_call_init(void);

/*
 * In place of standard_ProcessUtility(), where that is what would run: false
 * if it has to be called after all.
 */
extern bool client_call_run(PlannedStmt *plan, ProcessUtilityContext context);

/* Raises 2D000 unless the procedure is the client's own single statement. */
extern void client_call_start(FunctionCallInfo fcinfo, const char *call);
extern void client_call_end(void);

/*
 * After a change of the transaction's state: ends the command there even in a
 * pipeline, and reports it to the client as the command that it was.
 */
extern void client_call_did(CommandTag tag);

/* What happens meanwhile; from the hooks and callbacks. */
extern void client_call_statement_started(void);
extern void client_call_level_aborted(int level);
extern void client_call_xact_end(void);

#endif							/* PG_ORM_SESSION_CLIENT_CALL_H */
