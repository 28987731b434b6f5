/*-------------------------------------------------------------------------
 *
 * snapshot.h
 *	  Plans that are run under the snapshot of the statement around them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_MODEL_SNAPSHOT_H
#define PG_ORM_MODEL_SNAPSHOT_H

#include "executor/spi.h"

/*
 * Raises serialization_failure (40001) if a table that the plan reads, below
 * views, too, was rewritten or truncated after the active snapshot was taken,
 * so that its rows cannot be seen.  To be called when the plan has locked its
 * tables; before that, they may still be rewritten.
 */
extern void plan_check_snapshot(SPIPlanPtr plan);

#endif							/* PG_ORM_MODEL_SNAPSHOT_H */
