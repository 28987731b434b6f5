/*-------------------------------------------------------------------------
 *
 * load.c
 *	  Reading one object by its key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"

#include "compat.h"
#include "session/internal.h"

/* Takes the row into the session if there is one, else only looks at it. */
typedef struct LoadReceiver
{
	DestReceiver pub;
	Session    *session;
	Model	   *model;
	bool		populate_existing;
	bool		found;
	TransactionId xmin;
	int64		number;
} LoadReceiver;

static bool
load_receive(TupleTableSlot *slot, DestReceiver *self)
{
	LoadReceiver *receiver = (LoadReceiver *) self;

	if (receiver->session != NULL)
		(void) session_take_row(receiver->session, receiver->model, slot,
								receiver->populate_existing);
	else
		receiver->number =
			row_version_number(receiver->model,
							   row_of_loaded_slot(receiver->model, slot,
												  &receiver->xmin));
	receiver->found = true;
	return true;
}

static char *
load_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "/* pg_orm load %s */ SELECT %s FROM %s AS t WHERE ",
					 class_comment(model), session_select_list(model, "t"),
					 model->relation_name);
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%st.%s %s $%d", i > 0 ? " AND " : "",
						 column_sql(model, model->keys[i].attnum),
						 operator_sql(model->keys[i].eq_operator), i + 1);
	return sql.data;
}

static void
load_execute(LoadReceiver *receiver, const Datum *key)
{
	Model	   *model = receiver->model;
	Oid		   *argtypes = palloc(model->nkeys * sizeof(Oid));
	Datum	   *values = palloc(model->nkeys * sizeof(Datum));
	StatementSubject subject = {.kind = STATEMENT_LOAD,.model = model};
	SPIPlanPtr	plan;

	receiver->pub = *None_Receiver;
	receiver->pub.receiveSlot = load_receive;
	for (int i = 0; i < model->nkeys; i++)
	{
		argtypes[i] = model->keys[i].typid;
		values[i] = key[i];
	}
	SPI_connect();
	plan = statement_plan(&subject, model->nkeys, argtypes, load_sql);
	own_statement_execute(plan, values, NULL, &receiver->pub);
	SPI_finish();
}

bool
session_load_by_key(Session *session, Model *model, const Datum *key,
					bool populate_existing)
{
	LoadReceiver receiver = {.session = session,.model = model,
	.populate_existing = populate_existing};

	load_execute(&receiver, key);
	return receiver.found;
}

bool
row_exists(Model *model, const Datum *key, TransactionId *xmin, int64 *number)
{
	LoadReceiver receiver = {.model = model};

	load_execute(&receiver, key);
	*xmin = receiver.xmin;
	*number = receiver.number;
	return receiver.found;
}
