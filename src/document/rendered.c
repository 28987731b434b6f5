/*-------------------------------------------------------------------------
 *
 * rendered.c
 *	  Documents that were rendered here, as jsonb.
 *
 * jsonb_in takes each token of a text through several functions and copies of
 * it, since it can rely on nothing.  A text without a backslash has nothing
 * in it that is not meant literally, so that strings are taken as they stand
 * there; what else is met, values of json columns included, is told by its
 * first character.  Whatever is not as expected is left to jsonb_in.
 *
 * The result is in the current memory context, which is given some more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "compat.h"
#include "document/render.h"

/* Integers of so many digits certainly fit an int64. */
#define INTEGER_DIGITS 18

/* Where we are in the text, which ends with a zero byte. */
typedef struct RenderedScan
{
	char	   *at;
	char	   *end;
	JsonbParseState *state;
	JsonbValue *result;			/* of what was pushed last */
} RenderedScan;

static bool scan_value(RenderedScan *scan, JsonbIteratorToken token);

/* The next character that is no blank: json columns may have some. */
static char
scan_next(RenderedScan *scan)
{
	while (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' ||
		   *scan->at == '\r')
		scan->at++;
	return *scan->at;
}

static bool
scan_take(RenderedScan *scan, char wanted)
{
	if (scan_next(scan) != wanted)
		return false;
	scan->at++;
	return true;
}

static void
scan_push(RenderedScan *scan, JsonbIteratorToken token, JsonbValue *value)
{
	scan->result = pushJsonbValue(&scan->state, token, value);
}

static bool
scan_string(RenderedScan *scan, JsonbIteratorToken token)
{
	JsonbValue	value = {.type = jbvString};
	char	   *end;

	if (!scan_take(scan, '"'))
		return false;
	end = memchr(scan->at, '"', scan->end - scan->at);
	if (end == NULL)
		return false;
	value.val.string.val = scan->at;
	value.val.string.len = end - scan->at;
	scan->at = end + 1;
	scan_push(scan, token, &value);
	return true;
}

static bool
scan_literal(RenderedScan *scan, JsonbIteratorToken token,
			 const char *literal, JsonbValue value)
{
	int			length = strlen(literal);

	if (strncmp(scan->at, literal, length) != 0)
		return false;
	scan->at += length;
	scan_push(scan, token, &value);
	return true;
}

/* The number of an integer's digits, or 0 if it is another number. */
static int
scan_integer(const char *at, int length, int64 *integer)
{
	int			digits = 0;
	bool		negative = *at == '-';

	*integer = 0;
	for (int i = negative; i < length; i++, digits++)
	{
		if (at[i] < '0' || at[i] > '9' || digits == INTEGER_DIGITS)
			return 0;
		*integer = *integer * 10 + (at[i] - '0');
	}
	if (negative)
		*integer = -*integer;
	return digits;
}

static bool
scan_number(RenderedScan *scan, JsonbIteratorToken token)
{
	int			length = strspn(scan->at, "-+.0123456789eE");
	JsonbValue	value = {.type = jbvNumeric};
	int64		integer;

	if (length == 0)
		return false;
	if (scan_integer(scan->at, length, &integer) > 0)
		value.val.numeric = int64_to_numeric(integer);
	else
		value.val.numeric =
			DatumGetNumeric(DirectFunctionCall3(numeric_in,
												CStringGetDatum(pnstrdup(scan->at,
																		 length)),
												ObjectIdGetDatum(InvalidOid),
												Int32GetDatum(-1)));
	scan->at += length;
	scan_push(scan, token, &value);
	return true;
}

static bool
scan_array(RenderedScan *scan)
{
	scan_push(scan, WJB_BEGIN_ARRAY, NULL);
	if (scan_next(scan) != ']')
	{
		do
		{
			if (!scan_value(scan, WJB_ELEM))
				return false;
		} while (scan_take(scan, ','));
	}
	if (!scan_take(scan, ']'))
		return false;
	scan_push(scan, WJB_END_ARRAY, NULL);
	return true;
}

static bool
scan_object(RenderedScan *scan)
{
	scan_push(scan, WJB_BEGIN_OBJECT, NULL);
	if (scan_next(scan) != '}')
	{
		do
		{
			if (!scan_string(scan, WJB_KEY) || !scan_take(scan, ':') ||
				!scan_value(scan, WJB_VALUE))
				return false;
		} while (scan_take(scan, ','));
	}
	if (!scan_take(scan, '}'))
		return false;
	scan_push(scan, WJB_END_OBJECT, NULL);
	return true;
}

static bool
scan_value(RenderedScan *scan, JsonbIteratorToken token)
{
	check_stack_depth();
	switch (scan_next(scan))
	{
		case '{':
			scan->at++;
			return scan_object(scan);
		case '[':
			scan->at++;
			return scan_array(scan);
		case '"':
			return scan_string(scan, token);
		case 't':
			return scan_literal(scan, token, "true",
								(JsonbValue) {.type = jbvBool,
								.val.boolean = true});
		case 'f':
			return scan_literal(scan, token, "false",
								(JsonbValue) {.type = jbvBool});
		case 'n':
			return scan_literal(scan, token, "null",
								(JsonbValue) {.type = jbvNull});
		default:
			return scan_number(scan, token);
	}
}

Datum
rendered_to_jsonb(char *json, int length)
{
	RenderedScan scan = {.at = json,.end = json + length};

	Assert(json[length] == '\0');
	if ((*json == '{' || *json == '[') &&
		memchr(json, '\\', length) == NULL && scan_value(&scan, WJB_DONE) &&
		scan.at == scan.end)
		return JsonbPGetDatum(JsonbValueToJsonb(scan.result));
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}
