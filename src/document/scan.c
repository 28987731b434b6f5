/*-------------------------------------------------------------------------
 *
 * scan.c
 *	  The tokens of a selection's text.
 *
 * Names are as in GraphQL, letters beyond ASCII included; a name with other
 * characters stands in double quotes.  Strings have the escapes of JSON.
 * Commas and comments (# to the end of the line) count as blanks.
 *
 * Values are allocated in the current memory context.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "document/scan.h"
#include "document/selection.h"

static bool
is_name_start(char c)
{
	return isalpha((unsigned char) c) || c == '_' || IS_HIGHBIT_SET(c);
}

static bool
is_name_part(char c)
{
	return is_name_start(c) || isdigit((unsigned char) c) || c == '$';
}

static const char *
skip_blanks(const char *p)
{
	for (;;)
	{
		p += strspn(p, " \t\r\n\f\v,");
		if (*p != '#')
			return p;
		p += strcspn(p, "\r\n");
	}
}

/* An error at a place that is not yet a token. */
static void
scan_error(SelectionScanner *scanner, const char *at, const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s in selection", message),
			 selection_errposition(scanner->text, at - scanner->text)));
}

/* ------------------------------------------------------------------------
 * strings
 * ------------------------------------------------------------------------
 */

/* The four digits of an escape. */
static pg_wchar
scan_hex(SelectionScanner *scanner, const char *p)
{
	pg_wchar	code = 0;

	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];

		if (!isxdigit((unsigned char) c))
			scan_error(scanner, p, "invalid \\u escape");
		code = code * 16 + (isdigit((unsigned char) c) ? c - '0' :
							tolower((unsigned char) c) - 'a' + 10);
	}
	return code;
}

/* Appends what \uXXXX stands for; returns where it ends. */
static const char *
scan_unicode(SelectionScanner *scanner, StringInfo value, const char *p)
{
	pg_wchar	code = scan_hex(scanner, p);
	const char *begin = p;
	unsigned char buffer[MAX_UNICODE_EQUIVALENT_STRING + 1];

	p += 4;
	if (is_utf16_surrogate_first(code) && p[0] == '\\' && p[1] == 'u')
	{
		pg_wchar	second = scan_hex(scanner, p + 2);

		if (is_utf16_surrogate_second(second))
		{
			code = surrogate_pair_to_codepoint(code, second);
			p += 6;
		}
	}
	if (!is_valid_unicode_codepoint(code) || is_utf16_surrogate_first(code) ||
		is_utf16_surrogate_second(code))
		scan_error(scanner, begin, "invalid \\u escape");
	pg_unicode_to_server(code, buffer);
	appendStringInfoString(value, (char *) buffer);
	return p;
}

static const char *
scan_escape(SelectionScanner *scanner, StringInfo value, const char *p)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (*p == 'u')
		return scan_unicode(scanner, value, p + 1);
	found = *p == '\0' ? NULL : strchr(from, *p);
	if (found == NULL)
		scan_error(scanner, p, "invalid escape");
	appendStringInfoChar(value, to[found - from]);
	return p + 1;
}

static const char *
scan_string(SelectionScanner *scanner, const char *p)
{
	const char *begin = p++;
	StringInfoData value;

	initStringInfo(&value);
	while (*p != '"')
	{
		if (*p == '\0')
			scan_error(scanner, begin, "unterminated string");
		if (*p == '\\')
			p = scan_escape(scanner, &value, p + 1);
		else
			appendStringInfoChar(&value, *p++);
	}
	scanner->token.kind = TOKEN_STRING;
	scanner->token.value = value.data;
	return p + 1;
}

/* ------------------------------------------------------------------------
 * other tokens
 * ------------------------------------------------------------------------
 */
static const char *
scan_name(SelectionScanner *scanner, const char *p, SelectionTokenKind kind)
{
	const char *begin = p;

	while (is_name_part(*p))
		p++;
	scanner->token.kind = kind;
	scanner->token.value = pnstrdup(begin, p - begin);
	return p;
}

/* What numeric_in takes is decided by numeric_in. */
static const char *
scan_number(SelectionScanner *scanner, const char *p)
{
	const char *begin = p;

	if (*p == '-')
		p++;
	while (isdigit((unsigned char) *p) || *p == '.' || *p == 'e' || *p == 'E' ||
		   ((*p == '+' || *p == '-') && (p[-1] == 'e' || p[-1] == 'E')))
		p++;
	scanner->token.kind = TOKEN_NUMBER;
	scanner->token.value = pnstrdup(begin, p - begin);
	return p;
}

void
scanner_advance(SelectionScanner *scanner)
{
	const char *p = skip_blanks(scanner->next);

	scanner->token.location = p - scanner->text;
	scanner->token.value = NULL;
	scanner->token.symbol = '\0';
	if (*p == '\0')
		scanner->token.kind = TOKEN_END;
	else if (is_name_start(*p))
		p = scan_name(scanner, p, TOKEN_NAME);
	else if (*p == '"')
		p = scan_string(scanner, p);
	else if (*p == '@' && is_name_start(p[1]))
		p = scan_name(scanner, p + 1, TOKEN_ANNOTATION);
	else if (isdigit((unsigned char) *p) ||
			 (*p == '-' && isdigit((unsigned char) p[1])))
		p = scan_number(scanner, p);
	else if (strchr("{}()[]:*", *p) != NULL)
	{
		scanner->token.kind = TOKEN_SYMBOL;
		scanner->token.symbol = *p++;
	}
	else
		scan_error(scanner, p,
				   psprintf("unexpected character \"%.*s\"", pg_mblen(p), p));
	scanner->token.length = p - (scanner->text + scanner->token.location);
	scanner->next = p;
}

void
scanner_start(SelectionScanner *scanner, const char *text)
{
	scanner->text = text;
	scanner->next = text;
	scanner_advance(scanner);
}

void
scanner_error(SelectionScanner *scanner, const char *expected)
{
	SelectionToken *token = &scanner->token;

	if (token->kind == TOKEN_END)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("selection ends where %s was expected", expected),
				 selection_errposition(scanner->text, token->location)));
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("\"%.*s\" in selection where %s was expected",
					token->length, scanner->text + token->location, expected),
			 selection_errposition(scanner->text, token->location)));
}

int
selection_errposition(const char *text, int location)
{
	internalerrquery(text);
	return internalerrposition(pg_mbstrlen_with_len(text, location) + 1);
}
