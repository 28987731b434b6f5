/*-------------------------------------------------------------------------
 *
 * flush.c
 *	  Writes what a session has pending, by one statement per user, model,
 *	  kind of change and set of columns: INSERTs and UPDATEs in foreign-key
 *	  order, then DELETEs in the reverse of it.
 *
 * The rows travel as one parameter, an array of the model's row type, sorted
 * by key, so that two flushes lock in the same order.  What the server stored
 * comes back by RETURNING and is matched by key.  Each batch is written as
 * the user who made the changes.
 *
 * Objects are marked only after their statement has returned, since triggers
 * may begin and end subtransactions meanwhile.  Memory is the SPI procedure's
 * and goes with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "compat.h"
#include "session/internal.h"

/* Bytes of rows that one statement is given at most. */
#define FLUSH_CHUNK_BYTES (64 * 1024 * 1024)

/* A flush whose triggers go on adding is stopped, as the reference does. */
#define FLUSH_ROUNDS_MAX 100

/* Objects of one user and model with one kind of change. */
typedef struct FlushBatch
{
	Session    *session;
	Model	   *model;
	StatementKind kind;
	Oid			userid;
	Bitmapset  *columns;		/* that the statement names */
	List	   *objects;		/* Object * */
} FlushBatch;

/* One object while its statement runs. */
typedef struct FlushItem
{
	Object	   *object;
	Datum	   *key;			/* under which its row comes back */
	uint32		revision;		/* of its changes when they were sent */
	HeapTuple	returned;		/* in the session's memory; NULL if none came */
} FlushItem;

typedef struct FlushReceiver
{
	DestReceiver pub;
	FlushBatch *batch;
	FlushItem  *items;
	int			nitems;
	int			guess;			/* the item that the next row is likely of */
} FlushReceiver;

/* For the CONTEXT of errors. */
typedef struct FlushContext
{
	Session    *session;
	FlushReason reason;
	FlushBatch *batch;
} FlushContext;

/* ------------------------------------------------------------------------
 * the CONTEXT line
 * ------------------------------------------------------------------------
 */
static const char *
reason_text(FlushReason reason)
{
	switch (reason)
	{
		case FLUSH_EXPLICIT:
			return "by orm.flush()";
		case FLUSH_AUTOFLUSH:
			return "before this statement (orm.autoflush)";
		case FLUSH_SAVEPOINT:
			return "before a savepoint";
		case FLUSH_COMMIT:
			return "at the end of the transaction";
	}
	return "";
}

static const char *
kind_text(StatementKind kind)
{
	switch (kind)
	{
		case STATEMENT_INSERT:
			return "INSERT";
		case STATEMENT_DELETE:
			return "DELETE";
		default:
			return "UPDATE";
	}
}

static void
flush_error_context(void *arg)
{
	FlushContext *context = arg;

	if (context->batch == NULL)
		errcontext("flush of session \"%s\" %s", context->session->name,
				   reason_text(context->reason));
	else
		errcontext("flush of session \"%s\" %s: %s of %d %s",
				   context->session->name, reason_text(context->reason),
				   kind_text(context->batch->kind),
				   list_length(context->batch->objects),
				   context->batch->model->class_name);
}

/* ------------------------------------------------------------------------
 * the text of the statements
 * ------------------------------------------------------------------------
 */
static const char *
column_of_member(Model *model, int member)
{
	return column_sql(model, member + FirstLowInvalidHeapAttributeNumber);
}

static char *
insert_sql(Model *model, Bitmapset *columns)
{
	StringInfoData names,
				values;
	int			member = -1;

	if (bms_is_empty(columns))
		return psprintf("/* pg_orm flush %s */ INSERT INTO %s AS t DEFAULT VALUES RETURNING t.*",
						class_comment(model), model->relation_name);
	initStringInfo(&names);
	initStringInfo(&values);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		const char *separator = names.len > 0 ? ", " : "";
		const char *column = column_of_member(model, member);

		appendStringInfo(&names, "%s%s", separator, column);
		appendStringInfo(&values, "%sr.%s", separator, column);
	}
	return psprintf("/* pg_orm flush %s */ INSERT INTO %s AS t (%s) OVERRIDING SYSTEM VALUE "
					"SELECT %s FROM pg_catalog.unnest($1) AS r RETURNING t.*",
					class_comment(model), model->relation_name, names.data,
					values.data);
}

/* A key column of the rows sent: r.k, or by its number in an alias list. */
static char *
sent_column_sql(Model *model, const char *prefix, AttrNumber attnum)
{
	if (strcmp(prefix, "r") == 0)
		return psprintf("r.%s", column_sql(model, attnum));
	return psprintf("%s%d", prefix, attnum);
}

/* "t.k = r.k AND ..." */
static char *
key_condition_sql(Model *model, const char *prefix)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
	{
		AttrNumber	attnum = model->keys[i].attnum;

		appendStringInfo(&sql, "%st.%s %s %s", i > 0 ? " AND " : "",
						 column_sql(model, attnum),
						 operator_sql(model->keys[i].eq_operator),
						 sent_column_sql(model, prefix, attnum));
	}
	return sql.data;
}

/* ", r.k, ..." */
static char *
key_list_sql(Model *model, const char *prefix)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, ", %s",
						 sent_column_sql(model, prefix,
										 model->keys[i].attnum));
	return sql.data;
}

static char *
update_sql(Model *model, Bitmapset *columns)
{
	StringInfoData set;
	int			member = -1;

	initStringInfo(&set);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		const char *column = column_of_member(model, member);

		appendStringInfo(&set, "%s%s = r.%s", set.len > 0 ? ", " : "",
						 column, column);
	}
	return psprintf("/* pg_orm flush %s */ UPDATE %s AS t SET %s "
					"FROM pg_catalog.unnest($1) AS r WHERE %s RETURNING t.*%s",
					class_comment(model), model->relation_name, set.data,
					key_condition_sql(model, "r"), key_list_sql(model, "r"));
}

/* "n1, n2, ...": names for the columns of a row, by attribute number */
static void
append_alias_list(StringInfo sql, Model *model, const char *prefix)
{
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		if (!TupleDescAttr(model->tupdesc, i)->attisdropped)
			appendStringInfo(sql, "%s%s%d",
							 sql->data[sql->len - 1] == '(' ? "" : ", ",
							 prefix, i + 1);
	}
}

/* With the old rows as a second array, to find rows whose key changes. */
static char *
update_key_sql(Model *model, Bitmapset *columns)
{
	StringInfoData set,
				names;
	int			member = -1;

	initStringInfo(&set);
	initStringInfo(&names);
	while ((member = bms_next_member(columns, member)) >= 0)
		appendStringInfo(&set, "%s%s = r.n%d", set.len > 0 ? ", " : "",
						 column_of_member(model, member),
						 member + FirstLowInvalidHeapAttributeNumber);
	appendStringInfoChar(&names, '(');
	append_alias_list(&names, model, "n");
	append_alias_list(&names, model, "o");
	appendStringInfoChar(&names, ')');
	return psprintf("/* pg_orm flush %s */ UPDATE %s AS t SET %s "
					"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS r %s "
					"WHERE %s RETURNING t.*%s",
					class_comment(model), model->relation_name, set.data,
					names.data, key_condition_sql(model, "r.o"),
					key_list_sql(model, "r.o"));
}

static char *
delete_sql(Model *model, Bitmapset *columns)
{
	return psprintf("/* pg_orm flush %s */ DELETE FROM %s AS t "
					"USING pg_catalog.unnest($1) AS r WHERE %s RETURNING r.*",
					class_comment(model), model->relation_name,
					key_condition_sql(model, "r"));
}

static SPIPlanPtr
batch_plan(FlushBatch *batch)
{
	Oid			argtypes[2] = {batch->model->array_type,
	batch->model->array_type};

	switch (batch->kind)
	{
		case STATEMENT_INSERT:
			return statement_plan(batch->model, batch->kind, batch->columns,
								  1, argtypes, insert_sql);
		case STATEMENT_UPDATE:
			return statement_plan(batch->model, batch->kind, batch->columns,
								  1, argtypes, update_sql);
		case STATEMENT_UPDATE_KEY:
			return statement_plan(batch->model, batch->kind, batch->columns,
								  2, argtypes, update_key_sql);
		default:
			return statement_plan(batch->model, batch->kind, NULL,
								  1, argtypes, delete_sql);
	}
}

/* ------------------------------------------------------------------------
 * what comes back
 * ------------------------------------------------------------------------
 */
static int
key_compare(Model *model, const Datum *a, const Datum *b)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		TypeCacheEntry *type = lookup_type_cache(model->keys[i].typid,
												 TYPECACHE_CMP_PROC_FINFO);
		int			order;

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

/* The item of a key: the guess, or else by binary search. */
static FlushItem *
receiver_find(FlushReceiver *receiver, Datum *key)
{
	Model	   *model = receiver->batch->model;
	int			low = 0,
				high = receiver->nitems;

	if (receiver->nitems == 1)
		return &receiver->items[0];
	if (receiver->guess < receiver->nitems &&
		model_key_equal(model, receiver->items[receiver->guess].key, key))
		return &receiver->items[receiver->guess];
	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = key_compare(model, receiver->items[middle].key,
										key);

		if (order == 0)
			return &receiver->items[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/*
 * A row that was written. An UPDATE's has the key that it was found by behind
 * its columns, since a trigger may have changed the key itself.
 */
static bool
flush_receive(TupleTableSlot *slot, DestReceiver *self)
{
	FlushReceiver *receiver = (FlushReceiver *) self;
	FlushBatch *batch = receiver->batch;
	Model	   *model = batch->model;
	int			nextra = batch->kind == STATEMENT_INSERT ||
		batch->kind == STATEMENT_DELETE ? 0 : model->nkeys;
	HeapTuple	row = row_of_slot(model, slot, nextra);
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	FlushItem  *item;

	if (nextra == 0)
		(void) model_key_of_row(model, row->t_data, key);
	else
		memcpy(key, slot->tts_values + slot->tts_nvalid - nextra,
			   nextra * sizeof(Datum));
	item = receiver_find(receiver, key);
	if (item == NULL)
		elog(ERROR, "a row of %s came back from a flush that did not send it",
			 model->relation_name);
	item->returned = session_copy_row(batch->session, row);
	receiver->guess = item - receiver->items + 1;
	return true;
}

/* ------------------------------------------------------------------------
 * marking the objects
 * ------------------------------------------------------------------------
 */

/*
 * The row was not written, without an error of the server's: somebody deleted
 * it, or row security or a trigger left it out.
 */
static void
report_unwritten(FlushBatch *batch, FlushItem *item)
{
	Model	   *model = batch->model;
	char	   *key = item->key ? model_key_to_text(model, item->key) : "(NULL)";
	bool		exists = item->key != NULL &&
		session_row_exists(batch->session, model, item->key);

	if (!exists && batch->kind != STATEMENT_INSERT)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("%s %s is stale: its row is gone", model->class_name,
						key),
				 errhint("Somebody else deleted it since it was loaded. ROLLBACK and try again.")));
	if (!access_memory_suffices(model) && batch->kind != STATEMENT_INSERT)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s of %s %s was left out by a row-security policy or a trigger",
						kind_text(batch->kind), model->class_name, key)));
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("%s of %s %s was left out by a trigger",
					kind_text(batch->kind), model->class_name, key)));
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
	if (object->revision == item->revision)
		version_set_changed(version, NULL, NULL);
	else if (version->changed != NULL)	/* changed again by a trigger */
		version_set_changed(version, version->changed,
							row_difference(model, item->returned,
										   version->changed, NULL));
	if (model_key_of_row(model, item->returned->t_data, key) &&
		(version->key == NULL ||
		 !model_key_equal(model, key, version->key->values)))
		version_set_key(model, version, key);
	object_refile(object);
}

static void
items_written(FlushBatch *batch, FlushItem *items, int nitems,
			  uint64 expirations_before)
{
	uint64		expirations;

	for (int i = 0; i < nitems; i++)
	{
		if (items[i].returned == NULL)
			report_unwritten(batch, &items[i]);
		item_written(batch, &items[i]);
	}
	/* triggers or cascades wrote to the table after RETURNING was computed */
	expirations = model_objects(batch->session, batch->model)->expirations;
	if (expirations != expirations_before)
	{
		for (int i = 0; i < nitems; i++)
			object_expire_values(items[i].object);
	}
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

static Datum
item_row(FlushBatch *batch, FlushItem *item)
{
	if (batch->kind == STATEMENT_DELETE)
		return row_of_key(batch->model, item->key);
	return row_from_tuple(batch->model, item->object->top->changed);
}

/* Runs the batch's statement on some of its items; returns rows written. */
static int64
flush_items(FlushBatch *batch, FlushItem *items, int nitems, Datum *rows)
{
	Model	   *model = batch->model;
	FlushReceiver receiver = {.batch = batch,.items = items,.nitems = nitems};
	Datum		values[2];
	uint64		expirations = model_objects(batch->session, model)->expirations;
	uint64		written;

	receiver.pub = *None_Receiver;
	receiver.pub.receiveSlot = flush_receive;
	values[0] = rows_array(model, rows, nitems);
	if (batch->kind == STATEMENT_UPDATE_KEY)
	{
		Datum	   *old_rows = palloc(nitems * sizeof(Datum));

		for (int i = 0; i < nitems; i++)
			old_rows[i] = row_of_key(model, items[i].key);
		values[1] = rows_array(model, old_rows, nitems);
	}
	written = own_statement_execute(batch_plan(batch), values, NULL,
									&receiver.pub);
	items_written(batch, items, nitems, expirations);
	return written;
}

/*
 * Do triggers before the INSERT have a say in which rows come back, and with
 * which key?  Then they are written one by one.
 */
static bool
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

		result = relation->trigdesc != NULL &&
			(relation->trigdesc->trig_insert_before_row ||
			 relation->trigdesc->trig_insert_instead_row);
		table_close(relation, NoLock);
		if (result)
			break;
	}
	return result;
}

static FlushItem *
batch_items(FlushBatch *batch)
{
	int			nitems = list_length(batch->objects);
	FlushItem  *items = palloc0(nitems * sizeof(FlushItem));
	bool		sorted = true;

	for (int i = 0; i < nitems; i++)
	{
		Object	   *object = list_nth(batch->objects, i);

		items[i].object = object;
		items[i].revision = object->revision;
		items[i].key = unconstify(Datum *, object_key(object));
		if (i > 0 && item_compare(&items[i - 1], &items[i], batch->model) > 0)
			sorted = false;
	}
	if (!sorted)
		qsort_arg(items, nitems, sizeof(FlushItem), item_compare,
				  batch->model);
	return items;
}

static int64
flush_batch(FlushBatch *batch)
{
	int			nitems = list_length(batch->objects);
	FlushItem  *items = batch_items(batch);
	bool		one_by_one = batch->kind == STATEMENT_INSERT &&
		insert_one_by_one(batch->model);
	int64		written = 0;

	for (int first = 0; first < nitems;)
	{
		Datum	   *rows = palloc((nitems - first) * sizeof(Datum));
		Size		size = 0;
		int			n = 0;

		while (first + n < nitems && size < FLUSH_CHUNK_BYTES &&
			   (n == 0 || !(one_by_one || items[first + n - 1].key == NULL)))
		{
			rows[n] = item_row(batch, &items[first + n]);
			size += VARSIZE_ANY(DatumGetPointer(rows[n]));
			n++;
		}
		written += flush_items(batch, items + first, n, rows);
		first += n;
	}
	return written;
}

/* ------------------------------------------------------------------------
 * batches and their order
 * ------------------------------------------------------------------------
 */
static StatementKind
change_kind(Model *model, ObjectVersion *version)
{
	if (version->state == OBJECT_PENDING)
		return STATEMENT_INSERT;
	if (version->marked_deleted)
		return STATEMENT_DELETE;
	for (int i = 0; i < model->nkeys; i++)
	{
		if (bms_is_member(model->keys[i].attnum -
						  FirstLowInvalidHeapAttributeNumber,
						  version->modified))
			return STATEMENT_UPDATE_KEY;
	}
	return STATEMENT_UPDATE;
}

/* An INSERT names all columns that any of its rows gives. */
static FlushBatch *
batch_for(List **batches, Object *object, Model *model)
{
	StatementKind kind = change_kind(model, object->top);
	Bitmapset  *columns = object->top->modified;
	FlushBatch *batch;
	ListCell   *cell;

	foreach(cell, *batches)
	{
		batch = lfirst(cell);
		if (batch->model != model || batch->kind != kind)
			continue;
		if (kind == STATEMENT_INSERT)
			batch->columns = bms_add_members(batch->columns, columns);
		if (kind == STATEMENT_INSERT || kind == STATEMENT_DELETE ||
			bms_equal(batch->columns, columns))
			return batch;
	}
	batch = palloc0(sizeof(FlushBatch));
	batch->session = object->session;
	batch->model = model;
	batch->kind = kind;
	batch->columns = bms_copy(columns);
	*batches = lappend(*batches, batch);
	return batch;
}

/* Appends the model after those of its foreign keys' targets. */
static void
order_visit(Model *model, List *models, List **visited, List **order)
{
	Relation	relation;
	List	   *targets = NIL;
	ListCell   *cell;

	if (list_member_ptr(*visited, model))
		return;
	*visited = lappend(*visited, model);
	relation = table_open(model->relid, AccessShareLock);
	foreach(cell, RelationGetFKeyList(relation))
		targets = lappend_oid(targets,
							  ((ForeignKeyCacheInfo *) lfirst(cell))->confrelid);
	table_close(relation, NoLock);
	foreach(cell, models)
	{
		Model	   *other = lfirst(cell);

		if (list_member_oid(targets, other->relid))
			order_visit(other, models, visited, order);
	}
	*order = lappend(*order, model);
}

/* The batches' models, referenced ones first. */
static List *
models_in_order(List *batches)
{
	List	   *models = NIL,
			   *visited = NIL,
			   *order = NIL;
	ListCell   *cell;

	foreach(cell, batches)
		models = list_append_unique_ptr(models,
										((FlushBatch *) lfirst(cell))->model);
	foreach(cell, models)
		order_visit(lfirst(cell), models, &visited, &order);
	return order;
}

static int64
flush_kind(List *batches, Model *model, bool updates, FlushContext *context)
{
	int64		written = 0;
	ListCell   *cell;

	foreach(cell, batches)
	{
		FlushBatch *batch = lfirst(cell);
		bool		is_update = batch->kind == STATEMENT_UPDATE ||
			batch->kind == STATEMENT_UPDATE_KEY;

		if (batch->model != model || batch->kind == STATEMENT_DELETE ||
			is_update != updates)
			continue;
		context->batch = batch;
		written += flush_batch(batch);
	}
	return written;
}

static int64
flush_deletes(List *batches, List *order, FlushContext *context)
{
	int64		written = 0;

	for (int i = list_length(order) - 1; i >= 0; i--)
	{
		ListCell   *cell;

		foreach(cell, batches)
		{
			FlushBatch *batch = lfirst(cell);

			if (batch->model != list_nth(order, i) ||
				batch->kind != STATEMENT_DELETE)
				continue;
			context->batch = batch;
			written += flush_batch(batch);
		}
	}
	return written;
}

/* Writes batches in the order INSERT, UPDATE, DELETE. */
static int64
flush_batches(List *batches, FlushContext *context)
{
	List	   *order = models_in_order(batches);
	int64		written = 0;
	ListCell   *cell;

	foreach(cell, order)
		written += flush_kind(batches, lfirst(cell), false, context);
	foreach(cell, order)
		written += flush_kind(batches, lfirst(cell), true, context);
	written += flush_deletes(batches, order, context);
	context->batch = NULL;
	return written;
}

/* ------------------------------------------------------------------------
 * the flush
 * ------------------------------------------------------------------------
 */

/* What is pending for one user, as batches. */
static List *
batches_of_user(Session *session, Oid userid)
{
	List	   *batches = NIL;
	dlist_iter	iter;

	dlist_foreach(iter, &session->unflushed)
	{
		Object	   *object = dlist_container(Object, unflushed_node, iter.cur);
		Model	   *model;
		FlushBatch *batch;

		if (object->userid != userid)
			continue;
		model = model_by_relid(object->model_objects->relid, false);
		(void) model_objects(session, model);
		batch = batch_for(&batches, object, model);
		batch->objects = lappend(batch->objects, object);
	}
	return batches;
}

/* The user whose change has been pending for the longest. */
static Oid
first_user(Session *session)
{
	return dlist_container(Object, unflushed_node,
						   dlist_head_node(&session->unflushed))->userid;
}

/* Core restores the user if an error ends the (sub)transaction. */
static int64
flush_user(Session *session, Oid userid, FlushContext *context)
{
	Oid			save_userid;
	int			save_sec_context;
	int64		written;

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	if (userid != save_userid)
		SetUserIdAndSecContext(userid, save_sec_context |
							   SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	written = flush_batches(batches_of_user(session, userid), context);
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);
	return written;
}

int64
session_flush(Session *session, FlushReason reason)
{
	FlushContext context = {.session = session,.reason = reason};
	ErrorContextCallback callback;
	int64		written = 0;

	if (session->nunflushed == 0 || session->flushing)
		return 0;
	callback.callback = flush_error_context;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	session->flushing = true;
	session->flush_nest_level = GetCurrentTransactionNestLevel();
	for (int round = 0; session->nunflushed > 0; round++)
	{
		if (round == FLUSH_ROUNDS_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("over %d subsequent flushes did not leave the session clean",
							FLUSH_ROUNDS_MAX),
					 errhint("A trigger adds or changes an object each time.")));
		written += flush_user(session, first_user(session), &context);
	}
	session->flushing = false;
	error_context_stack = callback.previous;
	return written;
}

void
session_autoflush(Session *session)
{
	if (orm_autoflush && session->nunflushed > 0 && !session->flushing)
		session_flush(session, FLUSH_AUTOFLUSH);
}
