/*-------------------------------------------------------------------------
 *
 * identity_map.c
 *	  The objects of a session: one for each identity, with its history over
 *	  the savepoints of the running transaction.
 *
 * An identity is (user, row-security setting, relation, primary key): what
 * one user loaded does not exist for another.  Everything here lives in the
 * session's objects_context, which is emptied when the transaction ends.
 *
 * The code that runs at the end of a subtransaction may not look anything up,
 * allocate, or raise, and it does not: it pops or re-labels versions, which
 * are linked into everything that has to be found from them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/rel.h"

#include "compat.h"
#include "session/internal.h"

typedef struct IdentityEntry
{
	uint32		hash;
	char		status;
	IdentityKey *chain;			/* all keys with this hash value */
} IdentityEntry;

#define SH_PREFIX identity
#define SH_ELEMENT_TYPE IdentityEntry
#define SH_KEY_TYPE uint32
#define SH_KEY hash
#define SH_HASH_KEY(table, key) (key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

uint64		sessions_object_count = 0;
uint64		sessions_unflushed_count = 0;
uint64		session_objects_made = 0;

/* The live subtransactions that touched an object, innermost first. */
static Level *levels = NULL;
static MemoryContext levels_context = NULL;

/* ------------------------------------------------------------------------
 * levels
 * ------------------------------------------------------------------------
 */
Level *
level_current(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	Level	   *level = levels;

	if (level != NULL && level->subid == subid)
		return level;

	if (levels_context == NULL)
		levels_context = AllocSetContextCreate(TopMemoryContext,
											   "pg_orm savepoint levels",
											   ALLOCSET_SMALL_SIZES);
	level = MemoryContextAlloc(levels_context, sizeof(Level));
	level->subid = subid;
	level->below = levels;
	dlist_init(&level->versions);
	levels = level;
	return level;
}

void
identity_map_xact_end(void)
{
	levels = NULL;
	if (levels_context != NULL)
		MemoryContextReset(levels_context);
}

/* ------------------------------------------------------------------------
 * creation and end of a session's map
 * ------------------------------------------------------------------------
 */
void
identity_map_create(Session *session)
{
	session->identities = NULL;
	session->models = NULL;
	session->last_used = NULL;
	dlist_init(&session->unflushed);
	dlist_init(&session->clean);
}

/* What is made too large is no more than what doubling would have made. */
void
identity_map_expect(Session *session, uint32 nobjects)
{
	identity_hash *identities = session->identities;

	if (identities == NULL)
		session->identities = identity_create(session->objects_context,
											  Max(nobjects, 64), NULL);
	else if (identities->members + nobjects > identities->grow_threshold)
		identity_grow(identities,
					  (uint64) ((identities->members + nobjects) / 0.9));
}

static void
tupdescs_release(List *tupdescs)
{
	ListCell   *cell;

	foreach(cell, tupdescs)
	{
		TupleDesc	tupdesc = lfirst(cell);

		if (tupdesc->tdrefcount > 0 && --tupdesc->tdrefcount == 0)
			FreeTupleDesc(tupdesc);
	}
}

void
identity_map_unlink_versions(Session *session)
{
	for (Level *level = levels; level != NULL; level = level->below)
	{
		dlist_mutable_iter iter;

		dlist_foreach_modify(iter, &level->versions)
		{
			ObjectVersion *version = dlist_container(ObjectVersion,
													 level_node, iter.cur);

			if (version->object->session == session)
				dlist_delete(iter.cur);
		}
	}
}

void
identity_map_reset(Session *session)
{
	if (session->models != NULL)
	{
		HASH_SEQ_STATUS scan;
		ModelObjects *entry;

		hash_seq_init(&scan, session->models);
		while ((entry = hash_seq_search(&scan)) != NULL)
		{
			tupdescs_release(entry->tupdescs);
			sessions_object_count -= entry->count;
		}
	}
	sessions_unflushed_count -= session->nunflushed;
	session->nunflushed = session->nclean = session->nobjects = 0;
	session->clean_bytes = 0;
	arena_reset(session);
	session->identities = NULL;
	session->models = NULL;
	session->last_used = NULL;
	dlist_init(&session->unflushed);
	dlist_init(&session->clean);
	MemoryContextReset(session->objects_context);
}

/* ------------------------------------------------------------------------
 * identities
 * ------------------------------------------------------------------------
 */
void
identity_key_free_unshared(IdentityKey *key, IdentityKey *above,
						   IdentityKey *below)
{
	IdentityEntry *entry;
	IdentityKey **link;

	if (key == NULL || key == above || key == below)
		return;
	entry = identity_lookup(key->object->session->identities, key->hash);
	for (link = &entry->chain; *link != key; link = &(*link)->next)
		;
	*link = key->next;
	if (entry->chain == NULL)
		identity_delete_item(key->object->session->identities, entry);
	if (key == (IdentityKey *) key->object->first_key)
		key->object->first_key_taken = false;
	else
		pfree(key);
}

static uint32
scoped_hash(Model *model, const Datum *key, Oid userid, bool with_rls)
{
	uint32		hash = model_key_hash(model, key);

	hash = hash_combine(hash, murmurhash32(model->relid));
	hash = hash_combine(hash, murmurhash32(userid));
	return with_rls ? hash : ~hash;
}

void
identity_map_prefetch(Session *session, Model *model, const Datum *key)
{
	identity_hash *identities = session->identities;
	uint32		hash;

	if (identities == NULL)
		return;
	hash = scoped_hash(model, key, GetUserId(), row_security);
	compat_prefetch(&identities->data[hash & identities->sizemask]);
}

static inline bool
keys_equal(Model *model, const Datum *a, const Datum *b)
{
	if (model_key_is_integer(model))
		return key_integer(&model->keys[0], a[0]) ==
			key_integer(&model->keys[0], b[0]);
	return model_key_equal(model, a, b);
}

/* A key with its values in one piece of memory. */
static IdentityKey *
identity_form(Object *object, Model *model, const Datum *key)
{
	Size		size = MAXALIGN(offsetof(IdentityKey, values) +
								model->nkeys * sizeof(Datum));
	IdentityKey *identity;
	char	   *data;

	if (model->nkeys == 1 && model->keys[0].typbyval &&
		!object->first_key_taken)
	{
		object->first_key_taken = true;
		identity = (IdentityKey *) object->first_key;
		identity->values[0] = key[0];
		return identity;
	}
	for (int i = 0; i < model->nkeys; i++)
	{
		if (!model->keys[i].typbyval)
			size += MAXALIGN(datumGetSize(key[i], false,
										  model->keys[i].typlen));
	}
	identity = palloc(size);
	data = (char *) identity + MAXALIGN(offsetof(IdentityKey, values) +
										model->nkeys * sizeof(Datum));
	for (int i = 0; i < model->nkeys; i++)
	{
		Size		length;

		identity->values[i] = key[i];
		if (model->keys[i].typbyval)
			continue;
		length = datumGetSize(key[i], false, model->keys[i].typlen);
		memcpy(data, DatumGetPointer(key[i]), length);
		identity->values[i] = PointerGetDatum(data);
		data += MAXALIGN(length);
	}
	return identity;
}

/* Files the object under a key, which is copied; the key is the version's. */
void
version_set_key(Model *model, ObjectVersion *version, const Datum *key)
{
	Object	   *object = version->object;
	Session    *session = object->session;
	IdentityKey *identity;
	IdentityEntry *entry;
	bool		found;
	MemoryContext old = MemoryContextSwitchTo(session->objects_context);

	identity = identity_form(object, model, key);
	identity->object = object;
	identity->hash = scoped_hash(model, key, object->userid,
								 object->row_security);
	if (session->identities == NULL)
		session->identities = identity_create(session->objects_context, 64,
											  NULL);
	entry = identity_insert(session->identities, identity->hash, &found);
	if (!found)
		entry->chain = NULL;
	MemoryContextSwitchTo(old);

	identity_key_free_unshared(version->key, NULL,
							   version->below ? version->below->key : NULL);
	/* freeing may have moved the entry */
	entry = identity_lookup(session->identities, identity->hash);
	if (entry == NULL)
	{
		entry = identity_insert(session->identities, identity->hash, &found);
		entry->chain = NULL;
	}
	identity->next = entry->chain;
	entry->chain = identity;
	version->key = identity;
}

void
version_follow_key(Model *model, ObjectVersion *version, const Datum *key)
{
	bool		same = version->key != NULL;

	for (int i = 0; same && i < model->nkeys; i++)
		same = datum_image_eq(key[i], version->key->values[i],
							  model->keys[i].typbyval, model->keys[i].typlen);
	if (!same)
		version_set_key(model, version, key);
}

/* Is it the present user's object with that key? */
static inline bool
object_has_key(Object *object, IdentityKey *identity, Model *model,
			   const Datum *key, Oid userid)
{
	return object->top->state != OBJECT_GONE && object->userid == userid &&
		object->row_security == row_security &&
		keys_equal(model, identity->values, key);
}

/* The object that was loaded after the one that was found last, or NULL. */
static inline Object *
next_object(ModelObjects *objects)
{
	dlist_node *node;

	if (objects->found == NULL)
		return NULL;
	node = objects->found->model_node.next;
	if (node == &objects->objects.head)
		node = node->next;
	return dlist_container(Object, model_node, node);
}

static Object *
find_by_hash(Session *session, Model *model, ModelObjects *objects,
			 const Datum *key, Oid userid)
{
	IdentityEntry *entry;

	entry = identity_lookup(session->identities,
							scoped_hash(model, key, userid, row_security));
	if (entry == NULL)
		return NULL;
	for (IdentityKey *identity = entry->chain; identity != NULL;
		 identity = identity->next)
	{
		Object	   *object = identity->object;

		if (object->top->key == identity &&
			object->model_objects == objects &&
			object_has_key(object, identity, model, key, userid))
			return object;
	}
	return NULL;
}

/*
 * Objects are mostly asked for in the order in which they were loaded, so the
 * next one is looked at before the hash table is.
 */
Object *
session_find(Session *session, Model *model, const Datum *key)
{
	Oid			userid = GetUserId();
	ModelObjects *objects;
	Object	   *object;

	if (session->nobjects == 0 || session->identities == NULL)
		return NULL;
	objects = model_objects(session, model);
	object = next_object(objects);
	if (object == NULL || object->top->key == NULL ||
		!object_has_key(object, object->top->key, model, key, userid))
		object = find_by_hash(session, model, objects, key, userid);
	if (object != NULL)
		objects->found = object;
	return object;
}

const Datum *
object_key(Object *object)
{
	return object->top->key ? object->top->key->values : NULL;
}

/* ------------------------------------------------------------------------
 * objects
 * ------------------------------------------------------------------------
 */

/* Is the first object of its model of the same user and setting? */
static bool
object_of_same_scope(Object *object)
{
	Object	   *first = dlist_head_element(Object, model_node,
										   &object->model_objects->objects);

	return first->userid == object->userid &&
		first->row_security == object->row_security;
}

Object *
object_create(Session *session, Model *model, const Datum *key,
			  ObjectState state)
{
	ModelObjects *entry = model_objects(session, model);
	Level	   *level = level_current();
	Object	   *object = arena_alloc(session, sizeof(Object));
	ObjectVersion *version = &object->first;

	memset(object, 0, sizeof(Object));
	object->session = session;
	object->model_objects = entry;
	object->userid = GetUserId();
	object->row_security = row_security;
	if (entry->count > 0 && !object_of_same_scope(object))
		entry->several_scopes = true;
	object->top = version;
	version->object = object;
	version->state = state;
	version->number = -1;
	version->level = level;
	dlist_push_tail(&level->versions, &version->level_node);
	dlist_push_tail(&entry->objects, &object->model_node);
	entry->count++;
	session->nobjects++;
	sessions_object_count++;
	session_objects_made++;
	if (key != NULL)
		version_set_key(model, version, key);
	return object;
}

static void
object_unfile(Object *object)
{
	Session    *session = object->session;

	if (object->unflushed)
	{
		dlist_delete(&object->list_node);
		session->nunflushed--;
		sessions_unflushed_count--;
		object->unflushed = false;
	}
	if (object->in_lru)
	{
		dlist_delete(&object->list_node);
		session->nclean--;
		session->clean_bytes -= object->clean_bytes;
		object->clean_bytes = 0;
		object->model_objects->nclean--;
		object->in_lru = false;
	}
}

static void
object_free(Object *object)
{
	object_unfile(object);
	references_forget(object);
	while (object->top != NULL)
	{
		ObjectVersion *version = object->top;

		object->top = version->below;
		version_free(version, NULL);
	}
	if (object->model_objects->found == object)
		object->model_objects->found = NULL;
	dlist_delete(&object->model_node);
	object->model_objects->count--;
	object->session->nobjects--;
	sessions_object_count--;
	arena_free(object->session, object, sizeof(Object));
}

void
object_refile(Object *object)
{
	Session    *session = object->session;
	ObjectVersion *top = object->top;
	bool		pending = version_is_pending_work(top);
	bool		clean = !pending && top->state == OBJECT_PERSISTENT &&
		top->below == NULL;

	if (object->unflushed != pending || object->in_lru != clean)
		object_unfile(object);
	if (pending && !object->unflushed)
	{
		dlist_push_tail(&session->unflushed, &object->list_node);
		session->nunflushed++;
		sessions_unflushed_count++;
		object->unflushed = true;
	}
	if (clean && !object->in_lru)
	{
		dlist_push_tail(&session->clean, &object->list_node);
		session->nclean++;
		object->model_objects->nclean++;
		object->in_lru = true;
	}
	if (clean)
	{
		session->clean_bytes -= object->clean_bytes;
		object->clean_bytes = top->stored == NULL ? 0 : top->stored->t_len;
		session->clean_bytes += object->clean_bytes;
	}
}

/*
 * Keeps clean objects within orm.identity_map_limit and their rows within
 * orm.identity_map_memory; the one just loaded stays, since its caller is
 * about to use it.
 */
void
session_evict(Session *session)
{
	if (session->hold_nest_level > 0)
		return;
	while (session->nclean > (uint64) Max(orm_identity_map_limit, 1) ||
		   (session->nclean > 1 &&
			session->clean_bytes > (uint64) orm_identity_map_memory * 1024))
		object_free(dlist_container(Object, list_node,
									dlist_head_node(&session->clean)));
}

void
session_hold(Session *session)
{
	if (session->hold_nest_level == 0)
		session->hold_nest_level = GetCurrentTransactionNestLevel();
}

void
session_release(Session *session)
{
	session->hold_nest_level = 0;
	session_evict(session);
}

void
object_leave(Object *object)
{
	ObjectVersion *version = object_touch(object);

	if (version->below == NULL)
	{
		object_free(object);
		return;
	}
	version->state = OBJECT_GONE;
	version->marked_deleted = false;
	version_set_changed(version, NULL, NULL);
	version_set_stored(version, NULL);
	object_refile(object);
}

HeapTuple
session_copy_row(Session *session, HeapTuple row)
{
	HeapTuple	copy = arena_alloc(session, HEAPTUPLESIZE + row->t_len);

	*copy = *row;
	copy->t_data = (HeapTupleHeader) ((char *) copy + HEAPTUPLESIZE);
	memcpy(copy->t_data, row->t_data, row->t_len);
	return copy;
}

void
session_free_row(Session *session, HeapTuple row)
{
	arena_free(session, row, HEAPTUPLESIZE + row->t_len);
}

/* ------------------------------------------------------------------------
 * the end of a subtransaction: no look-ups, no allocation, no errors
 * ------------------------------------------------------------------------
 */
static void
level_abort(Level *level)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &level->versions)
	{
		ObjectVersion *version = dlist_container(ObjectVersion, level_node,
												 iter.cur);
		Object	   *object = version->object;

		if (version->below == NULL)
			object_free(object);
		else
		{
			object->top = version->below;
			version_free(version, NULL);
			if (object->top->stored != NULL)
				object->model_objects->loaded = true;
			object_refile(object);
		}
	}
}

/* The version of a released level takes the place of the parent's. */
static void
version_release(ObjectVersion *version, Level *parent)
{
	Object	   *object = version->object;
	ObjectVersion *below = version->below;

	if (version->level != parent)
	{
		dlist_delete(&version->level_node);
		version->level = parent;
		dlist_push_tail(&parent->versions, &version->level_node);
	}
	if (below != NULL && below->level == parent)
	{
		version->below = below->below;
		version_free(below, version);
	}
	if (version->state == OBJECT_GONE && version->below == NULL)
		object_free(object);
	else
		object_refile(object);
}

static void
level_release(Level *level, SubTransactionId parent_subid)
{
	bool		merge = level->below != NULL &&
		level->below->subid == parent_subid;
	Level	   *parent = merge ? level->below : level;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &level->versions)
		version_release(dlist_container(ObjectVersion, level_node, iter.cur),
						parent);
	level->subid = parent_subid;
	if (merge)
	{
		levels = parent;
		pfree(level);
	}
}

void
identity_map_subxact(SubXactEvent event, SubTransactionId my_subid,
					 SubTransactionId parent_subid)
{
	Level	   *level = levels;

	if (level == NULL || level->subid != my_subid)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		level_release(level, parent_subid);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		level_abort(level);
		levels = level->below;
		pfree(level);
	}
}

/* ------------------------------------------------------------------------
 * the commit of a transaction with orm.expire_on_commit off
 * ------------------------------------------------------------------------
 */
static void
object_keep(Object *object)
{
	ObjectVersion *top = object->top;

	if (top->state != OBJECT_PERSISTENT)
	{
		object_free(object);
		return;
	}
	while (top->below != NULL)
	{
		ObjectVersion *below = top->below;

		top->below = below->below;
		version_free(below, top);
	}
	if (top->level != NULL)
		dlist_delete(&top->level_node);
	top->level = NULL;
	if (top->rewritten)
	{
		version_set_stored(top, NULL);	/* its xmin is not known */
		version_forget(top);
	}
	object_refile(object);
}

void
identity_map_keep(Session *session)
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
			object_keep(dlist_container(Object, model_node, iter.cur));
	}
}
