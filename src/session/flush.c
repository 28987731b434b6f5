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
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
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
	bool		written;		/* its row came back */
	HeapTuple	returned;		/* that row, in the session's memory */
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

/*
 * Rows sent to an UPDATE or DELETE have numbered columns: n1, n2, ... of the
 * new rows, v of their versions, o1, o2, ... of the old rows if keys change.
 */
static void
append_alias_list(StringInfo sql, Model *model, char prefix)
{
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		if (!TupleDescAttr(model->tupdesc, i)->attisdropped)
			appendStringInfo(sql, "%s%c%d",
							 sql->data[sql->len - 1] == '(' ? "" : ", ",
							 prefix, i + 1);
	}
}

static char *
sent_rows_sql(Model *model, bool with_old)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)%s) AS r (",
					 with_old ? ", pg_catalog.unnest($3)" : "");
	append_alias_list(&sql, model, 'n');
	appendStringInfoString(&sql, ", v");
	if (with_old)
		append_alias_list(&sql, model, 'o');
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/* "t.k = r.n1 AND ..." */
static char *
key_condition_sql(Model *model, char prefix)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%st.%s %s r.%c%d", i > 0 ? " AND " : "",
						 column_sql(model, model->keys[i].attnum),
						 operator_sql(model->keys[i].eq_operator),
						 prefix, model->keys[i].attnum);
	return sql.data;
}

/* "r.n1, ...": the key by which a row was found */
static char *
key_list_sql(Model *model, char prefix)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%sr.%c%d", i > 0 ? ", " : "", prefix,
						 model->keys[i].attnum);
	return sql.data;
}

/*
 * The optimistic check: nobody else has written the row since it was loaded.
 * What this transaction wrote, by whatever statement, is no conflict.
 */
static char *
unchanged_sql(Model *model)
{
	if (model->version_attnum == InvalidAttrNumber)
		return model_has_xmin(model) ?
			" AND orm.row_unchanged(t.xmin, r.v)" : "";
	return psprintf(" AND (t.%s OPERATOR(pg_catalog.=) r.v OR r.v IS NULL%s)",
					column_sql(model, model->version_attnum),
					model_has_xmin(model) ?
					" OR orm.row_unchanged(t.xmin, '0')" : "");
}

/* "c = r.n1, ...", and the version column counted on */
static char *
set_list_sql(Model *model, Bitmapset *columns)
{
	StringInfoData sql;
	int			member = -1;

	initStringInfo(&sql);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber	attnum = member + FirstLowInvalidHeapAttributeNumber;

		if (attnum != model->version_attnum)
			appendStringInfo(&sql, "%s%s = r.n%d", sql.len > 0 ? ", " : "",
							 column_sql(model, attnum), attnum);
	}
	if (model->version_attnum != InvalidAttrNumber)
		appendStringInfo(&sql, "%s%s = t.%s OPERATOR(pg_catalog.+) 1",
						 sql.len > 0 ? ", " : "",
						 column_sql(model, model->version_attnum),
						 column_sql(model, model->version_attnum));
	return sql.data;
}

static char *
update_statement_sql(Model *model, Bitmapset *columns, bool with_old)
{
	char		found_by = with_old ? 'o' : 'n';

	return psprintf("/* pg_orm flush %s */ UPDATE %s AS t SET %s FROM %s "
					"WHERE %s%s RETURNING t.*, %s",
					class_comment(model), model->relation_name,
					set_list_sql(model, columns),
					sent_rows_sql(model, with_old),
					key_condition_sql(model, found_by), unchanged_sql(model),
					key_list_sql(model, found_by));
}

static char *
update_sql(Model *model, Bitmapset *columns)
{
	return update_statement_sql(model, columns, false);
}

static char *
update_key_sql(Model *model, Bitmapset *columns)
{
	return update_statement_sql(model, columns, true);
}

static char *
delete_sql(Model *model, Bitmapset *columns)
{
	return psprintf("/* pg_orm flush %s */ DELETE FROM %s AS t USING %s "
					"WHERE %s%s RETURNING %s",
					class_comment(model), model->relation_name,
					sent_rows_sql(model, false),
					key_condition_sql(model, 'n'), unchanged_sql(model),
					key_list_sql(model, 'n'));
}

/* Versions travel as bigint (a version column) or xid (xmin). */
static Oid
version_type(Model *model)
{
	return model->version_attnum != InvalidAttrNumber ? INT8OID : XIDOID;
}

static SPIPlanPtr
batch_plan(FlushBatch *batch)
{
	Model	   *model = batch->model;
	Oid			rows = model->array_type;
	Oid			argtypes[3] = {rows, get_array_type(version_type(model)), rows};

	switch (batch->kind)
	{
		case STATEMENT_INSERT:
			return statement_plan(model, batch->kind, batch->columns,
								  1, argtypes, insert_sql);
		case STATEMENT_UPDATE:
			return statement_plan(model, batch->kind, batch->columns,
								  2, argtypes, update_sql);
		case STATEMENT_UPDATE_KEY:
			return statement_plan(model, batch->kind, batch->columns,
								  3, argtypes, update_key_sql);
		default:
			return statement_plan(model, batch->kind, NULL,
								  2, argtypes, delete_sql);
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
	return true;
}

/* ------------------------------------------------------------------------
 * marking the objects
 * ------------------------------------------------------------------------
 */

/* 40001: what the change was based on is not what is stored. */
static void
report_stale(Model *model, char *key, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("%s %s is stale: %s since it was loaded",
					model->class_name, key, what),
			 errhint("ROLLBACK and try again.")));
}

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
			report_stale(model, key, "its row was deleted");
		if (version->number != number ||
			(number < 0 && TransactionIdIsValid(version->xmin) &&
			 version->xmin != xmin &&
			 !TransactionIdIsCurrentTransactionId(xmin)))
			report_stale(model, key, "somebody else changed its row");
		if (!access_memory_suffices(model))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("%s of %s %s was left out by a row-security policy or a trigger",
							kind_text(batch->kind), model->class_name, key)));
	}
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
	version_note(model, version, item->returned,
				 model_has_xmin(model) ? GetCurrentTransactionId() :
				 InvalidTransactionId);
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
		if (!items[i].written)
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

static Datum
versions_array(FlushBatch *batch, FlushItem *items, int nitems)
{
	Model	   *model = batch->model;
	Oid			typid = version_type(model);
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

/* Runs the batch's statement on some of its items; returns rows written. */
static int64
flush_items(FlushBatch *batch, FlushItem *items, int nitems, Datum *rows)
{
	Model	   *model = batch->model;
	FlushReceiver receiver = {.batch = batch,.items = items,.nitems = nitems};
	Datum		values[3];
	uint64		expirations = model_objects(batch->session, model)->expirations;
	uint64		written;

	receiver.pub = *None_Receiver;
	receiver.pub.receiveSlot = flush_receive;
	values[0] = rows_array(model, rows, nitems);
	if (batch->kind != STATEMENT_INSERT)
		values[1] = versions_array(batch, items, nitems);
	if (batch->kind == STATEMENT_UPDATE_KEY)
		values[2] = old_rows_array(model, items, nitems);
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

/* In the condition of a flush's UPDATE or DELETE: see unchanged_sql(). */
PG_FUNCTION_INFO_V1(orm_row_unchanged);
Datum
orm_row_unchanged(PG_FUNCTION_ARGS)
{
	TransactionId xmin = PG_GETARG_TRANSACTIONID(0);

	PG_RETURN_BOOL(PG_ARGISNULL(1) ||
				   TransactionIdEquals(xmin, PG_GETARG_TRANSACTIONID(1)) ||
				   TransactionIdIsCurrentTransactionId(xmin));
}

void
session_autoflush(Session *session)
{
	if (orm_autoflush && session->nunflushed > 0 && !session->flushing)
		session_flush(session, FLUSH_AUTOFLUSH);
}
