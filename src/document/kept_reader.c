/*-------------------------------------------------------------------------
 *
 * kept_reader.c
 *	  Readers that are kept from call to call.
 *
 * To parse and resolve a selection, to look up how its values are rendered,
 * and to put its statements together costs more than to read a document.  So
 * readers are kept by what is read, the least recently used going first.  One
 * is made anew when metadata, functions, types or casts have changed, and under
 * another search_path, in which the user's SQL within the selection would mean
 * something else.
 *
 * A reader serves one call at a time: a function that it runs may want the
 * same, and is given one of its own.
 *
 * Memory: each reader in a child of CacheMemoryContext; what a call has read
 * goes at its end.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "lib/ilist.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "document/kept_reader.h"

#define KEPT_READERS_MAX 64

typedef struct KeptReader
{
	dlist_node	node;
	MemoryContext context;		/* of all of it */
	Reader	   *reader;
	Oid			relid;
	const char *call;
	bool		etag;
	bool		by_keys;
	char	   *selection;
	int			length;
	List	   *search_path;
	uint64		changes;		/* catalog_changes, when it was made */
	uint64		generation;		/* of the metadata, before it was made */
	bool		in_use;
	bool		dropped;		/* not in the list, freed by who uses it */
} KeptReader;

/* Gives a reader back when the memory context of its user goes. */
typedef struct KeptReaderUse
{
	MemoryContextCallback callback;
	KeptReader *kept;
} KeptReaderUse;

static dlist_head kept_readers = DLIST_STATIC_INIT(kept_readers);	/* newest first */
static int	nkept_readers = 0;
static uint64 catalog_changes = 0;

static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	catalog_changes++;
}

/* What statements name, and how values are rendered. */
static void
watch_catalog(void)
{
	static const int caches[] = {PROCOID, CASTSOURCETARGET, TYPEOID, COLLOID};
	static bool watched = false;

	if (watched)
		return;
	for (int i = 0; i < lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], catalog_changed, (Datum) 0);
	watched = true;
}

/* ------------------------------------------------------------------------
 * the list
 * ------------------------------------------------------------------------
 */
static void
kept_reader_drop(KeptReader *kept)
{
	dlist_delete(&kept->node);
	nkept_readers--;
	kept->dropped = true;
	if (!kept->in_use)
		MemoryContextDelete(kept->context);
}

static void
kept_reader_release(void *arg)
{
	KeptReader *kept = ((KeptReaderUse *) arg)->kept;

	kept->in_use = false;
	if (kept->dropped)
		MemoryContextDelete(kept->context);
	else
		reader_forget(kept->reader);
}

static Reader *
kept_reader_use(KeptReader *kept)
{
	KeptReaderUse *use = palloc(sizeof(KeptReaderUse));

	use->kept = kept;
	use->callback.func = kept_reader_release;
	use->callback.arg = use;
	kept->in_use = true;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &use->callback);
	return kept->reader;
}

static bool
kept_reader_is_valid(KeptReader *kept, List *search_path)
{
	return kept->changes == catalog_changes &&
		kept->generation == model_generation() &&
		equal(kept->search_path, search_path);
}

/* The reader that was asked for, whether it is still valid or not. */
static KeptReader *
kept_reader_find(const char *call, Model *model, const char *selection,
				 int length, bool etag, bool by_keys)
{
	dlist_iter	iter;

	dlist_foreach(iter, &kept_readers)
	{
		KeptReader *kept = dlist_container(KeptReader, node, iter.cur);

		if (kept->relid == model->relid && kept->length == length &&
			kept->etag == etag && kept->by_keys == by_keys &&
			strcmp(kept->call, call) == 0 &&
			memcmp(kept->selection, selection, length) == 0)
			return kept;
	}
	return NULL;
}

/* ------------------------------------------------------------------------
 * making one
 * ------------------------------------------------------------------------
 */
static KeptReader *
kept_reader_make(const char *call, Model *model, const char *selection,
				 int length, bool etag, bool by_keys)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "pg_orm reader",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	KeptReader *kept = palloc0(sizeof(KeptReader));
	ReaderRequest request = {
		.call = call,
		.etag = etag,
		.by_keys = by_keys
	};

	kept->context = context;
	kept->relid = model->relid;
	kept->call = call;
	kept->etag = etag;
	kept->by_keys = by_keys;
	kept->selection = pnstrdup(selection, length);
	kept->length = length;
	kept->changes = catalog_changes;
	kept->generation = model_generation();
	kept->search_path = fetch_search_path(true);
	request.selection = selection_create(model, kept->selection);
	kept->reader = reader_create(&request);
	MemoryContextSwitchTo(old);
	return kept;
}

static void
kept_reader_insert(KeptReader *kept)
{
	MemoryContextSetParent(kept->context, CacheMemoryContext);
	dlist_push_head(&kept_readers, &kept->node);
	if (++nkept_readers > KEPT_READERS_MAX)
		kept_reader_drop(dlist_container(KeptReader, node,
										 dlist_tail_node(&kept_readers)));
}

Reader *
kept_reader_get(const char *call, Model *model, const char *selection,
				int length, bool etag, bool by_keys)
{
	KeptReader *kept = kept_reader_find(call, model, selection, length, etag,
										by_keys);
	List	   *search_path;

	if (kept != NULL && kept->in_use)
		return kept_reader_make(call, model, selection, length, etag,
								by_keys)->reader;
	search_path = fetch_search_path(true);
	if (kept != NULL && !kept_reader_is_valid(kept, search_path))
	{
		kept_reader_drop(kept);
		kept = NULL;
	}
	list_free(search_path);
	if (kept == NULL)
	{
		watch_catalog();
		kept = kept_reader_make(call, model, selection, length, etag,
								by_keys);
		kept_reader_insert(kept);
	}
	else
		dlist_move_head(&kept_readers, &kept->node);
	return kept_reader_use(kept);
}
