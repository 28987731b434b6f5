/*-------------------------------------------------------------------------
 *
 * declaration.c
 *	  The declared table as it is kept in orm.model_def.declaration: a JSON
 *	  object {"version_column", "columns", "constraints", "indexes"}.
 *
 * What was declared is never changed by what happens to the table: renames
 * and moves are the database's, orm.create_all makes the declared table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "model/declaration.h"

/* ------------------------------------------------------------------------
 * writing
 * ------------------------------------------------------------------------
 */

/* Begins the next member of an object. */
static void
json_key(StringInfo buf, const char *key)
{
	if (buf->data[buf->len - 1] != '{')
		appendStringInfoChar(buf, ',');
	escape_json(buf, key);
	appendStringInfoChar(buf, ':');
}

static void
json_string(StringInfo buf, const char *key, const char *value)
{
	if (value == NULL)
		return;
	json_key(buf, key);
	escape_json(buf, value);
}

static void
json_bool(StringInfo buf, const char *key, bool value)
{
	json_key(buf, key);
	appendStringInfoString(buf, value ? "true" : "false");
}

static void
json_column(StringInfo buf, ColumnDecl *column)
{
	appendStringInfoChar(buf, '{');
	json_string(buf, "name", column->name);
	json_string(buf, "type", column->type);
	json_bool(buf, "primary_key", column->primary_key);
	json_bool(buf, "not_null", column->not_null);
	json_bool(buf, "unique_key", column->unique_key);
	json_bool(buf, "index", column->index);
	json_bool(buf, "identity", column->identity);
	json_string(buf, "default_sql", column->default_sql);
	json_string(buf, "generated", column->generated);
	json_string(buf, "foreign_key", column->foreign_key);
	json_string(buf, "ondelete", column->ondelete);
	json_string(buf, "onupdate", column->onupdate);
	appendStringInfoChar(buf, '}');
}

static void
json_strings(StringInfo buf, const char *key, List *values)
{
	ListCell   *lc;

	json_key(buf, key);
	appendStringInfoChar(buf, '[');
	foreach(lc, values)
	{
		if (lc != list_head(values))
			appendStringInfoChar(buf, ',');
		escape_json(buf, lfirst(lc));
	}
	appendStringInfoChar(buf, ']');
}

Datum
declaration_to_jsonb(TableDecl *table)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	json_string(&buf, "version_column", table->version_column);
	json_key(&buf, "columns");
	appendStringInfoChar(&buf, '[');
	foreach(lc, table->columns)
	{
		if (lc != list_head(table->columns))
			appendStringInfoChar(&buf, ',');
		json_column(&buf, lfirst(lc));
	}
	appendStringInfoChar(&buf, ']');
	json_strings(&buf, "constraints", table->constraints);
	json_strings(&buf, "indexes", table->indexes);
	appendStringInfoChar(&buf, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
}

/* ------------------------------------------------------------------------
 * reading
 * ------------------------------------------------------------------------
 */

static char *
value_at(HeapTuple tuple, int column)
{
	return SPI_getvalue(tuple, SPI_tuptable->tupdesc, column);
}

static bool
bool_at(HeapTuple tuple, int column)
{
	char	   *value = value_at(tuple, column);

	return value != NULL && value[0] == 't';
}

static ColumnDecl *
read_column(HeapTuple tuple)
{
	ColumnDecl *column = palloc0(sizeof(ColumnDecl));

	column->name = value_at(tuple, 1);
	column->type = value_at(tuple, 2);
	column->primary_key = bool_at(tuple, 3);
	column->not_null = bool_at(tuple, 4);
	column->unique_key = bool_at(tuple, 5);
	column->index = bool_at(tuple, 6);
	column->identity = bool_at(tuple, 7);
	column->default_sql = value_at(tuple, 8);
	column->generated = value_at(tuple, 9);
	column->foreign_key = value_at(tuple, 10);
	column->ondelete = value_at(tuple, 11);
	column->onupdate = value_at(tuple, 12);
	return column;
}

static List *
read_columns(MemoryContext mcxt)
{
	MemoryContext old = MemoryContextSwitchTo(mcxt);
	List	   *columns = NIL;

	for (uint64 i = 0; i < SPI_processed; i++)
		columns = lappend(columns, read_column(SPI_tuptable->vals[i]));
	MemoryContextSwitchTo(old);
	return columns;
}

static List *
read_strings(MemoryContext mcxt)
{
	MemoryContext old = MemoryContextSwitchTo(mcxt);
	List	   *strings = NIL;

	for (uint64 i = 0; i < SPI_processed; i++)
		strings = lappend(strings, value_at(SPI_tuptable->vals[i], 1));
	MemoryContextSwitchTo(old);
	return strings;
}

static void
read_query(const char *sql, const char *class_name)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(class_name)};

	if (SPI_execute_with_args(sql, 1, types, values, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the declaration of \"%s\"", class_name);
}

TableDecl *
declaration_read(const char *class_name)
{
	MemoryContext mcxt = CurrentMemoryContext;
	TableDecl  *table = palloc0(sizeof(TableDecl));
	ModelDef   *def = model_def_by_class(class_name);

	table->class_name = def->class_name;
	table->schema_name = def->schema_name;
	table->table_name = def->table_name;

	SPI_connect();
	read_query("SELECT c.name, c.type, c.primary_key, c.not_null,"
			   " c.unique_key, c.index, c.identity, c.default_sql,"
			   " c.generated, c.foreign_key, c.ondelete, c.onupdate"
			   " FROM orm.model_def m, pg_catalog.jsonb_to_recordset("
			   " m.declaration OPERATOR(pg_catalog.->) 'columns')"
			   " AS c (name pg_catalog.text, type pg_catalog.text,"
			   " primary_key boolean, not_null boolean, unique_key boolean,"
			   " index boolean, identity boolean,"
			   " default_sql pg_catalog.text, generated pg_catalog.text,"
			   " foreign_key pg_catalog.text, ondelete pg_catalog.text,"
			   " onupdate pg_catalog.text)"
			   " WHERE m.class OPERATOR(pg_catalog.=) $1", class_name);
	table->columns = read_columns(mcxt);
	read_query("SELECT c.* FROM orm.model_def m,"
			   " pg_catalog.jsonb_array_elements_text("
			   " m.declaration OPERATOR(pg_catalog.->) 'constraints') c"
			   " WHERE m.class OPERATOR(pg_catalog.=) $1", class_name);
	table->constraints = read_strings(mcxt);
	read_query("SELECT c.* FROM orm.model_def m,"
			   " pg_catalog.jsonb_array_elements_text("
			   " m.declaration OPERATOR(pg_catalog.->) 'indexes') c"
			   " WHERE m.class OPERATOR(pg_catalog.=) $1", class_name);
	table->indexes = read_strings(mcxt);
	read_query("SELECT m.declaration OPERATOR(pg_catalog.->>)"
			   " 'version_column' FROM orm.model_def m"
			   " WHERE m.class OPERATOR(pg_catalog.=) $1", class_name);
	table->version_column = linitial(read_strings(mcxt));
	SPI_finish();
	return table;
}
