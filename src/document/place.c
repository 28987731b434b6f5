/*-------------------------------------------------------------------------
 *
 * place.c
 *	  Where in the documents that are being written an error has come up: its
 *	  JSON path, as CONTEXT.
 *
 * While documents are taken apart it is the place that is looked at.  While
 * the session flushes, it is that of the object which the statement has come
 * to: the server tells the column, or (in DETAIL) the key; otherwise it is
 * the row after those that came back.  Where that leaves several objects, an
 * array's index becomes "*" if they differ in it.
 *
 * All of this is done when there is an error, and costs nothing before.  What
 * is allocated is in the memory of the call that failed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "document/parts.h"
#include "session/flush.h"
#include "session/graph.h"

/* A step of a path: a key, or an index where that is NULL. */
typedef struct PlaceStep
{
	const char *key;
	int			index;
} PlaceStep;

#define ANY_INDEX (-1)

/* Steps are palloc'd. */
typedef struct Place
{
	int			nsteps;
	PlaceStep  *steps;
	const char *column;			/* a last key, or NULL */
} Place;

/* ------------------------------------------------------------------------
 * places
 * ------------------------------------------------------------------------
 */
static void
place_add(Place *place, const char *key, int index)
{
	place->steps = place->steps == NULL ? palloc(sizeof(PlaceStep)) :
		repalloc(place->steps, (place->nsteps + 1) * sizeof(PlaceStep));
	place->steps[place->nsteps].key = key;
	place->steps[place->nsteps++].index = index;
}

static void
place_add_node(Place *place, SavedNode *node)
{
	if (node->parent != NULL)
	{
		place_add_node(place, node->parent);
		if (!node->entry->field->unnest)
			place_add(place, node->entry->field->key, 0);
	}
	if (node->index >= 0)
		place_add(place, NULL, node->index);
}

static Place
place_of(SavedNode *node, SavedRelationship *entry)
{
	Place		place = {0};

	if (node != NULL)
		place_add_node(&place, node);
	if (entry != NULL)
		place_add(&place, entry->field->key, 0);
	return place;
}

/* Makes the place one that stands for both. */
static void
place_join(Place *place, const Place *other)
{
	int			n = Min(place->nsteps, other->nsteps);
	int			i;

	for (i = 0; i < n; i++)
	{
		PlaceStep  *a = &place->steps[i];
		PlaceStep  *b = &other->steps[i];

		if ((a->key == NULL) != (b->key == NULL) ||
			(a->key != NULL && strcmp(a->key, b->key) != 0))
			break;
		if (a->index != b->index)
			a->index = ANY_INDEX;
	}
	place->nsteps = i;
}

static void
append_key(StringInfo path, const char *key)
{
	bool		plain = *key != '\0' && !(*key >= '0' && *key <= '9');

	for (const char *c = key; *c != '\0'; c++)
		plain &= IS_HIGHBIT_SET(*c) || *c == '_' || (*c >= '0' && *c <= '9') ||
			(*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
	appendStringInfoChar(path, '.');
	if (plain)
		appendStringInfoString(path, key);
	else
		escape_json(path, key);
}

static char *
place_path(const Place *place)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfoChar(&path, '$');
	for (int i = 0; i < place->nsteps; i++)
	{
		PlaceStep  *step = &place->steps[i];

		if (step->key != NULL)
			append_key(&path, step->key);
		else if (step->index == ANY_INDEX)
			appendStringInfoString(&path, "[*]");
		else
			appendStringInfo(&path, "[%d]", step->index);
	}
	if (place->column != NULL)
		append_key(&path, place->column);
	return path.data;
}

/* ------------------------------------------------------------------------
 * nodes and objects
 * ------------------------------------------------------------------------
 */

/* Visits nodes from the list down; stops where the function returns true. */
typedef bool (*NodeVisit) (SavedNode *node, SavedRelationship *entry,
						   void *arg);

static bool
visit_nodes(List *nodes, NodeVisit visit, void *arg)
{
	ListCell   *cell;

	foreach(cell, nodes)
	{
		SavedNode  *node = lfirst(cell);
		ListCell   *entry_cell;

		if (visit(node, NULL, arg))
			return true;
		foreach(entry_cell, node->parts.relationships)
		{
			SavedRelationship *entry = lfirst(entry_cell);

			if (visit(node, entry, arg) ||
				visit_nodes(entry->nodes, visit, arg))
				return true;
		}
	}
	return false;
}

typedef struct ObjectPlace
{
	Object	   *object;
	SavedNode  *node;
	Place		place;
} ObjectPlace;

static bool
visit_object(SavedNode *node, SavedRelationship *entry, void *arg)
{
	ObjectPlace *wanted = arg;

	if (entry == NULL ? node->object != wanted->object &&
		node->link != wanted->object :
		!list_member_ptr(entry->dropped, wanted->object))
		return false;
	wanted->node = node;
	wanted->place = place_of(node, entry);
	return true;
}

typedef struct ModelPlace
{
	Oid			relid;
	bool		found;
	Place		place;
} ModelPlace;

/* Joins the places of all objects or links of a table. */
static bool
visit_model(SavedNode *node, SavedRelationship *entry, void *arg)
{
	ModelPlace *wanted = arg;
	Place		place;

	if (entry == NULL ? node->selection->model->relid != wanted->relid :
		entry->field->relationship->secondary != wanted->relid)
		return false;
	place = place_of(node, entry);
	if (!wanted->found)
		wanted->place = place;
	else
		place_join(&wanted->place, &place);
	wanted->found = true;
	return false;
}

/* ------------------------------------------------------------------------
 * what the error says
 * ------------------------------------------------------------------------
 */
static bool
row_value_is_null(Model *model, Datum row, AttrNumber attnum)
{
	bool		isnull;

	(void) row_column(model, row, attnum, &isnull);
	return isnull;
}

/* "(a, b)=(1, 2)" of a row, for columns whose names are in the text. */
static bool
row_has_detail_key(Model *model, Datum row, List *attnums,
				   const char *values)
{
	ListCell   *cell;

	foreach(cell, attnums)
	{
		AttrNumber	attnum = lfirst_int(cell);
		bool		isnull;
		Datum		value = row_column(model, row, attnum, &isnull);
		Oid			output;
		bool		is_varlena;
		char	   *text = "null";
		int			length;

		if (!isnull)
		{
			getTypeOutputInfo(TupleDescAttr(model->tupdesc,
											attnum - 1)->atttypid,
							  &output, &is_varlena);
			text = OidOutputFunctionCall(output, value);
		}
		length = strlen(text);
		if (strncmp(values, text, length) != 0)
			return false;
		values += length;
		if (lnext(attnums, cell) != NULL)
		{
			if (strncmp(values, ", ", 2) != 0)
				return false;
			values += 2;
		}
	}
	return *values == ')';
}

/* The columns that "(a, b)=(1, 2)" is about, if all of them are columns. */
static List *
detail_columns(Model *model, const char *detail, const char **values)
{
	const char *begin = detail ? strchr(detail, '(') : NULL;
	const char *end = begin ? strstr(begin, ")=(") : NULL;
	List	   *attnums = NIL;

	if (end == NULL)
		return NIL;
	*values = end + 3;
	for (begin++; begin < end; begin += 2)
	{
		AttrNumber	attnum = InvalidAttrNumber;
		int			length = 0;

		for (int i = 0; i < model->tupdesc->natts; i++)
		{
			Form_pg_attribute column = TupleDescAttr(model->tupdesc, i);
			const char *name = NameStr(column->attname);
			const char *names[] = {name, quote_identifier(name)};

			for (int n = 0; n < 2 && !column->attisdropped; n++)
			{
				int			l = strlen(names[n]);

				if (strncmp(begin, names[n], l) == 0 &&
					(begin + l == end || strncmp(begin + l, ", ", 2) == 0))
				{
					attnum = column->attnum;
					length = l;
				}
			}
		}
		if (attnum == InvalidAttrNumber)
			return NIL;
		attnums = lappend_int(attnums, attnum);
		begin += length;
	}
	return attnums;
}

/* The object with the key of DETAIL, or -1. */
static int
object_of_detail(FlushProgress *progress, List *attnums, const char *values)
{
	for (int i = 0; i < progress->nobjects; i++)
	{
		int			n = (progress->next + i) % progress->nobjects;

		if (row_has_detail_key(progress->model, flush_progress_row(n), attnums,
							   values))
			return n;
	}
	return -1;
}

/* The object that has NULL where that must not be, or -1. */
static int
object_with_null(FlushProgress *progress, AttrNumber attnum)
{
	for (int i = progress->next; i < progress->nobjects; i++)
	{
		if (row_value_is_null(progress->model, flush_progress_row(i), attnum))
			return i;
	}
	return -1;
}

/* The column of a CHECK constraint of the table that is of one column. */
static AttrNumber
column_of_check(Model *model, const ErrorData *error)
{
	Oid			oid;
	Bitmapset  *columns;
	int			member;

	if (error->sqlerrcode != ERRCODE_CHECK_VIOLATION ||
		error->constraint_name == NULL || error->datatype_name != NULL)
		return InvalidAttrNumber;
	columns = get_relation_constraint_attnos(model->relid,
											 error->constraint_name, true,
											 &oid);
	if (!bms_get_singleton_member(columns, &member))
		return InvalidAttrNumber;
	return member_column(member);
}

/* The object that the statement failed at, or -1; *attnum is its column. */
static int
failed_object(FlushProgress *progress, const ErrorData *error,
			  AttrNumber *attnum)
{
	const char *values;
	List	   *attnums;

	*attnum = column_of_check(progress->model, error);
	if (error->column_name != NULL)
		*attnum = model_attnum(progress->model, error->column_name, true);
	attnums = ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
		ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ?
		detail_columns(progress->model, error->detail, &values) : NIL;
	if (list_length(attnums) == 1 && *attnum == InvalidAttrNumber)
		*attnum = linitial_int(attnums);
	if (progress->nobjects == 1)
		return 0;
	if (attnums != NIL)
		return object_of_detail(progress, attnums, values);
	if (error->sqlerrcode == ERRCODE_NOT_NULL_VIOLATION &&
		*attnum != InvalidAttrNumber)
		return object_with_null(progress, *attnum);
	return progress->next < progress->nobjects ? progress->next : -1;
}

/* The key that a column has in documents: its own, or that of its object. */
static const char *
column_key(Selection *selection, AttrNumber attnum)
{
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->kind == FIELD_COLUMN && field->attnum == attnum &&
			!field->hidden)
			return field->key;
	}
	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->kind == FIELD_RELATIONSHIP && !field->unnest &&
			field->relationship->direction == RELATIONSHIP_MANY_TO_ONE &&
			field->relationship->nlocal == 1 &&
			field->relationship->local_attnums[0] == attnum)
			return field->key;
	}
	return NULL;
}

/* ------------------------------------------------------------------------
 * values that are none of their type
 * ------------------------------------------------------------------------
 */

static const char *
type_name(Oid typid)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	const char *name = "";

	if (HeapTupleIsValid(tuple))
	{
		name = pstrdup(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
		ReleaseSysCache(tuple);
	}
	return name;
}

/* Does the error seem to be about that value of a document? */
static bool
error_is_about(const ErrorData *error, Form_pg_attribute column,
			   JsonbValue *value)
{
	Jsonb	   *json;
	char	   *text;

	if (error->datatype_name != NULL)
		return strcmp(error->datatype_name, type_name(column->atttypid)) == 0 ||
			strcmp(error->datatype_name,
				   type_name(get_base_element_type(column->atttypid))) == 0;
	if (value->type == jbvString)
		text = pnstrdup(value->val.string.val, value->val.string.len);
	else if (value->type == jbvBinary)
		text = JsonbToCString(NULL, value->val.binary.data,
							  value->val.binary.len);
	else
	{
		json = JsonbValueToJsonb(value);
		text = JsonbToCString(NULL, &json->root, VARSIZE(json));
	}
	if (error->sqlerrcode == ERRCODE_STRING_DATA_RIGHT_TRUNCATION)
		return column->atttypmod >= VARHDRSZ &&
			pg_mbstrlen(text) > column->atttypmod - VARHDRSZ;
	return strstr(error->message, psprintf("\"%s\"", text)) != NULL;
}

/* The column whose value could not be taken, if only one comes into question. */
static AttrNumber
column_of_value(SavedNode *node, const ErrorData *error)
{
	Model	   *model = node->selection->model;
	AttrNumber	result = InvalidAttrNumber;

	if (node->parts.columns == NULL || error->message == NULL ||
		(ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION &&
		 error->datatype_name == NULL))
		return InvalidAttrNumber;
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(model->tupdesc, i);
		JsonbValue	key = {
			.type = jbvString,
			.val.string = {strlen(NameStr(column->attname)),
			NameStr(column->attname)}
		};
		JsonbValue *value =
		findJsonbValueFromContainer(&node->parts.columns->root, JB_FOBJECT,
									&key);

		if (value == NULL || column->attisdropped ||
			!error_is_about(error, column, value))
			continue;
		if (result != InvalidAttrNumber)
			return InvalidAttrNumber;
		result = column->attnum;
	}
	return result;
}

/* The place that is looked at while documents are taken apart. */
static Place
present_place(SaveContext *context)
{
	Place		place = place_of(context->node, context->entry);
	ErrorData  *error = CopyErrorData();
	AttrNumber	attnum;

	if (context->reading != NULL)
		return place_of(context->reading[context->at], context->entry);
	if (error->elevel < ERROR || context->entry != NULL)
		return place;
	attnum = column_of_value(context->node, error);
	if (attnum != InvalidAttrNumber)
		place.column = column_key(context->node->selection, attnum);
	return place;
}

/* ------------------------------------------------------------------------
 * the CONTEXT line
 * ------------------------------------------------------------------------
 */

/* The place of what the flush has come to; false if there is none. */
static bool
flush_place(SaveContext *context, FlushProgress *progress, Place *place)
{
	ErrorData  *error = CopyErrorData();
	ObjectPlace object = {0};
	ModelPlace	model = {.relid = progress->model->relid};
	AttrNumber	attnum;
	int			i;

	if (error->elevel < ERROR)
		return false;			/* nobody asks where a notice is from */
	i = failed_object(progress, error, &attnum);
	if (i >= 0)
	{
		object.object = flush_progress_object(i);
		if (!visit_nodes(context->nodes, visit_object, &object))
			return false;
		*place = object.place;
		if (object.node->object == object.object &&
			attnum != InvalidAttrNumber)
			place->column = column_key(object.node->selection, attnum);
		return true;
	}
	(void) visit_nodes(context->nodes, visit_model, &model);
	*place = model.place;
	return model.found;
}

void
place_error_context(void *arg)
{
	SaveContext *context = arg;
	MemoryContext old = MemoryContextSwitchTo(context->memory);
	FlushProgress progress;
	Place		place = {0};
	bool		known;

	if (flush_progress(&progress))
		known = flush_place(context, &progress, &place);
	else
	{
		known = context->node != NULL || context->reading != NULL;
		if (known)
			place = present_place(context);
	}
	if (known)
		errcontext("document of %s at %s", context->root->model->class_name,
				   place_path(&place));
	else
		errcontext("document of %s", context->root->model->class_name);
	MemoryContextSwitchTo(old);
}
