/*-------------------------------------------------------------------------
 *
 * synchronize.c
 *	  The session's objects after a bulk statement: each equals its stored
 *	  row again, has the identity that the row now has, or is gone.
 *
 * Three ways lead there: the rows that the statement returned, evaluation of
 * the statement on the rows that the session knows, and reading the objects'
 * rows again by their keys.  The caller chooses.
 *
 * Keys and rows are kept in the memory of the call's SPI connection; objects
 * are looked up anew after every statement, since its triggers may have done
 * anything to the session.  No locks but those of the statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "compat.h"
#include "query/internal.h"
#include "session/session.h"

typedef struct MatchReceiver
{
	DestReceiver pub;
	Session    *session;
	Model	   *model;
	bool		has_row;
	bool		has_key;
	List	   *matches;
	Datum	   *key;			/* of the present row */
	MemoryContext context;		/* of the matches */
	MemoryContext row_context;
} MatchReceiver;

/* Gets rows that were read again, or keys of rows that are gone. */
typedef struct RereadReceiver
{
	DestReceiver pub;
	Session    *session;
	Model	   *model;
	bool		is_delete;
	MemoryContext row_context;
} RereadReceiver;

static Datum *
key_copy(Model *model, const Datum *key)
{
	Datum	   *copy = palloc(sizeof(Datum) * model->nkeys);

	for (int i = 0; i < model->nkeys; i++)
		copy[i] = datumCopy(key[i], model->keys[i].typbyval,
							model->keys[i].typlen);
	return copy;
}

/* The row in the first columns of a slot, which has no dropped ones. */
static HeapTuple
row_of_slot(Model *model, TupleTableSlot *slot, int *ncolumns)
{
	TupleDesc	tupdesc = model->tupdesc;
	Datum	   *values = palloc0(sizeof(Datum) * tupdesc->natts);
	bool	   *nulls = palloc(sizeof(bool) * tupdesc->natts);
	HeapTuple	row;
	int			n = 0;

	slot_getallattrs(slot);
	for (int i = 0; i < tupdesc->natts; i++)
	{
		nulls[i] = true;
		if (TupleDescAttr(tupdesc, i)->attisdropped)
			continue;
		values[i] = slot->tts_values[n];
		nulls[i] = slot->tts_isnull[n++];
	}
	*ncolumns = n;
	row = heap_form_tuple(tupdesc, values, nulls);
	return HeapTupleHasExternal(row) ? toast_flatten_tuple(row, tupdesc) : row;
}

static bool
key_of_row(Model *model, HeapTuple row, Datum *key)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		bool		isnull;

		key[i] = heap_getattr(row, model->keys[i].attnum, model->tupdesc,
							  &isnull);
		if (isnull)
			return false;
	}
	return true;
}

/* The key in the columns of a slot from first on. */
static bool
key_of_slot(Model *model, TupleTableSlot *slot, int first, Datum *key)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		bool		isnull;

		key[i] = slot_getattr(slot, first + i + 1, &isnull);
		if (isnull)
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * rows that the statement returned
 * ------------------------------------------------------------------------
 */
static void
ignore_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
ignore_shutdown(DestReceiver *self)
{
}

static void
receiver_init(DestReceiver *receiver,
			  bool (*receive) (TupleTableSlot *slot, DestReceiver *self))
{
	receiver->receiveSlot = receive;
	receiver->rStartup = ignore_startup;
	receiver->rShutdown = ignore_shutdown;
	receiver->rDestroy = ignore_shutdown;
	receiver->mydest = DestNone;
}

static void
match_note(MatchReceiver *receiver, HeapTuple row)
{
	MemoryContext old = MemoryContextSwitchTo(receiver->context);
	Match	   *match = palloc0(sizeof(Match));

	match->key = key_copy(receiver->model, receiver->key);
	if (row != NULL)
		match->row = heap_copytuple(row);
	receiver->matches = lappend(receiver->matches, match);
	MemoryContextSwitchTo(old);
}

static bool
match_receive(TupleTableSlot *slot, DestReceiver *self)
{
	MatchReceiver *receiver = (MatchReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->row_context);
	Model	   *model = receiver->model;
	HeapTuple	row = NULL;
	int			ncolumns = 0;
	bool		has_key;

	if (receiver->has_row)
		row = row_of_slot(model, slot, &ncolumns);
	if (receiver->has_key)
		has_key = key_of_slot(model, slot, ncolumns, receiver->key);
	else
		has_key = key_of_row(model, row, receiver->key);
	if (has_key &&
		session_find(receiver->session, model, receiver->key) != NULL)
		match_note(receiver, row);

	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->row_context);
	return true;
}

DestReceiver *
match_receiver_create(Session *session, Model *model, bool has_row,
					  bool has_key)
{
	MatchReceiver *receiver = palloc0(sizeof(MatchReceiver));

	receiver_init(&receiver->pub, match_receive);
	receiver->session = session;
	receiver->model = model;
	receiver->has_row = has_row;
	receiver->has_key = has_key;
	receiver->key = palloc(sizeof(Datum) * model->nkeys);
	receiver->context = CurrentMemoryContext;
	receiver->row_context = AllocSetContextCreate(CurrentMemoryContext,
												  "pg_orm returned row",
												  ALLOCSET_DEFAULT_SIZES);
	return &receiver->pub;
}

List *
match_receiver_matches(DestReceiver *receiver)
{
	return ((MatchReceiver *) receiver)->matches;
}

/*
 * All objects are looked up before the first one gets a new identity, since
 * that may be one that another object has as yet.
 */
void
synchronize_matches(Session *session, Model *model, List *matches,
					Bitmapset *set_columns, bool expire)
{
	List	   *objects = NIL;
	ListCell   *match_cell;
	ListCell   *object_cell;

	foreach(match_cell, matches)
		objects = lappend(objects,
						  session_find(session, model,
									   ((Match *) lfirst(match_cell))->key));
	forboth(match_cell, matches, object_cell, objects)
	{
		Match	   *match = lfirst(match_cell);
		Object	   *object = lfirst(object_cell);

		if (object == NULL)
			continue;
		if (match->row == NULL)
			object_deleted_by_statement(object);
		else
			object_synchronize(object, match->row, set_columns);
		if (match->row != NULL && expire)
			object_expire_values(object);
	}
}

/* ------------------------------------------------------------------------
 * evaluation
 * ------------------------------------------------------------------------
 */
void
synchronize_evaluated(Session *session, Model *model, Evaluation *evaluation,
					  Bitmapset *set_columns, bool is_delete)
{
	List	   *objects = session_persistent_objects(session, model);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "pg_orm evaluated row",
													  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row_context);
	bool		any_unknown = false;
	ListCell   *cell;

	foreach(cell, objects)
	{
		Object	   *object = lfirst(cell);
		HeapTuple	row = object_stored_row(object);

		if (row == NULL)
			any_unknown = true; /* expired since, by an invalidation */
		if (row == NULL || !evaluation_matches(evaluation, row))
			continue;
		if (is_delete)
			object_deleted_by_statement(object);
		else
			object_synchronize(object, evaluation_new_row(evaluation, row),
							   set_columns);
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row_context);
	if (any_unknown && is_delete)
		synchronize_reread(session, model, is_delete);
}

/* ------------------------------------------------------------------------
 * reading again
 * ------------------------------------------------------------------------
 */

/* A row of the model in which only the key is not NULL. */
static Datum
key_as_row(Model *model, const Datum *key)
{
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc0(sizeof(Datum) * natts);
	bool	   *nulls = palloc(sizeof(bool) * natts);
	Datum		row;

	memset(nulls, true, natts);
	for (int i = 0; i < model->nkeys; i++)
	{
		values[model->keys[i].attnum - 1] = key[i];
		nulls[model->keys[i].attnum - 1] = false;
	}
	row = heap_copy_tuple_as_datum(heap_form_tuple(model->tupdesc, values,
												   nulls), model->tupdesc);
	pfree(values);
	pfree(nulls);
	return row;
}

/* The keys of objects as one value of the model's array type. */
static Datum
keys_as_array(Model *model, List *objects)
{
	Datum	   *rows = palloc(sizeof(Datum) * list_length(objects));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, objects)
		rows[n++] = key_as_row(model, object_key(lfirst(cell)));
	return PointerGetDatum(construct_array(rows, n, model->rowtype, -1, false,
										   TYPALIGN_DOUBLE));
}

static void
compose_key_join(Composition *composition)
{
	Model	   *model = composition->model;

	for (int i = 0; i < model->nkeys; i++)
	{
		const char *column = column_sql(model, model->keys[i].attnum);

		appendStringInfo(&composition->text, "%st.%s %s k.%s",
						 i == 0 ? "" : " AND ", column,
						 operator_sql(model->keys[i].eq_operator), column);
	}
}

static Composition *
reread_compose(Model *model, List *objects, bool is_delete)
{
	Composition *composition = composition_create("orm.update_where", model,
												  is_delete ? "missing" : "reload",
												  NULL);
	StringInfo	own = &composition->text;
	int			number = compose_datum(composition, "keys",
									   model->array_type,
									   keys_as_array(model, objects), false);

	appendStringInfoString(own, "SELECT ");
	if (!is_delete)
		appendStringInfoString(own, session_select_list(model, "t"));
	for (int i = 0; is_delete && i < model->nkeys; i++)
		appendStringInfo(own, "%sk.%s", i == 0 ? "" : ", ",
						 column_sql(model, model->keys[i].attnum));
	appendStringInfo(own, " FROM pg_catalog.unnest($%d) AS k", number);
	appendStringInfo(own, is_delete
					 ? " WHERE NOT EXISTS (SELECT FROM %s AS t WHERE "
					 : " JOIN %s AS t ON ", model->relation_name);
	compose_key_join(composition);
	if (is_delete)
		appendStringInfoChar(own, ')');
	return composition;
}

static bool
reread_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RereadReceiver *receiver = (RereadReceiver *) self;
	Model	   *model = receiver->model;
	MemoryContext old = MemoryContextSwitchTo(receiver->row_context);
	Datum	   *key = palloc(sizeof(Datum) * model->nkeys);
	Object	   *object;

	if (!receiver->is_delete)
		(void) session_take_row(receiver->session, model, slot, false);
	else if (key_of_slot(model, slot, 0, key))
	{
		object = session_find(receiver->session, model, key);
		if (object != NULL)
			object_deleted_by_statement(object);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->row_context);
	return true;
}

/* What is expired already is read again when it is wanted. */
static List *
objects_to_reread(Session *session, Model *model, bool is_delete)
{
	List	   *objects = NIL;
	ListCell   *cell;

	foreach(cell, session_persistent_objects(session, model))
	{
		if (is_delete || object_stored_row(lfirst(cell)) != NULL)
			objects = lappend(objects, lfirst(cell));
	}
	return objects;
}

/*
 * An object whose row is not found any more stays expired, and the next
 * access finds out.
 */
void
synchronize_reread(Session *session, Model *model, bool is_delete)
{
	RereadReceiver receiver = {.session = session,.model = model,
	.is_delete = is_delete};
	List	   *objects = objects_to_reread(session, model, is_delete);
	Composition *composition;
	KeptStatement *kept;
	Datum	   *values;
	char	   *nulls;
	ListCell   *cell;

	if (objects == NIL)
		return;
	composition = reread_compose(model, objects, is_delete);
	kept = kept_statement_get(composition);
	kept_statement_bind(kept, composition, &values, &nulls);
	if (!is_delete)
	{
		foreach(cell, objects)
			object_expire_values(lfirst(cell));
	}
	receiver_init(&receiver.pub, reread_receive);
	receiver.row_context = AllocSetContextCreate(CurrentMemoryContext,
												 "pg_orm row read again",
												 ALLOCSET_DEFAULT_SIZES);
	own_statement_execute(kept->plan, values, nulls, &receiver.pub);
}
