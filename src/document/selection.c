/*-------------------------------------------------------------------------
 *
 * selection.c
 *	  The notation of selections: a recursive-descent parser.
 *
 *	selection	:= annotation* '{' field+ '}'
 *	field		:= '*' annotation*
 *				 | [key ':'] name [ '(' argument* ')' ] annotation* [ selection ]
 *	argument	:= name ':' value
 *	annotation	:= '@' name
 *
 * Values are those of JSON, with keys of objects quoted or not.  Commas are
 * blanks.  What the names mean is looked up afterwards, by resolve.c.
 *
 * Everything is allocated in the current memory context.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "document/scan.h"
#include "document/selection.h"

static Selection *parse_braces(SelectionScanner *scanner);
static JsonbValue *parse_json(SelectionScanner *scanner,
							  JsonbParseState **state,
							  JsonbIteratorToken role);

/* ------------------------------------------------------------------------
 * tokens
 * ------------------------------------------------------------------------
 */
static bool
at_symbol(SelectionScanner *scanner, char symbol)
{
	return scanner->token.kind == TOKEN_SYMBOL &&
		scanner->token.symbol == symbol;
}

static bool
accept_symbol(SelectionScanner *scanner, char symbol)
{
	if (!at_symbol(scanner, symbol))
		return false;
	scanner_advance(scanner);
	return true;
}

static void
expect_symbol(SelectionScanner *scanner, char symbol, const char *expected)
{
	if (!accept_symbol(scanner, symbol))
		scanner_error(scanner, expected);
}

static bool
at_name(SelectionScanner *scanner)
{
	return scanner->token.kind == TOKEN_NAME ||
		scanner->token.kind == TOKEN_STRING;
}

static char *
expect_name(SelectionScanner *scanner, const char *expected)
{
	char	   *name = scanner->token.value;

	if (!at_name(scanner))
		scanner_error(scanner, expected);
	scanner_advance(scanner);
	return name;
}

/* ------------------------------------------------------------------------
 * JSON values
 * ------------------------------------------------------------------------
 */
static JsonbValue *
push_scalar(JsonbParseState **state, JsonbIteratorToken role,
			JsonbValue *value)
{
	JsonbValue *array;

	if (*state != NULL)
		return pushJsonbValue(state, role, value);
	/* a scalar at the root is kept as it is */
	array = palloc(sizeof(JsonbValue));
	*array = *value;
	return array;
}

static void
string_value(JsonbValue *value, char *string)
{
	value->type = jbvString;
	value->val.string.val = string;
	value->val.string.len = strlen(string);
}

static void
number_value(SelectionScanner *scanner, JsonbValue *value)
{
	char	   *text = scanner->token.value;

	if (strspn(text, "+-.0123456789eE") != strlen(text) ||
		text[strlen(text) - 1] == '.')
		scanner_error(scanner, "a number");
	value->type = jbvNumeric;
	value->val.numeric =
		DatumGetNumeric(DirectFunctionCall3(numeric_in,
											CStringGetDatum(text),
											ObjectIdGetDatum(InvalidOid),
											Int32GetDatum(-1)));
}

static void
scalar_value(SelectionScanner *scanner, JsonbValue *value)
{
	SelectionToken *token = &scanner->token;

	if (token->kind == TOKEN_STRING)
		string_value(value, token->value);
	else if (token->kind == TOKEN_NUMBER)
		number_value(scanner, value);
	else if (token->kind == TOKEN_NAME && strcmp(token->value, "null") == 0)
		value->type = jbvNull;
	else if (token->kind == TOKEN_NAME &&
			 (strcmp(token->value, "true") == 0 ||
			  strcmp(token->value, "false") == 0))
	{
		value->type = jbvBool;
		value->val.boolean = token->value[0] == 't';
	}
	else
		scanner_error(scanner, "a value");
	scanner_advance(scanner);
}

static JsonbValue *
parse_json_object(SelectionScanner *scanner, JsonbParseState **state)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	while (!accept_symbol(scanner, '}'))
	{
		JsonbValue	key;

		string_value(&key, expect_name(scanner, "a key or \"}\""));
		expect_symbol(scanner, ':', "\":\"");
		pushJsonbValue(state, WJB_KEY, &key);
		(void) parse_json(scanner, state, WJB_VALUE);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static JsonbValue *
parse_json(SelectionScanner *scanner, JsonbParseState **state,
		   JsonbIteratorToken role)
{
	JsonbValue	value;

	check_stack_depth();
	if (accept_symbol(scanner, '{'))
		return parse_json_object(scanner, state);
	if (accept_symbol(scanner, '['))
	{
		pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		while (!accept_symbol(scanner, ']'))
			(void) parse_json(scanner, state, WJB_ELEM);
		return pushJsonbValue(state, WJB_END_ARRAY, NULL);
	}
	scalar_value(scanner, &value);
	return push_scalar(state, role, &value);
}

/* ------------------------------------------------------------------------
 * arguments
 * ------------------------------------------------------------------------
 */
static void
argument_error(SelectionScanner *scanner, int location, const char *name,
			   const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("argument \"%s\" must be %s", name, wanted),
			 selection_errposition(scanner->text, location)));
}

static char *
argument_string(SelectionScanner *scanner, const char *name)
{
	char	   *value = scanner->token.value;

	if (scanner->token.kind != TOKEN_STRING)
		argument_error(scanner, scanner->token.location, name,
					   "SQL in a string");
	scanner_advance(scanner);
	return value;
}

static int64
argument_count(SelectionScanner *scanner, const char *name)
{
	const char *text = scanner->token.value;
	int64		count;

	if (scanner->token.kind != TOKEN_NUMBER ||
		strspn(text, "0123456789") != strlen(text) || strlen(text) > 18)
		argument_error(scanner, scanner->token.location, name,
					   "a number of rows");
	count = strtoi64(text, NULL, 10);
	scanner_advance(scanner);
	return count;
}

static Jsonb *
argument_object(SelectionScanner *scanner, const char *name)
{
	JsonbParseState *state = NULL;

	if (!at_symbol(scanner, '{'))
		argument_error(scanner, scanner->token.location, name, "an object");
	return JsonbValueToJsonb(parse_json(scanner, &state, WJB_VALUE));
}

static void
unknown_argument(SelectionScanner *scanner, int location, const char *name)
{
	const char *nearest = nearest_name(name,
									   list_make5("filter", "filter_by",
												  "order_by", "limit",
												  "offset"));

	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("unknown argument \"%s\" in selection", name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("The arguments are filter, filter_by, order_by, limit and offset."),
			 selection_errposition(scanner->text, location)));
}

static void
parse_argument(SelectionScanner *scanner, SelectionField *field,
			   List **given)
{
	int			location = scanner->token.location;
	char	   *name = expect_name(scanner, "an argument or \")\"");
	ListCell   *cell;

	foreach(cell, *given)
	{
		if (strcmp(lfirst(cell), name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_SYNTAX_ERROR),
					 errmsg("argument \"%s\" is given twice", name),
					 selection_errposition(scanner->text, location)));
	}
	*given = lappend(*given, name);
	expect_symbol(scanner, ':', "\":\"");
	if (strcmp(name, "filter") == 0)
		field->filter = argument_string(scanner, name);
	else if (strcmp(name, "order_by") == 0)
		field->order_by = argument_string(scanner, name);
	else if (strcmp(name, "filter_by") == 0)
		field->filter_by = argument_object(scanner, name);
	else if (strcmp(name, "limit") == 0)
		field->limit = argument_count(scanner, name);
	else if (strcmp(name, "offset") == 0)
		field->offset = argument_count(scanner, name);
	else
		unknown_argument(scanner, location, name);
}

/* ------------------------------------------------------------------------
 * annotations
 * ------------------------------------------------------------------------
 */
typedef struct Annotations
{
	int			allowed;
	bool		nocheck;
	bool		hidden;
	bool		unnest;
	int			location;		/* of the first */
	int			permission_location;	/* of the first of allowed */
	int			shape_location; /* of @hidden or @unnest */
} Annotations;

static void
unknown_annotation(SelectionScanner *scanner)
{
	List	   *known = list_make5("insert", "update", "delete", "nocheck",
								   "unnest");
	const char *name = scanner->token.value;
	const char *nearest = nearest_name(name, lappend(known, "hidden"));

	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("unknown annotation \"@%s\" in selection", name),
			 nearest ? errhint("Perhaps you meant \"@%s\".", nearest) :
			 errhint("The annotations are @insert, @update, @delete, @nocheck, @unnest and @hidden."),
			 selection_errposition(scanner->text, scanner->token.location)));
}

static void
parse_annotation(SelectionScanner *scanner, Annotations *annotations)
{
	const char *name = scanner->token.value;
	int			location = scanner->token.location;
	int			permission = 0;

	if (annotations->location < 0)
		annotations->location = location;
	if (strcmp(name, "insert") == 0)
		permission = ALLOW_INSERT;
	else if (strcmp(name, "update") == 0)
		permission = ALLOW_UPDATE;
	else if (strcmp(name, "delete") == 0)
		permission = ALLOW_DELETE;
	else if (strcmp(name, "nocheck") == 0)
		annotations->nocheck = true;
	else if (strcmp(name, "hidden") == 0)
		annotations->hidden = true;
	else if (strcmp(name, "unnest") == 0)
		annotations->unnest = true;
	else
		unknown_annotation(scanner);

	annotations->allowed |= permission;
	if (permission != 0 && annotations->permission_location < 0)
		annotations->permission_location = location;
	if ((annotations->hidden || annotations->unnest) &&
		annotations->shape_location < 0)
		annotations->shape_location = location;
	scanner_advance(scanner);
}

static Annotations
parse_annotations(SelectionScanner *scanner)
{
	Annotations annotations = {
		.location = -1,
		.permission_location = -1,
		.shape_location = -1
	};

	while (scanner->token.kind == TOKEN_ANNOTATION)
		parse_annotation(scanner, &annotations);
	return annotations;
}

static void
misplaced_annotation(SelectionScanner *scanner, int location,
					 const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s", message),
			 selection_errposition(scanner->text, location)));
}

/* ------------------------------------------------------------------------
 * fields
 * ------------------------------------------------------------------------
 */
static SelectionField *
field_create(SelectionFieldKind kind, int location)
{
	SelectionField *field = palloc0(sizeof(SelectionField));

	field->kind = kind;
	field->location = location;
	field->limit = -1;
	return field;
}

/* Arguments, annotations and braces of a field. */
static void
parse_field_rest(SelectionScanner *scanner, SelectionField *field)
{
	Annotations annotations;
	int			arguments = scanner->token.location;
	List	   *given = NIL;

	if (accept_symbol(scanner, '('))
	{
		while (!accept_symbol(scanner, ')'))
			parse_argument(scanner, field, &given);
	}
	annotations = parse_annotations(scanner);
	field->nocheck = annotations.nocheck;
	field->hidden = annotations.hidden;
	field->unnest = annotations.unnest;
	if (at_symbol(scanner, '{'))
	{
		field->child = parse_braces(scanner);
		field->child->allowed = annotations.allowed;
		return;
	}
	if (given != NIL)
		misplaced_annotation(scanner, arguments,
							 "only a relationship, with its fields in braces, has arguments");
	if (annotations.unnest)
		misplaced_annotation(scanner, annotations.shape_location,
							 "@unnest belongs to a relationship with its fields in braces");
	if (annotations.allowed != 0)
		misplaced_annotation(scanner, annotations.permission_location,
							 "@insert, @update and @delete belong to what has fields in braces");
}

static SelectionField *
parse_field(SelectionScanner *scanner, const char *expected)
{
	SelectionField *field;
	int			location = scanner->token.location;

	if (accept_symbol(scanner, '*'))
	{
		field = field_create(FIELD_STAR, location);
		field->name = field->key = "*";
		parse_field_rest(scanner, field);
		if (field->child != NULL)
			misplaced_annotation(scanner, location,
								 "\"*\" stands for columns, which have no fields");
		return field;
	}
	field = field_create(FIELD_COLUMN, location);
	field->key = field->name = expect_name(scanner, expected);
	if (accept_symbol(scanner, ':'))
	{
		field->location = scanner->token.location;
		field->name = expect_name(scanner, "the name of a field");
	}
	parse_field_rest(scanner, field);
	return field;
}

static Selection *
parse_braces(SelectionScanner *scanner)
{
	Selection  *selection = palloc0(sizeof(Selection));

	check_stack_depth();
	selection->text = scanner->text;
	expect_symbol(scanner, '{', "\"{\"");
	selection->fields = list_make1(parse_field(scanner, "a field"));
	while (!accept_symbol(scanner, '}'))
		selection->fields = lappend(selection->fields,
									parse_field(scanner, "a field or \"}\""));
	return selection;
}

Selection *
selection_parse(const char *text)
{
	SelectionScanner scanner;
	Annotations annotations;
	Selection  *selection;

	if (strchr("{@#", text[strspn(text, " \t\r\n\f\v,")]) == NULL ||
		text[strspn(text, " \t\r\n\f\v,")] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a selection stands in braces, but this is \"%s\"",
						text),
				 errhint("Write it as in '{ id name }'. Criteria are passed as filter => '...' or filter_by => '{...}'.")));
	scanner_start(&scanner, text);
	annotations = parse_annotations(&scanner);
	if (annotations.shape_location >= 0)
		misplaced_annotation(&scanner, annotations.shape_location,
							 "@hidden and @unnest belong to a field");
	selection = parse_braces(&scanner);
	selection->allowed = annotations.allowed;
	selection->nocheck = annotations.nocheck;
	if (scanner.token.kind != TOKEN_END)
		scanner_error(&scanner, "the end");
	return selection;
}

/* ------------------------------------------------------------------------
 * the whole
 * ------------------------------------------------------------------------
 */
Selection *
selection_create(Model *model, const char *text)
{
	Selection  *selection = selection_parse(pstrdup(text));

	selection_resolve(selection, model);
	return selection;
}

bool
selection_has_permissions(Selection *selection)
{
	ListCell   *cell;

	if (selection->allowed != 0)
		return true;
	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->child != NULL && selection_has_permissions(field->child))
			return true;
	}
	return false;
}

SelectionField *
selection_field(Selection *selection, const char *key)
{
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (!field->unnest && strcmp(field->key, key) == 0)
			return field;
	}
	return NULL;
}

List *
selection_keys(Selection *selection)
{
	List	   *keys = NIL;
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->unnest)
			keys = list_concat(keys, selection_keys(field->child));
		else
			keys = lappend(keys, field->key);
	}
	return keys;
}
