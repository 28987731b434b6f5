/*-------------------------------------------------------------------------
 *
 * filter_by.c
 *	  Criteria as JSON, keyed by column or relationship.
 *
 * A value means equality by the column's own default btree operator, null
 * means IS NULL, and an array means IN.  Under a relationship stands an
 * object with criteria of the related row (or null, or an array of such).
 *
 * Where the call has operators (those of documents do), an object under a
 * column has them by name, one under a collection may say "some", "every" or
 * "none", and "and", "or" and "not" take objects of criteria.  Elsewhere a
 * value is never more than a value, whoever it comes from.
 * All values become parameters and all names are quoted, so that filter_by is
 * safe with input from anywhere.
 *
 * Related rows are found by IN (SELECT ...) or EXISTS over plain tables, never
 * over the navigation functions, since the planner turns only the former into
 * joins.
 *
 * The text and values go into the Composition.  No locks are taken here: the
 * parser takes them when it looks the names up.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "query/internal.h"

/* Criteria are about a row of model, which is called alias. */
typedef struct Scope
{
	Model	   *model;
	const char *alias;
	bool		negated;		/* criteria of related rows must not be NULL */
} Scope;

/* How many of the related rows meet the criteria. */
typedef enum Quantifier
{
	QUANTIFIER_SOME,
	QUANTIFIER_EVERY,
	QUANTIFIER_NONE
} Quantifier;

static void append_object(Composition *composition, Scope scope,
						  JsonbContainer *object);

/* ------------------------------------------------------------------------
 * JSON
 * ------------------------------------------------------------------------
 */
bool
json_get(JsonbContainer *object, const char *key, JsonbValue *value)
{
	JsonbValue	name;
	JsonbValue *found;

	name.type = jbvString;
	name.val.string.val = unconstify(char *, key);
	name.val.string.len = strlen(key);
	found = findJsonbValueFromContainer(object, JB_FOBJECT, &name);
	if (found == NULL)
		return false;
	*value = *found;
	return true;
}

static JsonbContainer *
object_in(const JsonbValue *value)
{
	return value->type == jbvBinary &&
		JsonContainerIsObject(value->val.binary.data)
		? value->val.binary.data : NULL;
}

static JsonbContainer *
list_in(const JsonbValue *value)
{
	return value->type == jbvBinary &&
		JsonContainerIsArray(value->val.binary.data)
		? value->val.binary.data : NULL;
}

static char *
json_key(const JsonbValue *key)
{
	return pnstrdup(key->val.string.val, key->val.string.len);
}

static bool
all_elements_are_arrays(JsonbContainer *array)
{
	uint32		n = JsonContainerSize(array);

	for (uint32 i = 0; i < n; i++)
	{
		if (list_in(getIthJsonbValueFromContainer(array, i)) == NULL)
			return false;
	}
	return n > 0;
}

/* ------------------------------------------------------------------------
 * operators
 * ------------------------------------------------------------------------
 */
/* OPERATOR(schema.=) of a column's own type, as its indexes have it. */
static char *
equality_of_column(const char *name, Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR);

	if (!OidIsValid(entry->eq_opr))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("column \"%s\" of type %s has no default btree equality operator",
						name, format_type_be(type)),
				 errhint("Write the comparison as filter.")));
	return operator_sql(entry->eq_opr);
}

/*
 * The two sides of a foreign key may have collations that are not the same,
 * and then it is the referenced one's that counts.
 */
char *
collate_clause(Oid referenced, Oid referencing)
{
	HeapTuple	tuple;
	Form_pg_collation form;
	char	   *clause;

	if (referenced == referencing || !OidIsValid(referenced))
		return "";
	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(referenced));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", referenced);
	form = (Form_pg_collation) GETSTRUCT(tuple);
	clause = psprintf(" COLLATE %s.%s",
					  quote_identifier(get_namespace_name(form->collnamespace)),
					  quote_identifier(NameStr(form->collname)));
	ReleaseSysCache(tuple);
	return clause;
}

/* ------------------------------------------------------------------------
 * columns
 * ------------------------------------------------------------------------
 */
static char *
qualified_column(Scope scope, AttrNumber attnum)
{
	return psprintf("%s.%s", scope.alias, column_sql(scope.model, attnum));
}

static Form_pg_attribute
model_column(Model *model, AttrNumber attnum)
{
	return TupleDescAttr(model->tupdesc, attnum - 1);
}

/* IN over a type that has no array type: an array's own, for one. */
static void
append_in_by_element(Composition *composition, const char *column,
					 const char *operator, Oid type, const char *name,
					 JsonbContainer *array)
{
	uint32		n = JsonContainerSize(array);

	if (n == 0)
		appendStringInfoString(&composition->text, "false");
	for (uint32 i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		appendStringInfo(&composition->text, "%s%s %s $%d", i == 0 ? "(" : " OR ",
						 column, operator,
						 compose_json(composition, name, type, element));
	}
	if (n > 0)
		appendStringInfoChar(&composition->text, ')');
}

static void
append_plain_column(Composition *composition, Scope scope, AttrNumber attnum,
					const char *name, JsonbValue *value)
{
	char	   *column = qualified_column(scope, attnum);
	Oid			type = getBaseType(model_column(scope.model, attnum)->atttypid);
	JsonbContainer *array = list_in(value);
	char	   *operator;
	Oid			array_type;

	if (value->type == jbvNull)
	{
		appendStringInfo(&composition->text, "%s IS NULL", column);
		return;
	}

	operator = equality_of_column(name, type);
	/* an array column equals an array, and is IN an array of arrays */
	if (array != NULL && OidIsValid(get_base_element_type(type)) &&
		!all_elements_are_arrays(array))
		array = NULL;
	array_type = array == NULL ? InvalidOid : get_array_type(type);

	if (array == NULL)
		appendStringInfo(&composition->text, "%s %s $%d", column, operator,
						 compose_json(composition, name, type, value));
	else if (OidIsValid(array_type))
		appendStringInfo(&composition->text, "%s %s ANY ($%d)", column, operator,
						 compose_json(composition, name, array_type, value));
	else
		append_in_by_element(composition, column, operator, type, name, array);
}

/* {"ge": 18, "lt": 65} */
static void
append_operators(Composition *composition, Scope scope, AttrNumber attnum,
				 const char *name, JsonbContainer *object)
{
	Oid			type = getBaseType(model_column(scope.model, attnum)->atttypid);
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *operator = NULL;
	bool		first = true;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			operator = json_key(&value);
		if (token != WJB_VALUE)
			continue;
		if (!first)
			appendStringInfoString(&composition->text, " AND ");
		first = false;
		if (operator_is_plain(operator, name, &value))
			append_plain_column(composition, scope, attnum, name, &value);
		else
			compose_operator(composition, qualified_column(scope, attnum),
							 type, name, operator, &value);
	}
	if (first)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("criteria of column \"%s\" are empty", name),
				 errhint("null stands for IS NULL.")));
}

/* Is an object a value of the type? */
static bool
type_takes_objects(Oid type)
{
	return type == JSONOID || type == JSONBOID || type_is_rowtype(type);
}

static void
append_column(Composition *composition, Scope scope, AttrNumber attnum,
			  const char *name, JsonbValue *value)
{
	Oid			type = getBaseType(model_column(scope.model, attnum)->atttypid);
	JsonbContainer *object = object_in(value);

	if (object != NULL && composition->operators && !type_takes_objects(type))
		append_operators(composition, scope, attnum, name, object);
	else
		append_plain_column(composition, scope, attnum, name, value);
}

/* ------------------------------------------------------------------------
 * relationships
 * ------------------------------------------------------------------------
 */
static Scope
scope_open(Composition *composition, Model *model)
{
	Scope		scope = {.model = model};

	do
		scope.alias = psprintf("orm_%d", ++composition->naliases);
	while (strcmp(scope.alias, composition->relname) == 0);
	return scope;
}

static char *
relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* One end of a comparison of two columns. */
typedef struct Operand
{
	char	   *sql;
	Oid			type;
	Oid			collation;
} Operand;

static Operand
scope_operand(Scope scope, AttrNumber attnum)
{
	Form_pg_attribute column = model_column(scope.model, attnum);
	Operand		operand = {qualified_column(scope, attnum), column->atttypid,
	column->attcollation};

	return operand;
}

static Operand
secondary_operand(Relationship *relationship, const char *alias,
				  AttrNumber attnum)
{
	Operand		operand;
	int32		typmod;

	operand.sql = psprintf("%s.%s", alias,
						   quote_identifier(get_attname(relationship->secondary,
														attnum, false)));
	get_atttypetypmodcoll(relationship->secondary, attnum, &operand.type,
						  &typmod, &operand.collation);
	return operand;
}

/*
 * The operator.  A COLLATE clause goes to the left operand, since out of a
 * sub-select it would not count as explicit.
 */
static char *
operands_equality(Operand referenced, Operand referencing, Operand *left)
{
	left->sql = psprintf("%s%s", left->sql,
						 collate_clause(referenced.collation,
										referencing.collation));
	return operator_sql(types_equality_required(referenced.type,
												referencing.type));
}

static void
append_join_on(Composition *composition, Relationship *relationship,
			   Scope target, const char *secondary)
{
	for (int i = 0; i < relationship->nremote; i++)
	{
		Operand		left = scope_operand(target,
										 relationship->remote_attnums[i]);
		Operand		right = secondary_operand(relationship, secondary,
											  relationship->secondary_remote[i]);
		char	   *operator = operands_equality(left, right, &left);

		appendStringInfo(&composition->text, "%s%s %s %s",
						 i == 0 ? " ON " : " AND ", left.sql, operator,
						 right.sql);
	}
}

/* "FROM target" or "FROM secondary JOIN target ON ..." */
static void
append_from(Composition *composition, Relationship *relationship,
			Scope target, const char *secondary)
{
	appendStringInfoString(&composition->text, " FROM ");
	if (secondary != NULL)
		appendStringInfo(&composition->text, "%s AS %s JOIN ",
						 relation_name(relationship->secondary), secondary);
	appendStringInfo(&composition->text, "%s AS %s",
					 target.model->relation_name, target.alias);
	if (secondary != NULL)
		append_join_on(composition, relationship, target, secondary);
}

/* What of the related side equals local column i, and how. */
static char *
related_operand(Relationship *relationship, Operand *local, Scope target,
				const char *secondary, int i, Operand *related)
{
	if (secondary != NULL)
		*related = secondary_operand(relationship, secondary,
									 relationship->secondary_local[i]);
	else
		*related = scope_operand(target, relationship->remote_attnums[i]);
	if (relationship->direction == RELATIONSHIP_MANY_TO_ONE)
		return operands_equality(*related, *local, local);
	return operands_equality(*local, *related, local);
}

/*
 * "There is a related row", with the criteria of object, which may be NULL;
 * or that none is so, or none is otherwise.
 */
static void
append_related(Composition *composition, Scope scope,
			   Relationship *relationship, JsonbContainer *object,
			   Quantifier quantifier)
{
	StringInfo	own = &composition->text;
	Scope		target = scope_open(composition,
									model_by_relid(relationship->target, false));
	const char *secondary = OidIsValid(relationship->secondary)
		? scope_open(composition, NULL).alias : NULL;
	bool		in = relationship->nlocal == 1 && object != NULL &&
	quantifier == QUANTIFIER_SOME && !scope.negated;

	if (quantifier != QUANTIFIER_SOME)
		appendStringInfoString(own, "NOT ");

	for (int i = 0; i < relationship->nlocal; i++)
	{
		Operand		local = scope_operand(scope,
										  relationship->local_attnums[i]);
		Operand		related;
		char	   *operator = related_operand(relationship, &local, target,
											   secondary, i, &related);

		if (in)
			appendStringInfo(own, "%s %s ANY (SELECT %s", local.sql, operator,
							 related.sql);
		else if (i == 0)
			appendStringInfoString(own, "EXISTS (SELECT");
		if (i == 0)
			append_from(composition, relationship, target, secondary);
		if (!in)
			appendStringInfo(own, "%s%s %s %s", i == 0 ? " WHERE " : " AND ",
							 local.sql, operator, related.sql);
	}
	if (object != NULL)
	{
		appendStringInfoString(own, in ? " WHERE " : " AND ");
		if (quantifier == QUANTIFIER_EVERY)
			appendStringInfoChar(own, '(');
		append_object(composition, target, object);
		if (quantifier == QUANTIFIER_EVERY)
			appendStringInfoString(own, ") IS NOT TRUE");
	}
	appendStringInfoChar(own, ')');
}

bool
names_related_key(Relationship *relationship, const JsonbValue *value)
{
	JsonbContainer *object = object_in(value);

	if (object == NULL ||
		relationship->direction != RELATIONSHIP_MANY_TO_ONE ||
		JsonContainerSize(object) != relationship->nremote)
		return false;
	for (int i = 0; i < relationship->nremote; i++)
	{
		JsonbValue	key;

		if (!json_get(object, get_attname(relationship->target,
										  relationship->remote_attnums[i],
										  false), &key) ||
			key.type == jbvNull || key.type == jbvBinary)
			return false;
	}
	return true;
}

/* The related row is given by its key: compare the foreign key itself. */
static void
append_related_key(Composition *composition, Scope scope,
				   Relationship *relationship, JsonbContainer *object)
{
	for (int i = 0; i < relationship->nlocal; i++)
	{
		char	   *name = get_attname(relationship->target,
									   relationship->remote_attnums[i], false);
		JsonbValue	key;

		json_get(object, name, &key);
		if (i > 0)
			appendStringInfoString(&composition->text, " AND ");
		append_column(composition, scope, relationship->local_attnums[i],
					  name, &key);
	}
}

static void
append_no_related(Composition *composition, Scope scope,
				  Relationship *relationship)
{
	if (relationship->direction != RELATIONSHIP_MANY_TO_ONE)
	{
		append_related(composition, scope, relationship, NULL,
					   QUANTIFIER_NONE);
		return;
	}
	for (int i = 0; i < relationship->nlocal; i++)
		appendStringInfo(&composition->text, "%s%s IS NULL",
						 i == 0 ? "(" : " OR ",
						 qualified_column(scope, relationship->local_attnums[i]));
	appendStringInfoChar(&composition->text, ')');
}

/* Does the object say of how many rows, and not what they are like? */
static bool
has_quantifiers(Relationship *relationship, JsonbContainer *object)
{
	static const char *const names[] = {"some", "every", "none"};
	Model	   *target = model_by_relid(relationship->target, false);
	uint32		found = 0;

	if (relationship->direction == RELATIONSHIP_MANY_TO_ONE ||
		!relationship->uselist)
		return false;
	for (int i = 0; i < lengthof(names); i++)
	{
		JsonbValue	value;

		if (json_get(object, names[i], &value) &&
			model_attnum(target, names[i], true) == InvalidAttrNumber &&
			model_relationship(target, names[i], true) == NULL)
			found++;
	}
	return found == JsonContainerSize(object);
}

static void
append_quantified(Composition *composition, Scope scope,
				  Relationship *relationship, JsonbContainer *object)
{
	static const char *const names[] = {
		[QUANTIFIER_SOME] = "some",
		[QUANTIFIER_EVERY] = "every",
		[QUANTIFIER_NONE] = "none"
	};
	bool		first = true;

	for (int i = 0; i < lengthof(names); i++)
	{
		JsonbValue	value;
		JsonbContainer *criteria;

		if (!json_get(object, names[i], &value))
			continue;
		criteria = object_in(&value);
		if (criteria == NULL ||
			(i == QUANTIFIER_EVERY && JsonContainerSize(criteria) == 0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" of relationship \"%s\" takes criteria of the related rows",
							names[i], relationship->name)));
		if (JsonContainerSize(criteria) == 0)
			criteria = NULL;
		if (!first)
			appendStringInfoString(&composition->text, " AND ");
		first = false;
		append_related(composition, scope, relationship, criteria, i);
	}
}

static void
append_relationship(Composition *composition, Scope scope,
					Relationship *relationship, JsonbValue *value)
{
	JsonbContainer *object = object_in(value);
	JsonbContainer *array = list_in(value);
	uint32		n = array == NULL ? 0 : JsonContainerSize(array);

	if (value->type == jbvNull)
		append_no_related(composition, scope, relationship);
	else if (object != NULL && JsonContainerSize(object) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("criteria of relationship \"%s\" are empty",
						relationship->name),
				 errhint("null stands for no related row.")));
	else if (object != NULL && composition->operators &&
			 has_quantifiers(relationship, object))
		append_quantified(composition, scope, relationship, object);
	else if (names_related_key(relationship, value))
		append_related_key(composition, scope, relationship, object);
	else if (object != NULL)
		append_related(composition, scope, relationship, object,
					   QUANTIFIER_SOME);
	else if (array != NULL)
	{
		appendStringInfoString(&composition->text, n == 0 ? "false" : "(");
		for (uint32 i = 0; i < n; i++)
		{
			if (i > 0)
				appendStringInfoString(&composition->text, " OR ");
			append_relationship(composition, scope, relationship,
								getIthJsonbValueFromContainer(array, i));
		}
		if (n > 0)
			appendStringInfoChar(&composition->text, ')');
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("criteria of relationship \"%s\" must be a JSON object",
						relationship->name),
				 errhint("Give columns of the related row, as in {\"%s\": {\"%s\": ...}}.",
						 relationship->name,
						 get_attname(relationship->target,
									 relationship->remote_attnums[0], false))));
}

/* ------------------------------------------------------------------------
 * objects
 * ------------------------------------------------------------------------
 */
static void
wrong_logic(const char *name, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" in filter_by takes %s", name, wanted)));
}

static JsonbContainer *
required_criteria(const char *name, JsonbValue *value, const char *wanted)
{
	JsonbContainer *object = object_in(value);

	if (object == NULL || JsonContainerSize(object) == 0)
		wrong_logic(name, wanted);
	return object;
}

static void
append_not(Composition *composition, Scope scope, JsonbValue *value)
{
	JsonbContainer *object = required_criteria("not", value,
											   "an object of criteria");

	scope.negated = true;
	appendStringInfoString(&composition->text, "NOT (");
	append_object(composition, scope, object);
	appendStringInfoChar(&composition->text, ')');
}

/* An array of alternatives, or of what all has to be true. */
static void
append_and_or(Composition *composition, Scope scope, const char *name,
			  JsonbValue *value)
{
	static const char wanted[] = "an array of objects of criteria";
	JsonbContainer *array = list_in(value);
	uint32		n;

	if (array == NULL)
		wrong_logic(name, wanted);
	n = JsonContainerSize(array);
	if (n == 0)
		appendStringInfoString(&composition->text,
							   strcmp(name, "or") == 0 ? "false" : "true");
	for (uint32 i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		appendStringInfoString(&composition->text, i == 0 ? "((" :
							   strcmp(name, "or") == 0 ? ") OR (" : ") AND (");
		append_object(composition, scope,
					  required_criteria(name, element, wanted));
	}
	if (n > 0)
		appendStringInfoString(&composition->text, "))");
}

/* What a key of the object stands for. */
static void
append_member(Composition *composition, Scope scope, const char *name,
			  JsonbValue *value)
{
	AttrNumber	attnum = model_attnum(scope.model, name, true);
	Relationship *relationship = model_relationship(scope.model, name, true);

	if (attnum != InvalidAttrNumber)
		append_column(composition, scope, attnum, name, value);
	else if (relationship != NULL)
		append_relationship(composition, scope, relationship, value);
	else if (composition->operators && strcmp(name, "not") == 0)
		append_not(composition, scope, value);
	else if (composition->operators &&
			 (strcmp(name, "and") == 0 || strcmp(name, "or") == 0))
		append_and_or(composition, scope, name, value);
	else
		(void) model_attnum(scope.model, name, false);
}

static void
append_object(Composition *composition, Scope scope, JsonbContainer *object)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;
	bool		first = true;

	check_stack_depth();
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = json_key(&value);
		else if (token == WJB_VALUE)
		{
			if (!first)
				appendStringInfoString(&composition->text, " AND ");
			first = false;
			append_member(composition, scope, name, &value);
		}
	}
}

void
compose_filter_by(Composition *composition, Jsonb *filter_by)
{
	Scope		scope = {composition->model, composition->alias, false};

	if (!JB_ROOT_IS_OBJECT(filter_by))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("filter_by of %s must be a JSON object",
						composition->call),
				 errhint("It is keyed by column or relationship, as in '{\"name\": \"lqz\"}'.")));
	if (JB_ROOT_COUNT(filter_by) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("filter_by of %s is empty", composition->call),
				 errhint("Write filter => 'true' if every row is meant.")));
	append_object(composition, scope, &filter_by->root);
}
