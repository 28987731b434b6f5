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

/* The value of a relationship in a document. */
typedef struct SavedRelationship
{
	SelectionField *field;
	JsonbValue	value;
} SavedRelationship;

/* A document taken apart by its selection. */
typedef struct SavedDocument
{
	Jsonb	   *columns;		/* by the names of the columns */
	List	   *relationships;	/* SavedRelationship * */
	char	   *etag;			/* or NULL */
} SavedDocument;

/*
 * Takes the document of an object apart; 42703 for a key that the selection
 * does not have, 22023 for what is no JSON object or no etag.
 */
extern SavedDocument document_take_apart(Selection *selection, Jsonb *doc);

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
extern void document_require_values(Model *model, Datum row);

#endif							/* PG_ORM_DOCUMENT_PARTS_H */
