/*-------------------------------------------------------------------------
 *
 * scan.c
 *	  Reading tables by hand: an index scan that stays open for the look-ups
 *	  of one query, and a scan of the whole table.
 *
 * They are taken only where the planner's own plan is a scan of a unique
 * B-tree index, or a sequential scan, of an ordinary table with nothing else
 * to it: no condition of a policy, no column computed on the way.  Then
 * reading by hand gives what the plan gives, at a fraction of the cost.
 *
 * The index scan and its relations belong to the resource owner that was
 * current when it was opened, which is the one of the calling query.  It is
 * closed with the memory context that it lives in; if the resource owner was
 * released before (on abort), there is nothing left to close, which a
 * resource release callback notes.  Locks stay until the transaction ends, as
 * those of a query do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "model/plain_scan.h"
#include "navigation/lookup.h"

struct KeyScan
{
	dlist_node	node;			/* in open_scans, while open */
	bool		open;
	MemoryContext context;		/* that it lives in */
	MemoryContextCallback callback;
	ResourceOwner owner;
	Relation	table;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	TupleDesc	tupdesc;		/* of the row type */
	int			nkeys;
	int			positions[INDEX_MAX_KEYS];	/* of index columns in the key */
	ScanKeyData keys[INDEX_MAX_KEYS];
};

static dlist_head open_scans = DLIST_STATIC_INIT(open_scans);

/* ------------------------------------------------------------------------
 * is the plan what we can do by hand
 * ------------------------------------------------------------------------
 */

/* The last column of the plan's result is the row as it is stored. */
static bool
returns_stored_row(Plan *plan, Index scanrelid)
{
	TargetEntry *entry = llast_node(TargetEntry, plan->targetlist);
	Var		   *var;

	if (!IsA(entry->expr, Var))
		return false;
	var = (Var *) entry->expr;
	return var->varno == scanrelid && var->varattno == InvalidAttrNumber;
}

static bool
returns_stored_rows(PlannedStmt *stmt, Oid relid)
{
	Scan	   *scan = (Scan *) stmt->planTree;

	return plan_is_plain_scan(stmt, relid) &&
		returns_stored_row(&scan->plan, scan->scanrelid);
}

/* ------------------------------------------------------------------------
 * opening and closing
 * ------------------------------------------------------------------------
 */
void
key_scan_close(KeyScan *scan)
{
	ResourceOwner old = CurrentResourceOwner;

	if (!scan->open)
		return;
	scan->open = false;
	dlist_delete(&scan->node);

	/* in an aborted transaction the resource owner releases everything */
	if (!IsTransactionState())
		return;
	CurrentResourceOwner = scan->owner;
	ExecDropSingleTupleTableSlot(scan->slot);
	index_endscan(scan->scan);
	index_close(scan->index, NoLock);
	table_close(scan->table, NoLock);
	CurrentResourceOwner = old;
}

static void
context_gone(void *arg)
{
	key_scan_close(arg);
}

static KeyScan *
open_plan(IndexScan *plan, Model *model, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	KeyScan    *scan = palloc0(sizeof(KeyScan));
	TupleDesc	tupdesc;

	scan->nkeys = model->nkeys;
	scan->tupdesc = model->tupdesc;
	scan->owner = CurrentResourceOwner;
	scan->table = table_open(model->relid, AccessShareLock);
	scan->index = index_open(plan->indexid, AccessShareLock);
	if (!model_scan_keys(model, scan->index, scan->keys, scan->positions))
	{
		index_close(scan->index, NoLock);
		table_close(scan->table, NoLock);
		MemoryContextSwitchTo(old);
		return NULL;
	}

	/* a copy of the descriptor, so that the slot need not pin the original */
	tupdesc = CreateTupleDescCopy(RelationGetDescr(scan->table));
	scan->slot = MakeSingleTupleTableSlot(tupdesc,
										  table_slot_callbacks(scan->table));
	scan->scan = compat_index_beginscan(scan->table, scan->index,
										GetActiveSnapshot(), scan->nkeys);
	scan->open = true;
	dlist_push_head(&open_scans, &scan->node);
	scan->context = context;
	scan->callback.func = context_gone;
	scan->callback.arg = scan;
	MemoryContextRegisterResetCallback(context, &scan->callback);
	MemoryContextSwitchTo(old);
	return scan;
}

KeyScan *
key_scan_open(Lookup *lookup, Model *model)
{
	MemoryContext context = CurrentMemoryContext;
	CachedPlan *cached;
	KeyScan    *scan = NULL;

	SPI_connect();
	cached = lookup_cached_plan(lookup);
	if (cached != NULL && list_length(cached->stmt_list) == 1)
	{
		PlannedStmt *stmt = linitial_node(PlannedStmt, cached->stmt_list);

		if (IsA(stmt->planTree, IndexScan) &&
			returns_stored_rows(stmt, model->relid))
		{
			(void) compat_check_permissions(stmt, true);
			scan = open_plan((IndexScan *) stmt->planTree, model, context);
		}
	}
	if (cached != NULL)
		ReleaseCachedPlan(cached, CurrentResourceOwner);
	SPI_finish();
	return scan;
}

/* A resource owner is released: its scans are gone. */
static void
resources_released(ResourceReleasePhase phase, bool is_commit,
				   bool is_top_level, void *arg)
{
	dlist_mutable_iter iter;

	if (phase != RESOURCE_RELEASE_BEFORE_LOCKS)
		return;
	dlist_foreach_modify(iter, &open_scans)
	{
		KeyScan    *scan = dlist_container(KeyScan, node, iter.cur);

		if (scan->owner == CurrentResourceOwner)
		{
			scan->open = false;
			dlist_delete(&scan->node);
		}
	}
}

void
key_scan_init(void)
{
	RegisterResourceReleaseCallback(resources_released, NULL);
}

/* ------------------------------------------------------------------------
 * reading
 * ------------------------------------------------------------------------
 */

/* The stored row as a value of the row type. */
static HeapTupleHeader
row_of_slot(KeyScan *scan)
{
	bool		should_free;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(scan->slot, false,
											   &should_free);
	Datum		row = heap_copy_tuple_as_datum(tuple, scan->tupdesc);

	if (should_free)
		heap_freetuple(tuple);
	return DatumGetHeapTupleHeader(row);
}

HeapTupleHeader
key_scan_row(KeyScan *scan, Snapshot snapshot, const Datum *values)
{
	ResourceOwner old_owner = CurrentResourceOwner;
	MemoryContext old_context;
	HeapTupleHeader row = NULL;
	bool		found;

	CurrentResourceOwner = scan->owner;
	for (int i = 0; i < scan->nkeys; i++)
		scan->keys[i].sk_argument = values[scan->positions[i]];
	scan->scan->xs_snapshot = snapshot;

	/* what the access method allocates on the way belongs to the scan */
	old_context = MemoryContextSwitchTo(scan->context);
	index_rescan(scan->scan, scan->keys, scan->nkeys, NULL, 0);
	found = index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot);
	MemoryContextSwitchTo(old_context);
	if (found)
	{
		row = row_of_slot(scan);
		ExecClearTuple(scan->slot);
	}
	CurrentResourceOwner = old_owner;
	return row;
}

/* ------------------------------------------------------------------------
 * the whole table
 * ------------------------------------------------------------------------
 */

/* Hands one row over; returns whether to go on. */
static bool
take_slot(TupleTableSlot *slot, Model *model, LookupTake take, void *arg)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		should_free;
	HeapTuple	tuple;
	HeapTupleHeader copy;

	for (int i = 0; i < model->nkeys; i++)
	{
		bool		isnull;

		values[i] = slot_getattr(slot, model->keys[i].attnum, &isnull);
		if (isnull)
			return true;
	}
	tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
	if (HeapTupleHasExternal(tuple))
	{
		Datum		row = heap_copy_tuple_as_datum(tuple, model->tupdesc);
		HeapTupleHeader header = DatumGetHeapTupleHeader(row);

		copy = take(values, header, HeapTupleHeaderGetDatumLength(header),
					arg);
		pfree(header);
	}
	else
	{
		copy = take(values, tuple->t_data, tuple->t_len, arg);
		if (copy != NULL)
			compat_tuple_set_datum(copy, model->tupdesc, tuple->t_len);
	}
	if (should_free)
		heap_freetuple(tuple);
	return copy != NULL;
}

bool
table_scan_all(PlannedStmt *stmt, Model *model, Snapshot snapshot,
			   LookupTake take, void *arg)
{
	Relation	table;
	TableScanDesc scan;
	TupleTableSlot *slot;

	if (!IsA(stmt->planTree, SeqScan) ||
		!returns_stored_rows(stmt, model->relid))
		return false;
	(void) compat_check_permissions(stmt, true);

	table = table_open(model->relid, AccessShareLock);
	slot = table_slot_create(table, NULL);
	scan = table_beginscan(table, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (!take_slot(slot, model, take, arg))
			break;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, NoLock);
	return true;
}
