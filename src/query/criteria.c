/*-------------------------------------------------------------------------
 *
 * criteria.c
 *	  Putting a statement together from pg_orm's own pieces, the user's
 *	  fragments, and values.
 *
 * Every statement begins with a comment that says which call it is from, and
 * has the same text for the same shape.  Values are parameters: first those
 * of the user's params, then pg_orm's own.
 *
 * A Composition lives in the memory context it was made in, which is that of
 * the call's SPI connection.  No locks are taken here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "query/internal.h"

static void
composition_set_params(Composition *composition, Jsonb *params)
{
	if (params == NULL)
		return;
	if (JB_ROOT_IS_SCALAR(params))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("params of %s must be a JSON object or array",
						composition->call),
				 errhint("An object gives values for :name in the fragments, an array those of $1, $2, ...")));
	composition->params = &params->root;
	composition->nparams = JsonContainerSize(composition->params);
}

Composition *
composition_create(const char *call, Model *model, const char *action,
				   Jsonb *params)
{
	Composition *composition = palloc0(sizeof(Composition));

	composition->call = call;
	composition->model = model;
	composition->relname = get_rel_name(model->relid);
	composition->alias = quote_identifier(composition->relname);
	composition_set_params(composition, params);
	initStringInfo(&composition->text);
	appendStringInfo(&composition->text, "/* pg_orm %s %s */ ", action,
					 class_comment(model));
	return composition;
}

void
compose_fragment(Composition *composition, FragmentKind kind,
				 const char *text)
{
	Fragment   *fragment = palloc(sizeof(Fragment));

	fragment->kind = kind;
	fragment->text = text;
	fragment->offset = composition->text.len;
	composition->fragments = lappend(composition->fragments, fragment);
}

static int
compose_value(Composition *composition, Value *value)
{
	composition->values = lappend(composition->values, value);
	return composition->nparams + list_length(composition->values);
}

int
compose_datum(Composition *composition, const char *name, Oid type,
			  Datum datum, bool isnull)
{
	Value	   *value = palloc0(sizeof(Value));

	value->name = name;
	value->type = type;
	value->datum = datum;
	value->isnull = isnull;
	return compose_value(composition, value);
}

int
compose_json(Composition *composition, const char *name, Oid type,
			 const JsonbValue *json)
{
	Value	   *value = palloc0(sizeof(Value));

	value->name = name;
	value->type = type;
	value->is_json = true;
	value->json = *json;
	return compose_value(composition, value);
}

void
compose_criteria(Composition *composition, const char *keyword,
				 const char *filter, Jsonb *filter_by)
{
	if (filter == NULL && filter_by == NULL)
		return;
	appendStringInfo(&composition->text, " %s ", keyword);
	if (filter != NULL)
	{
		appendStringInfoChar(&composition->text, '(');
		compose_fragment(composition, FRAGMENT_FILTER, filter);
		appendStringInfoChar(&composition->text, ')');
	}
	if (filter_by != NULL)
	{
		if (filter != NULL)
			appendStringInfoString(&composition->text, " AND ");
		compose_filter_by(composition, filter_by);
	}
}

char *
composition_text(Composition *composition, List **names, FragmentSpan **spans)
{
	StringInfo	own = &composition->text;
	StringInfoData result;
	ListCell   *cell;
	int			copied = 0;
	int			n = 0;

	initStringInfo(&result);
	*spans = palloc(sizeof(FragmentSpan) *
					Max(list_length(composition->fragments), 1));
	foreach(cell, composition->fragments)
	{
		Fragment   *fragment = lfirst(cell);
		FragmentSpan *span = &(*spans)[n++];
		char	   *text = fragment_number_params(composition, fragment, names);

		fragment_check(composition, fragment, text);
		appendBinaryStringInfo(&result, own->data + copied,
							   fragment->offset - copied);
		copied = fragment->offset;
		span->fragment = fragment;
		span->start = pg_mbstrlen_with_len(result.data, result.len);
		appendStringInfoString(&result, text);
		span->end = pg_mbstrlen_with_len(result.data, result.len);
		/* the newline ends a comment with which the fragment may end */
		appendStringInfoChar(&result, '\n');
	}
	appendStringInfoString(&result, own->data + copied);
	return result.data;
}
