/*-------------------------------------------------------------------------
 *
 * save_object.h
 *	  Writing one object of a document: what saving.c needs of
 *	  save_object.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_SAVE_OBJECT_H
#define PG_ORM_DOCUMENT_SAVE_OBJECT_H

#include "document/parts.h"
#include "document/saving.h"

/* What columns are that are known from elsewhere than the document. */
typedef enum KnownColumns
{
	KNOWN_OWNER,				/* a foreign key to the owner */
	KNOWN_KEY,					/* the key, which the document cannot change */
	KNOWN_DEFAULT_KEY			/* the key, unless the document has another */
} KnownColumns;

/* Writes the object of a node and all below it; returns its row. */
extern Datum save_object(SaveContext *context, SavedNode *node,
						 const ForeignKeyValues *known, KnownColumns meaning,
						 SaveMode mode);

/*
 * The key that a document means, or NULL, and its columns as a row.  *known
 * becomes NULL where the document knows better.
 */
extern Datum *saved_key(SavedNode *node, const ForeignKeyValues **known,
						KnownColumns meaning, Datum *row);

/* The object of a row that this call has read, its row known. */
extern Object *known_object(SaveContext *context, Model *model, Datum row);

/* 42501 unless the level may be written so. */
extern void require_allowed(SaveContext *context, Selection *level, int what,
							const char *action);

#endif							/* PG_ORM_DOCUMENT_SAVE_OBJECT_H */
