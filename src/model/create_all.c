/*-------------------------------------------------------------------------
 *
 * create_all.c
 *	  orm.create_all: making the declared tables of a schema, in the order of
 *	  their foreign keys.
 *
 * The statements are SQL text, run through SPI as the calling user with the
 * schema in front of the search_path, as in CREATE SCHEMA: so an unqualified
 * table in a constraint is found there first.  Only what the caller declared
 * is made, membership through being a superuser not counted, since making a
 * table for somebody runs what he declared.
 *
 * Nothing is kept in memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "model/declaration.h"

/* A foreign key of a declared table. */
typedef struct Reference
{
	char	   *schema_name;
	char	   *table_name;
	char	   *clause;			/* SQL of a table constraint */
} Reference;

/* ------------------------------------------------------------------------
 * which tables
 * ------------------------------------------------------------------------
 */

bool
is_declared_owner(const char *owner)
{
	Oid			role = get_role_oid(owner, true);

	return OidIsValid(role) && is_member_of_role_nosuper(GetUserId(), role);
}

static bool
same_extension(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The owner's name, or NULL if the relation is gone. */
char *
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return GetUserNameFromId(owner, false);
}

/* Is the class one of those that create_all and drop_all mean here? */
static bool
is_meant(ModelDef *def, Oid schema, const char *schema_name)
{
	char	   *owner;

	if (!def->declared ||
		!same_extension(def->extension, catalog_current_extension()))
		return false;
	if (!OidIsValid(def->relid))
		return strcmp(def->schema_name, schema_name) == 0 &&
			is_declared_owner(def->owner);
	owner = relation_owner(def->relid);
	return owner != NULL && is_declared_owner(owner) &&
		get_rel_namespace(def->relid) == schema;
}

List *
declared_defs(const char *schema_name)
{
	Oid			schema = get_namespace_oid(schema_name, false);
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, model_defs())
		if (is_meant(lfirst(lc), schema, schema_name))
			result = lappend(result, lfirst(lc));
	return result;
}

/* ------------------------------------------------------------------------
 * running statements
 * ------------------------------------------------------------------------
 */

/* A comment that says whose statement it is; a name must not end it. */
static char *
statement_comment(const char *call, const char *class_name)
{
	char	   *comment = psprintf("/* pg_orm %s %s */ ", call, class_name);
	char	   *end = comment + strlen(comment) - strlen("*/ ");

	for (char *c = comment + strlen("/*"); c < end; c++)
		if (*c == '*' || *c == '/')
			*c = '_';
	return comment;
}

void
run_statement(const char *sql)
{
	int			rc;

	ereport(DEBUG1, (errmsg_internal("%s", sql)));
	SPI_connect();
	rc = SPI_execute(sql, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	SPI_finish();
}

/* Puts the schema in front of the search_path; undone by AtEOXact_GUC. */
static int
enter_schema(const char *schema_name)
{
	int			nest_level = NewGUCNestLevel();
	char	   *path = pstrdup(quote_identifier(schema_name));

	if (namespace_search_path[0] != '\0')
		path = psprintf("%s, %s", path, namespace_search_path);
	set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION,
					  GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

/* ------------------------------------------------------------------------
 * references between declared tables
 * ------------------------------------------------------------------------
 */

static bool
is_table(TableDecl *table, const char *schema_name, const char *table_name)
{
	return strcmp(table->schema_name, schema_name) == 0 &&
		strcmp(table->table_name, table_name) == 0;
}

static bool
list_has_table(List *tables, Reference *reference)
{
	ListCell   *lc;

	foreach(lc, tables)
		if (is_table(lfirst(lc), reference->schema_name,
					 reference->table_name))
			return true;
	return false;
}

/* A class in the place of a table is the likeliest mistake. */
static const char *
foreign_key_hint(const char *table_name, const char *column_name)
{
	ModelDef   *def = model_def_by_class(table_name);
	List	   *names = NIL;
	const char *nearest;
	ListCell   *lc;

	if (def)
		return psprintf("A foreign key names the table, not the class: \"%s.%s\".",
						def->table_name, column_name);
	foreach(lc, model_defs())
		names = lappend(names, ((ModelDef *) lfirst(lc))->table_name);
	nearest = nearest_name(table_name, names);
	return nearest ? psprintf("Perhaps you meant \"%s.%s\".", nearest,
							  column_name) : NULL;
}

static void
check_reference(Reference *reference, TableDecl *table, ColumnDecl *column,
				const char *referenced_column, List *all)
{
	Oid			schema = get_namespace_oid(reference->schema_name, false);
	const char *hint;

	if (list_has_table(all, reference) ||
		OidIsValid(get_relname_relid(reference->table_name, schema)))
		return;
	hint = foreign_key_hint(reference->table_name, referenced_column);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("foreign key \"%s\" of column \"%s\" of class \"%s\" refers to a table that does not exist",
					column->foreign_key, column->name, table->class_name),
			 hint ? errhint("%s", hint) : 0));
}

static Reference *
column_reference(TableDecl *table, ColumnDecl *column, List *all)
{
	Reference  *reference = palloc0(sizeof(Reference));
	List	   *parts = split_name(column->foreign_key);
	int			n = list_length(parts);
	StringInfoData clause;

	reference->schema_name = n == 3 ? linitial(parts) : table->schema_name;
	reference->table_name = list_nth(parts, n - 2);
	check_reference(reference, table, column, llast(parts), all);

	initStringInfo(&clause);
	appendStringInfo(&clause, "FOREIGN KEY (%s) REFERENCES %s",
					 quote_identifier(column->name),
					 quote_qualified_identifier(reference->schema_name,
												reference->table_name));
	appendStringInfo(&clause, " (%s)", quote_identifier(llast(parts)));
	if (column->ondelete)
		appendStringInfo(&clause, " ON DELETE %s", column->ondelete);
	if (column->onupdate)
		appendStringInfo(&clause, " ON UPDATE %s", column->onupdate);
	reference->clause = clause.data;
	return reference;
}

/* The foreign keys of columns and constraints: List of Reference *. */
static List *
references_of(TableDecl *table, List *all)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, table->columns)
	{
		ColumnDecl *column = lfirst(lc);

		if (column->foreign_key)
			result = lappend(result, column_reference(table, column, all));
	}
	foreach(lc, table->constraints)
	{
		Constraint *constraint = fragment_constraint(lfirst(lc));
		Reference  *reference;

		if (constraint->contype != CONSTR_FOREIGN)
			continue;
		reference = palloc0(sizeof(Reference));
		reference->schema_name = constraint->pktable->schemaname ?
			constraint->pktable->schemaname : table->schema_name;
		reference->table_name = constraint->pktable->relname;
		reference->clause = lfirst(lc);
		result = lappend(result, reference);
	}
	return result;
}

/*
 * Does the table wait for one of the others?  Its references to itself do
 * not count.
 */
static bool
waits_for(TableDecl *table, List *all, List *others)
{
	ListCell   *lc;

	foreach(lc, references_of(table, all))
	{
		Reference  *reference = lfirst(lc);

		if (!is_table(table, reference->schema_name, reference->table_name) &&
			list_has_table(others, reference))
			return true;
	}
	return false;
}

/*
 * The next table to make: the first that waits for no other one, or, where
 * all are in cycles, the first.
 */
static TableDecl *
next_table(List *remaining, List *all)
{
	ListCell   *lc;

	foreach(lc, remaining)
		if (!waits_for(lfirst(lc), all, remaining))
			return lfirst(lc);
	return linitial(remaining);
}

/* ------------------------------------------------------------------------
 * CREATE TABLE
 * ------------------------------------------------------------------------
 */

static void
append_column(StringInfo sql, ColumnDecl *column)
{
	appendStringInfo(sql, "\t%s %s", quote_identifier(column->name),
					 column->type);
	/* a fragment may end in a comment */
	if (column->default_sql)
		appendStringInfo(sql, " DEFAULT (%s\n)", column->default_sql);
	if (column->generated)
		appendStringInfo(sql, " GENERATED ALWAYS AS (%s\n) STORED",
						 column->generated);
	if (column->identity)
		appendStringInfoString(sql, " GENERATED BY DEFAULT AS IDENTITY");
	if (column->not_null && !column->primary_key)
		appendStringInfoString(sql, " NOT NULL");
}

static void
append_primary_key(StringInfo sql, TableDecl *table)
{
	bool		first = true;
	ListCell   *lc;

	foreach(lc, table->columns)
	{
		ColumnDecl *column = lfirst(lc);

		if (!column->primary_key)
			continue;
		appendStringInfo(sql, "%s%s", first ? ",\n\tPRIMARY KEY (" : ", ",
						 quote_identifier(column->name));
		first = false;
	}
	if (!first)
		appendStringInfoChar(sql, ')');
}

/* Unique and other constraints, but foreign keys. */
static void
append_constraints(StringInfo sql, TableDecl *table)
{
	ListCell   *lc;

	foreach(lc, table->columns)
	{
		ColumnDecl *column = lfirst(lc);

		if (column->unique_key && !column->index)
			appendStringInfo(sql, ",\n\tUNIQUE (%s)",
							 quote_identifier(column->name));
	}
	foreach(lc, table->constraints)
		if (fragment_constraint(lfirst(lc))->contype != CONSTR_FOREIGN)
			appendStringInfo(sql, ",\n\t%s\n", (char *) lfirst(lc));
}

/*
 * Makes the table without its indexes.  Foreign keys to tables that are still
 * to be made are left for later: appended to *deferred as statements.
 */
static void
create_table(TableDecl *table, List *all, List *remaining, List **deferred)
{
	char	   *name = quote_qualified_identifier(table->schema_name,
												  table->table_name);
	char	   *comment = statement_comment("create_all", table->class_name);
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "%sCREATE TABLE %s (\n", comment, name);
	foreach(lc, table->columns)
	{
		if (lc != list_head(table->columns))
			appendStringInfoString(&sql, ",\n");
		append_column(&sql, lfirst(lc));
	}
	append_primary_key(&sql, table);
	append_constraints(&sql, table);
	foreach(lc, references_of(table, all))
	{
		Reference  *reference = lfirst(lc);

		if (list_has_table(remaining, reference))
			*deferred = lappend(*deferred,
								psprintf("%sALTER TABLE %s ADD %s\n",
										 comment, name, reference->clause));
		else
			appendStringInfo(&sql, ",\n\t%s\n", reference->clause);
	}
	appendStringInfoString(&sql, "\n)");
	run_statement(sql.data);
}

static void
create_index(TableDecl *table, bool unique, const char *name,
			 const char *rest)
{
	run_statement(psprintf("%sCREATE %sINDEX %s ON %s %s\n",
						   statement_comment("create_all", table->class_name),
						   unique ? "UNIQUE " : "", name ? name : "",
						   quote_qualified_identifier(table->schema_name,
													  table->table_name),
						   rest));
}

/* Column indexes are named as the reference names them: ix_table_column. */
static void
create_indexes(TableDecl *table)
{
	ListCell   *lc;

	foreach(lc, table->columns)
	{
		ColumnDecl *column = lfirst(lc);
		char	   *name;

		if (!column->index)
			continue;
		name = makeObjectName(psprintf("ix_%s", table->table_name),
							  column->name, NULL);
		create_index(table, column->unique_key,
					 pstrdup(quote_identifier(name)),
					 psprintf("(%s)", quote_identifier(column->name)));
	}
	foreach(lc, table->indexes)
	{
		IndexFragment *index = fragment_index(lfirst(lc));

		create_index(table, index->unique, index->name, index->rest);
	}
}

/* ------------------------------------------------------------------------
 * binding a declared class to its table
 * ------------------------------------------------------------------------
 */

static void
check_columns_exist(TableDecl *table, Relation rel)
{
	ListCell   *lc;

	foreach(lc, table->columns)
	{
		ColumnDecl *column = lfirst(lc);

		if (get_attnum(RelationGetRelid(rel), column->name) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s\" exists, but has no column \"%s\"",
							RelationGetRelationName(rel), column->name),
					 errdetail("Class \"%s\" declares it.",
							   table->class_name)));
	}
}

void
model_bind(TableDecl *table, Oid relid)
{
	Relation	rel = relation_open_existing(relid);
	CatalogParam params[4];
	List	   *key;

	catalog_check_owner(relid);
	check_not_mapped(rel);
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table",
						RelationGetRelationName(rel)),
				 errdetail("Class \"%s\" declares it as one.",
						   table->class_name)));
	check_columns_exist(table, rel);
	if (table->version_column)
		check_version_column(rel, table->version_column);
	key = primary_key_columns(relid);
	if (key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table \"%s\" exists, but has no primary key",
						RelationGetRelationName(rel))));
	params[0] = catalog_text(table->class_name);
	params[1] = catalog_oid(REGCLASSOID, relid);
	params[2] = catalog_names(key);
	params[3] = catalog_name(table->version_column);
	catalog_execute("UPDATE orm.model_def SET relation = $2,"
					" primary_key = $3, version_column = $4"
					" WHERE class OPERATOR(pg_catalog.=) $1", 4, params);
	relation_close(rel, NoLock);
}

/* ------------------------------------------------------------------------
 * orm.create_all
 * ------------------------------------------------------------------------
 */

/* A table that exists counts as made if checkfirst, and else is an error. */
static List *
tables_to_create(List *defs, bool checkfirst)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, defs)
	{
		ModelDef   *def = lfirst(lc);
		TableDecl  *table = declaration_read(def->class_name);
		Oid			relid = def->relid;

		if (!OidIsValid(relid))
			relid = get_relname_relid(def->table_name,
									  get_namespace_oid(def->schema_name,
														false));
		if (!OidIsValid(relid))
			result = lappend(result, table);
		else if (!checkfirst)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("table \"%s\" of class \"%s\" exists already",
							get_rel_name(relid), def->class_name)));
		else if (!OidIsValid(def->relid))
			model_bind(table, relid);
	}
	return result;
}

static List *
create_tables(List *tables)
{
	List	   *remaining = list_copy(tables);
	List	   *deferred = NIL;
	List	   *relids = NIL;
	ListCell   *lc;

	while (remaining != NIL)
	{
		TableDecl  *table = next_table(remaining, tables);
		Oid			relid;

		remaining = list_delete_ptr(remaining, table);
		create_table(table, tables, remaining, &deferred);
		create_indexes(table);
		relid = get_relname_relid(table->table_name,
								  get_namespace_oid(table->schema_name,
													false));
		model_bind(table, relid);
		relids = lappend_oid(relids, relid);
	}
	foreach(lc, deferred)
		run_statement(lfirst(lc));
	return relids;
}

/*
 * A relationship of these classes that is still not bound leads to a class
 * that nobody has declared, unless that one's table is made elsewhere.
 */
static void
check_targets(List *defs)
{
	ListCell   *lc;

	foreach(lc, defs)
	{
		char	   *class_name = ((ModelDef *) lfirst(lc))->class_name;
		ListCell   *rel;

		foreach(rel, relationship_defs_of_class(class_name))
		{
			RelationshipDef *def = lfirst(rel);

			if (!def->bound && model_def_by_class(def->target) == NULL)
				model_by_class(def->target, false);
			if (!def->bound && def->secondary &&
				model_def_by_class(def->target) != NULL &&
				OidIsValid(model_def_by_class(def->target)->relid))
				relationship_missing_secondary(def);
		}
	}
}

static void
return_regclasses(FunctionCallInfo fcinfo, List *relids)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	foreach(lc, relids)
	{
		Datum		value = ObjectIdGetDatum(lfirst_oid(lc));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value,
							 &isnull);
	}
}

char *
schema_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("no schema has been selected")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

PG_FUNCTION_INFO_V1(orm_create_all);
Datum
orm_create_all(PG_FUNCTION_ARGS)
{
	char	   *schema_name = schema_argument(fcinfo);
	bool		checkfirst = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	List	   *defs = declared_defs(schema_name);
	int			nest_level = enter_schema(schema_name);
	List	   *relids = create_tables(tables_to_create(defs, checkfirst));

	relationships_bind_pending(false);
	check_targets(defs);
	AtEOXact_GUC(true, nest_level);
	return_regclasses(fcinfo, relids);
	return (Datum) 0;
}
