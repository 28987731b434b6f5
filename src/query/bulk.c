/*-------------------------------------------------------------------------
 *
 * bulk.c
 *	  orm.update_where and orm.delete_where: one statement that changes all
 *	  rows that meet the criteria, after which the session's objects equal
 *	  their rows (unless the caller does not want that).
 *
 * How the objects are synchronized is decided when it is known what is in the
 * session: nothing if there is no object of the model, by evaluation where
 * that is exact, and otherwise by RETURNING or by reading the objects again.
 *
 * Everything lives in the memory of the call's SPI connection.  Locks are
 * those of the statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/plannodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "query/internal.h"
#include "session/session.h"

/*
 * To read an object again by its key costs as much as to look at so many rows
 * that RETURNING gives; below a number of rows nobody notices either.
 */
#define ROWS_WORTH_OBJECT	2
#define ROWS_WORTH_REREAD	5000

typedef enum Synchronize
{
	SYNCHRONIZE_AUTO,
	SYNCHRONIZE_EVALUATE,
	SYNCHRONIZE_FETCH,
	SYNCHRONIZE_FALSE
} Synchronize;

typedef struct BulkCall
{
	const char *name;
	bool		is_delete;
	Model	   *model;
	char	   *filter;
	char	   *set;
	Jsonb	   *filter_by;
	Jsonb	   *params;
	Jsonb	   *document;		/* the changes as they were given */
	Datum		changes;		/* the same as a row of the model */
	Bitmapset  *changed;		/* the columns of it that are meant */
	Synchronize synchronize;
	int64		at_most;		/* or -1 */
} BulkCall;

/* A statement with its arguments. */
typedef struct BulkStatement
{
	KeptStatement *kept;
	Datum	   *values;
	char	   *nulls;
} BulkStatement;

/* How the statement's effect on the session's objects is found out. */
typedef enum BulkPlan
{
	BULK_NOTHING,				/* no object, or none of our business */
	BULK_RETURNING,
	BULK_RETURNING_OLD_KEY,		/* the key may change */
	BULK_EVALUATE,
	BULK_REREAD
} BulkPlan;

/* ------------------------------------------------------------------------
 * arguments
 * ------------------------------------------------------------------------
 */
static void
raise_bad_synchronize(const char *given)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for synchronize_session: %s", given),
			 errhint("Valid values are 'auto', 'evaluate', 'fetch' and 'false' (or false).")));
}

static Synchronize
synchronize_argument(FunctionCallInfo fcinfo, int arg)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, arg);
	Oid			output;
	bool		is_varlena;
	char	   *value;

	if (PG_ARGISNULL(arg))
		raise_bad_synchronize("NULL");
	getTypeOutputInfo(type, &output, &is_varlena);
	value = OidOutputFunctionCall(output, fcinfo->args[arg].value);
	if (type == BOOLOID)
		value = PG_GETARG_BOOL(arg) ? "true" : "false";
	if (strcmp(value, "auto") == 0)
		return SYNCHRONIZE_AUTO;
	if (strcmp(value, "evaluate") == 0)
		return SYNCHRONIZE_EVALUATE;
	if (strcmp(value, "fetch") == 0)
		return SYNCHRONIZE_FETCH;
	if (strcmp(value, "false") != 0)
		raise_bad_synchronize(quote_literal_cstr(value));
	return SYNCHRONIZE_FALSE;
}

static int64
at_most_argument(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return -1;
	if (PG_GETARG_INT64(arg) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at_most must not be negative")));
	return PG_GETARG_INT64(arg);
}

static char *
text_argument(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static Jsonb *
jsonb_argument(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : PG_GETARG_JSONB_P(arg);
}

static void
require_criteria(BulkCall *call)
{
	if (call->filter == NULL && call->filter_by == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has neither filter nor filter_by", call->name),
				 errhint("Write filter => 'true' if every row is meant.")));
}

/* ------------------------------------------------------------------------
 * changes
 * ------------------------------------------------------------------------
 */
static void
push_member(JsonbParseState **state, const char *name, JsonbValue *value)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = pstrdup(name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, value);
}

/* A relationship stands for its foreign key. */
static void
push_foreign_key(JsonbParseState **state, Model *model,
				 Relationship *relationship, JsonbContainer *document,
				 JsonbValue *value)
{
	if (relationship->direction != RELATIONSHIP_MANY_TO_ONE ||
		(value->type != jbvNull && !names_related_key(relationship, value)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changes of relationship \"%s\" must be null or an object with the key of the related row",
						relationship->name),
				 relationship->direction != RELATIONSHIP_MANY_TO_ONE
				 ? errdetail("Only a relationship to one row can be set by a bulk change.")
				 : errdetail("It is {\"%s\": {\"%s\": ...}}.", relationship->name,
							 get_attname(relationship->target,
										 relationship->remote_attnums[0],
										 false))));
	for (int i = 0; i < relationship->nlocal; i++)
	{
		char	   *column = get_attname(model->relid,
										 relationship->local_attnums[i], false);
		JsonbValue	member;

		if (json_get(document, column, &member))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("changes have both relationship \"%s\" and its column \"%s\"",
							relationship->name, column)));
		member = *value;
		if (value->type != jbvNull)
			json_get(value->val.binary.data,
					 get_attname(relationship->target,
								 relationship->remote_attnums[i], false),
					 &member);
		push_member(state, column, &member);
	}
}

/* changes with every relationship replaced by its foreign key. */
static Jsonb *
changes_by_column(Model *model, Jsonb *changes)
{
	JsonbIterator *iterator = JsonbIteratorInit(&changes->root);
	JsonbParseState *state = NULL;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		Relationship *relationship;

		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		relationship = model_attnum(model, name, true) != InvalidAttrNumber
			? NULL : model_relationship(model, name, true);
		if (relationship != NULL)
			push_foreign_key(&state, model, relationship, &changes->root,
							 &value);
		else
			push_member(&state, name, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
changes_error_callback(void *arg)
{
	int			code = geterrcode();

	if (code == ERRCODE_INVALID_TEXT_REPRESENTATION ||
		code == ERRCODE_INVALID_DATETIME_FORMAT)
		errhint("changes takes values; an SQL expression goes into set => '...'.");
	errcontext("changes of orm.update_where");
}

static void
call_set_changes(BulkCall *call)
{
	ErrorContextCallback callback = {error_context_stack,
		changes_error_callback, NULL};
	Datum		document;

	if (!JB_ROOT_IS_OBJECT(call->document))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changes of %s must be a JSON object", call->name),
				 errhint("It is keyed by column, as in '{\"name\": \"lqz\"}'.")));
	error_context_stack = &callback;
	document = JsonbPGetDatum(changes_by_column(call->model, call->document));
	call->changed = NULL;
	call->changes = row_from_document(call->model, (Datum) 0, document,
									  &call->changed);
	error_context_stack = callback.previous;
}

/* ------------------------------------------------------------------------
 * the statement
 * ------------------------------------------------------------------------
 */
static void
compose_set_list(BulkCall *call, Composition *composition)
{
	StringInfo	own = &composition->text;
	int			member = -1;
	int			number = 0;
	const char *separator = " SET ";

	if (!bms_is_empty(call->changed))
		number = compose_datum(composition, "changes", call->model->rowtype,
							   call->changes, false);
	while ((member = bms_next_member(call->changed, member)) >= 0)
	{
		const char *column = column_sql(call->model, member_column(member));

		appendStringInfo(own, "%s%s = ($%d).%s", separator, column, number,
						 column);
		separator = ", ";
	}
	if (call->set != NULL)
	{
		appendStringInfoString(own, separator);
		compose_fragment(composition, FRAGMENT_SET, call->set);
	}
}

/*
 * The table once more under a name that no fragment uses, so that RETURNING
 * can give the key from before the statement.
 */
static void
compose_old_key_join(Composition *composition)
{
	Model	   *model = composition->model;
	StringInfo	own = &composition->text;

	appendStringInfoString(own, " FROM (SELECT ");
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(own, "%st.%s AS \"orm key %d\"", i == 0 ? "" : ", ",
						 column_sql(model, model->keys[i].attnum), i + 1);
	appendStringInfo(own, " FROM %s AS t) AS \"orm old\" WHERE ",
					 model->relation_name);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(own, "%s%s.%s %s \"orm old\".\"orm key %d\"",
						 i == 0 ? "" : " AND ", composition->alias,
						 column_sql(model, model->keys[i].attnum),
						 operator_sql(model->keys[i].eq_operator), i + 1);
}

static void
compose_returning(BulkCall *call, Composition *composition, BulkPlan plan)
{
	Model	   *model = call->model;
	StringInfo	own = &composition->text;

	appendStringInfoString(own, " RETURNING");
	if (!call->is_delete)
		appendStringInfo(own, " %s.*", composition->alias);
	for (int i = 0; i < model->nkeys; i++)
	{
		if (call->is_delete)
			appendStringInfo(own, "%s %s.%s", i == 0 ? "" : ",",
							 composition->alias,
							 column_sql(model, model->keys[i].attnum));
		else if (plan == BULK_RETURNING_OLD_KEY)
			appendStringInfo(own, ", \"orm old\".\"orm key %d\"", i + 1);
	}
}

static BulkStatement
bulk_statement(BulkCall *call, BulkPlan plan)
{
	Composition *composition = composition_create(call->name, call->model,
												  call->is_delete ? "delete" : "update",
												  call->params);
	StringInfo	own = &composition->text;
	BulkStatement result;
	const char *keyword = "WHERE";

	appendStringInfo(own, call->is_delete ? "DELETE FROM %s" : "UPDATE %s",
					 call->model->relation_name);
	if (!call->is_delete)
		compose_set_list(call, composition);
	if (plan == BULK_RETURNING_OLD_KEY)
	{
		compose_old_key_join(composition);
		keyword = "AND";
	}
	compose_criteria(composition, keyword, call->filter, call->filter_by);
	if (plan == BULK_RETURNING || plan == BULK_RETURNING_OLD_KEY)
		compose_returning(call, composition, plan);

	result.kept = kept_statement_get(composition);
	kept_statement_bind(result.kept, composition, &result.values,
						&result.nulls);
	return result;
}

/* ------------------------------------------------------------------------
 * synchronizing
 * ------------------------------------------------------------------------
 */
static void
require_evaluable(KeptStatement *kept)
{
	if (!kept->has_subquery && !kept->is_volatile)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("synchronize_session 'evaluate' cannot evaluate %s",
					kept->has_subquery ? "a subquery or an aggregate"
					: "a volatile function"),
			 errhint("Use synchronize_session => 'fetch'.")));
}

/* Are all rows certain, and has any object a pending change? */
static void
look_at_objects(List *objects, bool *all_certain, bool *any_modified)
{
	ListCell   *cell;

	*all_certain = true;
	*any_modified = false;
	foreach(cell, objects)
	{
		Object	   *object = lfirst(cell);

		if (!object_row_is_certain(object))
			*all_certain = false;
		if (object_is_modified(object))
			*any_modified = true;
	}
}

/* How many rows the planner thinks that the statement writes. */
static double
expected_rows(BulkStatement *statement)
{
	CachedPlanSource *source =
	linitial(SPI_plan_get_plan_sources(statement->kept->plan));
	ParamListInfo params = own_statement_params(statement->kept->plan,
												statement->values,
												statement->nulls);
	CachedPlan *plan;
	double		rows = 0;

	PushActiveSnapshot(GetTransactionSnapshot());
	plan = GetCachedPlan(source, params, CurrentResourceOwner, NULL);
	if (list_length(plan->stmt_list) == 1)
	{
		Plan	   *tree = linitial_node(PlannedStmt,
										 plan->stmt_list)->planTree;

		if (tree != NULL && IsA(tree, ModifyTable) && outerPlan(tree) != NULL)
			rows = outerPlan(tree)->plan_rows;
	}
	ReleaseCachedPlan(plan, CurrentResourceOwner);
	PopActiveSnapshot();
	return rows;
}

/*
 * Is it cheaper to read the objects again than to take every row that the
 * statement returns?  The planner is asked only where the table is large
 * enough for that.
 */
static bool
reread_is_cheaper(BulkCall *call, BulkStatement *statement, int nobjects)
{
	double		enough = Max((double) nobjects * ROWS_WORTH_OBJECT,
							 ROWS_WORTH_REREAD);
	Relation	relation = table_open(call->model->relid, AccessShareLock);
	double		rows = relation->rd_rel->reltuples;

	table_close(relation, AccessShareLock);
	return rows >= enough && expected_rows(statement) >= enough;
}

/*
 * RETURNING is always exact; reading again is so where neither a key nor an
 * object with pending changes is in the way, since it does not tell which
 * objects were matched.
 */
static BulkPlan
choose_plan(BulkCall *call, BulkStatement *statement, Session *session,
			const TableTraits *traits, Evaluation **evaluation)
{
	List	   *objects = session == NULL ||
	call->synchronize == SYNCHRONIZE_FALSE ? NIL :
	session_persistent_objects(session, call->model);
	bool		all_certain;
	bool		any_modified;
	bool		key_may_change;

	if (objects == NIL)
		return BULK_NOTHING;
	look_at_objects(objects, &all_certain, &any_modified);
	if (all_certain && call->synchronize != SYNCHRONIZE_FETCH)
	{
		*evaluation = evaluation_prepare(statement->kept, call->model, traits,
										 statement->values, statement->nulls);
		if (*evaluation != NULL)
			return BULK_EVALUATE;
	}
	key_may_change = !call->is_delete &&
		(traits->before_update ||
		 model_key_overlaps(call->model, statement->kept->set_columns));
	if (call->synchronize != SYNCHRONIZE_FETCH && !key_may_change &&
		!any_modified &&
		(call->synchronize == SYNCHRONIZE_EVALUATE ||
		 reread_is_cheaper(call, statement, list_length(objects))))
		return BULK_REREAD;
	return key_may_change ? BULK_RETURNING_OLD_KEY : BULK_RETURNING;
}

static void
check_at_most(BulkCall *call, uint64 nrows)
{
	if (call->at_most < 0 || nrows <= (uint64) call->at_most)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("%s of %s matches " UINT64_FORMAT " rows, at most " INT64_FORMAT " allowed",
					call->name, call->model->class_name, nrows,
					call->at_most)));
}

/*
 * Could triggers, cascades or functions change a row after RETURNING?  Those
 * behind a view, a rule or a foreign table are not known here.
 */
static bool
may_change_again(KeptStatement *kept, const TableTraits *traits)
{
	return traits->triggers || traits->cascades || !traits->plain ||
		kept->is_volatile;
}

static uint64
bulk_execute(BulkCall *call, Session *session, BulkStatement *statement)
{
	TableTraits traits = {0};
	Evaluation *evaluation = NULL;
	DestReceiver *receiver = None_Receiver;
	BulkPlan	plan;
	bool		returning;
	uint64		nrows;

	if (session != NULL && call->synchronize != SYNCHRONIZE_FALSE)
		table_traits_get(call->model->relid, &traits);
	plan = choose_plan(call, statement, session, &traits, &evaluation);
	returning = plan == BULK_RETURNING || plan == BULK_RETURNING_OLD_KEY;
	if (returning)
	{
		*statement = bulk_statement(call, plan);
		receiver = match_receiver_create(session, call->model,
										 !call->is_delete,
										 call->is_delete ||
										 plan == BULK_RETURNING_OLD_KEY);
	}

	nrows = own_statement_execute(statement->kept->plan, statement->values,
								  statement->nulls, receiver);
	check_at_most(call, nrows);
	if (nrows > 0)
	{
		if (returning)
			synchronize_matches(session, call->model,
								match_receiver_matches(receiver),
								statement->kept->set_columns,
								may_change_again(statement->kept, &traits));
		else if (plan == BULK_EVALUATE)
			synchronize_evaluated(session, call->model, evaluation,
								  statement->kept->set_columns,
								  call->is_delete);
		else if (plan == BULK_REREAD)
			synchronize_reread(session, call->model, call->is_delete);
		else if (session != NULL && call->synchronize == SYNCHRONIZE_FALSE)
			session_objects_left_alone(session, call->model);
		sessions_expire_written(call->model->relid, session);
	}
	if (evaluation != NULL)
		evaluation_end(evaluation);
	return nrows;
}

/* The statement without anything for the session; needs the call's model. */
static BulkStatement
bulk_prepare(BulkCall *call)
{
	if (call->document != NULL)
		call_set_changes(call);
	if (!call->is_delete && bms_is_empty(call->changed) && call->set == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has nothing to change", call->name),
				 errhint("Pass values as changes => '{...}', SQL expressions as set => '...'.")));
	return bulk_statement(call, BULK_NOTHING);
}

static uint64
bulk_run(BulkCall *call)
{
	BulkStatement statement;
	Session    *session;

	require_criteria(call);
	statement = bulk_prepare(call);
	/* nothing is written before this is known */
	if (call->synchronize == SYNCHRONIZE_EVALUATE)
		require_evaluable(statement.kept);
	session = session_current();
	session_autoflush(session);
	/* a trigger of the flush may have changed the table */
	if (statement.kept->generation != model_generation())
	{
		call->model = model_by_relid(call->model->relid, false);
		statement = bulk_prepare(call);
	}
	return bulk_execute(call, session, &statement);
}

/* ------------------------------------------------------------------------
 * SQL functions
 * ------------------------------------------------------------------------
 */
PG_FUNCTION_INFO_V1(orm_update_where);
Datum
orm_update_where(PG_FUNCTION_ARGS)
{
	BulkCall	call = {.name = "orm.update_where"};
	uint64		nrows;

	session_require_writable("orm.update_where()");
	SPI_connect();
	call.model = model_from_argument(fcinfo, 0);
	call.filter = text_argument(fcinfo, 1);
	call.document = jsonb_argument(fcinfo, 2);
	call.set = text_argument(fcinfo, 3);
	call.filter_by = jsonb_argument(fcinfo, 4);
	call.params = jsonb_argument(fcinfo, 5);
	call.synchronize = synchronize_argument(fcinfo, 6);
	call.at_most = at_most_argument(fcinfo, 7);
	nrows = bulk_run(&call);
	SPI_finish();
	PG_RETURN_INT64(nrows);
}

PG_FUNCTION_INFO_V1(orm_delete_where);
Datum
orm_delete_where(PG_FUNCTION_ARGS)
{
	BulkCall	call = {.name = "orm.delete_where",.is_delete = true};
	uint64		nrows;

	session_require_writable("orm.delete_where()");
	SPI_connect();
	call.model = model_from_argument(fcinfo, 0);
	call.filter = text_argument(fcinfo, 1);
	call.filter_by = jsonb_argument(fcinfo, 2);
	call.params = jsonb_argument(fcinfo, 3);
	call.synchronize = synchronize_argument(fcinfo, 4);
	call.at_most = at_most_argument(fcinfo, 5);
	nrows = bulk_run(&call);
	SPI_finish();
	PG_RETURN_INT64(nrows);
}
