/*-------------------------------------------------------------------------
 *
 * flush_sql.c
 *	  The statements of a flush: their text, and their kept plans.
 *
 * Rows travel as one parameter, an array of the table's row type; but of a
 * single row the columns are the parameters, since it costs a multiple to take
 * it out of an array.  The text is the same for the same model, kind of change
 * and set of columns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "session/flush.h"

/* ------------------------------------------------------------------------
 * what one row has as parameters
 * ------------------------------------------------------------------------
 */
static void
add_columns(FlushColumns *result, Bitmapset *columns)
{
	int			member = -1;

	while ((member = bms_next_member(columns, member)) >= 0)
		result->attnums[result->n++] = member_column(member);
}

static void
add_key(FlushColumns *result, Model *model)
{
	for (int i = 0; i < model->nkeys; i++)
		result->attnums[result->n++] = model->keys[i].attnum;
	result->old_key = true;
}

FlushColumns
flush_columns(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	Bitmapset  *columns = subject->columns;
	FlushColumns result = {0};

	result.attnums = palloc((model->tupdesc->natts + INDEX_MAX_KEYS) *
							sizeof(AttrNumber));
	switch (subject->kind)
	{
		case STATEMENT_UPDATE:
		case STATEMENT_UPDATE_KEY:
			if (model->version_attnum != InvalidAttrNumber)
				columns = bms_del_member(bms_copy(columns),
										 column_member(model->version_attnum));
			add_columns(&result, columns);
			add_key(&result, model);
			result.version = true;
			break;
		case STATEMENT_DELETE:
			add_key(&result, model);
			result.version = true;
			break;
		case STATEMENT_LINK:
		case STATEMENT_UNLINK:
			add_key(&result, model);
			break;
		case STATEMENT_UNLINK_ALL:
			for (int i = 0; i < subject->relationship->nlocal; i++)
				result.attnums[result.n++] =
					subject->relationship->local_attnums[i];
			break;
		default:
			add_columns(&result, columns);
	}
	return result;
}

/*
 * What a statement is sent of a column: of the new row, or of the key by which
 * the stored one is found.
 */
static char *
sent_sql(const StatementSubject *subject, bool of_key, AttrNumber attnum)
{
	FlushColumns columns;
	int			i;

	if (!subject->one)
		return psprintf("r.%c%d", of_key && subject->kind ==
						STATEMENT_UPDATE_KEY ? 'o' : 'n', attnum);
	columns = flush_columns(subject);
	i = of_key ? columns.n - subject->model->nkeys : 0;
	while (columns.attnums[i] != attnum)
		i++;
	return psprintf("$%d", i + 1);
}

static char *
sent_version_sql(const StatementSubject *subject)
{
	return subject->one ? psprintf("$%d", flush_columns(subject).n + 1) : "r.v";
}

/* A column of the rows that unnest gives, or the n-th of a single one. */
static char *
row_column_sql(const StatementSubject *subject, int n, Model *model,
			   AttrNumber attnum)
{
	return subject->one ? psprintf("$%d", n) :
		psprintf("r.%s", column_sql(model, attnum));
}

/* " FROM pg_catalog.unnest($1) AS r", for rows that come in an array */
static char *
rows_sql(const StatementSubject *subject, const char *keyword)
{
	return subject->one ? "" :
		psprintf(" %s pg_catalog.unnest($1) AS r", keyword);
}

/* ------------------------------------------------------------------------
 * rows of a model
 * ------------------------------------------------------------------------
 */
static char *
insert_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	Bitmapset  *columns = subject->columns;
	const char *returning = subject->kind == STATEMENT_INSERT ?
	" RETURNING t.*" : "";
	StringInfoData names,
				values;
	int			member = -1;
	int			n = 0;

	if (bms_is_empty(columns))
		return psprintf("/* pg_orm flush %s */ INSERT INTO %s AS t DEFAULT VALUES RETURNING t.*",
						class_comment(model), model->relation_name);
	initStringInfo(&names);
	initStringInfo(&values);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber	attnum = member_column(member);
		const char *separator = n++ > 0 ? ", " : "";

		appendStringInfo(&names, "%s%s", separator, column_sql(model, attnum));
		appendStringInfo(&values, "%s%s", separator,
						 row_column_sql(subject, n, model, attnum));
	}
	return psprintf("/* pg_orm flush %s */ INSERT INTO %s AS t (%s) OVERRIDING SYSTEM VALUE "
					"%s%s%s%s",
					class_comment(model), model->relation_name, names.data,
					subject->one ? "VALUES (" : "SELECT ", values.data,
					subject->one ? ")" : rows_sql(subject, "FROM"),
					returning);
}

/*
 * Rows sent to an UPDATE or DELETE have numbered columns: n1, n2, ... of the
 * new rows, v of their versions, o1, o2, ... of the old rows if keys change.
 */
static void
append_alias_list(StringInfo sql, Model *model, char prefix)
{
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		if (!TupleDescAttr(model->tupdesc, i)->attisdropped)
			appendStringInfo(sql, "%s%c%d",
							 sql->data[sql->len - 1] == '(' ? "" : ", ",
							 prefix, i + 1);
	}
}

/* " FROM ROWS FROM (...) AS r (...)", for rows that come in an array */
static char *
sent_rows_sql(const StatementSubject *subject, const char *keyword)
{
	Model	   *model = subject->model;
	bool		with_old = subject->kind == STATEMENT_UPDATE_KEY;
	StringInfoData sql;

	if (subject->one)
		return "";
	initStringInfo(&sql);
	appendStringInfo(&sql, " %s ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)%s) AS r (",
					 keyword, with_old ? ", pg_catalog.unnest($3)" : "");
	append_alias_list(&sql, model, 'n');
	appendStringInfoString(&sql, ", v");
	if (with_old)
		append_alias_list(&sql, model, 'o');
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/* "t.k = r.n1 AND ..." */
static char *
key_condition_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%st.%s %s %s", i > 0 ? " AND " : "",
						 column_sql(model, model->keys[i].attnum),
						 operator_sql(model->keys[i].eq_operator),
						 sent_sql(subject, true, model->keys[i].attnum));
	return sql.data;
}

/* "r.n1, ...": the key by which a row was found */
static char *
key_list_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "",
						 sent_sql(subject, true, model->keys[i].attnum));
	return sql.data;
}

/*
 * The optimistic check: nobody else has written the row since it was loaded.
 * What this transaction wrote, by whatever statement, is no conflict.
 */
static char *
unchanged_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	const char *version = sent_version_sql(subject);

	if (model->version_attnum == InvalidAttrNumber)
		return model_has_xmin(model) ?
			psprintf(" AND orm.row_unchanged(t.xmin, %s)", version) : "";
	return psprintf(" AND (t.%s OPERATOR(pg_catalog.=) %s OR %s IS NULL%s)",
					column_sql(model, model->version_attnum), version, version,
					model_has_xmin(model) ?
					" OR orm.row_unchanged(t.xmin, '0')" : "");
}

/* "c = r.n1, ...", and the version column counted on */
static char *
set_list_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData sql;
	int			member = -1;

	initStringInfo(&sql);
	while ((member = bms_next_member(subject->columns, member)) >= 0)
	{
		AttrNumber	attnum = member_column(member);

		if (attnum != model->version_attnum)
			appendStringInfo(&sql, "%s%s = %s", sql.len > 0 ? ", " : "",
							 column_sql(model, attnum),
							 sent_sql(subject, false, attnum));
	}
	if (model->version_attnum != InvalidAttrNumber)
		appendStringInfo(&sql, "%s%s = t.%s OPERATOR(pg_catalog.+) 1",
						 sql.len > 0 ? ", " : "",
						 column_sql(model, model->version_attnum),
						 column_sql(model, model->version_attnum));
	return sql.data;
}

static char *
update_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;

	return psprintf("/* pg_orm flush %s */ UPDATE %s AS t SET %s%s "
					"WHERE %s%s RETURNING t.*%s",
					class_comment(model), model->relation_name,
					set_list_sql(subject), sent_rows_sql(subject, "FROM"),
					key_condition_sql(subject), unchanged_sql(subject),
					subject->one ? "" :
					psprintf(", %s", key_list_sql(subject)));
}

/* "t.c = r.c AND ..." over the columns of the key, or of a link */
static char *
key_columns_condition_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
	{
		AttrNumber	attnum = model->keys[i].attnum;

		appendStringInfo(&sql, "%st.%s %s %s", i > 0 ? " AND " : "",
						 column_sql(model, attnum),
						 operator_sql(model->keys[i].eq_operator),
						 row_column_sql(subject, i + 1, model, attnum));
	}
	return sql.data;
}

/* The rows, in the order in which every flush locks them. */
static char *
lock_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData order;

	initStringInfo(&order);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&order, "%st.%s", i > 0 ? ", " : "",
						 column_sql(model, model->keys[i].attnum));
	return psprintf("/* pg_orm flush %s */ SELECT FROM %s AS t, pg_catalog.unnest($1) AS r "
					"WHERE %s ORDER BY %s FOR NO KEY UPDATE OF t",
					class_comment(model), model->relation_name,
					key_columns_condition_sql(subject), order.data);
}

/* Lets go of what the rows reference, since that is deleted before them. */
static char *
release_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData set;
	int			member = -1;

	initStringInfo(&set);
	while ((member = bms_next_member(subject->columns, member)) >= 0)
		appendStringInfo(&set, "%s%s = NULL", set.len > 0 ? ", " : "",
						 column_sql(model, member_column(member)));
	return psprintf("/* pg_orm flush %s */ UPDATE %s AS t SET %s%s WHERE %s%s",
					class_comment(model), model->relation_name, set.data,
					sent_rows_sql(subject, "FROM"),
					key_condition_sql(subject), unchanged_sql(subject));
}

static char *
delete_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;

	return psprintf("/* pg_orm flush %s */ DELETE FROM %s AS t%s "
					"WHERE %s%s RETURNING %s",
					class_comment(model), model->relation_name,
					sent_rows_sql(subject, "USING"),
					key_condition_sql(subject), unchanged_sql(subject),
					key_list_sql(subject));
}

/* ------------------------------------------------------------------------
 * association rows
 * ------------------------------------------------------------------------
 */

/* Is there a unique index that the link's columns, as a target, mean? */
static bool
link_has_index(Model *model, Relation relation)
{
	Bitmapset  *key = NULL;
	bool		found = false;
	ListCell   *cell;

	for (int i = 0; i < model->nkeys; i++)
		key = bms_add_member(key, model->keys[i].attnum);
	foreach(cell, RelationGetIndexList(relation))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;
		Bitmapset  *indexed = NULL;

		for (int i = 0; i < form->indnkeyatts; i++)
			indexed = bms_add_member(indexed, form->indkey.values[i]);
		found |= form->indisunique && form->indisvalid &&
			form->indimmediate && bms_equal(indexed, key) &&
			RelationGetIndexPredicate(index) == NIL;
		index_close(index, AccessShareLock);
	}
	return found;
}

/* Can a trigger or a policy take notice of a row before it is in conflict? */
static bool
link_is_looked_at(Relation relation)
{
	return relation->rd_rel->relkind != RELKIND_RELATION ||
		relation->rd_rel->relrowsecurity ||
		(relation->trigdesc != NULL &&
		 relation->trigdesc->trig_insert_before_row);
}

/*
 * A link that is there already is not doubled, nor one that somebody else
 * makes at the same time, if the table can tell.  Then that is enough, unless
 * somebody would take an insertion for what is none.
 */
static char *
link_unless_there_sql(const StatementSubject *subject, const char *columns)
{
	Model	   *model = subject->model;
	Relation	relation = relation_open(model->relid, AccessShareLock);
	bool		has_index = link_has_index(model, relation);
	StringInfoData sql;

	initStringInfo(&sql);
	if (!has_index || link_is_looked_at(relation))
		appendStringInfo(&sql, " WHERE NOT EXISTS (SELECT FROM %s AS t WHERE %s)",
						 model->relation_name,
						 key_columns_condition_sql(subject));
	if (has_index)
		appendStringInfo(&sql, " ON CONFLICT (%s) DO NOTHING", columns);
	relation_close(relation, AccessShareLock);
	return sql.data;
}

static char *
link_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData names,
				values;

	initStringInfo(&names);
	initStringInfo(&values);
	for (int i = 0; i < model->nkeys; i++)
	{
		const char *separator = i > 0 ? ", " : "";
		AttrNumber	attnum = model->keys[i].attnum;

		appendStringInfo(&names, "%s%s", separator, column_sql(model, attnum));
		appendStringInfo(&values, "%s%s", separator,
						 row_column_sql(subject, i + 1, model, attnum));
	}
	return psprintf("/* pg_orm flush %s */ INSERT INTO %s (%s) SELECT %s%s%s",
					class_comment(model), model->relation_name, names.data,
					values.data, rows_sql(subject, "FROM"),
					link_unless_there_sql(subject, names.data));
}

static char *
unlink_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;

	return psprintf("/* pg_orm flush %s */ DELETE FROM %s AS t%s WHERE %s",
					class_comment(model), model->relation_name,
					rows_sql(subject, "USING"),
					key_columns_condition_sql(subject));
}

/* The links of objects that are about to be deleted. */
static char *
unlink_all_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	Relationship *relationship = subject->relationship;
	Model	   *links = relationship_association(relationship);
	StringInfoData condition;

	initStringInfo(&condition);
	for (int i = 0; i < relationship->nlocal; i++)
	{
		AttrNumber	link = relationship->secondary_local[i];
		AttrNumber	local = relationship->local_attnums[i];
		Oid			operator =
		types_equality_required(TupleDescAttr(links->tupdesc,
											  link - 1)->atttypid,
								TupleDescAttr(model->tupdesc,
											  local - 1)->atttypid);

		appendStringInfo(&condition, "%st.%s %s %s", i > 0 ? " AND " : "",
						 column_sql(links, link), operator_sql(operator),
						 row_column_sql(subject, i + 1, model, local));
	}
	return psprintf("/* pg_orm flush %s */ DELETE FROM %s AS t%s WHERE %s",
					class_comment(model), links->relation_name,
					rows_sql(subject, "USING"),
					condition.data);
}

/* ------------------------------------------------------------------------
 * plans
 * ------------------------------------------------------------------------
 */

/* Versions travel as bigint (a version column) or xid (xmin). */
Oid
flush_version_type(Model *model)
{
	return model->version_attnum != InvalidAttrNumber ? INT8OID : XIDOID;
}

/* What makes the text of each kind of statement, and its parameters. */
typedef struct FlushStatement
{
	StatementText make_text;
	int			nargs;			/* rows, versions, old rows: the first n, if it
								 * is for any number of rows */
} FlushStatement;

static const FlushStatement flush_statements[] = {
	[STATEMENT_INSERT] = {insert_sql, 1},
	[STATEMENT_INSERT_AS_SENT] = {insert_sql, 1},
	[STATEMENT_UPDATE] = {update_sql, 2},
	[STATEMENT_UPDATE_KEY] = {update_sql, 3},
	[STATEMENT_LOCK] = {lock_sql, 1},
	[STATEMENT_RELEASE] = {release_sql, 2},
	[STATEMENT_LINK] = {link_sql, 1},
	[STATEMENT_UNLINK] = {unlink_sql, 1},
	[STATEMENT_UNLINK_ALL] = {unlink_all_sql, 1},
	[STATEMENT_DELETE] = {delete_sql, 2}
};

static SPIPlanPtr
one_row_plan(const StatementSubject *subject)
{
	TupleDesc	tupdesc = subject->model->tupdesc;
	FlushColumns columns = flush_columns(subject);
	Oid		   *argtypes = palloc((columns.n + 1) * sizeof(Oid));

	for (int i = 0; i < columns.n; i++)
		argtypes[i] = TupleDescAttr(tupdesc, columns.attnums[i] - 1)->atttypid;
	argtypes[columns.n] = flush_version_type(subject->model);
	return statement_plan(subject, columns.n + (columns.version ? 1 : 0),
						  argtypes, flush_statements[subject->kind].make_text);
}

static SPIPlanPtr
rows_plan(const StatementSubject *subject)
{
	Oid			rows = subject->model->array_type;
	Oid			versions = get_array_type(flush_version_type(subject->model));
	Oid			argtypes[3] = {rows, versions, rows};
	const FlushStatement *statement = &flush_statements[subject->kind];

	return statement_plan(subject, statement->nargs, argtypes,
						  statement->make_text);
}

SPIPlanPtr
flush_plan(const StatementSubject *subject)
{
	return subject->one ? one_row_plan(subject) : rows_plan(subject);
}

char *
flush_text(const StatementSubject *subject)
{
	return flush_statements[subject->kind].make_text(subject);
}
