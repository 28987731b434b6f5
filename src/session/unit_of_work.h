/*-------------------------------------------------------------------------
 *
 * unit_of_work.h
 *	  What the session calls do to objects; used within the session module
 *	  and by whoever writes graphs of objects.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_UNIT_OF_WORK_H
#define PG_ORM_UNIT_OF_WORK_H

#include "session/session.h"

/*
 * Adds a row of the model (a composite Datum with defaults applied); given
 * are the columns that the INSERT names.  An object of that key in the
 * session is unique_violation (23505), unless it is marked deleted.
 */
extern Object *session_add(Session *session, Model *model, Datum row,
						   Bitmapset *given);

/*
 * The object that a row names by its key, its row known; no_data_found
 * (P0002) if the row is NULL or there is none with that key.
 */
extern Object *session_object(Session *session, Model *model,
							  HeapTupleHeader row);

/*
 * 23502 if a column of the key is NULL, of those given or (NULL) of all.  The
 * unit of work itself may set it so: an orphan is deleted by the flush.
 */
extern void require_key(Model *model, HeapTuple row, Bitmapset *given);

/* Gives the object, whose row is known, the row's values of those columns. */
extern void session_set(Model *model, Object *object, Datum row,
						Bitmapset *columns);

/* Takes the deleted mark off, and off what was deleted with the object. */
extern void session_undelete(Model *model, Object *object);

/*
 * Marks the object deleted, and what its relationships' cascades lead to; a
 * pending one leaves the session.
 */
extern void session_delete(Model *model, Object *object);

/* Forgets loaded values and pending changes; 55000 for a pending object. */
extern void session_expire(Model *model, Object *object);

/* Takes the object out of the session, with its pending changes. */
extern void object_expunge(Object *object);

/* Visits the objects of the present user; visit may expunge its object. */
extern void session_each_object(Session *session,
								void (*visit) (Object *object, void *arg),
								void *arg);

#endif							/* PG_ORM_UNIT_OF_WORK_H */
