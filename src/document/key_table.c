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

/* An array of numbers is made for as many keys, with as many gaps. */
#define DENSE_MIN_KEYS 64
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
	int		   *dense;			/* numbers by integer - min, or NULL */
	bool		is_looked_up;	/* no key has come since dense was made, or not */
	int64		min;
	int64		max;
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
		(columns[0].typid == INT4OID || columns[0].typid == INT2OID ||
		 (columns[0].typid == INT8OID && FLOAT8PASSBYVAL));
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
	table->dense = NULL;
	table->is_looked_up = false;
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

int
key_table_add(KeyTable *table, const Datum *values)
{
	KeySlot    *slot;
	bool		found;

	if (table->hash == NULL)
		table->hash = keys_create(table->keys_context, 16, table);
	table->is_looked_up = false;
	table->probe = values;
	slot = keys_insert_hash(table->hash, PROBE, key_hash(table, values),
							&found);
	if (!found)
		slot->number = key_append(table, values);
	return slot->number;
}

static int64
integer_key(KeyTable *table, Datum value)
{
	switch (table->columns[0].typid)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

/* Makes the array of numbers, if it would not be large for what is in it. */
static void
make_dense(KeyTable *table)
{
	uint64		range;

	table->is_looked_up = true;
	if (table->dense != NULL)
		pfree(table->dense);
	table->dense = NULL;
	if (!table->is_integer || table->nkeys < DENSE_MIN_KEYS)
		return;
	table->min = PG_INT64_MAX;
	table->max = PG_INT64_MIN;
	for (int i = 0; i < table->nkeys; i++)
	{
		int64		key = integer_key(table, table->values[i]);

		table->min = Min(table->min, key);
		table->max = Max(table->max, key);
	}
	range = (uint64) table->max - (uint64) table->min;
	if (range >= (uint64) table->nkeys * DENSE_MAX_RATIO)
		return;
	table->dense = MemoryContextAllocHuge(table->keys_context,
										  (range + 1) * sizeof(int));
	memset(table->dense, -1, (range + 1) * sizeof(int));
	for (int i = 0; i < table->nkeys; i++)
		table->dense[integer_key(table, table->values[i]) - table->min] = i;
}

int
key_table_find(KeyTable *table, const Datum *values)
{
	KeySlot    *slot;

	if (table->hash == NULL)
		return -1;
	if (unlikely(!table->is_looked_up))
		make_dense(table);
	if (table->dense != NULL)
	{
		int64		key = integer_key(table, values[0]);

		return key < table->min || key > table->max ? -1 :
			table->dense[key - table->min];
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
