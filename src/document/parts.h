/*-------------------------------------------------------------------------
 *
 * parts.h
 *	  The parts of a document that is to be written.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_PARTS_H
#define PG_ORM_DOCUMENT_PARTS_H

#include "document/selection.h"
#include "session/internal.h"

/* The value of a relationship in a document. */
typedef struct SavedRelationship
{
	SelectionField *field;
	JsonbValue	value;
	List	   *nodes;			/* SavedNode *, of what it leads to */
	bool		is_read;		/* the next is what is stored */
	List	   *before;			/* rows of the members */
	List	   *dropped;		/* Object *, members or links it has no more */
} SavedRelationship;

/* A document taken apart by its selection. */
typedef struct SavedDocument
{
	Jsonb	   *columns;		/* by the names of the columns */
	List	   *relationships;	/* SavedRelationship * */
	char	   *etag;			/* or NULL */
} SavedDocument;

/* A document, or an object within one, on its way into the session. */
typedef struct SavedNode
{
	Selection  *selection;
	Jsonb	   *doc;
	SavedDocument parts;
	struct SavedNode *parent;	/* NULL for a document */
	SavedRelationship *entry;	/* of the parent, that has it */
	int			index;			/* in an array, or -1 */
	Datum	   *key;			/* as far as the document tells, or NULL */
	Datum		row;			/* its columns, if it has a key */
	bool		has_key;		/* itself, without what is known elsewhere */
	bool		is_looked_up;	/* the next is known of that key */
	bool		exists;
	Object	   *object;			/* that it was made; may be gone */
	Object	   *link;			/* to its owner, that was made; may be gone */
} SavedNode;

/* What is written by one call, and where in its documents we are. */
typedef struct SaveContext
{
	Session    *session;
	Selection  *root;
	MemoryContext memory;		/* of the call */
	LoadMode	mode;			/* of what is stored */
	List	   *nodes;			/* SavedNode *, of the documents */
	SavedNode  *node;			/* NULL at the beginning */
	SavedRelationship *entry;	/* of the node, or NULL */
	SavedNode **reading;		/* or that of these nodes */
	int			at;				/* which has this number */
} SaveContext;

/*
 * Takes the document of an object apart; 42703 for a key that the selection
 * does not have, 22023 for what is no JSON object or no etag.
 */
extern SavedDocument document_take_apart(Selection *selection, Jsonb *doc);

/*
 * The same for all that the document has in it; the context is where it is
 * looked at meanwhile.  index is -1 for what stands alone.
 */
extern SavedNode *document_tree(SaveContext *context, Selection *selection,
								Jsonb *doc, int index);

/* May the node's object be known by the key that its owner leads to? */
extern bool saved_node_takes_known_key(SavedNode *node);

/* ------------------------------------------------------------------------
 * in prefetch.c
 * ------------------------------------------------------------------------
 */

/*
 * Reads what is stored of all that the documents name, level by level, at
 * most two statements for each relationship of the selection.
 */
extern void documents_prefetch(SaveContext *context);

/* ------------------------------------------------------------------------
 * in place.c
 * ------------------------------------------------------------------------
 */

/* For an error context callback: the path of the place as CONTEXT. */
extern void place_error_context(void *arg);

/* ------------------------------------------------------------------------
 * in values.c
 * ------------------------------------------------------------------------
 */

/*
 * The new row, with JSON columns as before where they mean the same; columns
 * are those that the document gives.
 */
extern Datum document_keep_json(Model *model, Datum before, Datum row,
								Bitmapset *columns);

/* 23502 for a column of a new row that must have a value and has none. */
extern void document_require_values(Model *model, const bool *nulls);

#endif							/* PG_ORM_DOCUMENT_PARTS_H */
