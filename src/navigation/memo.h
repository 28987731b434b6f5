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

#endif							/* PG_ORM_NAVIGATION_MEMO_H */
