/*-------------------------------------------------------------------------
 *
 * flush_order.c
 *	  The order in which a flush writes tables, from their foreign keys.
 *
 * Rows that reference each other in a circle have no such order.  Where a
 * foreign key of the circle may be NULL, rows are inserted with NULL there
 * and updated afterwards (what the reference calls post_update), and set to
 * NULL before they are deleted; those are the batch's late columns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_constraint.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "session/flush.h"

/* A foreign key between two tables that the flush writes. */
typedef struct FlushEdge
{
	Oid			from;			/* the table that has the foreign key */
	Oid			to;
	Bitmapset  *columns;		/* that may be NULL to be without a target, or
								 * all if it cannot be */
	bool		nullable;
	bool		deferred;		/* not checked before the end */
	bool		acts_on_delete; /* ON DELETE CASCADE, SET NULL, SET DEFAULT */
	ForeignKeyCacheInfo *foreign_key;
} FlushEdge;

/* Returns whether all columns must be NULL for there to be no target. */
static bool
edge_read_constraint(FlushEdge *edge, Oid constraint)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID,
										ObjectIdGetDatum(constraint));
	Form_pg_constraint form;
	bool		match_full;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for constraint %u", constraint);
	form = (Form_pg_constraint) GETSTRUCT(tuple);
	edge->deferred = form->condeferred;
	edge->acts_on_delete = form->confdeltype != FKCONSTR_ACTION_NOACTION &&
		form->confdeltype != FKCONSTR_ACTION_RESTRICT;
	match_full = form->confmatchtype == FKCONSTR_MATCH_FULL;
	ReleaseSysCache(tuple);
	return match_full;
}

static FlushEdge *
edge_create(Relation relation, ForeignKeyCacheInfo *foreign_key)
{
	FlushEdge  *edge = palloc0(sizeof(FlushEdge));
	Bitmapset  *all = NULL;
	Bitmapset  *nullable = NULL;

	edge->from = foreign_key->conrelid;
	edge->to = foreign_key->confrelid;
	edge->foreign_key = copyObject(foreign_key);
	for (int i = 0; i < foreign_key->nkeys; i++)
	{
		AttrNumber	attnum = foreign_key->conkey[i];
		int			member = column_member(attnum);

		all = bms_add_member(all, member);
		if (!TupleDescAttr(RelationGetDescr(relation),
						   attnum - 1)->attnotnull)
			nullable = bms_add_member(nullable, member);
	}
	edge->nullable = edge_read_constraint(edge, foreign_key->conoid) ?
		bms_equal(nullable, all) : !bms_is_empty(nullable);
	edge->columns = edge->nullable ? nullable : all;
	return edge;
}

/* The foreign keys from one of the tables to another, or to itself. */
static List *
edges_between(List *relids)
{
	List	   *edges = NIL;
	ListCell   *cell;

	foreach(cell, relids)
	{
		Relation	relation = table_open(lfirst_oid(cell), AccessShareLock);
		ListCell   *key;

		foreach(key, RelationGetFKeyList(relation))
		{
			ForeignKeyCacheInfo *foreign_key = lfirst(key);

			if (list_member_oid(relids, foreign_key->confrelid))
				edges = lappend(edges, edge_create(relation, foreign_key));
		}
		table_close(relation, NoLock);
	}
	return edges;
}

/*
 * Can the table come next?  Each that it references must have come before,
 * but that (with soft) a foreign key that may be NULL can wait.
 */
static bool
is_ready(Oid relid, List *edges, List *placed, bool soft)
{
	ListCell   *cell;

	foreach(cell, edges)
	{
		FlushEdge  *edge = lfirst(cell);

		if (edge->from == relid && edge->to != relid && !edge->deferred &&
			!list_member_oid(placed, edge->to) && !(soft && edge->nullable))
			return false;
	}
	return true;
}

/* The next table in order; in a circle without a way out, just the first. */
static Oid
next_in_order(List *waiting, List *edges, List *placed)
{
	for (int soft = 0; soft <= 1; soft++)
	{
		ListCell   *cell;

		foreach(cell, waiting)
		{
			if (is_ready(lfirst_oid(cell), edges, placed, soft))
				return lfirst_oid(cell);
		}
	}
	return linitial_oid(waiting);
}

static List *
order_tables(List *relids, List *edges)
{
	List	   *waiting = list_copy(relids);
	List	   *placed = NIL;

	while (waiting != NIL)
	{
		Oid			next = next_in_order(waiting, edges, placed);

		placed = lappend_oid(placed, next);
		waiting = list_delete_oid(waiting, next);
	}
	return placed;
}

static int
position_in(List *order, Oid relid)
{
	int			position = 0;
	ListCell   *cell;

	foreach(cell, order)
	{
		if (lfirst_oid(cell) == relid)
			return position;
		position++;
	}
	return -1;
}

static bool
has_batch(List *batches, Oid relid, StatementKind kind)
{
	ListCell   *cell;

	foreach(cell, batches)
	{
		FlushBatch *batch = lfirst(cell);

		if (batch->model->relid == relid && batch->kind == kind &&
			!batch->model->association)
			return true;
	}
	return false;
}

/*
 * Notes the foreign keys whose target is written after the batch (inserted
 * later, or deleted before), or by the same batch row by row.
 */
static void
batch_find_late_columns(FlushBatch *batch, List *batches, List *edges,
						List *order)
{
	Oid			relid = batch->model->relid;
	int			position = position_in(order, relid);
	ListCell   *cell;

	foreach(cell, edges)
	{
		FlushEdge  *edge = lfirst(cell);

		if (edge->from != relid || edge->deferred)
			continue;
		if (edge->to == relid)
		{
			batch->self_keys = lappend(batch->self_keys, edge->foreign_key);
			if (edge->nullable)
				batch->self_columns = bms_add_members(batch->self_columns,
													  edge->columns);
			continue;
		}
		if (position_in(order, edge->to) < position ||
			!has_batch(batches, edge->to, batch->kind) ||
			(batch->kind == STATEMENT_DELETE && edge->acts_on_delete))
			continue;
		if (!edge->nullable)
			batch->unordered = edge->to;
		batch->late_columns = bms_add_members(batch->late_columns,
											  edge->columns);
	}
}

List *
flush_order(List *batches)
{
	List	   *relids = NIL;
	bool		only_updates = true;
	List	   *edges;
	List	   *order;
	ListCell   *cell;

	foreach(cell, batches)
	{
		FlushBatch *batch = lfirst(cell);

		if (!batch->model->association)
			relids = list_append_unique_oid(relids, batch->model->relid);
		only_updates = only_updates && batch->kind != STATEMENT_INSERT &&
			batch->kind != STATEMENT_DELETE;
	}
	if (list_length(relids) == 1 && only_updates)
		return relids;
	list_sort(relids, list_oid_cmp);	/* the same in every backend */
	edges = edges_between(relids);
	order = order_tables(relids, edges);
	foreach(cell, batches)
	{
		FlushBatch *batch = lfirst(cell);

		if (batch->kind == STATEMENT_INSERT ||
			batch->kind == STATEMENT_DELETE)
			batch_find_late_columns(batch, batches, edges, order);
	}
	return order;
}
