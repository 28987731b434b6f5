/*-------------------------------------------------------------------------
 *
 * flush_sql.c
 *	  The statements of a flush: their text, and their kept plans.
 *
 * Rows travel as one parameter, an array of the table's row type.  The text
 * is the same for the same model, kind of change and set of columns.
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

static char *
insert_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	Bitmapset  *columns = subject->columns;
	StringInfoData names,
				values;
	int			member = -1;

	if (bms_is_empty(columns))
		return psprintf("/* pg_orm flush %s */ INSERT INTO %s AS t DEFAULT VALUES RETURNING t.*",
						class_comment(model), model->relation_name);
	initStringInfo(&names);
	initStringInfo(&values);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		const char *separator = names.len > 0 ? ", " : "";
		const char *column = column_sql(model, member_column(member));

		appendStringInfo(&names, "%s%s", separator, column);
		appendStringInfo(&values, "%sr.%s", separator, column);
	}
	return psprintf("/* pg_orm flush %s */ INSERT INTO %s AS t (%s) OVERRIDING SYSTEM VALUE "
					"SELECT %s FROM pg_catalog.unnest($1) AS r%s",
					class_comment(model), model->relation_name, names.data,
					values.data, subject->kind == STATEMENT_INSERT ?
					" RETURNING t.*" : "");
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

static char *
sent_rows_sql(Model *model, bool with_old)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)%s) AS r (",
					 with_old ? ", pg_catalog.unnest($3)" : "");
	append_alias_list(&sql, model, 'n');
	appendStringInfoString(&sql, ", v");
	if (with_old)
		append_alias_list(&sql, model, 'o');
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/* "t.k = r.n1 AND ..." */
static char *
key_condition_sql(Model *model, char prefix)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%st.%s %s r.%c%d", i > 0 ? " AND " : "",
						 column_sql(model, model->keys[i].attnum),
						 operator_sql(model->keys[i].eq_operator),
						 prefix, model->keys[i].attnum);
	return sql.data;
}

/* "r.n1, ...": the key by which a row was found */
static char *
key_list_sql(Model *model, char prefix)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%sr.%c%d", i > 0 ? ", " : "", prefix,
						 model->keys[i].attnum);
	return sql.data;
}

/*
 * The optimistic check: nobody else has written the row since it was loaded.
 * What this transaction wrote, by whatever statement, is no conflict.
 */
static char *
unchanged_sql(Model *model)
{
	if (model->version_attnum == InvalidAttrNumber)
		return model_has_xmin(model) ?
			" AND orm.row_unchanged(t.xmin, r.v)" : "";
	return psprintf(" AND (t.%s OPERATOR(pg_catalog.=) r.v OR r.v IS NULL%s)",
					column_sql(model, model->version_attnum),
					model_has_xmin(model) ?
					" OR orm.row_unchanged(t.xmin, '0')" : "");
}

/* "c = r.n1, ...", and the version column counted on */
static char *
set_list_sql(Model *model, Bitmapset *columns)
{
	StringInfoData sql;
	int			member = -1;

	initStringInfo(&sql);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber	attnum = member_column(member);

		if (attnum != model->version_attnum)
			appendStringInfo(&sql, "%s%s = r.n%d", sql.len > 0 ? ", " : "",
							 column_sql(model, attnum), attnum);
	}
	if (model->version_attnum != InvalidAttrNumber)
		appendStringInfo(&sql, "%s%s = t.%s OPERATOR(pg_catalog.+) 1",
						 sql.len > 0 ? ", " : "",
						 column_sql(model, model->version_attnum),
						 column_sql(model, model->version_attnum));
	return sql.data;
}

static char *
update_statement_sql(Model *model, Bitmapset *columns, bool with_old)
{
	char		found_by = with_old ? 'o' : 'n';

	return psprintf("/* pg_orm flush %s */ UPDATE %s AS t SET %s FROM %s "
					"WHERE %s%s RETURNING t.*, %s",
					class_comment(model), model->relation_name,
					set_list_sql(model, columns),
					sent_rows_sql(model, with_old),
					key_condition_sql(model, found_by), unchanged_sql(model),
					key_list_sql(model, found_by));
}

static char *
update_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;

	return update_statement_sql(model, subject->columns, false);
}

static char *
update_key_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;

	return update_statement_sql(model, subject->columns, true);
}

/* "t.c = r.c AND ..." over the columns of the key, or of a link */
static char *
key_columns_condition_sql(Model *model)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < model->nkeys; i++)
	{
		const char *column = column_sql(model, model->keys[i].attnum);

		appendStringInfo(&sql, "%st.%s %s r.%s", i > 0 ? " AND " : "",
						 column, operator_sql(model->keys[i].eq_operator),
						 column);
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
					key_columns_condition_sql(model), order.data);
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
	return psprintf("/* pg_orm flush %s */ UPDATE %s AS t SET %s FROM %s "
					"WHERE %s%s",
					class_comment(model), model->relation_name, set.data,
					sent_rows_sql(model, false),
					key_condition_sql(model, 'n'), unchanged_sql(model));
}

static char *
delete_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;

	return psprintf("/* pg_orm flush %s */ DELETE FROM %s AS t USING %s "
					"WHERE %s%s RETURNING %s",
					class_comment(model), model->relation_name,
					sent_rows_sql(model, false),
					key_condition_sql(model, 'n'), unchanged_sql(model),
					key_list_sql(model, 'n'));
}

/* ------------------------------------------------------------------------
 * association rows
 * ------------------------------------------------------------------------
 */

/*
 * The columns of a link as the target of ON CONFLICT, if there is a unique
 * index that it can mean; else "".
 */
static char *
link_conflict_sql(Model *model, const char *columns)
{
	Relation	relation = relation_open(model->relid, AccessShareLock);
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
	relation_close(relation, AccessShareLock);
	return found ? psprintf(" ON CONFLICT (%s) DO NOTHING", columns) : "";
}

/*
 * A link that is there already is not doubled, nor one that somebody else
 * makes at the same time, if the table can tell.
 */
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
		const char *column = column_sql(model, model->keys[i].attnum);

		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", column);
		appendStringInfo(&values, "%sr.%s", i > 0 ? ", " : "", column);
	}
	return psprintf("/* pg_orm flush %s */ INSERT INTO %s (%s) "
					"SELECT %s FROM pg_catalog.unnest($1) AS r "
					"WHERE NOT EXISTS (SELECT FROM %s AS t WHERE %s)%s",
					class_comment(model), model->relation_name, names.data,
					values.data, model->relation_name,
					key_columns_condition_sql(model),
					link_conflict_sql(model, names.data));
}

static char *
unlink_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;

	return psprintf("/* pg_orm flush %s */ DELETE FROM %s AS t "
					"USING pg_catalog.unnest($1) AS r WHERE %s",
					class_comment(model), model->relation_name,
					key_columns_condition_sql(model));
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
		appendStringInfo(&condition, "%s%s", i > 0 ? " AND " : "",
						 column_equality_sql(links, "t",
											 relationship->secondary_local[i],
											 model, "r",
											 relationship->local_attnums[i]));
	return psprintf("/* pg_orm flush %s */ DELETE FROM %s AS t "
					"USING pg_catalog.unnest($1) AS r WHERE %s",
					class_comment(model), links->relation_name,
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
	int			nargs;			/* rows, versions, old rows: the first n */
} FlushStatement;

static const FlushStatement flush_statements[] = {
	[STATEMENT_INSERT] = {insert_sql, 1},
	[STATEMENT_INSERT_AS_SENT] = {insert_sql, 1},
	[STATEMENT_UPDATE] = {update_sql, 2},
	[STATEMENT_UPDATE_KEY] = {update_key_sql, 3},
	[STATEMENT_LOCK] = {lock_sql, 1},
	[STATEMENT_RELEASE] = {release_sql, 2},
	[STATEMENT_LINK] = {link_sql, 1},
	[STATEMENT_UNLINK] = {unlink_sql, 1},
	[STATEMENT_UNLINK_ALL] = {unlink_all_sql, 1},
	[STATEMENT_DELETE] = {delete_sql, 2}
};

SPIPlanPtr
flush_plan(const StatementSubject *subject)
{
	Oid			rows = subject->model->array_type;
	Oid			versions = get_array_type(flush_version_type(subject->model));
	Oid			argtypes[3] = {rows, versions, rows};
	const FlushStatement *statement = &flush_statements[subject->kind];

	return statement_plan(subject, statement->nargs, argtypes,
						  statement->make_text);
}

char *
flush_text(const StatementSubject *subject)
{
	return flush_statements[subject->kind].make_text(subject);
}
