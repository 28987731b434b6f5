/*-------------------------------------------------------------------------
 *
 * flush_items.c
 *	  The items of a batch of a flush: their order, and what statements are
 *	  given of them.
 *
 * Several rows travel as one array of the table's row type, into which each of
 * them is copied once; of one row the columns do.  Everything is allocated in
 * the current memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "session/flush.h"

/* ------------------------------------------------------------------------
 * order
 * ------------------------------------------------------------------------
 */

/*
 * The order of a key's types; only that of a view's or foreign table's key
 * may have none, and is NULL here.
 */
typedef struct KeyOrder
{
	Model	   *model;
	bool		whole;
	TypeCacheEntry *types[FLEXIBLE_ARRAY_MEMBER];
} KeyOrder;

static KeyOrder *
key_order(Model *model)
{
	KeyOrder   *order = palloc(offsetof(KeyOrder, types) +
							   model->nkeys * sizeof(TypeCacheEntry *));

	order->model = model;
	order->whole = true;
	for (int i = 0; i < model->nkeys; i++)
	{
		order->types[i] = lookup_type_cache(model->keys[i].typid,
											TYPECACHE_CMP_PROC_FINFO);
		if (OidIsValid(order->types[i]->cmp_proc_finfo.fn_oid))
			continue;
		order->types[i] = NULL;
		order->whole = false;
	}
	return order;
}

static int
key_compare(const KeyOrder *order, const Datum *a, const Datum *b)
{
	for (int i = 0; i < order->model->nkeys; i++)
	{
		int			result;

		if (order->types[i] == NULL)
			continue;
		result = DatumGetInt32(FunctionCall2Coll(&order->types[i]->cmp_proc_finfo,
												 order->model->keys[i].collation,
												 a[i], b[i]));
		if (result != 0)
			return result;
	}
	return 0;
}

static int
item_compare(const void *a, const void *b, void *order)
{
	const FlushItem *item_a = a;
	const FlushItem *item_b = b;

	if (item_a->key == NULL || item_b->key == NULL)
		return (item_a->key != NULL) - (item_b->key != NULL);
	return key_compare(order, item_a->key, item_b->key);
}

void
flush_sort_items(FlushBatch *batch, FlushItem *items, int nitems)
{
	KeyOrder   *order;

	if (nitems < 2)
		return;
	order = key_order(batch->model);
	for (int i = 1; i < nitems; i++)
	{
		if (item_compare(&items[i - 1], &items[i], order) > 0)
		{
			qsort_arg(items, nitems, sizeof(FlushItem), item_compare, order);
			return;
		}
	}
}

static FlushItem *
find_among_all(Model *model, FlushItem *items, int nitems, const Datum *key)
{
	for (int i = 0; i < nitems; i++)
	{
		if (items[i].key != NULL && model_key_equal(model, items[i].key, key))
			return &items[i];
	}
	return NULL;
}

/* Items without a key come last. */
FlushItem *
flush_item_find(Model *model, FlushItem *items, int nitems, const Datum *key)
{
	KeyOrder   *order = key_order(model);
	int			low = 0,
				high = nitems;

	if (!order->whole)
		return find_among_all(model, items, nitems, key);
	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			result = items[middle].key == NULL ? 1 :
			key_compare(order, items[middle].key, key);

		if (result == 0)
			return &items[middle];
		if (result < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The object's key, in memory that no trigger can free. */
static bool
copy_key(Model *model, Object *object, Datum *copy)
{
	const Datum *key = object_key(object);

	if (key == NULL)
		return false;
	for (int i = 0; i < model->nkeys; i++)
		copy[i] = datumCopy(key[i], model->keys[i].typbyval,
							model->keys[i].typlen);
	return true;
}

FlushItem *
flush_batch_items(FlushBatch *batch)
{
	Model	   *model = batch->model;
	int			nitems = list_length(batch->objects);
	FlushItem  *items = MemoryContextAllocExtended(CurrentMemoryContext,
												   nitems * sizeof(FlushItem),
												   MCXT_ALLOC_HUGE |
												   MCXT_ALLOC_ZERO);
	Datum	   *keys = MemoryContextAllocHuge(CurrentMemoryContext,
											  nitems * model->nkeys *
											  sizeof(Datum));

	for (int i = 0; i < nitems; i++, keys += model->nkeys)
	{
		items[i].object = list_nth(batch->objects, i);
		if (copy_key(model, items[i].object, keys))
			items[i].key = keys;
	}
	flush_sort_items(batch, items, nitems);
	return items;
}

/* ------------------------------------------------------------------------
 * rows
 * ------------------------------------------------------------------------
 */
void
flush_report_unordered(FlushBatch *batch)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rows of %s and \"%s\" reference each other in a circle",
					batch->model->class_name, get_rel_name(batch->unordered)),
			 errhint("Let a foreign key of the circle be NULL, or make it DEFERRABLE INITIALLY DEFERRED.")));
}

/* The row with NULL in the foreign keys whose targets come later. */
static HeapTuple
row_without_late(FlushBatch *batch, FlushItem *item)
{
	Model	   *model = batch->model;
	HeapTuple	row = item->object->top->changed;
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	int			member = -1;

	heap_deform_tuple(row, model->tupdesc, values, nulls);
	while ((member = bms_next_member(batch->late_columns, member)) >= 0)
	{
		int			i = member_column(member) - 1;

		if (!nulls[i] && TupleDescAttr(model->tupdesc, i)->attnotnull)
			flush_report_unordered(batch);
		nulls[i] = true;
	}
	return heap_form_tuple(model->tupdesc, values, nulls);
}

HeapTuple
flush_item_row(FlushBatch *batch, FlushItem *item)
{
	HeapTuple	row;

	if (batch->kind == STATEMENT_DELETE || batch->model->association)
		return row_of_key_tuple(batch->model, item->key);
	if (batch->kind == STATEMENT_INSERT && !bms_is_empty(batch->late_columns))
		row = row_without_late(batch, item);
	else
		row = item->object->top->changed;
	if (HeapTupleHasExternal(row))
		row = toast_flatten_tuple(row, batch->model->tupdesc);
	return row;
}

/* An array of rows with that many bytes of rows behind its header. */
static ArrayType *
rows_array_create(Model *model, int nrows, Size size)
{
	Size		total = ARR_OVERHEAD_NONULLS(1) + size;
	ArrayType  *array;

	if (!AllocSizeIsValid(total))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("rows of %s are too many for one statement",
						model->class_name)));
	array = palloc(total);
	SET_VARSIZE(array, total);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = model->rowtype;
	ARR_DIMS(array)[0] = nrows;
	ARR_LBOUND(array)[0] = 1;
	return array;
}

/* A row at that place of an array; returns where the next one goes. */
static char *
row_put(char *place, Model *model, HeapTuple row)
{
	Size		size = MAXALIGN(row->t_len);

	memcpy(place, row->t_data, row->t_len);
	compat_tuple_set_datum((HeapTupleHeader) place, model->tupdesc,
						   row->t_len);
	memset(place + row->t_len, 0, size - row->t_len);
	return place + size;
}

Datum
flush_rows_array(Model *model, FlushItem *items, int nitems)
{
	Size		size = 0;
	ArrayType  *array;
	char	   *place;

	for (int i = 0; i < nitems; i++)
		size += MAXALIGN(items[i].row->t_len);
	array = rows_array_create(model, nitems, size);
	place = ARR_DATA_PTR(array);
	for (int i = 0; i < nitems; i++)
	{
		items[i].sent = PointerGetDatum(place);
		place = row_put(place, model, items[i].row);
		items[i].row = NULL;
	}
	return PointerGetDatum(array);
}

Datum
flush_old_rows_array(Model *model, FlushItem *items, int nitems)
{
	HeapTuple  *rows = palloc(nitems * sizeof(HeapTuple));
	Size		size = 0;
	ArrayType  *array;
	char	   *place;

	for (int i = 0; i < nitems; i++)
	{
		rows[i] = row_of_key_tuple(model, items[i].key);
		size += MAXALIGN(rows[i]->t_len);
	}
	array = rows_array_create(model, nitems, size);
	place = ARR_DATA_PTR(array);
	for (int i = 0; i < nitems; i++)
		place = row_put(place, model, rows[i]);
	return PointerGetDatum(array);
}

/* The version of the stored row, as an UPDATE or DELETE is sent it. */
static Datum
item_version(Model *model, const FlushItem *item, bool *isnull)
{
	ObjectVersion *version = item->object->top;

	if (flush_version_type(model) == INT8OID)
	{
		*isnull = version->number < 0;
		return Int64GetDatum(version->number);
	}
	*isnull = !TransactionIdIsValid(version->xmin);
	return TransactionIdGetDatum(version->xmin);
}

Datum
flush_versions_array(FlushBatch *batch, FlushItem *items, int nitems)
{
	Model	   *model = batch->model;
	Oid			typid = flush_version_type(model);
	Datum	   *versions = palloc(nitems * sizeof(Datum));
	bool	   *nulls = palloc(nitems * sizeof(bool));
	int			lower = 1;

	for (int i = 0; i < nitems; i++)
		versions[i] = item_version(model, &items[i], &nulls[i]);
	return PointerGetDatum(construct_md_array(versions, nulls, 1, &nitems,
											  &lower, typid,
											  typid == INT8OID ? 8 : 4, true,
											  typid == INT8OID ?
											  TYPALIGN_DOUBLE : TYPALIGN_INT));
}

void
flush_send_row(Model *model, FlushItem *item)
{
	item->sent = row_from_tuple(model, item->row);
	item->row = NULL;
}

static void
put_parameter(FlushParameters *parameters, int n, Datum value, bool isnull)
{
	parameters->values[n] = value;
	parameters->nulls[n] = isnull ? 'n' : ' ';
}

/*
 * They point to what was sent, which no trigger can free.  The key is the one
 * that the stored row has.
 */
FlushParameters
flush_row_parameters(const StatementSubject *subject, FlushItem *item)
{
	Model	   *model = subject->model;
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	FlushColumns columns = flush_columns(subject);
	FlushParameters parameters;
	int			nsent = columns.n - (columns.old_key ? model->nkeys : 0);
	bool		isnull;

	parameters.values = palloc((columns.n + 1) * sizeof(Datum));
	parameters.nulls = palloc(columns.n + 1);
	row_deform(model, item->sent, values, nulls);
	for (int i = 0; i < nsent; i++)
		put_parameter(&parameters, i, values[columns.attnums[i] - 1],
					  nulls[columns.attnums[i] - 1]);
	for (int i = nsent; i < columns.n; i++)
		put_parameter(&parameters, i, item->key[i - nsent], false);
	if (columns.version)
	{
		Datum		version = item_version(model, item, &isnull);

		put_parameter(&parameters, columns.n, version, isnull);
	}
	return parameters;
}
