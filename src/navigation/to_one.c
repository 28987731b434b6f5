/*-------------------------------------------------------------------------
 *
 * to_one.c
 *	  orm.to_one: the object that a foreign key refers to; orm.to_one_by: the
 *	  object that other columns lead to.
 *
 * In a query the rows come from the query's memo (memo.c); elsewhere, as in
 * an expression of PL/pgSQL, each call looks its row up, since nothing tells
 * it what happened since the last one.
 *
 * What a call site knows (model, conversion of the arguments) lives in
 * fn_mcxt and is made anew in another transaction or when the metadata
 * changed.  Reading is done under the active snapshot, as the present user.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "compat.h"
#include "navigation/internal.h"
#include "navigation/lookup.h"
#include "navigation/memo.h"

/* fn_extra */
typedef struct CallSite
{
	MemoryContext context;
	int			first;			/* argument where the key begins */
	LocalTransactionId lxid;
	uint64		generation;
	Model	   *model;
	Oid			integer_argument;	/* its type, if key and it are integers */
	int64		smallest;		/* range of the key's type */
	int64		largest;
	KeyArguments *arguments;	/* otherwise */
	bool		memo_tried;
	Memo	   *memo;
} CallSite;

static void
integer_range(Oid typid, int64 *smallest, int64 *largest)
{
	switch (typid)
	{
		case INT2OID:
			*smallest = PG_INT16_MIN;
			*largest = PG_INT16_MAX;
			break;
		case INT4OID:
			*smallest = PG_INT32_MIN;
			*largest = PG_INT32_MAX;
			break;
		default:
			*smallest = PG_INT64_MIN;
			*largest = PG_INT64_MAX;
			break;
	}
}

/* The type of the key argument, if it and the key are single integers. */
static Oid
integer_argument(FunctionCallInfo fcinfo, int first, Model *model)
{
	Oid			typid;

	if (!model_has_integer_key(model) || PG_NARGS() != first + 1 ||
		get_fn_expr_variadic(fcinfo->flinfo))
		return InvalidOid;
	typid = getBaseType(get_fn_expr_argtype(fcinfo->flinfo, first));
	return is_integer_type(typid) ? typid : InvalidOid;
}

/* ------------------------------------------------------------------------
 * other columns in the key's place
 * ------------------------------------------------------------------------
 */
static void
fill_key_column(ModelKeyColumn *key, Model *model, const char *name,
				MemoryContext context)
{
	Form_pg_attribute att;
	TypeCacheEntry *type;

	key->attnum = model_attnum(model, name, false);
	att = TupleDescAttr(model->tupdesc, key->attnum - 1);
	key->typid = att->atttypid;
	key->typmod = att->atttypmod;
	key->collation = att->attcollation;
	key->typlen = att->attlen;
	key->typbyval = att->attbyval;
	type = lookup_type_cache(getBaseType(att->atttypid),
							 TYPECACHE_EQ_OPR_FINFO |
							 TYPECACHE_HASH_PROC_FINFO);
	if (!OidIsValid(type->eq_opr))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify an equality operator for type %s",
						format_type_be(att->atttypid))));
	key->eq_operator = type->eq_opr;
	fmgr_info_copy(&key->equal, &type->eq_opr_finfo, context);
	if (OidIsValid(type->hash_proc))
		fmgr_info_copy(&key->hash, &type->hash_proc_finfo, context);
}

/* The model as if the columns, a name[], were its key. */
static Model *
model_by_columns(Model *model, Datum columns, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Model	   *result = palloc(sizeof(Model));
	Datum	   *names;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(columns), NAMEOID, NAMEDATALEN,
					  false, TYPALIGN_CHAR, &names, &nulls, &n);
	if (n == 0 || n > INDEX_MAX_KEYS ||
		array_contains_nulls(DatumGetArrayTypeP(columns)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns must have from 1 to %d names",
						INDEX_MAX_KEYS)));
	*result = *model;
	result->nkeys = n;
	result->keys = palloc0(sizeof(ModelKeyColumn) * n);
	for (int i = 0; i < n; i++)
		fill_key_column(&result->keys[i], model,
						NameStr(*DatumGetName(names[i])), context);
	MemoryContextSwitchTo(old);
	return result;
}

/* The columns of orm.to_one_by must not change from call to call. */
static Datum
columns_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1) || !get_fn_expr_arg_stable(fcinfo->flinfo, 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns must be a constant")));
	return PG_GETARG_DATUM(1);
}

/* ------------------------------------------------------------------------
 * call sites
 * ------------------------------------------------------------------------
 */
static CallSite *
make_call_site(FunctionCallInfo fcinfo, int first)
{
	Model	   *model = model_from_argument(fcinfo, 0);
	MemoryContext context;
	CallSite   *site;

	context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt,
									"pg_orm to_one call",
									ALLOCSET_SMALL_SIZES);
	site = MemoryContextAllocZero(context, sizeof(CallSite));
	if (first > 1)
		model = model_by_columns(model, columns_argument(fcinfo), context);
	site->context = context;
	site->first = first;
	site->lxid = compat_my_lxid();
	site->generation = model_generation();
	site->model = model;
	site->integer_argument = integer_argument(fcinfo, first, model);
	if (OidIsValid(site->integer_argument))
		integer_range(model->keys[0].typid, &site->smallest, &site->largest);
	else
		site->arguments = key_arguments_prepare(fcinfo, first, model,
												context);
	return site;
}

static inline CallSite *
call_site(FunctionCallInfo fcinfo, int first)
{
	CallSite   *site = fcinfo->flinfo->fn_extra;

	if (likely(site != NULL && site->lxid == compat_my_lxid() &&
			   site->generation == model_generation()))
		return site;
	fcinfo->flinfo->fn_extra = NULL;
	if (site != NULL)
		MemoryContextDelete(site->context);
	site = make_call_site(fcinfo, first);
	fcinfo->flinfo->fn_extra = site;
	return site;
}

/*
 * The query's memo, or NULL.  A snapshot that is not registered belongs to
 * no query.
 */
static inline Memo *
call_memo(FunctionCallInfo fcinfo, CallSite *site, Snapshot snapshot)
{
	if (snapshot->regd_count == 0 ||
		snapshot->snapshot_type != SNAPSHOT_MVCC)
		return NULL;
	if (unlikely(!site->memo_tried))
	{
		site->memo = memo_of_query(fcinfo->flinfo->fn_mcxt, site->model);
		site->memo_tried = true;
	}
	return site->memo;
}

static Datum
result(FunctionCallInfo fcinfo, HeapTupleHeader row)
{
	if (row == NULL)
		PG_RETURN_NULL();
	/* not HeapTupleHeaderGetDatum, which would look the type up */
	return PointerGetDatum(row);
}

static Datum
row_by_integer(FunctionCallInfo fcinfo, CallSite *site)
{
	int64		key = integer_of_datum(PG_GETARG_DATUM(site->first),
									   site->integer_argument);
	Snapshot	snapshot = GetActiveSnapshot();
	Memo	   *memo = call_memo(fcinfo, site, snapshot);
	Datum		value;

	/* an integer that the key's type does not have is nobody's key */
	if (key < site->smallest || key > site->largest)
		PG_RETURN_NULL();
	if (memo != NULL)
		return result(fcinfo, memo_row_by_integer(memo, site->model,
												  snapshot, key));
	value = datum_of_integer(key, site->model->keys[0].typid);
	return result(fcinfo, lookup_row(lookup_prepare(site->model), &value));
}

static inline Datum
to_one(FunctionCallInfo fcinfo, int first)
{
	CallSite   *site = call_site(fcinfo, first);
	Snapshot	snapshot;
	Memo	   *memo;
	Datum		values[INDEX_MAX_KEYS];

	if (OidIsValid(site->integer_argument))
	{
		if (PG_ARGISNULL(first))
			PG_RETURN_NULL();
		return row_by_integer(fcinfo, site);
	}
	if (!key_arguments_read(site->arguments, fcinfo, values))
		PG_RETURN_NULL();
	snapshot = GetActiveSnapshot();
	memo = call_memo(fcinfo, site, snapshot);
	if (memo != NULL)
		return result(fcinfo, memo_row(memo, site->model, snapshot, values));
	return result(fcinfo, lookup_row(lookup_prepare(site->model), values));
}

PG_FUNCTION_INFO_V1(orm_to_one);
Datum
orm_to_one(PG_FUNCTION_ARGS)
{
	return to_one(fcinfo, 1);
}

PG_FUNCTION_INFO_V1(orm_to_one_by);
Datum
orm_to_one_by(PG_FUNCTION_ARGS)
{
	return to_one(fcinfo, 2);
}

void
navigation_init(void)
{
	memo_init();
}
