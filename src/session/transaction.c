/*-------------------------------------------------------------------------
 *
 * transaction.c
 *	  The procedures orm.begin to orm.close: transactions and savepoints of a
 *	  session, as the client's own statements.
 *
 * Each procedure does what one SQL command does (BEGIN, SAVEPOINT, RELEASE,
 * ROLLBACK TO, COMMIT, ROLLBACK): it calls the same function of xact.c, which
 * only sets state that takes effect when the client's statement ends.  The
 * states in which those functions may not be called are FATAL there, so
 * everything hangs on client_call_start(), which lets nothing through but a
 * CALL that the client sent as a statement of its own.
 *
 * What is open is a stack of frames, innermost first, in
 * TopTransactionContext.  A frame is pushed and marked by the call, and what
 * then became of it is taken from the (sub)transaction callbacks: so a
 * statement that fails after the call, and the client's own ROLLBACK TO and
 * RELEASE, leave the stack as right as the calls do.  The callbacks look
 * nothing up, allocate nothing and raise nothing.
 *
 * Frames know their subtransaction by its nesting level, which is exact: the
 * start of level n ends all that was above n, and when n itself had been
 * started before, it is n's restart by ROLLBACK TO, as a savepoint cannot end
 * by abort in any other way but with the level below it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "tcop/cmdtag.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "session/client_call.h"
#include "session/internal.h"
#include "session/transaction.h"

/* What psql sets around each statement under ON_ERROR_ROLLBACK. */
#define PSQL_SAVEPOINT "pg_psql_temporary_savepoint"

typedef enum FrameKind
{
	FRAME_BLOCK,				/* the block that a session's begin opened */
	FRAME_SESSION,				/* a begin in a block of somebody else */
	FRAME_NESTED				/* begin_nested */
} FrameKind;

/* What the last call on a frame was about to do to its savepoint. */
typedef enum FrameEnding
{
	ENDING_NONE,
	ENDING_RELEASE,
	ENDING_ROLLBACK,
	ENDING_CLOSE
} FrameEnding;

typedef struct Frame
{
	struct Frame *below;
	FrameKind	kind;
	char		name[NAMEDATALEN];	/* of the savepoint */
	Session    *session;		/* NULL: spent */
	int			nest_level;
	bool		started;		/* its subtransaction has begun */
	bool		entered;		/* its begin made the session enter */
	bool		lost;			/* open, but its savepoint was released by
								 * somebody else; nest_level is where its work
								 * went */
	FrameEnding ending;
	int			hidden_level;	/* of somebody's savepoint of the same name
								 * above this one, or 0 */
	uint64		spent_at;		/* traces when it was spent */
} Frame;

static Frame *frames = NULL;

/*
 * Number of statements so far that may have left something behind which a
 * rollback would undo.  A spent savepoint is used again only if there was
 * none since, or what came between would be rolled back with it.
 */
static uint64 traces = 0;
static uint64 traces_before_call = 0;

/* The spent frame that the last call has opened again. */
static Frame *reopened = NULL;

/* ------------------------------------------------------------------------
 * blocks
 * ------------------------------------------------------------------------
 */

/*
 * Is a block open that the client (or a session) began?  The implicit block
 * of a pipeline (18 on) is none; beginning ends it, as BEGIN does.
 */
static bool
block_is_open(bool beginning)
{
	bool		any = IsTransactionBlock();
	bool		open;

	EndImplicitTransactionBlock();
	open = IsTransactionBlock();
	if (any && !open && !beginning)
		BeginImplicitTransactionBlock();
	return open;
}

/* ------------------------------------------------------------------------
 * the stack of frames
 * ------------------------------------------------------------------------
 */
static Frame *
frame_push(FrameKind kind, Session *session, const char *name, int nest_level)
{
	Frame	   *frame = MemoryContextAllocZero(TopTransactionContext,
											   sizeof(Frame));

	frame->kind = kind;
	frame->session = session;
	strlcpy(frame->name, name, NAMEDATALEN);
	frame->nest_level = nest_level;
	frame->below = frames;
	frames = frame;
	return frame;
}

static void
frame_end_scope(Frame *frame)
{
	if (frame->session == NULL || frame->kind == FRAME_NESTED)
		return;
	session_end_scope(frame->session);
	if (frame->entered)
		session_leave(frame->session);
}

static void
frame_pop(void)
{
	Frame	   *frame = frames;

	frame_end_scope(frame);
	if (reopened == frame)
		reopened = NULL;
	frames = frame->below;
	pfree(frame);
}

/* Its savepoint stands on, but nothing is open in it any more. */
static void
frame_spend(Frame *frame)
{
	frame_end_scope(frame);
	frame->session = NULL;
	frame->spent_at = traces;
}

/* The frame of the session's transaction, or NULL if it has not begun. */
static Frame *
session_frame(Session *session)
{
	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->session == session && frame->kind != FRAME_NESTED)
			return frame;
	}
	return NULL;
}

/*
 * The innermost or the outermost open savepoint of the session in its present
 * transaction, or NULL.
 */
static Frame *
nested_frame(Session *session, bool innermost)
{
	Frame	   *found = NULL;

	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->session != session)
			continue;
		if (frame->kind != FRAME_NESTED)
			break;
		found = frame;
		if (innermost)
			break;
	}
	return found;
}

static int
session_savepoint_count(Session *session)
{
	int			count = 0;

	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->session == session && frame->kind == FRAME_NESTED)
			count++;
	}
	return count;
}

/* A spent frame that serves for a new savepoint of that name, or NULL. */
static Frame *
spent_frame(FrameKind kind, const char *name)
{
	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->session != NULL || frame->spent_at != traces)
			break;
		if (frame->kind == kind && strcmp(frame->name, name) == 0)
			return frame;
	}
	return NULL;
}

static bool
any_fresh_frame(void)
{
	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->session == NULL && frame->spent_at == traces)
			return true;
	}
	return false;
}

/* 3B001 if something of another session is open inside the frame. */
static void
require_innermost(Frame *target)
{
	for (Frame *frame = frames; frame != target; frame = frame->below)
	{
		const char *name;

		if (frame->session == NULL || frame->session == target->session)
			continue;
		name = session_name(frame->session);
		ereport(ERROR,
				(errcode(ERRCODE_S_E_INVALID_SPECIFICATION),
				 target->kind == FRAME_NESTED ?
				 errmsg("cannot end savepoint \"%s\" while session \"%s\" is open inside it",
						target->name, name) :
				 errmsg("cannot end the transaction of session \"%s\" while session \"%s\" is open inside it",
						session_name(target->session), name),
				 errhint("Commit, roll back or close session \"%s\" first.",
						 name)));
	}
}

/* 3B001 if the frame's savepoint is not there or not in reach. */
static void
require_savepoint(Frame *frame)
{
	if (frame->lost)
		ereport(ERROR,
				(errcode(ERRCODE_S_E_INVALID_SPECIFICATION),
				 errmsg("savepoint \"%s\" is gone", frame->name),
				 errdetail("It was released with a savepoint around it, which the client had set."),
				 errhint("If the client sets a savepoint around each statement, switch that off (ON_ERROR_ROLLBACK in psql, autosave with cleanupSavepoints in JDBC).")));
	if (frame->hidden_level > 0)
		ereport(ERROR,
				(errcode(ERRCODE_S_E_INVALID_SPECIFICATION),
				 errmsg("savepoint \"%s\" of the session is hidden by another one of that name",
						frame->name),
				 errhint("Send RELEASE SAVEPOINT %s first.",
						 quote_identifier(frame->name))));
}

static void
require_closable(Frame *frame)
{
	require_innermost(frame);
	if (frame->kind != FRAME_BLOCK)
		require_savepoint(frame);
}

/* ------------------------------------------------------------------------
 * commands on savepoints
 * ------------------------------------------------------------------------
 */
static Frame *
savepoint_set(FrameKind kind, Session *session, const char *name)
{
	Frame	   *frame = spent_frame(kind, name);

	if (frame != NULL)
	{
		frame->session = session;
		frame->entered = false;
		reopened = frame;
	}
	else
	{
		frame = frame_push(kind, session, name,
						   GetCurrentTransactionNestLevel() + 1);
		DefineSavepoint(name);
	}
	client_call_did(CMDTAG_SAVEPOINT);
	return frame;
}

/* The frames go when their subtransactions are released. */
static void
savepoint_release(Frame *target)
{
	ReleaseSavepoint(target->name);
	for (Frame *frame = frames; frame != target; frame = frame->below)
		frame->ending = ENDING_RELEASE;
	target->ending = ENDING_RELEASE;
	client_call_did(CMDTAG_RELEASE);
}

/* The frame is spent when its subtransaction starts again. */
static void
savepoint_rollback_to(Frame *target, FrameEnding ending)
{
	RollbackToSavepoint(target->name);
	target->ending = ending;
	client_call_did(CMDTAG_ROLLBACK);
}

/* ------------------------------------------------------------------------
 * the calls
 * ------------------------------------------------------------------------
 */

static Frame *
block_begin(Session *session, const char *name)
{
	Frame	   *frame = frame_push(FRAME_BLOCK, session, name,
								   GetCurrentTransactionNestLevel());

	BeginTransactionBlock();
	client_call_did(CMDTAG_BEGIN);
	return frame;
}

/*
 * A slot of the session's engine is taken first, since that may fail, and
 * goes with the frame, unless the session has one since before its begin.
 */
static void
transaction_begin(Session *session)
{
	const char *name = session_name(session);
	bool		entered = session->entered;
	Frame	   *frame;

	if (session_frame(session) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("session \"%s\" has already begun a transaction",
						name),
				 errhint("CALL orm.begin_nested() sets a savepoint within it.")));
	session_enter(session);
	if (block_is_open(true))
		frame = savepoint_set(FRAME_SESSION, session, name);
	else
		frame = block_begin(session, name);
	frame->entered = !entered;
	session_begin_scope(session);
}

static void
transaction_begin_nested(Session *session)
{
	char		name[NAMEDATALEN];

	if (!block_is_open(false))
		ereport(ERROR,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("orm.begin_nested() can only be used in a transaction"),
				 errhint("CALL orm.begin() or send BEGIN first.")));
	session_flush(session, FLUSH_SAVEPOINT);
	snprintf(name, sizeof(name), "%s.%d", session_name(session),
			 session_savepoint_count(session) + 1);
	savepoint_set(FRAME_NESTED, session, name);
}

static Frame *
require_nested(Session *session)
{
	Frame	   *frame = nested_frame(session, true);

	if (frame == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_S_E_INVALID_SPECIFICATION),
				 errmsg("session \"%s\" has no savepoint",
						session_name(session)),
				 errhint("CALL orm.begin_nested() sets one.")));
	require_closable(frame);
	return frame;
}

static void
transaction_commit_nested(Session *session)
{
	Frame	   *frame = require_nested(session);

	session_flush(session, FLUSH_SAVEPOINT);
	savepoint_release(frame);
}

static void
transaction_rollback_nested(Session *session)
{
	savepoint_rollback_to(require_nested(session), ENDING_ROLLBACK);
}

/*
 * The outermost frame that ends with the session's transaction: its own, or
 * without orm.begin() its outermost savepoint; NULL if nothing is open.
 */
static Frame *
outermost_frame(Session *session)
{
	Frame	   *frame = session_frame(session);

	if (frame == NULL)
		frame = nested_frame(session, false);
	if (frame != NULL)
		require_closable(frame);
	return frame;
}

/* The session whose begin opened the block, or NULL if the client did. */
static Session *
block_owner(void)
{
	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->kind == FRAME_BLOCK)
			return frame->session;
	}
	return NULL;
}

static void
notice_not_committed(Session *session, bool releases)
{
	Session    *owner = block_owner();
	const char *name = session_name(session);
	char	   *whose = owner == NULL ? "the client's" :
		psprintf("session \"%s\"'s", session_name(owner));

	if (releases)
		ereport(NOTICE,
				(errmsg("session \"%s\" is flushed and its savepoint released; the transaction is %s and not committed yet",
						name, whose)));
	else
		ereport(NOTICE,
				(errmsg("session \"%s\" is flushed; the transaction is %s and not committed yet",
						name, whose)));
}

static void
transaction_commit(Session *session)
{
	Frame	   *frame = outermost_frame(session);

	if (frame != NULL && frame->kind == FRAME_BLOCK)
	{
		sessions_flush_all(FLUSH_COMMIT);
		if (!EndTransactionBlock(false))
			elog(ERROR, "could not end the transaction block");
		client_call_did(CMDTAG_COMMIT);
		return;
	}
	session_flush(session, FLUSH_COMMIT);
	if (block_is_open(false))
		notice_not_committed(session, frame != NULL);
	if (frame != NULL)
		savepoint_release(frame);
}

/* Returns false if nothing was open. */
static bool
transaction_undo(Session *session, FrameEnding ending)
{
	Frame	   *frame = outermost_frame(session);

	if (frame == NULL)
		return false;
	if (frame->kind == FRAME_BLOCK)
	{
		UserAbortTransactionBlock(false);
		frame->ending = ending;
		client_call_did(CMDTAG_ROLLBACK);
	}
	else
		savepoint_rollback_to(frame, ending);
	return true;
}

static void
transaction_rollback(Session *session)
{
	if (!transaction_undo(session, ENDING_ROLLBACK))
		session_discard_pending(session);
}

/*
 * The session is gone with its objects; or empty, if it has savepoints from
 * before its begin.
 */
static void
forget_session(Session *session)
{
	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->session == session)
		{
			identity_map_unlink_versions(session);
			identity_map_reset(session);
			return;
		}
	}
	session_drop(session);
}

static void
transaction_close(Session *session)
{
	if (!transaction_undo(session, ENDING_CLOSE))
		forget_session(session);
}

/* ------------------------------------------------------------------------
 * what became of it
 * ------------------------------------------------------------------------
 */

/* A level was released: its frames with it, or they have lost it. */
static void
level_committed(int level)
{
	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->hidden_level == level)
			frame->hidden_level = 0;
	}
	while (frames != NULL && frames->nest_level == level &&
		   (frames->ending == ENDING_RELEASE || frames->session == NULL))
		frame_pop();
	for (Frame *frame = frames;
		 frame != NULL && frame->nest_level == level;
		 frame = frame->below)
	{
		frame->lost = true;
		frame->nest_level = level - 1;
	}
}

/* What was set within the level is undone; the level itself may come back. */
static void
level_aborted(int level)
{
	client_call_level_aborted(level);
	if (reopened != NULL)
	{
		/* the call failed after all; the level may hold something by now */
		frame_spend(reopened);
		reopened->spent_at = PG_UINT64_MAX;
		reopened = NULL;
	}
	while (frames != NULL &&
		   (frames->nest_level > level ||
			(frames->nest_level == level && frames->lost)))
		frame_pop();
}

static void
level_restarted(Frame *frame)
{
	Session    *session = frame->session;
	FrameEnding ending = frame->ending;

	frame->ending = ENDING_NONE;
	if (ending == ENDING_NONE && session != NULL)
		return;					/* the client's own ROLLBACK TO */
	frame_spend(frame);
	if (ending == ENDING_CLOSE)
		forget_session(session);
}

static void
level_started(int level)
{
	while (frames != NULL && frames->nest_level > level)
		frame_pop();
	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->hidden_level > level)
			frame->hidden_level = 0;
	}
	if (frames == NULL || frames->nest_level != level)
		return;
	if (frames->started)
		level_restarted(frames);
	else
		frames->started = true;
}

void
transaction_subxact_event(SubXactEvent event, SubTransactionId my_subid,
						  SubTransactionId parent_subid)
{
	int			level = GetCurrentTransactionNestLevel();

	switch (event)
	{
		case SUBXACT_EVENT_START_SUB:
			level_started(level);
			break;
		case SUBXACT_EVENT_COMMIT_SUB:
			level_committed(level);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			level_aborted(level);
			break;
		default:
			break;
	}
}

void
transaction_xact_event(XactEvent event)
{
	while (frames != NULL)
	{
		Session    *session = frames->session;
		bool		close = frames->ending == ENDING_CLOSE;

		frame_pop();
		if (close && session != NULL)
			forget_session(session);
	}
	client_call_xact_end();
}

/*
 * May the statement leave anything behind that a rollback would undo?  A
 * query may if it writes, locks rows, or calls a volatile function.  There is
 * no walker for plans, so the functions are read off the printed plan.
 */
static bool
statement_leaves_trace(PlannedStmt *plan)
{
	Node	   *utility = plan->utilityStmt;
	char	   *text;

	if (utility != NULL && IsA(utility, TransactionStmt))
	{
		TransactionStmt *stmt = (TransactionStmt *) utility;

		/* psql never goes back to the one before a statement that worked */
		return stmt->savepoint_name == NULL ||
			stmt->kind == TRANS_STMT_ROLLBACK_TO ||
			strcmp(stmt->savepoint_name, PSQL_SAVEPOINT) != 0;
	}
	if (utility != NULL)
		return !IsA(utility, VariableShowStmt);
	if (plan->commandType != CMD_SELECT || plan->hasModifyingCTE ||
		plan->rowMarks != NIL)
		return true;

	text = nodeToString(plan);
	while ((text = strstr(text, "funcid ")) != NULL)
	{
		Oid			function;

		text += strlen("funcid ");
		function = atooid(text);
		if (OidIsValid(function) &&
			func_volatile(function) == PROVOLATILE_VOLATILE)
			return true;
	}
	return false;
}

/* Frames of that name will be out of reach. */
static void
savepoint_of_client(const char *name)
{
	for (Frame *frame = frames; frame != NULL; frame = frame->below)
	{
		if (frame->session != NULL && frame->hidden_level == 0 &&
			strcmp(frame->name, name) == 0)
			frame->hidden_level = GetCurrentTransactionNestLevel() + 1;
	}
}

void
transaction_statement_started(PlannedStmt *plan)
{
	TransactionStmt *stmt = (TransactionStmt *) plan->utilityStmt;

	client_call_statement_started();
	reopened = NULL;
	traces_before_call = traces;
	if (any_fresh_frame() && statement_leaves_trace(plan))
		traces++;
	if (stmt != NULL && IsA(stmt, TransactionStmt) &&
		stmt->kind == TRANS_STMT_SAVEPOINT)
		savepoint_of_client(stmt->savepoint_name);
}

/* ------------------------------------------------------------------------
 * SQL
 * ------------------------------------------------------------------------
 */
static void
transaction_call_start(FunctionCallInfo fcinfo, const char *call)
{
	client_call_start(fcinfo, call);

	/* The CALL itself is no trace; the rest of it will be seen by itself. */
	traces = traces_before_call;
}

static Session *
session_argument(FunctionCallInfo fcinfo)
{
	if (PG_NARGS() == 0 || PG_ARGISNULL(0))
		return session_in_scope();
	return session_open(text_to_cstring(PG_GETARG_TEXT_PP(0)));
}

PG_FUNCTION_INFO_V1(orm_begin);
Datum
orm_begin(PG_FUNCTION_ARGS)
{
	transaction_call_start(fcinfo, "orm.begin()");
	transaction_begin(session_argument(fcinfo));
	client_call_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orm_begin_nested);
Datum
orm_begin_nested(PG_FUNCTION_ARGS)
{
	transaction_call_start(fcinfo, "orm.begin_nested()");
	transaction_begin_nested(session_in_scope());
	client_call_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orm_commit_nested);
Datum
orm_commit_nested(PG_FUNCTION_ARGS)
{
	transaction_call_start(fcinfo, "orm.commit_nested()");
	transaction_commit_nested(session_in_scope());
	client_call_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orm_rollback_nested);
Datum
orm_rollback_nested(PG_FUNCTION_ARGS)
{
	transaction_call_start(fcinfo, "orm.rollback_nested()");
	transaction_rollback_nested(session_in_scope());
	client_call_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orm_commit);
Datum
orm_commit(PG_FUNCTION_ARGS)
{
	transaction_call_start(fcinfo, "orm.commit()");
	transaction_commit(session_in_scope());
	client_call_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orm_rollback);
Datum
orm_rollback(PG_FUNCTION_ARGS)
{
	transaction_call_start(fcinfo, "orm.rollback()");
	transaction_rollback(session_in_scope());
	client_call_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orm_close);
Datum
orm_close(PG_FUNCTION_ARGS)
{
	transaction_call_start(fcinfo, "orm.close()");
	transaction_close(session_argument(fcinfo));
	client_call_end();
	PG_RETURN_VOID();
}
