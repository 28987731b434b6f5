/*-------------------------------------------------------------------------
 *
 * params.c
 *	  JSON values to the parameters of a statement.
 *
 * The values go through jsonb_populate_record, with an anonymous row type
 * that has a column for each parameter that comes from JSON: so JSON arrays
 * become SQL arrays, objects become rows, and strings go through the types'
 * input functions.  Row type and function state are kept with the statement.
 *
 * Results are allocated in the current memory context.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "query/internal.h"

typedef struct ParamConverter
{
	FmgrInfo	populate;		/* jsonb_populate_record */
	TupleDesc	tupdesc;		/* a column for each parameter from JSON */
	HeapTuple	blank;			/* a row of NULLs, which brings the type */
	int			ncolumns;
	int		   *columns;		/* their argument numbers, from 0 */
} ParamConverter;

void
params_raise_missing(Composition *composition, const char *name,
					 int position)
{
	JsonbContainer *params = composition->params;
	const char *nearest = NULL;

	if (params != NULL && JsonContainerIsObject(params))
	{
		JsonbIterator *iterator = JsonbIteratorInit(params);
		JsonbIteratorToken token;
		JsonbValue	value;
		List	   *keys = NIL;

		while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		{
			if (token == WJB_KEY)
				keys = lappend(keys, pnstrdup(value.val.string.val,
											  value.val.string.len));
		}
		nearest = nearest_name(name, keys);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_PARAMETER),
			 errmsg("params of %s have no value for :%s", composition->call,
					name),
			 nearest != NULL
			 ? errhint("Perhaps you meant \"%s\".", nearest)
			 : errhint("Pass it as params => '{\"%s\": ...}'.", name),
			 position > 0 ? errposition(position) : 0));
}

/* ------------------------------------------------------------------------
 * what of JSON a type takes
 * ------------------------------------------------------------------------
 */
static bool
type_takes_any_json(Oid type)
{
	return type == JSONOID || type == JSONBOID;
}

static void
raise_wrong_shape(const char *name, Oid type, const char *shape,
				  const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("value of \"%s\" is a JSON %s, but the statement wants type %s",
					name, shape, format_type_be(type)),
			 hint ? errhint("%s", hint) : 0));
}

/*
 * jsonb_populate_record gives a text column the JSON text of an object, and
 * takes an array with any nesting; a criterion had better not.
 */
static void
check_shape(const char *name, Oid declared_type, const JsonbValue *value)
{
	Oid			type = getBaseType(declared_type);
	Oid			element = get_element_type(type);
	bool		container = value->type == jbvBinary;
	bool		array = container &&
	JsonContainerIsArray(value->val.binary.data);

	if (type_takes_any_json(type) || value->type == jbvNull)
		return;
	if (OidIsValid(element))
	{
		if (container && !array)
			raise_wrong_shape(name, type, "object", NULL);
		if (!container && value->type != jbvString)
			raise_wrong_shape(name, type, "scalar", "Pass an array: [...].");
	}
	else if (array)
		raise_wrong_shape(name, type, "array",
						  "In SQL write = ANY (...) for one of an array's values.");
	else if (container && !type_is_rowtype(type))
		raise_wrong_shape(name, type, "object", NULL);
}

/* IN takes a list of single values. */
static void
check_in_list(const Value *value)
{
	Oid			element = get_element_type(getBaseType(value->type));
	JsonbContainer *array;

	if (!OidIsValid(element) || value->json.type != jbvBinary ||
		!JsonContainerIsArray(value->json.val.binary.data) ||
		type_takes_any_json(getBaseType(element)))
		return;
	array = value->json.val.binary.data;
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
		check_shape(value->name, element,
					getIthJsonbValueFromContainer(array, i));
}

/* ------------------------------------------------------------------------
 * conversion
 * ------------------------------------------------------------------------
 */
static bool
is_from_json(KeptStatement *kept, Composition *composition, int arg)
{
	int			own = arg - composition->nparams;

	if (own >= 0)
		return ((Value *) list_nth(composition->values, own))->is_json;
	return OidIsValid(kept->argtypes[arg]); /* used at all */
}

static void
prepare_populate(FmgrInfo *populate, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *args = list_make2(makeNullConst(RECORDOID, -1, InvalidOid),
								  makeNullConst(JSONBOID, -1, InvalidOid));

	fmgr_info_cxt(F_JSONB_POPULATE_RECORD, populate, context);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_JSONB_POPULATE_RECORD,
											 RECORDOID, args, InvalidOid,
											 InvalidOid, COERCE_EXPLICIT_CALL),
					   populate);
	MemoryContextSwitchTo(old);
}

static ParamConverter *
converter_create(KeptStatement *kept, Composition *composition)
{
	MemoryContext old = MemoryContextSwitchTo(kept->context);
	ParamConverter *converter = palloc0(sizeof(ParamConverter));
	TupleDesc	tupdesc;
	Datum	   *values;
	bool	   *nulls;
	int			n = 0;

	converter->columns = palloc(sizeof(int) * Max(kept->nargs, 1));
	for (int arg = 0; arg < kept->nargs; arg++)
	{
		if (is_from_json(kept, composition, arg))
			converter->columns[n++] = arg;
	}
	converter->ncolumns = n;
	tupdesc = CreateTemplateTupleDesc(n);
	for (int i = 0; i < n; i++)
		TupleDescInitEntry(tupdesc, i + 1, psprintf("%d", i + 1),
						   kept->argtypes[converter->columns[i]], -1, 0);
	converter->tupdesc = BlessTupleDesc(tupdesc);

	values = palloc0(sizeof(Datum) * Max(n, 1));
	nulls = palloc(sizeof(bool) * Max(n, 1));
	memset(nulls, true, n);
	converter->blank = heap_form_tuple(tupdesc, values, nulls);
	prepare_populate(&converter->populate, kept->context);
	MemoryContextSwitchTo(old);
	return converter;
}

/* The JSON value of an argument, and its name for messages. */
static JsonbValue *
json_of_argument(KeptStatement *kept, Composition *composition, int arg,
				 const char **name)
{
	JsonbValue *value;

	if (arg >= composition->nparams)
	{
		Value	   *own = list_nth(composition->values,
								   arg - composition->nparams);

		*name = own->name;
		check_in_list(own);
		return &own->json;
	}
	if (kept->names == NULL)
	{
		*name = psprintf("$%d", arg + 1);
		return getIthJsonbValueFromContainer(composition->params, arg);
	}
	*name = kept->names[arg];
	value = palloc(sizeof(JsonbValue));
	if (!json_get(composition->params, *name, value))
		params_raise_missing(composition, *name, 0);
	return value;
}

/* {"1": ..., "2": ...} with the values of the columns */
static Datum
values_as_json(KeptStatement *kept, Composition *composition)
{
	ParamConverter *converter = kept->converter;
	JsonbParseState *state = NULL;
	JsonbValue *object;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < converter->ncolumns; i++)
	{
		int			arg = converter->columns[i];
		const char *name;
		JsonbValue *value = json_of_argument(kept, composition, arg, &name);
		JsonbValue	key;

		check_shape(name, kept->argtypes[arg], value);
		key.type = jbvString;
		key.val.string.val = psprintf("%d", i + 1);
		key.val.string.len = strlen(key.val.string.val);
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, value);
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(object));
}

static void
conversion_error_callback(void *arg)
{
	errcontext("values for %s", ((Composition *) arg)->call);
}

static void
bind_json(KeptStatement *kept, Composition *composition, Datum *values,
		  char *nulls)
{
	ParamConverter *converter = kept->converter;
	LOCAL_FCINFO(fcinfo, 2);
	HeapTupleData row;
	Datum		datum;

	InitFunctionCallInfoData(*fcinfo, &converter->populate, 2, InvalidOid,
							 NULL, NULL);
	fcinfo->args[0].value =
		heap_copy_tuple_as_datum(converter->blank, converter->tupdesc);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = values_as_json(kept, composition);
	fcinfo->args[1].isnull = false;
	datum = FunctionCallInvoke(fcinfo);

	row.t_data = DatumGetHeapTupleHeader(datum);
	row.t_len = HeapTupleHeaderGetDatumLength(row.t_data);
	ItemPointerSetInvalid(&row.t_self);
	row.t_tableOid = InvalidOid;
	for (int i = 0; i < converter->ncolumns; i++)
	{
		int			arg = converter->columns[i];
		bool		isnull;

		values[arg] = heap_getattr(&row, i + 1, converter->tupdesc, &isnull);
		nulls[arg] = isnull ? 'n' : ' ';
	}
}

void
kept_statement_bind(KeptStatement *kept, Composition *composition,
					Datum **values, char **nulls)
{
	ErrorContextCallback callback = {error_context_stack,
		conversion_error_callback, composition};
	int			arg = composition->nparams;
	ListCell   *cell;

	*values = palloc0(sizeof(Datum) * (kept->nargs + 1));
	*nulls = palloc(kept->nargs + 1);
	memset(*nulls, 'n', kept->nargs);
	(*nulls)[kept->nargs] = '\0';
	foreach(cell, composition->values)
	{
		Value	   *value = lfirst(cell);

		(*values)[arg] = value->datum;
		(*nulls)[arg++] = value->isnull ? 'n' : ' ';
	}

	error_context_stack = &callback;
	if (kept->converter == NULL)
		kept->converter = converter_create(kept, composition);
	if (kept->converter->ncolumns > 0)
		bind_json(kept, composition, *values, *nulls);
	error_context_stack = callback.previous;
}
