/*-------------------------------------------------------------------------
 *
 * evaluate.c
 *	  What a bulk statement did to a row that the session knows, found by
 *	  PostgreSQL's own executor instead of by asking the table.
 *
 * The expressions are those of the analysed and rewritten statement itself,
 * with its coercions, typmods and domains.  The result is used only where it
 * is provably what the statement did: the rows that the session knows have to
 * be those that the statement saw (the caller sees to that), and nothing but
 * the statement's text may have had a say in it.  Everywhere else the rows
 * are read again.
 *
 * An Evaluation lives in a memory context of its own under the current one.
 * Tables are locked with AccessShareLock while their traits are looked up;
 * the statement takes stronger locks anyway.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "compat.h"
#include "query/internal.h"

struct Evaluation
{
	TupleDesc	tupdesc;
	EState	   *estate;
	ExprContext *econtext;
	TupleTableSlot *slot;
	ExprState  *qual;			/* NULL if every row matches */
	int			nsets;
	AttrNumber *set_attnums;
	ExprState **sets;
};

/* ------------------------------------------------------------------------
 * the table
 * ------------------------------------------------------------------------
 */

/* Internal triggers that change no row. */
static bool
is_harmless_internal(Oid function)
{
	switch (function)
	{
		case F_RI_FKEY_CHECK_INS:
		case F_RI_FKEY_CHECK_UPD:
		case F_RI_FKEY_NOACTION_DEL:
		case F_RI_FKEY_NOACTION_UPD:
		case F_RI_FKEY_RESTRICT_DEL:
		case F_RI_FKEY_RESTRICT_UPD:
		case F_UNIQUE_KEY_RECHECK:
			return true;
		default:
			return false;
	}
}

static void
traits_add_triggers(TableTraits *traits, TriggerDesc *triggers)
{
	if (triggers == NULL)
		return;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (!trigger->tgisinternal)
			traits->triggers = true;
		else if (!is_harmless_internal(trigger->tgfoid))
			traits->cascades = true;
	}
	if (triggers->trig_update_before_row || triggers->trig_update_instead_row)
		traits->before_update = true;
}

static void
traits_add_relation(TableTraits *traits, Relation rel, bool is_target)
{
	TupleConstr *constraints = RelationGetDescr(rel)->constr;
	char		relkind = rel->rd_rel->relkind;

	traits_add_triggers(traits, rel->trigdesc);
	if (constraints != NULL && compat_has_generated(constraints))
		traits->generated = true;
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		traits->plain = false;
	/* an inheritance child has rows of its own type */
	if (!is_target && !rel->rd_rel->relispartition)
		traits->plain = false;
	if (rel->rd_rules != NULL)
	{
		traits->plain = false;
		traits->before_update = true;
	}
}

void
table_traits_get(Oid relid, TableTraits *traits)
{
	List	   *relids;
	ListCell   *cell;

	LockRelationOid(relid, AccessShareLock);
	relids = find_all_inheritors(relid, AccessShareLock, NULL);
	memset(traits, 0, sizeof(TableTraits));
	traits->plain = true;
	foreach(cell, relids)
	{
		Relation	rel = table_open(lfirst_oid(cell), AccessShareLock);

		traits_add_relation(traits, rel, lfirst_oid(cell) == relid);
		table_close(rel, NoLock);
	}
	traits->row_security =
		check_enable_rls(relid, InvalidOid, true) != RLS_NONE;
}

/* ------------------------------------------------------------------------
 * the expressions
 * ------------------------------------------------------------------------
 */
static bool
function_is_not_fixed(Oid function, void *context)
{
	switch (func_volatile(function))
	{
		case PROVOLATILE_IMMUTABLE:
			return false;
		case PROVOLATILE_STABLE:
			/* a stable function may read tables, but not these */
			return function != F_NOW &&
				function != F_TRANSACTION_TIMESTAMP &&
				function != F_STATEMENT_TIMESTAMP;
		default:
			return true;
	}
}

/* Could the value depend on anything but the row and the parameters? */
static bool
is_not_fixed(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
			return ((Var *) node)->varattno <= 0;
		case T_Param:
			return ((Param *) node)->paramkind != PARAM_EXTERN;
		case T_SubLink:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
		case T_CurrentOfExpr:
		case T_NextValueExpr:
		case T_SetToDefault:
			return true;
		default:
			break;
	}
	return check_functions_in_node(node, function_is_not_fixed, context) ||
		expression_tree_walker(node, is_not_fixed, context);
}

/* The one rewritten query of the kept plan, if it is as simple as it looks. */
static Query *
simple_query(KeptStatement *kept, Oid relid)
{
	List	   *sources = SPI_plan_get_plan_sources(kept->plan);
	CachedPlanSource *source;
	Query	   *query;

	if (!SPI_plan_is_valid(kept->plan) || list_length(sources) != 1)
		return NULL;
	source = linitial(sources);
	if (list_length(source->query_list) != 1)
		return NULL;
	query = linitial_node(Query, source->query_list);
	if (list_length(query->rtable) != 1 || query->resultRelation != 1 ||
		linitial_node(RangeTblEntry, query->rtable)->relid != relid ||
		query->hasSubLinks || query->cteList != NIL)
		return NULL;
	return query;
}

/*
 * The planner may evaluate the criteria in any order and on fewer rows, so
 * they must not be able to raise an error on a row that they would not meet.
 */
static bool
query_is_fixed(Query *query)
{
	Node	   *quals = query->jointree->quals;

	return !is_not_fixed(quals, NULL) && !contain_leaked_vars(quals) &&
		(query->commandType != CMD_UPDATE ||
		 !is_not_fixed((Node *) query->targetList, NULL));
}

static ParamListInfo
param_list(KeptStatement *kept, Datum *values, const char *nulls)
{
	ParamListInfo params = makeParamList(kept->nargs);

	for (int i = 0; i < kept->nargs; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = nulls[i] == 'n';
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = kept->argtypes[i];
	}
	return params;
}

static void
evaluation_prepare_sets(Evaluation *evaluation, Query *query)
{
	ListCell   *cell;

	evaluation->set_attnums = palloc(sizeof(AttrNumber) *
									 list_length(query->targetList));
	evaluation->sets = palloc(sizeof(ExprState *) *
							  list_length(query->targetList));
	foreach(cell, query->targetList)
	{
		TargetEntry *target = lfirst_node(TargetEntry, cell);
		int			i = evaluation->nsets;

		if (target->resjunk)
			continue;
		evaluation->set_attnums[i] = target->resno;
		evaluation->sets[i] = ExecPrepareExpr(copyObject(target->expr),
											  evaluation->estate);
		evaluation->nsets++;
	}
}

Evaluation *
evaluation_prepare(KeptStatement *kept, Model *model,
				   const TableTraits *traits, Datum *values,
				   const char *nulls)
{
	Query	   *query;
	Evaluation *evaluation;
	MemoryContext old;

	if (!traits->plain || traits->row_security || traits->triggers ||
		traits->cascades || traits->generated)
		return NULL;
	query = simple_query(kept, model->relid);
	if (query == NULL || !query_is_fixed(query))
		return NULL;

	evaluation = palloc0(sizeof(Evaluation));
	evaluation->tupdesc = model->tupdesc;
	evaluation->estate = CreateExecutorState();
	old = MemoryContextSwitchTo(evaluation->estate->es_query_cxt);
	evaluation->estate->es_param_list_info = param_list(kept, values, nulls);
	evaluation->econtext = GetPerTupleExprContext(evaluation->estate);
	evaluation->slot = MakeSingleTupleTableSlot(model->tupdesc,
												&TTSOpsHeapTuple);
	if (query->jointree->quals != NULL)
		evaluation->qual =
			ExecPrepareExpr((Expr *) copyObject(query->jointree->quals),
							evaluation->estate);
	if (query->commandType == CMD_UPDATE)
		evaluation_prepare_sets(evaluation, query);
	MemoryContextSwitchTo(old);
	return evaluation;
}

void
evaluation_end(Evaluation *evaluation)
{
	ExecDropSingleTupleTableSlot(evaluation->slot);
	FreeExecutorState(evaluation->estate);
}

bool
evaluation_matches(Evaluation *evaluation, HeapTuple row)
{
	Datum		result;
	bool		isnull;

	if (evaluation->qual == NULL)
		return true;
	ResetExprContext(evaluation->econtext);
	ExecStoreHeapTuple(row, evaluation->slot, false);
	evaluation->econtext->ecxt_scantuple = evaluation->slot;
	result = ExecEvalExprSwitchContext(evaluation->qual, evaluation->econtext,
									   &isnull);
	return !isnull && DatumGetBool(result);
}

HeapTuple
evaluation_new_row(Evaluation *evaluation, HeapTuple row)
{
	TupleDesc	tupdesc = evaluation->tupdesc;
	Datum	   *values = palloc(sizeof(Datum) * tupdesc->natts);
	bool	   *nulls = palloc(sizeof(bool) * tupdesc->natts);

	ResetExprContext(evaluation->econtext);
	ExecStoreHeapTuple(row, evaluation->slot, false);
	evaluation->econtext->ecxt_scantuple = evaluation->slot;
	heap_deform_tuple(row, tupdesc, values, nulls);
	for (int i = 0; i < evaluation->nsets; i++)
	{
		int			column = evaluation->set_attnums[i] - 1;

		values[column] =
			ExecEvalExprSwitchContext(evaluation->sets[i],
									  evaluation->econtext, &nulls[column]);
	}
	return heap_form_tuple(tupdesc, values, nulls);
}
