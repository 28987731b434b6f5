/*-------------------------------------------------------------------------
 *
 * flush.c
 *	  Writes what a session has pending, by one statement per user, model,
 *	  kind of change and set of columns: INSERTs and UPDATEs in foreign-key
 *	  order, association rows, then DELETEs in the reverse order.
 *
 * Each batch is written as the user who made the changes.  Batches and their
 * lists live in the memory of the SPI procedure.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "session/flush.h"
#include "session/graph.h"

/* A flush whose triggers go on adding is stopped, as the reference does. */
#define FLUSH_ROUNDS_MAX 100

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
		case FLUSH_DOCUMENT:
			return "for a document";
		case FLUSH_KEYS:
			return "for a key that the server makes";
		case FLUSH_AUTOFLUSH:
			return "before this statement (orm.autoflush)";
		case FLUSH_SAVEPOINT:
			return "before a savepoint";
		case FLUSH_COMMIT:
			return "at the end of the transaction";
	}
	return "";
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
				   flush_kind_text(context->batch->kind),
				   list_length(context->batch->objects),
				   context->batch->model->class_name);
}

/* ------------------------------------------------------------------------
 * batches and their order
 * ------------------------------------------------------------------------
 */

StatementKind
flush_change_kind(Model *model, ObjectVersion *version)
{
	if (model->association)
		return version->marked_deleted ? STATEMENT_UNLINK : STATEMENT_LINK;
	if (version->state == OBJECT_PENDING)
		return STATEMENT_INSERT;
	if (version->marked_deleted || version_is_orphan(model, version))
		return STATEMENT_DELETE;
	return model_key_overlaps(model, version->modified) ? STATEMENT_UPDATE_KEY :
		STATEMENT_UPDATE;
}

static bool
same_model(Model *a, Model *b)
{
	return a->relid == b->relid && a->association == b->association;
}

/* The batch that the object belongs to, made if need be. */
static FlushBatch *
batch_for(List **batches, Object *object, Model *model)
{
	StatementKind kind = flush_change_kind(model, object->top);
	bool		any_columns = kind != STATEMENT_UPDATE &&
	kind != STATEMENT_UPDATE_KEY;
	Bitmapset  *columns = object->top->modified;
	FlushBatch *batch;
	ListCell   *cell;

	foreach(cell, *batches)
	{
		batch = lfirst(cell);
		if (!same_model(batch->model, model) || batch->kind != kind ||
			!(any_columns || bms_equal(batch->columns, columns)))
			continue;
		/* an INSERT names all columns that any of its rows gives */
		if (kind == STATEMENT_INSERT)
			batch->columns = bms_add_members(batch->columns, columns);
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

/* The batches of one relation (or of any) and kind, appended to the list. */
static List *
append_batches(List *list, List *batches, Oid relid, StatementKind kind)
{
	ListCell   *cell;

	foreach(cell, batches)
	{
		FlushBatch *batch = lfirst(cell);

		if (batch->kind == kind &&
			(!OidIsValid(relid) || batch->model->relid == relid))
			list = lappend(list, batch);
	}
	return list;
}

/* ------------------------------------------------------------------------
 * members of a one-to-one that are replaced
 * ------------------------------------------------------------------------
 */

/* Does the object let go of its owner? */
static bool
is_released(Model *model, ObjectVersion *version, Relationship *relationship)
{
	if (version->stored == NULL || version->changed == NULL)
		return false;
	for (int i = 0; i < relationship->nremote; i++)
	{
		AttrNumber	attnum = relationship->remote_attnums[i];

		if (TupleDescAttr(model->tupdesc, attnum - 1)->attnotnull ||
			!heap_attisnull(version->changed, attnum, model->tupdesc) ||
			heap_attisnull(version->stored, attnum, model->tupdesc))
			return false;
	}
	return true;
}

static FlushBatch *
release_batch(const FlushBatch *batch, Relationship *relationship)
{
	FlushBatch *release = palloc0(sizeof(FlushBatch));
	ListCell   *cell;

	release->session = batch->session;
	release->model = batch->model;
	release->kind = STATEMENT_RELEASE;
	release->late_columns = column_set(relationship->nremote,
									   relationship->remote_attnums);
	foreach(cell, batch->objects)
	{
		Object	   *object = lfirst(cell);

		if (is_released(batch->model, object->top, relationship))
			release->objects = lappend(release->objects, object);
	}
	return release;
}

/* The one-to-one relationships of the session's models to a relation. */
static List *
one_to_ones(Session *session, Oid relid)
{
	List	   *result = NIL;
	HASH_SEQ_STATUS scan;
	ModelObjects *entry;

	hash_seq_init(&scan, session->models);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		Model	   *model = entry->key.association ? NULL :
			model_by_relid(entry->key.relid, true);

		for (int i = 0; model != NULL && i < model->nrelationships; i++)
		{
			Relationship *relationship = model->relationships[i];

			if (relationship->direction == RELATIONSHIP_ONE_TO_MANY &&
				!relationship->uselist && relationship->target == relid)
				result = lappend(result, relationship);
		}
	}
	return result;
}

/*
 * A member of a one-to-one that is replaced lets go of its owner before the
 * new one takes its place, since the foreign key is most likely unique.
 */
static List *
early_releases(List *batches)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, batches)
	{
		FlushBatch *batch = lfirst(cell);
		ListCell   *to;

		if (batch->model->association || batch->kind == STATEMENT_INSERT)
			continue;
		foreach(to, one_to_ones(batch->session, batch->model->relid))
		{
			FlushBatch *release = release_batch(batch, lfirst(to));

			if (release->objects != NIL)
				result = lappend(result, release);
		}
	}
	return result;
}

/*
 * The UPDATEs of one relation.  Each statement locks its rows in the order of
 * their keys; where several write to the relation, all of its rows are locked
 * before the first, or two flushes could wait for each other.
 */
static List *
append_updates(List *list, List *batches, Oid relid)
{
	List	   *updates = append_batches(NIL, batches, relid, STATEMENT_UPDATE);
	List	   *writes;
	FlushBatch *lock;
	ListCell   *cell;

	updates = append_batches(updates, batches, relid, STATEMENT_UPDATE_KEY);
	if (updates == NIL)
		return list;
	writes = append_batches(list_copy(updates), batches, relid,
							STATEMENT_DELETE);
	lock = palloc0(sizeof(FlushBatch));
	*lock = *(FlushBatch *) linitial(updates);
	if (list_length(writes) > 1 && model_has_xmin(lock->model))
	{
		lock->kind = STATEMENT_LOCK;
		lock->columns = NULL;
		lock->objects = NIL;
		foreach(cell, writes)
			lock->objects = list_concat(lock->objects,
										((FlushBatch *) lfirst(cell))->objects);
		list = lappend(list, lock);
	}
	return list_concat(list, updates);
}

/*
 * Batches in the order INSERT, UPDATE, association rows, DELETE; within each
 * in the order of foreign keys, the deletes in the reverse of it.  What is
 * replaced in a one-to-one comes before.
 */
static List *
batches_in_order(List *batches)
{
	List	   *order = flush_order(batches);
	List	   *result = early_releases(batches);
	ListCell   *cell;

	foreach(cell, order)
		result = append_batches(result, batches, lfirst_oid(cell),
								STATEMENT_INSERT);
	foreach(cell, order)
		result = append_updates(result, batches, lfirst_oid(cell));
	result = append_batches(result, batches, InvalidOid, STATEMENT_UNLINK);
	result = append_batches(result, batches, InvalidOid, STATEMENT_LINK);
	for (int i = list_length(order) - 1; i >= 0; i--)
		result = append_batches(result, batches, list_nth_oid(order, i),
								STATEMENT_DELETE);
	return result;
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
	ModelObjects *entry = NULL;
	Model	   *model = NULL;
	dlist_iter	iter;

	dlist_foreach(iter, &session->unflushed)
	{
		Object	   *object = dlist_container(Object, list_node, iter.cur);
		FlushBatch *batch;

		if (object->userid != userid)
			continue;
		if (object->model_objects != entry)
		{
			entry = object->model_objects;
			model = objects_model(entry);
			(void) model_objects(session, model);
		}
		batch = batch_for(&batches, object, model);
		batch->objects = lappend(batch->objects, object);
	}
	return batches;
}

/* The user whose change has been pending for the longest. */
static Oid
first_user(Session *session)
{
	return dlist_container(Object, list_node,
						   dlist_head_node(&session->unflushed))->userid;
}

static void
release_batches(List *batches, FlushContext *context)
{
	ListCell   *cell;

	foreach(cell, batches)
	{
		context->batch = lfirst(cell);
		if (context->batch->kind == STATEMENT_DELETE)
			flush_release(context->batch);
	}
}

static int64
write_batches(List *batches, FlushContext *context)
{
	int64		written = 0;
	bool		deleting = false;
	ListCell   *cell;

	foreach(cell, batches)
	{
		FlushBatch *batch = lfirst(cell);

		if (batch->kind == STATEMENT_DELETE && !deleting)
			release_batches(batches, context);
		deleting = batch->kind == STATEMENT_DELETE;
		context->batch = batch;
		written += flush_batch(batch);
	}
	context->batch = NULL;
	return written;
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
	cascade_orphans(session);
	session->writing = true;
	written = write_batches(batches_in_order(batches_of_user(session, userid)),
							context);
	session->writing = false;
	SPI_finish();
	/* what a trigger has done to the role, as the user itself, stays */
	if (userid != save_userid)
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
	flush_progress_reset();
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
	/* what was written is clean now, unless somebody waits for it */
	if (reason != FLUSH_KEYS && reason != FLUSH_DOCUMENT &&
		reason != FLUSH_COMMIT)
		session_evict(session);
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

/* ------------------------------------------------------------------------
 * what a flush would run
 * ------------------------------------------------------------------------
 */
static void
put_statement(ReturnSetInfo *rsinfo, const StatementSubject *subject,
			  int nobjects)
{
	Model	   *written = subject->kind == STATEMENT_UNLINK_ALL ?
		relationship_association(subject->relationship) : subject->model;
	Datum		values[4];
	bool		nulls[4] = {0};

	values[0] = CStringGetTextDatum(written->class_name);
	values[1] = CStringGetTextDatum(flush_kind_text(subject->kind));
	values[2] = Int64GetDatum(nobjects);
	values[3] = CStringGetTextDatum(flush_text(subject));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
put_batch(ReturnSetInfo *rsinfo, FlushBatch *batch)
{
	int			nobjects = list_length(batch->objects);
	StatementSubject subject;

	batch->one_by_one = batch->kind == STATEMENT_INSERT &&
		insert_one_by_one(batch->model);
	subject = flush_subject(batch, batch->one_by_one ? 1 : nobjects);
	if (batch->kind == STATEMENT_DELETE)
	{
		ListCell   *cell;

		foreach(cell, flush_unlink_subjects(batch, nobjects))
			put_statement(rsinfo, lfirst(cell), nobjects);
	}
	put_statement(rsinfo, &subject, nobjects);
}

PG_FUNCTION_INFO_V1(orm_pending_statements);
Datum
orm_pending_statements(PG_FUNCTION_ARGS)
{
	Session    *session = session_current_if_any();
	List	   *batches;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	if (session == NULL)
		return (Datum) 0;
	batches = batches_of_user(session, GetUserId());
	foreach(cell, batches_in_order(batches))
		put_batch((ReturnSetInfo *) fcinfo->resultinfo, lfirst(cell));
	return (Datum) 0;
}
