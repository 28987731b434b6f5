/*-------------------------------------------------------------------------
 *
 * row.c
 *	  Rows of a model: made from JSON documents and column defaults, copied,
 *	  compared and laid over each other.
 *
 * The conversion of JSON values is jsonb_populate_record's, called through a
 * FmgrInfo kept per model; the defaults are the table's own expressions,
 * prepared once per model and transaction.  Both are kept in a child of
 * TopTransactionContext and made anew when metadata changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "session/internal.h"

/* What is prepared for a model in this transaction. */
typedef struct RowMakerKey
{
	Oid			relid;
	Oid			userid;			/* who may execute the functions in it */
} RowMakerKey;

typedef struct RowMaker
{
	RowMakerKey key;
	uint64		generation;		/* of the metadata it was made from */
	MemoryContext context;
	FmgrInfo	populate;		/* jsonb_populate_record of the row type */
	EState	   *estate;			/* of the defaults; NULL until wanted */
	ExprState **defaults;		/* by attribute, NULL where there is none */
} RowMaker;

static HTAB *row_makers = NULL;

/* ------------------------------------------------------------------------
 * preparation
 * ------------------------------------------------------------------------
 */

/* Everything was in TopTransactionContext, which is about to be emptied. */
void
row_xact_end(void)
{
	row_makers = NULL;
}

static void
row_maker_prepare_populate(RowMaker *maker, Model *model)
{
	MemoryContext old = MemoryContextSwitchTo(maker->context);
	Const	   *base = makeNullConst(model->rowtype, -1, InvalidOid);
	Const	   *doc = makeNullConst(JSONBOID, -1, InvalidOid);
	FuncExpr   *call = makeFuncExpr(F_JSONB_POPULATE_RECORD, model->rowtype,
									list_make2(base, doc), InvalidOid,
									InvalidOid, COERCE_EXPLICIT_CALL);

	fmgr_info_cxt(F_JSONB_POPULATE_RECORD, &maker->populate, maker->context);
	fmgr_info_set_expr((Node *) call, &maker->populate);
	MemoryContextSwitchTo(old);
}

static RowMaker *
row_maker(Model *model)
{
	RowMakerKey key = {model->relid, GetUserId()};
	RowMaker   *maker;
	bool		found;

	if (row_makers == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(RowMakerKey);
		control.entrysize = sizeof(RowMaker);
		control.hcxt = TopTransactionContext;
		row_makers = hash_create("pg_orm row makers", 16, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	maker = hash_search(row_makers, &key, HASH_ENTER, &found);
	if (found && maker->context != NULL &&
		maker->generation == model_generation())
		return maker;
	/* what was there may be in use by a default that led here: it stays */
	maker->context = NULL;
	maker->estate = NULL;
	maker->defaults = NULL;
	maker->generation = model_generation();
	maker->context = AllocSetContextCreate(TopTransactionContext,
										   "pg_orm row maker",
										   ALLOCSET_SMALL_SIZES);
	row_maker_prepare_populate(maker, model);
	return maker;
}

static void
row_maker_prepare_defaults(RowMaker *maker, Model *model)
{
	Relation	relation = table_open(model->relid, AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(relation);
	MemoryContext old = MemoryContextSwitchTo(maker->context);
	EState	   *estate = CreateExecutorState();
	ExprState **defaults = palloc0(tupdesc->natts * sizeof(ExprState *));

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		Expr	   *expression;

		if (attribute->attisdropped || attribute->attgenerated != '\0')
			continue;
		expression = (Expr *) build_column_default(relation, i + 1);
		if (expression != NULL)
			defaults[i] = ExecPrepareExpr(expression, estate);
	}
	MemoryContextSwitchTo(old);
	table_close(relation, NoLock);
	maker->defaults = defaults;
	maker->estate = estate;
}

/* ------------------------------------------------------------------------
 * documents
 * ------------------------------------------------------------------------
 */
static int
column_member(AttrNumber attnum)
{
	return attnum - FirstLowInvalidHeapAttributeNumber;
}

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
				 errhint("For an array of documents call orm.add_all.") : 0));
}

Datum
row_from_document(Model *model, Datum base, Datum doc, Bitmapset **given)
{
	RowMaker   *maker = row_maker(model);
	Jsonb	   *jsonb = DatumGetJsonbP(doc);
	LOCAL_FCINFO(fcinfo, 2);
	Datum		result;

	require_object_document(model, jsonb);
	document_columns(model, jsonb, given);

	InitFunctionCallInfoData(*fcinfo, &maker->populate, 2, InvalidOid, NULL,
							 NULL);
	fcinfo->args[0].value = base;
	fcinfo->args[0].isnull = base == (Datum) 0;
	fcinfo->args[1].value = JsonbPGetDatum(jsonb);
	fcinfo->args[1].isnull = false;
	result = FunctionCallInvoke(fcinfo);
	if (fcinfo->isnull)
		elog(ERROR, "jsonb_populate_record returned NULL");
	return result;
}

/* ------------------------------------------------------------------------
 * defaults
 * ------------------------------------------------------------------------
 */
static void
row_deform(Model *model, Datum row, Datum *values, bool *nulls)
{
	HeapTupleData tuple = row_as_tuple(row);

	heap_deform_tuple(&tuple, model->tupdesc, values, nulls);
}

/* The first version of a row, where the table has no default for it. */
static void
fill_version(Model *model, Datum *values, bool *nulls, Bitmapset **given)
{
	int			i = model->version_attnum - 1;

	if (i < 0 || bms_is_member(column_member(i + 1), *given))
		return;
	values[i] = TupleDescAttr(model->tupdesc, i)->atttypid == INT8OID ?
		Int64GetDatum(1) : Int32GetDatum(1);
	nulls[i] = false;
	*given = bms_add_member(*given, column_member(i + 1));
}

Datum
row_with_defaults(Model *model, Datum row, Bitmapset **given)
{
	RowMaker   *maker = row_maker(model);
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	ExprState **defaults;
	ExprContext *econtext;

	if (maker->estate == NULL)
		row_maker_prepare_defaults(maker, model);
	defaults = maker->defaults;
	econtext = GetPerTupleExprContext(maker->estate);
	if (row == (Datum) 0)
		memset(nulls, true, natts * sizeof(bool));
	else
		row_deform(model, row, values, nulls);
	for (int i = 0; i < natts; i++)
	{
		if (defaults[i] == NULL ||
			bms_is_member(column_member(i + 1), *given))
			continue;
		/* in our memory: a default may add another object of the model */
		values[i] = ExecEvalExpr(defaults[i], econtext, &nulls[i]);
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

/* ------------------------------------------------------------------------
 * copies, differences, overlays
 * ------------------------------------------------------------------------
 */
HeapTupleData
row_as_tuple(Datum row)
{
	HeapTupleData tuple;

	tuple.t_data = DatumGetHeapTupleHeader(row);
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	return tuple;
}

HeapTuple
row_to_tuple(Datum row)
{
	HeapTupleData tuple = row_as_tuple(row);

	return heap_copytuple(&tuple);
}

Datum
row_from_tuple(Model *model, HeapTuple tuple)
{
	return heap_copy_tuple_as_datum(tuple, model->tupdesc);
}

Bitmapset *
row_difference(Model *model, HeapTuple a, HeapTuple b, Bitmapset *among)
{
	Bitmapset  *result = NULL;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);
		Datum		value_a,
					value_b;
		bool		null_a,
					null_b;

		if (attribute->attisdropped ||
			(among != NULL && !bms_is_member(column_member(i + 1), among)))
			continue;
		value_a = heap_getattr(a, i + 1, model->tupdesc, &null_a);
		value_b = heap_getattr(b, i + 1, model->tupdesc, &null_b);
		if (null_a && null_b)
			continue;
		if (null_a != null_b ||
			!datum_image_eq(value_a, value_b, attribute->attbyval,
							attribute->attlen))
			result = bms_add_member(result, column_member(i + 1));
	}
	return result;
}

HeapTuple
row_overlay(Model *model, HeapTuple base, HeapTuple other, Bitmapset *which)
{
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));

	heap_deform_tuple(base, model->tupdesc, values, nulls);
	for (int i = 0; i < natts; i++)
	{
		if (bms_is_member(column_member(i + 1), which))
			values[i] = heap_getattr(other, i + 1, model->tupdesc, &nulls[i]);
	}
	return heap_form_tuple(model->tupdesc, values, nulls);
}

Bitmapset *
row_updatable_columns(Model *model)
{
	Bitmapset  *result = NULL;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);

		if (!attribute->attisdropped && attribute->attgenerated == '\0' &&
			attribute->attidentity != ATTRIBUTE_IDENTITY_ALWAYS)
			result = bms_add_member(result, column_member(i + 1));
	}
	for (int i = 0; i < model->nkeys; i++)
		result = bms_del_member(result, column_member(model->keys[i].attnum));
	if (model->version_attnum != InvalidAttrNumber)
		result = bms_del_member(result, column_member(model->version_attnum));
	return result;
}

HeapTuple
row_of_slot(Model *model, TupleTableSlot *slot, int nextra)
{
	TupleDesc	tupdesc = model->tupdesc;
	HeapTuple	row;

	slot_getallattrs(slot);
	if (nextra == 0 && slot->tts_tupleDescriptor->natts == tupdesc->natts)
		row = ExecCopySlotHeapTuple(slot);
	else
	{
		/* table.* leaves dropped columns out */
		Datum	   *values = palloc0(tupdesc->natts * sizeof(Datum));
		bool	   *nulls = palloc(tupdesc->natts * sizeof(bool));
		int			from = 0;

		for (int i = 0; i < tupdesc->natts; i++)
		{
			nulls[i] = true;
			if (TupleDescAttr(tupdesc, i)->attisdropped)
				continue;
			values[i] = slot->tts_values[from];
			nulls[i] = slot->tts_isnull[from++];
		}
		row = heap_form_tuple(tupdesc, values, nulls);
	}
	if (HeapTupleHasExternal(row))
		row = toast_flatten_tuple(row, tupdesc);
	return row;
}

Datum
row_of_key(Model *model, const Datum *key)
{
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc0(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));

	memset(nulls, true, natts * sizeof(bool));
	for (int i = 0; i < model->nkeys; i++)
	{
		values[model->keys[i].attnum - 1] = key[i];
		nulls[model->keys[i].attnum - 1] = false;
	}
	return row_from_tuple(model, heap_form_tuple(model->tupdesc, values,
												 nulls));
}

/* ------------------------------------------------------------------------
 * single columns
 * ------------------------------------------------------------------------
 */
Datum
row_column(Model *model, Datum row, AttrNumber attnum, bool *isnull)
{
	HeapTupleData tuple = row_as_tuple(row);

	return heap_getattr(&tuple, attnum, model->tupdesc, isnull);
}

Datum
row_with_columns(Model *model, Datum row, int n, const AttrNumber *attnums,
				 const Datum *values, const bool *nulls)
{
	int			natts = model->tupdesc->natts;
	Datum	   *row_values = palloc(natts * sizeof(Datum));
	bool	   *row_nulls = palloc(natts * sizeof(bool));

	row_deform(model, row, row_values, row_nulls);
	for (int i = 0; i < n; i++)
	{
		row_values[attnums[i] - 1] = values[i];
		row_nulls[attnums[i] - 1] = nulls[i];
	}
	return row_from_tuple(model, heap_form_tuple(model->tupdesc, row_values,
												 row_nulls));
}

Bitmapset *
column_set(int n, const AttrNumber *attnums)
{
	Bitmapset  *result = NULL;

	for (int i = 0; i < n; i++)
		result = bms_add_member(result, column_member(attnums[i]));
	return result;
}

Datum
convert_value(Datum value, Oid from, Oid to, int32 typmod)
{
	Oid			output,
				input,
				io_param;
	bool		is_varlena;

	if (from == to)
		return value;
	getTypeOutputInfo(from, &output, &is_varlena);
	getTypeInputInfo(to, &input, &io_param);
	return OidInputFunctionCall(input, OidOutputFunctionCall(output, value),
								io_param, typmod);
}

bool
column_values_equal(Model *a_model, AttrNumber a_attnum, Datum a,
					Model *b_model, AttrNumber b_attnum, Datum b)
{
	Form_pg_attribute a_column = TupleDescAttr(a_model->tupdesc, a_attnum - 1);
	Form_pg_attribute b_column = TupleDescAttr(b_model->tupdesc, b_attnum - 1);
	Oid			operator = types_equality_required(a_column->atttypid,
												   b_column->atttypid);

	return DatumGetBool(OidFunctionCall2Coll(get_opcode(operator),
											 a_column->attcollation, a, b));
}

/* ------------------------------------------------------------------------
 * versions of rows
 * ------------------------------------------------------------------------
 */

/* A view has no xmin, and that of a foreign table says nothing. */
bool
model_has_xmin(Model *model)
{
	return model->relkind == RELKIND_RELATION ||
		model->relkind == RELKIND_PARTITIONED_TABLE;
}

char *
session_select_list(Model *model, const char *alias)
{
	if (model_has_xmin(model))
		return psprintf("%s.*, %s.xmin", alias, alias);
	return psprintf("%s.*", alias);
}

int64
row_version_number(Model *model, HeapTuple row)
{
	bool		isnull;
	Datum		value;
	Oid			typid;

	if (model->version_attnum == InvalidAttrNumber)
		return -1;
	value = heap_getattr(row, model->version_attnum, model->tupdesc, &isnull);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("version column %s of %s is NULL",
						column_sql(model, model->version_attnum),
						model->class_name)));
	typid = TupleDescAttr(model->tupdesc, model->version_attnum - 1)->atttypid;
	switch (typid)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return DatumGetInt64(value);
		default:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("version column %s of %s is not an integer",
							column_sql(model, model->version_attnum),
							model->class_name)));
	}
}

HeapTuple
row_of_loaded_slot(Model *model, TupleTableSlot *slot, TransactionId *xmin)
{
	bool		with_xmin = model_has_xmin(model);

	slot_getallattrs(slot);
	*xmin = with_xmin ?
		DatumGetTransactionId(slot->tts_values[slot->tts_nvalid - 1]) :
		InvalidTransactionId;
	return row_of_slot(model, slot, with_xmin ? 1 : 0);
}
