/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  orm.query in FROM as a node of the plan.
 *
 * The executor reads a function in FROM to its end into a tuplestore before
 * the first row is used.  Where nothing can come between the rows, a scan
 * node of our own takes the place of that: it runs the call's statement and
 * passes its rows on.  That is so in a plain SELECT that calls no other
 * volatile function; and a row has to be used by its columns, since one that
 * is wanted as a whole is made into a value anyway.
 *
 * A query that shows only aggregates of columns shows no object, and then
 * none has to be loaded: count(*), which counts objects, loads them.
 *
 * The node keeps to what a function in FROM does: it is called, privileges
 * and all, when its first row is wanted; where rows may be wanted again (a
 * cursor that can go back, the inner side of a join), or where the statement
 * has a parallel plan, it reads the function to its end as ever.
 *
 * Memory and resources are those of the executor run that the node is in.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "query/internal.h"
#include "query/query.h"

/* The arguments of orm.query. */
#define QUERY_NARGS 8

typedef struct QueryScanState
{
	CustomScanState css;
	SetExprState *call;
	bool		loads;
	bool		at_once;		/* rows may be wanted again */
	RowPull    *pull;			/* rows come from here, */
	Tuplestorestate *store;		/* or from here */
	TupleTableSlot *store_slot;
} QueryScanState;

static set_rel_pathlist_hook_type previous_pathlist_hook = NULL;

/* ------------------------------------------------------------------------
 * which calls
 * ------------------------------------------------------------------------
 */
static bool
is_orm_query(Oid function)
{
	FmgrInfo	info;

	if (get_func_nargs(function) != QUERY_NARGS ||
		get_func_rettype(function) != ANYELEMENTOID)
		return false;
	fmgr_info(function, &info);
	return info.fn_addr == orm_query;
}

static bool
is_volatile(Oid function, void *context)
{
	return func_volatile(function) == PROVOLATILE_VOLATILE &&
		!is_orm_query(function);
}

/* Does it call anything that may write, beside orm.query? */
static bool
may_write(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_volatile, context) ||
		IsA(node, NextValueExpr))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, may_write, context, 0);
	return expression_tree_walker(node, may_write, context);
}

/*
 * Is it a statement that nothing comes between the rows of?  Sublinks that
 * are planned already are in subroots.
 */
static bool
statement_only_reads(PlannerInfo *root)
{
	ListCell   *cell;

	while (root->parent_root != NULL)
		root = root->parent_root;
	if (root->parse->commandType != CMD_SELECT ||
		root->parse->hasModifyingCTE || root->parse->rowMarks != NIL ||
		may_write((Node *) root->parse, NULL))
		return false;
	foreach(cell, root->glob->subroots)
	{
		if (may_write((Node *) lfirst_node(PlannerInfo, cell)->parse, NULL))
			return false;
	}
	return true;
}

/* Do arguments depend on the rest of the statement? */
static bool
depends_on_statement(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) || IsA(node, SubPlan) || IsA(node, SubLink) ||
		IsA(node, AlternativeSubPlan) || IsA(node, PlaceHolderVar) ||
		(IsA(node, Param) && castNode(Param, node)->paramkind != PARAM_EXTERN))
		return true;
	return expression_tree_walker(node, depends_on_statement, context);
}

/* The call, if the function scan is one of orm.query by itself. */
static FuncExpr *
scanned_call(RangeTblEntry *rte)
{
	RangeTblFunction *function;
	FuncExpr   *call;

	if (list_length(rte->functions) != 1 || rte->funcordinality)
		return NULL;
	function = linitial_node(RangeTblFunction, rte->functions);
	call = (FuncExpr *) function->funcexpr;
	if (!IsA(call, FuncExpr) || !call->funcretset ||
		list_length(call->args) != QUERY_NARGS ||
		!OidIsValid(get_typ_typrelid(call->funcresulttype)) ||
		!is_orm_query(call->funcid) ||
		depends_on_statement((Node *) call->args, NULL))
		return NULL;
	return call;
}

/* Is the row wanted as a whole? */
static bool
wants_whole_row(RelOptInfo *rel)
{
	Bitmapset  *columns = NULL;
	ListCell   *cell;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &columns);
	foreach(cell, rel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause,
					   rel->relid, &columns);
	return bms_is_member(column_member(InvalidAttrNumber), columns);
}

static bool
counts_rows(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Aggref) && castNode(Aggref, node)->aggstar)
		return true;
	return expression_tree_walker(node, counts_rows, context);
}

/* Does the query show aggregates of columns, and nothing else? */
static bool
only_aggregates(Query *parse)
{
	return (parse->hasAggs || parse->groupClause != NIL ||
			parse->groupingSets != NIL) &&
		!counts_rows((Node *) parse->targetList, NULL) &&
		!counts_rows(parse->havingQual, NULL);
}

/*
 * The columns of the row type, as those of the scan; NIL where a column was
 * dropped, since the statement's rows do not have it.
 */
static List *
row_type_columns(Oid rowtype, Index rti)
{
	TupleDesc	tupdesc = lookup_rowtype_tupdesc(rowtype, -1);
	List	   *result = NIL;

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		Var		   *column;

		if (attribute->attisdropped)
		{
			result = NIL;
			break;
		}
		column = makeVar(rti, i + 1, attribute->atttypid,
						 attribute->atttypmod, attribute->attcollation, 0);
		result = lappend(result,
						 makeTargetEntry((Expr *) column, i + 1,
										 pstrdup(NameStr(attribute->attname)),
										 false));
	}
	ReleaseTupleDesc(tupdesc);
	return result;
}

/* ------------------------------------------------------------------------
 * planning
 * ------------------------------------------------------------------------
 */
static Node *query_scan_create_state(CustomScan *scan);

static const CustomScanMethods scan_methods = {
	.CustomName = "orm.query",
	.CreateCustomScanState = query_scan_create_state
};

/*
 * Do the node's rows go to an aggregation without groups?  That takes columns
 * out of whole rows as well as out of what is projected for it.
 */
static bool
is_only_aggregated(PlannerInfo *root)
{
	Query	   *parse = root->parse;

	return parse->hasAggs && parse->groupClause == NIL &&
		parse->groupingSets == NIL &&
		bms_membership(root->all_baserels) == BMS_SINGLETON;
}

static Plan *
query_scan_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path,
				List *tlist, List *clauses, List *custom_plans)
{
	CustomScan *scan = makeNode(CustomScan);
	FuncExpr   *call = linitial(path->custom_private);

	scan->custom_scan_tlist = lsecond(path->custom_private);
	scan->scan.plan.targetlist = is_only_aggregated(root) ?
		copyObject(scan->custom_scan_tlist) : tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->flags = path->flags;
	scan->custom_exprs = list_make1(copyObject(call));
	scan->custom_private = list_make1(makeInteger(only_aggregates(root->parse)));
	scan->methods = &scan_methods;
	/* another row type needs another plan */
	root->glob->relationOids =
		lappend_oid(root->glob->relationOids,
					get_typ_typrelid(call->funcresulttype));
	return &scan->scan.plan;
}

static const CustomPathMethods path_methods = {
	.CustomName = "orm.query",
	.PlanCustomPath = query_scan_plan
};

/* Our path in place of the function scan's, at the same cost. */
static void
replace_function_scan(RelOptInfo *rel, FuncExpr *call, List *columns)
{
	Path	   *function_scan = linitial(rel->pathlist);
	CustomPath *path = makeNode(CustomPath);

	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.rows = function_scan->rows;
	path->path.startup_cost = function_scan->startup_cost;
	path->path.total_cost = function_scan->total_cost;
	path->flags = CUSTOMPATH_SUPPORT_BACKWARD_SCAN |
		CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_private = list_make2(call, columns);
	path->methods = &path_methods;
	rel->pathlist = list_make1(path);
}

static void
query_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti,
			   RangeTblEntry *rte)
{
	FuncExpr   *call;
	List	   *columns;

	if (previous_pathlist_hook)
		previous_pathlist_hook(root, rel, rti, rte);
	if (rte->rtekind != RTE_FUNCTION || rel->reloptkind != RELOPT_BASEREL ||
		!bms_is_empty(rel->lateral_relids) || list_length(rel->pathlist) != 1 ||
		((Path *) linitial(rel->pathlist))->pathtype != T_FunctionScan)
		return;
	call = scanned_call(rte);
	if (call == NULL || wants_whole_row(rel) || !statement_only_reads(root))
		return;
	columns = row_type_columns(call->funcresulttype, rti);
	if (columns != NIL)
		replace_function_scan(rel, call, columns);
}

/* ------------------------------------------------------------------------
 * execution
 * ------------------------------------------------------------------------
 */

/* Evaluates the arguments, as for any call. */
static void
evaluate_arguments(QueryScanState *state)
{
	FunctionCallInfo fcinfo = state->call->fcinfo;
	ExprContext *econtext = state->css.ss.ps.ps_ExprContext;
	ListCell   *cell;
	int			i = 0;

	foreach(cell, state->call->args)
	{
		fcinfo->args[i].value = ExecEvalExpr((ExprState *) lfirst(cell),
											 econtext,
											 &fcinfo->args[i].isnull);
		i++;
	}
}

static void
open_store(QueryScanState *state, TupleDesc tupdesc)
{
	state->store_slot = ExecAllocTableSlot(&state->css.ss.ps.state->es_tupleTable,
										   tupdesc, &TTSOpsMinimalTuple);
}

/*
 * Reads the function to its end, as a function scan does.  The columns are
 * those that the plan was made with; the call refuses if it has others.
 */
static void
call_at_once(QueryScanState *state)
{
	ExprContext *econtext = state->css.ss.ps.ps_ExprContext;
	MemoryContext arguments = AllocSetContextCreate(CurrentMemoryContext,
													"pg_orm arguments",
													ALLOCSET_SMALL_SIZES);
	TupleDesc	tupdesc =
	CreateTupleDescCopy(state->css.ss.ss_ScanTupleSlot->tts_tupleDescriptor);

	state->store = ExecMakeTableFunctionResult(state->call, econtext,
											   arguments, tupdesc,
											   true);
	open_store(state, tupdesc);
	MemoryContextDelete(arguments);
}

static void
query_scan_start(QueryScanState *state)
{
	MemoryContext old = MemoryContextSwitchTo(state->css.ss.ps.state->es_query_cxt);

	if (!state->at_once)
	{
		evaluate_arguments(state);
		state->pull = row_pull_start(state->call->fcinfo, state->loads,
									 state->css.ss.ss_ScanTupleSlot->tts_tupleDescriptor);
	}
	if (state->pull == NULL)
		call_at_once(state);
	MemoryContextSwitchTo(old);
}

static TupleTableSlot *
query_scan_next(QueryScanState *state)
{
	bool		forward;

	if (state->pull != NULL)
		return row_pull_next(state->pull);
	if (state->store == NULL)
	{
		query_scan_start(state);
		return query_scan_next(state);
	}
	forward = ScanDirectionIsForward(state->css.ss.ps.state->es_direction);
	(void) tuplestore_gettupleslot(state->store, forward, false,
								   state->store_slot);
	return state->store_slot;
}

/* What ExecScan does. */
static TupleTableSlot *
query_scan_exec(CustomScanState *node)
{
	QueryScanState *state = (QueryScanState *) node;
	ExprContext *econtext = node->ss.ps.ps_ExprContext;
	ExprState  *qual = node->ss.ps.qual;
	ProjectionInfo *projection = node->ss.ps.ps_ProjInfo;

	if (qual == NULL && projection == NULL)
		return query_scan_next(state);
	for (;;)
	{
		TupleTableSlot *slot = query_scan_next(state);

		CHECK_FOR_INTERRUPTS();
		ResetExprContext(econtext);
		if (TupIsNull(slot))
			return projection == NULL ? slot
				: ExecClearTuple(projection->pi_state.resultslot);
		econtext->ecxt_scantuple = slot;
		if (qual == NULL || ExecQual(qual, econtext))
			return projection == NULL ? slot : ExecProject(projection);
		InstrCountFiltered1(node, 1);
	}
}

/* Without the detour by which the core comes to query_scan_exec. */
static TupleTableSlot *
query_scan_proc(PlanState *node)
{
	return query_scan_exec((CustomScanState *) node);
}

/*
 * Rows come in whichever slot they are in, so what was prepared for a virtual
 * one is prepared anew.
 */
static void
query_scan_begin(CustomScanState *node, EState *estate, int eflags)
{
	QueryScanState *state = (QueryScanState *) node;
	CustomScan *scan = (CustomScan *) node->ss.ps.plan;

	node->ss.ps.ExecProcNode = query_scan_proc;
	node->ss.ps.scanops = NULL;
	node->ss.ps.scanopsfixed = false;
	node->ss.ps.scanopsset = true;
	node->ss.ps.resultopsset = false;
	ExecAssignScanProjectionInfoWithVarno(&node->ss, INDEX_VAR);
	node->ss.ps.qual = ExecInitQual(scan->scan.plan.qual, (PlanState *) node);
	state->at_once = (eflags & (EXEC_FLAG_REWIND | EXEC_FLAG_BACKWARD |
								EXEC_FLAG_MARK)) != 0;
	/* the privilege to call it is checked here */
	state->call = ExecInitTableFunctionResult(linitial(scan->custom_exprs),
											  node->ss.ps.ps_ExprContext,
											  (PlanState *) node);
}

static void
query_scan_end(CustomScanState *node)
{
	QueryScanState *state = (QueryScanState *) node;

	if (state->pull != NULL)
		row_pull_end(state->pull);
	if (state->store != NULL)
		tuplestore_end(state->store);
	state->pull = NULL;
	state->store = NULL;
}

/* Who asks twice will ask again: the rows are kept from now on. */
static void
keep_rows(QueryScanState *state)
{
	MemoryContext old = MemoryContextSwitchTo(state->css.ss.ps.state->es_query_cxt);
	TupleTableSlot *slot;

	state->store = tuplestore_begin_heap(true, false, work_mem);
	open_store(state, row_pull_tupdesc(state->pull));
	row_pull_rescan(state->pull);
	while ((slot = row_pull_next(state->pull)) != NULL)
		tuplestore_puttupleslot(state->store, slot);
	row_pull_end(state->pull);
	state->pull = NULL;
	MemoryContextSwitchTo(old);
}

static void
query_scan_rescan(CustomScanState *node)
{
	QueryScanState *state = (QueryScanState *) node;

	if (state->pull != NULL)
		keep_rows(state);
	if (state->store != NULL)
		tuplestore_rescan(state->store);
}

static void
query_scan_explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	CustomScan *scan = (CustomScan *) node->ss.ps.plan;
	List	   *context;

	context = set_deparse_context_plan(es->deparse_cxt, &scan->scan.plan,
									   ancestors);
	ExplainPropertyText("Function Call",
						deparse_expression(linitial(scan->custom_exprs),
										   context, es->verbose, false), es);
}

static const CustomExecMethods exec_methods = {
	.CustomName = "orm.query",
	.BeginCustomScan = query_scan_begin,
	.ExecCustomScan = query_scan_exec,
	.EndCustomScan = query_scan_end,
	.ReScanCustomScan = query_scan_rescan,
	.ExplainCustomScan = query_scan_explain
};

static Node *
query_scan_create_state(CustomScan *scan)
{
	QueryScanState *state = (QueryScanState *) newNode(sizeof(QueryScanState),
													   T_CustomScanState);

	state->css.methods = &exec_methods;
	state->loads = intVal(linitial(scan->custom_private)) == 0;
	return (Node *) state;
}

void
query_init(void)
{
	RegisterCustomScanMethods(&scan_methods);
	previous_pathlist_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = query_pathlist;
}
