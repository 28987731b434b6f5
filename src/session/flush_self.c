/*-------------------------------------------------------------------------
 *
 * flush_self.c
 *	  The order in which rows of a table that references itself are inserted,
 *	  where that takes several statements.
 *
 * Within one statement the order does not matter, since foreign keys are
 * checked at its end.  Rows that come one by one, or in several chunks, each
 * come after those that they reference; of those that could come next it is
 * the one with the lowest key.  Memory is the caller's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "lib/binaryheap.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"

#include "session/flush.h"

/* A row that waits for another one. */
typedef struct Waiting
{
	int			item;
	struct Waiting *next;		/* for the same one */
} Waiting;

typedef struct Ordering
{
	FlushBatch *batch;
	FlushItem  *items;			/* in the order of their keys */
	int			nitems;
	Waiting   **waiting;		/* for each item, those that reference it */
	int		   *nreferenced;	/* how many each one waits for */
} Ordering;

/* Is it a reference to the primary key, by values of the same types? */
static bool
leads_to_key(Model *model, ForeignKeyCacheInfo *foreign_key)
{
	if (foreign_key->nkeys != model->nkeys)
		return false;
	for (int i = 0; i < model->nkeys; i++)
	{
		AttrNumber	from = foreign_key->conkey[i];
		bool		found = false;

		for (int k = 0; k < model->nkeys; k++)
			found |= model->keys[k].attnum == foreign_key->confkey[i] &&
				model->keys[k].typid ==
				TupleDescAttr(model->tupdesc, from - 1)->atttypid;
		if (!found)
			return false;
	}
	return true;
}

/* The key that a row references; false if it has a NULL there. */
static bool
referenced_key(Model *model, ForeignKeyCacheInfo *foreign_key, HeapTuple row,
			   Datum *key)
{
	for (int i = 0; i < foreign_key->nkeys; i++)
	{
		bool		isnull;
		Datum		value = heap_getattr(row, foreign_key->conkey[i],
										 model->tupdesc, &isnull);

		if (isnull)
			return false;
		for (int k = 0; k < model->nkeys; k++)
		{
			if (model->keys[k].attnum == foreign_key->confkey[i])
				key[k] = value;
		}
	}
	return true;
}

/* Notes that an item waits for the one that it references, if there is one. */
static void
note_reference(Ordering *ordering, int item, ForeignKeyCacheInfo *foreign_key)
{
	Model	   *model = ordering->batch->model;
	HeapTuple	row = ordering->items[item].object->top->changed;
	Datum		key[INDEX_MAX_KEYS];
	FlushItem  *found;
	Waiting    *waiting;

	if (row == NULL || !referenced_key(model, foreign_key, row, key))
		return;
	found = flush_item_find(model, ordering->items, ordering->nitems, key);
	if (found == NULL || found == &ordering->items[item])
		return;
	waiting = palloc(sizeof(Waiting));
	waiting->item = item;
	waiting->next = ordering->waiting[found - ordering->items];
	ordering->waiting[found - ordering->items] = waiting;
	ordering->nreferenced[item]++;
}

/* The lowest item comes first out of a heap, which has its largest on top. */
static int
compare_positions(Datum a, Datum b, void *arg)
{
	return DatumGetInt32(b) - DatumGetInt32(a);
}

/* Positions in the order to come; returns how many have a place in it. */
static int
find_order(Ordering *ordering, int *order)
{
	binaryheap *ready = binaryheap_allocate(ordering->nitems,
											compare_positions, NULL);
	int			n = 0;

	for (int i = 0; i < ordering->nitems; i++)
	{
		if (ordering->nreferenced[i] == 0)
			binaryheap_add_unordered(ready, Int32GetDatum(i));
	}
	binaryheap_build(ready);
	while (!binaryheap_empty(ready))
	{
		int			item = DatumGetInt32(binaryheap_remove_first(ready));

		order[n++] = item;
		for (Waiting *waiting = ordering->waiting[item]; waiting != NULL;
			 waiting = waiting->next)
		{
			if (--ordering->nreferenced[waiting->item] == 0)
				binaryheap_add(ready, Int32GetDatum(waiting->item));
		}
	}
	binaryheap_free(ready);
	return n;
}

/* Can the foreign key be NULL for a while? */
static bool
can_be_late(FlushBatch *batch, ForeignKeyCacheInfo *foreign_key)
{
	for (int i = 0; i < foreign_key->nkeys; i++)
	{
		if (bms_is_member(column_member(foreign_key->conkey[i]),
						  batch->self_columns))
			return true;
	}
	return false;
}

/* Orders the items by foreign keys; returns whether that was possible. */
static bool
order_by_keys(FlushBatch *batch, FlushItem *items, int nitems,
			  List *foreign_keys)
{
	Ordering	ordering = {.batch = batch,.items = items,.nitems = nitems};
	int		   *order = palloc(nitems * sizeof(int));
	FlushItem  *sorted = palloc(nitems * sizeof(FlushItem));
	ListCell   *cell;

	ordering.waiting = palloc0(nitems * sizeof(Waiting *));
	ordering.nreferenced = palloc0(nitems * sizeof(int));
	foreach(cell, foreign_keys)
	{
		for (int i = 0; i < nitems; i++)
			note_reference(&ordering, i, lfirst(cell));
	}
	if (find_order(&ordering, order) < nitems)
		return false;
	for (int i = 0; i < nitems; i++)
		sorted[i] = items[order[i]];
	memcpy(items, sorted, nitems * sizeof(FlushItem));
	return true;
}

bool
flush_order_items(FlushBatch *batch, FlushItem *items, int nitems)
{
	List	   *known = NIL;
	List	   *strict = NIL;
	ListCell   *cell;

	foreach(cell, batch->self_keys)
	{
		if (!leads_to_key(batch->model, lfirst(cell)))
			continue;
		known = lappend(known, lfirst(cell));
		if (!can_be_late(batch, lfirst(cell)))
			strict = lappend(strict, lfirst(cell));
	}
	if (list_length(known) == list_length(batch->self_keys) &&
		order_by_keys(batch, items, nitems, known))
		return true;
	(void) order_by_keys(batch, items, nitems, strict);
	return false;
}
