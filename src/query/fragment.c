/*-------------------------------------------------------------------------
 *
 * fragment.c
 *	  SQL fragments: filter, order_by and set.
 *
 * A fragment is spliced into a statement, so it has to be by itself just what
 * it is said to be: one expression, one sort list, one SET list.  PostgreSQL's
 * own parser says whether it is; what passes cannot close a bracket, add a
 * clause, or end the statement.  (A trailing comment is harmless since a
 * newline is put behind each fragment.)  Names are resolved later, in the
 * whole statement and with the caller's search_path.
 *
 * Everything is allocated in the current memory context.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/keywords.h"
#include "mb/pg_wchar.h"
#include "parser/parser.h"
#include "parser/scanner.h"
#include "parser/scansup.h"

#include "compat.h"
#include "query/internal.h"

typedef struct FragmentError
{
	Composition *composition;
	Fragment   *fragment;
	int			prefix;			/* characters before the fragment's own */
} FragmentError;

/* The state of the search for parameters in a fragment. */
typedef struct ParamScan
{
	Composition *composition;
	Fragment   *fragment;
	List	  **names;
	StringInfoData brackets;	/* the open ones; A for those of ARRAY[...] */
	int			previous;		/* where the token before begins, or -1 */
} ParamScan;

const char *
fragment_name(FragmentKind kind)
{
	switch (kind)
	{
		case FRAGMENT_FILTER:
			return "filter";
		case FRAGMENT_ORDER_BY:
			return "order_by";
		case FRAGMENT_SET:
			return "set";
	}
	return NULL;				/* keep compiler quiet */
}

void
fragment_report_position(const Fragment *fragment, int position)
{
	errposition(0);
	internalerrposition(position);
	internalerrquery(fragment->text);
}

static void
fragment_error_callback(void *arg)
{
	FragmentError *error = arg;
	int			position = geterrposition();

	if (position > error->prefix)
		fragment_report_position(error->fragment, position - error->prefix);
	errcontext("%s of %s", fragment_name(error->fragment->kind),
			   error->composition->call);
}

/* ------------------------------------------------------------------------
 * parameters by name
 * ------------------------------------------------------------------------
 */
static bool
is_name_start(char c)
{
	return isalpha((unsigned char) c) || c == '_' || IS_HIGHBIT_SET(c);
}

static int
name_length(const char *text)
{
	int			length = 0;

	while (is_name_start(text[length]) || isdigit((unsigned char) text[length]) ||
		   text[length] == '$')
		length++;
	return length;
}

/*
 * Can the token that begins there be the last one of an expression?  It is
 * asked only for what stands before a colon in the brackets of a subscript.
 */
static bool
ends_expression(const char *token)
{
	char	   *word;
	int			keyword;

	if (isdigit((unsigned char) *token) || strchr(")]'\"", *token) != NULL)
		return true;
	if (*token == '$' || *token == '.')
		return isdigit((unsigned char) token[1]);
	if (*token == ':')
		return is_name_start(token[1]);	/* a parameter by name */
	if (!is_name_start(*token))
		return false;

	word = pnstrdup(token, name_length(token));
	keyword = ScanKeywordLookup(word, &ScanKeywords);
	return keyword < 0 ||
		ScanKeywordCategories[keyword] == UNRESERVED_KEYWORD ||
		pg_strcasecmp(word, "end") == 0;
}

static bool
is_word(const char *text, int location, const char *word)
{
	int			length = location < 0 ? 0 : name_length(text + location);

	return length == strlen(word) &&
		pg_strncasecmp(text + location, word, length) == 0;
}

static char
innermost_bracket(ParamScan *scan)
{
	return scan->brackets.len == 0 ? '\0'
		: scan->brackets.data[scan->brackets.len - 1];
}

static void
note_bracket(ParamScan *scan, int token)
{
	const char *text = scan->fragment->text;

	if (token == '(')
		appendStringInfoChar(&scan->brackets, '(');
	else if (token == '[')
	{
		bool		nested = innermost_bracket(scan) == 'A' &&
			strchr("[,", text[scan->previous]) != NULL;

		appendStringInfoChar(&scan->brackets,
							 nested || is_word(text, scan->previous, "array")
							 ? 'A' : '[');
	}
	else if ((token == ')' || token == ']') && scan->brackets.len > 0)
		scan->brackets.data[--scan->brackets.len] = '\0';
}

static bool
params_have(Composition *composition, const char *name)
{
	JsonbValue	value;

	return composition->params != NULL &&
		JsonContainerIsObject(composition->params) &&
		json_get(composition->params, name, &value);
}

/* Is the colon at location the one of an array slice, a[1:n]? */
static bool
is_slice(ParamScan *scan, int location)
{
	const char *text = scan->fragment->text;
	const char *after = text + location + 1;

	if (innermost_bracket(scan) != '[')
		return false;
	if (text[scan->previous] == '[')
		return !params_have(scan->composition,
							pnstrdup(after, name_length(after)));
	return ends_expression(text + scan->previous);
}

static int
number_of_name(ParamScan *scan, const char *name, int location)
{
	int			number = 0;
	ListCell   *cell;

	foreach(cell, *scan->names)
	{
		number++;
		if (strcmp(lfirst(cell), name) == 0)
			return number;
	}
	if (!params_have(scan->composition, name))
		params_raise_missing(scan->composition, name,
							 pg_mbstrlen_with_len(scan->fragment->text,
												  location) + 1);
	*scan->names = lappend(*scan->names, pstrdup(name));
	return list_length(*scan->names);
}

static void
check_numbered(ParamScan *scan, int number, int location)
{
	Composition *composition = scan->composition;
	bool		named = composition->params != NULL &&
		JsonContainerIsObject(composition->params);

	if (!named && number >= 1 && number <= composition->nparams)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_PARAMETER),
			 errmsg("there is no parameter $%d", number),
			 named
			 ? errhint("params is a JSON object here: write :name for the value under \"name\".")
			 : errhint("params is a JSON array with the values of $1, $2, ...; it has %d.",
					   composition->nparams),
			 errposition(pg_mbstrlen_with_len(scan->fragment->text, location) + 1)));
}

/*
 * Writes the text from *copied up to the colon at location, and the number of
 * the parameter filled up with blanks to the length of its name.
 */
static void
replace_name(ParamScan *scan, StringInfo result, int location, int *copied)
{
	const char *text = scan->fragment->text;
	int			length = name_length(text + location + 1);
	char	   *name = pnstrdup(text + location + 1, length);
	int			begin;

	appendBinaryStringInfo(result, text + *copied, location - *copied);
	begin = result->len;
	appendStringInfo(result, "$%d", number_of_name(scan, name, location));
	while (result->len - begin < length + 1)
		appendStringInfoChar(result, ' ');
	*copied = location + 1 + length;
}

char *
fragment_number_params(Composition *composition, Fragment *fragment,
					   List **names)
{
	ParamScan	scan = {composition, fragment, names};
	FragmentError error = {composition, fragment, 0};
	ErrorContextCallback callback = {error_context_stack,
		fragment_error_callback, &error};
	const char *text = fragment->text;
	StringInfoData result;
	core_yyscan_t scanner;
	core_yy_extra_type extra;
	core_YYSTYPE token_value;
	YYLTYPE		location;
	int			token;
	int			copied = 0;

	initStringInfo(&result);
	initStringInfo(&scan.brackets);
	scan.previous = -1;

	error_context_stack = &callback;
	scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	while ((token = core_yylex(&token_value, &location, scanner)) != 0)
	{
		if (location < copied)
			continue;			/* the name behind a colon */
		if (token == ':' && is_name_start(text[location + 1]) &&
			!is_slice(&scan, location))
			replace_name(&scan, &result, location, &copied);
		else if (text[location] == '$' &&
				 isdigit((unsigned char) text[location + 1]))
			check_numbered(&scan, token_value.ival, location);
		note_bracket(&scan, token);
		scan.previous = location;
	}
	scanner_finish(scanner);
	error_context_stack = callback.previous;

	appendStringInfoString(&result, text + copied);
	return result.data;
}

/* ------------------------------------------------------------------------
 * what a fragment is
 * ------------------------------------------------------------------------
 */
static bool
has_only_targets_and_sort(SelectStmt *select)
{
	return select->op == SETOP_NONE && select->distinctClause == NIL &&
		select->intoClause == NULL && select->fromClause == NIL &&
		select->whereClause == NULL && select->groupClause == NIL &&
		select->havingClause == NULL && select->windowClause == NIL &&
		select->valuesLists == NIL && select->limitOffset == NULL &&
		select->limitCount == NULL && select->lockingClause == NIL &&
		select->withClause == NULL;
}

bool
fragment_is_expression(Node *stmt)
{
	SelectStmt *select = (SelectStmt *) stmt;
	ResTarget  *target;

	if (!IsA(stmt, SelectStmt) || !has_only_targets_and_sort(select) ||
		select->sortClause != NIL || list_length(select->targetList) != 1)
		return false;
	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL || target->indirection != NIL)
		return false;
	return !(IsA(target->val, ColumnRef) &&
			 IsA(llast(((ColumnRef *) target->val)->fields), A_Star));
}

static bool
is_sort_list(Node *stmt)
{
	SelectStmt *select = (SelectStmt *) stmt;

	return IsA(stmt, SelectStmt) && has_only_targets_and_sort(select) &&
		select->sortClause != NIL && select->targetList == NIL;
}

static bool
is_set_list(Node *stmt)
{
	UpdateStmt *update = (UpdateStmt *) stmt;

	return IsA(stmt, UpdateStmt) && update->targetList != NIL &&
		update->whereClause == NULL && update->fromClause == NIL &&
		!compat_has_returning(update) && update->withClause == NULL;
}

/* PostgreSQL would say so too, but without the nearest name. */
static void
check_set_columns(Model *model, Node *stmt)
{
	ListCell   *cell;

	foreach(cell, ((UpdateStmt *) stmt)->targetList)
		(void) model_attnum(model, lfirst_node(ResTarget, cell)->name, false);
}

/* Is text, put behind what makes it a statement, what its kind says? */
static bool
is_what_it_says(Model *model, FragmentKind kind, const char *text)
{
	const char *statement = text;
	RawParseMode mode = RAW_PARSE_PLPGSQL_EXPR;
	List	   *parsed;
	RawStmt    *raw;

	if (kind == FRAGMENT_ORDER_BY)
		statement = psprintf("ORDER BY %s", text);
	else if (kind == FRAGMENT_SET)
	{
		statement = psprintf("UPDATE t SET %s", text);
		mode = RAW_PARSE_DEFAULT;
	}

	parsed = raw_parser(statement, mode);
	if (list_length(parsed) != 1)
		return false;
	raw = linitial_node(RawStmt, parsed);
	switch (kind)
	{
		case FRAGMENT_FILTER:
			return fragment_is_expression(raw->stmt);
		case FRAGMENT_ORDER_BY:
			return is_sort_list(raw->stmt);
		case FRAGMENT_SET:
			/* a length is set when a semicolon follows */
			if (raw->stmt_len != 0 || !is_set_list(raw->stmt))
				return false;
			check_set_columns(model, raw->stmt);
			return true;
	}
	return false;
}

/* JSON in the wrong place: say so instead of "syntax error at {". */
static void
check_not_json(Fragment *fragment)
{
	const char *text = fragment->text + strspn(fragment->text, " \t\r\n");

	if (*text != '{' && *text != '[')
		return;
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s is SQL, but this begins like JSON",
					fragment_name(fragment->kind)),
			 errposition(text - fragment->text + 1),
			 fragment->kind == FRAGMENT_FILTER
			 ? errhint("Values by column are passed as filter_by => '{...}'.")
			 : fragment->kind == FRAGMENT_SET
			 ? errhint("Values by column are passed as changes => '{...}'.")
			 : errhint("A sort list looks like order_by => 'name DESC, age'.")));
}

void
fragment_check(Composition *composition, Fragment *fragment, const char *text)
{
	static const int prefix[] = {
		[FRAGMENT_FILTER] = 0,
		[FRAGMENT_ORDER_BY] = sizeof("ORDER BY ") - 1,
		[FRAGMENT_SET] = sizeof("UPDATE t SET ") - 1
	};
	static const char *const what[] = {
		[FRAGMENT_FILTER] = "one SQL expression",
		[FRAGMENT_ORDER_BY] = "one SQL sort list",
		[FRAGMENT_SET] = "one SQL SET list"
	};
	FragmentError error = {composition, fragment, 0};
	ErrorContextCallback callback = {error_context_stack,
		fragment_error_callback, &error};

	error_context_stack = &callback;
	check_not_json(fragment);
	error.prefix = prefix[fragment->kind];
	if (fragment->text[strspn(fragment->text, " \t\r\n")] == '\0' ||
		!is_what_it_says(composition->model, fragment->kind, text))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("%s must be %s and nothing else",
						fragment_name(fragment->kind), what[fragment->kind]),
				 errdetail("It is \"%s\".", fragment->text)));
	error_context_stack = callback.previous;
}
