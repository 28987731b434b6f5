/*-------------------------------------------------------------------------
 *
 * level_sql.c
 *	  The statement of a level.
 *
 * A level below the root is read by the distinct keys of the rows above it,
 * which travel as one array for each column of the key, or, where most rows
 * are wanted, as a whole.  One key alone, as that of a document by itself,
 * travels as what it is, so that the planner knows that there is one.  The
 * first outputs of its statement are those by which its rows find their
 * parents.  The columns of everything but the table itself are renamed, so
 * that the user's fragments, in which the table's own columns are in scope, are
 * not made ambiguous.
 *
 * Rows come in the order that is asked for, and in that of the primary key
 * where this leaves it open.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "document/level.h"

/* ------------------------------------------------------------------------
 * names
 * ------------------------------------------------------------------------
 */
static char *
qualified_relation(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

static char *
qualified_type(Oid typid)
{
	return format_type_extended(typid, -1, FORMAT_TYPE_FORCE_QUALIFY);
}

/* A name of our own that is not the table's. */
static const char *
own_alias(Composition *composition, const char *name)
{
	return strcmp(composition->relname, name) == 0 ? psprintf("%s_1", name) :
		name;
}

static const char *
keys_alias(Composition *composition)
{
	return own_alias(composition, "orm_keys");
}

/*
 * Links that are there once each are called as their table is, for an order
 * by columns of theirs.
 */
static const char *
links_alias(Composition *composition, Level *level)
{
	if (level->unique_links)
		return quote_identifier(own_alias(composition,
										  get_rel_name(level->field->relationship->secondary)));
	return own_alias(composition, "orm_links");
}

static const char *
rows_alias(Composition *composition)
{
	return own_alias(composition, "orm_rows");
}

/* ------------------------------------------------------------------------
 * outputs
 * ------------------------------------------------------------------------
 */
bool
level_column_is_plain(LevelColumn *column)
{
	return column->attnum != InvalidAttrNumber && !OidIsValid(column->cast);
}

/*
 * An output; row is what the row is called in an expression, "users" or
 * "($1)", and whole what stands for the whole of it.
 */
static void
append_column(StringInfo text, Model *model, LevelColumn *column,
			  const char *row, const char *whole)
{
	if (OidIsValid(column->function))
		appendStringInfo(text, column->returns_set ? "ARRAY(SELECT %s(%s))" :
						 column->one_row ?
						 "(SELECT orm_value FROM %s(%s) AS orm_value)" :
						 "%s(%s)",
						 quote_qualified_identifier(get_namespace_name(get_func_namespace(column->function)),
													get_func_name(column->function)),
						 whole);
	else if (OidIsValid(column->cast))
		appendStringInfo(text, "CAST(%s.%s AS %s)", row,
						 column_sql(model, column->attnum),
						 qualified_type(column->cast));
	else
		appendStringInfo(text, "%s.%s", row,
						 column_sql(model, column->attnum));
}

/* The level's own outputs, named orm_c1, ... where named. */
static void
append_columns(Composition *composition, Level *level, bool named)
{
	StringInfo	text = &composition->text;

	for (int i = 0; i < level->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoString(text, ", ");
		append_column(text, level->model, &level->columns[i],
					  composition->alias, psprintf("%s.*", composition->alias));
		if (named)
			appendStringInfo(text, " AS orm_c%d", i + 1);
	}
}

/* A column by which a row finds its parent, as the type of the comparison. */
static void
append_join_column(StringInfo text, const char *alias, Oid relid,
				   AttrNumber attnum, Oid typid)
{
	char	   *column = psprintf("%s.%s", alias,
								  quote_identifier(get_attname(relid, attnum,
															   false)));

	if (getBaseType(get_atttype(relid, attnum)) == typid)
		appendStringInfoString(text, column);
	else
		appendStringInfo(text, "CAST(%s AS %s)", column,
						 qualified_type(typid));
}

/* ------------------------------------------------------------------------
 * order
 * ------------------------------------------------------------------------
 */
static void
append_order(Composition *composition, Level *level, const char *order_by)
{
	Model	   *model = level->model;

	if (order_by != NULL)
	{
		compose_fragment(composition, FRAGMENT_ORDER_BY, order_by);
		appendStringInfoString(&composition->text, ", ");
	}
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&composition->text, "%s%s.%s", i > 0 ? ", " : "",
						 composition->alias,
						 column_sql(model, model->keys[i].attnum));
}

static const char *
level_order(Level *level)
{
	if (level->field->order_by != NULL)
		return level->field->order_by;
	return level->field->relationship->order_by;
}

/* ------------------------------------------------------------------------
 * keys
 * ------------------------------------------------------------------------
 */

/* "$3": an array of the keys that are wanted, one column of them. */
static char *
key_array(Composition *composition, Level *level, int i)
{
	Oid			array_type = get_array_type(level->joins[i].typid);
	int			number;

	if (!OidIsValid(array_type))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type %s has no array type",
						format_type_be(level->joins[i].typid)),
				 errdetail("%s is read by arrays of keys.",
						   level->model->class_name)));
	number = compose_datum(composition, "keys", array_type, (Datum) 0, false);
	level->key_values[SOURCE_KEYS] = lappend(level->key_values[SOURCE_KEYS],
											 llast(composition->values));
	return psprintf("$%d", number);
}

/* "$3": one column of the only key that is wanted. */
static char *
only_key(Composition *composition, Level *level, int i)
{
	int			number = compose_datum(composition, "key",
									   level->joins[i].typid, (Datum) 0, false);

	level->key_values[SOURCE_ONE] = lappend(level->key_values[SOURCE_ONE],
											llast(composition->values));
	return psprintf("$%d", number);
}

/* "ROWS FROM (unnest($1), ...) AS orm_keys(orm_key_1, ...)" */
static void
append_key_rows(Composition *composition, Level *level)
{
	StringInfo	text = &composition->text;

	appendStringInfoString(text, "ROWS FROM (");
	for (int i = 0; i < level->njoin; i++)
		appendStringInfo(text, "%spg_catalog.unnest(%s)", i > 0 ? ", " : "",
						 key_array(composition, level, i));
	appendStringInfo(text, ") AS %s(", keys_alias(composition));
	for (int i = 0; i < level->njoin; i++)
		appendStringInfo(text, "%sorm_key_%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(text, ')');
}

/* "c.a = k.orm_key_1 AND ...", or "c.a = $1 AND ..." */
static void
append_key_equalities(Composition *composition, Level *level,
					  LevelSource source, const char *alias, Oid relid)
{
	for (int i = 0; i < level->njoin; i++)
	{
		LevelJoin  *join = &level->joins[i];
		Oid			type = get_atttype(relid, join->near);

		appendStringInfo(&composition->text, "%s%s.%s%s %s %s",
						 i > 0 ? " AND " : "", alias,
						 quote_identifier(get_attname(relid, join->near, false)),
						 join->collate,
						 operator_sql(types_equality_required(type,
															  join->typid)),
						 source == SOURCE_ONE ?
						 only_key(composition, level, i) :
						 psprintf("%s.orm_key_%d", keys_alias(composition),
								  i + 1));
	}
}

/*
 * FROM and the beginning of WHERE that pick the rows of relid, called alias,
 * with the wanted keys; returns whether there is a WHERE.
 */
static bool
append_picked(Composition *composition, Level *level, LevelSource source,
			  const char *alias, Oid relid)
{
	StringInfo	text = &composition->text;
	LevelJoin  *join = &level->joins[0];

	appendStringInfo(text, " FROM %s AS %s", qualified_relation(relid), alias);
	if (source == SOURCE_ALL)
		return false;
	if (source == SOURCE_ONE)
	{
		appendStringInfoString(text, " WHERE ");
		append_key_equalities(composition, level, source, alias, relid);
		return true;
	}
	if (level->njoin == 1)
	{
		Oid			type = get_atttype(relid, join->near);

		appendStringInfo(text, " WHERE %s.%s%s %s ANY (%s)", alias,
						 quote_identifier(get_attname(relid, join->near, false)),
						 join->collate,
						 operator_sql(types_equality_required(type,
															  join->typid)),
						 key_array(composition, level, 0));
		return true;
	}
	appendStringInfoString(text, " JOIN ");
	append_key_rows(composition, level);
	appendStringInfoString(text, " ON ");
	append_key_equalities(composition, level, source, alias, relid);
	return false;
}

/* ------------------------------------------------------------------------
 * links
 * ------------------------------------------------------------------------
 */

/* Does the index keep the links from being there twice? */
static bool
index_covers_links(Oid index, Relationship *relationship)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	bool		covers;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	covers = form->indisunique && form->indisvalid && form->indimmediate &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
	for (int i = 0; covers && i < form->indnkeyatts; i++)
	{
		bool		found = false;

		for (int j = 0; j < relationship->nlocal; j++)
			found |= relationship->secondary_local[j] == form->indkey.values[i];
		for (int j = 0; j < relationship->nremote; j++)
			found |= relationship->secondary_remote[j] == form->indkey.values[i];
		covers = found;
	}
	ReleaseSysCache(tuple);
	return covers;
}

static bool
links_are_unique(Relationship *relationship)
{
	Relation	secondary = relation_open_existing(relationship->secondary);
	List	   *indexes = RelationGetIndexList(secondary);
	bool		unique = false;
	ListCell   *cell;

	foreach(cell, indexes)
		unique |= index_covers_links(lfirst_oid(cell), relationship);
	list_free(indexes);
	table_close(secondary, NoLock);
	return unique;
}

/* Does SQL that the user gave for the level have the name in it? */
static bool
level_fragments_name(Level *level, const char *name)
{
	const char *order = level_order(level);

	return (order != NULL && strstr(order, name) != NULL) ||
		(level->field->filter != NULL &&
		 strstr(level->field->filter, name) != NULL);
}

/*
 * The columns of links that the user's SQL may mean, as far as the table
 * itself has none so called.  No others: the user need not be allowed to read
 * them.
 */
static void
append_link_columns(Composition *composition, Level *level)
{
	Relation	secondary = table_open(level->field->relationship->secondary,
									   AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(secondary);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(tupdesc, i);

		if (!column->attisdropped &&
			level_fragments_name(level, NameStr(column->attname)) &&
			strncmp(NameStr(column->attname), "orm_", 4) != 0 &&
			model_attnum(level->model, NameStr(column->attname), true) ==
			InvalidAttrNumber)
			appendStringInfo(&composition->text, ", s.%s",
							 quote_identifier(NameStr(column->attname)));
	}
	table_close(secondary, NoLock);
}

/* "(SELECT s.boy_id AS orm_key_1, s.girl_id AS orm_link_1 ...) AS orm_links" */
static void
append_links(Composition *composition, Level *level, LevelSource source)
{
	Relationship *relationship = level->field->relationship;
	Oid			secondary = relationship->secondary;
	StringInfo	text = &composition->text;

	appendStringInfo(text, "(SELECT %s", level->unique_links ? "" : "DISTINCT ");
	for (int i = 0; i < level->njoin; i++)
	{
		append_join_column(text, "s", secondary, level->joins[i].near,
						   level->joins[i].typid);
		appendStringInfo(text, " AS orm_key_%d, ", i + 1);
	}
	for (int i = 0; i < relationship->nremote; i++)
		appendStringInfo(text, "%ss.%s AS orm_link_%d", i > 0 ? ", " : "",
						 quote_identifier(get_attname(secondary,
													  relationship->secondary_remote[i],
													  false)), i + 1);
	if (level->unique_links)
		append_link_columns(composition, level);
	(void) append_picked(composition, level, source, "s", secondary);
	appendStringInfo(text, ") AS %s", links_alias(composition, level));
}

/* "FROM girl JOIN (links) ON girl.id = orm_links.orm_link_1" */
static void
append_linked(Composition *composition, Level *level, LevelSource source)
{
	Relationship *relationship = level->field->relationship;
	StringInfo	text = &composition->text;

	appendStringInfo(text, " FROM %s JOIN ", level->model->relation_name);
	append_links(composition, level, source);
	appendStringInfoString(text, " ON ");
	for (int i = 0; i < relationship->nremote; i++)
	{
		AttrNumber	attnum = relationship->remote_attnums[i];
		Oid			type = TupleDescAttr(level->model->tupdesc,
										 attnum - 1)->atttypid;
		Oid			collation = TupleDescAttr(level->model->tupdesc,
											  attnum - 1)->attcollation;
		Oid			link_type;
		Oid			link_collation;
		int32		typmod;

		get_atttypetypmodcoll(relationship->secondary,
							  relationship->secondary_remote[i], &link_type,
							  &typmod, &link_collation);
		appendStringInfo(text, "%s%s.%s%s %s %s.orm_link_%d",
						 i > 0 ? " AND " : "", composition->alias,
						 column_sql(level->model, attnum),
						 collate_clause(collation, link_collation),
						 operator_sql(types_equality_required(type, link_type)),
						 links_alias(composition, level), i + 1);
	}
}

/* ------------------------------------------------------------------------
 * children
 * ------------------------------------------------------------------------
 */
static bool
is_linked(Level *level)
{
	return level->field != NULL &&
		OidIsValid(level->field->relationship->secondary);
}

static bool
is_limited(Level *level)
{
	return level->field->limit >= 0 || level->field->offset > 0;
}

/* The outputs by which rows find their parents. */
static void
append_join_columns(Composition *composition, Level *level, bool named)
{
	StringInfo	text = &composition->text;

	for (int i = 0; i < level->njoin; i++)
	{
		if (is_linked(level))
			appendStringInfo(text, "%s.orm_key_%d",
							 links_alias(composition, level), i + 1);
		else
			append_join_column(text, composition->alias, level->model->relid,
							   level->joins[i].near, level->joins[i].typid);
		if (named && !is_linked(level))
			appendStringInfo(text, " AS orm_key_%d", i + 1);
		appendStringInfoString(text, i < level->njoin - 1 ||
							   level->ncolumns > 0 ? ", " : "");
	}
}

static void
append_children(Composition *composition, Level *level, LevelSource source)
{
	bool		where = false;

	if (is_linked(level))
		append_linked(composition, level, source);
	else
		where = append_picked(composition, level, source, composition->alias,
							  level->model->relid);
	compose_criteria(composition, where ? "AND" : "WHERE",
					 level->field->filter, level->field->filter_by);
}

static char *
count_parameter(Composition *composition, const char *name, int64 count)
{
	return psprintf("$%d", compose_datum(composition, name, INT8OID,
										 Int64GetDatum(count), false));
}

/* LIMIT and OFFSET of a level. */
static void
append_limits(Composition *composition, Level *level)
{
	if (level->field->limit >= 0)
		appendStringInfo(&composition->text, " LIMIT %s",
						 count_parameter(composition, "limit",
										 level->field->limit));
	if (level->field->offset > 0)
		appendStringInfo(&composition->text, " OFFSET %s",
						 count_parameter(composition, "offset",
										 level->field->offset));
}

static void
compose_children(Composition *composition, Level *level, LevelSource source)
{
	appendStringInfoString(&composition->text, "SELECT ");
	append_join_columns(composition, level, false);
	append_columns(composition, level, false);
	append_children(composition, level, source);
	if (!level->to_one && (level->order_column < 0 || is_limited(level)))
	{
		appendStringInfoString(&composition->text, " ORDER BY ");
		append_order(composition, level, level_order(level));
	}
	if (source == SOURCE_ONE)
		append_limits(composition, level);
}

/* A limit for each parent, of many: by the number of the row. */
static void
compose_children_numbered(Composition *composition, Level *level,
						  LevelSource source)
{
	StringInfo	text = &composition->text;
	const char *rows = rows_alias(composition);
	int64		offset = level->field->offset;

	appendStringInfoString(text, "SELECT ");
	for (int i = 0; i < level->njoin; i++)
		appendStringInfo(text, "%s%s.orm_key_%d", i > 0 ? ", " : "", rows, i + 1);
	for (int i = 0; i < level->ncolumns; i++)
		appendStringInfo(text, ", %s.orm_c%d", rows, i + 1);
	appendStringInfoString(text, " FROM (SELECT ");
	append_join_columns(composition, level, true);
	append_columns(composition, level, true);
	appendStringInfo(text, "%spg_catalog.row_number() OVER (PARTITION BY ",
					 level->ncolumns > 0 ? ", " : ", ");
	for (int i = 0; i < level->njoin; i++)
	{
		if (i > 0)
			appendStringInfoString(text, ", ");
		if (is_linked(level))
			appendStringInfo(text, "%s.orm_key_%d",
							 links_alias(composition, level), i + 1);
		else
			appendStringInfo(text, "%s.%s", composition->alias,
							 column_sql(level->model, level->joins[i].near));
	}
	appendStringInfoString(text, " ORDER BY ");
	append_order(composition, level, level_order(level));
	appendStringInfoString(text, ") AS orm_row");
	append_children(composition, level, source);
	appendStringInfo(text, ") AS %s WHERE %s.orm_row OPERATOR(pg_catalog.>) %s",
					 rows, rows, count_parameter(composition, "offset", offset));
	if (level->field->limit >= 0)
		appendStringInfo(text, " AND %s.orm_row OPERATOR(pg_catalog.<=) %s",
						 rows, count_parameter(composition, "limit",
											   offset + level->field->limit));
	appendStringInfo(text, " ORDER BY %s.orm_row", rows);
}

/* A limit for each parent, of few: a look-up for each, which stops early. */
static void
compose_children_lateral(Composition *composition, Level *level)
{
	StringInfo	text = &composition->text;
	const char *rows = rows_alias(composition);

	appendStringInfoString(text, "SELECT ");
	for (int i = 0; i < level->njoin; i++)
		appendStringInfo(text, "%s.orm_key_%d%s", keys_alias(composition),
						 i + 1, i < level->njoin - 1 || level->ncolumns > 0 ?
						 ", " : "");
	for (int i = 0; i < level->ncolumns; i++)
		appendStringInfo(text, "%s%s.orm_c%d", i > 0 ? ", " : "", rows, i + 1);
	appendStringInfoString(text, " FROM ");
	append_key_rows(composition, level);
	appendStringInfoString(text, " CROSS JOIN LATERAL (SELECT ");
	append_columns(composition, level, true);
	appendStringInfo(text, " FROM %s WHERE ", level->model->relation_name);
	append_key_equalities(composition, level, SOURCE_KEYS,
						  composition->alias, level->model->relid);
	compose_criteria(composition, "AND", level->field->filter,
					 level->field->filter_by);
	appendStringInfoString(text, " ORDER BY ");
	append_order(composition, level, level_order(level));
	append_limits(composition, level);
	appendStringInfo(text, ") AS %s", rows);
}

/* ------------------------------------------------------------------------
 * the root
 * ------------------------------------------------------------------------
 */
static void
compose_root(Composition *composition, Level *level)
{
	const ReaderRequest *request = &level->reader->request;
	StringInfo	text = &composition->text;

	appendStringInfoString(text, "SELECT ");
	append_columns(composition, level, false);
	appendStringInfo(text, " FROM %s", level->model->relation_name);
	compose_criteria(composition, "WHERE", request->filter,
					 request->filter_by);
	appendStringInfoString(text, " ORDER BY ");
	append_order(composition, level, request->order_by);
	if (request->has_limit)
		appendStringInfo(text, " LIMIT %s",
						 count_parameter(composition, "row_limit",
										 request->limit));
	if (request->has_offset)
		appendStringInfo(text, " OFFSET %s",
						 count_parameter(composition, "row_offset",
										 request->offset));
}

static void
compose_root_by_key(Composition *composition, Level *level)
{
	Model	   *model = level->model;
	StringInfo	text = &composition->text;

	appendStringInfoString(text, "SELECT ");
	append_columns(composition, level, false);
	appendStringInfo(text, " FROM %s WHERE ", model->relation_name);
	for (int i = 0; i < model->nkeys; i++)
	{
		ModelKeyColumn *key = &model->keys[i];

		appendStringInfo(text, "%s%s.%s %s $%d", i > 0 ? " AND " : "",
						 composition->alias, column_sql(model, key->attnum),
						 operator_sql(key->eq_operator),
						 compose_datum(composition, "key", key->typid,
									   (Datum) 0, false));
		level->key_values[SOURCE_KEY] = lappend(level->key_values[SOURCE_KEY],
												llast(composition->values));
	}
}

static void
compose_root_by_keys(Composition *composition, Level *level)
{
	appendStringInfoString(&composition->text, "SELECT ");
	append_join_columns(composition, level, false);
	append_columns(composition, level, false);
	(void) append_picked(composition, level, SOURCE_KEYS, composition->alias,
						 level->model->relid);
}

/* What a given row does not have by itself. */
static void
compose_root_of_row(Composition *composition, Level *level)
{
	StringInfo	text = &composition->text;
	int			number = compose_datum(composition, "row",
									   level->model->rowtype, (Datum) 0, false);
	bool		first = true;

	level->key_values[SOURCE_ROW] = list_make1(llast(composition->values));
	appendStringInfoString(text, "SELECT ");
	for (int i = 0; i < level->ncolumns; i++)
	{
		if (level_column_is_plain(&level->columns[i]))
			continue;
		appendStringInfoString(text, first ? "" : ", ");
		first = false;
		append_column(text, level->model, &level->columns[i],
					  psprintf("($%d)", number), psprintf("$%d", number));
	}
}

/* ------------------------------------------------------------------------
 * the whole
 * ------------------------------------------------------------------------
 */
static const char *
level_call(Level *level)
{
	const char *call = level->reader->request.call;

	if (level->field == NULL)
		return call;
	return psprintf("%s, field \"%s\"", call, level->field->key);
}

Composition *
level_composition(Level *level, LevelSource source)
{
	/* criteria may be of one run only */
	MemoryContext old = MemoryContextSwitchTo(source == SOURCE_CRITERIA ?
											  CurrentMemoryContext :
											  level->reader->context);
	Composition *composition = composition_create(level_call(level),
												  level->model, "find",
												  level->reader->request.params);

	level->key_values[source] = NIL;
	level->unique_links = level->field != NULL && is_linked(level) &&
		links_are_unique(level->field->relationship);
	composition->operators = true;
	composition->only_read = true;
	/* planning anew for each set of keys would cost more than reading them */
	composition->generic_plan = source != SOURCE_CRITERIA;
	switch (source)
	{
		case SOURCE_CRITERIA:
			compose_root(composition, level);
			break;
		case SOURCE_KEY:
			compose_root_by_key(composition, level);
			break;
		case SOURCE_ROW:
			compose_root_of_row(composition, level);
			break;
		case SOURCE_ONE:
			compose_children(composition, level, source);
			break;
		case SOURCE_KEYS:
		case SOURCE_ALL:
			if (level->field == NULL)
				compose_root_by_keys(composition, level);
			else if (!is_limited(level))
				compose_children(composition, level, source);
			else if (source == SOURCE_KEYS && !is_linked(level))
				compose_children_lateral(composition, level);
			else
				compose_children_numbered(composition, level, source);
			break;
	}
	MemoryContextSwitchTo(old);
	return composition;
}
