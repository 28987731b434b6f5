/*-------------------------------------------------------------------------
 *
 * schema.c
 *	  orm.json_schema: the JSON Schema of an ORM view's documents.
 *
 * It says what a document may look like that is written; "readOnly" marks
 * what is shown and never written.  The text is made in the current memory
 * context.  The view is locked as for reading.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "document/saving.h"
#include "document/view.h"

static void append_type(StringInfo text, Oid typid, int32 typmod,
						bool nullable);

/* ------------------------------------------------------------------------
 * types
 * ------------------------------------------------------------------------
 */

/* "type": "integer", or with null */
static void
append_type_name(StringInfo text, const char *name, bool nullable)
{
	appendStringInfo(text, nullable ? "\"type\":[\"%s\",\"null\"]" :
					 "\"type\":\"%s\"", name);
}

static void
append_integer(StringInfo text, const char *range, bool nullable)
{
	append_type_name(text, "integer", nullable);
	appendStringInfoString(text, range);
}

static void
append_string(StringInfo text, const char *format, bool nullable)
{
	append_type_name(text, "string", nullable);
	if (format != NULL)
		appendStringInfo(text, ",\"format\":\"%s\"", format);
}

static void
append_characters(StringInfo text, int32 typmod, bool nullable)
{
	append_type_name(text, "string", nullable);
	if (typmod >= VARHDRSZ)
		appendStringInfo(text, ",\"maxLength\":%d", typmod - VARHDRSZ);
}

static int
enum_compare(const ListCell *a, const ListCell *b)
{
	Form_pg_enum left = (Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(a));
	Form_pg_enum right = (Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(b));

	return left->enumsortorder < right->enumsortorder ? -1 : 1;
}

/* The labels of an enum, in its order. */
static void
append_enum(StringInfo text, Oid typid, bool nullable)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME,
										   ObjectIdGetDatum(typid));
	List	   *tuples = NIL;
	ListCell   *cell;

	for (int i = 0; i < list->n_members; i++)
		tuples = lappend(tuples, &list->members[i]->tuple);
	list_sort(tuples, enum_compare);
	appendStringInfoString(text, "\"enum\":[");
	foreach(cell, tuples)
	{
		Form_pg_enum form = (Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(cell));

		if (foreach_current_index(cell) > 0)
			appendStringInfoChar(text, ',');
		escape_json(text, NameStr(form->enumlabel));
	}
	if (nullable)
		appendStringInfoString(text, tuples == NIL ? "null" : ",null");
	appendStringInfoChar(text, ']');
	ReleaseSysCacheList(list);
}

static void
append_row(StringInfo text, Oid typid, bool nullable)
{
	TupleDesc	tupdesc = lookup_rowtype_tupdesc_copy(typid, -1);
	bool		first = true;

	append_type_name(text, "object", nullable);
	appendStringInfoString(text, ",\"properties\":{");
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(tupdesc, i);

		if (column->attisdropped)
			continue;
		appendStringInfoString(text, first ? "" : ",");
		first = false;
		escape_json(text, NameStr(column->attname));
		appendStringInfoString(text, ":{");
		append_type(text, column->atttypid, column->atttypmod, true);
		appendStringInfoChar(text, '}');
	}
	appendStringInfoString(text, "},\"additionalProperties\":false");
}

/* An array may have any number of dimensions, so only its outermost is said. */
static void
append_array(StringInfo text, bool nullable)
{
	append_type_name(text, "array", nullable);
}

static void
append_other(StringInfo text, Oid typid, bool nullable)
{
	if (OidIsValid(get_element_type(typid)))
		append_array(text, nullable);
	else if (get_typtype(typid) == TYPTYPE_ENUM)
		append_enum(text, typid, nullable);
	else if (type_is_rowtype(typid) && typid != RECORDOID)
		append_row(text, typid, nullable);
	else if (typid != RECORDOID)
		append_string(text, NULL, nullable);
}

/* What of a schema object says which values a type has. */
static void
append_type(StringInfo text, Oid typid, int32 typmod, bool nullable)
{
	check_stack_depth();
	typid = getBaseTypeAndTypmod(typid, &typmod);
	switch (typid)
	{
		case BOOLOID:
			append_type_name(text, "boolean", nullable);
			break;
		case INT2OID:
			append_integer(text, ",\"minimum\":-32768,\"maximum\":32767",
						   nullable);
			break;
		case INT4OID:
			append_integer(text,
						   ",\"minimum\":-2147483648,\"maximum\":2147483647",
						   nullable);
			break;
		case INT8OID:
			append_integer(text, "", nullable);
			break;
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			/* NaN and infinity are strings */
			appendStringInfo(text, "\"type\":[\"number\",\"string\"%s]",
							 nullable ? ",\"null\"" : "");
			break;
		case VARCHAROID:
		case BPCHAROID:
			append_characters(text, typmod, nullable);
			break;
		case DATEOID:
			append_string(text, "date", nullable);
			break;
		case TIMESTAMPTZOID:
			append_string(text, "date-time", nullable);
			break;
		case UUIDOID:
			append_string(text, "uuid", nullable);
			break;
		case JSONOID:
		case JSONBOID:
			break;				/* anything */
		default:
			append_other(text, typid, nullable);
			break;
	}
}

/* ------------------------------------------------------------------------
 * levels
 * ------------------------------------------------------------------------
 */
typedef struct Schema
{
	StringInfo	text;
	Selection  *root;
} Schema;

static void append_object(Schema *schema, Selection *selection,
						  bool nullable);
static void append_properties(Schema *schema, Selection *selection,
							  bool *first);

static void
append_read_only(StringInfo text, bool read_only)
{
	if (!read_only)
		return;
	/* json columns and the like may have said nothing as yet */
	if (text->data[text->len - 1] != '{')
		appendStringInfoChar(text, ',');
	appendStringInfoString(text, "\"readOnly\":true");
}

static void
append_value(Schema *schema, Selection *selection, SelectionField *field)
{
	StringInfo	text = schema->text;
	Form_pg_attribute column;

	if (field->kind == FIELD_ETAG)
		appendStringInfoString(text,
							   "\"type\":\"string\",\"pattern\":\"^[0-9a-f]{32}$\"");
	else if (field->kind == FIELD_FUNCTION)
	{
		if (field->returns_set)
			append_array(text, true);
		else
			append_type(text, field->typid, -1, true);
		append_read_only(text, true);
	}
	else
	{
		column = TupleDescAttr(selection->model->tupdesc, field->attnum - 1);
		append_type(text, column->atttypid, column->atttypmod,
					!column->attnotnull);
		append_read_only(text, column->attgenerated != '\0');
	}
}

static void
append_relationship(Schema *schema, SelectionField *field)
{
	bool		to_one = field->relationship->direction ==
	RELATIONSHIP_MANY_TO_ONE || !field->relationship->uselist;

	if (to_one)
		append_object(schema, field->child, true);
	else
	{
		appendStringInfoString(schema->text, "\"type\":\"array\",\"items\":{");
		append_object(schema, field->child, false);
		appendStringInfoChar(schema->text, '}');
	}
}

static void
append_properties(Schema *schema, Selection *selection, bool *first)
{
	StringInfo	text = schema->text;
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->unnest)
			append_properties(schema, field->child, first);
		if (field->hidden || field->unnest)
			continue;
		appendStringInfoString(text, *first ? "" : ",");
		*first = false;
		escape_json(text, field->key);
		appendStringInfoString(text, ":{");
		if (field->kind == FIELD_RELATIONSHIP)
			append_relationship(schema, field);
		else
			append_value(schema, selection, field);
		appendStringInfoChar(text, '}');
	}
}

/* Has a new object to have the column? */
static bool
is_required(Model *model, AttrNumber attnum)
{
	Form_pg_attribute column = TupleDescAttr(model->tupdesc, attnum - 1);

	return column->attnotnull && !column->atthasdef &&
		column->attidentity == '\0' && column->attgenerated == '\0';
}

static bool
is_key(Model *model, AttrNumber attnum)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		if (model->keys[i].attnum == attnum)
			return true;
	}
	return false;
}

/* "required":[...]: the key, or what a new object has to have; "" for none. */
static char *
required_fields(Selection *selection, bool keys)
{
	StringInfoData text;
	ListCell   *cell;

	initStringInfo(&text);
	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->hidden || field->kind != FIELD_COLUMN ||
			!(keys ? is_key(selection->model, field->attnum) :
			  is_required(selection->model, field->attnum)))
			continue;
		appendStringInfoString(&text, text.len > 0 ? "," : "\"required\":[");
		escape_json(&text, field->key);
	}
	if (text.len > 0)
		appendStringInfoChar(&text, ']');
	return text.data;
}

/* A document has the key of its object, or what a new one has to have. */
static void
append_required(Schema *schema, Selection *selection)
{
	char	   *required = required_fields(selection, false);

	if (!selection_allows(schema->root, selection, ALLOW_INSERT) ||
		*required == '\0')
		return;
	if (selection_shows_key(selection))
		appendStringInfo(schema->text, ",\"anyOf\":[{%s},{%s}]",
						 required_fields(selection, true), required);
	else
		appendStringInfo(schema->text, ",%s", required);
}

static void
append_object(Schema *schema, Selection *selection, bool nullable)
{
	StringInfo	text = schema->text;
	bool		first = true;

	check_stack_depth();
	append_type_name(text, "object", nullable);
	appendStringInfoString(text, ",\"title\":");
	escape_json(text, selection->model->class_name);
	appendStringInfoString(text, ",\"properties\":{");
	append_properties(schema, selection, &first);
	appendStringInfoString(text, "},\"additionalProperties\":false");
	append_read_only(text,
					 !selection_allows(schema->root, selection, ALLOW_INSERT) &&
					 !selection_allows(schema->root, selection, ALLOW_UPDATE));
	append_required(schema, selection);
}

/* ------------------------------------------------------------------------
 * SQL
 * ------------------------------------------------------------------------
 */
PG_FUNCTION_INFO_V1(orm_json_schema);
Datum
orm_json_schema(PG_FUNCTION_ARGS)
{
	Relation	relation = relation_open_existing(PG_GETARG_OID(0));
	StringInfoData text;
	Schema		schema = {&text, view_selection(relation)};

	initStringInfo(&text);
	appendStringInfoString(&text,
						   "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",");
	append_object(&schema, schema.root, false);
	appendStringInfoChar(&text, '}');
	relation_close(relation, NoLock);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(text.data, text.len));
}
