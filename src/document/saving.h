/*-------------------------------------------------------------------------
 *
 * saving.h
 *	  Writing documents through the unit of work.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_SAVING_H
#define PG_ORM_DOCUMENT_SAVING_H

#include "document/selection.h"
#include "session/graph.h"

/* What is to become of the root object. */
typedef enum SaveMode
{
	SAVE_MERGE,					/* inserted or updated, by its key */
	SAVE_INSERT,				/* there must be none with its key */
	SAVE_UPDATE					/* there must be one with its key */
} SaveMode;

/*
 * Writes a document of the selection into the session and flushes; returns
 * the root's key.  Key columns that are known need not be in the document, and
 * cannot be other ones there (NULL: none are known).  An _etag in the document must be that of what is stored.
 * Errors have the JSON path of the place as CONTEXT.
 */
extern Datum *document_save(Session *session, Selection *selection,
							Jsonb *doc, const ForeignKeyValues *key_columns,
							SaveMode mode);

/*
 * Deletes the object of that key, and of its collections what the selection
 * says; flushes.  etag must be that of what is stored (NULL: no check).
 */
extern void document_delete(Session *session, Selection *selection,
							const Datum *key, const char *etag);

/*
 * Locks the objects that a document of the selection is made of, as far as
 * they can be written, in key order; 40001 unless its etag is the expected
 * one.  In lock.c.
 */
extern void document_check_etag(Selection *selection, const Datum *key,
								const char *expected);

/* May a level of the selection be written so (ALLOW_ bits)? */
extern bool selection_allows(Selection *root, Selection *level, int what);

/* Do documents of the selection have the key of its objects? */
extern bool selection_shows_key(Selection *selection);

#endif							/* PG_ORM_DOCUMENT_SAVING_H */
