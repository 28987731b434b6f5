/*-------------------------------------------------------------------------
 *
 * lookup.c
 *	  Finding models, relationships and columns by what the user wrote, with
 *	  the nearest name as hint where there is none.
 *
 * The directory of classes and tables is read as a whole and kept in a child
 * of CacheMemoryContext until something that it lists may have changed.  Models
 * are handed out with an AccessShareLock on their tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "nodes/execnodes.h"
#include "parser/parse_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "model/internal.h"

/* A class or a table as the directory lists it. */
typedef struct DirectoryEntry
{
	char	   *class_name;
	char	   *schema_name;	/* of the existing table, if there is one */
	char	   *table_name;
	Oid			relid;
} DirectoryEntry;

static MemoryContext directory_context = NULL;
static List *directory = NIL;
static bool directory_valid = false;

void
directory_reset(void)
{
	directory_valid = false;
}

/* ------------------------------------------------------------------------
 * the directory: classes and tables by name
 * ------------------------------------------------------------------------
 */

static DirectoryEntry *
directory_entry(ModelDef *def)
{
	DirectoryEntry *entry = palloc0(sizeof(DirectoryEntry));
	char	   *table_name = NULL;

	entry->class_name = pstrdup(def->class_name);
	if (OidIsValid(def->relid))
		table_name = get_rel_name(def->relid);
	if (table_name)
	{
		entry->relid = def->relid;
		entry->table_name = table_name;
		entry->schema_name =
			get_namespace_name(get_rel_namespace(def->relid));
	}
	if (entry->schema_name == NULL)
	{
		entry->relid = InvalidOid;
		entry->table_name = pstrdup(def->table_name);
		entry->schema_name = pstrdup(def->schema_name);
	}
	return entry;
}

/* A config row whose table is gone is not listed. */
static List *
read_directory(void)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, model_defs())
	{
		ModelDef   *def = lfirst(lc);
		DirectoryEntry *entry;

		metadata_watch(def->relid);
		entry = directory_entry(def);
		if (OidIsValid(entry->relid) || !OidIsValid(def->relid))
			result = lappend(result, entry);
	}
	return result;
}

static List *
get_directory(void)
{
	MemoryContext mcxt;
	MemoryContext old;
	List	   *list;
	uint64		before;

	if (directory_valid)
		return directory;
	mcxt = AllocSetContextCreate(CurrentMemoryContext, "pg_orm directory",
								 ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(mcxt);
	before = model_generation();
	list = read_directory();
	MemoryContextSwitchTo(old);

	/* what is read under invalidations serves this call only */
	if (before != model_generation())
		return list;
	if (directory_context)
		MemoryContextDelete(directory_context);
	MemoryContextSetParent(mcxt, CacheMemoryContext);
	directory_context = mcxt;
	directory = list;
	directory_valid = true;
	return directory;
}

/* "name", or "schema.name" with or without quotes. */
static bool
names_table(DirectoryEntry *entry, const char *name)
{
	return strcmp(entry->table_name, name) == 0 ||
		strcmp(psprintf("%s.%s", entry->schema_name, entry->table_name),
			   name) == 0 ||
		strcmp(quote_qualified_identifier(entry->schema_name,
										  entry->table_name), name) == 0;
}

static void
ambiguous_table(const char *name, List *found)
{
	StringInfoData candidates;
	ListCell   *lc;

	initStringInfo(&candidates);
	foreach(lc, found)
	{
		DirectoryEntry *entry = lfirst(lc);

		appendStringInfo(&candidates, "%s%s (class \"%s\")",
						 candidates.len ? ", " : "",
						 quote_qualified_identifier(entry->schema_name,
													entry->table_name),
						 entry->class_name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_AMBIGUOUS_FUNCTION),
			 errmsg("table name \"%s\" is ambiguous", name),
			 errdetail("It could be %s.", candidates.data)));
}

static DirectoryEntry *
directory_find(const char *name)
{
	List	   *entries = get_directory();
	List	   *found = NIL;
	ListCell   *lc;

	foreach(lc, entries)
	{
		DirectoryEntry *entry = lfirst(lc);

		if (strcmp(entry->class_name, name) == 0)
			return entry;
	}
	foreach(lc, entries)
		if (names_table(lfirst(lc), name))
			found = lappend(found, lfirst(lc));
	if (list_length(found) > 1)
		ambiguous_table(name, found);
	return found == NIL ? NULL : linitial(found);
}

/* ------------------------------------------------------------------------
 * look-ups
 * ------------------------------------------------------------------------
 */

/* A model whose key is gone cannot serve: its objects have no identity. */
static Model *
require_key(Model *model, bool missing_ok)
{
	if (model->nkeys > 0)
		return model;
	if (missing_ok)
		return NULL;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("relation %s of class \"%s\" has no primary key any more",
					model->relation_name, model->class_name)));
}

Relation
relation_open_existing(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid),
				 errdetail("It was dropped meanwhile.")));
	return rel;
}

/*
 * Whoever has a model makes and reads rows of its type, so the type stays as
 * it is until the end of this subtransaction at least.
 */
static void
hold_definition(Oid relid)
{
	static Oid	last_relid;
	static LocalTransactionId last_lxid;
	static SubTransactionId last_subid;

	if (last_relid == relid && last_lxid == compat_my_lxid() &&
		last_subid == GetCurrentSubTransactionId())
		return;
	LockRelationOid(relid, AccessShareLock);
	last_relid = relid;
	last_lxid = compat_my_lxid();
	last_subid = GetCurrentSubTransactionId();
}

Model *
model_by_relid(Oid relid, bool missing_ok)
{
	Model	   *model;
	char	   *name;

	hold_definition(relid);
	model = metadata_model(relid);
	if (model != NULL)
		return require_key(model, missing_ok);
	if (missing_ok)
		return NULL;
	name = get_rel_name(relid);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 name ? errmsg("relation \"%s\" is not mapped", name) :
			 errmsg("relation with OID %u is not mapped", relid),
			 errhint("Use orm.map or orm.automap to map it.")));
}

Model *
model_by_rowtype(Oid typid, bool missing_ok)
{
	Oid			relid = typeidTypeRelid(getBaseType(typid));

	if (OidIsValid(relid) && get_rel_relkind(relid) != RELKIND_COMPOSITE_TYPE)
		return model_by_relid(relid, missing_ok);
	if (missing_ok)
		return NULL;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("type %s is not the row type of a mapped table",
					format_type_be(typid)),
			 typid == RECORDOID ?
			 errhint("A sub-select of columns is no longer a row of its table: select the row itself, as in FROM (SELECT t FROM users t LIMIT 1) AS s(t).") :
			 errhint("Pass a row of a mapped table, or NULL::name_of_the_table.")));
}

static void
unknown_class(const char *name)
{
	List	   *names = NIL;
	ListCell   *lc;
	const char *nearest;

	foreach(lc, get_directory())
	{
		DirectoryEntry *entry = lfirst(lc);

		names = lappend(names, entry->class_name);
		names = lappend(names, entry->table_name);
	}
	nearest = nearest_name(name, names);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("class \"%s\" does not exist", name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("orm.models lists the classes.")));
}

Model *
model_by_class(const char *name, bool missing_ok)
{
	DirectoryEntry *entry = directory_find(name);

	if (entry != NULL && OidIsValid(entry->relid))
		return model_by_relid(entry->relid, missing_ok);
	if (missing_ok)
		return NULL;
	if (entry == NULL)
		unknown_class(name);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the table of class \"%s\" does not exist",
					entry->class_name),
			 errhint("Use orm.create_all(%s) to make it.",
					 quote_literal_cstr(entry->schema_name))));
}

static void
report_altered(Model *model, const char *when)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("%s was altered while the statement %s",
					model->relation_name, when),
			 errhint("Run the statement again.")));
}

/*
 * A statement is planned without a lock on the table whose rows a call in its
 * FROM returns, so the table may have been altered since.
 */
static void
check_expected_row(FunctionCallInfo fcinfo, Oid typid, Model *model)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	expected;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		get_fn_expr_rettype(fcinfo->flinfo) != typid)
		return;
	expected = rsinfo->expectedDesc;
	for (int i = 0; expected != NULL && i < model->tupdesc->natts; i++)
	{
		if (expected->natts == model->tupdesc->natts &&
			TupleDescAttr(expected, i)->attisdropped ==
			TupleDescAttr(model->tupdesc, i)->attisdropped &&
			TupleDescAttr(expected, i)->atttypid ==
			TupleDescAttr(model->tupdesc, i)->atttypid)
			continue;
		report_altered(model, "was planned");
	}
}

Model *
model_from_argument(FunctionCallInfo fcinfo, int argno)
{
	Oid			typid = get_fn_expr_argtype(fcinfo->flinfo, argno);
	Oid			rowtype;
	TupleDesc	given = NULL;
	Model	   *model;

	if (!OidIsValid(typid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("could not determine the row type of argument %d",
						argno + 1)));
	/* a row was made before the table is locked */
	rowtype = getBaseType(typid);
	if (!fcinfo->args[argno].isnull && OidIsValid(typeidTypeRelid(rowtype)))
		given = lookup_rowtype_tupdesc(rowtype, -1);
	model = model_by_rowtype(typid, false);
	if (given != NULL)
	{
		if (given != model->tupdesc && !equalTupleDescs(given, model->tupdesc))
			report_altered(model, "ran");
		ReleaseTupleDesc(given);
	}
	check_expected_row(fcinfo, typid, model);
	return model;
}

/* For those who look at models only: their tables are not locked. */
List *
model_list(void)
{
	List	   *result = NIL;
	List	   *relids = NIL;
	ListCell   *lc;

	/* building a model may replace the directory */
	foreach(lc, get_directory())
	{
		DirectoryEntry *entry = lfirst(lc);

		if (OidIsValid(entry->relid))
			relids = lappend_oid(relids, entry->relid);
	}
	foreach(lc, relids)
	{
		Model	   *model = metadata_model(lfirst_oid(lc));

		if (model && model->nkeys > 0)
			result = lappend(result, model);
	}
	return result;
}

static List *
column_names(Model *model)
{
	List	   *names = NIL;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(model->tupdesc, i);

		if (!att->attisdropped)
			names = lappend(names, NameStr(att->attname));
	}
	return names;
}

static List *
relationship_names(Model *model)
{
	List	   *names = NIL;

	for (int i = 0; i < model->nrelationships; i++)
		names = lappend(names, model->relationships[i]->name);
	return names;
}

Relationship *
model_relationship(Model *model, const char *name, bool missing_ok)
{
	const char *nearest;

	for (int i = 0; i < model->nrelationships; i++)
		if (strcmp(model->relationships[i]->name, name) == 0)
			return model->relationships[i];
	if (missing_ok)
		return NULL;
	nearest = nearest_name(name, relationship_names(model));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("class \"%s\" has no relationship \"%s\"",
					model->class_name, name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

AttrNumber
model_attnum(Model *model, const char *name, bool missing_ok)
{
	const char *nearest;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(model->tupdesc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	if (missing_ok)
		return InvalidAttrNumber;
	nearest = nearest_name(name, list_concat(column_names(model),
											 relationship_names(model)));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("class \"%s\" has no column \"%s\"",
					model->class_name, name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

/* ------------------------------------------------------------------------
 * nearest names
 * ------------------------------------------------------------------------
 */

/* Limits as in PostgreSQL's own hints for misspelt columns. */
#define MAX_NAME_DISTANCE 3
#define MAX_NAME_BYTES 255

const char *
nearest_name(const char *name, List *candidates)
{
	const char *nearest = NULL;
	int			length = strlen(name);
	int			limit = Min(MAX_NAME_DISTANCE, length / 2);
	ListCell   *lc;

	if (length > MAX_NAME_BYTES)
		return NULL;
	foreach(lc, candidates)
	{
		const char *candidate = lfirst(lc);
		int			distance;

		if (pg_strcasecmp(candidate, name) == 0)
			return candidate;
		if (strlen(candidate) > MAX_NAME_BYTES || limit < 0)
			continue;
		distance = varstr_levenshtein_less_equal(name, length, candidate,
												 strlen(candidate),
												 1, 1, 1, limit, true);
		if (distance > limit)
			continue;
		nearest = candidate;
		limit = distance - 1;
	}
	return nearest;
}
