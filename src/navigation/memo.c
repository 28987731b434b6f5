/*-------------------------------------------------------------------------
 *
 * memo.c
 *	  What orm.to_one has found during one query, by key.
 *
 * A memo is good for one snapshot, user and state of the metadata: memo_row
 * compares them on each call, in integers only, and forgets everything when
 * one differs.  Two snapshots of one backend with equal fields see the same
 * rows: with equal xmax the set of running transactions can only shrink, so
 * equal counts mean equal sets.  Own changes move the command id; a rolled
 * back subtransaction does not move it back, hence the counter of those.
 *
 * The first rows are looked up one by one.  When their number says that the
 * query will go on like that, all rows are read at once, if they fit in
 * hash_mem and no harm can come of it; for an integer key without large gaps
 * the rows then go into an array.
 *
 * Memory: a memo lives in a context of its own below that of the query (the
 * fn_mcxt of its calls) and goes with it.  Callers get pointers into the
 * memo, which the values of one result row may still hold when the next is
 * looked up.  So what a forgetful memo has given away stays until the query
 * ends, once; after that it gives copies.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "navigation/lookup.h"
#include "navigation/memo.h"

/*
 * All rows are read when one in FILL_SHARE of them has been looked up by an
 * open scan, but not before FILL_MINIMUM look-ups; or one in FILL_SHARE_SLOW
 * by plans, which cost more.
 */
#define FILL_SHARE 30
#define FILL_SHARE_SLOW 80
#define FILL_MINIMUM 12

/* An array may have this many times more slots than rows. */
#define DENSE_FACTOR 4

/* What a row costs beyond its width: alignment, hash entry. */
#define ROW_OVERHEAD 32

#define SMALL_BLOCK_SIZE 1024
#define BLOCK_SIZE (64 * 1024)

/* The state in which the rows were read. */
typedef struct Validity
{
	LocalTransactionId lxid;
	TransactionId xmin;
	TransactionId xmax;
	uint32		xcnt;
	int32		subxcnt;
	CommandId	curcid;
	Oid			user;
	int			security;
	bool		suboverflowed;
	bool		row_security;
	uint64		generation;
	uint64		rollbacks;
} Validity;

typedef struct IntegerEntry
{
	int64		key;
	HeapTupleHeader row;		/* NULL: there is none */
	char		status;
} IntegerEntry;

/*
 * A key of any type: a row, or (with the lowest bit set) an array of values
 * where there is no row, or not yet.
 */
typedef uintptr_t GenericKey;

typedef struct GenericEntry
{
	GenericKey	key;
	uint32		hash;
	char		status;
} GenericEntry;

/* Rows lie in blocks, one after the other. */
typedef struct Block
{
	struct Block *next;			/* made after this one */
	Size		size;			/* of data */
	Size		used;
	char		data[FLEXIBLE_ARRAY_MEMBER];
} Block;

#define BLOCK_HEADER MAXALIGN(offsetof(Block, data))
#define BLOCK_DATA(block) ((char *) (block) + BLOCK_HEADER)

#define SH_PREFIX integers
#define SH_ELEMENT_TYPE IntegerEntry
#define SH_KEY_TYPE int64
#define SH_KEY key
#define SH_HASH_KEY(tb, key) \
	murmurhash32((uint32) (key) ^ (uint32) ((uint64) (key) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static inline bool generic_equal(Model *model, GenericKey a, GenericKey b);

#define SH_PREFIX generics
#define SH_ELEMENT_TYPE GenericEntry
#define SH_KEY_TYPE GenericKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) ((uint32) (key))	/* never: hashes are given */
#define SH_EQUAL(tb, a, b) generic_equal((Model *) (tb)->private_data, a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) ((a)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct Memo
{
	dlist_node	node;			/* in memos */
	MemoryContext query;		/* whose memo this is */
	MemoryContext context;		/* holds this struct */
	MemoryContextCallback callback;
	Oid			relid;
	int			nkeys;
	AttrNumber	attnums[INDEX_MAX_KEYS];
	bool		valid;			/* anything in it yet? */
	Validity	validity;
	bool		forgot;			/* has happened once: give copies */

	/* all of the following is empty when the memo forgets */
	MemoryContext rows;
	bool		integer_key;
	Oid			key_type;		/* of an integer key */
	integers_hash *integers;
	generics_hash *generics;
	HeapTupleHeader *dense;		/* by key - dense_first */
	int64		dense_first;
	uint64		dense_length;
	bool		complete;		/* what is not here does not exist */
	bool		full;			/* hash_mem is used up */
	Block	   *block;			/* the last one */
	Size		used;			/* bytes */
	Size		limit;

	Lookup	   *lookup;
	KeyScan    *scan;			/* NULL if the plan does not allow it */
	uint64		misses;
	uint64		fill_at;		/* misses at which to decide, then to fill */
	bool		fill_decided;
};

static dlist_head memos = DLIST_STATIC_INIT(memos);

/* Counts rolled back subtransactions. */
static uint64 rollbacks = 0;

static void
subtransaction_event(SubXactEvent event, SubTransactionId mySubid,
					 SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		rollbacks++;
}

void
memo_init(void)
{
	RegisterSubXactCallback(subtransaction_event, NULL);
	key_scan_init();
}

/* ------------------------------------------------------------------------
 * keys
 * ------------------------------------------------------------------------
 */
static inline GenericKey
key_of_row(HeapTupleHeader row)
{
	return (GenericKey) row;
}

static inline GenericKey
key_of_values(const Datum *values)
{
	return (GenericKey) values | 1;
}

static inline HeapTupleHeader
row_of_key(GenericKey key)
{
	return key & 1 ? NULL : (HeapTupleHeader) key;
}

/* The values of the key, which is read into space if it is a row's. */
static inline const Datum *
values_of_key(Model *model, GenericKey key, Datum *space)
{
	if (key & 1)
		return (const Datum *) (key & ~(GenericKey) 1);
	model_key_of_row(model, (HeapTupleHeader) key, space);
	return space;
}

static inline bool
generic_equal(Model *model, GenericKey a, GenericKey b)
{
	Datum		of_a[INDEX_MAX_KEYS];
	Datum		of_b[INDEX_MAX_KEYS];

	return model_key_equal(model, values_of_key(model, a, of_a),
						   values_of_key(model, b, of_b));
}

/* Without a hash function every key would be in one bucket. */
static bool
has_hashable_key(Model *model)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		if (OidIsValid(model->keys[i].hash.fn_oid))
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------------
 * memory
 * ------------------------------------------------------------------------
 */

static void
memo_add_block(Memo *memo, Size size)
{
	Block	   *block = MemoryContextAllocHuge(memo->rows,
											   BLOCK_HEADER + size);

	block->next = NULL;
	block->size = size;
	block->used = 0;
	if (memo->block != NULL)
		memo->block->next = block;
	memo->block = block;
	memo->used += BLOCK_HEADER + size;
}

/* Space that is never freed by itself: no header, rows beside each other. */
static inline void *
memo_alloc(Memo *memo, Size size)
{
	void	   *result;

	size = MAXALIGN(size);
	if (memo->block == NULL || size > memo->block->size - memo->block->used)
		memo_add_block(memo, Max(size, memo->misses < FILL_MINIMUM ?
								 SMALL_BLOCK_SIZE : BLOCK_SIZE));
	result = BLOCK_DATA(memo->block) + memo->block->used;
	memo->block->used += size;
	return result;
}

static HeapTupleHeader
memo_copy(Memo *memo, HeapTupleHeader row)
{
	Size		size = HeapTupleHeaderGetDatumLength(row);

	return memcpy(memo_alloc(memo, size), row, size);
}

/* The key of an entry: what is passed by reference is copied. */
static const Datum *
memo_copy_key(Memo *memo, Model *model, const Datum *values)
{
	Datum	   *copy = memo_alloc(memo, sizeof(Datum) * model->nkeys);

	for (int i = 0; i < model->nkeys; i++)
	{
		ModelKeyColumn *key = &model->keys[i];
		Size		size;

		copy[i] = values[i];
		if (key->typbyval)
			continue;
		size = datumGetSize(values[i], false, key->typlen);
		copy[i] = PointerGetDatum(memcpy(memo_alloc(memo, size),
										 DatumGetPointer(values[i]), size));
	}
	return copy;
}

static void
memo_start(Memo *memo, Model *model)
{
	memo->rows = AllocSetContextCreate(memo->context, "pg_orm to_one rows",
									   ALLOCSET_START_SMALL_SIZES);
	memo->integers = NULL;
	memo->generics = NULL;
	memo->integer_key = model_has_integer_key(model);
	memo->key_type = model->keys[0].typid;
	if (memo->integer_key)
		memo->integers = integers_create(memo->rows, 16, NULL);
	else
		memo->generics = generics_create(memo->rows, 16, model);
	memo->dense = NULL;
	memo->complete = false;
	memo->full = false;
	memo->block = NULL;
	memo->used = 0;
	memo->limit = get_hash_memory_limit();
	memo->lookup = NULL;
	memo->scan = NULL;
	memo->misses = 0;
	memo->fill_at = FILL_MINIMUM;
	memo->fill_decided = false;
}

static void
memo_forget(Memo *memo)
{
	if (memo->scan != NULL)
		key_scan_close(memo->scan);
	if (memo->forgot)
		MemoryContextDelete(memo->rows);
	memo->forgot = true;
	memo->valid = false;
}

static void
memo_gone(void *arg)
{
	Memo	   *memo = arg;

	dlist_delete(&memo->node);
}

static bool
is_for(Memo *memo, MemoryContext query, Model *model)
{
	if (memo->query != query || memo->relid != model->relid ||
		memo->nkeys != model->nkeys)
		return false;
	for (int i = 0; i < memo->nkeys; i++)
	{
		if (memo->attnums[i] != model->keys[i].attnum)
			return false;
	}
	return true;
}

/*
 * Only a query's own memory will do: what is cached for longer must not keep
 * rows.  PL/pgSQL's simple expressions have such memory for as long as the
 * transaction, but the caller keeps them away, since their snapshots are not
 * registered.
 */
Memo *
memo_of_query(MemoryContext query, Model *model)
{
	MemoryContext context;
	dlist_iter	iter;
	Memo	   *memo;

	dlist_foreach(iter, &memos)
	{
		memo = dlist_container(Memo, node, iter.cur);
		if (is_for(memo, query, model))
			return memo;
	}
	if (query->name == NULL || strcmp(query->name, "ExecutorState") != 0 ||
		!has_hashable_key(model))
		return NULL;

	context = AllocSetContextCreate(query, "pg_orm to_one memo",
									ALLOCSET_SMALL_SIZES);
	memo = MemoryContextAllocZero(context, sizeof(Memo));
	memo->context = context;
	memo->query = query;
	memo->relid = model->relid;
	memo->nkeys = model->nkeys;
	for (int i = 0; i < model->nkeys; i++)
		memo->attnums[i] = model->keys[i].attnum;
	dlist_push_head(&memos, &memo->node);
	memo->callback.func = memo_gone;
	memo->callback.arg = memo;
	MemoryContextRegisterResetCallback(context, &memo->callback);
	return memo;
}

/* ------------------------------------------------------------------------
 * validity
 * ------------------------------------------------------------------------
 */
static inline bool
is_valid(Memo *memo, Snapshot snapshot, Oid user, int security)
{
	Validity   *v = &memo->validity;

	return memo->valid && v->curcid == snapshot->curcid &&
		v->xmax == snapshot->xmax && v->xmin == snapshot->xmin &&
		v->xcnt == snapshot->xcnt && v->subxcnt == snapshot->subxcnt &&
		v->suboverflowed == snapshot->suboverflowed &&
		v->user == user && v->security == security &&
		v->row_security == row_security && v->rollbacks == rollbacks &&
		v->lxid == compat_my_lxid() && v->generation == model_generation();
}

/* Makes the memo one of the present state. */
static void
validate(Memo *memo, Model *model, Snapshot snapshot)
{
	Validity   *v = &memo->validity;
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	if (likely(is_valid(memo, snapshot, user, security)))
		return;
	if (memo->valid)
		memo_forget(memo);
	v->lxid = compat_my_lxid();
	v->xmin = snapshot->xmin;
	v->xmax = snapshot->xmax;
	v->xcnt = snapshot->xcnt;
	v->subxcnt = snapshot->subxcnt;
	v->suboverflowed = snapshot->suboverflowed;
	v->curcid = snapshot->curcid;
	v->user = user;
	v->security = security;
	v->row_security = row_security;
	v->rollbacks = rollbacks;
	v->generation = model_generation();
	memo_start(memo, model);
	memo->valid = true;
}

/* ------------------------------------------------------------------------
 * reading all rows
 * ------------------------------------------------------------------------
 */
typedef struct Fill
{
	Memo	   *memo;
	int64		smallest;
	int64		largest;
	uint64		nrows;
} Fill;

static Size
table_size(Memo *memo)
{
	return memo->integer_key ?
		memo->integers->size * sizeof(IntegerEntry) :
		memo->generics->size * sizeof(GenericEntry);
}

/* The rows go into blocks only; what finds them is made at the end. */
static HeapTupleHeader
fill_take(const Datum *values, HeapTupleHeader row, Size length, void *arg)
{
	Fill	   *fill = arg;
	Memo	   *memo = fill->memo;

	if (memo->used + fill->nrows * sizeof(GenericEntry) > memo->limit)
	{
		memo->full = true;
		return NULL;
	}
	if (memo->integer_key)
	{
		int64		key = integer_of_datum(values[0], memo->key_type);

		if (fill->nrows == 0 || key < fill->smallest)
			fill->smallest = key;
		if (fill->nrows == 0 || key > fill->largest)
			fill->largest = key;
	}
	fill->nrows++;
	return memcpy(memo_alloc(memo, length), row, length);
}

static bool
dense_fits(Memo *memo, Fill *fill)
{
	uint64		length = (uint64) fill->largest - (uint64) fill->smallest;

	return fill->nrows > 0 && length < fill->nrows * DENSE_FACTOR &&
		memo->used + length * sizeof(HeapTupleHeader) <= memo->limit;
}

/*
 * Empty tables for all rows: an array by key where the keys lie close
 * together.  What the look-ups before had found is not needed any more.
 */
static void
start_tables(Memo *memo, Model *model, Fill *fill)
{
	uint32		size = (uint32) Min(fill->nrows, PG_UINT32_MAX / 2);

	if (!memo->integer_key)
	{
		generics_destroy(memo->generics);
		memo->generics = generics_create(memo->rows, Max(size, 16), model);
		return;
	}
	integers_destroy(memo->integers);
	memo->integers = NULL;
	if (!dense_fits(memo, fill))
	{
		memo->integers = integers_create(memo->rows, Max(size, 16), NULL);
		return;
	}
	memo->dense_first = fill->smallest;
	memo->dense_length = (uint64) fill->largest - (uint64) fill->smallest + 1;
	memo->dense = MemoryContextAllocExtended(memo->rows, memo->dense_length *
											 sizeof(HeapTupleHeader),
											 MCXT_ALLOC_HUGE |
											 MCXT_ALLOC_ZERO);
}

/* The first row with a key is the one, as for single look-ups. */
static void
add_row(Memo *memo, Model *model, HeapTupleHeader row)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		found;

	model_key_of_row(model, row, values);
	if (!memo->integer_key)
	{
		(void) generics_insert_hash(memo->generics, key_of_row(row),
									model_key_hash(model, values), &found);
	}
	else if (memo->dense == NULL)
	{
		IntegerEntry *entry =
		integers_insert(memo->integers,
						integer_of_datum(values[0], memo->key_type), &found);

		if (!found)
			entry->row = row;
	}
	else
	{
		uint64		at = (uint64) integer_of_datum(values[0],
												   memo->key_type) -
		(uint64) memo->dense_first;

		if (memo->dense[at] == NULL)
			memo->dense[at] = row;
	}
}

/* There are more rows than were estimated. */
static void
give_up_fill(Memo *memo, Block *last, Block *first)
{
	while (first != NULL)
	{
		Block	   *next = first->next;

		memo->used -= BLOCK_HEADER + first->size;
		pfree(first);
		first = next;
	}
	if (last != NULL)
		last->next = NULL;
	memo->block = last;
	memo->full = false;
}

static void
fill_memo(Memo *memo, Model *model, Snapshot snapshot)
{
	Fill		fill = {memo, 0, 0, 0};
	Block	   *last = memo->block;
	Block	   *first;

	memo_add_block(memo, BLOCK_SIZE);
	first = memo->block;
	lookup_all(memo->lookup, model, snapshot, fill_take, &fill);
	if (memo->full)
	{
		give_up_fill(memo, last, first);
		return;
	}

	start_tables(memo, model, &fill);
	for (Block *block = first; block != NULL; block = block->next)
	{
		char	   *at = BLOCK_DATA(block);

		while (at < BLOCK_DATA(block) + block->used)
		{
			HeapTupleHeader row = (HeapTupleHeader) at;

			add_row(memo, model, row);
			at += MAXALIGN(HeapTupleHeaderGetDatumLength(row));
		}
	}
	memo->complete = true;
}

/* Decides at how many misses the memo will be filled, if ever. */
static void
decide_fill(Memo *memo)
{
	double		rows;
	int			width;

	memo->fill_decided = true;
	if (!lookup_all_estimate(memo->lookup, &rows, &width) ||
		rows * (width + ROW_OVERHEAD) > memo->limit)
		memo->fill_at = PG_UINT64_MAX;
	else if (memo->scan != NULL)
		memo->fill_at = Max(FILL_MINIMUM, (uint64) (rows / FILL_SHARE));
	else
		memo->fill_at = (uint64) (rows / FILL_SHARE_SLOW);
}

/*
 * Gets ready for look-ups.  Where a scan can be kept open they cost little,
 * and it is early to think of more; a table so small that its plan does
 * without the index is best read whole at once.
 */
static void
first_miss(Memo *memo, Model *model)
{
	MemoryContext old = MemoryContextSwitchTo(memo->rows);

	memo->lookup = lookup_prepare(model);
	memo->scan = key_scan_open(memo->lookup, model);
	MemoryContextSwitchTo(old);
	if (memo->scan == NULL)
		decide_fill(memo);
}

/* Counts a miss; returns whether the memo has all rows now. */
static bool
maybe_fill(Memo *memo, Model *model, Snapshot snapshot)
{
	if (memo->misses++ == 0)
		first_miss(memo, model);
	if (memo->misses < memo->fill_at || memo->full)
		return false;
	if (!memo->fill_decided)
		decide_fill(memo);
	if (memo->misses < memo->fill_at)
		return false;
	memo->fill_at = PG_UINT64_MAX;
	fill_memo(memo, model, snapshot);
	return memo->complete;
}

/* ------------------------------------------------------------------------
 * reading one row
 * ------------------------------------------------------------------------
 */
static HeapTupleHeader
read_row(Memo *memo, Snapshot snapshot, const Datum *values)
{
	if (memo->scan != NULL)
		return key_scan_row(memo->scan, snapshot, values);
	return lookup_row(memo->lookup, values);
}

/* A row that is in the memo, for the caller. */
static inline HeapTupleHeader
give(Memo *memo, HeapTupleHeader row)
{
	Size		size;

	if (row == NULL || !memo->forgot)
		return row;
	size = HeapTupleHeaderGetDatumLength(row);
	return memcpy(palloc(size), row, size);
}

static bool
has_room(Memo *memo)
{
	if (!memo->full && memo->used + table_size(memo) > memo->limit)
		memo->full = true;
	return !memo->full;
}

/*
 * Looks in the memo; false if it does not know.  What was filled just now is
 * looked at without validate(): an invalidation that came meanwhile counts
 * from the next call on, or there might be no end to filling.
 */
static inline bool
find_integer(Memo *memo, int64 key, HeapTupleHeader *row)
{
	IntegerEntry *entry;

	*row = NULL;
	if (memo->dense != NULL)
	{
		uint64		at = (uint64) key - (uint64) memo->dense_first;

		if (at < memo->dense_length)
			*row = give(memo, memo->dense[at]);
		return true;
	}
	entry = integers_lookup(memo->integers, key);
	if (entry != NULL)
		*row = give(memo, entry->row);
	return entry != NULL || memo->complete;
}

static HeapTupleHeader
integer_miss(Memo *memo, Model *model, Snapshot snapshot, int64 key)
{
	Datum		value = datum_of_integer(key, memo->key_type);
	HeapTupleHeader row;
	IntegerEntry *entry;
	bool		found;

	if (maybe_fill(memo, model, snapshot) && find_integer(memo, key, &row))
		return row;
	row = read_row(memo, snapshot, &value);
	if (!has_room(memo))
		return row;
	entry = integers_insert(memo->integers, key, &found);
	entry->row = row != NULL ? memo_copy(memo, row) : NULL;
	return memo->forgot ? row : entry->row;
}

HeapTupleHeader
memo_row_by_integer(Memo *memo, Model *model, Snapshot snapshot, int64 key)
{
	HeapTupleHeader row;

	validate(memo, model, snapshot);
	if (find_integer(memo, key, &row))
		return row;
	return integer_miss(memo, model, snapshot, key);
}

/* As find_integer(). */
static inline bool
find_generic(Memo *memo, const Datum *values, uint32 hash,
			 HeapTupleHeader *row)
{
	GenericEntry *entry = generics_lookup_hash(memo->generics,
											   key_of_values(values), hash);

	*row = entry != NULL ? give(memo, row_of_key(entry->key)) : NULL;
	return entry != NULL || memo->complete;
}

/* The key of a row is read from the row; another one is copied. */
static HeapTupleHeader
generic_miss(Memo *memo, Model *model, Snapshot snapshot,
			 const Datum *values, uint32 hash)
{
	HeapTupleHeader row;
	GenericKey	key;
	bool		found;

	if (maybe_fill(memo, model, snapshot) &&
		find_generic(memo, values, hash, &row))
		return row;
	row = read_row(memo, snapshot, values);
	if (!has_room(memo))
		return row;
	if (row != NULL)
		key = key_of_row(memo_copy(memo, row));
	else
		key = key_of_values(memo_copy_key(memo, model, values));
	(void) generics_insert_hash(memo->generics, key, hash, &found);
	return memo->forgot ? row : row_of_key(key);
}

HeapTupleHeader
memo_row(Memo *memo, Model *model, Snapshot snapshot, const Datum *values)
{
	HeapTupleHeader row;
	uint32		hash;

	if (model_has_integer_key(model))
		return memo_row_by_integer(memo, model, snapshot,
								   integer_of_datum(values[0],
													model->keys[0].typid));
	validate(memo, model, snapshot);
	hash = model_key_hash(model, values);
	if (find_generic(memo, values, hash, &row))
		return row;
	return generic_miss(memo, model, snapshot, values, hash);
}
