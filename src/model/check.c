/*-------------------------------------------------------------------------
 *
 * check.c
 *	  What the fragments of a declaration mean: types, expressions, and the
 *	  columns that constraints and indexes name, so that mistakes show when
 *	  they are declared and not when the table is made.
 *
 * There is no table yet whose columns an expression could refer to; a parser
 * hook stands in for it.  Nothing is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "model/declaration.h"

/* ------------------------------------------------------------------------
 * columns
 * ------------------------------------------------------------------------
 */

ColumnDecl *
find_column(List *columns, const char *name)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		ColumnDecl *column = lfirst(lc);

		if (strcmp(column->name, name) == 0)
			return column;
	}
	return NULL;
}

ColumnDecl *
require_column(List *columns, const char *name, const char *where)
{
	ColumnDecl *column = find_column(columns, name);
	List	   *names = NIL;
	const char *nearest;
	ListCell   *lc;

	if (column)
		return column;
	foreach(lc, columns)
		names = lappend(names, ((ColumnDecl *) lfirst(lc))->name);
	nearest = nearest_name(name, names);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" named in %s does not exist", name, where),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

/* ------------------------------------------------------------------------
 * types
 * ------------------------------------------------------------------------
 */

/*
 * Types of SQLAlchemy that PostgreSQL calls otherwise; the ones that it knows
 * under the same name (Integer, Text, Boolean) need no help.
 */
static const struct
{
	const char *theirs;
	const char *ours;
	bool		with_modifier;
}			other_types[] = {
	{"string", "varchar", true},
	{"unicode", "varchar", true},
	{"unicodetext", "text", false},
	{"datetime", "timestamp", false},
	{"biginteger", "bigint", false},
	{"smallinteger", "smallint", false},
	{"largebinary", "bytea", false},
	{"blob", "bytea", false},
	{"pickletype", "bytea", false},
	{"double", "double precision", false},
	{"serial", "integer", false},
	{"bigserial", "bigint", false},
	{"smallserial", "smallint", false},
};

static char *
suggest_type(const char *sql)
{
	size_t		length = strcspn(sql, " (\t\n");
	const char *modifier = strchr(sql, '(');

	for (int i = 0; i < lengthof(other_types); i++)
		if (strlen(other_types[i].theirs) == length &&
			pg_strncasecmp(other_types[i].theirs, sql, length) == 0)
			return psprintf("%s%s", other_types[i].ours,
							other_types[i].with_modifier && modifier ?
							modifier : "");
	return NULL;
}

static void
unknown_type(ColumnDecl *column, TypeName *name)
{
	char	   *suggestion = suggest_type(column->type);
	bool		serial = suggestion && strstr(column->type, "erial") != NULL;

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("type \"%s\" does not exist", TypeNameToString(name)),
			 errdetail("It is the type of column \"%s\".", column->name),
			 serial ? errhint("Use %s with autoincrement => true.",
							  suggestion) :
			 suggestion ? errhint("Perhaps you meant \"%s\".", suggestion) :
			 0));
}

/*
 * Keeps the type as a name that means the same under any search_path.
 */
void
check_column_type(ColumnDecl *column)
{
	TypeName   *name;
	FragmentContext context;

	/* SQLAlchemy's DateTime(timezone=True) is no type for the parser either */
	name = fragment_type(column->type);
	fragment_begin(&context, "type", column->type, 0);
	if (!OidIsValid(LookupTypeNameOid(NULL, name, true)))
		unknown_type(column, name);
	typenameTypeIdAndMod(NULL, name, &column->typid, &column->typmod);
	fragment_end(&context);
	if (name->setof || get_typtype(column->typid) == TYPTYPE_PSEUDO)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" has pseudo-type %s", column->name,
						column->type)));
	column->collation = get_typcollation(column->typid);
	column->type = format_type_extended(column->typid, column->typmod,
										FORMAT_TYPE_TYPEMOD_GIVEN |
										FORMAT_TYPE_FORCE_QUALIFY);
}

/* ------------------------------------------------------------------------
 * expressions
 * ------------------------------------------------------------------------
 */

/* A column of the table to be is a parameter of its type. */
static Node *
resolve_column(ParseState *pstate, ColumnRef *cref, Node *var)
{
	List	   *columns = pstate->p_ref_hook_state;
	Node	   *field = linitial(cref->fields);
	ListCell   *lc;
	int			attno = 0;

	if (var != NULL || list_length(cref->fields) != 1 ||
		!IsA(field, String))
		return NULL;
	foreach(lc, columns)
	{
		ColumnDecl *column = lfirst(lc);
		Param	   *param;

		attno++;
		if (strcmp(column->name, strVal(field)) != 0)
			continue;
		param = makeNode(Param);
		param->paramkind = PARAM_EXTERN;
		param->paramid = attno;
		param->paramtype = column->typid;
		param->paramtypmod = column->typmod;
		param->paramcollid = column->collation;
		param->location = cref->location;
		return (Node *) param;
	}
	return NULL;
}

static ParseState *
begin_analysis(List *columns, const char *prefix, const char *sql)
{
	ParseState *pstate = make_parsestate(NULL);

	pstate->p_sourcetext = psprintf("%s%s", prefix, sql);
	pstate->p_post_columnref_hook = resolve_column;
	pstate->p_ref_hook_state = columns;
	return pstate;
}

/* Analyses an expression that must give the column's type. */
static Node *
analyse_value(ColumnDecl *column, List *columns, const char *sql,
			  const char *what, ParseExprKind kind)
{
	Node	   *raw = fragment_expression(sql, what);
	ParseState *pstate = begin_analysis(columns, "SELECT ", sql);
	FragmentContext context;
	Node	   *expr;

	fragment_begin(&context, what, sql, strlen("SELECT "));
	expr = transformExpr(pstate, raw, kind);
	if (coerce_to_target_type(pstate, expr, exprType(expr), column->typid,
							  column->typmod, COERCION_ASSIGNMENT,
							  COERCE_IMPLICIT_CAST, -1) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" is of type %s but its %s is of type %s",
						column->name, format_type_be(column->typid), what,
						format_type_be(exprType(expr)))));
	assign_expr_collations(pstate, expr);
	fragment_end(&context);
	free_parsestate(pstate);
	return expr;
}

/* A default that is a mere name is a string whose quotes were forgotten. */
static void
check_default(ColumnDecl *column)
{
	Node	   *raw = fragment_expression(column->default_sql, "default_sql");

	if (IsA(raw, ColumnRef))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("default_sql of column \"%s\" is no SQL expression",
						column->name),
				 errdetail("\"%s\" is the name of a column.",
						   column->default_sql),
				 errhint("A string constant is written with quotes: %s.",
						 quote_literal_cstr(column->default_sql))));
	analyse_value(column, NIL, column->default_sql, "default_sql",
				  EXPR_KIND_COLUMN_DEFAULT);
}

void
check_column_expressions(ColumnDecl *column, List *columns)
{
	if (column->default_sql && column->generated)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" has both default_sql and generated",
						column->name)));
	if (column->default_sql)
		check_default(column);
	if (column->generated &&
		contain_mutable_functions(analyse_value(column, columns,
												column->generated,
												"generated",
												EXPR_KIND_GENERATED_COLUMN)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("generated expression of column \"%s\" is not immutable",
						column->name),
				 errdetail("It is \"%s\".", column->generated)));
}

static void
analyse_condition(ParseState *pstate, Node *raw, ParseExprKind kind,
				  const char *what)
{
	coerce_to_boolean(pstate, transformExpr(pstate, raw, kind), what);
}

/* ------------------------------------------------------------------------
 * constraints, indexes, foreign keys
 * ------------------------------------------------------------------------
 */

static void
check_names(List *names, List *columns, const char *where)
{
	ListCell   *lc;

	foreach(lc, names)
		require_column(columns, strVal(lfirst(lc)), where);
}

static void
check_index_elements(ParseState *pstate, List *elements, List *columns,
					 const char *where)
{
	ListCell   *lc;

	foreach(lc, elements)
	{
		IndexElem  *element = lfirst(lc);

		/* of an exclusion constraint: the element and its operator */
		if (IsA(element, List))
			element = linitial((List *) element);
		if (element->name)
			require_column(columns, element->name, where);
		else
			transformExpr(pstate, element->expr, EXPR_KIND_INDEX_EXPRESSION);
	}
}

void
check_constraint(const char *sql, List *columns)
{
	const char *prefix = "CREATE TABLE x (\n";
	Constraint *constraint = fragment_constraint(sql);
	ParseState *pstate = begin_analysis(columns, prefix, sql);
	FragmentContext context;

	fragment_begin(&context, "constraint", sql, strlen(prefix));
	if (constraint->contype == CONSTR_CHECK)
		analyse_condition(pstate, constraint->raw_expr,
						  EXPR_KIND_CHECK_CONSTRAINT, "CHECK");
	check_names(constraint->keys, columns, "a constraint");
	check_names(constraint->including, columns, "a constraint");
	check_names(constraint->fk_attrs, columns, "a foreign key");
	check_index_elements(pstate, constraint->exclusions, columns,
						 "a constraint");
	if (constraint->where_clause)
		analyse_condition(pstate, constraint->where_clause,
						  EXPR_KIND_INDEX_PREDICATE, "WHERE");
	fragment_end(&context);
	free_parsestate(pstate);
}

void
check_index(const char *sql, List *columns)
{
	IndexStmt  *index = fragment_index(sql)->statement;
	ParseState *pstate = begin_analysis(columns, "", "");
	FragmentContext context;

	/* positions are those of another text */
	pstate->p_sourcetext = NULL;
	fragment_begin(&context, "index", sql, 0);
	check_index_elements(pstate, index->indexParams, columns, "an index");
	check_index_elements(pstate, index->indexIncludingParams, columns,
						 "an index");
	if (index->whereClause)
		analyse_condition(pstate, index->whereClause,
						  EXPR_KIND_INDEX_PREDICATE, "WHERE");
	fragment_end(&context);
	free_parsestate(pstate);
}

static char *
check_action(ColumnDecl *column, const char *action, const char *option)
{
	static const char *const actions[] = {
		"CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"
	};

	if (action == NULL)
		return NULL;
	if (column->foreign_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" has %s but no foreign_key",
						column->name, option)));
	for (int i = 0; i < lengthof(actions); i++)
		if (pg_strcasecmp(actions[i], action) == 0)
			return pstrdup(actions[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s \"%s\" of column \"%s\"", option, action,
					column->name),
			 errhint("It is one of CASCADE, SET NULL, SET DEFAULT, RESTRICT and NO ACTION.")));
}

/* What it refers to may be declared later. */
void
check_foreign_key(ColumnDecl *column)
{
	column->ondelete = check_action(column, column->ondelete, "ondelete");
	column->onupdate = check_action(column, column->onupdate, "onupdate");
	if (column->foreign_key)
	{
		int			parts = list_length(split_name(column->foreign_key));

		if (parts != 2 && parts != 3)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("foreign_key \"%s\" of column \"%s\" does not name a table's column",
							column->foreign_key, column->name),
					 errhint("Write \"table.column\" or \"schema.table.column\".")));
	}
}
