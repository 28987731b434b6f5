/*-------------------------------------------------------------------------
 *
 * plain_scan.h
 *	  Where what the planner's plan does can as well be done by hand.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_MODEL_PLAIN_SCAN_H
#define PG_ORM_MODEL_PLAIN_SCAN_H

#include "access/skey.h"
#include "nodes/plannodes.h"
#include "utils/relcache.h"

#include "model/model.h"

/*
 * Is the plan, whose node is some kind of Scan, one of that ordinary table
 * with nothing else to it: no condition of a policy, no lock of rows?
 */
extern bool plan_is_plain_scan(PlannedStmt *stmt, Oid relid);

/*
 * The scan keys by which an index finds the row of a key of the model, but for
 * their arguments: keys[i] is for the column positions[i] of the key.  Returns
 * false if it is not a unique B-tree index of just the key's columns; if it
 * is, a plain scan of it for a whole key has no other conditions.
 */
extern bool model_scan_keys(Model *model, Relation index, ScanKey keys,
							int *positions);

#endif							/* PG_ORM_MODEL_PLAIN_SCAN_H */
