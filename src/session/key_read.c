/*-------------------------------------------------------------------------
 *
 * key_read.c
 *	  The rows of keys, read by hand where the planner's own plan is a look-up
 *	  in a B-tree index of an ordinary table with nothing else to it: then an
 *	  executor costs more than what it would do.
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
#include "catalog/pg_am_d.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
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

/* The plan as what can be done by hand, or NULL. */
static IndexScan *
plain_index_scan(CachedPlan *cached, Model *model)
{
	PlannedStmt *statement = linitial_node(PlannedStmt, cached->stmt_list);
	IndexScan  *scan = (IndexScan *) statement->planTree;

	if (!IsA(scan, IndexScan) || statement->subplans != NIL ||
		statement->rowMarks != NIL || scan->scan.plan.qual != NIL ||
		scan->scan.plan.initPlan != NIL || scan->indexorderby != NIL ||
		rt_fetch(scan->scan.scanrelid,
				 statement->rtable)->relid != model->relid ||
		!returns_columns_only(&scan->scan.plan))
		return NULL;
	return scan;
}

static Node *
without_relabel(Node *node)
{
	return IsA(node, RelabelType) ?
		(Node *) castNode(RelabelType, node)->arg : node;
}

/*
 * What the executor makes of "index column = $n".  False if the condition is
 * something else.
 */
static bool
fill_scan_key(ScanKey scan_key, Node *condition, Relation index,
			  const Datum *key)
{
	OpExpr	   *equality = (OpExpr *) condition;
	Var		   *column;
	Param	   *param;
	int			strategy;
	Oid			left,
				right;

	if (!IsA(equality, OpExpr) || list_length(equality->args) != 2)
		return false;
	column = (Var *) without_relabel(linitial(equality->args));
	param = (Param *) without_relabel(lsecond(equality->args));
	if (!IsA(column, Var) || column->varno != INDEX_VAR ||
		!IsA(param, Param) || param->paramkind != PARAM_EXTERN)
		return false;
	get_op_opfamily_properties(equality->opno,
							   index->rd_opfamily[column->varattno - 1],
							   false, &strategy, &left, &right);
	ScanKeyEntryInitialize(scan_key, 0, column->varattno, strategy, right,
						   equality->inputcollid, equality->opfuncid,
						   key[param->paramid - 1]);
	return true;
}

static bool
fill_scan_keys(ScanKey scan_keys, List *conditions, Relation index,
			   const Datum *key)
{
	ListCell   *cell;

	if (index->rd_rel->relam != BTREE_AM_OID)
		return false;
	foreach(cell, conditions)
	{
		if (!fill_scan_key(scan_keys++, lfirst(cell), index, key))
			return false;
	}
	return true;
}

/* The same condition for another key. */
static void
set_scan_keys(ScanKey scan_keys, List *conditions, const Datum *key)
{
	ListCell   *cell;

	foreach(cell, conditions)
	{
		Node	   *right = lsecond(lfirst_node(OpExpr, cell)->args);

		(scan_keys++)->sk_argument =
			key[castNode(Param, without_relabel(right))->paramid - 1];
	}
}

/* The table is locked by the plan already. */
static void
read_index(Relation index, Model *model, ScanKey scan_keys, List *conditions,
		   int n, Datum **keys, KeyReadTake take, void *arg)
{
	int			nkeys = list_length(conditions);
	Relation	table = table_open(model->relid, NoLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	IndexScanDesc scan = compat_index_beginscan(table, index,
												GetActiveSnapshot(), nkeys);

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		set_scan_keys(scan_keys, conditions, keys[i]);
		index_rescan(scan, scan_keys, nkeys, NULL, 0);
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
	IndexScan  *plan = plain_index_scan(cached, model);
	ScanKeyData scan_keys[INDEX_MAX_KEYS];
	Relation	index;
	bool		done;

	if (plan == NULL)
		return false;
	(void) compat_check_permissions(linitial_node(PlannedStmt,
												  cached->stmt_list), true);
	index = index_open(plan->indexid, AccessShareLock);
	done = fill_scan_keys(scan_keys, plan->indexqual, index, keys[0]);
	if (done)
		read_index(index, model, scan_keys, plan->indexqual, n, keys, take,
				   arg);
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
