/*-------------------------------------------------------------------------
 *
 * memo.h
 *	  What orm.to_one has found during one query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_NAVIGATION_MEMO_H
#define PG_ORM_NAVIGATION_MEMO_H

#include "catalog/pg_type.h"
#include "model/model.h"
#include "utils/snapshot.h"

/*
 * The memo of one model in one query.  All expressions of the query share
 * it, so that two columns of one object cost one look-up.
 */
typedef struct Memo Memo;

/*
 * The memo for the model among those of the query whose memory is context,
 * which is where the memo lives, too; NULL if rows of the model cannot be
 * kept by key, or if context is not that of a query.
 */
extern Memo *memo_of_query(MemoryContext context, Model *model);

/*
 * The row with that key, or NULL.  It is in the memo, or in the current
 * memory context; either way it must not be changed.  Reads what is not in
 * the memo yet.  The snapshot is the active one, which must be registered.
 */
extern HeapTupleHeader memo_row(Memo *memo, Model *model, Snapshot snapshot,
								const Datum *values);

/* The same for a model whose key is one integer. */
extern HeapTupleHeader memo_row_by_integer(Memo *memo, Model *model,
										   Snapshot snapshot, int64 key);

extern void memo_init(void);

/* ------------------------------------------------------------------------
 * keys of one integer, whatever its width
 * ------------------------------------------------------------------------
 */
static inline bool
is_integer_type(Oid typid)
{
	return typid == INT2OID || typid == INT4OID || typid == INT8OID;
}

static inline bool
model_has_integer_key(Model *model)
{
	return model->nkeys == 1 && is_integer_type(model->keys[0].typid);
}

static inline int64
integer_of_datum(Datum value, Oid typid)
{
	switch (typid)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

static inline Datum
datum_of_integer(int64 value, Oid typid)
{
	switch (typid)
	{
		case INT2OID:
			return Int16GetDatum((int16) value);
		case INT4OID:
			return Int32GetDatum((int32) value);
		default:
			return Int64GetDatum(value);
	}
}

#endif							/* PG_ORM_NAVIGATION_MEMO_H */
