/*-------------------------------------------------------------------------
 *
 * cascade.c
 *	  What deleting, expunging or expiring an object does to its neighbours.
 *
 * The rules are the reference's: with the delete cascade the members of a
 * collection are deleted with their owner, at the time of the call; without
 * it their foreign keys become NULL; with passive_deletes only what the
 * session has is looked at and the rest is left to the database.  Link rows
 * are deleted by the flush, with one statement (flush_batch.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/rls.h"

#include "compat.h"
#include "session/graph.h"
#include "session/internal.h"

static Object *
find_by_row(Session *session, Model *model, Datum row)
{
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));

	if (!model_key_of_row(model, DatumGetHeapTupleHeader(row), key))
		return NULL;
	return session_find(session, model, key);
}

/* A member, whose row may have to be read; NULL if it is gone by now. */
static Object *
member_loaded(Session *session, Model *target, Datum member)
{
	Object	   *object = find_by_row(session, target, member);
	Datum	   *key;

	if (object != NULL && object->top->state != OBJECT_PERSISTENT)
		return object;
	if (object != NULL)
		return session_object(session, target,
							  DatumGetHeapTupleHeader(member));
	key = object_key_required(target, DatumGetHeapTupleHeader(member));
	return session_load_by_key(session, target, key, false) ?
		session_find(session, target, key) : NULL;
}

static bool
is_deleted(Object *object)
{
	return object->top->state == OBJECT_DELETED ||
		object->top->marked_deleted;
}

static void
cascade_delete_members(Session *session, Model *model, Datum row,
					   Relationship *relationship)
{
	Model	   *target = model_by_relid(relationship->target, false);
	List	   *members = collection_members(session, model, row, relationship,
											 !relationship->passive_deletes);
	ListCell   *cell;

	foreach(cell, members)
	{
		Object	   *member = member_loaded(session, target,
										   PointerGetDatum(lfirst(cell)));

		if (member == NULL || is_deleted(member))
			continue;
		if (relationship->cascade & CASCADE_DELETE)
			session_delete(target, member);
		else
			member_release(relationship, target, member, false);
	}
}

/* The target of a foreign key, or all targets of links. */
static void
cascade_delete_targets(Session *session, Model *model, Datum row,
					   Relationship *relationship)
{
	Model	   *target = model_by_relid(relationship->target, false);
	ListCell   *cell;

	if (!(relationship->cascade & CASCADE_DELETE))
		return;
	foreach(cell, collection_members(session, model, row, relationship, true))
	{
		Object	   *object = member_loaded(session, target,
										   PointerGetDatum(lfirst(cell)));

		if (object != NULL && !is_deleted(object))
			session_delete(target, object);
	}
}

void
cascade_delete(Session *session, Model *model, Datum row)
{
	check_stack_depth();
	for (int i = 0; i < model->nrelationships; i++)
	{
		Relationship *relationship = model->relationships[i];

		if (relationship->viewonly)
			continue;
		if (relationship->direction == RELATIONSHIP_ONE_TO_MANY)
			cascade_delete_members(session, model, row, relationship);
		else
			cascade_delete_targets(session, model, row, relationship);
	}
}

/* ------------------------------------------------------------------------
 * orphans
 * ------------------------------------------------------------------------
 */
bool
version_is_orphan(Model *model, ObjectVersion *version)
{
	return version->orphan_attnum != InvalidAttrNumber &&
		version->state == OBJECT_PERSISTENT && version->changed != NULL &&
		heap_attisnull(version->changed, version->orphan_attnum,
					   model->tupdesc);
}

static List *
session_orphans(Session *session)
{
	List	   *orphans = NIL;
	dlist_iter	iter;

	dlist_foreach(iter, &session->unflushed)
	{
		Object	   *object = dlist_container(Object, list_node, iter.cur);

		if (object->top->orphan_attnum != InvalidAttrNumber &&
			!object->top->marked_deleted &&
			object->userid == GetUserId() &&
			object->row_security == row_security &&
			version_is_orphan(objects_model(object->model_objects),
							  object->top))
			orphans = lappend(orphans, object);
	}
	return orphans;
}

void
cascade_orphans(Session *session)
{
	ListCell   *cell;

	foreach(cell, session_orphans(session))
	{
		Object	   *object = lfirst(cell);
		Model	   *model = objects_model(object->model_objects);

		/* one whose row is gone is reported by its DELETE */
		if (!object->top->marked_deleted &&
			(object_current_row(object) != NULL ||
			 session_load_by_key(session, model, object_key(object), false)))
			session_delete(model, object);
	}
}

/* ------------------------------------------------------------------------
 * along the relationships
 * ------------------------------------------------------------------------
 */
void
cascade_visit(Session *session, Model *model, Datum row, int cascade,
			  void (*visit) (Session *session, Model *model, Object *object))
{
	check_stack_depth();
	for (int i = 0; i < model->nrelationships; i++)
	{
		Relationship *relationship = model->relationships[i];
		Model	   *target;
		ListCell   *cell;

		if (!(relationship->cascade & cascade))
			continue;
		target = model_by_relid(relationship->target, false);
		foreach(cell, collection_members(session, model, row, relationship,
										 false))
		{
			Object	   *object = find_by_row(session, target,
											 PointerGetDatum(lfirst(cell)));

			if (object != NULL)
				visit(session, target, object);
		}
	}
}

static void
undelete_visit(Session *session, Model *model, Object *object)
{
	session_undelete(model, object);
}

void
cascade_undelete(Session *session, Model *model, Datum row)
{
	cascade_visit(session, model, row, CASCADE_DELETE, undelete_visit);
}
