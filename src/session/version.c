/*-------------------------------------------------------------------------
 *
 * version.c
 *	  The versions of an object, one for each (sub)transaction that touched
 *	  it: its rows, its pending changes, and what is known of the stored row.
 *
 * Rows and sets of columns live in the session's objects_context.  A row is
 * shared with the version below until one of the two changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "session/internal.h"

/* Frees a row unless a neighbour in the stack has the same. */
static void
row_free_unshared(Object *object, HeapTuple row, HeapTuple above,
				  HeapTuple below)
{
	if (row != NULL && row != above && row != below)
		session_free_row(object->session, row);
}

void
version_free(ObjectVersion *version, ObjectVersion *above)
{
	ObjectVersion *below = version->below;

	row_free_unshared(version->object, version->stored,
					  above ? above->stored : NULL,
					  below ? below->stored : NULL);
	row_free_unshared(version->object, version->changed,
					  above ? above->changed : NULL,
					  below ? below->changed : NULL);
	identity_key_free_unshared(version->key, above ? above->key : NULL,
							   below ? below->key : NULL);
	if (version->level != NULL)
		dlist_delete(&version->level_node);
	if (version != &version->object->first)
		arena_free(version->object->session, version, sizeof(ObjectVersion));
}

ObjectVersion *
object_touch(Object *object)
{
	Level	   *level = level_current();
	ObjectVersion *top = object->top;
	ObjectVersion *version;

	if (top->level == level)
		return top;

	version = arena_alloc(object->session, sizeof(ObjectVersion));
	*version = *top;

	version->below = top;
	version->level = level;
	dlist_push_tail(&level->versions, &version->level_node);
	object->top = version;
	return version;
}

/*
 * Makes the session's own copy of a row a Datum as well, so that what calls
 * return is no more than a copy of its bytes.  What a Datum is of is the
 * newest row type that the session has seen.
 */
static uint16
row_make_datum(Object *object, HeapTuple row)
{
	ModelObjects *entry = object->model_objects;

	if (!HeapTupleHasExternal(row))
		compat_tuple_set_datum(row->t_data, entry->tupdesc, row->t_len);
	return entry->type;
}

void
version_set_stored(ObjectVersion *version, HeapTuple row)
{
	if (row == version->stored)
		return;
	row_free_unshared(version->object, version->stored, NULL,
					  version->below ? version->below->stored : NULL);
	version->stored = row;
	if (row == NULL)
		return;
	version->stored_type = row_make_datum(version->object, row);
	version->object->model_objects->loaded = true;
	references_note(version->object, row);
}

/*
 * The same columns, in memory that lasts as long as objects do: there are few
 * different sets, so one is not freed before.
 */
static Bitmapset *
column_set_kept(ModelObjects *entry, Bitmapset *columns,
				MemoryContext context)
{
	MemoryContext old;
	ListCell   *cell;

	if (bms_is_empty(columns))
		return NULL;
	foreach(cell, entry->column_sets)
	{
		if (bms_equal(lfirst(cell), columns))
			return lfirst(cell);
	}
	old = MemoryContextSwitchTo(context);
	columns = bms_copy(columns);
	entry->column_sets = lappend(entry->column_sets, columns);
	MemoryContextSwitchTo(old);
	return columns;
}

/* modified is copied; a NULL row means that nothing is pending any more. */
void
version_set_changed(ObjectVersion *version, HeapTuple row,
					Bitmapset *modified)
{
	version->object->revision++;
	if (row != version->changed)
		row_free_unshared(version->object, version->changed, NULL,
						  version->below ? version->below->changed : NULL);
	version->changed = row;
	if (row == NULL)
		version->orphan_attnum = InvalidAttrNumber;
	version->changed_type = 0;
	if (row != NULL)
	{
		version->changed_type = row_make_datum(version->object, row);
		references_note(version->object, row);
	}

	version->modified = column_set_kept(version->object->model_objects,
										modified,
										version->object->session->objects_context);
}

/* The row is moved, unless the version below has it as its own change. */
void
version_store_changes(ObjectVersion *version)
{
	HeapTuple	row = version->changed;

	if (version->below != NULL && version->below->changed == row)
		version_set_stored(version,
						   session_copy_row(version->object->session, row));
	else
	{
		version->changed = NULL;
		version_set_stored(version, row);
	}
	version_set_changed(version, NULL, NULL);
}

void
version_note(Model *model, ObjectVersion *version, HeapTuple row,
			 TransactionId xmin)
{
	version->xmin = xmin;
	version->rewritten = false;
	version->number = row_version_number(model, row);
}

void
version_forget(ObjectVersion *version)
{
	version->xmin = InvalidTransactionId;
	version->rewritten = false;
	version->number = -1;
}

bool
version_is_known(const ObjectVersion *version)
{
	return TransactionIdIsValid(version->xmin) || version->number >= 0;
}

/* Is there a change that a flush has to write? */
bool
version_is_pending_work(const ObjectVersion *version)
{
	switch (version->state)
	{
		case OBJECT_PENDING:
			return true;
		case OBJECT_PERSISTENT:
			return version->marked_deleted || version->changed != NULL;
		default:
			return false;
	}
}
