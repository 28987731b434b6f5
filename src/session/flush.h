/*-------------------------------------------------------------------------
 *
 * flush.h
 *	  What the files of a flush share: flush.c finds the batches and their
 *	  order, flush_batch.c writes one, flush_self.c orders the rows of one,
 *	  flush_sql.c has the statements.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_SESSION_FLUSH_H
#define PG_ORM_SESSION_FLUSH_H

#include "session/internal.h"

/* Objects of one user and model with one kind of change. */
typedef struct FlushBatch
{
	Session    *session;
	Model	   *model;
	StatementKind kind;
	Bitmapset  *columns;		/* that the statement names */
	List	   *objects;		/* Object * */

	/* in flush_order.c: columns of foreign keys that cannot be satisfied yet */
	Bitmapset  *late_columns;	/* to tables written after this one */
	List	   *self_keys;		/* to the table itself: ForeignKeyCacheInfo * */
	Bitmapset  *self_columns;	/* of these, that may be NULL */
	bool		one_by_one;		/* in flush_batch.c: a statement for each row */
	Size		chunk_bytes;	/* of rows for one statement, roughly */
	Oid			unordered;		/* a late target that may not be NULL */
} FlushBatch;

/*
 * The relids of the batches' tables, referenced ones first; fills in the
 * batches' late columns.
 */
extern List *flush_order(List *batches);

/* One object while its statement runs. */
typedef struct FlushItem
{
	Object	   *object;
	Datum	   *key;			/* under which its row comes back */
	uint32		revision;		/* of its changes when they were sent */
	bool		written;		/* its row was stored */
	HeapTuple	row;			/* to be sent; after that the one that came
								 * back, in the session's memory */
	Datum		sent;			/* the row that was sent */
} FlushItem;

/* ------------------------------------------------------------------------
 * in flush_items.c
 * ------------------------------------------------------------------------
 */

/* The batch's objects as items in the order of their keys. */
extern FlushItem *flush_batch_items(FlushBatch *batch);
extern void flush_sort_items(FlushBatch *batch, FlushItem *items, int nitems);

/* The row that the batch's statement is sent for the item. */
extern HeapTuple flush_item_row(FlushBatch *batch, FlushItem *item);

/* Rows that reference each other, where no column may be NULL meanwhile. */
pg_noreturn extern void flush_report_unordered(FlushBatch *batch);

/* Parameters of a statement: the items' rows, keys as rows, versions. */
extern Datum flush_rows_array(Model *model, FlushItem *items, int nitems);
extern Datum flush_old_rows_array(Model *model, FlushItem *items, int nitems);
extern Datum flush_versions_array(FlushBatch *batch, FlushItem *items,
								  int nitems);

/* A row that is sent alone, and the parameters of a statement that does it. */
typedef struct FlushParameters
{
	Datum	   *values;
	char	   *nulls;
} FlushParameters;

extern void flush_send_row(Model *model, FlushItem *item);
extern FlushParameters flush_row_parameters(const StatementSubject *subject,
											FlushItem *item);

/* The item of a key, among items in the order of their keys, or NULL. */
extern FlushItem *flush_item_find(Model *model, FlushItem *items, int nitems,
								  const Datum *key);

/*
 * Puts rows that several statements will insert, given in the order of their
 * keys, into one where each comes after those that it references, and that is
 * otherwise the same.  Returns false if there is none, since rows reference
 * each other in a circle, or if that is not known, since they do so by other
 * columns than the primary key: then the order is right for foreign keys that
 * cannot be NULL, if there is one for these.
 */
extern bool flush_order_items(FlushBatch *batch, FlushItem *items, int nitems);

/*
 * Are the rows of an INSERT stored as they are sent, so that none have to come
 * back?  Then nothing can make it otherwise before the INSERT runs.
 */
extern bool flush_stores_as_sent(const FlushBatch *batch);

/* Writes a batch and marks its objects; returns the number of rows. */
extern int64 flush_batch(FlushBatch *batch);

/*
 * The rows of a batch let go of those that its late columns reference: before
 * any DELETE of what is deleted before them.
 */
extern void flush_release(FlushBatch *batch);

/*
 * For error callbacks during a flush: what its present statement writes, and
 * the number of the object that it has most likely come to (nobjects if it is
 * past all of them, or not known).  False if no statement is being executed.
 */
typedef struct FlushProgress
{
	Model	   *model;
	StatementKind kind;
	int			nobjects;
	int			next;
} FlushProgress;

extern bool flush_progress(FlushProgress *progress);
extern Object *flush_progress_object(int i);

/* The row that was sent for it; of a DELETE or a link only the key. */
extern Datum flush_progress_row(int i);

/* A flush begins. */
extern void flush_progress_reset(void);

/* What kind of statement writes the object's pending change. */
extern StatementKind flush_change_kind(Model *model, ObjectVersion *version);

/* "INSERT", "UPDATE" or "DELETE" */
extern const char *flush_kind_text(StatementKind kind);

/* What the batch's statement is about, if it writes so many of its objects. */
extern StatementSubject flush_subject(const FlushBatch *batch, int nobjects);

/*
 * The statements that delete the link rows of what a batch deletes: List of
 * StatementSubject *.
 */
extern List *flush_unlink_subjects(const FlushBatch *batch, int nobjects);

/*
 * The parameters of a statement of one row: columns of the row that is sent,
 * those of the key by which the stored one is found, and then its version.
 */
typedef struct FlushColumns
{
	int			n;
	AttrNumber *attnums;
	bool		old_key;		/* the last model->nkeys are of the key */
	bool		version;
} FlushColumns;

extern FlushColumns flush_columns(const StatementSubject *subject);

/* The kept plan of a statement of a flush, and its text. */
extern SPIPlanPtr flush_plan(const StatementSubject *subject);
extern char *flush_text(const StatementSubject *subject);

/* Type of the versions that an UPDATE or DELETE is sent: bigint or xid. */
extern Oid	flush_version_type(Model *model);

#endif							/* PG_ORM_SESSION_FLUSH_H */
