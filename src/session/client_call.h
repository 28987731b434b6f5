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
#include "tcop/cmdtag.h"

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
