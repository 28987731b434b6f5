/*-------------------------------------------------------------------------
 *
 * declare.c
 *	  orm.declare: a class and its table, declared in SQL.
 *
 * The declaration is checked as far as that is possible without the table
 * and written to the config tables; nothing is kept in memory.  The schema
 * is not locked: orm.create_all meets whatever there is by then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "model/declaration.h"

/* Attributes of orm.column_arg. */
enum
{
	ARG_NAME,
	ARG_TYPE,
	ARG_PRIMARY_KEY,
	ARG_NULLABLE,
	ARG_UNIQUE_KEY,
	ARG_INDEX,
	ARG_DEFAULT_SQL,
	ARG_FOREIGN_KEY,
	ARG_ONDELETE,
	ARG_ONUPDATE,
	ARG_AUTOINCREMENT,
	ARG_GENERATED,
	COLUMN_ARG_NATTS
};

/* Attributes of orm.relationship_arg. */
enum
{
	REL_ARG_NAME,
	REL_ARG_TARGET,
	REL_ARG_BACKREF,
	REL_ARG_SECONDARY,
	REL_ARG_FOREIGN_KEYS,
	REL_ARG_REMOTE_SIDE,
	REL_ARG_ORDER_BY,
	REL_ARG_CASCADE,
	REL_ARG_PASSIVE_DELETES,
	REL_ARG_VIEWONLY,
	REL_ARG_USELIST,
	RELATIONSHIP_ARG_NATTS
};

/* A row argument taken apart. */
typedef struct RowArgument
{
	Datum		values[COLUMN_ARG_NATTS];
	bool		nulls[COLUMN_ARG_NATTS];
} RowArgument;

/* ------------------------------------------------------------------------
 * arguments
 * ------------------------------------------------------------------------
 */

static char *
required_text(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

static void
read_row(Datum datum, RowArgument *row, int natts)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(datum);
	TupleDesc	tupdesc =
		lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
							   HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;

	if (tupdesc->natts != natts)
		elog(ERROR, "unexpected row type of an argument");
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, tupdesc, row->values, row->nulls);
	ReleaseTupleDesc(tupdesc);
}

static char *
row_text(RowArgument *row, int attribute)
{
	return row->nulls[attribute] ? NULL :
		TextDatumGetCString(row->values[attribute]);
}

static List *
row_strings(RowArgument *row, int attribute)
{
	return row->nulls[attribute] ? NIL :
		strings_of_array(row->values[attribute]);
}

static bool
row_bool(RowArgument *row, int attribute)
{
	return !row->nulls[attribute] && DatumGetBool(row->values[attribute]);
}

/* The elements of an array of rows; a NULL array has none. */
static List *
row_arguments(FunctionCallInfo fcinfo, int argno, int natts,
			  const char *name)
{
	ArrayType  *array;
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	List	   *result = NIL;

	if (PG_ARGISNULL(argno))
		return NIL;
	array = PG_GETARG_ARRAYTYPE_P(argno);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE,
					  &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		RowArgument *row = palloc(sizeof(RowArgument));

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain NULL", name)));
		read_row(elems[i], row, natts);
		result = lappend(result, row);
	}
	return result;
}

/* ------------------------------------------------------------------------
 * columns
 * ------------------------------------------------------------------------
 */

static void
check_column_name(const char *name, List *columns)
{
	if (name == NULL || name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a column must have a name")));
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("column name \"%s\" is too long", name)));
	if (find_column(columns, name) || SystemAttributeByName(name))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("column \"%s\" is declared twice or is a system column",
						name)));
}

static ColumnDecl *
read_column(RowArgument *row, List *columns)
{
	ColumnDecl *column = palloc0(sizeof(ColumnDecl));

	column->name = row_text(row, ARG_NAME);
	check_column_name(column->name, columns);
	column->type = row_text(row, ARG_TYPE);
	if (column->type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column \"%s\" has no type", column->name)));
	check_column_type(column);
	column->primary_key = row_bool(row, ARG_PRIMARY_KEY);
	column->not_null = column->primary_key ||
		(!row->nulls[ARG_NULLABLE] && !row_bool(row, ARG_NULLABLE));
	if (column->primary_key && row_bool(row, ARG_NULLABLE))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("primary key column \"%s\" cannot be nullable",
						column->name)));
	column->unique_key = row_bool(row, ARG_UNIQUE_KEY);
	column->index = row_bool(row, ARG_INDEX);
	column->default_sql = row_text(row, ARG_DEFAULT_SQL);
	column->generated = row_text(row, ARG_GENERATED);
	column->foreign_key = row_text(row, ARG_FOREIGN_KEY);
	column->ondelete = row_text(row, ARG_ONDELETE);
	column->onupdate = row_text(row, ARG_ONUPDATE);
	check_foreign_key(column);
	return column;
}

static List *
read_columns(List *rows)
{
	List	   *columns = NIL;
	ListCell   *lc;

	if (rows == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a class must have columns")));
	foreach(lc, rows)
		columns = lappend(columns, read_column(lfirst(lc), columns));
	foreach(lc, columns)
		check_column_expressions(lfirst(lc), columns);
	return columns;
}

/* ------------------------------------------------------------------------
 * the primary key and autoincrement
 * ------------------------------------------------------------------------
 */

/* Columns of the key, whether they or a constraint say so. */
static List *
key_columns(TableDecl *table)
{
	List	   *key = NIL;
	int			nkeys = 0;
	ListCell   *lc;

	foreach(lc, table->columns)
	{
		ColumnDecl *column = lfirst(lc);

		if (column->primary_key)
			key = lappend(key, column->name);
	}
	if (key != NIL)
		nkeys++;
	foreach(lc, table->constraints)
	{
		Constraint *constraint = fragment_constraint(lfirst(lc));
		ListCell   *name;

		if (constraint->contype != CONSTR_PRIMARY)
			continue;
		nkeys++;
		foreach(name, constraint->keys)
			key = lappend(key, strVal(lfirst(name)));
	}
	if (nkeys != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 nkeys == 0 ?
				 errmsg("class \"%s\" has no primary key",
						table->class_name) :
				 errmsg("class \"%s\" has several primary keys",
						table->class_name),
				 nkeys == 0 ?
				 errhint("Give a column primary_key => true, or a constraint 'PRIMARY KEY (...)'.") : 0));
	return key;
}

/* Does a foreign key, of the column or of a constraint, begin here? */
static bool
is_foreign_key(TableDecl *table, ColumnDecl *column)
{
	ListCell   *lc;

	if (column->foreign_key)
		return true;
	foreach(lc, table->constraints)
	{
		Constraint *constraint = fragment_constraint(lfirst(lc));
		ListCell   *name;

		foreach(name, constraint->fk_attrs)
			if (strcmp(strVal(lfirst(name)), column->name) == 0)
				return true;
	}
	return false;
}

static void
choose_identity(TableDecl *table, ColumnDecl *column, RowArgument *row,
				List *key)
{
	bool		possible = is_integer_type(column->typid) &&
		column->default_sql == NULL && column->generated == NULL;

	if (!row->nulls[ARG_AUTOINCREMENT])
	{
		column->identity = row_bool(row, ARG_AUTOINCREMENT);
		if (column->identity && !possible)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot be autoincrement",
							column->name),
					 errdetail("Only an integer column without a default can be.")));
	}
	else
		column->identity = possible && list_length(key) == 1 &&
			strcmp(linitial(key), column->name) == 0 &&
			!is_foreign_key(table, column);
}

/* ------------------------------------------------------------------------
 * relationships
 * ------------------------------------------------------------------------
 */

static RelationshipDef *
read_relationship(RowArgument *row, TableDecl *table)
{
	RelationshipDef *def = palloc0(sizeof(RelationshipDef));

	def->class_name = table->class_name;
	def->name = row_text(row, REL_ARG_NAME);
	def->target = row_text(row, REL_ARG_TARGET);
	if (def->name == NULL || def->target == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a relationship must have a name and a target")));
	if (find_column(table->columns, def->name))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("class \"%s\" has both a column and a relationship \"%s\"",
						table->class_name, def->name)));
	def->backref = row_text(row, REL_ARG_BACKREF);
	def->secondary = row_text(row, REL_ARG_SECONDARY);
	def->foreign_keys = row_strings(row, REL_ARG_FOREIGN_KEYS);
	def->remote_side = row_strings(row, REL_ARG_REMOTE_SIDE);
	def->order_by = row_text(row, REL_ARG_ORDER_BY);
	if (def->order_by)
		fragment_sort_list(def->order_by);
	def->cascade = row_text(row, REL_ARG_CASCADE);
	def->passive_deletes = row_bool(row, REL_ARG_PASSIVE_DELETES);
	def->viewonly = row_bool(row, REL_ARG_VIEWONLY);
	def->uselist_given = !row->nulls[REL_ARG_USELIST];
	def->uselist = row_bool(row, REL_ARG_USELIST);
	return def;
}

/* ------------------------------------------------------------------------
 * orm.declare
 * ------------------------------------------------------------------------
 */

static Oid
check_schema(const char *schema)
{
	Oid			oid = get_namespace_oid(schema, false);
	AclResult	result = compat_namespace_aclcheck(oid, GetUserId(),
												   ACL_CREATE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, schema);
	return oid;
}

static void
check_table_free(TableDecl *table)
{
	ListCell   *lc;

	foreach(lc, model_defs())
	{
		ModelDef   *def = lfirst(lc);

		if (!OidIsValid(def->relid) &&
			strcmp(def->schema_name, table->schema_name) == 0 &&
			strcmp(def->table_name, table->table_name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("table %s is declared already",
							quote_qualified_identifier(def->schema_name,
													   def->table_name)),
					 errdetail("Its class is \"%s\".", def->class_name)));
	}
}

static void
insert_model(TableDecl *table)
{
	CatalogParam params[] = {
		catalog_text(table->class_name),
		catalog_name(table->schema_name),
		catalog_name(table->table_name),
		catalog_name(GetUserNameFromId(GetUserId(), false)),
		catalog_name(table->version_column),
		{JSONBOID, declaration_to_jsonb(table), false},
		catalog_name(catalog_current_extension()),
	};

	catalog_execute("INSERT INTO orm.model_def"
					" (class, schema_name, table_name, owner,"
					" version_column, declaration, extension)"
					" VALUES ($1, $2, $3, $4, $5, $6, $7)",
					lengthof(params), params);
}

static TableDecl *
read_declaration(FunctionCallInfo fcinfo)
{
	TableDecl  *table = palloc0(sizeof(TableDecl));
	List	   *rows;
	List	   *key;
	ListCell   *lc;
	ListCell   *row;

	table->class_name = required_text(fcinfo, 0, "class");
	check_class_free(table->class_name);
	table->table_name = required_text(fcinfo, 1, "tablename");
	if (table->table_name[0] == '\0' ||
		strlen(table->table_name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid table name \"%s\"", table->table_name)));
	if (PG_ARGISNULL(6))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("no schema has been selected to create in")));
	table->schema_name = text_to_cstring(PG_GETARG_TEXT_PP(6));
	rows = row_arguments(fcinfo, 2, COLUMN_ARG_NATTS, "columns");
	table->columns = read_columns(rows);

	table->constraints = PG_ARGISNULL(3) ? NIL :
		strings_of_array(PG_GETARG_DATUM(3));
	foreach(lc, table->constraints)
		check_constraint(lfirst(lc), table->columns);
	table->indexes = PG_ARGISNULL(4) ? NIL :
		strings_of_array(PG_GETARG_DATUM(4));
	foreach(lc, table->indexes)
		check_index(lfirst(lc), table->columns);

	key = key_columns(table);
	forboth(lc, table->columns, row, rows)
		choose_identity(table, lfirst(lc), lfirst(row), key);
	if (!PG_ARGISNULL(7))
	{
		table->version_column = NameStr(*PG_GETARG_NAME(7));
		check_version_type(table->version_column,
						   require_column(table->columns,
										  table->version_column,
										  "version_column")->typid);
	}
	return table;
}

PG_FUNCTION_INFO_V1(orm_declare);
Datum
orm_declare(PG_FUNCTION_ARGS)
{
	TableDecl  *table = read_declaration(fcinfo);
	List	   *relationships = NIL;
	Oid			schema = check_schema(table->schema_name);
	Oid			relid;
	ListCell   *lc;

	foreach(lc, row_arguments(fcinfo, 5, RELATIONSHIP_ARG_NATTS,
							  "relationships"))
		relationships = lappend(relationships,
								read_relationship(lfirst(lc), table));
	check_table_free(table);
	insert_model(table);
	relid = get_relname_relid(table->table_name, schema);
	if (OidIsValid(relid))
		model_bind(table, relid);
	foreach(lc, relationships)
		relationship_insert(lfirst(lc), false);
	if (OidIsValid(relid))
		relationships_bind_pending(false);
	PG_RETURN_VOID();
}
