/*-------------------------------------------------------------------------
 *
 * key_table.h
 *	  Distinct key values, numbered from 0 in the order of their coming.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_KEY_TABLE_H
#define PG_ORM_DOCUMENT_KEY_TABLE_H

#include "postgres.h"

#include "fmgr.h"

/* One column of a key. */
typedef struct KeyTableColumn
{
	Oid			typid;
	Oid			collation;
} KeyTableColumn;

typedef struct KeyTable KeyTable;

/* All of it is below context. */
extern KeyTable *key_table_create(int ncolumns, const KeyTableColumn *columns,
								  MemoryContext context);

/* Forgets the keys. */
extern void key_table_reset(KeyTable *table);

/* The number of a key, which is added if it is new. */
extern int	key_table_add(KeyTable *table, const Datum *values);

/* The number of a key, or -1. */
extern int	key_table_find(KeyTable *table, const Datum *values);

extern int	key_table_count(KeyTable *table);

extern Datum key_table_value(KeyTable *table, int number, int column);

/* The values of one column, as an array of the column's type. */
extern Datum key_table_array(KeyTable *table, int column);

#endif							/* PG_ORM_DOCUMENT_KEY_TABLE_H */
