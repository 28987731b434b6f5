/*-------------------------------------------------------------------------
 *
 * pull.c
 *	  A query whose rows are asked for one by one and go into the session on
 *	  their way to whoever asks.
 *
 * The statement is the one that query.c executes, without what its rows cost
 * on their way through a function's result.  Where the executor hands out
 * the table's own tuples, a row's xmin is read from there and is not in the
 * select list, so that nothing is projected; otherwise the statement has it as
 * a column.
 *
 * Between two rows the caller may do anything at all.  A row that was read
 * before something was written is what the statement saw, but no longer what
 * is stored, and one that was read for one user or session is not another's:
 * such rows are handed out and not taken into the session.
 *
 * Everything lives in a memory context of the pull.  Locks, snapshot and
 * plan are those of an executor run, and belong to the resource owner that
 * the pull was started under.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rls.h"

#include "compat.h"
#include "query/internal.h"
#include "session/session.h"

/* ------------------------------------------------------------------------
 * start and end
 * ------------------------------------------------------------------------
 */

/* Are the statement's rows tuples of the table, as they are stored? */
static bool
gives_stored_tuples(OwnScan *scan)
{
	bool		fixed;

	return ExecGetResultSlotOps(scan->planstate, &fixed) ==
		&TTSOpsBufferHeapTuple && fixed;
}

static bool
pull_open(RowPull *pull, bool stored_tuples)
{
	MemoryContext old = MemoryContextSwitchTo(pull->context);
	KeptStatement *kept = pull->query.kept;

	pull->scan = own_scan_begin(kept->plan, pull->query.values,
								pull->query.nulls, kept->is_mutable,
								stored_tuples);
	MemoryContextSwitchTo(old);
	return pull->scan != NULL;
}

/*
 * Opens the statement.  Whether it can do without the version in the select
 * list is known when its plan is; a no is remembered.
 */
static bool
pull_open_suitably(RowPull *pull, FunctionCallInfo fcinfo)
{
	KeptStatement *kept = pull->query.kept;

	if (kept->is_volatile)
		return false;			/* it may do anything between two rows */
	if (!pull->loads)
		return pull_open(pull, false);
	if (!kept->rebuilds_tuples && pull_open(pull, true))
	{
		if (gives_stored_tuples(pull->scan))
			return true;
		own_scan_end(pull->scan);
	}
	kept->rebuilds_tuples = true;
	pull->with_version = true;
	query_prepare(&pull->query, fcinfo, &query_signature, true);
	return pull_open(pull, false);
}

/* Do the rows have the columns that the caller expects? */
static bool
has_columns(Model *model, TupleDesc expected)
{
	TupleDesc	tupdesc = model->tupdesc;

	if (tupdesc->natts != expected->natts)
		return false;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (attribute->attisdropped ||
			attribute->atttypid != TupleDescAttr(expected, i)->atttypid)
			return false;
	}
	return true;
}

/* Nothing has to be looked at in a session without objects of the model. */
static void
pull_decide_passing(RowPull *pull)
{
	Model	   *model = pull->query.model;

	pull->passing = pull->loads ?
		session_may_pass_by(pull->session, model, pull->taken) :
		session_object_count(pull->session, model) == 0;
	pull->objects_made = session_objects_made;
}

static void
pull_note_state(RowPull *pull)
{
	pull->userid = GetUserId();
	pull->row_security = row_security;
	pull->command = GetCurrentCommandId(false);
	pull_decide_passing(pull);
}

RowPull *
row_pull_start(FunctionCallInfo fcinfo, bool loads, TupleDesc expected)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "pg_orm query scan",
												  ALLOCSET_SMALL_SIZES);
	RowPull    *pull = MemoryContextAllocZero(context, sizeof(RowPull));
	bool		opened;

	pull->context = context;
	pull->row_context = AllocSetContextCreate(context, "pg_orm row",
											  ALLOCSET_SMALL_SIZES);
	pull->populate_existing =
		!PG_ARGISNULL(query_signature.populate_existing) &&
		PG_GETARG_BOOL(query_signature.populate_existing);
	pull->loads = loads || pull->populate_existing;

	SPI_connect();
	pull->query.context = context;
	pull->session = query_start(&pull->query, fcinfo, &query_signature, false);
	opened = has_columns(pull->query.model, expected) &&
		pull_open_suitably(pull, fcinfo);
	SPI_finish();
	if (!opened)
	{
		MemoryContextDelete(context);
		return NULL;
	}

	pull->shown = MakeSingleTupleTableSlot(pull->query.model->tupdesc,
										   &TTSOpsHeapTuple);
	pull->narrow = MakeSingleTupleTableSlot(pull->query.model->tupdesc,
											&TTSOpsVirtual);
	pull_note_state(pull);
	return pull;
}

void
row_pull_end(RowPull *pull)
{
	ExecDropSingleTupleTableSlot(pull->shown);
	ExecDropSingleTupleTableSlot(pull->narrow);
	own_scan_end(pull->scan);
	MemoryContextDelete(pull->context);
}

void
row_pull_rescan(RowPull *pull)
{
	own_scan_rescan(pull->scan);
}

TupleDesc
row_pull_tupdesc(RowPull *pull)
{
	return pull->query.model->tupdesc;
}

/* ------------------------------------------------------------------------
 * rows
 * ------------------------------------------------------------------------
 */

/* Is the session still the one that rows were asked for? */
static bool
is_same_scope(RowPull *pull)
{
	return session_current_if_any() == pull->session &&
		GetUserId() == pull->userid && row_security == pull->row_security;
}

/* A row that is no longer the slot's own. */
static TupleTableSlot *
pull_show(RowPull *pull, HeapTupleHeader row)
{
	pull->shown_row.t_data = row;
	pull->shown_row.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&pull->shown_row.t_self);
	pull->shown_row.t_tableOid = InvalidOid;
	return ExecStoreHeapTuple(&pull->shown_row, pull->shown, false);
}

/* The row itself, without the version that was read along with it. */
static TupleTableSlot *
pull_show_slot(RowPull *pull, TupleTableSlot *slot)
{
	TupleTableSlot *narrow = pull->narrow;
	int			natts = narrow->tts_tupleDescriptor->natts;

	if (slot->tts_tupleDescriptor->natts == natts)
		return slot;
	slot_getsomeattrs(slot, natts);
	ExecClearTuple(narrow);
	memcpy(narrow->tts_values, slot->tts_values, natts * sizeof(Datum));
	memcpy(narrow->tts_isnull, slot->tts_isnull, natts * sizeof(bool));
	return ExecStoreVirtualTuple(narrow);
}

/*
 * Does the next row become an object?  Not when something was written since
 * it was read, nor when the session is full of this statement's rows.
 */
static bool
pull_loads(RowPull *pull)
{
	return pull->loads &&
		(pull->populate_existing || !session_is_filled(pull->taken)) &&
		GetCurrentCommandId(false) == pull->command;
}

/* The row as the session shows it, which may take it in. */
static TupleTableSlot *
pull_take(RowPull *pull, TupleTableSlot *slot)
{
	Model	   *model = pull->query.model;
	Datum		row;

	if (!is_same_scope(pull))
		return pull_show_slot(pull, slot);
	if (pull_loads(pull))
	{
		pull->taken++;
		if (pull->with_version)
			row = session_take_row(pull->session, model, slot,
								   pull->populate_existing);
		else
			row = session_take_tuple(pull->session, model, slot,
									 pull->populate_existing);
	}
	else
		row = session_shown_row(pull->session, model, slot);
	if (row == (Datum) 0)
		return pull_show_slot(pull, slot);
	return pull_show(pull, DatumGetHeapTupleHeader(row));
}

TupleTableSlot *
row_pull_take(RowPull *pull, TupleTableSlot *slot)
{
	MemoryContext old;

	if (pull->passing && pull->objects_made == session_objects_made)
		return pull_show_slot(pull, slot);
	MemoryContextReset(pull->row_context);
	old = MemoryContextSwitchTo(pull->row_context);
	slot = pull_take(pull, slot);
	MemoryContextSwitchTo(old);
	if (is_same_scope(pull))
		pull_decide_passing(pull);
	return slot;
}
