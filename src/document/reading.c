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
 * A reader that is used from row to row lives as long as the function call
 * site (fn_mcxt); that of orm.find as long as the call.  Locks are those of
 * the statements.
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
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "document/reader.h"
#include "session/session.h"

/* A reader kept from row to row. */
typedef struct KeptReader
{
	MemoryContext context;		/* of the reader */
	Reader	   *reader;
	Model	   *model;
	text	   *selection;
} KeptReader;

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
	request.selection = selection_create(model_by_class(class_name, false),
										 selection);
	reader = reader_create(&request);
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
 * readers kept from row to row
 * ------------------------------------------------------------------------
 */
static bool
kept_reader_serves(KeptReader *kept, Model *model, text *selection)
{
	return kept != NULL && kept->reader != NULL && kept->model == model &&
		reader_is_valid(kept->reader) &&
		VARSIZE_ANY(kept->selection) == VARSIZE_ANY(selection) &&
		memcmp(kept->selection, selection, VARSIZE_ANY(selection)) == 0;
}

static void
kept_reader_make(KeptReader *kept, Model *model, text *selection,
				 const char *call, bool etag)
{
	MemoryContext old = MemoryContextSwitchTo(kept->context);
	ReaderRequest request = {.call = call,.etag = etag};

	kept->reader = NULL;
	MemoryContextReset(kept->context);
	kept->model = model;
	kept->selection = (text *) palloc(VARSIZE_ANY(selection));
	memcpy(kept->selection, selection, VARSIZE_ANY(selection));
	request.selection = selection_create(model, text_to_cstring(selection));
	kept->reader = reader_create(&request);
	MemoryContextSwitchTo(old);
}

/* The reader for argument 0, an object, and argument 1, a selection. */
static KeptReader *
kept_reader(FunctionCallInfo fcinfo, const char *call, bool etag)
{
	KeptReader *kept = fcinfo->flinfo->fn_extra;
	Model	   *model = model_from_argument(fcinfo, 0);
	text	   *selection;

	if (PG_ARGISNULL(1))
		(void) required_argument(fcinfo, 1, call, "selection");
	selection = PG_GETARG_TEXT_PP(1);
	if (kept == NULL)
	{
		kept = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
									  sizeof(KeptReader));
		kept->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt,
											  "pg_orm reader",
											  ALLOCSET_DEFAULT_SIZES);
		fcinfo->flinfo->fn_extra = kept;
	}
	if (!kept_reader_serves(kept, model, selection))
		kept_reader_make(kept, model, selection, call, etag);
	return kept;
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
	KeptReader *kept = kept_reader(fcinfo, "orm.document", false);
	Datum		key[INDEX_MAX_KEYS];

	if (PG_ARGISNULL(0) ||
		!model_key_of_row(kept->model, PG_GETARG_HEAPTUPLEHEADER(0), key))
		report_no_object();
	SPI_connect();
	session_autoflush(session_current());
	push_reading_snapshot();
	if (!reader_run_key(kept->reader, key, single_sink, &document))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("%s has no row with key %s", kept->model->class_name,
						model_key_to_text(kept->model, key))));
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
	KeptReader *kept = kept_reader(fcinfo, call, etag);

	document->context = CurrentMemoryContext;
	document->json = document->etag = NULL;
	if (PG_ARGISNULL(0))
		return false;
	SPI_connect();
	reader_run_row(kept->reader, PG_GETARG_HEAPTUPLEHEADER(0), single_sink,
				   document);
	SPI_finish();
	return true;
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
