/*-------------------------------------------------------------------------
 *
 * key_table.c
 *	  Distinct key values, numbered from 0 in the order of their coming.
 *
 * A hash table with the types' own hash and equality functions; a key of one
 * integer, which most are, is hashed and compared without a call, and looked
 * up in an array where the keys are close to each other.
 *
 * Memory: the table and its functions live as long as the context given at
 * its creation; the keys until the next reset.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "document/key_table.h"
#include "model/model.h"

typedef struct KeyColumn
{
	Oid			typid;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	FmgrInfo	equal;
	FmgrInfo	hash;			/* fn_oid is invalid if the type has none */
} KeyColumn;

/*
 * An array of numbers is made for so many keys at least (first, while keys
 * come), if it has not more than so many places for each of them.
 */
#define DENSE_MIN_KEYS 64
#define DENSE_FIRST_KEYS 1024
#define DENSE_MAX_RATIO 4

struct KeyTable
{
	int			ncolumns;
	KeyColumn  *columns;
	bool		is_integer;
	MemoryContext context;
	MemoryContext keys_context;
	struct keys_hash *hash;
	Datum	   *values;			/* ncolumns for each key */
	int			nkeys;
	int			allocated;
	const Datum *probe;			/* what is looked for */
	int			nhashed;		/* of the keys, those in the hash */
	int		   *dense;			/* numbers by integer - min, or NULL: and then
								 * the hash has all keys */
	int64		dense_min;
	uint64		dense_size;
	int			dense_tried;	/* number of keys when it was thought of */
};

/* The number stands for the key; PROBE for the one looked for. */
#define PROBE (-1)

typedef struct KeySlot
{
	int			number;
	uint32		hash;
	char		status;
} KeySlot;

static bool key_equal(KeyTable *table, int number);

#define SH_PREFIX keys
#define SH_ELEMENT_TYPE KeySlot
#define SH_KEY_TYPE int
#define SH_KEY number
#define SH_HASH_KEY(tb, key) 0
#define SH_EQUAL(tb, a, b) key_equal((KeyTable *) (tb)->private_data, (a))
#define SH_STORE_HASH
#define SH_GET_HASH(tb, slot) ((slot)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static bool
key_equal(KeyTable *table, int number)
{
	const Datum *values = table->values + (Size) number * table->ncolumns;

	if (table->is_integer)
		return values[0] == table->probe[0];
	for (int i = 0; i < table->ncolumns; i++)
	{
		KeyColumn  *column = &table->columns[i];

		if (!DatumGetBool(FunctionCall2Coll(&column->equal, column->collation,
											values[i], table->probe[i])))
			return false;
	}
	return true;
}

static uint32
key_hash(KeyTable *table, const Datum *values)
{
	uint32		hash = 0;

	if (table->is_integer)
		return murmurhash32((uint32) values[0] ^
							(uint32) ((uint64) values[0] >> 32));
	for (int i = 0; i < table->ncolumns; i++)
	{
		KeyColumn  *column = &table->columns[i];

		if (OidIsValid(column->hash.fn_oid))
			hash = hash_combine(hash,
								DatumGetUInt32(FunctionCall1Coll(&column->hash,
																 column->collation,
																 values[i])));
	}
	return murmurhash32(hash);
}

static void
column_init(KeyColumn *column, const KeyTableColumn *definition,
			MemoryContext context)
{
	TypeCacheEntry *type = lookup_type_cache(definition->typid,
											 TYPECACHE_EQ_OPR_FINFO |
											 TYPECACHE_HASH_PROC_FINFO);

	column->typid = definition->typid;
	column->collation = definition->collation;
	get_typlenbyvalalign(definition->typid, &column->typlen,
						 &column->typbyval, &column->typalign);
	if (!OidIsValid(type->eq_opr_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s has no equality operator",
						format_type_be(definition->typid))));
	fmgr_info_copy(&column->equal, &type->eq_opr_finfo, context);
	if (OidIsValid(type->hash_proc_finfo.fn_oid))
		fmgr_info_copy(&column->hash, &type->hash_proc_finfo, context);
}

KeyTable *
key_table_create(int ncolumns, const KeyTableColumn *columns,
				 MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	KeyTable   *table = palloc0(sizeof(KeyTable));

	table->ncolumns = ncolumns;
	table->context = context;
	table->keys_context = AllocSetContextCreate(context, "pg_orm keys",
												ALLOCSET_SMALL_SIZES);
	table->columns = palloc0(ncolumns * sizeof(KeyColumn));
	for (int i = 0; i < ncolumns; i++)
		column_init(&table->columns[i], &columns[i], context);
	table->is_integer = ncolumns == 1 &&
		is_integer_type(columns[0].typid) &&
		(columns[0].typid != INT8OID || FLOAT8PASSBYVAL);
	MemoryContextSwitchTo(old);
	key_table_reset(table);
	return table;
}

void
key_table_reset(KeyTable *table)
{
	MemoryContextReset(table->keys_context);
	table->nkeys = 0;
	table->allocated = 0;
	table->values = NULL;
	table->hash = NULL;
	table->nhashed = 0;
	table->dense = NULL;
	table->dense_tried = 0;
}

static int
key_append(KeyTable *table, const Datum *values)
{
	MemoryContext old = MemoryContextSwitchTo(table->keys_context);
	Datum	   *key;

	if (table->nkeys == table->allocated)
	{
		Size		size;

		table->allocated = Max(16, table->allocated * 2);
		size = (Size) table->allocated * table->ncolumns * sizeof(Datum);
		table->values = table->values == NULL ? palloc(size) :
			repalloc_huge(table->values, size);
	}
	key = table->values + (Size) table->nkeys * table->ncolumns;
	for (int i = 0; i < table->ncolumns; i++)
		key[i] = datumCopy(values[i], table->columns[i].typbyval,
						   table->columns[i].typlen);
	MemoryContextSwitchTo(old);
	return table->nkeys++;
}

/* ------------------------------------------------------------------------
 * integers that are close to each other: an array of their numbers
 * ------------------------------------------------------------------------
 */
static inline int64
integer_key(KeyTable *table, Datum value)
{
	return integer_of_datum(value, table->columns[0].typid);
}

/*
 * Makes an array for integers from min to max, with some room behind, of
 * numbers for all keys; false if it would be large for what is in it.
 */
static bool
make_dense(KeyTable *table, int64 min, int64 max)
{
	uint64		range = (uint64) max - (uint64) min;

	if (range >= (uint64) table->nkeys * DENSE_MAX_RATIO)
		return false;
	if (table->dense != NULL)
		pfree(table->dense);
	table->dense_min = min;
	table->dense_size = range + range / 4 + 1;
	table->dense = MemoryContextAllocHuge(table->keys_context,
										  table->dense_size * sizeof(int));
	memset(table->dense, -1, table->dense_size * sizeof(int));
	for (int i = 0; i < table->nkeys; i++)
		table->dense[(uint64) integer_key(table, table->values[i]) -
					 (uint64) min] = i;
	return true;
}

/* The same for the keys that there are. */
static void
try_dense(KeyTable *table)
{
	int64		min = PG_INT64_MAX;
	int64		max = PG_INT64_MIN;

	table->dense_tried = table->nkeys;
	if (!table->is_integer || table->nkeys < DENSE_MIN_KEYS)
		return;
	for (int i = 0; i < table->nkeys; i++)
	{
		int64		key = integer_key(table, table->values[i]);

		min = Min(min, key);
		max = Max(max, key);
	}
	(void) make_dense(table, min, max);
}

/* The place of a key in the array, or NULL if it is outside. */
static inline int *
dense_place(KeyTable *table, Datum value)
{
	uint64		place = (uint64) integer_key(table, value) -
	(uint64) table->dense_min;

	return place < table->dense_size ? &table->dense[place] : NULL;
}

/* A key outside of the array: a larger one, or none from now on. */
static void
dense_leave_or_grow(KeyTable *table, Datum value)
{
	int64		key = integer_key(table, value);
	int64		min = table->dense_min;
	int64		max = min + (int64) (table->dense_size - 1);

	if (make_dense(table, Min(min, key), Max(max, key)))
		return;
	pfree(table->dense);
	table->dense = NULL;
	table->dense_tried = table->nkeys;
}

/* ------------------------------------------------------------------------
 * adding and finding
 * ------------------------------------------------------------------------
 */
static int
hash_add(KeyTable *table, const Datum *values)
{
	KeySlot    *slot;
	bool		found;

	table->probe = values;
	slot = keys_insert_hash(table->hash, PROBE, key_hash(table, values),
							&found);
	if (!found)
		slot->number = key_append(table, values);
	return slot->number;
}

/* Files in the hash what came while there was an array. */
static void
hash_complete(KeyTable *table)
{
	if (table->hash == NULL)
		table->hash = keys_create(table->keys_context, 16, table);
	while (table->nhashed < table->nkeys)
	{
		const Datum *values = &table->values[(Size) table->nhashed *
											 table->ncolumns];
		bool		found;

		table->probe = values;
		keys_insert_hash(table->hash, PROBE, key_hash(table, values),
						 &found)->number = table->nhashed++;
	}
}

int
key_table_add(KeyTable *table, const Datum *values)
{
	int			number;

	if (table->dense != NULL)
	{
		int		   *place = dense_place(table, values[0]);

		if (place == NULL)
		{
			dense_leave_or_grow(table, values[0]);
			return key_table_add(table, values);
		}
		if (*place < 0)
			*place = key_append(table, values);
		return *place;
	}
	if (unlikely(table->hash == NULL || table->nhashed < table->nkeys))
		hash_complete(table);
	number = hash_add(table, values);
	table->nhashed = table->nkeys;
	if (unlikely(table->nkeys >= DENSE_FIRST_KEYS &&
				 table->nkeys >= 2 * table->dense_tried))
		try_dense(table);
	return number;
}

int
key_table_find(KeyTable *table, const Datum *values)
{
	KeySlot    *slot;

	if (table->nkeys == 0)
		return -1;
	if (unlikely(table->dense == NULL && table->dense_tried < table->nkeys))
		try_dense(table);
	if (table->dense != NULL)
	{
		int		   *place = dense_place(table, values[0]);

		return place == NULL ? -1 : *place;
	}
	table->probe = values;
	slot = keys_lookup_hash(table->hash, PROBE, key_hash(table, values));
	return slot == NULL ? -1 : slot->number;
}

int
key_table_count(KeyTable *table)
{
	return table->nkeys;
}

Datum
key_table_value(KeyTable *table, int number, int column)
{
	return table->values[(Size) number * table->ncolumns + column];
}

Datum
key_table_array(KeyTable *table, int column)
{
	KeyColumn  *definition = &table->columns[column];
	Datum	   *values = MemoryContextAllocHuge(CurrentMemoryContext,
											   Max(table->nkeys, 1) *
											   sizeof(Datum));

	for (int i = 0; i < table->nkeys; i++)
		values[i] = table->values[(Size) i * table->ncolumns + column];
	return PointerGetDatum(construct_array(values, table->nkeys,
										   definition->typid,
										   definition->typlen,
										   definition->typbyval,
										   definition->typalign));
}
