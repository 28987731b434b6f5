/*-------------------------------------------------------------------------
 *
 * object.c
 *	  What a session knows of an object's row: the row as stored, as read
 *	  again, as a statement changed it, and with pending changes over it.
 *
 * Rows are copied into the session's objects_context.  Changes go to the
 * version of the present subtransaction, so that a rollback undoes them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "miscadmin.h"
#include "utils/rls.h"

#include "compat.h"
#include "session/internal.h"

static void
object_used(Object *object)
{
	if (object->in_lru)
	{
		dlist_delete(&object->list_node);
		dlist_push_tail(&object->session->clean, &object->list_node);
	}
}

HeapTuple
object_current_row(Object *object)
{
	ObjectVersion *top = object->top;

	object_used(object);
	if (top->state == OBJECT_PENDING)
		return top->changed;
	if (top->stored == NULL)
		return NULL;
	return top->changed ? top->changed : top->stored;
}

/* A row that is a Datum already is copied as it is. */
Datum
object_current_datum(Model *model, Object *object)
{
	HeapTuple	row = object_current_row(object);
	uint16		type;
	char	   *copy;

	if (row == NULL)
		return (Datum) 0;
	type = row == object->top->stored ? object->top->stored_type
		: object->top->changed_type;
	if (type == 0 || type != object->model_objects->type ||
		object->model_objects->tupdesc != model->tupdesc ||
		HeapTupleHasExternal(row))
		return row_from_tuple(model, row);
	copy = palloc(row->t_len);
	memcpy(copy, row->t_data, row->t_len);
	return PointerGetDatum(copy);
}

HeapTuple
object_stored_row(Object *object)
{
	return object->top->state == OBJECT_PERSISTENT ? object->top->stored : NULL;
}

bool
object_is_modified(Object *object)
{
	return version_is_pending_work(object->top);
}

/*
 * A row of our own transaction's writing cannot be changed by anybody else;
 * one that was merely read stays what statements see only in a transaction
 * with one snapshot.
 */
bool
object_row_is_certain(Object *object)
{
	ObjectVersion *version = object->top;

	if (version->state != OBJECT_PERSISTENT || version->stored == NULL ||
		object->model_objects->left_alone)
		return false;
	if (version->rewritten ||
		(TransactionIdIsValid(version->xmin) &&
		 TransactionIdIsCurrentTransactionId(version->xmin)))
		return true;
	if (!IsolationUsesXactSnapshot())
		return false;
	while (version->below != NULL && version->below->stored == version->stored)
		version = version->below;
	return version->level != NULL;	/* not of an earlier transaction */
}

/* Which of them are outdated is not known, nor worth the trouble. */
void
session_objects_left_alone(Session *session, Model *model)
{
	if (session->nobjects > 0)
		model_objects(session, model)->left_alone = true;
}

List *
session_persistent_objects(Session *session, Model *model)
{
	List	   *result = NIL;
	dlist_iter	iter;

	if (session->nobjects == 0)
		return NIL;
	dlist_foreach(iter, &model_objects(session, model)->objects)
	{
		Object	   *object = dlist_container(Object, model_node, iter.cur);

		if (object->top->state == OBJECT_PERSISTENT &&
			object->userid == GetUserId() &&
			object->row_security == row_security)
			result = lappend(result, object);
	}
	return result;
}

/* ------------------------------------------------------------------------
 * what was read or changed by a statement
 * ------------------------------------------------------------------------
 */

/* A new stored row; pending changes of other columns are laid over it. */
static void
version_reload(Model *model, ObjectVersion *version, HeapTuple row,
			   TransactionId xmin)
{
	Session    *session = version->object->session;

	version_note(model, version, row, xmin);
	version_set_stored(version, session_copy_row(session, row));
	if (version->changed != NULL)
	{
		HeapTuple	laid = row_overlay(model, row, version->changed,
									   version->modified);

		version_set_changed(version, session_copy_row(session, laid),
							version->modified);
	}
}

/*
 * What is pending is compared by the flush, and what this transaction wrote
 * is nobody else's to change.
 */
bool
object_may_be_outdated(Object *object)
{
	return object->top->state == OBJECT_PERSISTENT &&
		object->top->stored != NULL && !object_is_modified(object) &&
		!object_row_is_certain(object);
}

/*
 * Is what the session loaded what is stored now?  40001 if somebody else has
 * changed the row in between.
 */
static bool
object_is_current(Model *model, Object *object, HeapTuple row,
				  TransactionId xmin)
{
	ObjectVersion *version = object->top;

	if (!object_may_be_outdated(object))
		return true;
	if (TransactionIdIsValid(xmin) &&
		TransactionIdIsCurrentTransactionId(xmin))
		return false;
	if (!version_is_known(version))
		return false;
	if (version->xmin != xmin ||
		version->number != row_version_number(model, row))
		report_stale(model, model_key_to_text(model, object_key(object)),
					 "somebody else changed its row");
	return true;
}

/* Takes a stored row into an object that the session has. */
static void
object_take_row(Model *model, Object *object, HeapTuple row,
				TransactionId xmin, LoadMode mode)
{
	ObjectVersion *version;

	if (object->top->state == OBJECT_PENDING)
		return;
	if (object->top->state == OBJECT_PERSISTENT &&
		object->top->stored != NULL &&
		(mode == LOAD_MISSING ||
		 (mode == LOAD_COMPARE &&
		  object_is_current(model, object, row, xmin))))
		return;

	version = object_touch(object);
	if (version->state == OBJECT_DELETED)
	{
		version->state = OBJECT_PERSISTENT; /* somebody inserted it again */
		version->marked_deleted = false;
	}
	if (mode == LOAD_OVERWRITE)
		version_set_changed(version, NULL, NULL);
	version_reload(model, version, row, xmin);
	object_refile(object);
	object_used(object);
	session_evict(object->session);
}

/* The rows taken are the clean objects used last, so all that are left. */
bool
session_is_filled(uint64 taken)
{
	return taken >= (uint64) Max(orm_identity_map_limit, 1);
}

bool
session_may_pass_by(Session *session, Model *model, uint64 taken)
{
	ModelObjects *entry;

	/* rows of a view may have no key, and are no objects then */
	if (!session_is_filled(taken) || !model_has_xmin(model))
		return false;
	entry = model_objects(session, model);
	return entry->count == entry->nclean;
}

uint32
session_object_count(Session *session, Model *model)
{
	return session->nobjects == 0 ? 0 : model_objects(session, model)->count;
}

Datum
session_take_row(Session *session, Model *model, TupleTableSlot *slot,
				 bool populate_existing)
{
	return session_take_row_of(session, model, slot, 0, populate_existing ?
							   LOAD_OVERWRITE : LOAD_MISSING);
}

Datum
session_take_row_of(Session *session, Model *model, TupleTableSlot *slot,
					int nextra, LoadMode mode)
{
	TransactionId xmin;
	HeapTuple	row = row_of_loaded_slot(model, slot, nextra, &xmin);
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Object	   *object;

	/* a relation without an enforced key may show NULLs: not an object */
	if (!model_key_of_row(model, row->t_data, key))
		return row_from_tuple(model, row);

	object = session_find(session, model, key);
	if (object == NULL)
	{
		object = object_create(session, model, key, OBJECT_PERSISTENT);
		version_set_stored(object->top, session_copy_row(session, row));
		version_note(model, object->top, row, xmin);
		object_refile(object);
		session_evict(session);
		return row_from_tuple(model, row);
	}
	object_take_row(model, object, row, xmin, mode);
	return object_current_datum(model, object);
}

/* The key of a row in a slot; false if a part of it is NULL. */
static bool
slot_key(Model *model, TupleTableSlot *slot, Datum *key)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		bool		isnull;

		key[i] = slot_getattr(slot, model->keys[i].attnum, &isnull);
		if (isnull)
			return false;
	}
	return true;
}

/* A tuple as the table has it, in the memory of the session's objects. */
static HeapTuple
session_copy_tuple(Session *session, Model *model, TupleTableSlot *slot)
{
	HeapTuple	row = ExecFetchSlotHeapTuple(slot, false, NULL);

	if (HeapTupleHasExternal(row) ||
		HeapTupleHeaderGetNatts(row->t_data) <
		slot->tts_tupleDescriptor->natts)
		row = row_of_slot(model, slot, 0);
	return session_copy_row(session, row);
}

static TransactionId
slot_xmin(Model *model, TupleTableSlot *slot)
{
	bool		isnull;

	if (!model_has_xmin(model))
		return InvalidTransactionId;
	return DatumGetTransactionId(slot_getsysattr(slot,
												 MinTransactionIdAttributeNumber,
												 &isnull));
}

Datum
session_take_tuple(Session *session, Model *model, TupleTableSlot *slot,
				   bool populate_existing)
{
	return session_take_tuple_of(session, model, slot, populate_existing ?
								 LOAD_OVERWRITE : LOAD_MISSING);
}

Datum
session_take_tuple_of(Session *session, Model *model, TupleTableSlot *slot,
					  LoadMode mode)
{
	Datum		key[INDEX_MAX_KEYS];
	Object	   *object;

	if (!slot_key(model, slot, key))
		return (Datum) 0;
	object = session_find(session, model, key);
	if (object == NULL)
	{
		HeapTuple	row = session_copy_tuple(session, model, slot);

		object = object_create(session, model, key, OBJECT_PERSISTENT);
		version_set_stored(object->top, row);
		version_note(model, object->top, row, slot_xmin(model, slot));
		object_refile(object);
		session_evict(session);
		return (Datum) 0;
	}
	object_take_row(model, object, row_of_slot(model, slot, 0),
					slot_xmin(model, slot), mode);
	return object_current_datum(model, object);
}

Datum
session_shown_row(Session *session, Model *model, TupleTableSlot *slot)
{
	Datum		key[INDEX_MAX_KEYS];
	Object	   *object;

	if (!slot_key(model, slot, key))
		return (Datum) 0;
	object = session_find(session, model, key);
	if (object == NULL || object->top->state == OBJECT_DELETED)
		return (Datum) 0;
	return object_current_datum(model, object);
}

void
object_synchronize(Object *object, HeapTuple row, Bitmapset *set_columns)
{
	Model	   *model = objects_model(object->model_objects);
	ObjectVersion *version;
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));

	if (object->top->state != OBJECT_PERSISTENT)
		return;					/* the row is not the object's */
	version = object_touch(object);
	if (version->changed != NULL)
	{
		Bitmapset  *kept = bms_difference(version->modified, set_columns);

		if (bms_is_empty(kept))
			version_set_changed(version, NULL, NULL);
		else
			version_set_changed(version, version->changed, kept);
	}
	/* the row is as it was loaded, or written by this transaction */
	version_reload(model, version, row, version->xmin);
	version->rewritten = true;
	if (model_key_of_row(model, row->t_data, key))
		version_follow_key(model, version, key);
	object_refile(object);
}

void
object_deleted_by_statement(Object *object)
{
	ObjectVersion *version;

	if (object->top->state != OBJECT_PERSISTENT)
		return;
	version = object_touch(object);
	version->state = OBJECT_DELETED;
	version->marked_deleted = false;
	version_set_changed(version, NULL, NULL);
	version_set_stored(version, NULL);
	object_refile(object);
}

void
object_expire_values(Object *object)
{
	ObjectVersion *version = object->top;

	if (version->state != OBJECT_PERSISTENT ||
		(version->stored == NULL &&
		 (version_is_pending_work(version) || !version_is_known(version))))
		return;
	version = object_touch(object);
	version_set_stored(version, NULL);
	/* the version counts only for changes that were based on it */
	if (!version_is_pending_work(version))
		version_forget(version);
	object_refile(object);
}
