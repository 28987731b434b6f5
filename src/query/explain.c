/*-------------------------------------------------------------------------
 *
 * explain.c
 *	  orm.explain: the SQL that an orm call runs, with its plans.
 *
 * The call is run in a subtransaction, pg_orm's own statements are looked at
 * as they end, and everything that the call did is rolled back, the session's
 * objects included.
 *
 * The lines live in a memory context of the call; when it goes, on error too,
 * nobody observes any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/explain.h"
#include "executor/instrument.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "compat.h"
#include "query/internal.h"
#include "session/session.h"

typedef struct ExplainRun
{
	bool		with_analyze;
	Oid			userid;			/* who may see what is run, and what of it */
	List	   *lines;			/* char * */
	MemoryContext context;
	struct ExplainRun *outer;	/* of an orm.explain that explains this one */
	MemoryContextCallback callback;
} ExplainRun;

static ExplainRun *explain_run = NULL;

/* ------------------------------------------------------------------------
 * observing
 * ------------------------------------------------------------------------
 */
static void
add_lines(const char *text, const char *indent)
{
	while (*text != '\0')
	{
		int			length = strcspn(text, "\n");

		if (length > 0)
			explain_run->lines = lappend(explain_run->lines,
										 psprintf("%s%.*s", indent, length, text));
		text += length;
		if (*text == '\n')
			text++;
	}
}

/*
 * What a SECURITY DEFINER function runs is as hidden as plain EXPLAIN leaves
 * it.
 */
static bool
is_hidden(void)
{
	return GetUserId() != explain_run->userid;
}

static void
statement_started(QueryDesc *query_desc)
{
	if (explain_run->with_analyze && !is_hidden())
		query_desc->instrument_options |= INSTRUMENT_TIMER | INSTRUMENT_ROWS;
}

static void
statement_ended(QueryDesc *query_desc)
{
	MemoryContext old;
	ExplainState *es;

	if (is_hidden())
		return;
	old = MemoryContextSwitchTo(explain_run->context);
	es = NewExplainState();
	es->analyze = explain_run->with_analyze;
	es->timing = es->analyze;
	es->costs = true;
	ExplainBeginOutput(es);
	ExplainPrintPlan(es, query_desc);
	if (es->analyze)
		ExplainPrintTriggers(es, query_desc);
	ExplainEndOutput(es);
	add_lines(query_desc->sourceText, "");
	add_lines(es->str->data, "  ");
	MemoryContextSwitchTo(old);
}

static const OwnStatementObserver observer = {
	.started = statement_started,
	.ended = statement_ended
};

static void
explain_run_gone(void *arg)
{
	ExplainRun *run = arg;

	explain_run = run->outer;
	if (explain_run == NULL)
		own_statement_observer = NULL;
}

static ExplainRun *
explain_run_begin(bool with_analyze)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "pg_orm explain",
												  ALLOCSET_DEFAULT_SIZES);
	ExplainRun *run = MemoryContextAllocZero(context, sizeof(ExplainRun));

	run->with_analyze = with_analyze;
	run->userid = GetUserId();
	run->context = context;
	run->outer = explain_run;
	run->callback.func = explain_run_gone;
	run->callback.arg = run;
	MemoryContextRegisterResetCallback(context, &run->callback);
	explain_run = run;
	own_statement_observer = &observer;
	return run;
}

/* ------------------------------------------------------------------------
 * the call
 * ------------------------------------------------------------------------
 */
static bool
begins_with_word(const char *text, const char *word)
{
	int			length = strlen(word);

	return pg_strncasecmp(text, word, length) == 0 &&
		!isalnum((unsigned char) text[length]) && text[length] != '_';
}

static bool
is_select(const char *call)
{
	const char *text = call + strspn(call, " \t\r\n(");

	return begins_with_word(text, "select") || begins_with_word(text, "with") ||
		begins_with_word(text, "values");
}

static void
raise_bad_call(const char *call)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("orm.explain takes one call or one SELECT"),
			 errdetail("It got \"%s\".", call),
			 errhint("Write, for instance, orm.explain($$orm.query(NULL::users, 'id > 1')$$).")));
}

/* A call is put into FROM; it has to be one by itself. */
static char *
statement_of_call(const char *call)
{
	List	   *parsed = raw_parser(call, is_select(call) ? RAW_PARSE_DEFAULT
								   : RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select;

	if (list_length(parsed) != 1 ||
		!IsA(linitial_node(RawStmt, parsed)->stmt, SelectStmt))
		raise_bad_call(call);
	if (is_select(call))
		return pstrdup(call);
	select = (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
	if (!fragment_is_expression((Node *) select) ||
		!IsA(linitial_node(ResTarget, select->targetList)->val, FuncCall))
		raise_bad_call(call);
	return psprintf("SELECT * FROM %s", call);
}

static void
call_error_callback(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
	errcontext("call given to orm.explain");
}

/*
 * An internal subtransaction has to be ended by who began it, on error too:
 * whoever handles the error would take it for the one that the error is in.
 */
static void
run_and_roll_back(const char *statement)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	SPIExecuteOptions options = {.dest = None_Receiver};

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		int			result = SPI_execute_extended(statement, &options);

		if (result < 0)
			elog(ERROR, "SPI_execute_extended failed: %s",
				 SPI_result_code_string(result));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		ReThrowError(error);
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

static void
return_lines(ReturnSetInfo *rsinfo, List *lines)
{
	ListCell   *cell;

	foreach(cell, lines)
	{
		Datum		line = CStringGetTextDatum(lfirst(cell));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &line,
							 &isnull);
	}
}

PG_FUNCTION_INFO_V1(orm_explain);
Datum
orm_explain(PG_FUNCTION_ARGS)
{
	char	   *call = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ErrorContextCallback callback = {error_context_stack, call_error_callback,
		call};
	ExplainRun *run;
	char	   *statement;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	run = explain_run_begin(PG_GETARG_BOOL(1));
	SPI_connect();
	error_context_stack = &callback;
	statement = statement_of_call(call);
	error_context_stack = callback.previous;
	run_and_roll_back(statement);
	SPI_finish();
	return_lines((ReturnSetInfo *) fcinfo->resultinfo, run->lines);
	MemoryContextDelete(run->context);
	return (Datum) 0;
}
