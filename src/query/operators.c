/*-------------------------------------------------------------------------
 *
 * operators.c
 *	  Comparisons by name in filter_by: {"age": {"ge": 18, "lt": 65}}.
 *
 * Order is that of the type's default btree operator class, equality too, so
 * that indexes serve.  like and ilike are text's own.  All values become
 * parameters.
 *
 * The text and values go into the Composition.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "query/internal.h"

/* A column in a comparison. */
typedef struct Compared
{
	Composition *composition;
	const char *sql;
	const char *name;			/* for messages */
	Oid			type;			/* base type */
} Compared;

/* ------------------------------------------------------------------------
 * operators of the type
 * ------------------------------------------------------------------------
 */
static char *
btree_operator(Compared *column, StrategyNumber strategy)
{
	TypeCacheEntry *type = lookup_type_cache(column->type,
											 TYPECACHE_BTREE_OPFAMILY);
	Oid			operator = InvalidOid;

	if (OidIsValid(type->btree_opf))
		operator = get_opfamily_member(type->btree_opf, type->btree_opintype,
									   type->btree_opintype,
									   strategy == InvalidStrategy ?
									   BTEqualStrategyNumber : strategy);
	if (strategy == InvalidStrategy && OidIsValid(operator))
		operator = get_negator(operator);
	if (!OidIsValid(operator))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("column \"%s\" of type %s has no order",
						column->name, format_type_be(column->type)),
				 errhint("Write the comparison as filter.")));
	return operator_sql(operator);
}

static void
wrong_value(Compared *column, const char *operator, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of column \"%s\" takes %s", operator, column->name,
					wanted)));
}

static JsonbContainer *
required_array(Compared *column, const char *operator,
			   const JsonbValue *value, const char *wanted)
{
	if (value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		wrong_value(column, operator, wanted);
	return value->val.binary.data;
}

static void
append_comparison(Compared *column, StrategyNumber strategy,
				  const char *operator, const JsonbValue *value)
{
	if (value->type == jbvNull)
		wrong_value(column, operator, "a value that is not null");
	appendStringInfo(&column->composition->text, "%s %s $%d", column->sql,
					 btree_operator(column, strategy),
					 compose_json(column->composition, column->name,
								  column->type, value));
}

/* ------------------------------------------------------------------------
 * by name
 * ------------------------------------------------------------------------
 */
static void
append_ne(Compared *column, const char *operator, const JsonbValue *value)
{
	if (value->type == jbvNull)
		appendStringInfo(&column->composition->text, "%s IS NOT NULL",
						 column->sql);
	else
		append_comparison(column, InvalidStrategy, operator, value);
}

static void
append_lt(Compared *column, const char *operator, const JsonbValue *value)
{
	append_comparison(column, BTLessStrategyNumber, operator, value);
}

static void
append_le(Compared *column, const char *operator, const JsonbValue *value)
{
	append_comparison(column, BTLessEqualStrategyNumber, operator, value);
}

static void
append_gt(Compared *column, const char *operator, const JsonbValue *value)
{
	append_comparison(column, BTGreaterStrategyNumber, operator, value);
}

static void
append_ge(Compared *column, const char *operator, const JsonbValue *value)
{
	append_comparison(column, BTGreaterEqualStrategyNumber, operator, value);
}

static void
append_between(Compared *column, const char *operator,
			   const JsonbValue *value)
{
	JsonbContainer *array = required_array(column, operator, value,
										   "an array of two values");

	if (JsonContainerSize(array) != 2)
		wrong_value(column, operator, "an array of two values");
	append_ge(column, operator, getIthJsonbValueFromContainer(array, 0));
	appendStringInfoString(&column->composition->text, " AND ");
	append_le(column, operator, getIthJsonbValueFromContainer(array, 1));
}

/* Unlike SQL's own NOT IN a null in the list does not matter. */
static void
append_not_in(Compared *column, const char *operator, const JsonbValue *value)
{
	JsonbContainer *array = required_array(column, operator, value,
										   "an array");
	uint32		n = JsonContainerSize(array);

	appendStringInfo(&column->composition->text, "(%s IS NOT NULL",
					 column->sql);
	for (uint32 i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type == jbvNull)
			continue;
		appendStringInfoString(&column->composition->text, " AND ");
		append_ne(column, operator, element);
	}
	appendStringInfoChar(&column->composition->text, ')');
}

static void
append_pattern(Compared *column, const char *operator,
			   const JsonbValue *value)
{
	char		category;
	bool		preferred;

	get_type_category_preferred(column->type, &category, &preferred);
	if (category != TYPCATEGORY_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("column \"%s\" of type %s has no patterns",
						column->name, format_type_be(column->type))));
	if (value->type != jbvString)
		wrong_value(column, operator, "a string");
	appendStringInfo(&column->composition->text,
					 "%s%s OPERATOR(pg_catalog.%s) $%d", column->sql,
					 column->type == NAMEOID || column->type == CHAROID ?
					 "::pg_catalog.text" : "",
					 strcmp(operator, "like") == 0 ? "~~" : "~~*",
					 compose_json(column->composition, column->name, TEXTOID,
								  value));
}

static void
append_is_null(Compared *column, const char *operator,
			   const JsonbValue *value)
{
	if (value->type != jbvBool)
		wrong_value(column, operator, "true or false");
	appendStringInfo(&column->composition->text, "%s IS %sNULL", column->sql,
					 value->val.boolean ? "" : "NOT ");
}

static const struct
{
	const char *name;
	void		(*append) (Compared *column, const char *operator,
						   const JsonbValue *value);
}			named_operators[] =
{
	{"eq", NULL},				/* these are what a plain value and an array */
	{"in", NULL},				/* mean, which the caller knows */
	{"ne", append_ne},
	{"lt", append_lt},
	{"le", append_le},
	{"gt", append_gt},
	{"ge", append_ge},
	{"between", append_between},
	{"not_in", append_not_in},
	{"like", append_pattern},
	{"ilike", append_pattern},
	{"is_null", append_is_null},
};

static void
unknown_operator(const char *name, const char *column)
{
	List	   *names = NIL;
	const char *nearest;

	for (int i = 0; i < lengthof(named_operators); i++)
		names = lappend(names, unconstify(char *, named_operators[i].name));
	nearest = nearest_name(name, names);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("unknown operator \"%s\" for column \"%s\"", name, column),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("The operators are eq, ne, lt, le, gt, ge, in, not_in, between, like, ilike and is_null.")));
}

bool
operator_is_plain(const char *operator, const char *column,
				  const JsonbValue *value)
{
	for (int i = 0; i < lengthof(named_operators); i++)
	{
		if (strcmp(named_operators[i].name, operator) != 0)
			continue;
		if (strcmp(operator, "in") == 0)
		{
			Compared	compared = {.name = column};

			(void) required_array(&compared, operator, value, "an array");
		}
		return named_operators[i].append == NULL;
	}
	unknown_operator(operator, column);
	return false;				/* keep compiler quiet */
}

void
compose_operator(Composition *composition, const char *column, Oid type,
				 const char *name, const char *operator,
				 const JsonbValue *value)
{
	Compared	compared = {composition, column, name, type};

	for (int i = 0; i < lengthof(named_operators); i++)
	{
		if (strcmp(named_operators[i].name, operator) == 0)
			named_operators[i].append(&compared, operator, value);
	}
}
