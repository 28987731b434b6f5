/*-------------------------------------------------------------------------
 *
 * association.c
 *	  Pending links through a secondary table.
 *
 * A link is an object of the secondary table's model of links, whose key is
 * all that it has: pending if it is to be there, marked deleted if it is not
 * to be there.  Whether the row exists already is left to the statements of
 * the flush, which neither double a link nor miss one.  A link that has been
 * written is forgotten.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rls.h"

#include "compat.h"
#include "session/graph.h"
#include "session/internal.h"

/* ------------------------------------------------------------------------
 * keys of links
 * ------------------------------------------------------------------------
 */

void
require_referenced(Model *model, Datum row, int n, const AttrNumber *attnums)
{
	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		(void) row_column(model, row, attnums[i], &isnull);
		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_NO_DATA_FOUND),
					 errmsg("%s of %s is NULL, so it cannot be linked",
							column_sql(model, attnums[i]),
							model->class_name)));
	}
}

/* One column of a link, from the column of one of its ends. */
static void
link_set_column(Model *links, Datum *key, AttrNumber attnum, Model *end,
				Datum row, AttrNumber end_attnum)
{
	bool		isnull;
	Datum		value = row_column(end, row, end_attnum, &isnull);

	require_referenced(end, row, 1, &end_attnum);
	for (int i = 0; i < links->nkeys; i++)
	{
		ModelKeyColumn *column = &links->keys[i];

		if (column->attnum == attnum)
			key[i] = convert_value(value,
								   TupleDescAttr(end->tupdesc,
												 end_attnum - 1)->atttypid,
								   column->typid, column->typmod);
	}
}

static Datum *
link_key(Relationship *relationship, Datum owner, Datum target)
{
	Model	   *links = relationship_association(relationship);
	Model	   *owner_model = model_by_relid(relationship->owner, false);
	Model	   *target_model = model_by_relid(relationship->target, false);
	Datum	   *key = palloc(links->nkeys * sizeof(Datum));

	for (int i = 0; i < relationship->nlocal; i++)
		link_set_column(links, key, relationship->secondary_local[i],
						owner_model, owner, relationship->local_attnums[i]);
	for (int i = 0; i < relationship->nremote; i++)
		link_set_column(links, key, relationship->secondary_remote[i],
						target_model, target,
						relationship->remote_attnums[i]);
	return key;
}

/* The value of a column of a link. */
static Datum
link_column(Model *links, Object *link, AttrNumber attnum)
{
	for (int i = 0; i < links->nkeys; i++)
	{
		if (links->keys[i].attnum == attnum)
			return object_key(link)[i];
	}
	elog(ERROR, "column %d is not part of a link", attnum);
}

static bool
link_is_of_owner(Model *links, Object *link, Relationship *relationship,
				 Model *owner_model, Datum owner)
{
	for (int i = 0; i < relationship->nlocal; i++)
	{
		AttrNumber	attnum = relationship->local_attnums[i];
		bool		isnull;
		Datum		value = row_column(owner_model, owner, attnum, &isnull);

		if (isnull ||
			!column_values_equal(links, relationship->secondary_local[i],
								 link_column(links, link,
											 relationship->secondary_local[i]),
								 owner_model, attnum, value))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * linking
 * ------------------------------------------------------------------------
 */
static Object *
link_create(Session *session, Relationship *relationship, Model *links,
			const Datum *key, ObjectState state)
{
	Object	   *link = object_create(session, links, key, state);

	link->model_objects->owner = relationship->owner;
	link->model_objects->target = relationship->target;
	namestrcpy(&link->model_objects->relationship, relationship->name);
	return link;
}

static Bitmapset *
link_columns(Model *links)
{
	Bitmapset  *columns = NULL;

	for (int i = 0; i < links->nkeys; i++)
		columns = bms_add_members(columns,
								  column_set(1, &links->keys[i].attnum));
	return columns;
}

static void
link_mark_pending(Model *links, Object *link, const Datum *key)
{
	ObjectVersion *version = object_touch(link);

	version->state = OBJECT_PENDING;
	version->marked_deleted = false;
	version_take_changes(version, row_to_tuple(row_of_key(links, key)),
						 link_columns(links));
	object_changed(link);
}

static void
link_mark_deleted(Model *links, Object *link, const Datum *key)
{
	ObjectVersion *version = object_touch(link);

	version->state = OBJECT_PERSISTENT;
	version->marked_deleted = true;
	version_set_changed(version, NULL, NULL);
	references_note(link, row_to_tuple(row_of_key(links, key)));
	object_changed(link);
}

Object *
session_link(Session *session, Relationship *relationship, Datum owner,
			 Datum target)
{
	Model	   *links = relationship_association(relationship);
	Datum	   *key = link_key(relationship, owner, target);
	Object	   *link;

	access_require(links, ACL_INSERT, link_columns(links));
	access_lock(links);
	link = session_find(session, links, key);
	if (link == NULL)
		link = link_create(session, relationship, links, key, OBJECT_PENDING);
	else if (link->top->state == OBJECT_PENDING)
		return link;
	link_mark_pending(links, link, key);
	return link;
}

Object *
session_unlink(Session *session, Relationship *relationship, Datum owner,
			   Datum target)
{
	Model	   *links = relationship_association(relationship);
	Datum	   *key = link_key(relationship, owner, target);
	Object	   *link;

	access_require(links, ACL_DELETE, NULL);
	access_lock(links);
	link = session_find(session, links, key);
	if (link == NULL)
		link = link_create(session, relationship, links, key,
						   OBJECT_PERSISTENT);
	link_mark_deleted(links, link, key);
	return link;
}

int
session_pending_link(Session *session, Relationship *relationship,
					 Datum owner, Datum target)
{
	Object	   *link = session_find(session,
									relationship_association(relationship),
									link_key(relationship, owner, target));

	if (link == NULL)
		return 0;
	return link->top->marked_deleted ? -1 : 1;
}

/* ------------------------------------------------------------------------
 * the links of one object
 * ------------------------------------------------------------------------
 */

/* The row of the target of a link; its key may be all that is in it. */
static Datum
link_target(Session *session, Model *links, Object *link,
			Relationship *relationship)
{
	Model	   *target = model_by_relid(relationship->target, false);
	int			natts = target->tupdesc->natts;
	Datum	   *values = palloc0(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	HeapTuple	row;

	memset(nulls, true, natts * sizeof(bool));
	for (int i = 0; i < relationship->nremote; i++)
	{
		AttrNumber	from = relationship->secondary_remote[i];
		AttrNumber	to = relationship->remote_attnums[i];
		Form_pg_attribute column = TupleDescAttr(target->tupdesc, to - 1);

		values[to - 1] =
			convert_value(link_column(links, link, from),
						  TupleDescAttr(links->tupdesc, from - 1)->atttypid,
						  column->atttypid, column->atttypmod);
		nulls[to - 1] = false;
	}
	row = heap_form_tuple(target->tupdesc, values, nulls);
	return row_from_tuple(target, row);
}

/* The present user's links of the owner, to be made or to be removed. */
static List *
owner_links(Session *session, Relationship *relationship, Datum owner)
{
	Model	   *links = relationship_association(relationship);
	Model	   *owner_model = model_by_relid(relationship->owner, false);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, references_candidates(session, links, relationship->nlocal,
										relationship->secondary_local,
										owner_model, owner,
										relationship->local_attnums))
	{
		Object	   *link = lfirst(cell);

		if (link->top->state != OBJECT_GONE &&
			link->userid == GetUserId() &&
			link->row_security == row_security &&
			link_is_of_owner(links, link, relationship, owner_model, owner))
			result = lappend(result, link);
	}
	return result;
}

List *
session_linked_targets(Session *session, Relationship *relationship,
					   Datum owner)
{
	Model	   *links = relationship_association(relationship);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, owner_links(session, relationship, owner))
	{
		Object	   *link = lfirst(cell);

		if (link->top->state == OBJECT_PENDING)
			result = lappend(result,
							 DatumGetPointer(link_target(session, links, link,
														 relationship)));
	}
	return result;
}

void
session_forget_links(Session *session, Model *model, Datum row)
{
	for (int i = 0; i < model->nrelationships; i++)
	{
		Relationship *relationship = model->relationships[i];
		ListCell   *cell;

		if (relationship->direction != RELATIONSHIP_MANY_TO_MANY)
			continue;
		foreach(cell, owner_links(session, relationship, row))
			object_expunge(lfirst(cell));
	}
}
