/*-------------------------------------------------------------------------
 *
 * row_draft.c
 *	  New rows from plain documents: JSON objects whose keys are columns of
 *	  scalar types.  Their values are made as jsonb_populate_record makes them,
 *	  in the same order, but without a row in between.
 *
 * Documents come in series of one shape, which says what the keys mean and
 * which defaults are wanted.  Shapes live as long as their RowMaker does.
 * Whatever is not plain is left to jsonb_populate_record: relationships,
 * unknown keys, arrays, composite types, and any table with a domain.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "nodes/primnodes.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/numeric.h"

#include "compat.h"
#include "session/row_maker.h"

/* Shapes that a RowMaker remembers at most. */
#define SHAPES_MAX 32

/* How a column's values are made from JSON. */
typedef enum InputKind
{
	INPUT_NONE,					/* not here */
	INPUT_FUNCTION,				/* by the type's input function */
	INPUT_TEXT,					/* the rest have a shorter way for some values */
	INPUT_BOOL,
	INPUT_INT2,
	INPUT_INT4,
	INPUT_INT8,
	INPUT_JSONB
} InputKind;

typedef struct ColumnInput
{
	InputKind	kind;
	int			max_length;		/* of a string that certainly fits, in bytes */
	int32		typmod;
	Oid			io_param;
	FmgrInfo	function;
} ColumnInput;

/* A key or value of a document. */
typedef struct DocumentEntry
{
	JEntry		entry;
	uint32		length;
	char	   *data;
} DocumentEntry;

typedef struct DocumentKey
{
	uint32		length;
	char	   *name;
} DocumentKey;

typedef struct DocumentColumn
{
	AttrNumber	attnum;
	int			position;		/* of its value in the document */
} DocumentColumn;

typedef struct DocumentShape
{
	bool		plain;			/* the rest is only there if so */
	int			nkeys;
	DocumentKey *keys;
	DocumentColumn *columns;	/* nkeys of them, in attribute order */
	int			ndefaults;
	AttrNumber *defaults;		/* evaluated for each row, in this order */
	Bitmapset  *named;			/* the columns */
	Bitmapset  *given;			/* the same and the defaults */
} DocumentShape;

/* ------------------------------------------------------------------------
 * columns
 * ------------------------------------------------------------------------
 */
static InputKind
input_kind(Oid typid)
{
	switch (typid)
	{
		case TEXTOID:
		case VARCHAROID:
			return INPUT_TEXT;
		case BOOLOID:
			return INPUT_BOOL;
		case INT2OID:
			return INPUT_INT2;
		case INT4OID:
			return INPUT_INT4;
		case INT8OID:
			return INPUT_INT8;
		case JSONBOID:
			return INPUT_JSONB;
		case JSONOID:
			return INPUT_NONE;
		default:
			return OidIsValid(get_element_type(typid)) ||
				get_typtype(typid) == TYPTYPE_COMPOSITE ? INPUT_NONE :
				INPUT_FUNCTION;
	}
}

static void
column_input_prepare(ColumnInput *input, Form_pg_attribute attribute,
					 MemoryContext context)
{
	Oid			function;

	input->kind = input_kind(attribute->atttypid);
	if (input->kind == INPUT_NONE)
		return;
	input->typmod = attribute->atttypmod;
	input->max_length = attribute->atttypid == VARCHAROID &&
		input->typmod >= (int32) VARHDRSZ ? input->typmod - VARHDRSZ :
		MaxAllocSize;
	getTypeInputInfo(attribute->atttypid, &function, &input->io_param);
	fmgr_info_cxt(function, &input->function, context);
}

static void
maker_need_inputs(RowMaker *maker, Model *model)
{
	int			natts = model->tupdesc->natts;
	ColumnInput *inputs;

	if (maker->inputs != NULL)
		return;
	inputs = MemoryContextAllocZero(maker->context,
									natts * sizeof(ColumnInput));
	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);

		if (!attribute->attisdropped)
			column_input_prepare(&inputs[i], attribute, maker->context);
	}
	maker->inputs = inputs;
}

/* ------------------------------------------------------------------------
 * documents
 * ------------------------------------------------------------------------
 */

/* The keys of an object in their order, and behind them their values. */
static DocumentEntry *
document_entries(const JsonbContainer *doc)
{
	int			n = JsonContainerSize(doc) * 2;
	DocumentEntry *entries = palloc(Max(n, 1) * sizeof(DocumentEntry));
	char	   *data = (char *) &doc->children[n];
	uint32		end = 0;

	for (int i = 0; i < n; i++)
	{
		uint32		begin = end;

		JBE_ADVANCE_OFFSET(end, doc->children[i]);
		entries[i].entry = doc->children[i];
		entries[i].data = data + begin;
		entries[i].length = end - begin;
		/* these are aligned, by bytes in front of them */
		if (JBE_ISNUMERIC(entries[i].entry) ||
			JBE_ISCONTAINER(entries[i].entry))
		{
			entries[i].data = data + INTALIGN(begin);
			entries[i].length = end - INTALIGN(begin);
		}
	}
	return entries;
}

static JsonbValue
entry_value(const DocumentEntry *entry)
{
	JsonbValue	value;

	if (JBE_ISSTRING(entry->entry))
	{
		value.type = jbvString;
		value.val.string.val = entry->data;
		value.val.string.len = entry->length;
	}
	else if (JBE_ISNUMERIC(entry->entry))
	{
		value.type = jbvNumeric;
		value.val.numeric = (Numeric) entry->data;
	}
	else if (JBE_ISBOOL(entry->entry))
	{
		value.type = jbvBool;
		value.val.boolean = JBE_ISBOOL_TRUE(entry->entry);
	}
	else
	{
		value.type = jbvBinary;
		value.val.binary.data = (JsonbContainer *) entry->data;
		value.val.binary.len = entry->length;
	}
	return value;
}

/* A value as the text that an input function is given. */
static char *
entry_text(const DocumentEntry *entry)
{
	if (JBE_ISSTRING(entry->entry))
		return pnstrdup(entry->data, entry->length);
	if (JBE_ISNUMERIC(entry->entry))
		return DatumGetCString(DirectFunctionCall1(numeric_out,
												   PointerGetDatum(entry->data)));
	if (JBE_ISBOOL(entry->entry))
		return pstrdup(JBE_ISBOOL_TRUE(entry->entry) ? "true" : "false");
	return JsonbToCString(NULL, (JsonbContainer *) entry->data,
						  entry->length);
}

/* A number without decimal places that an int4 can hold. */
static bool
entry_int4(const DocumentEntry *entry, int32 *value)
{
	Numeric		number = (Numeric) entry->data;
	bool		error = false;

	if (!JBE_ISNUMERIC(entry->entry) ||
		DatumGetInt32(DirectFunctionCall1(numeric_scale,
										  NumericGetDatum(number))) != 0)
		return false;
	*value = numeric_int4_opt_error(number, &error);
	return !error;
}

static Datum
input_value(ColumnInput *input, const DocumentEntry *entry)
{
	int32		number;
	JsonbValue	value;

	switch (input->kind)
	{
		case INPUT_TEXT:
			if (JBE_ISSTRING(entry->entry) &&
				entry->length <= input->max_length)
				return PointerGetDatum(cstring_to_text_with_len(entry->data,
																entry->length));
			break;
		case INPUT_BOOL:
			if (JBE_ISBOOL(entry->entry))
				return BoolGetDatum(JBE_ISBOOL_TRUE(entry->entry));
			break;
		case INPUT_INT2:
			if (entry_int4(entry, &number) &&
				number >= PG_INT16_MIN && number <= PG_INT16_MAX)
				return Int16GetDatum(number);
			break;
		case INPUT_INT4:
			if (entry_int4(entry, &number))
				return Int32GetDatum(number);
			break;
		case INPUT_INT8:
			if (entry_int4(entry, &number))
				return Int64GetDatum(number);
			break;
		case INPUT_JSONB:
			value = entry_value(entry);
			return JsonbPGetDatum(JsonbValueToJsonb(&value));
		default:
			break;
	}
	return InputFunctionCall(&input->function, entry_text(entry),
							 input->io_param, input->typmod);
}

/* ------------------------------------------------------------------------
 * shapes
 * ------------------------------------------------------------------------
 */
static bool
shape_is_of(const DocumentShape *shape, const DocumentEntry *entries,
			int nkeys)
{
	if (shape->nkeys != nkeys)
		return false;
	for (int i = 0; i < nkeys; i++)
	{
		if (shape->keys[i].length != entries[i].length ||
			memcmp(shape->keys[i].name, entries[i].data,
				   entries[i].length) != 0)
			return false;
	}
	return true;
}

/* The column of a key, or 0 if it is none that is set here. */
static AttrNumber
key_column(RowMaker *maker, Model *model, const DocumentKey *key)
{
	AttrNumber	attnum = model_attnum(model, key->name, true);
	Form_pg_attribute attribute;

	if (attnum == InvalidAttrNumber)
		return InvalidAttrNumber;
	attribute = TupleDescAttr(model->tupdesc, attnum - 1);
	if (attribute->attgenerated != '\0' ||
		attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS ||
		maker->inputs[attnum - 1].kind == INPUT_NONE)
		return InvalidAttrNumber;
	return attnum;
}

static int
compare_columns(const void *a, const void *b)
{
	return ((const DocumentColumn *) a)->attnum -
		((const DocumentColumn *) b)->attnum;
}

static void
shape_take_defaults(DocumentShape *shape, RowMaker *maker, Model *model)
{
	int			natts = model->tupdesc->natts;
	Datum		version;

	shape->defaults = palloc(natts * sizeof(AttrNumber));
	for (int i = 0; i < natts; i++)
	{
		if (maker->defaults[i] == NULL ||
			bms_is_member(column_member(i + 1), shape->given))
			continue;
		shape->defaults[shape->ndefaults++] = i + 1;
		shape->given = bms_add_member(shape->given, column_member(i + 1));
	}
	if (row_first_version(model, &version) &&
		!bms_is_member(column_member(model->version_attnum), shape->given))
	{
		shape->defaults[shape->ndefaults++] = model->version_attnum;
		shape->given = bms_add_member(shape->given,
									  column_member(model->version_attnum));
	}
}

/* In the current memory context. */
static DocumentShape *
shape_create(RowMaker *maker, Model *model, const DocumentEntry *entries,
			 int nkeys)
{
	DocumentShape *shape = palloc0(sizeof(DocumentShape));

	shape->nkeys = nkeys;
	shape->keys = palloc(nkeys * sizeof(DocumentKey));
	shape->columns = palloc(nkeys * sizeof(DocumentColumn));
	shape->plain = true;
	for (int i = 0; i < nkeys; i++)
	{
		DocumentColumn *column = &shape->columns[i];

		shape->keys[i].length = entries[i].length;
		shape->keys[i].name = pnstrdup(entries[i].data, entries[i].length);
		column->position = nkeys + i;
		column->attnum = key_column(maker, model, &shape->keys[i]);
		if (column->attnum == InvalidAttrNumber)
			shape->plain = false;
		else
			shape->named = bms_add_member(shape->named,
										  column_member(column->attnum));
	}
	shape->given = bms_copy(shape->named);
	qsort(shape->columns, nkeys, sizeof(DocumentColumn), compare_columns);
	shape_take_defaults(shape, maker, model);
	return shape;
}

static DocumentShape *
shape_of(RowMaker *maker, Model *model, const DocumentEntry *entries,
		 int nkeys)
{
	DocumentShape *shape;
	MemoryContext old;
	ListCell   *cell;

	foreach(cell, maker->shapes)
	{
		if (shape_is_of(lfirst(cell), entries, nkeys))
			return lfirst(cell);
	}
	row_maker_need_defaults(maker, model);
	if (list_length(maker->shapes) >= SHAPES_MAX)
		return shape_create(maker, model, entries, nkeys);
	old = MemoryContextSwitchTo(maker->context);
	shape = shape_create(maker, model, entries, nkeys);
	maker->shapes = lappend(maker->shapes, shape);
	MemoryContextSwitchTo(old);
	return shape;
}

/* ------------------------------------------------------------------------
 * drafts
 * ------------------------------------------------------------------------
 */

/*
 * LOCALTIMESTAMP is the same for the whole transaction in a time zone, and
 * takes longer to be worked out than all else that is done for a column.
 */
static Datum
default_value(ExprState *state, ExprContext *econtext, bool *isnull)
{
	static LocalTransactionId last_lxid;
	static pg_tz *last_timezone;
	static Timestamp last_value;
	Expr	   *expr = state->expr;

	if (!IsA(expr, SQLValueFunction) ||
		castNode(SQLValueFunction, expr)->op != SVFOP_LOCALTIMESTAMP)
		return ExecEvalExpr(state, econtext, isnull);
	if (last_lxid != compat_my_lxid() || last_timezone != session_timezone)
	{
		last_value = DatumGetTimestamp(ExecEvalExpr(state, econtext, isnull));
		last_lxid = compat_my_lxid();
		last_timezone = session_timezone;
	}
	*isnull = false;
	return TimestampGetDatum(last_value);
}

static void
draft_take_defaults(RowDraft *draft, const DocumentShape *shape,
					ExprState **states, ExprContext *econtext, Model *model)
{
	for (int i = 0; i < shape->ndefaults; i++)
	{
		int			attribute = shape->defaults[i] - 1;

		if (states[attribute] != NULL)
			draft->values[attribute] =
				default_value(states[attribute], econtext,
							  &draft->nulls[attribute]);
		else
			draft->nulls[attribute] =
				!row_first_version(model, &draft->values[attribute]);
	}
}

/* The shape of a plain document, or NULL, and what is in the document. */
static DocumentShape *
plain_shape(RowMaker *maker, Model *model, const JsonbContainer *doc,
			DocumentEntry **entries)
{
	DocumentShape *shape;

	if (maker->has_domains)
		return NULL;
	maker_need_inputs(maker, model);
	*entries = document_entries(doc);
	shape = shape_of(maker, model, *entries, JsonContainerSize(doc));
	return shape->plain ? shape : NULL;
}

static void
take_values(const DocumentShape *shape, DocumentEntry *entries,
			ColumnInput *inputs, Datum *values, bool *nulls)
{
	for (int i = 0; i < shape->nkeys; i++)
	{
		int			attribute = shape->columns[i].attnum - 1;
		DocumentEntry *value = &entries[shape->columns[i].position];

		nulls[attribute] = JBE_ISNULL(value->entry);
		if (!nulls[attribute])
			values[attribute] = input_value(&inputs[attribute], value);
	}
}

bool
row_draft(Model *model, const JsonbContainer *doc, RowDraft *draft)
{
	RowMaker   *maker = row_maker(model);
	int			natts = model->tupdesc->natts;
	DocumentEntry *entries;
	DocumentShape *shape = plain_shape(maker, model, doc, &entries);
	ColumnInput *inputs = maker->inputs;
	ExprState **states;
	ExprContext *econtext = NULL;

	if (shape == NULL)
		return false;

	for (int i = 0; i < shape->ndefaults; i++)
		row_maker_need_state(maker, model, shape->defaults[i] - 1);
	if (shape->ndefaults > 0)
		econtext = GetPerTupleExprContext(maker->estate);
	/* the maker may be made anew in what follows; what it had stays */
	states = maker->states;
	draft->given = shape->given;
	draft->values = palloc0(natts * sizeof(Datum));
	draft->nulls = palloc(natts * sizeof(bool));
	memset(draft->nulls, true, natts * sizeof(bool));
	take_values(shape, entries, inputs, draft->values, draft->nulls);
	draft_take_defaults(draft, shape, states, econtext, model);
	return true;
}

bool
row_from_plain_document(Model *model, Datum base, const JsonbContainer *doc,
						Datum *row, Bitmapset **given)
{
	RowMaker   *maker = row_maker(model);
	int			natts = model->tupdesc->natts;
	DocumentEntry *entries;
	DocumentShape *shape = plain_shape(maker, model, doc, &entries);
	Datum	   *values;
	bool	   *nulls;

	if (shape == NULL)
		return false;
	*given = bms_add_members(*given, shape->named);
	values = palloc0(natts * sizeof(Datum));
	nulls = palloc(natts * sizeof(bool));
	if (base == (Datum) 0)
		memset(nulls, true, natts * sizeof(bool));
	else
		row_deform(model, base, values, nulls);
	take_values(shape, entries, maker->inputs, values, nulls);
	*row = HeapTupleGetDatum(heap_form_tuple(model->tupdesc, values, nulls));
	return true;
}

bool
row_draft_key(Model *model, const RowDraft *draft, Datum *key)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		int			attribute = model->keys[i].attnum - 1;

		if (draft->nulls[attribute])
			return false;
		key[i] = draft->values[attribute];
	}
	return true;
}

HeapTuple
row_draft_form(Model *model, const RowDraft *draft)
{
	HeapTuple	row = heap_form_tuple(model->tupdesc, draft->values,
									  draft->nulls);
	HeapTuple	flat;

	if (!HeapTupleHasExternal(row))
		return row;
	flat = toast_flatten_tuple(row, model->tupdesc);
	pfree(row);
	return flat;
}
