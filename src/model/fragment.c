/*-------------------------------------------------------------------------
 *
 * fragment.c
 *	  Pieces of SQL in a declaration, parsed by PostgreSQL's parser.
 *
 * Each has to parse alone as exactly what it is said to be, so that it cannot
 * close a bracket, add a clause or begin another statement where it is put
 * later.  A comment that is left open at its end is harmless, since whoever
 * uses a fragment writes a newline after it.
 *
 * Parse trees live in the caller's memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/keywords.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "parser/scanner.h"
#include "utils/builtins.h"

#include "model/declaration.h"

/* ------------------------------------------------------------------------
 * error positions
 * ------------------------------------------------------------------------
 */

static void
fragment_error(void *arg)
{
	FragmentContext *context = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		/* the statement that the client sent has no such position */
		errposition(0);
		position -= context->offset;
		if (position > 0 && position <= (int) strlen(context->sql) + 1)
		{
			internalerrposition(position);
			internalerrquery(context->sql);
		}
	}
	errcontext("%s \"%s\"", context->what, context->sql);
}

void
fragment_begin(FragmentContext *context, const char *what, const char *sql,
			   int offset)
{
	context->what = what;
	context->sql = sql;
	context->offset = offset;
	context->callback.callback = fragment_error;
	context->callback.arg = context;
	context->callback.previous = error_context_stack;
	error_context_stack = &context->callback;
}

void
fragment_end(FragmentContext *context)
{
	error_context_stack = context->callback.previous;
}

/* Parses prefix, fragment and suffix; the result must be one statement. */
static Node *
parse(const char *prefix, const char *sql, const char *suffix,
	  const char *what)
{
	FragmentContext context;
	List	   *statements;
	Node	   *result = NULL;

	fragment_begin(&context, what, sql, strlen(prefix));
	statements = raw_parser(psprintf("%s%s%s", prefix, sql, suffix),
							RAW_PARSE_DEFAULT);
	fragment_end(&context);
	if (list_length(statements) == 1)
		result = linitial_node(RawStmt, statements)->stmt;
	return result;
}

static void
not_a(const char *what, const char *sql, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s is not %s", what, expected),
			 errdetail("It is \"%s\".", sql)));
}

/* ------------------------------------------------------------------------
 * the kinds of fragments
 * ------------------------------------------------------------------------
 */

TypeName *
fragment_type(const char *sql)
{
	FragmentContext context;
	List	   *result;

	fragment_begin(&context, "type", sql, 0);
	result = raw_parser(sql, RAW_PARSE_TYPE_NAME);
	fragment_end(&context);
	return linitial_node(TypeName, result);
}

static bool
is_plain_select(Node *node)
{
	SelectStmt *select = (SelectStmt *) node;

	return node != NULL && IsA(node, SelectStmt) &&
		select->op == SETOP_NONE && select->distinctClause == NIL &&
		select->intoClause == NULL && select->fromClause == NIL &&
		select->whereClause == NULL && select->groupClause == NIL &&
		select->havingClause == NULL && select->windowClause == NIL &&
		select->valuesLists == NIL && select->limitOffset == NULL &&
		select->limitCount == NULL && select->lockingClause == NIL &&
		select->withClause == NULL;
}

/*
 * A string constant without its quotes parses as a column's name or, with a
 * blank in it, as a column and an alias.
 */
static void
check_quotes(const char *sql, const char *what, ResTarget *target)
{
	if (target->name == NULL || !IsA(target->val, ColumnRef))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s is not an expression", what),
			 errdetail("It is \"%s\".", sql),
			 errhint("A string constant is written with quotes: %s.",
					 quote_literal_cstr(sql))));
}

Node *
fragment_expression(const char *sql, const char *what)
{
	SelectStmt *select = (SelectStmt *) parse("SELECT ", sql, "\n", what);
	ResTarget  *target;

	if (!is_plain_select((Node *) select) || select->sortClause != NIL ||
		list_length(select->targetList) != 1)
		not_a(what, sql, "one expression");
	target = linitial_node(ResTarget, select->targetList);
	check_quotes(sql, what, target);
	/* a star is expanded in a target list, and unknown elsewhere */
	if (target->name != NULL || target->indirection != NIL ||
		(IsA(target->val, ColumnRef) &&
		 IsA(llast(((ColumnRef *) target->val)->fields), A_Star)))
		not_a(what, sql, "one expression");
	return target->val;
}

void
fragment_sort_list(const char *sql)
{
	SelectStmt *select = (SelectStmt *) parse("SELECT ORDER BY ", sql, "\n",
											  "order_by");

	if (!is_plain_select((Node *) select) || select->targetList != NIL ||
		select->sortClause == NIL)
		not_a("order_by", sql, "a sort list");
}

Constraint *
fragment_constraint(const char *sql)
{
	CreateStmt *create = (CreateStmt *) parse("CREATE TABLE x (\n", sql,
											  "\n)", "constraint");

	if (create == NULL || !IsA(create, CreateStmt) ||
		list_length(create->tableElts) != 1 ||
		!IsA(linitial(create->tableElts), Constraint) ||
		create->inhRelations != NIL || create->partspec != NULL ||
		create->options != NIL || create->oncommit != ONCOMMIT_NOOP ||
		create->tablespacename != NULL || create->accessMethod != NULL)
		not_a("constraint", sql, "one table constraint");
	return linitial_node(Constraint, create->tableElts);
}

static int
keyword_token(const char *keyword)
{
	return ScanKeywordTokens[ScanKeywordLookup(keyword, &ScanKeywords)];
}

/*
 * Takes "[UNIQUE] [name] ON ..." apart: the table's name, which CREATE INDEX
 * wants after ON, is not written.  Returns false if it is something else.
 */
static bool
split_index(const char *sql, IndexFragment *fragment)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner = scanner_init(sql, &extra, &ScanKeywords,
										 ScanKeywordTokens);
	int			on = keyword_token("on");
	core_YYSTYPE value;
	YYLTYPE		location;
	int			token = core_yylex(&value, &location, scanner);

	fragment->unique = token == keyword_token("unique");
	if (fragment->unique)
		token = core_yylex(&value, &location, scanner);
	if (token != on && token != 0)
	{
		int			begin = location;

		token = core_yylex(&value, &location, scanner);
		fragment->name = pnstrdup(sql + begin, location - begin);
	}
	scanner_finish(scanner);
	if (token != on)
		return false;
	sql += location + strlen("on");
	fragment->rest = pstrdup(sql + strspn(sql, " \t\n\r\f"));
	return true;
}

IndexFragment *
fragment_index(const char *sql)
{
	const char *expected = "an index as it is written after CREATE INDEX";
	IndexFragment *result = palloc0(sizeof(IndexFragment));
	FragmentContext context;
	Node	   *node;
	bool		is_split;

	fragment_begin(&context, "index", sql, 0);
	is_split = split_index(sql, result);
	fragment_end(&context);
	if (!is_split)
		not_a("index", sql, expected);
	node = parse(psprintf("CREATE INDEX %s ON \"table\" ",
						  result->name ? result->name : ""),
				 result->rest, "\n", "index");
	if (node == NULL || !IsA(node, IndexStmt) ||
		((IndexStmt *) node)->relation->schemaname != NULL ||
		((IndexStmt *) node)->concurrent ||
		((IndexStmt *) node)->if_not_exists)
		not_a("index", sql, expected);
	result->statement = (IndexStmt *) node;
	return result;
}
