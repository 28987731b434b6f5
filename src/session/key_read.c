/*-------------------------------------------------------------------------
 *
 * key_read.c
 *	  The rows of keys, read by hand where the planner's own plan is a look-up
 *	  in the unique B-tree index of an ordinary table with nothing else to it:
 *	  then an executor costs more than what it would do.
 *
 * The plan is the kept one of the statement, so that its invalidation, locks
 * and privileges are those of the statement.  Nothing outlives a call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "model/plain_scan.h"
#include "session/internal.h"

/* As SPI says it. */
static void
key_read_error_callback(void *arg)
{
	errcontext("SQL statement \"%s\"", (const char *) arg);
}

static bool
returns_columns_only(Plan *plan)
{
	ListCell   *cell;

	foreach(cell, plan->targetlist)
	{
		if (!IsA(lfirst_node(TargetEntry, cell)->expr, Var))
			return false;
	}
	return true;
}

/* The index that the plan looks the key up in, if there is no more to it. */
static Oid
index_of_plain_scan(PlannedStmt *statement, Oid relid)
{
	IndexScan  *scan = (IndexScan *) statement->planTree;

	return IsA(scan, IndexScan) && plan_is_plain_scan(statement, relid) &&
		returns_columns_only(&scan->scan.plan) ? scan->indexid : InvalidOid;
}

/* The table is locked by the plan already. */
static void
read_index(Relation index, Model *model, ScanKey scan_keys,
		   const int *positions, int n, Datum **keys, KeyReadTake take,
		   void *arg)
{
	Relation	table = table_open(model->relid, NoLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	IndexScanDesc scan = compat_index_beginscan(table, index,
												GetActiveSnapshot(),
												model->nkeys);

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < model->nkeys; k++)
			scan_keys[k].sk_argument = keys[i][positions[k]];
		index_rescan(scan, scan_keys, model->nkeys, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, slot))
			take(slot, i, arg);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, NoLock);
}

static bool
read_by_plan(CachedPlan *cached, Model *model, int n, Datum **keys,
			 KeyReadTake take, void *arg)
{
	PlannedStmt *statement = linitial_node(PlannedStmt, cached->stmt_list);
	Oid			indexid = index_of_plain_scan(statement, model->relid);
	ScanKeyData scan_keys[INDEX_MAX_KEYS];
	int			positions[INDEX_MAX_KEYS];
	Relation	index;
	bool		done;

	if (!OidIsValid(indexid))
		return false;
	(void) compat_check_permissions(statement, true);
	index = index_open(indexid, AccessShareLock);
	done = model_scan_keys(model, index, scan_keys, positions);
	if (done)
		read_index(index, model, scan_keys, positions, n, keys, take, arg);
	index_close(index, NoLock);
	return done;
}

bool
key_read(SPIPlanPtr plan, Model *model, int n, Datum **keys,
		 KeyReadTake take, void *arg)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	ErrorContextCallback callback;
	CachedPlan *cached;
	bool		done;

	if (model->relkind != RELKIND_RELATION || own_statement_observer != NULL)
		return false;
	callback.callback = key_read_error_callback;
	callback.arg = unconstify(char *, source->query_string);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	cached = GetCachedPlan(source, NULL, CurrentResourceOwner, NULL);
	done = read_by_plan(cached, model, n, keys, take, arg);
	ReleaseCachedPlan(cached, CurrentResourceOwner);
	PopActiveSnapshot();
	error_context_stack = callback.previous;
	if (done)
		own_statement_show(plan);
	return done;
}
