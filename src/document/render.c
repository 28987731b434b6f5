/*-------------------------------------------------------------------------
 *
 * render.c
 *	  Values as JSON, exactly as to_json has them, and for etags.
 *
 * The kinds are those that to_json tells apart.  Integers and text, which
 * most columns are, are written without a call of their output functions.
 *
 * For an etag a value is its text under fixed settings of date style, time
 * zone and the like, so that clients with different settings agree.
 *
 * What is palloc'd on the way is in the current memory context, which the
 * caller resets from row to row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "document/render.h"

/* ------------------------------------------------------------------------
 * kinds
 * ------------------------------------------------------------------------
 */

/* A type of somebody's own that has a cast to json uses it. */
static bool
find_cast(Renderer *renderer, MemoryContext context)
{
	Oid			function;

	if (renderer->typid < FirstNormalObjectId ||
		find_coercion_pathway(JSONOID, renderer->typid, COERCION_EXPLICIT,
							  &function) != COERCION_PATH_FUNC)
		return false;
	fmgr_info_cxt(function, &renderer->cast, context);
	return true;
}

static RenderKind
kind_of_other(Renderer *renderer, MemoryContext context)
{
	Oid			typid = renderer->typid;

	if (OidIsValid(get_element_type(typid)) || typid == ANYARRAYOID ||
		typid == RECORDARRAYOID)
		return RENDER_ARRAY;
	if (type_is_rowtype(typid))
		return RENDER_ROW;
	if (find_cast(renderer, context))
		return RENDER_CAST;
	return RENDER_STRING;
}

static RenderKind
kind_of_type(Renderer *renderer, MemoryContext context)
{
	switch (renderer->typid)
	{
		case BOOLOID:
			return RENDER_BOOL;
		case INT2OID:
			return RENDER_INT2;
		case INT4OID:
			return RENDER_INT4;
		case INT8OID:
			return RENDER_INT8;
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return RENDER_NUMBER;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return RENDER_TEXT;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return RENDER_DATETIME;
		case JSONOID:
		case JSONBOID:
			return RENDER_JSON;
		default:
			return kind_of_other(renderer, context);
	}
}

static bool
output_is_stable(Oid typid)
{
	switch (typid)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case CHAROID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
		case INETOID:
		case CIDROID:
		case BITOID:
		case VARBITOID:
			return true;
		default:
			return get_typtype(typid) == TYPTYPE_ENUM;
	}
}

void
renderer_init(Renderer *renderer, Oid typid, MemoryContext context)
{
	Oid			function;
	bool		is_varlena;

	renderer->typid = getBaseType(typid);
	renderer->kind = kind_of_type(renderer, context);
	renderer->stable_output = output_is_stable(renderer->typid);
	getTypeOutputInfo(renderer->typid, &function, &is_varlena);
	fmgr_info_cxt(function, &renderer->output, context);
}

/* ------------------------------------------------------------------------
 * strings
 * ------------------------------------------------------------------------
 */

/* Bytes that a byte of text takes at most, and bytes taken at a time. */
#define ESCAPE_MAX 6
#define STRING_SLICE 1024

/* Has any of the eight bytes to be escaped? */
static inline bool
needs_escape(uint64 bytes)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);
	const uint64 highs = UINT64CONST(0x8080808080808080);
	uint64		quotes = bytes ^ (ones * '"');
	uint64		backslashes = bytes ^ (ones * '\\');

	return (((bytes - ones * 0x20) & ~bytes) |
			((quotes - ones) & ~quotes) |
			((backslashes - ones) & ~backslashes)) & highs;
}

static char *
put_escaped_char(char *to, char c)
{
	static const char hex[] = "0123456789abcdef";
	char		escape = 0;

	switch (c)
	{
		case '\b':
			escape = 'b';
			break;
		case '\f':
			escape = 'f';
			break;
		case '\n':
			escape = 'n';
			break;
		case '\r':
			escape = 'r';
			break;
		case '\t':
			escape = 't';
			break;
		case '"':
		case '\\':
			escape = c;
			break;
		default:
			if ((unsigned char) c < ' ')
			{
				memcpy(to, "\\u00", 4);
				to[4] = hex[(c >> 4) & 0xF];
				to[5] = hex[c & 0xF];
				return to + 6;
			}
			*to = c;
			return to + 1;
	}
	to[0] = '\\';
	to[1] = escape;
	return to + 2;
}

/* There is room for all of it, escaped. */
static char *
put_escaped(char *to, const char *text, const char *end)
{
	while (text < end)
	{
		uint64		bytes;

		if (end - text >= sizeof(uint64))
		{
			memcpy(&bytes, text, sizeof(uint64));
			if (!needs_escape(bytes))
			{
				memcpy(to, text, sizeof(uint64));
				to += sizeof(uint64);
				text += sizeof(uint64);
				continue;
			}
		}
		for (int i = Min(end - text, sizeof(uint64)); i > 0; i--)
			to = put_escaped_char(to, *text++);
	}
	return to;
}

void
render_string(StringInfo buffer, const char *text, int length)
{
	const char *end = text + length;

	render_char(buffer, '"');
	while (text < end)
	{
		int			slice = Min(end - text, STRING_SLICE);

		if (buffer->len + slice * ESCAPE_MAX >= buffer->maxlen)
			enlargeStringInfo(buffer, slice * ESCAPE_MAX);
		buffer->len = put_escaped(buffer->data + buffer->len, text,
								  text + slice) - buffer->data;
		text += slice;
	}
	render_char(buffer, '"');
	buffer->data[buffer->len] = '\0';
}

/* ------------------------------------------------------------------------
 * values
 * ------------------------------------------------------------------------
 */
static void
append_text(StringInfo buffer, Datum text)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(text);

	appendBinaryStringInfo(buffer, VARDATA_ANY(value),
						   VARSIZE_ANY_EXHDR(value));
}

static void
append_integer(StringInfo buffer, int64 value)
{
	if (buffer->len + MAXINT8LEN + 1 >= buffer->maxlen)
		enlargeStringInfo(buffer, MAXINT8LEN + 1);
	buffer->len += pg_lltoa(value, buffer->data + buffer->len);
}

/* NaN and infinity are no JSON numbers. */
static void
append_number(StringInfo buffer, const char *text)
{
	int			length = strlen(text);

	if (IsValidJsonNumber(text, length))
		appendBinaryStringInfo(buffer, text, length);
	else
		render_string(buffer, text, length);
}

static void
append_datetime(StringInfo buffer, Datum value, Oid typid)
{
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, value, typid, NULL);
	appendStringInfo(buffer, "\"%s\"", text);
}

void
render_value(Renderer *renderer, Datum value, StringInfo buffer)
{
	struct varlena *text;
	char	   *string;

	switch (renderer->kind)
	{
		case RENDER_BOOL:
			appendStringInfoString(buffer, DatumGetBool(value) ? "true" : "false");
			break;
		case RENDER_INT2:
			append_integer(buffer, DatumGetInt16(value));
			break;
		case RENDER_INT4:
			append_integer(buffer, DatumGetInt32(value));
			break;
		case RENDER_INT8:
			append_integer(buffer, DatumGetInt64(value));
			break;
		case RENDER_NUMBER:
			append_number(buffer, OutputFunctionCall(&renderer->output, value));
			break;
		case RENDER_TEXT:
			text = PG_DETOAST_DATUM_PACKED(value);
			render_string(buffer, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
			break;
		case RENDER_DATETIME:
			append_datetime(buffer, value, renderer->typid);
			break;
		case RENDER_JSON:
			appendStringInfoString(buffer,
								   OutputFunctionCall(&renderer->output, value));
			break;
		case RENDER_ARRAY:
			append_text(buffer, DirectFunctionCall1(array_to_json, value));
			break;
		case RENDER_ROW:
			append_text(buffer, DirectFunctionCall1(row_to_json, value));
			break;
		case RENDER_CAST:
			append_text(buffer, FunctionCall1(&renderer->cast, value));
			break;
		case RENDER_STRING:
			string = OutputFunctionCall(&renderer->output, value);
			render_string(buffer, string, strlen(string));
			break;
	}
}

/* ------------------------------------------------------------------------
 * etags
 * ------------------------------------------------------------------------
 */
static void
set_canonical(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* What an error leaves is undone with the (sub)transaction. */
int
canonical_settings_begin(void)
{
	int			nest_level = NewGUCNestLevel();

	if (DateStyle != USE_ISO_DATES)
		set_canonical("datestyle", "ISO");
	if (IntervalStyle != INTSTYLE_POSTGRES)
		set_canonical("intervalstyle", "postgres");
	if (extra_float_digits < 1)
		set_canonical("extra_float_digits", "1");
	if (bytea_output != BYTEA_OUTPUT_HEX)
		set_canonical("bytea_output", "hex");
	if (strcmp(pg_get_timezone_name(session_timezone), "UTC") != 0)
		set_canonical("timezone", "UTC");
	return nest_level;
}

void
canonical_settings_end(int nest_level)
{
	AtEOXact_GUC(true, nest_level);
}

void
render_canonical(Renderer *renderer, Datum value, StringInfo buffer)
{
	struct varlena *text;

	switch (renderer->kind)
	{
		case RENDER_INT2:
			append_integer(buffer, DatumGetInt16(value));
			break;
		case RENDER_INT4:
			append_integer(buffer, DatumGetInt32(value));
			break;
		case RENDER_INT8:
			append_integer(buffer, DatumGetInt64(value));
			break;
		case RENDER_TEXT:
			text = PG_DETOAST_DATUM_PACKED(value);
			appendBinaryStringInfo(buffer, VARDATA_ANY(text),
								   VARSIZE_ANY_EXHDR(text));
			break;
		default:
			appendStringInfoString(buffer,
								   OutputFunctionCall(&renderer->output, value));
			break;
	}
}
