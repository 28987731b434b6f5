/*-------------------------------------------------------------------------
 *
 * unit_of_work.c
 *	  What is pending: adding, changing and deleting objects, discarding
 *	  changes, and the flush at the end of the transaction.
 *
 * Pending changes are written by flush.c.  So that nothing pending is lost, an
 * invisible portal is made with the first change of a transaction: core drops
 * portals within its own loop over deferred triggers, before any commit
 * callback, and dropping this one flushes.  A flush in XACT_EVENT_PRE_COMMIT
 * would be too late, since no user code may run there any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "session/graph.h"
#include "session/internal.h"
#include "session/unit_of_work.h"

/* Deferred triggers that go on changing things are stopped. */
#define COMMIT_FLUSHES_MAX 100

static Portal commit_portal = NULL;
static int	commit_flushes = 0;

/* ------------------------------------------------------------------------
 * the end of the transaction
 * ------------------------------------------------------------------------
 */
static void
session_flush_visit(Session *session, void *arg)
{
	session_flush(session, *(FlushReason *) arg);
}

void
sessions_flush_all(FlushReason reason)
{
	/* a flush may run triggers that add to a session flushed before */
	for (int i = 0; i < 100 && sessions_unflushed_count > 0; i++)
		sessions_each(session_flush_visit, &reason);
}

/* The cleanup hook of the commit portal; also called when it is aborted. */
static void
commit_portal_cleanup(Portal portal)
{
	portal->cleanup = NULL;
	commit_portal = NULL;
	if (sessions_unflushed_count == 0 || !IsTransactionState())
		return;
	if (++commit_flushes > COMMIT_FLUSHES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("over %d subsequent flushes have occurred at the end of the transaction",
						COMMIT_FLUSHES_MAX),
				 errhint("A deferred trigger adds or changes an object each time.")));
	PushActiveSnapshot(GetTransactionSnapshot());
	sessions_flush_all(FLUSH_COMMIT);
	PopActiveSnapshot();
}

void
commit_flush_arm(void)
{
	if (commit_portal != NULL)
		return;
	commit_portal = CreateNewPortal();
	commit_portal->visible = false;
	/* not PORTAL_NEW, which must not be dropped; nobody can fetch from this */
	commit_portal->status = PORTAL_DONE;
	commit_portal->cleanup = commit_portal_cleanup;
}

void
commit_flush_forget(void)
{
	commit_portal = NULL;
	commit_flushes = 0;
}

/* ------------------------------------------------------------------------
 * changes
 * ------------------------------------------------------------------------
 */
void
object_changed(Object *object)
{
	object_refile(object);
	if (object->unflushed)
		commit_flush_arm();
}

void
version_take_changes(ObjectVersion *version, HeapTuple row,
					 Bitmapset *modified)
{
	Session    *session = version->object->session;

	version_set_changed(version, session_copy_row(session, row), modified);
}

/* Row switch: a delete and an add of the same key become one UPDATE. */
static void
object_switch_row(Model *model, Object *object, HeapTuple row)
{
	ObjectVersion *version = object_touch(object);
	Bitmapset  *updatable = row_updatable_columns(model);
	Bitmapset  *modified = NULL;

	version->marked_deleted = false;
	version->orphan_attnum = InvalidAttrNumber;
	if (!bms_is_empty(updatable))
		modified = row_difference(model, version->stored, row, updatable);
	if (bms_is_empty(modified))
		version_set_changed(version, NULL, NULL);
	else
	{
		access_require(model, ACL_UPDATE, modified);
		version_take_changes(version,
							 row_overlay(model, version->stored, row,
										 modified), modified);
	}
}

static void
report_in_session(Model *model, Object *object)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("%s %s is in session \"%s\" already",
					model->class_name,
					model_key_to_text(model, object_key(object)),
					session_name(object->session)),
			 errhint("Use orm.set to change it.")));
}

/* Adding what is in the session with that key already. */
static void
object_add_again(Model *model, Object *object, HeapTuple row,
				 Bitmapset *given)
{
	ObjectVersion *version;

	if (object->top->state == OBJECT_PERSISTENT &&
		object->top->marked_deleted)
	{
		require_not_flushing(object->session);
		object_switch_row(model, object, row);
	}
	else if (object->top->state == OBJECT_DELETED)
	{
		version = object_touch(object);
		version->state = OBJECT_PENDING;
		version_take_changes(version, row, given);
	}
	else
		report_in_session(model, object);
	object_changed(object);
}

/*
 * The object that an add meets.  One that is marked deleted has its stored
 * row known, to be compared with the new one, unless that is gone meanwhile.
 */
static Object *
object_met_by_add(Session *session, Model *model, const Datum *key)
{
	Object	   *object = session_find(session, model, key);
	bool		stored;

	if (object == NULL || !object->top->marked_deleted ||
		object->top->stored != NULL)
		return object;
	stored = session_load_by_key(session, model, key, false);
	object = session_find(session, model, key);
	if (object != NULL && !stored)
		object_deleted_by_statement(object);
	return object;
}

/* The flush would say so as well, but not where the mistake is. */
void
require_key(Model *model, HeapTuple row, Bitmapset *given)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		AttrNumber	attnum = model->keys[i].attnum;
		Form_pg_attribute column = TupleDescAttr(model->tupdesc, attnum - 1);

		if (!column->attnotnull ||
			!heap_attisnull(row, attnum, model->tupdesc) ||
			(given != NULL && !bms_is_member(column_member(attnum), given)))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("key column %s of %s must not be NULL",
						column_sql(model, attnum), model->class_name),
				 given == NULL && (column->atthasdef || column->attidentity != '\0') ?
				 errhint("Leave it out of the document to take its default.") : 0,
				 err_generic_string(PG_DIAG_TABLE_NAME,
									get_rel_name(model->relid)),
				 err_generic_string(PG_DIAG_COLUMN_NAME,
									NameStr(column->attname))));
	}
}

static void
require_addable(Model *model, Bitmapset *given)
{
	access_require(model, ACL_INSERT, given);
	access_require_select(model);
	access_lock(model);
}

Object *
session_add(Session *session, Model *model, Datum row, Bitmapset *given)
{
	HeapTupleData tuple = row_as_tuple(row);
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	bool		has_key = model_key_of_row(model, tuple.t_data, key);
	Object	   *object = has_key ? object_met_by_add(session, model, key) :
	NULL;

	require_addable(model, given);
	if (!has_key && !insert_one_by_one(model))
		require_key(model, &tuple, NULL);
	if (object != NULL)
	{
		object_add_again(model, object, &tuple, given);
		return object;
	}
	object = object_create(session, model, has_key ? key : NULL,
						   OBJECT_PENDING);
	version_take_changes(object->top, &tuple, given);
	object_changed(object);
	return object;
}

/* The same for a draft, whose row is formed where it is to stay. */
Object *
session_add_draft(Session *session, Model *model, const RowDraft *draft)
{
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Object	   *object;
	HeapTuple	row;

	if (!row_draft_key(model, draft, key))
		return session_add(session, model,
						   row_from_tuple(model, row_draft_form(model, draft)),
						   draft->given);
	identity_map_prefetch(session, model, key);
	row = row_draft_form(model, draft);
	object = object_met_by_add(session, model, key);
	require_addable(model, draft->given);
	if (object != NULL)
	{
		object_add_again(model, object, row, draft->given);
		return object;
	}
	row = session_copy_row(session, row);
	object = object_create(session, model, key, OBJECT_PENDING);
	version_set_changed(object->top, row, draft->given);
	object_changed(object);
	return object;
}

/* The key of a row that names an object; P0002 if there is none. */
Datum *
object_key_required(Model *model, HeapTupleHeader row)
{
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));

	if (row == NULL || !model_key_of_row(model, row, key))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no object given"),
				 errdetail("The %s of %s is NULL.", row ? "key" : "row",
						   model->class_name)));
	return key;
}

void
report_missing(Model *model, const Datum *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("%s %s does not exist", model->class_name,
					model_key_to_text(model, key))));
}

/* Reads a row; policies, views and triggers may have run anything then. */
Object *
session_object_load(Session *session, Model *model, const Datum *key,
					bool populate_existing)
{
	Object	   *object;

	if (!session_load_by_key(session, model, key, populate_existing))
		report_missing(model, key);
	object = session_find(session, model, key);
	if (object == NULL || object_current_row(object) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s %s was changed while it was read",
						model->class_name, model_key_to_text(model, key))));
	return object;
}

/*
 * The object that a row names by its key, with its row known: taken from the
 * session, or read.  What is read here does not autoflush: pending changes of
 * other objects cannot change which row has this key.
 */
Object *
session_object(Session *session, Model *model, HeapTupleHeader row)
{
	Datum	   *key = object_key_required(model, row);
	Object	   *object = session_find(session, model, key);

	if (object != NULL &&
		(object->top->state == OBJECT_DELETED ||
		 object->top->state == OBJECT_PENDING))
		return object;
	if (object != NULL && object_current_row(object) != NULL &&
		access_memory_suffices(model))
		return object;
	return session_object_load(session, model, key, false);
}

void
require_not_deleted(Model *model, Object *object)
{
	ObjectVersion *top = object->top;

	if (top->state == OBJECT_DELETED || top->marked_deleted)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s %s is deleted", model->class_name,
						model_key_to_text(model, object_key(object))),
				 top->marked_deleted ?
				 errhint("orm.add brings it back before the flush.") : 0));
}

/* A pending object is to have a new key at once: nobody else may have it. */
static void
require_free_key(Model *model, Object *object, const Datum *key)
{
	Object	   *other = session_find(object->session, model, key);

	/* its row is to come back under the key that was sent */
	require_not_flushing(object->session);
	if (other != NULL && other->top->state != OBJECT_DELETED &&
		!other->top->marked_deleted)
		report_in_session(model, other);
}

/* A pending object takes the new row whole, its key included. */
static void
pending_set(Model *model, Object *object, HeapTuple row, Bitmapset *columns)
{
	ObjectVersion *version = object_touch(object);
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	bool		new_key = model_key_of_row(model, row->t_data, key) &&
		(version->key == NULL ||
		 !model_key_equal(model, key, version->key->values));

	if (new_key)
		require_free_key(model, object, key);
	version_take_changes(version, row,
						 bms_union(version->modified, columns));
	if (new_key)
		version_set_key(model, version, key);
}

/* Only columns that differ from the stored row are pending changes. */
static void
persistent_set(Model *model, Object *object, HeapTuple row,
			   Bitmapset *columns)
{
	ObjectVersion *version = object_touch(object);
	Bitmapset  *modified = row_difference(model, version->stored, row, NULL);

	if (bms_is_empty(modified))
		version_set_changed(version, NULL, NULL);
	else
		version_take_changes(version, row, modified);
	if (version->orphan_attnum != InvalidAttrNumber &&
		!heap_attisnull(row, version->orphan_attnum, model->tupdesc))
		version->orphan_attnum = InvalidAttrNumber; /* it has an owner again */
}

/* Of the row, the columns count, and of these what differs. */
void
session_set(Model *model, Object *object, Datum row, Bitmapset *columns)
{
	HeapTuple	current;
	HeapTuple	tuple;

	require_not_deleted(model, object);
	current = object_current_row(object);
	tuple = row_overlay(model, current, row_to_tuple(row), columns);
	columns = row_difference(model, current, tuple, columns);
	if (bms_is_empty(columns))
		return;
	row_require_settable(model, columns);
	if (object->top->state == OBJECT_PENDING)
	{
		Datum		before = row_from_tuple(model, current);

		access_require(model, ACL_INSERT, columns);
		pending_set(model, object, tuple, columns);
		members_follow(object->session, model, before,
					   row_from_tuple(model, tuple), columns);
	}
	else
	{
		access_require(model, ACL_UPDATE, columns);
		access_lock(model);
		persistent_set(model, object, tuple, columns);
	}
	object_changed(object);
}

void
session_undelete(Model *model, Object *object)
{
	HeapTuple	current = object_current_row(object);

	if (!object->top->marked_deleted)
		return;
	object_touch(object)->marked_deleted = false;
	object_changed(object);
	if (current != NULL)
		cascade_undelete(object->session, model,
						 row_from_tuple(model, current));
}

/* Never written: there is nothing to delete, and nobody to reference it. */
static void
pending_delete(Model *model, Object *object)
{
	Session    *session = object->session;
	Datum		row = row_from_tuple(model, object_current_row(object));

	object_expunge(object);		/* first, or a circle would come back to it */
	cascade_delete(session, model, row);
	session_forget_links(session, model, row);
}

/* Members may be those of the stored key, or of one not flushed yet. */
static void
persistent_delete(Model *model, Object *object)
{
	Session    *session = object->session;
	Datum		row = row_from_tuple(model, object_current_row(object));
	Datum		stored = row_from_tuple(model, object->top->stored);
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));

	object_touch(object)->marked_deleted = true;
	object_changed(object);
	cascade_delete(session, model, row);
	if (!model_key_of_row(model, DatumGetHeapTupleHeader(row), key) ||
		!model_key_equal(model, key, object_key(object)))
		cascade_delete(session, model, stored);
}

void
session_delete(Model *model, Object *object)
{
	if (object->top->state == OBJECT_DELETED)
		require_not_deleted(model, object);
	if (object->top->state == OBJECT_PENDING)
	{
		pending_delete(model, object);
		return;
	}
	access_require(model, ACL_DELETE, NULL);
	access_lock(model);
	persistent_delete(model, object);
}

/* ------------------------------------------------------------------------
 * discarding
 * ------------------------------------------------------------------------
 */
void
require_not_flushing(Session *session)
{
	if (session->writing)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("session \"%s\" is flushing", session->name)));
}

void
object_expunge(Object *object)
{
	require_not_flushing(object->session);
	object_leave(object);
}

void
object_discard_changes(Object *object)
{
	ObjectVersion *version;

	if (object->top->state == OBJECT_PENDING)
	{
		object_expunge(object);
		return;
	}
	require_not_flushing(object->session);
	version = object_touch(object);
	version->marked_deleted = false;
	version_set_changed(version, NULL, NULL);
	object_refile(object);
}

void
session_discard_pending(Session *session)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &session->unflushed)
		object_discard_changes(dlist_container(Object, list_node,
											   iter.cur));
}

/*
 * Forgets values, pending ones as well, and the version that they were based
 * on; an object that is marked deleted stays so, as in the reference.
 */
void
object_expire(Object *object)
{
	ObjectVersion *version;

	require_not_flushing(object->session);
	version = object_touch(object);
	version_set_changed(version, NULL, NULL);
	version_set_stored(version, NULL);
	version_forget(version);
	object_refile(object);
}

/* orm.expire and orm.refresh. */
void
session_expire(Model *model, Object *object)
{
	if (object->top->state == OBJECT_PENDING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s %s is not stored yet", model->class_name,
						object_key(object) ?
						model_key_to_text(model, object_key(object)) : "(NULL)"),
				 errhint("Call orm.flush() first.")));
	if (object->top->state == OBJECT_DELETED)
		require_not_deleted(model, object);
	object_expire(object);
}

/* Calls the function for each object of the present user. */
void
session_each_object(Session *session,
					void (*visit) (Object *object, void *arg), void *arg)
{
	HASH_SEQ_STATUS scan;
	ModelObjects *entry;

	if (session->models == NULL)
		return;
	hash_seq_init(&scan, session->models);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		dlist_mutable_iter iter;

		dlist_foreach_modify(iter, &entry->objects)
		{
			Object	   *object = dlist_container(Object, model_node, iter.cur);

			if (object->top->state != OBJECT_GONE &&
				object->userid == GetUserId() &&
				object->row_security == row_security)
				visit(object, arg);
		}
	}
}
