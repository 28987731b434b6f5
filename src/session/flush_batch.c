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
#include "catalog/pg_trigger.h"
#include "executor/spi.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "compat.h"
#include "session/flush.h"

/*
 * Bytes of rows that one statement is given at most, and where nobody can tell
 * how many statements there are: then memory is used again while it is in the
 * processor's cache, and the rows fit into work_mem.
 */
#define FLUSH_CHUNK_BYTES (64 * 1024 * 1024)
#define FLUSH_SMALL_CHUNK_BYTES (1024 * 1024)

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
		case STATEMENT_INSERT_AS_SENT:
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

/*
 * The item of a row that came back: the guess, or else it is looked for.  An
 * UPDATE of several rows returns the key that it was found by behind its
 * columns, since a trigger may have changed the key itself, and a DELETE
 * nothing else.
 */
static FlushItem *
receiver_find(FlushReceiver *receiver, TupleTableSlot *slot, HeapTuple row)
{
	Model	   *model = receiver->batch->model;
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));

	slot_getallattrs(slot);
	if (receiver->batch->kind == STATEMENT_INSERT)
		(void) model_key_of_row(model, row->t_data, key);
	else
		memcpy(key, slot->tts_values + slot->tts_nvalid - model->nkeys,
			   model->nkeys * sizeof(Datum));
	if (receiver->guess < receiver->nitems &&
		model_key_equal(model, receiver->items[receiver->guess].key, key))
		return &receiver->items[receiver->guess];
	return flush_item_find(model, receiver->items, receiver->nitems, key);
}

/* A row that was written. */
static bool
flush_receive(TupleTableSlot *slot, DestReceiver *self)
{
	FlushReceiver *receiver = (FlushReceiver *) self;
	FlushBatch *batch = receiver->batch;
	Model	   *model = batch->model;
	MemoryContext old = MemoryContextSwitchTo(receiver->row_context);
	HeapTuple	row = NULL;
	FlushItem  *item;

	if (batch->kind != STATEMENT_DELETE)
		row = row_of_slot(model, slot, batch->kind == STATEMENT_INSERT ||
						  receiver->nitems == 1 ? 0 : model->nkeys);
	item = receiver->nitems == 1 ? receiver->items :
		receiver_find(receiver, slot, row);
	if (item == NULL)
		elog(ERROR, "a row of %s came back from a flush that did not send it",
			 model->relation_name);
	item->written = true;
	if (row != NULL)
		item->row = session_copy_row(batch->session, row);
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
		later = row_difference(model, item->row, version->changed, later);
	if (bms_is_empty(later))
	{
		version_set_changed(version, NULL, NULL);
		return;
	}
	row = row_overlay(model, item->row, version->changed, later);
	version_set_changed(version, session_copy_row(batch->session, row), later);
}

/* What came back is stored, or what was sent if nothing had to come back. */
static void
item_take_row(FlushBatch *batch, FlushItem *item, ObjectVersion *version,
			  bool changed_later)
{
	HeapTupleData sent = row_as_tuple(item->sent);

	if (item->row == NULL)
		item->row = session_copy_row(batch->session, &sent);
	version_set_stored(version, item->row);
	if (!changed_later &&
		(batch->kind != STATEMENT_INSERT || bms_is_empty(batch->late_columns)))
		version_set_changed(version, NULL, NULL);
	else if (version->changed != NULL)
		item_keep_later_changes(batch, item, version);
}

/* What the server stored is the object's row now. */
static void
item_written(FlushBatch *batch, FlushItem *item)
{
	Model	   *model = batch->model;
	Object	   *object = item->object;
	ObjectVersion *version;
	bool		changed_later;
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));

	if (batch->kind == STATEMENT_DELETE)
	{
		object_deleted_by_statement(object);
		return;
	}
	version = object_touch(object);
	version->state = OBJECT_PERSISTENT;
	changed_later = object->revision != item->revision;
	if (item->row == NULL && !changed_later)
		version_store_changes(version);
	else
		item_take_row(batch, item, version, changed_later);
	version_note(model, version, version->stored,
				 model_has_xmin(model) ? GetCurrentTransactionId() :
				 InvalidTransactionId);
	if (model_key_of_row(model, version->stored->t_data, key))
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
List *
flush_unlink_subjects(const FlushBatch *batch, int nobjects)
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
		subject->one = nobjects == 1;
		subjects = lappend(subjects, subject);
	}
	return subjects;
}

static uint64
write_rows(const StatementSubject *subject, FlushItem *item, Datum *arrays,
		   DestReceiver *dest)
{
	FlushParameters parameters = {.values = arrays};

	if (subject->one)
		parameters = flush_row_parameters(subject, item);
	return own_statement_execute(flush_plan(subject), parameters.values,
								 parameters.nulls, dest);
}

/* Deletes the association rows of what is about to be deleted. */
static uint64
unlink_deleted(FlushBatch *batch, FlushItem *items, int nitems, Datum *arrays)
{
	uint64		deleted = 0;
	ListCell   *cell;

	foreach(cell, flush_unlink_subjects(batch, nitems))
	{
		StatementSubject *subject = lfirst(cell);

		deleted += write_rows(subject, items, arrays, None_Receiver);
		sessions_expire_model(subject->relationship->secondary, NULL);
	}
	return deleted;
}

StatementSubject
flush_subject(const FlushBatch *batch, int nobjects)
{
	bool		by_columns = batch->kind == STATEMENT_INSERT ||
	batch->kind == STATEMENT_UPDATE || batch->kind == STATEMENT_UPDATE_KEY;
	StatementSubject subject = {
		.kind = flush_stores_as_sent(batch) ? STATEMENT_INSERT_AS_SENT :
		batch->kind,
		.model = batch->model,
		.columns = by_columns ? batch->columns :
		batch->kind == STATEMENT_RELEASE ? batch->late_columns : NULL,
		.one = nobjects == 1 && batch->kind != STATEMENT_LOCK &&
		batch->kind != STATEMENT_RELEASE
	};

	return subject;
}

static void
items_stored_as_sent(FlushBatch *batch, FlushItem *items, int nitems,
					 uint64 stored)
{
	if (stored != nitems)
		elog(ERROR, "%d rows of %s were sent, and " UINT64_FORMAT " were stored",
			 nitems, batch->model->relation_name, stored);
	for (int i = 0; i < nitems; i++)
		items[i].written = true;
}

/* The items' rows, and what else a statement of several is sent. */
static void
put_arrays(FlushBatch *batch, FlushItem *items, int nitems, Datum *arrays)
{
	arrays[0] = flush_rows_array(batch->model, items, nitems);
	if (batch->kind != STATEMENT_INSERT && !batch->model->association)
		arrays[1] = flush_versions_array(batch, items, nitems);
	if (batch->kind == STATEMENT_UPDATE_KEY)
		arrays[2] = flush_old_rows_array(batch->model, items, nitems);
}

/* Runs the batch's statement on some of its items; returns rows written. */
static int64
flush_items(FlushBatch *batch, FlushItem *items, int nitems)
{
	FlushReceiver receiver = {.batch = batch,.items = items,.nitems = nitems};
	Datum		arrays[3];
	uint64		expirations = items[0].object->model_objects->expirations;
	StatementSubject subject = flush_subject(batch, nitems);
	FlushReceiver *outer = running;
	uint64		written = 0;

	receiver.pub = *None_Receiver;
	receiver.pub.receiveSlot = flush_receive;
	receiver.row_context = AllocSetContextCreate(CurrentMemoryContext,
												 "pg_orm flushed row",
												 ALLOCSET_SMALL_SIZES);
	if (subject.one)
		flush_send_row(batch->model, &items[0]);
	else
		put_arrays(batch, items, nitems, arrays);
	running = &receiver;
	if (batch->kind == STATEMENT_DELETE)
		written = unlink_deleted(batch, items, nitems, arrays);
	written += write_rows(&subject, items, arrays, &receiver.pub);
	running = outer;
	if (subject.kind == STATEMENT_INSERT_AS_SENT)
		items_stored_as_sent(batch, items, nitems, written);
	items_written(batch, items, nitems, expirations);
	return written;
}

/* The relation that rows are inserted into, with its partitions. */
static List *
written_relations(Model *model, LOCKMODE lock)
{
	if (model->relkind == RELKIND_PARTITIONED_TABLE)
		return find_all_inheritors(model->relid, lock, NULL);
	LockRelationOid(model->relid, lock);
	return list_make1_oid(model->relid);
}

static bool
has_say_before_insert(Oid relid)
{
	Relation	relation = table_open(relid, NoLock);
	bool		result = relation->rd_rel->relkind == RELKIND_VIEW ||
	relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE ||
	(relation->trigdesc != NULL &&
	 relation->trigdesc->trig_insert_before_row);

	table_close(relation, NoLock);
	return result;
}

static bool
any_has_say_before_insert(List *relids)
{
	ListCell   *cell;

	foreach(cell, relids)
	{
		if (has_say_before_insert(lfirst_oid(cell)))
			return true;
	}
	return false;
}

bool
insert_one_by_one(Model *model)
{
	return any_has_say_before_insert(written_relations(model,
													   AccessShareLock));
}

/*
 * Does the server make nothing itself of a row of these columns?  It may by
 * rules, and by generated columns and defaults of others.
 */
static bool
makes_nothing(Relation relation, Bitmapset *columns)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);

	if (relation->rd_rules != NULL ||
		(tupdesc->constr != NULL && compat_has_generated(tupdesc->constr)))
		return false;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		if (!TupleDescAttr(tupdesc, i)->attisdropped &&
			!bms_is_member(column_member(i + 1), columns) &&
			build_column_default(relation, i + 1) != NULL)
			return false;
	}
	return true;
}

/*
 * Locked as by the INSERT, so that no trigger can come meanwhile.  RETURNING
 * needs the right to read the row, which is asked for here; policies may have
 * something to say about that, so under row security rows come back.  They do
 * as well while documents are saved, whose errors tell how far it has come.
 */
bool
flush_stores_as_sent(const FlushBatch *batch)
{
	Model	   *model = batch->model;
	Relation	relation;
	bool		result;

	if (batch->kind != STATEMENT_INSERT || model->association ||
		batch->one_by_one ||
		batch->session->hold_nest_level > 0 ||
		!bms_is_empty(batch->late_columns) || bms_is_empty(batch->columns) ||
		any_has_say_before_insert(written_relations(model, RowExclusiveLock)) ||
		check_enable_rls(model->relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	access_require_select(model);
	relation = table_open(model->relid, NoLock);
	result = makes_nothing(relation, batch->columns);
	table_close(relation, NoLock);
	return result;
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

/*
 * Would an INSERT by several statements be told from one?  By triggers, rules
 * and rows that reference each other.  Partitions may have their own.
 */
static bool
insert_is_seen_whole(FlushBatch *batch)
{
	Relation	relation = table_open(batch->model->relid, NoLock);
	TriggerDesc *triggers = relation->trigdesc;
	bool		result = batch->self_keys != NIL ||
	relation->rd_rel->relkind != RELKIND_RELATION ||
	relation->rd_rules != NULL;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (!trigger->tgisinternal && TRIGGER_FOR_INSERT(trigger->tgtype))
			result = true;
	}
	table_close(relation, NoLock);
	return result;
}

/* Deletes send keys only, and are to be checked as a whole. */
static Size
chunk_bytes(FlushBatch *batch)
{
	if (batch->kind == STATEMENT_DELETE)
		return MaxAllocSize / 2;
	if (batch->kind == STATEMENT_INSERT && !insert_is_seen_whole(batch))
		return FLUSH_SMALL_CHUNK_BYTES;
	return FLUSH_CHUNK_BYTES;
}

/*
 * Writes items from *first on, as many as one statement takes; moves *first
 * past them, and returns the number of rows written.
 */
static int64
flush_chunk(FlushBatch *batch, FlushItem **first, FlushItem *end)
{
	int			max = batch->one_by_one ? 1 : end - *first;
	FlushItem  *items = *first;
	Size		size = 0;
	int			n = 0;

	while (*first < end && n < max && size < batch->chunk_bytes &&
		   (n == 0 || items[n - 1].key != NULL))
	{
		FlushItem	item = *(*first)++;

		if (!item_is_due(batch, &item))
			continue;
		item.revision = item.object->revision;
		item.row = flush_item_row(batch, &item);
		size += item.row->t_len;
		items[n++] = item;		/* closes the gap of those left out */
	}
	flush_sort_items(batch, items, n);
	return n == 0 ? 0 : flush_items(batch, items, n);
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
	return size < batch->chunk_bytes;
}

/* Foreign keys to the table itself that can be NULL for a while. */
static Bitmapset *
nullable_self_columns(FlushBatch *batch)
{
	Bitmapset  *result = NULL;
	int			member = -1;

	while ((member = bms_next_member(batch->self_columns, member)) >= 0)
	{
		int			i = member_column(member) - 1;

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
	subject = flush_subject(batch, list_length(batch->objects));
	rows = flush_old_rows_array(batch->model, flush_batch_items(batch),
						  list_length(batch->objects));
	own_statement_execute(flush_plan(&subject), &rows, NULL, None_Receiver);
}

static int64
write_batch(FlushBatch *batch)
{
	FlushItem  *items = flush_batch_items(batch);
	FlushItem  *end = items + list_length(batch->objects);
	MemoryContext chunk = AllocSetContextCreate(CurrentMemoryContext,
												"pg_orm flush",
												ALLOCSET_DEFAULT_SIZES);
	int64		written = 0;

	batch->one_by_one = batch->kind == STATEMENT_INSERT &&
		insert_one_by_one(batch->model);
	batch->chunk_bytes = chunk_bytes(batch);
	if (batch->kind == STATEMENT_INSERT && batch->self_keys != NIL &&
		(batch->one_by_one || !fits_one_statement(batch, items, end)) &&
		!flush_order_items(batch, items, end - items))
		batch->late_columns = bms_add_members(batch->late_columns,
											  nullable_self_columns(batch));
	while (items < end)
	{
		MemoryContext old = MemoryContextSwitchTo(chunk);

		/* triggers of the statements before may have altered the table */
		batch->model = objects_model(items->object->model_objects);
		(void) model_objects(batch->session, batch->model);
		written += flush_chunk(batch, &items, end);
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
		flush_report_unordered(batch);
	items = flush_batch_items(batch);
	values[0] = flush_old_rows_array(batch->model, items, nitems);
	values[1] = flush_versions_array(batch, items, nitems);
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
