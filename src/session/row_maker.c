/*-------------------------------------------------------------------------
 *
 * row_maker.c
 *	  New rows of a model, from JSON documents and column defaults.
 *
 * The conversion of JSON values is jsonb_populate_record's, called through a
 * FmgrInfo; the defaults are the table's own expressions.  These are kept per
 * model and user until metadata changes; what is made to call functions lasts
 * for a transaction, since that is what such functions may rely on, but where
 * defaults are as simple as a sequence's next value.  Plain documents take a
 * shorter way: see row_draft.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "session/row_maker.h"

/* Of so many users and models; beyond it all are dropped between two
 * transactions. */
#define ROW_MAKERS_MAX 500

static HTAB *row_makers = NULL;
static MemoryContext row_makers_context = NULL;
static RowMaker *last_maker = NULL; /* of them, or NULL */

/* Moves when functions are altered, or the right to execute them is. */
static uint64 functions_generation = 0;

/* ------------------------------------------------------------------------
 * preparation
 * ------------------------------------------------------------------------
 */
static void
row_makers_create(void)
{
	HASHCTL		control = {0};

	row_makers_context = AllocSetContextCreate(CacheMemoryContext,
											   "pg_orm row makers",
											   ALLOCSET_SMALL_SIZES);
	control.keysize = sizeof(RowMakerKey);
	control.entrysize = sizeof(RowMaker);
	control.hcxt = row_makers_context;
	row_makers = hash_create("pg_orm row makers", 16, &control,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
row_xact_end(void)
{
	if (row_makers == NULL ||
		hash_get_num_entries(row_makers) <= ROW_MAKERS_MAX)
		return;
	MemoryContextDelete(row_makers_context);
	row_makers = NULL;
	last_maker = NULL;
}

static void
functions_invalidate(Datum arg, int cacheid, uint32 hashvalue)
{
	functions_generation++;
}

void
row_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, functions_invalidate, (Datum) 0);
}

static bool
has_domains(Model *model)
{
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);

		if (!attribute->attisdropped &&
			get_typtype(attribute->atttypid) == TYPTYPE_DOMAIN)
			return true;
	}
	return false;
}

/* What is there already may be in use by a default that led here: it stays. */
static void
row_maker_prepare(RowMaker *maker, Model *model)
{
	if (maker->context != NULL)
		MemoryContextSetParent(maker->context, TopTransactionContext);
	memset((char *) maker + sizeof(RowMakerKey), 0,
		   sizeof(RowMaker) - sizeof(RowMakerKey));
	maker->has_domains = has_domains(model);
	maker->generation = model_generation();
	maker->lxid = compat_my_lxid();
	maker->context = AllocSetContextCreate(row_makers_context,
										   "pg_orm row maker",
										   ALLOCSET_SMALL_SIZES);
}

/* Is it the one of the model, and not from before a change? */
static bool
is_maker_of(RowMaker *maker, Model *model)
{
	return maker != NULL && maker->key.relid == model->relid &&
		maker->key.userid == GetUserId() && maker->context != NULL &&
		maker->generation == model_generation() &&
		(!maker->lasting || maker->functions == functions_generation) &&
		(!maker->has_domains || maker->lxid == compat_my_lxid());
}

/* The first use in a transaction: the last one's memory is gone. */
static RowMaker *
row_maker_use(RowMaker *maker)
{
	if (maker->lxid != compat_my_lxid())
	{
		maker->lxid = compat_my_lxid();
		maker->populate = NULL;
		if (!maker->lasting)
		{
			maker->estate = NULL;
			maker->states = NULL;
		}
	}
	return last_maker = maker;
}

RowMaker *
row_maker(Model *model)
{
	RowMakerKey key = {model->relid, GetUserId()};
	RowMaker   *maker;
	bool		found;

	if (is_maker_of(last_maker, model))
		return row_maker_use(last_maker);
	if (row_makers == NULL)
		row_makers_create();
	maker = hash_search(row_makers, &key, HASH_ENTER, &found);
	if (!found)
		maker->context = NULL;
	if (!is_maker_of(maker, model))
		row_maker_prepare(maker, model);
	return row_maker_use(maker);
}

static FmgrInfo *
row_maker_populate(RowMaker *maker, Model *model)
{
	MemoryContext old;
	Const	   *base,
			   *doc;
	FuncExpr   *call;
	FmgrInfo   *populate;

	if (maker->populate != NULL)
		return maker->populate;
	old = MemoryContextSwitchTo(TopTransactionContext);
	base = makeNullConst(model->rowtype, -1, InvalidOid);
	doc = makeNullConst(JSONBOID, -1, InvalidOid);
	call = makeFuncExpr(F_JSONB_POPULATE_RECORD, model->rowtype,
						list_make2(base, doc), InvalidOid,
						InvalidOid, COERCE_EXPLICIT_CALL);
	populate = palloc(sizeof(FmgrInfo));
	fmgr_info_cxt(F_JSONB_POPULATE_RECORD, populate, TopTransactionContext);
	fmgr_info_set_expr((Node *) call, populate);
	MemoryContextSwitchTo(old);
	return maker->populate = populate;
}

static bool
is_no_builtin(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/* Does an expression call anything that may rely on how long it lives? */
static bool
is_delicate(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Const:
		case T_NextValueExpr:
		case T_SQLValueFunction:
			return false;
		case T_List:
		case T_FuncExpr:
		case T_OpExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
			return check_functions_in_node(node, is_no_builtin, NULL) ||
				expression_tree_walker(node, is_delicate, NULL);
		default:
			return true;
	}
}

void
row_maker_need_defaults(RowMaker *maker, Model *model)
{
	Relation	relation;
	TupleDesc	tupdesc;
	MemoryContext old;
	Expr	  **defaults;
	bool		lasting = !maker->has_domains;

	if (maker->defaults != NULL)
		return;
	relation = table_open(model->relid, AccessShareLock);
	tupdesc = RelationGetDescr(relation);
	old = MemoryContextSwitchTo(maker->context);
	defaults = palloc0(tupdesc->natts * sizeof(Expr *));
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (!attribute->attisdropped && attribute->attgenerated == '\0')
			defaults[i] = (Expr *) build_column_default(relation, i + 1);
		lasting = lasting && !is_delicate((Node *) defaults[i], NULL);
	}
	MemoryContextSwitchTo(old);
	table_close(relation, NoLock);
	maker->defaults = defaults;
	maker->lasting = lasting;
	maker->functions = functions_generation;
}

void
row_maker_need_state(RowMaker *maker, Model *model, int attribute)
{
	MemoryContext old = MemoryContextSwitchTo(maker->lasting ? maker->context :
											  TopTransactionContext);

	if (maker->estate == NULL)
		maker->estate = CreateExecutorState();
	if (maker->states == NULL)
		maker->states = palloc0(model->tupdesc->natts * sizeof(ExprState *));
	if (maker->defaults[attribute] != NULL && maker->states[attribute] == NULL)
		maker->states[attribute] =
			ExecPrepareExpr(maker->defaults[attribute], maker->estate);
	MemoryContextSwitchTo(old);
}

/* ------------------------------------------------------------------------
 * documents
 * ------------------------------------------------------------------------
 */
static bool
is_relationship(Model *model, const char *name)
{
	return model_relationship(model, name, true) != NULL;
}

static void
report_generated(Model *model, Form_pg_attribute attribute)
{
	ereport(ERROR,
			(errcode(ERRCODE_GENERATED_ALWAYS),
			 errmsg("column \"%s\" of %s is generated and cannot be given",
					NameStr(attribute->attname), model->class_name)));
}

static void
require_plain_column(Model *model, AttrNumber attnum)
{
	Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, attnum - 1);

	if (attribute->attgenerated != '\0')
		report_generated(model, attribute);
}

/* Nobody can set what is GENERATED ALWAYS AS IDENTITY. */
void
row_require_settable(Model *model, Bitmapset *given)
{
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);

		if (attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS &&
			bms_is_member(column_member(i + 1), given))
			report_generated(model, attribute);
	}
}

/* Adds the columns that a document names; what is no column is an error. */
static void
document_columns(Model *model, Jsonb *doc, Bitmapset **given)
{
	JsonbIterator *iterator = JsonbIteratorInit(&doc->root);
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *name;
		AttrNumber	attnum;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		attnum = model_attnum(model, name, true);
		if (attnum == InvalidAttrNumber && is_relationship(model, name))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("\"%s\" of %s is a relationship, not a column",
							name, model->class_name),
					 errhint("Name the foreign key column.")));
		if (attnum == InvalidAttrNumber)
			(void) model_attnum(model, name, false);
		require_plain_column(model, attnum);
		*given = bms_add_member(*given, column_member(attnum));
		pfree(name);
	}
}

void
require_object_document(Model *model, Jsonb *doc)
{
	if (!JB_ROOT_IS_OBJECT(doc))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a document of %s must be a JSON object",
						model->class_name),
				 JB_ROOT_IS_ARRAY(doc) && !JB_ROOT_IS_SCALAR(doc) ?
				 errhint("An array of documents is for orm.add_all.") : 0));
}

static Datum
populate_record(Model *model, Datum base, Jsonb *doc)
{
	FmgrInfo   *populate = row_maker_populate(row_maker(model), model);
	LOCAL_FCINFO(fcinfo, 2);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, populate, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = base;
	fcinfo->args[0].isnull = base == (Datum) 0;
	fcinfo->args[1].value = JsonbPGetDatum(doc);
	fcinfo->args[1].isnull = false;
	result = FunctionCallInvoke(fcinfo);
	if (fcinfo->isnull)
		elog(ERROR, "jsonb_populate_record returned NULL");
	return result;
}

Datum
row_from_document(Model *model, Datum base, Datum doc, Bitmapset **given)
{
	Jsonb	   *jsonb = DatumGetJsonbP(doc);
	Datum		row;

	require_object_document(model, jsonb);
	if (row_from_plain_document(model, base, &jsonb->root, &row, given))
		return row;
	document_columns(model, jsonb, given);
	return populate_record(model, base, jsonb);
}

/* ------------------------------------------------------------------------
 * defaults
 * ------------------------------------------------------------------------
 */
bool
row_first_version(Model *model, Datum *version)
{
	int			i = model->version_attnum - 1;

	if (i < 0)
		return false;
	*version = datum_of_integer(1, TupleDescAttr(model->tupdesc, i)->atttypid);
	return true;
}

/* The first version of a row, where the table has no default for it. */
static void
fill_version(Model *model, Datum *values, bool *nulls, Bitmapset **given)
{
	Datum		version;

	if (!row_first_version(model, &version) ||
		bms_is_member(column_member(model->version_attnum), *given))
		return;
	values[model->version_attnum - 1] = version;
	nulls[model->version_attnum - 1] = false;
	*given = bms_add_member(*given, column_member(model->version_attnum));
}

Datum
row_with_defaults(Model *model, Datum row, Bitmapset **given)
{
	RowMaker   *maker = row_maker(model);
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	ExprState **states;
	ExprContext *econtext;

	row_maker_need_defaults(maker, model);
	for (int i = 0; i < natts; i++)
		row_maker_need_state(maker, model, i);
	/* the maker may be made anew in what follows; what it had stays */
	states = maker->states;
	econtext = GetPerTupleExprContext(maker->estate);
	if (row == (Datum) 0)
		memset(nulls, true, natts * sizeof(bool));
	else
		row_deform(model, row, values, nulls);
	for (int i = 0; i < natts; i++)
	{
		if (states[i] == NULL ||
			bms_is_member(column_member(i + 1), *given))
			continue;
		/* in our memory: a default may add another object of the model */
		values[i] = ExecEvalExpr(states[i], econtext, &nulls[i]);
		*given = bms_add_member(*given, column_member(i + 1));
	}
	fill_version(model, values, nulls, given);
	return HeapTupleGetDatum(heap_form_tuple(model->tupdesc, values, nulls));
}

/* The columns of a row that are not NULL: a NULL takes the default. */
Bitmapset *
row_columns_given(Model *model, Datum row)
{
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	Bitmapset  *given = NULL;

	row_deform(model, row, values, nulls);
	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);

		if (attribute->attisdropped || attribute->attgenerated != '\0')
			continue;
		if (!nulls[i])
			given = bms_add_member(given, column_member(i + 1));
	}
	return given;
}
