/*-------------------------------------------------------------------------
 *
 * lookup.h
 *	  Reading rows of a model by key, for orm.to_one and orm.to_one_by.
 *
 * The key is what Model.keys says; orm.to_one_by passes a copy of the model
 * with other columns there.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_NAVIGATION_LOOKUP_H
#define PG_ORM_NAVIGATION_LOOKUP_H

#include "model/model.h"
#include "nodes/plannodes.h"
#include "utils/plancache.h"
#include "utils/snapshot.h"

/* ------------------------------------------------------------------------
 * in lookup.c: through the planner and executor
 * ------------------------------------------------------------------------
 */

/* The kept plans of one model; live as long as the backend. */
typedef struct Lookup Lookup;

/*
 * The plans for the model as it is now, to be run under the active snapshot.
 * The pointer stays good until the end of the transaction.
 *
 * A table that the snapshot cannot show any more, because somebody has
 * rewritten it since, is serialization_failure (40001).
 */
extern Lookup *lookup_prepare(Model *model);

/*
 * The row with that key, in the current memory context, or NULL.  Reads under
 * the active snapshot as the present user.  A table that was rewritten since
 * the snapshot was taken is serialization_failure (40001), here and when a
 * scan is opened.
 */
extern HeapTupleHeader lookup_row(Lookup *lookup, const Datum *values);

/*
 * What the planner expects of a scan of the whole model: the number of rows
 * and their width.  False if such a scan could raise an error on a row that
 * nobody asked for.
 */
extern bool lookup_all_estimate(Lookup *lookup, double *rows, int *width);

/*
 * Reads all rows.  For each, take(key values, row, length, arg) copies the
 * row and returns the copy, or NULL to stop; what it is given lives only
 * during the call.  The copy is a value of the row type when lookup_all
 * returns.
 */
typedef HeapTupleHeader (*LookupTake) (const Datum *values,
									   HeapTupleHeader row, Size length,
									   void *arg);

extern void lookup_all(Lookup *lookup, Model *model, Snapshot snapshot,
					   LookupTake take, void *arg);

/* ------------------------------------------------------------------------
 * in scan.c: an index scan kept open
 * ------------------------------------------------------------------------
 */
typedef struct KeyScan KeyScan;

/*
 * Opens a scan, in the current memory context and under the current resource
 * owner, if the plan of lookup is nothing but a look-up in a unique index;
 * otherwise returns NULL.  Checks the present user's privileges.
 */
extern KeyScan *key_scan_open(Lookup *lookup, Model *model);

/* The row with that key, in the current memory context, or NULL. */
extern HeapTupleHeader key_scan_row(KeyScan *scan, Snapshot snapshot,
									const Datum *values);

/*
 * Closes it, as does the end of the memory context that it was opened in;
 * does nothing in an aborted transaction, or if its resources have been
 * released already.
 */
extern void key_scan_close(KeyScan *scan);

extern void key_scan_init(void);

/*
 * Reads all rows of an ordinary table, for lookup_all, if the plan of that is
 * nothing but a sequential scan; otherwise returns false.
 */
extern bool table_scan_all(PlannedStmt *stmt, Model *model, Snapshot snapshot,
						   LookupTake take, void *arg);

/* For scan.c: the plan of the look-up, to be released by the caller. */
extern CachedPlan *lookup_cached_plan(Lookup *lookup);

#endif							/* PG_ORM_NAVIGATION_LOOKUP_H */
