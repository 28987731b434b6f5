/*-------------------------------------------------------------------------
 *
 * flush_batch.c
 *	  Writing one batch of a flush: objects of one model with one kind of
 *	  change, by one statement (or by several, each of bounded size).
 *
 * What the server stored comes back by RETURNING and is matched by key.
 * Objects are marked only after their statement has returned, since triggers
 * may begin and end subtransactions meanwhile.  Memory is the SPI procedure's
 * and goes with it, or with each statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "compat.h"
#include "session/flush.h"

/* Bytes of rows that one statement is given at most. */
#define FLUSH_CHUNK_BYTES (64 * 1024 * 1024)

typedef struct FlushReceiver
{
	DestReceiver pub;
	FlushBatch *batch;
	FlushItem  *items;
	int			nitems;
	int			guess;			/* the item that the next row is likely of */
	MemoryContext row_context;	/* for one row, while it is looked at */
} FlushReceiver;

/* What is being written, for error callbacks; NULL between statements. */
static FlushReceiver *running = NULL;

const char *
flush_kind_text(StatementKind kind)
{
	switch (kind)
	{
		case STATEMENT_INSERT:
		case STATEMENT_LINK:
			return "INSERT";
		case STATEMENT_LOCK:
			return "SELECT";
		case STATEMENT_DELETE:
		case STATEMENT_UNLINK:
		case STATEMENT_UNLINK_ALL:
			return "DELETE";
		default:
			return "UPDATE";
	}
}

/* ------------------------------------------------------------------------
 * what comes back
 * ------------------------------------------------------------------------
 */

/* The order of a key's type; only a view's or foreign table's may have none. */
static TypeCacheEntry *
key_order(Model *model, int i)
{
	TypeCacheEntry *type = lookup_type_cache(model->keys[i].typid,
											 TYPECACHE_CMP_PROC_FINFO);

	return OidIsValid(type->cmp_proc_finfo.fn_oid) ? type : NULL;
}

static bool
keys_have_order(Model *model)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		if (key_order(model, i) == NULL)
			return false;
	}
	return true;
}

static int
key_compare(Model *model, const Datum *a, const Datum *b)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		TypeCacheEntry *type = key_order(model, i);
		int			order;

		if (type == NULL)
			continue;
		order = DatumGetInt32(FunctionCall2Coll(&type->cmp_proc_finfo,
												model->keys[i].collation,
												a[i], b[i]));
		if (order != 0)
			return order;
	}
	return 0;
}

static int
item_compare(const void *a, const void *b, void *arg)
{
	const FlushItem *item_a = a;
	const FlushItem *item_b = b;

	if (item_a->key == NULL || item_b->key == NULL)
		return (item_a->key != NULL) - (item_b->key != NULL);
	return key_compare(arg, item_a->key, item_b->key);
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
	int			low = 0,
				high = nitems;

	if (!keys_have_order(model))
		return find_among_all(model, items, nitems, key);
	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = items[middle].key == NULL ? 1 :
			key_compare(model, items[middle].key, key);

		if (order == 0)
			return &items[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The item of a row that came back: the guess, or else it is looked for. */
static FlushItem *
receiver_find(FlushReceiver *receiver, Datum *key)
{
	Model	   *model = receiver->batch->model;

	if (receiver->nitems == 1)
		return &receiver->items[0];
	if (receiver->guess < receiver->nitems &&
		model_key_equal(model, receiver->items[receiver->guess].key, key))
		return &receiver->items[receiver->guess];
	return flush_item_find(model, receiver->items, receiver->nitems, key);
}

/*
 * A row that was written.  An UPDATE returns the key that it was found by
 * behind its columns, since a trigger may have changed the key itself, and a
 * DELETE nothing else.
 */
static bool
flush_receive(TupleTableSlot *slot, DestReceiver *self)
{
	FlushReceiver *receiver = (FlushReceiver *) self;
	FlushBatch *batch = receiver->batch;
	Model	   *model = batch->model;
	MemoryContext old = MemoryContextSwitchTo(receiver->row_context);
	HeapTuple	row = NULL;
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	FlushItem  *item;

	slot_getallattrs(slot);
	if (batch->kind != STATEMENT_DELETE)
		row = row_of_slot(model, slot, batch->kind == STATEMENT_INSERT ? 0 :
						  model->nkeys);
	if (batch->kind == STATEMENT_INSERT)
		(void) model_key_of_row(model, row->t_data, key);
	else
		memcpy(key, slot->tts_values + slot->tts_nvalid - model->nkeys,
			   model->nkeys * sizeof(Datum));
	item = receiver_find(receiver, key);
	if (item == NULL)
		elog(ERROR, "a row of %s came back from a flush that did not send it",
			 model->relation_name);
	item->written = true;
	if (row != NULL)
		item->returned = session_copy_row(batch->session, row);
	receiver->guess = item - receiver->items + 1;
	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->row_context);
	return true;
}

/* ------------------------------------------------------------------------
 * marking the objects
 * ------------------------------------------------------------------------
 */

/*
 * The row was not written, without an error of the server's: somebody changed
 * or deleted it, or row security or a trigger left it out.
 */
static void
report_unwritten(FlushBatch *batch, FlushItem *item)
{
	Model	   *model = batch->model;
	ObjectVersion *version = item->object->top;
	char	   *key = item->key ? model_key_to_text(model, item->key) : "(NULL)";
	TransactionId xmin = InvalidTransactionId;
	int64		number = -1;
	bool		exists = item->key != NULL &&
		row_exists(model, item->key, &xmin, &number);

	if (batch->kind != STATEMENT_INSERT)
	{
		if (!exists)
			report_stale(model, key, access_memory_suffices(model) ?
						 "its row was deleted" :
						 "its row was deleted, or put out of sight,");
		if (version->number != number ||
			(number < 0 && TransactionIdIsValid(version->xmin) &&
			 version->xmin != xmin &&
			 !TransactionIdIsCurrentTransactionId(xmin)))
			report_stale(model, key, "somebody else changed its row");
		if (!access_memory_suffices(model))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("%s of %s %s was left out by a row-security policy or a trigger",
							flush_kind_text(batch->kind), model->class_name, key)));
	}
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("%s of %s %s was left out by a trigger",
					flush_kind_text(batch->kind), model->class_name, key)));
}

/*
 * What is pending still, for the next round of the flush: columns that were
 * sent as NULL, or were set after the row was sent or after the statement's
 * columns were chosen, where the stored row differs.
 */
static void
item_keep_later_changes(FlushBatch *batch, FlushItem *item,
						ObjectVersion *version)
{
	Model	   *model = batch->model;
	Bitmapset  *later = row_difference(model, row_to_tuple(item->sent),
									   version->changed, NULL);
	HeapTuple	row;

	later = bms_add_members(later, bms_difference(version->modified,
												  batch->columns));
	if (!bms_is_empty(later))
		later = row_difference(model, item->returned, version->changed, later);
	if (bms_is_empty(later))
	{
		version_set_changed(version, NULL, NULL);
		return;
	}
	row = row_overlay(model, item->returned, version->changed, later);
	version_set_changed(version, session_copy_row(batch->session, row), later);
}

/* What the server stored is the object's row now. */
static void
item_written(FlushBatch *batch, FlushItem *item)
{
	Model	   *model = batch->model;
	Object	   *object = item->object;
	ObjectVersion *version;
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));

	if (batch->kind == STATEMENT_DELETE)
	{
		object_deleted_by_statement(object);
		return;
	}
	version = object_touch(object);
	version->state = OBJECT_PERSISTENT;
	version_set_stored(version, item->returned);
	version_note(model, version, item->returned,
				 model_has_xmin(model) ? GetCurrentTransactionId() :
				 InvalidTransactionId);
	if (object->revision == item->revision &&
		(batch->kind != STATEMENT_INSERT || bms_is_empty(batch->late_columns)))
		version_set_changed(version, NULL, NULL);
	else if (version->changed != NULL)
		item_keep_later_changes(batch, item, version);
	if (model_key_of_row(model, item->returned->t_data, key))
		version_follow_key(model, version, key);
	object_refile(object);
}

/*
 * Links are not remembered once they are written; if the secondary table is
 * mapped as well, its objects are read again.
 */
static void
links_written(FlushBatch *batch, FlushItem *items, int nitems)
{
	for (int i = 0; i < nitems; i++)
		object_leave(items[i].object);
	sessions_expire_model(batch->model->relid, NULL);
}

static void
items_written(FlushBatch *batch, FlushItem *items, int nitems,
			  uint64 expirations_before)
{
	uint64		expirations;

	if (batch->model->association)
	{
		links_written(batch, items, nitems);
		return;
	}

	for (int i = 0; i < nitems; i++)
	{
		if (!items[i].written)
			report_unwritten(batch, &items[i]);
		item_written(batch, &items[i]);
	}
	/* triggers or cascades wrote to the table after RETURNING was computed */
	expirations = items[0].object->model_objects->expirations;
	if (expirations != expirations_before)
	{
		for (int i = 0; i < nitems; i++)
			object_expire_values(items[i].object);
	}
	if (batch->kind != STATEMENT_INSERT)
		sessions_expire_written(batch->model->relid, batch->session);
}

/* ------------------------------------------------------------------------
 * one statement
 * ------------------------------------------------------------------------
 */
static Datum
rows_array(Model *model, Datum *rows, int nrows)
{
	return PointerGetDatum(construct_array(rows, nrows, model->rowtype, -1,
										   false, TYPALIGN_DOUBLE));
}

/* Rows that reference each other, where no column may be NULL meanwhile. */
static void
report_unordered(FlushBatch *batch)
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
		int			i = member + FirstLowInvalidHeapAttributeNumber - 1;

		if (!nulls[i] && TupleDescAttr(model->tupdesc, i)->attnotnull)
			report_unordered(batch);
		nulls[i] = true;
	}
	return heap_form_tuple(model->tupdesc, values, nulls);
}

static Datum
item_row(FlushBatch *batch, FlushItem *item)
{
	if (batch->kind == STATEMENT_DELETE || batch->model->association)
		return row_of_key(batch->model, item->key);
	if (batch->kind == STATEMENT_INSERT && !bms_is_empty(batch->late_columns))
		return row_from_tuple(batch->model, row_without_late(batch, item));
	return row_from_tuple(batch->model, item->object->top->changed);
}

static Datum
versions_array(FlushBatch *batch, FlushItem *items, int nitems)
{
	Model	   *model = batch->model;
	Oid			typid = flush_version_type(model);
	Datum	   *versions = palloc(nitems * sizeof(Datum));
	bool	   *nulls = palloc(nitems * sizeof(bool));
	int			lower = 1;

	for (int i = 0; i < nitems; i++)
	{
		ObjectVersion *version = items[i].object->top;

		if (typid == INT8OID)
		{
			versions[i] = Int64GetDatum(version->number);
			nulls[i] = version->number < 0;
		}
		else
		{
			versions[i] = TransactionIdGetDatum(version->xmin);
			nulls[i] = !TransactionIdIsValid(version->xmin);
		}
	}
	return PointerGetDatum(construct_md_array(versions, nulls, 1, &nitems,
											  &lower, typid,
											  typid == INT8OID ? 8 : 4, true,
											  typid == INT8OID ?
											  TYPALIGN_DOUBLE : TYPALIGN_INT));
}

static Datum
old_rows_array(Model *model, FlushItem *items, int nitems)
{
	Datum	   *rows = palloc(nitems * sizeof(Datum));

	for (int i = 0; i < nitems; i++)
		rows[i] = row_of_key(model, items[i].key);
	return rows_array(model, rows, nitems);
}

List *
flush_unlink_subjects(const FlushBatch *batch)
{
	Model	   *model = batch->model;
	List	   *subjects = NIL;

	for (int i = 0; i < model->nrelationships; i++)
	{
		Relationship *relationship = model->relationships[i];
		StatementSubject *subject;

		if (relationship->direction != RELATIONSHIP_MANY_TO_MANY ||
			relationship->viewonly || relationship->passive_deletes)
			continue;
		subject = palloc0(sizeof(StatementSubject));
		subject->kind = STATEMENT_UNLINK_ALL;
		subject->model = model;
		subject->relationship = relationship;
		subjects = lappend(subjects, subject);
	}
	return subjects;
}

/* Deletes the association rows of what is about to be deleted. */
static uint64
unlink_deleted(FlushBatch *batch, Datum rows)
{
	uint64		deleted = 0;
	ListCell   *cell;

	foreach(cell, flush_unlink_subjects(batch))
	{
		StatementSubject *subject = lfirst(cell);

		deleted += own_statement_execute(flush_plan(subject), &rows, NULL,
										 None_Receiver);
		sessions_expire_model(subject->relationship->secondary, NULL);
	}
	return deleted;
}

StatementSubject
flush_subject(const FlushBatch *batch)
{
	bool		by_columns = batch->kind == STATEMENT_INSERT ||
	batch->kind == STATEMENT_UPDATE || batch->kind == STATEMENT_UPDATE_KEY;
	StatementSubject subject = {
		.kind = batch->kind,
		.model = batch->model,
		.columns = by_columns ? batch->columns :
		batch->kind == STATEMENT_RELEASE ? batch->late_columns : NULL
	};

	return subject;
}

/* Runs the batch's statement on some of its items; returns rows written. */
static int64
flush_items(FlushBatch *batch, FlushItem *items, int nitems, Datum *rows)
{
	Model	   *model = batch->model;
	FlushReceiver receiver = {.batch = batch,.items = items,.nitems = nitems};
	Datum		values[3];
	uint64		expirations = items[0].object->model_objects->expirations;
	StatementSubject subject = flush_subject(batch);
	FlushReceiver *outer = running;
	uint64		written = 0;

	receiver.pub = *None_Receiver;
	receiver.pub.receiveSlot = flush_receive;
	receiver.row_context = AllocSetContextCreate(CurrentMemoryContext,
												 "pg_orm flushed row",
												 ALLOCSET_SMALL_SIZES);
	values[0] = rows_array(model, rows, nitems);
	if (batch->kind != STATEMENT_INSERT && !model->association)
		values[1] = versions_array(batch, items, nitems);
	if (batch->kind == STATEMENT_UPDATE_KEY)
		values[2] = old_rows_array(model, items, nitems);
	running = &receiver;
	if (batch->kind == STATEMENT_DELETE)
		written = unlink_deleted(batch, values[0]);
	written += own_statement_execute(flush_plan(&subject), values, NULL,
									&receiver.pub);
	running = outer;
	items_written(batch, items, nitems, expirations);
	return written;
}

bool
insert_one_by_one(Model *model)
{
	List	   *relids = list_make1_oid(model->relid);
	bool		result = false;
	ListCell   *cell;

	if (model->relkind == RELKIND_PARTITIONED_TABLE)
		relids = find_all_inheritors(model->relid, AccessShareLock, NULL);
	foreach(cell, relids)
	{
		Relation	relation = table_open(lfirst_oid(cell), AccessShareLock);

		result = relation->rd_rel->relkind == RELKIND_VIEW ||
			relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE ||
			(relation->trigdesc != NULL &&
			 relation->trigdesc->trig_insert_before_row);
		table_close(relation, NoLock);
		if (result)
			break;
	}
	return result;
}

/* The object's key, in memory that no trigger can free. */
static Datum *
item_key(Model *model, Object *object)
{
	const Datum *key = object_key(object);
	Datum	   *copy;

	if (key == NULL)
		return NULL;
	copy = palloc(model->nkeys * sizeof(Datum));
	for (int i = 0; i < model->nkeys; i++)
		copy[i] = datumCopy(key[i], model->keys[i].typbyval,
							model->keys[i].typlen);
	return copy;
}

static void
sort_items(FlushBatch *batch, FlushItem *items, int nitems)
{
	for (int i = 1; i < nitems; i++)
	{
		if (item_compare(&items[i - 1], &items[i], batch->model) > 0)
		{
			qsort_arg(items, nitems, sizeof(FlushItem), item_compare,
					  batch->model);
			return;
		}
	}
}

static FlushItem *
batch_items(FlushBatch *batch)
{
	int			nitems = list_length(batch->objects);
	FlushItem  *items = palloc0(nitems * sizeof(FlushItem));

	for (int i = 0; i < nitems; i++)
	{
		Object	   *object = list_nth(batch->objects, i);

		items[i].object = object;
		items[i].key = item_key(batch->model, object);
	}
	sort_items(batch, items, nitems);
	return items;
}

/*
 * Has the object still the change that its batch is of?  Triggers of the
 * statements before may have made it another one.
 */
static bool
item_is_due(FlushBatch *batch, FlushItem *item)
{
	ObjectVersion *top = item->object->top;

	return version_is_pending_work(top) &&
		flush_change_kind(batch->model, top) == batch->kind;
}

/* Deletes send keys only, and are to be checked as a whole. */
static Size
chunk_bytes(FlushBatch *batch)
{
	return batch->kind == STATEMENT_DELETE ? MaxAllocSize / 2 :
		FLUSH_CHUNK_BYTES;
}

/*
 * Writes items from *first on, as many as one statement takes; moves *first
 * past them, and returns the number of rows written.
 */
static int64
flush_chunk(FlushBatch *batch, FlushItem **first, FlushItem *end,
			bool one_by_one)
{
	int			max = one_by_one ? 1 : end - *first;
	FlushItem  *items = *first;
	Datum	   *rows = palloc(max * sizeof(Datum));
	Size		size = 0;
	int			n = 0;

	while (*first < end && n < max && size < chunk_bytes(batch) &&
		   (n == 0 || items[n - 1].key != NULL))
	{
		FlushItem	item = *(*first)++;

		if (!item_is_due(batch, &item))
			continue;
		item.revision = item.object->revision;
		item.sent = item_row(batch, &item);
		size += VARSIZE_ANY(DatumGetPointer(item.sent));
		items[n++] = item;		/* closes the gap of those left out */
	}
	sort_items(batch, items, n);
	for (int i = 0; i < n; i++)
		rows[i] = items[i].sent;
	return n == 0 ? 0 : flush_items(batch, items, n, rows);
}

static bool
fits_one_statement(FlushBatch *batch, FlushItem *items, FlushItem *end)
{
	Size		size = 0;

	for (FlushItem *item = items; item < end; item++)
	{
		if (item->object->top->changed != NULL)
			size += item->object->top->changed->t_len;
	}
	return size < chunk_bytes(batch);
}

/* Foreign keys to the table itself that can be NULL for a while. */
static Bitmapset *
nullable_self_columns(FlushBatch *batch)
{
	Bitmapset  *result = NULL;
	int			member = -1;

	while ((member = bms_next_member(batch->self_columns, member)) >= 0)
	{
		int			i = member + FirstLowInvalidHeapAttributeNumber - 1;

		if (!TupleDescAttr(batch->model->tupdesc, i)->attnotnull)
			result = bms_add_member(result, member);
	}
	return result;
}

static void
lock_rows(FlushBatch *batch)
{
	Object	   *first = linitial(batch->objects);
	StatementSubject subject;
	Datum		rows;

	batch->model = objects_model(first->model_objects);
	subject = flush_subject(batch);
	rows = old_rows_array(batch->model, batch_items(batch),
						  list_length(batch->objects));
	own_statement_execute(flush_plan(&subject), &rows, NULL, None_Receiver);
}

static int64
write_batch(FlushBatch *batch)
{
	FlushItem  *items = batch_items(batch);
	FlushItem  *end = items + list_length(batch->objects);
	bool		one_by_one = batch->kind == STATEMENT_INSERT &&
		insert_one_by_one(batch->model);
	MemoryContext chunk = AllocSetContextCreate(CurrentMemoryContext,
												"pg_orm flush",
												ALLOCSET_DEFAULT_SIZES);
	int64		written = 0;

	if (batch->kind == STATEMENT_INSERT && batch->self_keys != NIL &&
		(one_by_one || !fits_one_statement(batch, items, end)) &&
		!flush_order_items(batch, items, end - items))
		batch->late_columns = bms_add_members(batch->late_columns,
											  nullable_self_columns(batch));
	while (items < end)
	{
		MemoryContext old = MemoryContextSwitchTo(chunk);

		/* triggers of the statements before may have altered the table */
		batch->model = objects_model(items->object->model_objects);
		(void) model_objects(batch->session, batch->model);
		written += flush_chunk(batch, &items, end, one_by_one);
		MemoryContextSwitchTo(old);
		MemoryContextReset(chunk);
	}
	MemoryContextDelete(chunk);
	return written;
}

int64
flush_batch(FlushBatch *batch)
{
	switch (batch->kind)
	{
		case STATEMENT_RELEASE:
			flush_release(batch);
			return 0;
		case STATEMENT_LOCK:
			lock_rows(batch);
			return 0;
		default:
			return write_batch(batch);
	}
}

void
flush_release(FlushBatch *batch)
{
	int			nitems = list_length(batch->objects);
	FlushItem  *items;
	Datum		values[2];
	StatementSubject subject = {
		.kind = STATEMENT_RELEASE,
		.model = batch->model,
		.columns = batch->late_columns
	};

	if (bms_is_empty(batch->late_columns))
		return;
	if (OidIsValid(batch->unordered))
		report_unordered(batch);
	items = batch_items(batch);
	values[0] = old_rows_array(batch->model, items, nitems);
	values[1] = versions_array(batch, items, nitems);
	own_statement_execute(flush_plan(&subject), values, NULL, None_Receiver);
}

/* ------------------------------------------------------------------------
 * how far it has come
 * ------------------------------------------------------------------------
 */
void
flush_progress_reset(void)
{
	running = NULL;
}

bool
flush_progress(FlushProgress *progress)
{
	if (running == NULL)
		return false;
	progress->model = running->batch->model;
	progress->kind = running->batch->kind;
	progress->nobjects = running->nitems;
	/* links do not come back */
	progress->next = running->batch->model->association ?
		running->nitems : running->guess;
	return true;
}

Object *
flush_progress_object(int i)
{
	return running->items[i].object;
}

Datum
flush_progress_row(int i)
{
	return running->items[i].sent;
}
