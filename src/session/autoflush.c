/*-------------------------------------------------------------------------
 *
 * autoflush.c
 *	  The hooks: flushing before statements that may read tables, and expiring
 *	  objects whose rows a statement has changed.  Every executor and utility
 *	  hook of the extension is installed here and only hands over.
 *
 * A statement sees what a flush before it wrote because its snapshot's
 * command counter is moved on, which is right only while nobody else holds
 * that snapshot: a query inside a STABLE function shares the outer one's, and
 * must see what that sees.
 *
 * Nothing is looked at while nothing is pending and no object is loaded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "pg_orm.h"
#include "session/client_call.h"
#include "session/internal.h"
#include "session/transaction.h"

static ExecutorStart_hook_type previous_executor_start = NULL;
static ExecutorFinish_hook_type previous_executor_finish = NULL;
static ExecutorEnd_hook_type previous_executor_end = NULL;
static ProcessUtility_hook_type previous_process_utility = NULL;

/*
 * While EXECUTE starts its statement: the snapshot that it shares with its
 * portal, which has registered it.
 */
static Snapshot execute_snapshot = NULL;

/*
 * Hash values of our own functions that flush by themselves, as plans name
 * what they depend on; made when first wanted, dropped when pg_proc changes.
 */
static uint32 *own_functions = NULL;
static int	nown_functions = 0;
static bool own_functions_valid = false;

/* ------------------------------------------------------------------------
 * may a statement read what is pending?
 * ------------------------------------------------------------------------
 */
static void
own_functions_invalidate(Datum arg, int cacheid, uint32 hashvalue)
{
	own_functions_valid = false;
}

/*
 * Our functions that are VOLATILE flush by themselves where they go to the
 * tables; a STABLE one (orm.to_one) reads with the statement's snapshot.
 */
static void
own_functions_add(Oid function)
{
	if (func_volatile(function) != PROVOLATILE_VOLATILE)
		return;
	if (nown_functions % 64 == 0)
	{
		Size		size = (nown_functions + 64) * sizeof(uint32);

		own_functions = own_functions == NULL ?
			MemoryContextAlloc(CacheMemoryContext, size) :
			repalloc(own_functions, size);
	}
	own_functions[nown_functions++] =
		GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(function));
}

/* The members of the extension, from pg_depend. */
static void
own_functions_load(void)
{
	Relation	depend;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	own_functions_valid = true;
	nown_functions = 0;
	if (own_functions != NULL)
		pfree(own_functions);
	own_functions = NULL;
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(get_extension_oid("pg_orm", true)));
	depend = table_open(DependRelationId, AccessShareLock);
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2,
							  keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == ProcedureRelationId &&
			form->deptype == DEPENDENCY_EXTENSION)
			own_functions_add(form->objid);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

static bool
is_own_function(uint32 hashvalue)
{
	if (!own_functions_valid)
		own_functions_load();
	for (int i = 0; i < nown_functions; i++)
	{
		if (own_functions[i] == hashvalue)
			return true;
	}
	return false;
}

/* Does it read a relation, or call a function, beyond pg_catalog and orm? */
static bool
statement_may_read(PlannedStmt *statement)
{
	Oid			orm_schema = get_namespace_oid(ORM_SCHEMA, true);
	ListCell   *cell;

	foreach(cell, statement->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (rte->rtekind == RTE_RELATION &&
			!IsCatalogRelationOid(rte->relid) &&
			get_rel_namespace(rte->relid) != orm_schema)
			return true;
	}
	/* the planner notes every function that is not built in */
	foreach(cell, statement->invalItems)
	{
		PlanInvalItem *item = lfirst(cell);

		if (item->cacheId == PROCOID && !is_own_function(item->hashValue))
			return true;
	}
	return false;
}

static bool
session_can_flush(Session *session)
{
	return session->nunflushed > 0 && !session->flushing &&
		!IsInParallelMode() && !InSecurityRestrictedOperation();
}

/* The current session, if it can and should flush now. */
static Session *
session_to_autoflush(void)
{
	Session    *session = session_current_if_any();

	return session != NULL && session_autoflushes(session) &&
		session_can_flush(session) ? session : NULL;
}

void
session_autoflush(Session *session)
{
	if (session_autoflushes(session) && session_can_flush(session))
		session_flush(session, FLUSH_AUTOFLUSH);
}

/* ------------------------------------------------------------------------
 * executor hooks
 * ------------------------------------------------------------------------
 */

/* Does nobody but the statement hold its snapshot? */
static bool
snapshot_is_its_own(QueryDesc *query_desc)
{
	Snapshot	snapshot = query_desc->snapshot;

	return snapshot != NULL &&
		snapshot->regd_count == (snapshot == execute_snapshot ? 2 : 1);
}

static void
flush_before(QueryDesc *query_desc, int eflags)
{
	Session    *session;

	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) ||
		!snapshot_is_its_own(query_desc) || is_own_statement(query_desc))
		return;
	session = session_to_autoflush();
	if (session == NULL || !statement_may_read(query_desc->plannedstmt))
		return;
	session_flush(session, FLUSH_AUTOFLUSH);
	query_desc->snapshot->curcid = GetCurrentCommandId(false);
}

/* It leaves nothing pending that was not so before. */
static bool
is_statement_of_flush(QueryDesc *query_desc)
{
	Session    *session = is_own_statement(query_desc) ?
	session_current_if_any() : NULL;

	return session != NULL && session->flushing;
}

static void
orm_executor_start(QueryDesc *query_desc, int eflags)
{
	transaction_statement_started(query_desc->plannedstmt);
	if (sessions_unflushed_count > 0 && !is_statement_of_flush(query_desc))
	{
		commit_flush_arm();
		flush_before(query_desc, eflags);
	}
	execute_snapshot = NULL;
	if (own_statement_observer != NULL && is_own_statement(query_desc))
		own_statement_observer->started(query_desc);
	if (previous_executor_start)
		previous_executor_start(query_desc, eflags);
	else
		standard_ExecutorStart(query_desc, eflags);
}

/* Before the AFTER triggers, so that they see what the statement wrote. */
static void
orm_executor_finish(QueryDesc *query_desc)
{
	PlannedStmt *statement = query_desc->plannedstmt;

	if (sessions_object_count > 0 && statement->resultRelations != NIL &&
		!is_own_statement(query_desc))
	{
		ListCell   *cell;

		foreach(cell, statement->resultRelations)
			sessions_expire_written(rt_fetch(lfirst_int(cell),
											 statement->rtable)->relid, NULL);
	}
	if (previous_executor_finish)
		previous_executor_finish(query_desc);
	else
		standard_ExecutorFinish(query_desc);
}

static void
orm_executor_end(QueryDesc *query_desc)
{
	if (own_statement_observer != NULL && is_own_statement(query_desc))
		own_statement_observer->ended(query_desc);
	if (previous_executor_end)
		previous_executor_end(query_desc);
	else
		standard_ExecutorEnd(query_desc);
}

/* ------------------------------------------------------------------------
 * utility hook
 * ------------------------------------------------------------------------
 */
static bool
is_transaction_end(Node *statement)
{
	return IsA(statement, TransactionStmt) &&
		(castNode(TransactionStmt, statement)->kind == TRANS_STMT_COMMIT ||
		 castNode(TransactionStmt, statement)->kind == TRANS_STMT_PREPARE);
}

/* Utility statements that read or replace rows, or that set a savepoint. */
static bool
utility_needs_flush(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_TransactionStmt:
			return castNode(TransactionStmt, statement)->kind ==
				TRANS_STMT_SAVEPOINT;
		case T_CopyStmt:
		case T_TruncateStmt:
		case T_LockStmt:
		case T_RefreshMatViewStmt:
		case T_ClusterStmt:
		case T_ReindexStmt:
			return true;
		default:
			return GetCommandLogLevel(statement) == LOGSTMT_DDL;
	}
}

static bool
may_flush_now(void)
{
	return sessions_unflushed_count > 0 && IsTransactionState() &&
		!IsAbortedTransactionBlockState();
}

static void
flush_with_snapshot(Session *session, FlushReason reason)
{
	bool		push = !ActiveSnapshotSet();

	if (push)
		PushActiveSnapshot(GetTransactionSnapshot());
	if (session == NULL)
		sessions_flush_all(reason);
	else
		session_flush(session, reason);
	if (push)
		PopActiveSnapshot();
	else
		GetActiveSnapshot()->curcid = GetCurrentCommandId(false);
}

static void
flush_before_utility(Node *statement)
{
	Session    *session;

	if (!may_flush_now() || !utility_needs_flush(statement))
		return;
	session = session_to_autoflush();
	if (session != NULL)
		flush_with_snapshot(session, IsA(statement, TransactionStmt) ?
							FLUSH_SAVEPOINT : FLUSH_AUTOFLUSH);
}

/*
 * COMMIT and PREPARE TRANSACTION have been accepted and take effect when the
 * statement ends: an error now ends the transaction, as that of a deferred
 * constraint does.  (The commit portal would flush as well, but no longer
 * under statement_timeout.)  Not below a savepoint, where no subtransaction
 * can begin any more: there it is left to the portal.
 */
static void
flush_at_transaction_end(Node *statement)
{
	if (is_transaction_end(statement) && may_flush_now() &&
		GetCurrentTransactionNestLevel() == 1)
		flush_with_snapshot(NULL, FLUSH_COMMIT);
}

/*
 * Does a utility statement change rows, or what a relation shows, without
 * the executor's knowledge?
 */
static bool
utility_changes_rows(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CopyStmt:
		case T_TruncateStmt:
		case T_AlterTableStmt:	/* may compute columns anew */
		case T_DropStmt:		/* perhaps a partition */
		case T_DropOwnedStmt:
		case T_ViewStmt:
		case T_RefreshMatViewStmt:
			return true;
		default:
			return false;
	}
}

static void
expire_after_utility(Node *statement)
{
	if (IsA(statement, CopyStmt))
	{
		CopyStmt   *copy = castNode(CopyStmt, statement);
		Oid			relid;

		if (!copy->is_from || copy->relation == NULL)
			return;
		relid = RangeVarGetRelid(copy->relation, NoLock, true);
		if (OidIsValid(relid))
			sessions_expire_written(relid, NULL);
	}
	else
		sessions_expire_model(InvalidOid, NULL);
}

static void
orm_process_utility(PlannedStmt *pstmt, const char *query_string,
					bool read_only_tree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *query_env,
					DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *statement = pstmt->utilityStmt;
	bool		is_discard_all,
				expire;

	is_discard_all = IsA(statement, DiscardStmt) &&
		castNode(DiscardStmt, statement)->target == DISCARD_ALL;
	expire = sessions_object_count > 0 && utility_changes_rows(statement);
	if (sessions_unflushed_count > 0)
		flush_before_utility(statement);
	execute_snapshot = IsA(statement, ExecuteStmt) && ActivePortal != NULL ?
		ActivePortal->holdSnapshot : NULL;
	transaction_statement_started(pstmt);
	if (previous_process_utility)
		previous_process_utility(pstmt, query_string, read_only_tree, context,
								 params, query_env, dest, qc);
	else if (!client_call_run(pstmt, context))
		standard_ProcessUtility(pstmt, query_string, read_only_tree, context,
								params, query_env, dest, qc);
	flush_at_transaction_end(statement);
	if (expire)
		expire_after_utility(statement);
	if (is_discard_all)
		sessions_drop_all();
}

void
autoflush_init(void)
{
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = orm_executor_start;
	previous_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = orm_executor_finish;
	previous_executor_end = ExecutorEnd_hook;
	ExecutorEnd_hook = orm_executor_end;
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = orm_process_utility;
	client_call_init();
	CacheRegisterSyscacheCallback(PROCOID, own_functions_invalidate, (Datum) 0);
}
