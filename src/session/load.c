/*-------------------------------------------------------------------------
 *
 * load.c
 *	  Reading objects by their keys.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "compat.h"
#include "session/internal.h"

/* As many keys are looked up one by one where that needs no executor. */
#define KEYS_BY_HAND 100

/* Takes the rows into the session if there is one, else only looks at them. */
typedef struct LoadReceiver
{
	DestReceiver pub;
	Session    *session;
	Model	   *model;
	LoadMode	mode;
	bool	   *found;			/* of each key */
	int		   *at;				/* the key that it has come to */
	TransactionId xmin;
	int64		number;
} LoadReceiver;

static bool
load_receive(TupleTableSlot *slot, DestReceiver *self)
{
	LoadReceiver *receiver = (LoadReceiver *) self;

	if (receiver->session != NULL)
		(void) session_take_row_of(receiver->session, receiver->model, slot,
								   0, receiver->mode);
	else
		receiver->number =
			row_version_number(receiver->model,
							   row_of_loaded_slot(receiver->model, slot, 0,
												  &receiver->xmin));
	receiver->found[*receiver->at] = true;
	return true;
}

/* The same for a tuple as the table has it. */
static void
load_take(TupleTableSlot *slot, int i, void *arg)
{
	LoadReceiver *receiver = arg;
	bool		isnull;

	*receiver->at = i;
	if (receiver->session != NULL)
		(void) session_take_tuple_of(receiver->session, receiver->model, slot,
									 receiver->mode);
	else
	{
		receiver->number =
			row_version_number(receiver->model,
							   row_of_slot(receiver->model, slot, 0));
		receiver->xmin =
			DatumGetTransactionId(slot_getsysattr(slot,
												  MinTransactionIdAttributeNumber,
												  &isnull));
	}
	receiver->found[i] = true;
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

/* The rows of the keys; false if they need the statement for several keys. */
static bool
load_execute(LoadReceiver *receiver, int n, Datum **keys)
{
	Model	   *model = receiver->model;
	Oid		   *argtypes = palloc(model->nkeys * sizeof(Oid));
	StatementSubject subject = {.kind = STATEMENT_LOAD,.model = model};
	SPIPlanPtr	plan;
	bool		done;

	for (int i = 0; i < model->nkeys; i++)
		argtypes[i] = model->keys[i].typid;
	SPI_connect();
	plan = statement_plan(&subject, model->nkeys, argtypes, load_sql);
	done = key_read(plan, model, n, keys, load_take, receiver);
	if (!done && n == 1)
	{
		receiver->pub = *None_Receiver;
		receiver->pub.receiveSlot = load_receive;
		own_statement_execute(plan, keys[0], NULL, &receiver->pub);
		done = true;
	}
	SPI_finish();
	return done;
}

static bool
load_one(LoadReceiver *receiver, const Datum *key)
{
	Datum	   *only = unconstify(Datum *, key);
	bool		found = false;
	int			at = 0;

	receiver->found = &found;
	receiver->at = &at;
	(void) load_execute(receiver, 1, &only);
	return found;
}

bool
session_load_by_key(Session *session, Model *model, const Datum *key,
					bool populate_existing)
{
	LoadReceiver receiver = {
		.session = session,
		.model = model,
		.mode = populate_existing ? LOAD_OVERWRITE : LOAD_MISSING
	};

	return load_one(&receiver, key);
}

bool
row_exists(Model *model, const Datum *key, TransactionId *xmin, int64 *number)
{
	LoadReceiver receiver = {.model = model};
	bool		found = load_one(&receiver, key);

	*xmin = receiver.xmin;
	*number = receiver.number;
	return found;
}

/* ------------------------------------------------------------------------
 * several at once
 * ------------------------------------------------------------------------
 */
typedef struct KeysReceiver
{
	LoadReceiver load;
	MemoryContext row_context;
} KeysReceiver;

static bool
keys_receive(TupleTableSlot *slot, DestReceiver *self)
{
	LoadReceiver *receiver = (LoadReceiver *) self;
	MemoryContext row_context = ((KeysReceiver *) self)->row_context;
	MemoryContext old = MemoryContextSwitchTo(row_context);

	slot_getallattrs(slot);
	*receiver->at = DatumGetInt64(slot->tts_values[slot->tts_nvalid - 1]) - 1;
	(void) session_take_row_of(receiver->session, receiver->model, slot, 1,
							   receiver->mode);
	receiver->found[*receiver->at] = true;
	MemoryContextSwitchTo(old);
	MemoryContextReset(row_context);
	return true;
}

char *
numbered_rows_sql(Model *model)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "ROWS FROM (pg_catalog.unnest($1)) WITH ORDINALITY AS r (");
	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		if (!TupleDescAttr(model->tupdesc, i)->attisdropped)
			appendStringInfo(&sql, "n%d, ", i + 1);
	}
	appendStringInfoString(&sql, "o)");
	return sql.data;
}

static char *
load_all_sql(const StatementSubject *subject)
{
	Model	   *model = subject->model;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "/* pg_orm load %s */ SELECT %s, r.o FROM %s AS t, %s WHERE ",
					 class_comment(model), session_select_list(model, "t"),
					 model->relation_name, numbered_rows_sql(model));
	for (int i = 0; i < model->nkeys; i++)
		appendStringInfo(&sql, "%st.%s %s r.n%d", i > 0 ? " AND " : "",
						 column_sql(model, model->keys[i].attnum),
						 operator_sql(model->keys[i].eq_operator),
						 model->keys[i].attnum);
	return sql.data;
}

static void
load_all_execute(const LoadReceiver *load, int n, Datum **keys)
{
	KeysReceiver receiver = {.load = *load};
	Model	   *model = load->model;
	StatementSubject subject = {.kind = STATEMENT_LOAD_ALL,.model = model};
	Datum	   *rows;
	Datum		value;

	SPI_connect();
	receiver.load.pub = *None_Receiver;
	receiver.load.pub.receiveSlot = keys_receive;
	receiver.row_context = AllocSetContextCreate(CurrentMemoryContext,
												 "pg_orm loaded row",
												 ALLOCSET_SMALL_SIZES);
	rows = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
		rows[i] = row_of_key(model, keys[i]);
	value = PointerGetDatum(construct_array(rows, n, model->rowtype, -1,
											false, TYPALIGN_DOUBLE));
	own_statement_execute(statement_plan(&subject, 1, &model->array_type,
										 load_all_sql), &value, NULL,
						  &receiver.load.pub);
	SPI_finish();
}

/* What was loaded of a key that there is no row of now is no longer right. */
static void
expire_missing(Session *session, Model *model, const Datum *key)
{
	Object	   *object = session_find(session, model, key);

	if (object != NULL && object_may_be_outdated(object))
		object_expire_values(object);
}

void
session_load_by_keys(Session *session, Model *model, int n, Datum **keys,
					 LoadMode mode, bool *found, int *at)
{
	LoadReceiver receiver = {
		.session = session,
		.model = model,
		.mode = mode,
		.found = found,
		.at = at
	};

	*at = 0;
	if (n > KEYS_BY_HAND || !load_execute(&receiver, n, keys))
		load_all_execute(&receiver, n, keys);
	for (int i = 0; i < n && mode != LOAD_MISSING; i++)
	{
		if (!found[i])
			expire_missing(session, model, keys[i]);
	}
}

/* ------------------------------------------------------------------------
 * stale objects
 * ------------------------------------------------------------------------
 */
void
report_stale(Model *model, char *key, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("%s %s is stale: %s since it was loaded",
					model->class_name, key, what),
			 errhint("ROLLBACK and try again.")));
}
