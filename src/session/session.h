/*-------------------------------------------------------------------------
 *
 * session.h
 *	  What other modules may ask of sessions: the current session, its
 *	  identity map, flushing, and statements of pg_orm's own.
 *
 * Lifetime: a Session lives until it is closed or the backend ends; an
 * Object lives at most until the end of the transaction (longer only with
 * orm.expire_on_commit off) and may go away in any call that can run user
 * code or end a subtransaction, so pointers are not kept across those.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_SESSION_H
#define PG_ORM_SESSION_H

#include "access/htup.h"
#include "executor/execdesc.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "tcop/dest.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#include "model/model.h"

typedef struct Session Session;
typedef struct Object Object;

/* ------------------------------------------------------------------------
 * in session.c: registry and scope
 * ------------------------------------------------------------------------
 */

/*
 * The session that calls belong to now; made at its first use.  Its first use
 * in a transaction takes a slot of its engine, if it has one, and waits for
 * it (53300 after the engine's timeout).
 */
extern Session *session_current(void);

/* The current session if it exists already, else NULL. */
extern Session *session_current_if_any(void);

extern const char *session_name(Session *session);

/*
 * Raises 42501 in a security-restricted operation, 25006 in a read-only
 * transaction, and 25000 in a parallel worker: every call that changes
 * anything begins with it.
 */
extern void session_require_writable(const char *call);

/* ------------------------------------------------------------------------
 * in flush.c
 * ------------------------------------------------------------------------
 */

/* Why a flush runs: shown in the CONTEXT of its errors. */
typedef enum FlushReason
{
	FLUSH_EXPLICIT,				/* orm.flush() */
	FLUSH_DOCUMENT,				/* what a document says is written at once */
	FLUSH_KEYS,					/* a key is wanted that a trigger makes */
	FLUSH_AUTOFLUSH,			/* before a statement that may read tables */
	FLUSH_SAVEPOINT,			/* before a savepoint */
	FLUSH_COMMIT				/* the transaction ends */
} FlushReason;

/*
 * Writes everything that the session has pending and returns the number of
 * rows written.  May run any user code (triggers, policies).
 */
extern int64 session_flush(Session *session, FlushReason reason);

/* ------------------------------------------------------------------------
 * in identity_map.c: objects
 *
 * An object belongs to the user and row-security setting it was loaded
 * under; only those of the present user and setting are found or returned.
 * ------------------------------------------------------------------------
 */

/*
 * The select list of a statement whose rows go to session_take_row: the
 * columns of alias, and behind them the version of the row where it has one.
 */
extern char *session_select_list(Model *model, const char *alias);

/*
 * A stored row was read: makes or refreshes the object of its identity, and
 * returns the row that the session shows for it, which is a composite Datum
 * in the current memory context.  slot holds what
 * session_select_list names.  Without populate_existing, values already loaded and
 * pending changes stay as they are; with it they are overwritten.
 */
extern Datum session_take_row(Session *session, Model *model,
							  TupleTableSlot *slot, bool populate_existing);

/*
 * The same for a slot that holds a tuple as the table has it, with its system
 * columns.  0 if the session shows what the slot has.
 */
extern Datum session_take_tuple(Session *session, Model *model,
								TupleTableSlot *slot, bool populate_existing);

/*
 * What the session shows in place of a stored row, without taking anything
 * in.  0 if it has nothing else to show.
 */
extern Datum session_shown_row(Session *session, Model *model,
							   TupleTableSlot *slot);

/* The number of the model's objects in the session, of whichever user. */
extern uint32 session_object_count(Session *session, Model *model);

/* Moves whenever a session of the backend gets an object. */
extern uint64 session_objects_made;

/*
 * Has a statement that has given so many rows to session_take_row filled the
 * session?  Then there are no other clean objects, and it need not take more:
 * a scan of a large table so leaves the identity map within
 * orm.identity_map_limit at the cost of that many objects.
 */
extern bool session_is_filled(uint64 taken);

/* May rows go past the session then, since it has no changed objects? */
extern bool session_may_pass_by(Session *session, Model *model, uint64 taken);

/* The object with that key, or NULL.  Deleted ones are found too. */
extern Object *session_find(Session *session, Model *model,
							const Datum *key);

/*
 * The session's objects of a model that have a stored row (persistent, not
 * flushed-deleted): List of Object *, in no order.
 */
extern List *session_persistent_objects(Session *session, Model *model);

/* The stored row as the session knows it; NULL if expired or pending. */
extern HeapTuple object_stored_row(Object *object);

/* The key under which the session knows the object: values[nkeys]. */
extern const Datum *object_key(Object *object);

extern bool object_is_modified(Object *object);

/* Is its stored row what a statement of this transaction sees? */
extern bool object_row_is_certain(Object *object);

/* A bulk statement's rows are written, and the objects left as they were. */
extern void session_objects_left_alone(Session *session, Model *model);

/*
 * After a bulk statement the object's stored row is row (copied).  Pending
 * changes of the columns in set_columns (attribute numbers, offset by
 * FirstLowInvalidHeapAttributeNumber) are overwritten, others are kept.  A
 * changed key gives the object its new identity.
 */
extern void object_synchronize(Object *object, HeapTuple row,
							   Bitmapset *set_columns);

/* After a bulk statement the object's row is gone. */
extern void object_deleted_by_statement(Object *object);

/* Forgets loaded values, never pending changes. */
extern void object_expire_values(Object *object);

/*
 * Forgets the loaded values of a model's objects in every session of the
 * backend, or (except) in all but the current user's objects of one session.
 */
extern void sessions_expire_model(Oid relid, Session *except);

/* The same for a relation that was written to, its children and ancestors. */
extern void sessions_expire_written(Oid relid, Session *except);

/* ------------------------------------------------------------------------
 * in autoflush.c
 * ------------------------------------------------------------------------
 */

/* session_flush before a read or bulk change, unless orm.autoflush is off. */
extern void session_autoflush(Session *session);

/* ------------------------------------------------------------------------
 * in own_statement.c: statements of pg_orm's own
 * ------------------------------------------------------------------------
 */

/*
 * Executes a plan as pg_orm's own statement, its rows going to dest (never
 * NULL): the statement itself neither autoflushes nor expires objects; what
 * its triggers and functions run does both.  Needs an SPI connection.
 * Returns the number of rows processed.
 */
extern uint64 own_statement_execute(SPIPlanPtr plan, Datum *values,
									const char *nulls, DestReceiver *dest);

/*
 * The same for a query, with the active snapshot as it is; 40001 if a table
 * was rewritten since that was taken.
 */
extern uint64 own_statement_read(SPIPlanPtr plan, Datum *values,
								 const char *nulls, DestReceiver *dest);

/* The values as the parameters of a plan, or NULL if it has none. */
extern ParamListInfo own_statement_params(SPIPlanPtr plan, Datum *values,
										  const char *nulls);

/*
 * A query of pg_orm's own whose rows are asked for one by one, outside of SPI
 * but with a plan of it.  It lives in the memory context that is current when
 * it begins; its locks, snapshot and plan belong to the resource owner of
 * then.
 */
typedef struct OwnScan
{
	PlanState  *planstate;
	QueryDesc  *query_desc;
	CachedPlan *plan;
	ResourceOwner owner;
	MemoryContext context;		/* of the executor run */
	Snapshot	snapshot;		/* if its functions may read tables */
	ErrorContextCallback callback;
	struct OwnReceiver *receiver;
} OwnScan;

static inline void
own_scan_enter(OwnScan *scan)
{
	scan->callback.previous = error_context_stack;
	error_context_stack = &scan->callback;
}

static inline void
own_scan_leave(OwnScan *scan)
{
	error_context_stack = scan->callback.previous;
}

/*
 * NULL if the plan is a parallel one, which has to be run at once, or if
 * stored_tuples are wanted and it is none that could hand out those.
 * is_mutable: the text calls functions that are not immutable.
 */
extern OwnScan *own_scan_begin(SPIPlanPtr plan, Datum *values,
							   const char *nulls, bool is_mutable,
							   bool stored_tuples);

/* Its next row, in a slot of its own; empty or NULL at the end. */
static inline TupleTableSlot *
own_scan_next(OwnScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	TupleTableSlot *slot;

	own_scan_enter(scan);
	if (scan->snapshot != NULL)
		PushActiveSnapshot(scan->snapshot);
	slot = ExecProcNode(scan->planstate);
	if (scan->snapshot != NULL)
		PopActiveSnapshot();
	own_scan_leave(scan);
	MemoryContextSwitchTo(old);
	return slot;
}

/* From its first row on again. */
extern void own_scan_rescan(OwnScan *scan);
extern void own_scan_end(OwnScan *scan);

/*
 * Who wants to see pg_orm's own statements: started is called before the
 * executor starts, so that it may ask for instrumentation, ended before the
 * plan's state is gone.  Whoever sets it sees to it that it is unset again,
 * on error too.
 */
typedef struct OwnStatementObserver
{
	void		(*started) (QueryDesc *query_desc);
	void		(*ended) (QueryDesc *query_desc);
} OwnStatementObserver;

extern const OwnStatementObserver *own_statement_observer;

/* ------------------------------------------------------------------------
 * in row.c: documents and rows
 * ------------------------------------------------------------------------
 */

/*
 * A row of the model from a JSON object: base (a composite Datum of the row
 * type, or 0 for all NULLs) with the columns that doc names replaced, by the
 * rules of jsonb_populate_record.  The columns named are added to *given
 * (attribute numbers, offset by FirstLowInvalidHeapAttributeNumber).  A key
 * that is no column is 42703 with the nearest name, a doc that is no object
 * is 22023.
 */
extern Datum row_from_document(Model *model, Datum base, Datum doc,
							   Bitmapset **given);

/* init, called by _PG_init */
extern void session_init(void);

#endif							/* PG_ORM_SESSION_H */
