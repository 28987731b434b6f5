/*-------------------------------------------------------------------------
 *
 * own_statement.c
 *	  Statements of pg_orm's own: run by SPI, or as a scan whose rows are
 *	  asked for one by one.
 *
 * The hooks tell them by the DestReceiver of their QueryDesc.  A scan is an
 * executor run within another one: it lives in the memory context that was
 * current when it began, and its locks, snapshot and plan belong to the
 * resource owner of then, so that an error or the end of the portal leaves
 * nothing of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "nodes/plannodes.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "model/snapshot.h"
#include "session/internal.h"

/* ------------------------------------------------------------------------
 * run at once
 * ------------------------------------------------------------------------
 */

/* Marks the QueryDesc of our own statement, and passes its rows on. */
typedef struct OwnReceiver
{
	DestReceiver pub;
	DestReceiver *inner;
} OwnReceiver;

static bool
own_receive(TupleTableSlot *slot, DestReceiver *self)
{
	DestReceiver *inner = ((OwnReceiver *) self)->inner;

	return inner->receiveSlot(slot, inner);
}

static void
own_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	DestReceiver *inner = ((OwnReceiver *) self)->inner;

	inner->rStartup(inner, operation, typeinfo);
}

static void
own_shutdown(DestReceiver *self)
{
	DestReceiver *inner = ((OwnReceiver *) self)->inner;

	inner->rShutdown(inner);
}

static void
own_destroy(DestReceiver *self)
{
}

static OwnReceiver
own_receiver(DestReceiver *inner)
{
	OwnReceiver receiver = {
		.pub = {own_receive, own_startup, own_shutdown, own_destroy, DestNone},
		.inner = inner
	};

	return receiver;
}

bool
is_own_statement(QueryDesc *query_desc)
{
	return query_desc->dest != NULL &&
		query_desc->dest->rDestroy == own_destroy;
}

const OwnStatementObserver *own_statement_observer = NULL;

/* Every generated statement is shown at DEBUG1. */
void
own_statement_show(SPIPlanPtr plan)
{
	List	   *sources;

	if (!message_level_is_interesting(DEBUG1))
		return;
	sources = SPI_plan_get_plan_sources(plan);
	ereport(DEBUG1,
			(errmsg_internal("%s", ((CachedPlanSource *) linitial(sources))->query_string)));
}

ParamListInfo
own_statement_params(SPIPlanPtr plan, Datum *values, const char *nulls)
{
	int			nargs = SPI_getargcount(plan);
	ParamListInfo params;

	if (nargs == 0)
		return NULL;
	params = makeParamList(nargs);
	for (int i = 0; i < nargs; i++)
	{
		ParamExternData *param = &params->params[i];

		param->value = values[i];
		param->isnull = nulls != NULL && nulls[i] == 'n';
		param->pflags = PARAM_FLAG_CONST;
		param->ptype = SPI_getargtypeid(plan, i);
	}
	return params;
}

static uint64
own_statement_run(SPIPlanPtr plan, Datum *values, const char *nulls,
				  DestReceiver *dest, bool read_only)
{
	OwnReceiver receiver = own_receiver(dest);
	SPIExecuteOptions options = {0};
	int			result;

	options.params = own_statement_params(plan, values, nulls);
	options.dest = &receiver.pub;
	options.read_only = read_only;
	own_statement_show(plan);
	result = SPI_execute_plan_extended(plan, &options);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

uint64
own_statement_execute(SPIPlanPtr plan, Datum *values, const char *nulls,
					  DestReceiver *dest)
{
	return own_statement_run(plan, values, nulls, dest, false);
}

uint64
own_statement_read(SPIPlanPtr plan, Datum *values, const char *nulls,
				   DestReceiver *dest)
{
	uint64		nrows = own_statement_run(plan, values, nulls, dest, true);

	plan_check_snapshot(plan);
	return nrows;
}

/* ------------------------------------------------------------------------
 * row by row
 * ------------------------------------------------------------------------
 */

/* As SPI's own says it. */
static void
own_scan_error_callback(void *arg)
{
	errcontext("SQL statement \"%s\"", (const char *) arg);
}

/*
 * Functions that may read tables do so with the query's snapshot; nothing
 * else needs it to be the active one, and making it so costs something for
 * each row.
 */
static bool
plan_needs_snapshot(PlannedStmt *statement, bool is_mutable)
{
	return is_mutable || statement->invalItems != NIL ||
		statement->subplans != NIL || statement->dependsOnRole;
}

/* Is it a scan of one table, which hands out the table's own tuples? */
static bool
plan_scans_table(Plan *plan)
{
	if (IsA(plan, Limit))
		plan = outerPlan(plan);
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_IndexScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
			return true;
		default:
			return false;
	}
}

static bool
plan_is_suitable(CachedPlan *plan, bool stored_tuples)
{
	PlannedStmt *statement = linitial_node(PlannedStmt, plan->stmt_list);

	return !statement->parallelModeNeeded &&
		(!stored_tuples || plan_scans_table(statement->planTree));
}

static void
own_scan_start(OwnScan *scan, const char *text, ParamListInfo params,
			   bool is_mutable)
{
	PlannedStmt *statement = linitial_node(PlannedStmt,
										   scan->plan->stmt_list);

	scan->query_desc = CreateQueryDesc(statement, text, GetActiveSnapshot(),
									   InvalidSnapshot, &scan->receiver->pub,
									   params, NULL, 0);
	ExecutorStart(scan->query_desc, EXEC_FLAG_SKIP_TRIGGERS);
	scan->planstate = scan->query_desc->planstate;
	scan->context = scan->query_desc->estate->es_query_cxt;
	if (plan_needs_snapshot(statement, is_mutable))
		scan->snapshot = scan->query_desc->estate->es_snapshot;
}

OwnScan *
own_scan_begin(SPIPlanPtr plan, Datum *values, const char *nulls,
			   bool is_mutable, bool stored_tuples)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	ParamListInfo params = own_statement_params(plan, values, nulls);
	OwnScan    *scan = palloc0(sizeof(OwnScan));

	scan->callback.callback = own_scan_error_callback;
	scan->callback.arg = unconstify(char *, source->query_string);
	scan->receiver = palloc(sizeof(OwnReceiver));
	*scan->receiver = own_receiver(None_Receiver);
	scan->owner = CurrentResourceOwner;
	own_scan_enter(scan);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	scan->plan = GetCachedPlan(source, params, scan->owner, NULL);
	PopActiveSnapshot();
	if (!plan_is_suitable(scan->plan, stored_tuples))
	{
		ReleaseCachedPlan(scan->plan, scan->owner);
		own_scan_leave(scan);	/* before it is gone */
		pfree(scan);
		return NULL;
	}
	own_statement_show(plan);

	/* as a statement's, from after its tables are locked */
	PushActiveSnapshot(GetTransactionSnapshot());
	own_scan_start(scan, source->query_string, params, is_mutable);
	PopActiveSnapshot();
	own_scan_leave(scan);
	return scan;
}

void
own_scan_rescan(OwnScan *scan)
{
	EState	   *estate = scan->query_desc->estate;
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);

	own_scan_enter(scan);
	PushActiveSnapshot(estate->es_snapshot);
	ExecReScan(scan->planstate);
	PopActiveSnapshot();
	own_scan_leave(scan);
	MemoryContextSwitchTo(old);
}

void
own_scan_end(OwnScan *scan)
{
	ExecutorFinish(scan->query_desc);
	ExecutorEnd(scan->query_desc);
	FreeQueryDesc(scan->query_desc);
	ReleaseCachedPlan(scan->plan, scan->owner);
}
