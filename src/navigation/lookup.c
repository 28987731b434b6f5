/*-------------------------------------------------------------------------
 *
 * lookup.c
 *	  Reading rows of a model by primary key through the planner and the
 *	  executor: any relation that they can read will do, and grants and row
 *	  security apply.
 *
 * Each model has up to two kept plans: one row by key, and all rows.  They
 * live as long as the backend and are looked at again when the metadata
 * changed; one whose text is not right any more is replaced.  The old one may
 * be running just now (a policy may navigate, too), so it is freed in a later
 * transaction only.
 *
 * Plans are executed read-only, that is under the active snapshot, whose
 * command id says what the calling query sees.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "optimizer/clauses.h"
#include "parser/parsetree.h"
#include "storage/proc.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "compat.h"
#include "model/snapshot.h"
#include "navigation/lookup.h"

/* The columns that are looked for: the key of the hash table. */
typedef struct LookupKey
{
	Oid			relid;
	int32		nkeys;
	AttrNumber	attnums[INDEX_MAX_KEYS];
} LookupKey;

struct Lookup
{
	LookupKey	key;			/* must be first */
	uint64		generation;		/* for which the texts were compared */
	int			nkeys;
	Oid			types[INDEX_MAX_KEYS];
	char	   *row_text;
	char	   *all_text;
	SPIPlanPtr	row_plan;
	SPIPlanPtr	all_plan;		/* made when first wanted */
};

static HTAB *lookups = NULL;
static MemoryContext lookup_context = NULL;

/* Plans that were replaced, and the transaction that did so. */
static List *old_plans = NIL;
static LocalTransactionId old_plans_lxid;

/* ------------------------------------------------------------------------
 * texts
 * ------------------------------------------------------------------------
 */

/* A cast to what the operator takes, where that is another type. */
static void
append_cast(StringInfo buf, Oid typid, Oid operator_input)
{
	if (typid != operator_input &&
		get_typtype(operator_input) != TYPTYPE_PSEUDO)
		appendStringInfo(buf, "::%s",
						 format_type_extended(operator_input, -1,
											  FORMAT_TYPE_FORCE_QUALIFY));
}

/* An alias that means the row, since no column has that name. */
static char *
row_alias(Model *model)
{
	char	   *alias = pstrdup("t");

	for (int n = 1; model_attnum(model, alias, true) != InvalidAttrNumber; n++)
		alias = psprintf("t%d", n);
	return alias;
}

/* "SELECT t FROM public.hobby t WHERE t.id OPERATOR(pg_catalog.=) $1" */
static char *
row_text(Model *model)
{
	char	   *t = row_alias(model);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "/* pg_orm to_one %s */ "
					 "SELECT %s FROM %s %s WHERE ",
					 model->class_name, t, model->relation_name, t);
	for (int i = 0; i < model->nkeys; i++)
	{
		ModelKeyColumn *key = &model->keys[i];
		Oid			left,
					right;

		op_input_types(key->eq_operator, &left, &right);
		appendStringInfo(&buf, "%s%s.%s", i > 0 ? " AND " : "", t,
						 column_sql(model, key->attnum));
		append_cast(&buf, key->typid, left);
		appendStringInfo(&buf, " %s $%d", operator_sql(key->eq_operator),
						 i + 1);
		append_cast(&buf, key->typid, right);
	}
	return buf.data;
}

/* "SELECT t.id, t FROM public.hobby t" */
static char *
all_text(Model *model)
{
	char	   *t = row_alias(model);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "/* pg_orm to_one %s */ SELECT ",
					 model->class_name);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&buf, "%s.%s, ", t,
						 column_sql(model, model->keys[i].attnum));
	appendStringInfo(&buf, "%s FROM %s %s", t, model->relation_name, t);
	return buf.data;
}

/* A comment in generated SQL must not end early. */
static void
harmless_comment(char *text)
{
	/* only the class name between the first marks can do harm */
	char	   *end = strstr(text, " */ SELECT ");
	char	   *p;

	for (p = text + 2; p < end; p++)
	{
		if (*p == '/' || *p == '*')
			*p = '_';
	}
}

/* ------------------------------------------------------------------------
 * plans
 * ------------------------------------------------------------------------
 */
static SPIPlanPtr
prepare(const char *text, int nargs, Oid *types)
{
	SPIPlanPtr	plan;

	SPI_connect();
	plan = SPI_prepare_cursor(text, nargs, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	SPI_finish();
	return plan;
}

static void
free_old_plans(void)
{
	ListCell   *lc;

	if (old_plans == NIL || old_plans_lxid == compat_my_lxid())
		return;
	foreach(lc, old_plans)
		SPI_freeplan(lfirst(lc));
	list_free(old_plans);
	old_plans = NIL;
}

static void
retire(SPIPlanPtr plan)
{
	MemoryContext old;

	if (plan == NULL)
		return;
	old = MemoryContextSwitchTo(lookup_context);
	old_plans = lappend(old_plans, plan);
	old_plans_lxid = compat_my_lxid();
	MemoryContextSwitchTo(old);
}

static Lookup *
find_lookup(Model *model)
{
	LookupKey	key;
	bool		found;
	Lookup	   *lookup;

	if (lookups == NULL)
	{
		HASHCTL		ctl = {0};

		lookup_context = AllocSetContextCreate(CacheMemoryContext,
											   "pg_orm to_one plans",
											   ALLOCSET_DEFAULT_SIZES);
		ctl.keysize = sizeof(LookupKey);
		ctl.entrysize = sizeof(Lookup);
		ctl.hcxt = lookup_context;
		lookups = hash_create("pg_orm to_one plans", 32, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	memset(&key, 0, sizeof(key));
	key.relid = model->relid;
	key.nkeys = model->nkeys;
	for (int i = 0; i < model->nkeys; i++)
		key.attnums[i] = model->keys[i].attnum;
	lookup = hash_search(lookups, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) lookup + sizeof(LookupKey), 0,
			   sizeof(Lookup) - sizeof(LookupKey));
	return lookup;
}

/* Keeps a copy of text; returns whether it is another one than before. */
static bool
keep_text(char **kept, char *text)
{
	harmless_comment(text);
	if (*kept != NULL && strcmp(*kept, text) == 0)
		return false;
	if (*kept != NULL)
		pfree(*kept);
	*kept = NULL;
	*kept = MemoryContextStrdup(lookup_context, text);
	return true;
}

/* Brings texts and types up to date and retires plans of others. */
static void
renew(Lookup *lookup, Model *model)
{
	bool		changed = lookup->nkeys != model->nkeys;

	for (int i = 0; i < model->nkeys; i++)
	{
		if (lookup->types[i] != model->keys[i].typid)
			changed = true;
		lookup->types[i] = model->keys[i].typid;
	}
	lookup->nkeys = model->nkeys;
	if (keep_text(&lookup->row_text, row_text(model)))
		changed = true;
	if (keep_text(&lookup->all_text, all_text(model)))
		changed = true;
	if (changed)
	{
		retire(lookup->row_plan);
		lookup->row_plan = NULL;
		retire(lookup->all_plan);
		lookup->all_plan = NULL;
	}
	lookup->generation = model_generation();
}

Lookup *
lookup_prepare(Model *model)
{
	Lookup	   *lookup = find_lookup(model);

	free_old_plans();
	if (model->nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("class \"%s\" has no primary key",
						model->class_name)));
	if (lookup->row_plan == NULL ||
		lookup->generation != model_generation())
		renew(lookup, model);
	if (lookup->row_plan == NULL)
		lookup->row_plan = prepare(lookup->row_text, lookup->nkeys,
								   lookup->types);
	return lookup;
}

CachedPlan *
lookup_cached_plan(Lookup *lookup)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(lookup->row_plan);

	plan_check_snapshot(lookup->row_plan);
	return cached;
}

/* ------------------------------------------------------------------------
 * executing
 * ------------------------------------------------------------------------
 */
typedef struct RowReceiver
{
	DestReceiver pub;
	MemoryContext context;		/* where the row is to be */
	HeapTupleHeader row;		/* the first row, or NULL */
} RowReceiver;

typedef struct AllReceiver
{
	DestReceiver pub;
	int			nkeys;
	LookupTake	take;
	void	   *arg;
} AllReceiver;

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
receiver_end(DestReceiver *self)
{
}

/*
 * The executor has built the row, with whatever its own tuple descriptor
 * says and nothing toasted outside; it is copied as it is.
 */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	bool		isnull;
	Datum		row = slot_getattr(slot, 1, &isnull);
	MemoryContext old;

	if (!isnull)
	{
		old = MemoryContextSwitchTo(receiver->context);
		receiver->row = DatumGetHeapTupleHeader(datumCopy(row, false, -1));
		MemoryContextSwitchTo(old);
	}
	return false;
}

static bool
receive_all(TupleTableSlot *slot, DestReceiver *self)
{
	AllReceiver *receiver = (AllReceiver *) self;
	Datum		values[INDEX_MAX_KEYS];
	Datum		row;
	HeapTupleHeader header;
	bool		isnull;

	for (int i = 0; i < receiver->nkeys; i++)
	{
		values[i] = slot_getattr(slot, i + 1, &isnull);
		if (isnull)
			return true;
	}
	row = slot_getattr(slot, receiver->nkeys + 1, &isnull);
	if (isnull)
		return true;
	header = DatumGetHeapTupleHeader(row);
	return receiver->take(values, header,
						  HeapTupleHeaderGetDatumLength(header),
						  receiver->arg) != NULL;
}

static void
execute(SPIPlanPtr plan, ParamListInfo params, uint64 limit,
		DestReceiver *receiver)
{
	SPIExecuteOptions options = {0};
	int			result;

	options.params = params;
	options.read_only = true;
	options.tcount = limit;
	options.dest = receiver;
	result = SPI_execute_plan_extended(plan, &options);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s",
			 SPI_result_code_string(result));
}

static DestReceiver
make_receiver(bool (*receive) (TupleTableSlot *, DestReceiver *))
{
	DestReceiver receiver = {
		receive, receiver_startup, receiver_end, receiver_end, DestNone
	};

	return receiver;
}

HeapTupleHeader
lookup_row(Lookup *lookup, const Datum *values)
{
	RowReceiver receiver = {make_receiver(receive_row), CurrentMemoryContext};
	ParamListInfo params;

	SPI_connect();
	params = makeParamList(lookup->nkeys);
	for (int i = 0; i < lookup->nkeys; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = lookup->types[i];
	}
	execute(lookup->row_plan, params, 1, &receiver.pub);
	plan_check_snapshot(lookup->row_plan);
	SPI_finish();
	return receiver.row;
}

/* By hand, if the plan allows it. */
static bool
scan_all(Lookup *lookup, Model *model, Snapshot snapshot, LookupTake take,
		 void *arg)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(lookup->all_plan);
	bool		done = false;

	if (cached == NULL)
		return false;
	if (list_length(cached->stmt_list) == 1)
		done = table_scan_all(linitial_node(PlannedStmt, cached->stmt_list),
							  model, snapshot, take, arg);
	ReleaseCachedPlan(cached, CurrentResourceOwner);
	return done;
}

void
lookup_all(Lookup *lookup, Model *model, Snapshot snapshot, LookupTake take,
		   void *arg)
{
	AllReceiver receiver = {make_receiver(receive_all), lookup->nkeys, take,
	arg};

	SPI_connect();
	if (!scan_all(lookup, model, snapshot, take, arg))
		execute(lookup->all_plan, NULL, 0, &receiver.pub);
	SPI_finish();
}

/* ------------------------------------------------------------------------
 * can all rows be read without harm
 * ------------------------------------------------------------------------
 */
static bool is_harmless_list(List *plans);

static bool
has_leaky_result(List *targetlist)
{
	ListCell   *lc;

	foreach(lc, targetlist)
	{
		if (contain_leaked_vars((Node *) lfirst_node(TargetEntry, lc)->expr))
			return true;
	}
	return false;
}

/*
 * Only scans of tables, whose expressions do not let a row's values reach a
 * function that could raise an error or tell somebody: what the planner asks
 * for security barriers is exactly what we need to know, too.
 */
static bool
is_harmless(Plan *plan)
{
	if (plan == NULL)
		return true;
	if (plan->initPlan != NIL ||
		contain_leaked_vars((Node *) plan->qual) ||
		has_leaky_result(plan->targetlist))
		return false;
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_ForeignScan:
			return true;
		case T_SubqueryScan:
			return is_harmless(((SubqueryScan *) plan)->subplan);
		case T_Append:
			return is_harmless_list(((Append *) plan)->appendplans);
		default:
			return false;
	}
}

static bool
is_harmless_list(List *plans)
{
	ListCell   *lc;

	foreach(lc, plans)
	{
		if (!is_harmless(lfirst(lc)))
			return false;
	}
	return true;
}

bool
lookup_all_estimate(Lookup *lookup, double *rows, int *width)
{
	CachedPlan *cached;
	bool		harmless = false;

	if (lookup->all_plan == NULL)
		lookup->all_plan = prepare(lookup->all_text, 0, NULL);

	SPI_connect();
	cached = SPI_plan_get_cached_plan(lookup->all_plan);
	if (cached != NULL && list_length(cached->stmt_list) == 1)
	{
		PlannedStmt *stmt = linitial_node(PlannedStmt, cached->stmt_list);

		harmless = stmt->commandType == CMD_SELECT &&
			stmt->subplans == NIL && is_harmless(stmt->planTree);
		*rows = harmless ? stmt->planTree->plan_rows : 0;
		*width = harmless ? stmt->planTree->plan_width : 0;
	}
	if (cached != NULL)
		ReleaseCachedPlan(cached, CurrentResourceOwner);
	SPI_finish();
	return harmless;
}
