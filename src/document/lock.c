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
 * computed anew in a snapshot from after that.  Any number of documents are
 * locked and read together.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "document/kept_reader.h"
#include "document/saving.h"
#include "query/internal.h"
#include "session/internal.h"

/* The documents whose rows are locked. */
typedef struct LockedKeys
{
	int			n;
	Datum	  **keys;
} LockedKeys;

/* The rows of one level, as a sub-select. */
typedef struct LockedLevel
{
	Selection  *selection;
	char	   *rows;			/* "SELECT ... FROM ... WHERE ..." */
	int			depth;			/* for aliases */
} LockedLevel;

/* Takes the etags of the documents, which come in their order. */
typedef struct EtagCheck
{
	char	  **expected;
	int			n;				/* of those that have come */
	int			stale;			/* the first of another etag, or -1 */
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

/* The keys as parameters: those of one, or rows that have them. */
static void
compose_keys(Composition *composition, Model *root, const LockedKeys *locked)
{
	Datum	   *rows;

	if (locked->n == 1)
	{
		for (int i = 0; i < root->nkeys; i++)
			(void) compose_datum(composition, "key", root->keys[i].typid,
								 locked->keys[0][i], false);
		return;
	}
	rows = palloc(locked->n * sizeof(Datum));
	for (int i = 0; i < locked->n; i++)
		rows[i] = row_of_key(root, locked->keys[i]);
	(void) compose_datum(composition, "keys", root->array_type,
						 PointerGetDatum(construct_array(rows, locked->n,
														 root->rowtype, -1,
														 false,
														 TYPALIGN_DOUBLE)),
						 false);
}

static void
execute_lock(LockedLevel *level, Model *root, const LockedKeys *locked)
{
	Model	   *model = level->selection->model;
	Composition *composition = composition_create("orm.save", model, "lock",
												  NULL);
	KeptStatement *kept;
	Datum	   *values;
	char	   *nulls;

	appendStringInfo(&composition->text, "%s ORDER BY ", level->rows);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&composition->text, "%st%d.%s", i > 0 ? ", " : "",
						 level->depth,
						 column_sql(model, model->keys[i].attnum));
	appendStringInfo(&composition->text, " FOR UPDATE OF t%d", level->depth);
	compose_keys(composition, root, locked);
	composition->generic_plan = true;
	kept = kept_statement_get(composition);
	kept_statement_bind(kept, composition, &values, &nulls);
	own_statement_execute(kept->plan, values, nulls, None_Receiver);
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
lock_levels(Selection *root, LockedLevel *level, const LockedKeys *locked)
{
	ListCell   *cell;

	if (may_be_written(root, level->selection))
		execute_lock(level, root->model, locked);
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
		lock_levels(root, &child, locked);
	}
}

static void
lock_documents(Selection *selection, const LockedKeys *locked)
{
	Model	   *model = selection->model;
	LockedLevel root = {.selection = selection};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT t0.* FROM %s AS t0 WHERE %s",
					 model->relation_name, locked->n == 1 ? "" :
					 "EXISTS (SELECT FROM pg_catalog.unnest($1) AS r WHERE ");
	for (int i = 0; i < model->nkeys; i++)
	{
		ModelKeyColumn *key = &model->keys[i];
		const char *column = column_sql(model, key->attnum);

		appendStringInfo(&sql, "%st0.%s %s %s", i > 0 ? " AND " : "", column,
						 operator_sql(key->eq_operator),
						 locked->n == 1 ? psprintf("$%d", i + 1) :
						 psprintf("r.%s", column));
	}
	if (locked->n > 1)
		appendStringInfoChar(&sql, ')');
	root.rows = sql.data;
	lock_levels(selection, &root, locked);
}

/* ------------------------------------------------------------------------
 * the check
 * ------------------------------------------------------------------------
 */
static void
etag_sink(void *arg, StringInfo json, const char *etag)
{
	EtagCheck  *check = arg;
	int			n = check->n++;

	if (check->stale < 0 && strcmp(check->expected[n], etag) != 0)
		check->stale = n;
}

int
documents_check_etags(DocumentReaders *readers, int n, Datum **keys,
					  char **expected)
{
	LockedKeys	locked = {.n = n,.keys = keys};
	EtagCheck	check = {.expected = expected,.stale = -1};
	int			missing;

	SPI_connect();
	lock_documents(readers->selection, &locked);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	missing = reader_run_keys(document_reader(readers, true), n, keys,
							  NULL, etag_sink, &check);
	PopActiveSnapshot();
	SPI_finish();
	return missing >= 0 ? missing : check.stale;
}

void
report_stale_document(Model *model, const Datum *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the document of %s %s is stale: somebody else changed it since it was read",
					model->class_name, model_key_to_text(model, key)),
			 errhint("Read it again, or leave the etag out to write without a check.")));
}

/* ------------------------------------------------------------------------
 * readers
 * ------------------------------------------------------------------------
 */
Reader *
document_reader(DocumentReaders *readers, bool etag)
{
	if (readers->readers[etag] == NULL)
		readers->readers[etag] = kept_reader_get("orm.save", readers->model,
												 readers->text,
												 strlen(readers->text), etag,
												 true);
	return readers->readers[etag];
}

DocumentReaders
document_readers(Model *model, const char *selection, bool etag)
{
	DocumentReaders readers = {.model = model,.text = selection};

	readers.selection = reader_selection(document_reader(&readers, etag));
	return readers;
}
