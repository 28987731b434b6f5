/*-------------------------------------------------------------------------
 *
 * plain_scan.c
 *	  Where what the planner's plan does can as well be done by hand: then
 *	  reading by hand gives what the plan gives, at a fraction of the cost.
 *
 * Nothing is kept; locks are the caller's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/pg_am_d.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "model/plain_scan.h"

bool
plan_is_plain_scan(PlannedStmt *stmt, Oid relid)
{
	Scan	   *scan = (Scan *) stmt->planTree;

	return stmt->commandType == CMD_SELECT && stmt->subplans == NIL &&
		stmt->rowMarks == NIL && !stmt->hasModifyingCTE &&
		scan->plan.qual == NIL && scan->plan.initPlan == NIL &&
		rt_fetch(scan->scanrelid, stmt->rtable)->relid == relid &&
		get_rel_relkind(relid) == RELKIND_RELATION;
}

static int
key_position(Model *model, AttrNumber attnum)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		if (model->keys[i].attnum == attnum)
			return i;
	}
	return -1;
}

/* The scan key for a column of the index, if that has the key's equality. */
static bool
fill_scan_key(ScanKey scan_key, Relation index, int n, ModelKeyColumn *key)
{
	Oid			opfamily = index->rd_opfamily[n];
	int			strategy;
	Oid			left,
				right;

	if (get_op_opfamily_strategy(key->eq_operator, opfamily) !=
		BTEqualStrategyNumber)
		return false;
	get_op_opfamily_properties(key->eq_operator, opfamily, false, &strategy,
							   &left, &right);
	ScanKeyEntryInitialize(scan_key, 0, n + 1, strategy, right,
						   index->rd_indcollation[n],
						   get_opcode(key->eq_operator), (Datum) 0);
	return true;
}

bool
model_scan_keys(Model *model, Relation index, ScanKey keys, int *positions)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indisvalid ||
		index->rd_rel->relam != BTREE_AM_OID ||
		form->indnkeyatts != model->nkeys)
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		positions[i] = key_position(model, form->indkey.values[i]);
		if (positions[i] < 0 ||
			!fill_scan_key(&keys[i], index, i, &model->keys[positions[i]]))
			return false;
	}
	return true;
}
