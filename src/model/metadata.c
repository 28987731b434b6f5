/*-------------------------------------------------------------------------
 *
 * metadata.c
 *	  The cache of models: the newest of a relation, and forgetting it.
 *
 * Memory: one hash table by relation, in a child of CacheMemoryContext that
 * lives as long as the backend.  Each Model has a context of its own: built
 * below the caller's context, so that an error leaves nothing behind, and
 * moved into the cache when it is complete.  When a newer Model takes its
 * place it goes to the graveyard, which is emptied at the end of the
 * transaction, so that pointers which callers hold stay readable until then.
 *
 * Invalidation: one relcache callback and one syscache callback (for schema
 * names) set flags, move the generation, and tell the modules that asked for
 * it; they look nothing up.  The hash table also has entries for relations
 * that a model or the directory merely depends on, so that the callback can
 * tell what matters from the noise of temporary tables.  A change of a config
 * table invalidates everything.  A (sub)transaction that aborts replays its
 * invalidations, which is what drops entries built from uncommitted rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/catcache.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#include "model/internal.h"

/* What is known of a relation. */
typedef struct CacheEntry
{
	Oid			relid;			/* hash key, must be first */
	Model	   *model;			/* the newest; its valid flag counts */
	bool		unmapped;		/* known to have no model */
	bool		watched;		/* something depends on the relation */
} CacheEntry;

/* How often a model is built anew when something changes meanwhile. */
#define MAX_BUILD_ATTEMPTS 3

#define MAX_INVALIDATION_CALLBACKS 8

static MemoryContext cache_context = NULL;
static MemoryContext graveyard = NULL;
static HTAB *cache = NULL;

uint64		model_generation_counter = 1;
static ModelInvalidationCallback callbacks[MAX_INVALIDATION_CALLBACKS];
static int	ncallbacks = 0;
static ModelForgetCallback forget_callback = NULL;

/* ------------------------------------------------------------------------
 * invalidation
 * ------------------------------------------------------------------------
 */

/* The links of its relationships go with it. */
static void
invalidate_model(Model *model)
{
	model->valid = false;
	for (int i = 0; i < model->nrelationships; i++)
		if (model->relationships[i]->association)
			model->relationships[i]->association->valid = false;
}

static void
invalidate_all(void)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	directory_reset();
	catalog_reset();
	model_generation_counter++;
	if (cache == NULL)
		return;
	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		entry->unmapped = false;
		if (entry->model)
			invalidate_model(entry->model);
	}
}

static void
dispatch(Oid relid)
{
	for (int i = 0; i < ncallbacks; i++)
		callbacks[i] (relid);
}

/*
 * Models that depend on a changed relation otherwise than by being mapped to
 * it (targets and secondary tables) are found by looking at all of them.
 */
static void
invalidate_dependents(Oid relid)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		Model	   *model = entry->model;

		if (model == NULL || !model->valid)
			continue;
		for (int i = 0; i < model->nrelationships; i++)
			if (model->relationships[i]->target == relid ||
				model->relationships[i]->secondary == relid)
				invalidate_model(model);
	}
}

static void
relcache_callback(Datum arg, Oid relid)
{
	CacheEntry *entry;

	if (!OidIsValid(relid) || catalog_is_config(relid))
	{
		invalidate_all();
		dispatch(InvalidOid);
		return;
	}
	if (cache == NULL)
		return;
	entry = hash_search(cache, &relid, HASH_FIND, NULL);
	if (entry == NULL)
		return;
	entry->unmapped = false;
	if (entry->model == NULL && !entry->watched)
		return;
	if (entry->model)
	{
		invalidate_model(entry->model);
		/* plans with calls that return its rows do not depend on the table */
		ResetPlanCache();
	}
	if (entry->watched)
		invalidate_dependents(relid);
	directory_reset();
	model_generation_counter++;
	dispatch(relid);
}

static void
namespace_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate_all();
	dispatch(InvalidOid);
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			if (graveyard)
				MemoryContextDeleteChildren(graveyard);
			break;
		default:
			break;
	}
}

void
metadata_init(void)
{
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_callback,
								  (Datum) 0);
	RegisterXactCallback(xact_callback, NULL);
}

void
model_on_invalidation(ModelInvalidationCallback callback)
{
	if (ncallbacks >= MAX_INVALIDATION_CALLBACKS)
		elog(ERROR, "too many model invalidation callbacks");
	callbacks[ncallbacks++] = callback;
}

void
model_on_forget(ModelForgetCallback callback)
{
	forget_callback = callback;
}

void
model_require_not_pending(const char *class_name, Oid relid, bool may_flush)
{
	const char *session = NULL;

	if (OidIsValid(relid) && forget_callback != NULL)
		session = forget_callback(relid, may_flush);
	if (session != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("class \"%s\" has pending changes in session \"%s\"",
						class_name, session),
				 errhint("Call orm.flush() in that session before, or ROLLBACK.")));
}

/* ------------------------------------------------------------------------
 * cache entries
 * ------------------------------------------------------------------------
 */

static void
create_cache(void)
{
	HASHCTL		ctl = {0};

	if (CacheMemoryContext == NULL)
		CreateCacheMemoryContext();
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(CacheMemoryContext,
											  "pg_orm models",
											  ALLOCSET_DEFAULT_SIZES);
	if (graveyard == NULL)
		graveyard = AllocSetContextCreate(cache_context,
										  "pg_orm replaced models",
										  ALLOCSET_SMALL_SIZES);
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CacheEntry);
	ctl.hcxt = cache_context;
	cache = hash_create("pg_orm models by relation", 64, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static CacheEntry *
cache_entry(Oid relid)
{
	CacheEntry *entry;
	bool		found;

	if (cache == NULL)
		create_cache();
	entry = hash_search(cache, &relid, HASH_ENTER, &found);
	if (!found)
	{
		entry->model = NULL;
		entry->unmapped = false;
		entry->watched = false;
	}
	return entry;
}

/* From now on changes of the relation are noticed. */
void
metadata_watch(Oid relid)
{
	if (OidIsValid(relid))
		cache_entry(relid)->watched = true;
}

/* ------------------------------------------------------------------------
 * the newest model of a relation
 * ------------------------------------------------------------------------
 */

/*
 * Builds until nothing changed meanwhile.  After some attempts the result is
 * taken as it is, marked invalid, so that the next look-up builds it anew:
 * that is what happens all the time under debug_discard_caches.
 */
static void
rebuild(CacheEntry *entry)
{
	MemoryContext temporary = AllocSetContextCreate(CurrentMemoryContext,
													"pg_orm model build",
													ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(temporary);
	Model	   *model;
	bool		was_watched = entry->watched;
	uint64		before;

	/* once is enough where each look is news */
	int			attempts = debug_discard_caches > 0 ? MAX_BUILD_ATTEMPTS : 0;

	/* makes the callback heed this relation from before the first look */
	entry->watched = true;
	do
	{
		before = model_generation();
		model = model_build(entry->relid);
	} while (before != model_generation() && ++attempts < MAX_BUILD_ATTEMPTS);

	if (entry->model)
		MemoryContextSetParent(entry->model->context, graveyard);
	if (model)
	{
		model->valid = before == model_generation();
		MemoryContextSetParent(model->context, cache_context);
	}
	entry->model = model;
	entry->watched = was_watched;
	entry->unmapped = model == NULL && before == model_generation();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(temporary);
}

Model *
metadata_model(Oid relid)
{
	CacheEntry *entry = cache_entry(relid);

	if (entry->model != NULL && entry->model->valid)
		return entry->model;
	if (entry->unmapped)
		return NULL;
	/* whatever was made from the old one since it became invalid is stale */
	if (entry->model != NULL)
		model_generation_counter++;
	rebuild(entry);
	return entry->model;
}
