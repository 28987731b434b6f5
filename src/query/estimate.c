/*-------------------------------------------------------------------------
 *
 * estimate.c
 *	  What the planner may know of a call of orm.query: how many rows it
 *	  gives, so that it can be joined to other tables the way that a table
 *	  would be.
 *
 * That is asked of the plan of the call's own statement, which is kept, so
 * that it is as a rule planned once for both.  The planner's first question
 * also loads the library, so that in a new connection, too, the hooks are
 * there when the plan is made.
 *
 * Memory is that of an SPI connection within the planner; locks are those of
 * parse analysis and planning, on tables that the call would lock next.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/plancache.h"

#include "compat.h"
#include "query/internal.h"

/* Does anything of the plan depend on the number of rows? */
static bool
rows_matter(PlannerInfo *root)
{
	return bms_membership(root->all_baserels) == BMS_MULTIPLE ||
		root->parent_root != NULL || root->parse->groupClause != NIL ||
		root->parse->distinctClause != NIL;
}

/* Takes the arguments from the call; false if one is not known yet. */
static bool
take_constants(FunctionCallInfo fcinfo, PlannerInfo *root, List *args)
{
	ListCell   *cell;
	int			i = 0;

	foreach(cell, args)
	{
		Const	   *value =
		(Const *) estimate_expression_value(root, lfirst(cell));

		if (!IsA(value, Const))
			return false;
		fcinfo->args[i].value = value->constvalue;
		fcinfo->args[i].isnull = value->constisnull;
		i++;
	}
	return true;
}

/*
 * The planner's estimate for the call's statement, whatever its values; false
 * if the user may not run it, since that would tell what is in the tables.
 */
static bool
statement_rows(FunctionCallInfo fcinfo, double *rows)
{
	PreparedQuery query = {0};
	CachedPlan *plan;
	PlannedStmt *statement;
	bool		allowed;

	SPI_connect();
	query.context = CurrentMemoryContext;
	query_prepare(&query, fcinfo, &query_signature, false);
	plan = SPI_plan_get_cached_plan(query.kept->plan);
	statement = linitial_node(PlannedStmt, plan->stmt_list);
	allowed = compat_check_permissions(statement, false);
	*rows = statement->planTree->plan_rows;
	ReleaseCachedPlan(plan, CurrentResourceOwner);
	SPI_finish();
	return allowed;
}

static bool
estimate_rows(SupportRequestRows *request)
{
	LOCAL_FCINFO(fcinfo, FUNC_MAX_ARGS);
	FuncExpr   *call = (FuncExpr *) request->node;
	FmgrInfo	info;
	int			row_limit = query_signature.row_limit;

	if (!IsA(call, FuncExpr) || request->root == NULL ||
		!rows_matter(request->root))
		return false;
	fmgr_info(call->funcid, &info);
	fmgr_info_set_expr((Node *) call, &info);
	InitFunctionCallInfoData(*fcinfo, &info, list_length(call->args),
							 call->inputcollid, NULL, NULL);
	if (!take_constants(fcinfo, request->root, call->args) ||
		!statement_rows(fcinfo, &request->rows))
		return false;
	if (!PG_ARGISNULL(row_limit))
		request->rows = Min(request->rows, PG_GETARG_INT64(row_limit));
	return true;
}

PG_FUNCTION_INFO_V1(orm_query_estimate);
Datum
orm_query_estimate(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestRows) &&
		estimate_rows((SupportRequestRows *) request))
		PG_RETURN_POINTER(request);
	PG_RETURN_POINTER(NULL);
}
