/*-------------------------------------------------------------------------
 *
 * reader.h
 *	  Reading documents.
 *
 * A Reader is made once for a selection and may be run any number of times
 * while model_generation() is what it was before; everything of it is below
 * the memory context that it was made in.  A run executes at most one
 * statement for each level of the selection, all of them with the active
 * snapshot.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_READER_H
#define PG_ORM_DOCUMENT_READER_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "document/selection.h"

/* What is to be read; the criteria are those of orm.find. */
typedef struct ReaderRequest
{
	const char *call;			/* "orm.find", for messages */
	Selection  *selection;
	bool		etag;			/* the sink wants etags */
	bool		by_keys;		/* for reader_run_keys and nothing else */
	char	   *filter;
	Jsonb	   *filter_by;
	char	   *order_by;
	Jsonb	   *params;
	bool		has_limit;
	int64		limit;
	bool		has_offset;
	int64		offset;
} ReaderRequest;

typedef struct Reader Reader;

/* A hex digest with its zero byte. */
#define ETAG_LENGTH 33

/*
 * Takes the documents: json is the sink's to read until it returns; etag is
 * NULL unless it was asked for.
 */
typedef void (*DocumentSink) (void *arg, StringInfo json, const char *etag);

extern Reader *reader_create(const ReaderRequest *request);

/*
 * The criteria of the next run, for a reader that was made without any; they
 * and the current memory context live as long as that.  Params are not among
 * them, since they are of the fields' criteria as well.
 */
extern void reader_set_criteria(Reader *reader, const ReaderRequest *criteria);
extern Selection *reader_selection(Reader *reader);

/*
 * Frees what a run has read that was stopped by an error; safe while the
 * transaction is rolled back.
 */
extern void reader_forget(Reader *reader);

/* Is there anything wrong with the criteria?  Before anything is flushed. */
extern void reader_check(Reader *reader);

/* Documents by the request's criteria. */
extern void reader_run(Reader *reader, DocumentSink sink, void *arg);

/* The document of that key, as in Model.keys; false if there is none. */
extern bool reader_run_key(Reader *reader, const Datum *key,
						   DocumentSink sink, void *arg);

/*
 * The documents of those keys, in their order; -1, or the number of the first
 * that there is none of, and then the sink gets none of them.  rows are what
 * is stored of them, or NULL if that is not known.
 */
extern int	reader_run_keys(Reader *reader, int n, Datum **keys,
							HeapTuple *rows, DocumentSink sink, void *arg);

/* The document of a row value; its columns are taken as they are. */
extern void reader_run_row(Reader *reader, HeapTupleHeader row,
						   DocumentSink sink, void *arg);

#endif							/* PG_ORM_DOCUMENT_READER_H */
