/*-------------------------------------------------------------------------
 *
 * client_call.c
 *	  The transaction procedures' CALLs: their guard, and a short way to run
 *	  them.
 *
 * xact.c answers a call in a state that it does not expect by FATAL, so what
 * is let through here decides whether the client keeps its connection.  That
 * the client's portal runs a CALL with our expression is not enough: a
 * function in an argument of it, or a trigger of our own flush, could run the
 * same CALL within it.
 *
 * A CALL without arguments is also run from here, without what ExecuteCallStmt
 * makes to evaluate them (a copy of the statement, a snapshot, an executor's
 * state): half of what beginning and ending a transaction by calls would cost.
 *
 * The static state is that of the one procedure that may run; it is reset
 * when the transaction, or the subtransaction that the procedure was called
 * in, ends.  The procedures that have been run are remembered for as long as
 * pg_proc does not change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "nodes/primnodes.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "session/client_call.h"

/* Nesting level that the procedure which runs was called at, or 0. */
static int	running_level = 0;

/* Procedures that have been run; there are fewer than this. */
#define MAX_PROCEDURES 16
static FmgrInfo procedures[MAX_PROCEDURES];
static int	nprocedures = 0;

/* We have set XACT_FLAGS_NEEDIMMEDIATECOMMIT. */
static bool immediate_commit_set = false;

/* ------------------------------------------------------------------------
 * what is refused
 * ------------------------------------------------------------------------
 */
static void
refuse_call(const char *call, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
			 errmsg("%s must be a statement that the client sends by itself",
					call),
			 errdetail("%s", detail),
			 errhint("Send the CALL alone, with constants or parameters. Functions, procedures and DO blocks use orm.flush(), and an exception block to undo something.")));
}

/* The CALL that the client's portal runs, or NULL if it runs something else. */
static CallStmt *
portal_call(void)
{
	PlannedStmt *plan;

	if (ActivePortal == NULL || ActivePortal->status != PORTAL_ACTIVE ||
		list_length(ActivePortal->stmts) != 1)
		return NULL;
	plan = linitial_node(PlannedStmt, ActivePortal->stmts);
	if (plan->utilityStmt == NULL || !IsA(plan->utilityStmt, CallStmt))
		return NULL;
	return (CallStmt *) plan->utilityStmt;
}

/* No user code can have run between ProcessUtility and us to make these. */
static bool
arguments_are_plain(List *args)
{
	ListCell   *cell;

	foreach(cell, args)
	{
		Node	   *arg = lfirst(cell);

		while (IsA(arg, RelabelType))
			arg = (Node *) ((RelabelType *) arg)->arg;
		if (!IsA(arg, Const) && !IsA(arg, Param))
			return false;
	}
	return true;
}

/*
 * Statements of a query string are separated by semicolons, so one that has
 * none, or none but at its end, need not be parsed to be counted.
 */
static bool
is_single_statement(const char *source)
{
	const char *semicolon = strchr(source, ';');

	if (semicolon == NULL ||
		semicolon[strspn(semicolon, "; \t\n\r\f")] == '\0')
		return true;
	return list_length(raw_parser(source, RAW_PARSE_DEFAULT)) == 1;
}

/* ------------------------------------------------------------------------
 * running a CALL
 * ------------------------------------------------------------------------
 */
static void
procedures_forget(Datum arg, int cacheid, uint32 hashvalue)
{
	nprocedures = 0;
}

static FmgrInfo *
procedure_by_oid(Oid oid)
{
	for (int i = 0; i < nprocedures; i++)
	{
		if (procedures[i].fn_oid == oid)
			return &procedures[i];
	}
	return NULL;
}

static void
procedure_remember(Oid oid)
{
	FmgrInfo	info;

	if (nprocedures == MAX_PROCEDURES || procedure_by_oid(oid) != NULL)
		return;
	/* it looks pg_proc up, so that procedures may be forgotten meanwhile */
	fmgr_info_cxt(oid, &info, TopMemoryContext);
	procedures[nprocedures++] = info;
}

/*
 * Runs a CALL of one of the transaction procedures, with no arguments, as
 * ExecuteCallStmt does.  Returns false if it is anything else, or the first of
 * its procedure.
 */
bool
client_call_run(PlannedStmt *plan, ProcessUtilityContext context)
{
	LOCAL_FCINFO(fcinfo, 0);
	FuncExpr   *call;
	FmgrInfo   *procedure;
	FmgrInfo	info;
	CallContext *call_context;
	PgStat_FunctionCallUsage usage;

	if (!IsA(plan->utilityStmt, CallStmt) ||
		context != PROCESS_UTILITY_TOPLEVEL)
		return false;
	call = ((CallStmt *) plan->utilityStmt)->funcexpr;
	procedure = procedure_by_oid(call->funcid);
	if (procedure == NULL || call->args != NIL)
		return false;

	fmgr_info_copy(&info, procedure, CurrentMemoryContext);
	fmgr_info_set_expr((Node *) call, &info);
	if (compat_proc_aclcheck(info.fn_oid, GetUserId(),
							 ACL_EXECUTE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_PROCEDURE,
					   get_func_name(info.fn_oid));
	InvokeFunctionExecuteHook(info.fn_oid);

	call_context = makeNode(CallContext);
	call_context->atomic = IsTransactionBlock();
	InitFunctionCallInfoData(*fcinfo, &info, 0, call->inputcollid,
							 (Node *) call_context, NULL);
	pgstat_init_function_usage(fcinfo, &usage);
	FunctionCallInvoke(fcinfo);
	pgstat_end_function_usage(&usage, true);
	CommandCounterIncrement();
	return true;
}

void
client_call_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, procedures_forget, (Datum) 0);
}

/* ------------------------------------------------------------------------
 * within the procedures
 * ------------------------------------------------------------------------
 */
void
client_call_start(FunctionCallInfo fcinfo, const char *call)
{
	CallStmt   *stmt = portal_call();

	if (running_level > 0)
		refuse_call(call, "Another call of this kind is running.");
	if (MyBackendType != B_BACKEND && MyBackendType != B_WAL_SENDER)
		refuse_call(call, "This process has no client.");

	/* the portal's tree may be a copy of what runs */
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		stmt == NULL || !equal(stmt->funcexpr, fcinfo->flinfo->fn_expr))
		refuse_call(call, "It was called from within another statement.");
	if (!arguments_are_plain(stmt->funcexpr->args))
		refuse_call(call, "Its argument is neither a constant nor a parameter.");
	if (!is_single_statement(ActivePortal->sourceText))
		refuse_call(call, "It is one of several statements in a query string.");

	procedure_remember(fcinfo->flinfo->fn_oid);
	running_level = GetCurrentTransactionNestLevel();
}

void
client_call_end(void)
{
	running_level = 0;
}

void
client_call_did(CommandTag tag)
{
	MyXactFlags |= XACT_FLAGS_NEEDIMMEDIATECOMMIT;
	immediate_commit_set = true;

	/* the portal's tag is used where the statement has set none of its own */
	SetQueryCompletion(&ActivePortal->qc, tag, 0);
}

/*
 * The command that set the flag has ended.  Where its transaction goes on
 * postgres.c does not expect it.
 */
void
client_call_statement_started(void)
{
	if (!immediate_commit_set)
		return;
	MyXactFlags &= ~XACT_FLAGS_NEEDIMMEDIATECOMMIT;
	immediate_commit_set = false;
}

void
client_call_level_aborted(int level)
{
	if (running_level >= level)
		running_level = 0;
}

void
client_call_xact_end(void)
{
	running_level = 0;
	immediate_commit_set = false;
}
