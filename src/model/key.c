/*-------------------------------------------------------------------------
 *
 * key.c
 *	  Values of a primary key: hashing and comparing them as the key's own
 *	  index does, reading them from rows and from the arguments of a call.
 *
 * Nothing here outlives its arguments but KeyArguments, which live in the
 * memory context that the caller gives (fn_mcxt as a rule).  Arguments are
 * converted without locks or catalog access once they are prepared.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "model/model.h"

/* Hash of every value of a type that has no hash function. */
#define HASH_OF_UNHASHABLE 0x6f726d

/* How one value becomes a value of the key's type. */
typedef enum KeyConversion
{
	CONVERT_NONE,
	CONVERT_FUNCTION,			/* a cast */
	CONVERT_INPUT,				/* a cstring by the key's input function */
	CONVERT_IO					/* by output and input function */
} KeyConversion;

/* A function that casts; PostgreSQL gives it one to three arguments. */
typedef struct Cast
{
	FmgrInfo	function;
	int			nargs;
} Cast;

typedef struct KeyConverter
{
	KeyConversion conversion;
	Cast		cast;
	bool		may_lose;		/* the cast back tells what it did not keep */
	Cast		back;
	FmgrInfo	equal;			/* of the value's own type */
	FmgrInfo	function;		/* the output function */
	FmgrInfo	input;
	Oid			typioparam;
	int32		typmod;			/* for the input function */
} KeyConverter;

struct KeyArguments
{
	int			first;			/* argument where the key begins */
	int			nkeys;
	char	   *class_name;
	bool		is_plain;		/* one value, which is the key's as it is */
	bool		is_array;		/* all values come in one array */
	Oid			elemtype;		/* of that array */
	int16		elemlen;
	bool		elembyval;
	char		elemalign;
	KeyConverter converters[FLEXIBLE_ARRAY_MEMBER];
};

/* ------------------------------------------------------------------------
 * hashing and comparing
 * ------------------------------------------------------------------------
 */

bool
model_key_overlaps(const Model *model, const Bitmapset *columns)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		if (bms_is_member(column_member(model->keys[i].attnum), columns))
			return true;
	}
	return false;
}

static inline uint32
integer_hash(uint64 value)
{
	value ^= value >> 33;
	value *= UINT64CONST(0xff51afd7ed558ccd);
	value ^= value >> 33;
	return (uint32) value;
}

uint32
model_key_hash(Model *model, const Datum *values)
{
	uint32		hash = 0;

	for (int i = 0; i < model->nkeys; i++)
	{
		ModelKeyColumn *key = &model->keys[i];
		uint32		h = HASH_OF_UNHASHABLE;

		if (key->is_integer)
			h = integer_hash(key_integer(key, values[i]));
		else if (OidIsValid(key->hash.fn_oid))
			h = DatumGetUInt32(FunctionCall1Coll(&key->hash, key->collation,
												 values[i]));
		hash = hash_combine(hash, h);
	}
	return hash;
}

bool
model_key_equal(Model *model, const Datum *a, const Datum *b)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		ModelKeyColumn *key = &model->keys[i];

		if (key->is_integer
			? key_integer(key, a[i]) != key_integer(key, b[i])
			: !DatumGetBool(FunctionCall2Coll(&key->equal, key->collation,
											  a[i], b[i])))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * keys of rows, keys as text
 * ------------------------------------------------------------------------
 */

bool
model_key_of_row(Model *model, HeapTupleHeader row, Datum *values)
{
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = row;
	for (int i = 0; i < model->nkeys; i++)
	{
		bool		isnull;

		values[i] = heap_getattr(&tuple, model->keys[i].attnum,
								 model->tupdesc, &isnull);
		if (isnull)
			return false;
	}
	return true;
}

char *
model_key_to_text(Model *model, const Datum *values)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '(');
	for (int i = 0; i < model->nkeys; i++)
	{
		Oid			output;
		bool		is_varlena;

		getTypeOutputInfo(model->keys[i].typid, &output, &is_varlena);
		if (i > 0)
			appendStringInfoString(&buf, ", ");
		appendStringInfoString(&buf, OidOutputFunctionCall(output,
														   values[i]));
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* ------------------------------------------------------------------------
 * keys of arguments
 * ------------------------------------------------------------------------
 */

static void
use_input(KeyConverter *converter, KeyConversion conversion, Oid source,
		  Oid target, int32 typmod, MemoryContext mcxt)
{
	Oid			function;
	bool		is_varlena;

	converter->conversion = conversion;
	if (conversion == CONVERT_IO)
	{
		getTypeOutputInfo(source, &function, &is_varlena);
		fmgr_info_cxt(function, &converter->function, mcxt);
	}
	getTypeInputInfo(target, &function, &converter->typioparam);
	fmgr_info_cxt(function, &converter->input, mcxt);
	converter->typmod = typmod;
}

static bool
is_text(Oid typid)
{
	char		category;
	bool		preferred;

	get_type_category_preferred(typid, &category, &preferred);
	return category == TYPCATEGORY_STRING;
}

static void
prepare_cast(Cast *cast, Oid function, MemoryContext mcxt)
{
	cast->nargs = get_func_nargs(function);
	fmgr_info_cxt(function, &cast->function, mcxt);
}

/*
 * A cast that is for assignments may round or cut: 1.5 is not the key 2.  What
 * it gives is cast back, where there is a way, and compared.
 */
static void
prepare_cast_back(KeyConverter *converter, Oid from, Oid target,
				  MemoryContext mcxt)
{
	Oid			cast;
	Oid			equality;

	if (find_coercion_pathway(target, from, COERCION_IMPLICIT, &cast) !=
		COERCION_PATH_NONE ||
		find_coercion_pathway(from, target, COERCION_ASSIGNMENT, &cast) !=
		COERCION_PATH_FUNC)
		return;
	equality = lookup_type_cache(from, TYPECACHE_EQ_OPR)->eq_opr;
	if (!OidIsValid(equality))
		return;
	converter->may_lose = true;
	prepare_cast(&converter->back, cast, mcxt);
	fmgr_info_cxt(get_opcode(equality), &converter->equal, mcxt);
}

/*
 * A length or precision of the key's type is not applied: a value that does
 * not fit is the key of no row, and must not become that of another one.
 * Only bit strings and character(n) need theirs to be read at all, and those
 * compare as they should without.
 */
static void
prepare_converter(KeyConverter *converter, Oid source, ModelKeyColumn *key,
				  const char *class_name, MemoryContext mcxt)
{
	Oid			target = getBaseType(key->typid);
	Oid			from = getBaseType(source);
	Oid			cast;

	if (from == target)
		converter->conversion = CONVERT_NONE;
	else if (source == UNKNOWNOID)
		use_input(converter, CONVERT_INPUT, source, target, -1, mcxt);
	else if (is_text(from) && !is_text(target))
		use_input(converter, CONVERT_IO, from, target, -1, mcxt);
	else
		switch (find_coercion_pathway(target, from, COERCION_ASSIGNMENT,
									  &cast))
		{
			case COERCION_PATH_RELABELTYPE:
				converter->conversion = CONVERT_NONE;
				break;
			case COERCION_PATH_FUNC:
				converter->conversion = CONVERT_FUNCTION;
				prepare_cast(&converter->cast, cast, mcxt);
				prepare_cast_back(converter, from, target, mcxt);
				break;
			case COERCION_PATH_COERCEVIAIO:
			case COERCION_PATH_ARRAYCOERCE:
				use_input(converter, CONVERT_IO, from, target, -1, mcxt);
				break;
			case COERCION_PATH_NONE:
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("a value of type %s is no key of class \"%s\"",
								format_type_be(source), class_name),
						 errdetail("The key is of type %s.",
								   format_type_be(key->typid))));
		}
}

static void
wrong_number(const char *class_name, int nkeys, int given)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("wrong number of key values for class \"%s\"",
					class_name),
			 errdetail("The primary key has %d, but %d were given.",
					   nkeys, given)));
}

KeyArguments *
key_arguments_prepare(FunctionCallInfo fcinfo, int first, Model *model,
					  MemoryContext mcxt)
{
	KeyArguments *result;
	int			given = PG_NARGS() - first;

	result = MemoryContextAllocZero(mcxt, offsetof(KeyArguments, converters) +
									sizeof(KeyConverter) * model->nkeys);
	result->first = first;
	result->nkeys = model->nkeys;
	result->class_name = MemoryContextStrdup(mcxt, model->class_name);
	result->is_array = get_fn_expr_variadic(fcinfo->flinfo);
	if (result->is_array)
	{
		Oid			array = get_fn_expr_argtype(fcinfo->flinfo, first);

		result->elemtype = get_base_element_type(array);
		if (!OidIsValid(result->elemtype))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("VARIADIC argument must be an array")));
		get_typlenbyvalalign(result->elemtype, &result->elemlen,
							 &result->elembyval, &result->elemalign);
	}
	else if (given != model->nkeys)
		wrong_number(model->class_name, model->nkeys, given);

	for (int i = 0; i < model->nkeys; i++)
		prepare_converter(&result->converters[i],
						  result->is_array ? result->elemtype :
						  get_fn_expr_argtype(fcinfo->flinfo, first + i),
						  &model->keys[i], model->class_name, mcxt);
	result->is_plain = !result->is_array && model->nkeys == 1 &&
		result->converters[0].conversion == CONVERT_NONE;
	return result;
}

/* A cast may want the typmod and whether it is explicit, too. */
static Datum
call_cast(Cast *cast, Datum value)
{
	if (cast->nargs == 1)
		return FunctionCall1(&cast->function, value);
	if (cast->nargs == 2)
		return FunctionCall2(&cast->function, value, Int32GetDatum(-1));
	return FunctionCall3(&cast->function, value, Int32GetDatum(-1),
						 BoolGetDatum(false));
}

/* Returns false if no value of the key's type is equal to this one. */
static bool
convert(KeyConverter *converter, Datum value, Datum *result)
{
	switch (converter->conversion)
	{
		case CONVERT_NONE:
			*result = value;
			return true;
		case CONVERT_FUNCTION:
			*result = call_cast(&converter->cast, value);
			return !converter->may_lose ||
				DatumGetBool(FunctionCall2Coll(&converter->equal,
											   DEFAULT_COLLATION_OID, value,
											   call_cast(&converter->back,
														 *result)));
		case CONVERT_INPUT:
			*result = InputFunctionCall(&converter->input,
										DatumGetCString(value),
										converter->typioparam,
										converter->typmod);
			return true;
		case CONVERT_IO:
			*result = InputFunctionCall(&converter->input,
										OutputFunctionCall(&converter->function,
														   value),
										converter->typioparam,
										converter->typmod);
			return true;
	}
	pg_unreachable();
}

static bool
read_array(KeyArguments *arguments, FunctionCallInfo fcinfo, Datum *values)
{
	ArrayType  *array;
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	if (PG_ARGISNULL(arguments->first))
		return false;
	array = PG_GETARG_ARRAYTYPE_P(arguments->first);
	deconstruct_array(array, arguments->elemtype, arguments->elemlen,
					  arguments->elembyval, arguments->elemalign,
					  &elems, &nulls, &n);
	if (n != arguments->nkeys)
		wrong_number(arguments->class_name, arguments->nkeys, n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i] ||
			!convert(&arguments->converters[i], elems[i], &values[i]))
			return false;
	}
	return true;
}

bool
key_arguments_read(KeyArguments *arguments, FunctionCallInfo fcinfo,
				   Datum *values)
{
	if (arguments->is_plain)
	{
		values[0] = PG_GETARG_DATUM(arguments->first);
		return !PG_ARGISNULL(arguments->first);
	}
	if (arguments->is_array)
		return read_array(arguments, fcinfo, values);
	for (int i = 0; i < arguments->nkeys; i++)
	{
		if (PG_ARGISNULL(arguments->first + i) ||
			!convert(&arguments->converters[i],
					 PG_GETARG_DATUM(arguments->first + i), &values[i]))
			return false;
	}
	return true;
}
