/*-------------------------------------------------------------------------
 *
 * resolve.c
 *	  What the names in a selection mean: columns, relationships, functions.
 *
 * A column comes before a relationship of the same name, and that before a
 * function.  Functions are those of the table's schema with one argument, a
 * row of the table; who may execute them is for the executor to say.  One
 * that returns a set of ROWS 1 gives one value, or null: unlike other
 * functions in SQL, such ones with a query in them are inlined.
 *
 * Everything is allocated in the current memory context.  No locks: the
 * parser takes them when the statements are made.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "document/selection.h"

/* ------------------------------------------------------------------------
 * functions
 * ------------------------------------------------------------------------
 */
static bool
is_field_function(Form_pg_proc form, Model *model, Oid schema)
{
	return form->pronamespace == schema && form->prokind == PROKIND_FUNCTION &&
		form->pronargs == 1 && form->proargtypes.values[0] == model->rowtype &&
		(get_typtype(form->prorettype) != TYPTYPE_PSEUDO ||
		 form->prorettype == RECORDOID);
}

/* Makes the field one of a function of that name, if there is one. */
static bool
resolve_function(SelectionField *field, Model *model)
{
	Oid			schema = get_rel_namespace(model->relid);
	CatCList   *list;
	bool		found = false;

	if (strlen(field->name) >= NAMEDATALEN)
		return false;
	list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(field->name));
	for (int i = 0; i < list->n_members && !found; i++)
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (!is_field_function(form, model, schema))
			continue;
		field->kind = FIELD_FUNCTION;
		field->function = form->oid;
		field->returns_set = form->proretset && form->prorows != 1;
		field->one_row = form->proretset && form->prorows == 1;
		field->typid = form->prorettype;
		found = true;
	}
	ReleaseSysCacheList(list);
	return found;
}

/* ------------------------------------------------------------------------
 * errors
 * ------------------------------------------------------------------------
 */
static void
wrong_field(Selection *selection, SelectionField *field, const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s", message),
			 selection_errposition(selection->text, field->location)));
}

static List *
known_names(Model *model, bool relationships_only)
{
	List	   *names = NIL;

	for (int i = 0; i < model->nrelationships; i++)
		names = lappend(names, model->relationships[i]->name);
	for (int i = 0; i < model->tupdesc->natts && !relationships_only; i++)
	{
		Form_pg_attribute column = TupleDescAttr(model->tupdesc, i);

		if (!column->attisdropped)
			names = lappend(names, NameStr(column->attname));
	}
	return names;
}

static void
unknown_field(Selection *selection, SelectionField *field)
{
	bool		relationship = field->child != NULL;
	Model	   *model = selection->model;
	const char *nearest = nearest_name(field->name,
									   known_names(model, relationship));

	ereport(ERROR,
			(errcode(relationship ? ERRCODE_UNDEFINED_OBJECT :
					 ERRCODE_UNDEFINED_COLUMN),
			 errmsg(relationship ? "class \"%s\" has no relationship \"%s\"" :
					"class \"%s\" has no column, relationship or function \"%s\"",
					model->class_name, field->name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0,
			 selection_errposition(selection->text, field->location)));
}

/* ------------------------------------------------------------------------
 * fields
 * ------------------------------------------------------------------------
 */
static void
resolve_relationship(Selection *selection, SelectionField *field,
					 Relationship *relationship)
{
	bool		to_one = relationship->direction == RELATIONSHIP_MANY_TO_ONE ||
		!relationship->uselist;

	field->kind = FIELD_RELATIONSHIP;
	field->relationship = relationship;
	if (field->child == NULL)
		wrong_field(selection, field,
					psprintf("relationship \"%s\" needs the fields that are wanted, as in %s { ... }",
							 field->name, field->name));
	if (field->unnest && !to_one)
		wrong_field(selection, field,
					psprintf("relationship \"%s\" leads to several objects and cannot be unnested",
							 field->name));
	if (field->unnest && strcmp(field->key, field->name) != 0)
		wrong_field(selection, field,
					"what is unnested has no key of its own");
	if (to_one && (field->limit >= 0 || field->offset > 0 || field->order_by))
		wrong_field(selection, field,
					psprintf("relationship \"%s\" leads to one object: it has no order, limit or offset",
							 field->name));
	selection_resolve(field->child, model_by_relid(relationship->target,
												   false));
}

static void
resolve_column(SelectionField *field, Model *model, AttrNumber attnum)
{
	field->kind = FIELD_COLUMN;
	field->attnum = attnum;
	field->typid = TupleDescAttr(model->tupdesc, attnum - 1)->atttypid;
}

static void
resolve_field(Selection *selection, SelectionField *field)
{
	Model	   *model = selection->model;
	AttrNumber	attnum = model_attnum(model, field->name, true);
	Relationship *relationship = model_relationship(model, field->name, true);

	if (field->child != NULL && relationship != NULL)
		resolve_relationship(selection, field, relationship);
	else if (attnum != InvalidAttrNumber && field->child == NULL)
		resolve_column(field, model, attnum);
	else if (attnum != InvalidAttrNumber)
		wrong_field(selection, field,
					psprintf("column \"%s\" has no fields", field->name));
	else if (relationship != NULL)
		resolve_relationship(selection, field, relationship);
	else if (field->child == NULL && strcmp(field->name, ETAG_FIELD) == 0)
	{
		field->kind = FIELD_ETAG;
		field->nocheck = true;
	}
	else if (!resolve_function(field, model))
		unknown_field(selection, field);
	else if (field->child != NULL)
		wrong_field(selection, field,
					psprintf("function \"%s\" has no fields", field->name));
}

/* ------------------------------------------------------------------------
 * "*"
 * ------------------------------------------------------------------------
 */
static bool
names_column(List *fields, const char *name)
{
	ListCell   *cell;

	foreach(cell, fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->kind != FIELD_STAR && field->child == NULL &&
			strcmp(field->name, name) == 0)
			return true;
	}
	return false;
}

/* The columns that the selection does not name by themselves. */
static List *
expand_star(Selection *selection, SelectionField *star)
{
	Model	   *model = selection->model;
	List	   *fields = NIL;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(model->tupdesc, i);
		SelectionField *field;

		if (column->attisdropped ||
			names_column(selection->fields, NameStr(column->attname)))
			continue;
		field = palloc(sizeof(SelectionField));
		*field = *star;
		field->name = field->key = pstrdup(NameStr(column->attname));
		resolve_column(field, model, column->attnum);
		fields = lappend(fields, field);
	}
	return fields;
}

static void
expand_stars(Selection *selection)
{
	List	   *fields = NIL;
	bool		seen = false;
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->kind != FIELD_STAR)
		{
			fields = lappend(fields, field);
			continue;
		}
		if (seen)
			wrong_field(selection, field, "\"*\" stands twice at one level");
		seen = true;
		fields = list_concat(fields, expand_star(selection, field));
	}
	selection->fields = fields;
}

/* ------------------------------------------------------------------------
 * the whole
 * ------------------------------------------------------------------------
 */
static int
count_key(List *keys, const char *key)
{
	int			n = 0;
	ListCell   *cell;

	foreach(cell, keys)
	{
		if (strcmp(lfirst(cell), key) == 0)
			n++;
	}
	return n;
}

static void
check_keys(Selection *selection)
{
	List	   *keys = selection_keys(selection);
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);
		ListCell   *key;

		foreach(key, field->unnest ? selection_keys(field->child) :
				list_make1(field->key))
		{
			if (count_key(keys, lfirst(key)) > 1)
				wrong_field(selection, field,
							psprintf("the document would have \"%s\" twice",
									 (char *) lfirst(key)));
		}
	}
}

static bool
is_visible(SelectionField *field)
{
	ListCell   *cell;

	if (!field->unnest)
		return !field->hidden;
	foreach(cell, field->child->fields)
	{
		if (is_visible(lfirst(cell)))
			return true;
	}
	return false;
}

void
selection_resolve(Selection *selection, Model *model)
{
	ListCell   *cell;

	selection->model = model;
	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->kind != FIELD_STAR)
			resolve_field(selection, field);
	}
	expand_stars(selection);
	check_keys(selection);
	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->unnest && (field->hidden || !is_visible(field)))
			wrong_field(selection, field,
						"what is unnested shows at least one field");
	}
}
