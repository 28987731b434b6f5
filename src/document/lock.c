/*-------------------------------------------------------------------------
 *
 * lock.c
 *	  The check of an etag: no update is lost between reading a document and
 *	  writing it.
 *
 * The root's row is locked first, which also keeps others from adding members
 * that reference it, then level by level the rows that the document is made
 * of, in key order.  Only what can be written under this selection by this
 * user is locked (the server wants UPDATE privilege for it).  The etag is
 * computed anew in a snapshot from after that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "document/reader.h"
#include "document/saving.h"
#include "session/internal.h"

/* The rows of one level, as a sub-select. */
typedef struct LockedLevel
{
	Selection  *selection;
	char	   *rows;			/* "SELECT ... FROM ... WHERE ..." */
	int			depth;			/* for aliases */
} LockedLevel;

typedef struct EtagCheck
{
	char		etag[ETAG_LENGTH];
} EtagCheck;

/* ------------------------------------------------------------------------
 * locking
 * ------------------------------------------------------------------------
 */
static bool
may_be_written(Selection *root, Selection *level)
{
	Oid			relid = level->model->relid;

	return (selection_allows(root, level, ALLOW_UPDATE) ||
			selection_allows(root, level, ALLOW_DELETE)) &&
		level->model->relkind != RELKIND_VIEW &&
		(pg_class_aclcheck(relid, GetUserId(), ACL_UPDATE) == ACLCHECK_OK ||
		 pg_attribute_aclcheck_all(relid, GetUserId(), ACL_UPDATE,
								   ACLMASK_ANY) == ACLCHECK_OK);
}

static void
execute_lock(LockedLevel *level, int nargs, Oid *argtypes, Datum *values)
{
	Model	   *model = level->selection->model;
	StringInfoData sql;
	SPIPlanPtr	plan;

	initStringInfo(&sql);
	appendStringInfo(&sql, "/* pg_orm lock %s */ %s ORDER BY ",
					 class_comment(model), level->rows);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%st%d.%s", i > 0 ? ", " : "", level->depth,
						 column_sql(model, model->keys[i].attnum));
	appendStringInfo(&sql, " FOR UPDATE OF t%d", level->depth);
	plan = SPI_prepare(sql.data, nargs, argtypes);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	own_statement_execute(plan, values, NULL, None_Receiver);
}

/* "t1.a = t0.b AND ...": how a level's rows are found from its parent's. */
static char *
join_sql(Model *near, const char *near_alias, const AttrNumber *near_attnums,
		 Model *far, const char *far_alias, const AttrNumber *far_attnums,
		 int n)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < n; i++)
		appendStringInfo(&sql, "%s%s", i > 0 ? " AND " : "",
						 column_equality_sql(near, near_alias,
											 near_attnums[i], far, far_alias,
											 far_attnums[i]));
	return sql.data;
}

static char *
child_rows_sql(LockedLevel *parent, Relationship *relationship, Model *target)
{
	Model	   *owner = parent->selection->model;
	char	   *t = psprintf("t%d", parent->depth + 1);
	char	   *p = psprintf("p%d", parent->depth);
	Model	   *links;

	if (relationship->direction != RELATIONSHIP_MANY_TO_MANY)
		return psprintf("SELECT %s.* FROM %s AS %s WHERE EXISTS (SELECT FROM (%s) AS %s WHERE %s)",
						t, target->relation_name, t, parent->rows, p,
						join_sql(target, t, relationship->remote_attnums,
								 owner, p, relationship->local_attnums,
								 relationship->nlocal));
	links = relationship_association(relationship);
	return psprintf("SELECT %s.* FROM %s AS %s WHERE EXISTS (SELECT FROM %s AS s, (%s) AS %s WHERE %s AND %s)",
					t, target->relation_name, t, links->relation_name,
					parent->rows, p,
					join_sql(links, "s", relationship->secondary_local,
							 owner, p, relationship->local_attnums,
							 relationship->nlocal),
					join_sql(links, "s", relationship->secondary_remote,
							 target, t, relationship->remote_attnums,
							 relationship->nremote));
}

static void
lock_levels(Selection *root, LockedLevel *level, int nargs, Oid *argtypes,
			Datum *values)
{
	ListCell   *cell;

	if (may_be_written(root, level->selection))
		execute_lock(level, nargs, argtypes, values);
	foreach(cell, level->selection->fields)
	{
		SelectionField *field = lfirst(cell);
		LockedLevel child;

		if (field->kind != FIELD_RELATIONSHIP)
			continue;
		child.selection = field->child;
		child.depth = level->depth + 1;
		child.rows = child_rows_sql(level, field->relationship,
									field->child->model);
		lock_levels(root, &child, nargs, argtypes, values);
	}
}

static void
lock_document(Selection *selection, const Datum *key)
{
	Model	   *model = selection->model;
	LockedLevel root = {.selection = selection};
	Oid		   *argtypes = palloc(model->nkeys * sizeof(Oid));
	Datum	   *values = palloc(model->nkeys * sizeof(Datum));
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT t0.* FROM %s AS t0 WHERE ",
					 model->relation_name);
	for (int i = 0; i < model->nkeys; i++)
	{
		appendStringInfo(&sql, "%st0.%s %s $%d", i > 0 ? " AND " : "",
						 column_sql(model, model->keys[i].attnum),
						 operator_sql(model->keys[i].eq_operator), i + 1);
		argtypes[i] = model->keys[i].typid;
		values[i] = key[i];
	}
	root.rows = sql.data;
	lock_levels(selection, &root, model->nkeys, argtypes, values);
}

/* ------------------------------------------------------------------------
 * the check
 * ------------------------------------------------------------------------
 */
static void
etag_sink(void *arg, StringInfo json, const char *etag)
{
	strlcpy(((EtagCheck *) arg)->etag, etag, ETAG_LENGTH);
}

void
document_check_etag(Selection *selection, const Datum *key,
					const char *expected)
{
	Model	   *model = selection->model;
	ReaderRequest request = {
		.call = "orm.save",
		.selection = selection,
		.etag = true
	};
	EtagCheck	check = {""};

	SPI_connect();
	lock_document(selection, key);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) reader_run_key(reader_create(&request), key, etag_sink, &check);
	PopActiveSnapshot();
	SPI_finish();
	/* what was loaded before the lock may be older than it */
	sessions_expire_model(InvalidOid, NULL);
	if (strcmp(check.etag, expected) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the document of %s %s is stale: somebody else changed it since it was read",
					model->class_name, model_key_to_text(model, key)),
			 errhint("Read it again, or leave the etag out to write without a check.")));
}
