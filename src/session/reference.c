/*-------------------------------------------------------------------------
 *
 * reference.c
 *	  Which objects of a session refer to an owner: an index from values of
 *	  foreign-key columns to the objects that have them.
 *
 * An index is made when a collection of the model is first asked for, and
 * kept up from then on whenever an object is given a row.  What is noted once
 * stays noted, for as long as the object lives: an object may no longer have
 * the values, or have them again after a rollback.  So an index gives
 * candidates, which have to be looked at.
 *
 * Memory: the session's objects_context.  Nothing is allocated when objects
 * are freed, since that happens within the callbacks of subtransactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "utils/typcache.h"

#include "compat.h"
#include "session/internal.h"

struct Reference
{
	Object	   *object;
	ReferenceIndex *index;
	uint32		hash;
	Reference  *of_object;		/* the next one of the same object */
	Reference  *before;			/* in its bucket */
	Reference  *after;
};

typedef struct ReferenceBucket
{
	uint32		hash;
	char		status;
	Reference  *last;
} ReferenceBucket;

#define SH_PREFIX reference
#define SH_ELEMENT_TYPE ReferenceBucket
#define SH_KEY_TYPE uint32
#define SH_KEY hash
#define SH_HASH_KEY(table, key) (key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct ReferenceIndex
{
	ReferenceIndex *next;		/* of the same model */
	int			n;
	AttrNumber *attnums;
	Oid		   *collations;
	TypeCacheEntry **types;
	reference_hash *buckets;
};

/* ------------------------------------------------------------------------
 * hash values
 * ------------------------------------------------------------------------
 */
static uint32
values_hash(const ReferenceIndex *index, const Datum *values)
{
	uint32		hash = 0;

	for (int i = 0; i < index->n; i++)
	{
		FmgrInfo   *hash_proc = &index->types[i]->hash_proc_finfo;
		Datum		value = FunctionCall1Coll(hash_proc, index->collations[i],
											  values[i]);

		hash = hash_combine(hash, DatumGetUInt32(value));
	}
	return murmurhash32(hash);
}

/* Returns false if one of the columns is NULL. */
static bool
row_hash(const ReferenceIndex *index, TupleDesc tupdesc, HeapTuple row,
		 uint32 *hash)
{
	Datum		values[INDEX_MAX_KEYS];

	for (int i = 0; i < index->n; i++)
	{
		bool		isnull;

		values[i] = heap_getattr(row, index->attnums[i], tupdesc, &isnull);
		if (isnull)
			return false;
	}
	*hash = values_hash(index, values);
	return true;
}

/* ------------------------------------------------------------------------
 * noting and forgetting
 * ------------------------------------------------------------------------
 */
static bool
is_noted(const ReferenceIndex *index, Object *object, uint32 hash)
{
	for (Reference *reference = object->references; reference != NULL;
		 reference = reference->of_object)
	{
		if (reference->index == index && reference->hash == hash)
			return true;
	}
	return false;
}

static void
note_row(ReferenceIndex *index, Object *object, HeapTuple row)
{
	TupleDesc	tupdesc = llast(object->model_objects->tupdescs);
	ReferenceBucket *bucket;
	Reference  *reference;
	uint32		hash;
	bool		found;

	if (row == NULL || !row_hash(index, tupdesc, row, &hash) ||
		is_noted(index, object, hash))
		return;
	reference = MemoryContextAlloc(object->session->objects_context,
								   sizeof(Reference));
	bucket = reference_insert(index->buckets, hash, &found);
	reference->object = object;
	reference->index = index;
	reference->hash = hash;
	reference->of_object = object->references;
	object->references = reference;
	reference->before = found ? bucket->last : NULL;
	reference->after = NULL;
	if (reference->before != NULL)
		reference->before->after = reference;
	bucket->last = reference;
}

void
references_note(Object *object, HeapTuple row)
{
	for (ReferenceIndex *index = object->model_objects->references;
		 index != NULL; index = index->next)
		note_row(index, object, row);
}

static void
reference_unlink(Reference *reference)
{
	ReferenceBucket *bucket;

	if (reference->before != NULL)
		reference->before->after = reference->after;
	if (reference->after != NULL)
	{
		reference->after->before = reference->before;
		return;
	}
	bucket = reference_lookup(reference->index->buckets, reference->hash);
	bucket->last = reference->before;
	if (bucket->last == NULL)
		reference_delete_item(reference->index->buckets, bucket);
}

void
references_forget(Object *object)
{
	Reference  *reference = object->references;

	while (reference != NULL)
	{
		Reference  *next = reference->of_object;

		reference_unlink(reference);
		pfree(reference);
		reference = next;
	}
	object->references = NULL;
}

void
references_drop(ModelObjects *entry)
{
	dlist_iter	iter;

	if (entry->references == NULL)
		return;
	dlist_foreach(iter, &entry->objects)
		references_forget(dlist_container(Object, model_node, iter.cur));
	entry->references = NULL;
}

/* ------------------------------------------------------------------------
 * indexes
 * ------------------------------------------------------------------------
 */
static bool
index_is_on(const ReferenceIndex *index, int n, const AttrNumber *attnums)
{
	return index->n == n &&
		memcmp(index->attnums, attnums, n * sizeof(AttrNumber)) == 0;
}

/* Of those that a rollback may bring back, too. */
static void
note_all_versions(ReferenceIndex *index, Object *object)
{
	for (ObjectVersion *version = object->top; version != NULL;
		 version = version->below)
	{
		note_row(index, object, version->stored);
		note_row(index, object, version->changed);
	}
}

/* Returns NULL if a column's type cannot be hashed. */
static ReferenceIndex *
index_create(Session *session, ModelObjects *entry, int n,
			 const AttrNumber *attnums)
{
	TupleDesc	tupdesc = llast(entry->tupdescs);
	MemoryContext old = MemoryContextSwitchTo(session->objects_context);
	ReferenceIndex *index = palloc(sizeof(ReferenceIndex));

	index->n = n;
	index->attnums = palloc(n * sizeof(AttrNumber));
	index->collations = palloc(n * sizeof(Oid));
	index->types = palloc(n * sizeof(TypeCacheEntry *));
	MemoryContextSwitchTo(old);
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute column = TupleDescAttr(tupdesc, attnums[i] - 1);

		index->attnums[i] = attnums[i];
		index->collations[i] = column->attcollation;
		index->types[i] = lookup_type_cache(column->atttypid,
											TYPECACHE_HASH_PROC_FINFO);
		if (!OidIsValid(index->types[i]->hash_proc_finfo.fn_oid))
			return NULL;
	}
	index->buckets = reference_create(session->objects_context, 64, NULL);
	index->next = entry->references;
	entry->references = index;
	return index;
}

static ReferenceIndex *
index_for(Session *session, ModelObjects *entry, int n,
		  const AttrNumber *attnums)
{
	ReferenceIndex *index = entry->references;
	dlist_iter	iter;

	while (index != NULL && !index_is_on(index, n, attnums))
		index = index->next;
	if (index != NULL)
		return index;
	index = index_create(session, entry, n, attnums);
	if (index == NULL)
		return NULL;
	dlist_foreach(iter, &entry->objects)
		note_all_versions(index, dlist_container(Object, model_node, iter.cur));
	return index;
}

/*
 * The objects that have, or once had, those values.  Returns false if their
 * types cannot be hashed.
 */
static bool
find_objects(Session *session, ModelObjects *entry, int n,
			 const AttrNumber *attnums, const Datum *values, List **objects)
{
	ReferenceIndex *index = index_for(session, entry, n, attnums);
	ReferenceBucket *bucket;
	List	   *newest_first = NIL;

	*objects = NIL;
	if (index == NULL)
		return false;
	bucket = reference_lookup(index->buckets, values_hash(index, values));
	if (bucket == NULL)
		return true;
	for (Reference *reference = bucket->last; reference != NULL;
		 reference = reference->before)
		newest_first = lappend(newest_first, reference->object);
	for (int i = list_length(newest_first) - 1; i >= 0; i--)
		*objects = lappend(*objects, list_nth(newest_first, i));
	return true;
}

List *
references_candidates(Session *session, Model *model, int n,
					  const AttrNumber *attnums, Model *owner_model,
					  Datum owner, const AttrNumber *owner_attnums)
{
	ModelObjects *entry = model_objects(session, model);
	Datum		values[INDEX_MAX_KEYS];
	bool		same_types = true;
	List	   *objects = NIL;
	dlist_iter	iter;

	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		values[i] = row_column(owner_model, owner, owner_attnums[i], &isnull);
		if (isnull)
			return NIL;
		same_types &= TupleDescAttr(owner_model->tupdesc,
									owner_attnums[i] - 1)->atttypid ==
			TupleDescAttr(model->tupdesc, attnums[i] - 1)->atttypid;
	}
	if (entry->count == 0 ||
		(same_types &&
		 find_objects(session, entry, n, attnums, values, &objects)))
		return objects;
	dlist_foreach(iter, &entry->objects)
		objects = lappend(objects,
						  dlist_container(Object, model_node, iter.cur));
	return objects;
}
