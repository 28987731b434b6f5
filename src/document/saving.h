/*-------------------------------------------------------------------------
 *
 * saving.h
 *	  Writing documents through the unit of work.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_SAVING_H
#define PG_ORM_DOCUMENT_SAVING_H

#include "document/reader.h"
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
 * What reads the documents of a selection, as far as wanted: kept readers,
 * which are the caller's as kept_reader_get() says.
 */
typedef struct DocumentReaders
{
	Model	   *model;
	const char *text;
	Selection  *selection;		/* of the first of them */
	Reader	   *readers[2];		/* without and with etags, or NULL */
} DocumentReaders;

/* With the reader that is certainly wanted. */
extern DocumentReaders document_readers(Model *model, const char *selection,
										bool etag);

/* The one with or without etags. */
extern Reader *document_reader(DocumentReaders *readers, bool etag);

/*
 * Writes documents of the selection (Jsonb *), which are an array or one, into
 * the session and flushes once; returns the keys of the roots.  Key columns
 * that are known need not be in the document, and cannot be other ones there
 * (NULL: none are known).  An _etag in a document must be that of what is
 * stored; if it was checked before, load is LOAD_REFRESH.  Errors have the JSON
 * path of the place as CONTEXT.
 */
extern Datum **documents_save(Session *session, DocumentReaders *readers,
							  List *docs, bool many,
							  const ForeignKeyValues *key_columns,
							  SaveMode mode, LoadMode load);

/*
 * Deletes the object of that key, and of its collections what the selection
 * says; flushes.  etag must be that of what is stored (NULL: no check).
 */
extern void document_delete(Session *session, DocumentReaders *readers,
							Datum *key, char *etag);

/*
 * Locks the objects that documents of the selection are made of, as far as
 * they can be written, in key order; returns the number of the first whose
 * etag is not the expected one, or -1.  What the session has loaded of them
 * may be older than the lock, and has to be refreshed.  In lock.c.
 */
extern int	documents_check_etags(DocumentReaders *readers, int n,
								  Datum **keys, char **expected);
pg_noreturn extern void report_stale_document(Model *model, const Datum *key);

/* May a level of the selection be written so (ALLOW_ bits)? */
extern bool selection_allows(Selection *root, Selection *level, int what);

/* Does the selection show only some of the members? */
extern bool selection_field_is_partial(SelectionField *field);

/* Do documents of the selection have the key of its objects? */
extern bool selection_shows_key(Selection *selection);

#endif							/* PG_ORM_DOCUMENT_SAVING_H */
