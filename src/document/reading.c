/*-------------------------------------------------------------------------
 *
 * reading.c
 *	  orm.find, orm.document, and the columns of ORM views.
 *
 * orm.find and orm.document flush first, then read all levels with one
 * snapshot, so that a document is of one moment.  The columns of views are
 * STABLE functions: they read with the statement's snapshot, as the view's
 * own columns are, and are given the row itself.
 *
 * The reader of orm.find lives as long as the call; others are kept
 * (kept_reader.c).  Locks are those of the statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "document/kept_reader.h"
#include "session/session.h"

/* A document as a value in the memory context of the caller. */
typedef struct SingleDocument
{
	MemoryContext context;
	text	   *json;
	text	   *etag;
} SingleDocument;

/* ------------------------------------------------------------------------
 * orm.find
 * ------------------------------------------------------------------------
 */
static char *
text_argument(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

static char *
required_argument(FunctionCallInfo fcinfo, int argno, const char *call,
				  const char *name)
{
	char	   *value = text_argument(fcinfo, argno);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s of %s must not be NULL", name, call)));
	return value;
}

static Jsonb *
json_argument(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL : PG_GETARG_JSONB_P(argno);
}

/* All levels are read with one snapshot, which sees what was flushed. */
static void
push_reading_snapshot(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
find_sink(void *arg, StringInfo json, const char *etag)
{
	ReturnSetInfo *rsinfo = arg;
	bool		isnull = false;
	Datum		value =
	PointerGetDatum(cstring_to_text_with_len(json->data, json->len));

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	pfree(DatumGetPointer(value));
}

/*
 * The reader of a selection with the criteria of the call.  Needs an SPI
 * connection, which it lives as long as.
 */
static Reader *
find_reader(Model *model, const char *selection, ReaderRequest *request)
{
	Reader	   *reader;

	if (request->params != NULL)
	{
		request->selection = selection_create(model, selection);
		return reader_create(request);
	}
	reader = kept_reader_get(request->call, model, selection,
							 strlen(selection), false, false);
	reader_set_criteria(reader, request);
	return reader;
}

PG_FUNCTION_INFO_V1(orm_find);
Datum
orm_find(PG_FUNCTION_ARGS)
{
	ReaderRequest request = {
		.call = "orm.find",
		.filter = text_argument(fcinfo, 2),
		.filter_by = json_argument(fcinfo, 3),
		.order_by = text_argument(fcinfo, 4),
		.has_limit = !PG_ARGISNULL(5),
		.has_offset = !PG_ARGISNULL(6),
		.params = json_argument(fcinfo, 7)
	};
	char	   *class_name = required_argument(fcinfo, 0, "orm.find", "class");
	char	   *selection = required_argument(fcinfo, 1, "orm.find",
											  "selection");
	Reader	   *reader;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (request.has_limit)
		request.limit = PG_GETARG_INT64(5);
	if (request.has_offset)
		request.offset = PG_GETARG_INT64(6);
	SPI_connect();
	reader = find_reader(model_by_class(class_name, false), selection,
						 &request);
	/* wrong criteria are an error before anything is flushed */
	reader_check(reader);

	session_autoflush(session_current());
	push_reading_snapshot();
	reader_run(reader, find_sink, fcinfo->resultinfo);
	PopActiveSnapshot();
	SPI_finish();
	return (Datum) 0;
}

/* ------------------------------------------------------------------------
 * single documents
 * ------------------------------------------------------------------------
 */

/*
 * The reader for a model and argument 1, a selection.  Needs an SPI
 * connection, which it lives as long as.
 */
static Reader *
argument_reader(FunctionCallInfo fcinfo, Model *model, const char *call,
				bool etag)
{
	text	   *selection;

	if (PG_ARGISNULL(1))
		(void) required_argument(fcinfo, 1, call, "selection");
	selection = PG_GETARG_TEXT_PP(1);
	return kept_reader_get(call, model, VARDATA_ANY(selection),
						   VARSIZE_ANY_EXHDR(selection), etag, false);
}

static void
single_sink(void *arg, StringInfo json, const char *etag)
{
	SingleDocument *document = arg;
	MemoryContext old = MemoryContextSwitchTo(document->context);

	document->json = cstring_to_text_with_len(json->data, json->len);
	if (etag != NULL)
		document->etag = cstring_to_text(etag);
	MemoryContextSwitchTo(old);
}

/* ------------------------------------------------------------------------
 * orm.document
 * ------------------------------------------------------------------------
 */
static void
report_no_object(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("no object given"),
			 errhint("The row is NULL, or a column of its primary key is.")));
}

PG_FUNCTION_INFO_V1(orm_document);
Datum
orm_document(PG_FUNCTION_ARGS)
{
	SingleDocument document = {.context = CurrentMemoryContext};
	Model	   *model = model_from_argument(fcinfo, 0);
	Reader	   *reader;
	Datum		key[INDEX_MAX_KEYS];

	SPI_connect();
	reader = argument_reader(fcinfo, model, "orm.document", false);
	if (PG_ARGISNULL(0) ||
		!model_key_of_row(model, PG_GETARG_HEAPTUPLEHEADER(0), key))
		report_no_object();
	session_autoflush(session_current());
	push_reading_snapshot();
	if (!reader_run_key(reader, key, single_sink, &document))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("%s has no row with key %s", model->class_name,
						model_key_to_text(model, key))));
	PopActiveSnapshot();
	SPI_finish();
	PG_RETURN_TEXT_P(document.json);
}

/* ------------------------------------------------------------------------
 * the columns of views
 * ------------------------------------------------------------------------
 */
static bool
document_of_row(FunctionCallInfo fcinfo, const char *call, bool etag,
				SingleDocument *document)
{
	Model	   *model = model_from_argument(fcinfo, 0);
	Reader	   *reader;

	document->context = CurrentMemoryContext;
	document->json = document->etag = NULL;
	SPI_connect();
	reader = argument_reader(fcinfo, model, call, etag);
	if (!PG_ARGISNULL(0))
		reader_run_row(reader, PG_GETARG_HEAPTUPLEHEADER(0), single_sink,
					   document);
	SPI_finish();
	return !PG_ARGISNULL(0);
}

PG_FUNCTION_INFO_V1(orm_row_document);
Datum
orm_row_document(PG_FUNCTION_ARGS)
{
	SingleDocument document;

	if (!document_of_row(fcinfo, "orm.row_document", false, &document))
		PG_RETURN_NULL();
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(text_to_cstring(document.json)));
}

PG_FUNCTION_INFO_V1(orm_row_etag);
Datum
orm_row_etag(PG_FUNCTION_ARGS)
{
	SingleDocument document;

	if (!document_of_row(fcinfo, "orm.row_etag", true, &document))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(document.etag);
}
