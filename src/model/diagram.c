/*-------------------------------------------------------------------------
 *
 * diagram.c
 *	  orm.diagram: the models as text for Mermaid or Graphviz.
 *
 * Reads the metadata cache; keeps nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "model/model.h"

/* Writes one class, and one relationship of it. */
typedef struct DiagramFormat
{
	const char *name;
	const char *begin;
	void		(*model) (StringInfo buf, Model *model);
	void		(*relationship) (StringInfo buf, Model *model,
								 Relationship *relationship, Model *target);
	const char *end;
} DiagramFormat;

/* ------------------------------------------------------------------------
 * what the formats share
 * ------------------------------------------------------------------------
 */

static bool
is_key(Model *model, AttrNumber attnum)
{
	for (int i = 0; i < model->nkeys; i++)
		if (model->keys[i].attnum == attnum)
			return true;
	return false;
}

static bool
is_foreign_key(Model *model, AttrNumber attnum)
{
	for (int i = 0; i < model->nrelationships; i++)
	{
		Relationship *rel = model->relationships[i];

		if (rel->direction != RELATIONSHIP_MANY_TO_ONE)
			continue;
		for (int k = 0; k < rel->nlocal; k++)
			if (rel->local_attnums[k] == attnum)
				return true;
	}
	return false;
}

/* A letter or digit of ASCII, or anything beyond ASCII. */
static bool
is_word(char c)
{
	return IS_HIGHBIT_SET(c) || (c >= 'a' && c <= 'z') ||
		(c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Appends a word that has no other characters, with _ in their places. */
static void
append_word(StringInfo buf, const char *word)
{
	for (const char *c = word; *c; c++)
		appendStringInfoChar(buf, is_word(*c) ? *c : '_');
}

/* Can both directions be drawn as one line, and is this the other one? */
static bool
is_drawn_by_backref(Model *model, Relationship *rel, Model *target)
{
	int			order;

	if (rel->backref == NULL)
		return false;
	if (rel->direction == RELATIONSHIP_ONE_TO_MANY)
		return true;
	if (rel->direction == RELATIONSHIP_MANY_TO_ONE)
		return false;
	order = strcmp(model->class_name, target->class_name);
	return order > 0 || (order == 0 && strcmp(rel->name, rel->backref) > 0);
}

/* May the foreign key be NULL? */
static bool
is_optional(Model *model, Relationship *rel)
{
	for (int i = 0; i < rel->nlocal; i++)
		if (!TupleDescAttr(model->tupdesc,
						   rel->local_attnums[i] - 1)->attnotnull)
			return true;
	return false;
}

/* Is the other direction a single object too? */
static bool
is_one_to_one(Relationship *rel, Model *target)
{
	Relationship *back = rel->backref ?
		model_relationship(target, rel->backref, true) : NULL;

	return back != NULL && !back->uselist;
}

/* ------------------------------------------------------------------------
 * Mermaid
 * ------------------------------------------------------------------------
 */

/* A name in double quotes, which cannot contain one. */
static void
append_mermaid_name(StringInfo buf, const char *name)
{
	appendStringInfoChar(buf, '"');
	for (const char *c = name; *c; c++)
		appendStringInfoChar(buf, *c == '"' ? '\'' : *c);
	appendStringInfoChar(buf, '"');
}

static void
mermaid_model(StringInfo buf, Model *model)
{
	appendStringInfoString(buf, "    ");
	append_mermaid_name(buf, model->class_name);
	appendStringInfoString(buf, " {\n");
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(model->tupdesc, i);
		bool		key = is_key(model, att->attnum);
		bool		foreign = is_foreign_key(model, att->attnum);

		if (att->attisdropped)
			continue;
		appendStringInfoString(buf, "        ");
		append_word(buf, format_type_be(att->atttypid));
		appendStringInfoChar(buf, ' ');
		append_word(buf, NameStr(att->attname));
		appendStringInfo(buf, "%s%s%s\n", key ? " PK" : "",
						 key && foreign ? "," : "", foreign ? " FK" : "");
	}
	appendStringInfoString(buf, "    }\n");
}

/* Crow's feet: what the left side is to the right, and the reverse. */
static const char *
mermaid_line(Model *model, Relationship *rel, Model *target)
{
	switch (rel->direction)
	{
		case RELATIONSHIP_MANY_TO_MANY:
			return "}o--o{";
		case RELATIONSHIP_ONE_TO_MANY:
			return rel->uselist ? "||--o{" : "||--o|";
		case RELATIONSHIP_MANY_TO_ONE:
			if (is_one_to_one(rel, target))
				return is_optional(model, rel) ? "|o--o|" : "|o--||";
			return is_optional(model, rel) ? "}o--o|" : "}o--||";
	}
	pg_unreachable();
}

static void
mermaid_relationship(StringInfo buf, Model *model, Relationship *rel,
					 Model *target)
{
	appendStringInfoString(buf, "    ");
	append_mermaid_name(buf, model->class_name);
	appendStringInfo(buf, " %s ", mermaid_line(model, rel, target));
	append_mermaid_name(buf, target->class_name);
	appendStringInfoString(buf, " : ");
	append_mermaid_name(buf, rel->name);
	appendStringInfoChar(buf, '\n');
}

/* ------------------------------------------------------------------------
 * Graphviz
 * ------------------------------------------------------------------------
 */

/* Text of a record label: what structures it is escaped. */
static void
append_dot_label(StringInfo buf, const char *text)
{
	for (const char *c = text; *c; c++)
	{
		if (strchr("\\\"{}|<> ", *c))
			appendStringInfoChar(buf, '\\');
		appendStringInfoChar(buf, *c);
	}
}

static void
append_dot_name(StringInfo buf, const char *name)
{
	appendStringInfoChar(buf, '"');
	for (const char *c = name; *c; c++)
	{
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(buf, '\\');
		appendStringInfoChar(buf, *c);
	}
	appendStringInfoChar(buf, '"');
}

static void
dot_model(StringInfo buf, Model *model)
{
	appendStringInfoString(buf, "    ");
	append_dot_name(buf, model->class_name);
	appendStringInfoString(buf, " [label=\"{");
	append_dot_label(buf, model->class_name);
	appendStringInfoChar(buf, '|');
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(model->tupdesc, i);

		if (att->attisdropped)
			continue;
		append_dot_label(buf, NameStr(att->attname));
		appendStringInfoString(buf, "\\ :\\ ");
		append_dot_label(buf, format_type_be(att->atttypid));
		appendStringInfo(buf, "%s%s\\l",
						 is_key(model, att->attnum) ? "\\ PK" : "",
						 is_foreign_key(model, att->attnum) ? "\\ FK" : "");
	}
	appendStringInfoString(buf, "}\"];\n");
}

static const char *
dot_line(Relationship *rel, Model *target)
{
	switch (rel->direction)
	{
		case RELATIONSHIP_MANY_TO_MANY:
			return "dir=both, arrowtail=crow, arrowhead=crow";
		case RELATIONSHIP_ONE_TO_MANY:
			return rel->uselist ? "dir=both, arrowtail=none, arrowhead=crow" :
				"dir=both, arrowtail=none, arrowhead=none";
		case RELATIONSHIP_MANY_TO_ONE:
			return is_one_to_one(rel, target) ?
				"dir=both, arrowtail=none, arrowhead=none" :
				"dir=both, arrowtail=crow, arrowhead=none";
	}
	pg_unreachable();
}

static void
dot_relationship(StringInfo buf, Model *model, Relationship *rel,
				 Model *target)
{
	appendStringInfoString(buf, "    ");
	append_dot_name(buf, model->class_name);
	appendStringInfoString(buf, " -> ");
	append_dot_name(buf, target->class_name);
	appendStringInfoString(buf, " [label=");
	append_dot_name(buf, rel->name);
	appendStringInfo(buf, ", %s];\n", dot_line(rel, target));
}

/* ------------------------------------------------------------------------
 * orm.diagram
 * ------------------------------------------------------------------------
 */

static const DiagramFormat formats[] = {
	{"mermaid", "erDiagram\n", mermaid_model, mermaid_relationship, ""},
	{"dot", "digraph orm {\n    rankdir=LR;\n    node [shape=record];\n",
	dot_model, dot_relationship, "}\n"},
};

static const DiagramFormat *
find_format(const char *name)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format \"%s\" of a diagram", name),
			 errhint("The formats are mermaid and dot.")));
}

static int
compare_models(const ListCell *a, const ListCell *b)
{
	return strcmp(((Model *) lfirst(a))->class_name,
				  ((Model *) lfirst(b))->class_name);
}

static Model *
model_among(List *models, Oid relid)
{
	ListCell   *lc;

	foreach(lc, models)
	{
		Model	   *model = lfirst(lc);

		if (model->relid == relid)
			return model;
	}
	return NULL;
}

static void
append_relationships(StringInfo buf, const DiagramFormat *format,
					 List *models, Model *model)
{
	for (int i = 0; i < model->nrelationships; i++)
	{
		Relationship *rel = model->relationships[i];
		Model	   *target = model_among(models, rel->target);

		if (target && !is_drawn_by_backref(model, rel, target))
			format->relationship(buf, model, rel, target);
	}
}

PG_FUNCTION_INFO_V1(orm_diagram);
Datum
orm_diagram(PG_FUNCTION_ARGS)
{
	const DiagramFormat *format =
		find_format(PG_ARGISNULL(0) ? "mermaid" :
					text_to_cstring(PG_GETARG_TEXT_PP(0)));
	List	   *models = model_list();
	StringInfoData buf;
	ListCell   *lc;

	list_sort(models, compare_models);
	initStringInfo(&buf);
	appendStringInfoString(&buf, format->begin);
	foreach(lc, models)
		format->model(&buf, lfirst(lc));
	foreach(lc, models)
		append_relationships(&buf, format, models, lfirst(lc));
	appendStringInfoString(&buf, format->end);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}
