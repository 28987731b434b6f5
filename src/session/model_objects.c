/*-------------------------------------------------------------------------
 *
 * model_objects.c
 *	  The objects of a session by model, and what happens to them when the
 *	  model's table is altered.
 *
 * An invalidation only marks the entry; at its next use, rows of another row
 * type are forgotten, since one from before a change of type must not be
 * read.  Pending changes of such rows are an error: the table is locked while
 * there are any, so that only this backend's own ALTER TABLE can do that, and
 * that flushes first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "session/internal.h"

/* Can a row formed with the older descriptor be read with the newer one? */
static bool
rows_stay_readable(TupleDesc older, TupleDesc newer)
{
	if (older == NULL || newer->natts < older->natts)
		return false;
	for (int i = 0; i < older->natts; i++)
	{
		Form_pg_attribute was = TupleDescAttr(older, i);
		Form_pg_attribute is = TupleDescAttr(newer, i);

		if (is->attisdropped ? was->attisdropped != is->attisdropped
			: was->atttypid != is->atttypid || was->attlen != is->attlen)
			return false;
	}
	return true;
}

/* The row type that rows of that number were formed with; NULL for none. */
static TupleDesc
row_type(Object *object, uint16 type)
{
	return type == 0 ? NULL : list_nth(object->model_objects->tupdescs,
									   type - 1);
}

/* Do the identities of the objects have the key that the model has now? */
static bool
identities_stay(ModelObjects *entry, Model *model)
{
	TupleDesc	newest;

	if (entry->tupdescs == NIL)
		return true;			/* no objects as yet */
	if (entry->nkeys != model->nkeys)
		return false;
	newest = llast(entry->tupdescs);
	for (int i = 0; i < model->nkeys; i++)
	{
		AttrNumber	attnum = model->keys[i].attnum;

		if (entry->key_attnums[i] != attnum ||
			TupleDescAttr(newest, attnum - 1)->atttypid != model->keys[i].typid)
			return false;
	}
	return true;
}

/*
 * Forgets what was loaded of an object, at every level.  One whose key is of
 * another shape now leaves the session.
 */
static void
object_revalidate(Object *object, Model *model, bool key_stays)
{
	ObjectVersion *top = object->top;

	if (version_is_pending_work(top) &&
		(!key_stays || (top->changed != NULL &&
						!rows_stay_readable(row_type(object, top->changed_type),
											model->tupdesc))))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s was altered while objects of it have pending changes",
						model->relation_name),
				 errhint("Flush before altering the table (orm.autoflush does), or ROLLBACK.")));
	for (ObjectVersion *version = top; version != NULL;
		 version = version->below)
	{
		if (version->state == OBJECT_PERSISTENT)
			version_set_stored(version, NULL);
	}
	if (!key_stays)
	{
		object_touch(object)->state = OBJECT_GONE;
		object_refile(object);
	}
}

/*
 * A relcache invalidation came for the model.  Most say nothing about rows
 * (an ANALYZE, a new index); where the row type is another one, what was
 * loaded is forgotten.  A model that is not valid itself leaves the mark for
 * the next call.
 */
static void
model_objects_revalidate(Session *session, ModelObjects *entry, Model *model)
{
	bool		key_stays = identities_stay(entry, model);
	MemoryContext old;
	dlist_iter	iter;

	if (key_stays && entry->tupdescs != NIL &&
		equalTupleDescs(llast(entry->tupdescs), model->tupdesc))
	{
		entry->invalidated = !model->valid;
		return;
	}
	dlist_foreach(iter, &entry->objects)
		object_revalidate(dlist_container(Object, model_node, iter.cur),
						  model, key_stays);
	old = MemoryContextSwitchTo(session->objects_context);
	if (entry->tupdescs == NIL || llast(entry->tupdescs) != model->tupdesc)
	{
		references_drop(entry);
		entry->tupdescs = lappend(entry->tupdescs, model->tupdesc);
		model->tupdesc->tdrefcount++;
		entry->tupdesc = model->tupdesc;
		entry->type = list_length(entry->tupdescs) <= PG_UINT16_MAX ?
			list_length(entry->tupdescs) : 0;
	}
	if (entry->nkeys != model->nkeys)
		entry->key_attnums = palloc(model->nkeys * sizeof(AttrNumber));
	entry->nkeys = model->nkeys;
	for (int i = 0; i < model->nkeys; i++)
		entry->key_attnums[i] = model->keys[i].attnum;
	MemoryContextSwitchTo(old);
	entry->invalidated = !model->valid;
}

static HTAB *
model_objects_table(Session *session)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(ModelObjectsKey);
	control.entrysize = sizeof(ModelObjects);
	control.hcxt = session->objects_context;
	return hash_create("pg_orm objects by model", 16, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static ModelObjects *
model_objects_entry(Session *session, Model *model)
{
	ModelObjectsKey key;
	ModelObjects *entry;
	bool		found;

	if (session->models == NULL)
		session->models = model_objects_table(session);
	memset(&key, 0, sizeof(key));
	key.relid = model->relid;
	key.association = model->association;
	entry = hash_search(session->models, &key, HASH_ENTER, &found);
	if (found)
		return entry;
	memset(entry, 0, sizeof(ModelObjects));
	entry->key = key;
	entry->invalidated = true;
	entry->indirect = model->relkind != RELKIND_RELATION &&
		model->relkind != RELKIND_PARTITIONED_TABLE;
	dlist_init(&entry->objects);
	return entry;
}

ModelObjects *
model_objects(Session *session, Model *model)
{
	ModelObjects *entry = session->last_used;

	if (entry == NULL || entry->key.relid != model->relid ||
		entry->key.association != model->association)
		session->last_used = entry = model_objects_entry(session, model);
	if (entry->invalidated)
		model_objects_revalidate(session, entry, model);
	return entry;
}

/* Within an invalidation callback: sets flags only. */
void
identity_map_invalidate(Session *session, Oid relid)
{
	HASH_SEQ_STATUS scan;
	ModelObjects *entry;

	if (session->models == NULL)
		return;
	hash_seq_init(&scan, session->models);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!OidIsValid(relid) || entry->key.relid == relid)
			entry->invalidated = true;
	}
}

Model *
objects_model(ModelObjects *entry)
{
	Model	   *model;

	if (!entry->key.association)
		return model_by_relid(entry->key.relid, false);
	model = model_by_relid(entry->owner, false);
	return relationship_association(model_relationship(model,
													   NameStr(entry->relationship),
													   false));
}
