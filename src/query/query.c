/*-------------------------------------------------------------------------
 *
 * query.c
 *	  orm.query, first, one, one_or_none: loading objects into the session.
 *
 * One statement for each call, after the autoflush; each of its rows becomes
 * an object, and what is returned is the row that the session shows for it.
 *
 * Rows go straight from the executor into the result's tuplestore; what is
 * made for one row is freed before the next.  All else lives in the memory of
 * the SPI connection.  Locks are those of the statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "query/internal.h"
#include "session/session.h"

/* Takes rows into the session and what it shows of them into the result. */
typedef struct RowReceiver
{
	DestReceiver pub;
	Session    *session;
	Model	   *model;
	Tuplestorestate *result;
	bool		populate_existing;
	bool		unique;
	bool		whole;			/* slots have all columns of the row type */
	uint64		nrows;
	uint64		taken;			/* of them, into the session */
	MemoryContext row_context;
} RowReceiver;

/* ------------------------------------------------------------------------
 * rows
 * ------------------------------------------------------------------------
 */
static void
row_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	RowReceiver *receiver = (RowReceiver *) self;

	receiver->whole = true;
	for (int i = 0; i < receiver->model->tupdesc->natts; i++)
	{
		if (TupleDescAttr(receiver->model->tupdesc, i)->attisdropped)
			receiver->whole = false;
	}
}

/* What the session shows of the row goes into the result. */
static void
row_take(RowReceiver *receiver, TupleTableSlot *slot)
{
	HeapTupleData row = {0};
	Datum		datum;

	datum = session_take_row(receiver->session, receiver->model, slot,
							 receiver->populate_existing);
	row.t_data = DatumGetHeapTupleHeader(datum);
	row.t_len = HeapTupleHeaderGetDatumLength(row.t_data);
	tuplestore_puttuple(receiver->result, &row);
	receiver->taken++;
}

static bool
row_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->row_context);

	if (receiver->nrows++ > 0 && receiver->unique)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_ROWS),
				 errmsg("several rows of %s were found where one was wanted",
						receiver->model->class_name)));
	if (receiver->whole &&
		session_may_pass_by(receiver->session, receiver->model,
							receiver->taken))
	{
		slot_getallattrs(slot);
		tuplestore_putvalues(receiver->result, receiver->model->tupdesc,
							 slot->tts_values, slot->tts_isnull);
	}
	else
		row_take(receiver, slot);

	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->row_context);
	return true;
}

static void
row_shutdown(DestReceiver *self)
{
}

static DestReceiver *
row_receiver_create(Session *session, Model *model, Tuplestorestate *result,
					bool populate_existing, bool unique)
{
	RowReceiver *receiver = palloc0(sizeof(RowReceiver));

	receiver->pub.receiveSlot = row_receive;
	receiver->pub.rStartup = row_startup;
	receiver->pub.rShutdown = row_shutdown;
	receiver->pub.rDestroy = row_shutdown;
	receiver->pub.mydest = DestNone;
	receiver->session = session;
	receiver->model = model;
	receiver->result = result;
	receiver->populate_existing = populate_existing;
	receiver->unique = unique;
	receiver->row_context = AllocSetContextCreate(CurrentMemoryContext,
												  "pg_orm row",
												  ALLOCSET_DEFAULT_SIZES);
	return &receiver->pub;
}

/* ------------------------------------------------------------------------
 * the statement
 * ------------------------------------------------------------------------
 */
static void
compose_count(Composition *composition, FunctionCallInfo fcinfo, int arg,
			  const char *keyword)
{
	if (arg < 0 || PG_ARGISNULL(arg))
		return;
	appendStringInfo(&composition->text, " %s $%d", keyword,
					 compose_datum(composition, keyword, INT8OID,
								   fcinfo->args[arg].value, false));
}

static Composition *
query_compose(FunctionCallInfo fcinfo, const QuerySignature *signature,
			  Model *model, bool with_version)
{
	Jsonb	   *filter_by = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);
	Jsonb	   *params = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);
	char	   *filter = PG_ARGISNULL(1) ? NULL :
	text_to_cstring(PG_GETARG_TEXT_PP(1));
	Composition *composition = composition_create(signature->call, model,
												  "query", params);
	StringInfo	statement = &composition->text;

	appendStringInfo(statement, "SELECT %s FROM %s",
					 with_version ?
					 session_select_list(model, composition->alias) :
					 psprintf("%s.*", composition->alias),
					 model->relation_name);
	compose_criteria(composition, "WHERE", filter, filter_by);
	if (!PG_ARGISNULL(2))
	{
		appendStringInfoString(statement, " ORDER BY ");
		compose_fragment(composition, FRAGMENT_ORDER_BY,
						 text_to_cstring(PG_GETARG_TEXT_PP(2)));
	}
	compose_count(composition, fcinfo, signature->row_limit, "LIMIT");
	compose_count(composition, fcinfo, signature->row_offset, "OFFSET");
	if (signature->sql_limit > 0)
		appendStringInfo(statement, " LIMIT %d", signature->sql_limit);
	return composition;
}

void
query_prepare(PreparedQuery *query, FunctionCallInfo fcinfo,
			  const QuerySignature *signature, bool with_version)
{
	MemoryContext old = MemoryContextSwitchTo(query->context);
	Composition *composition;

	query->model = model_from_argument(fcinfo, 0);
	composition = query_compose(fcinfo, signature, query->model,
								with_version);
	query->kept = kept_statement_get(composition);
	kept_statement_bind(query->kept, composition, &query->values,
						&query->nulls);
	MemoryContextSwitchTo(old);
}

Session *
query_start(PreparedQuery *query, FunctionCallInfo fcinfo,
			const QuerySignature *signature, bool with_version)
{
	Session    *session;

	/* wrong criteria are an error before anything is flushed */
	query_prepare(query, fcinfo, signature, with_version);
	session = session_current();
	session_autoflush(session);
	/* a trigger of the flush may have changed the table */
	if (query->kept->generation != model_generation())
		query_prepare(query, fcinfo, signature, with_version);
	return session;
}

static void
query_execute(FunctionCallInfo fcinfo, const QuerySignature *signature)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			populate = signature->populate_existing;
	bool		populate_existing = !PG_ARGISNULL(populate) &&
	PG_GETARG_BOOL(populate);
	PreparedQuery query;
	Session    *session;
	DestReceiver *receiver;
	uint64		nrows;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	query.context = CurrentMemoryContext;
	session = query_start(&query, fcinfo, signature, true);
	receiver = row_receiver_create(session, query.model, rsinfo->setResult,
								   populate_existing, signature->unique);
	nrows = own_statement_execute(query.kept->plan, query.values, query.nulls,
								  receiver);
	SPI_finish();

	if (nrows == 0 && signature->required)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no row of %s was found where one was required",
						query.model->class_name)));
}

/* ------------------------------------------------------------------------
 * SQL functions
 * ------------------------------------------------------------------------
 */
const QuerySignature query_signature = {"orm.query", 5, 6, 7, 0,
false, false};

PG_FUNCTION_INFO_V1(orm_query);
Datum
orm_query(PG_FUNCTION_ARGS)
{
	query_execute(fcinfo, &query_signature);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(orm_first);
Datum
orm_first(PG_FUNCTION_ARGS)
{
	static const QuerySignature signature = {"orm.first", -1, -1, 5, 1,
	false, false};

	query_execute(fcinfo, &signature);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(orm_one);
Datum
orm_one(PG_FUNCTION_ARGS)
{
	static const QuerySignature signature = {"orm.one", -1, -1, 5, 2,
	true, true};

	query_execute(fcinfo, &signature);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(orm_one_or_none);
Datum
orm_one_or_none(PG_FUNCTION_ARGS)
{
	static const QuerySignature signature = {"orm.one_or_none", -1, -1, 5, 2,
	true, false};

	query_execute(fcinfo, &signature);
	return (Datum) 0;
}
