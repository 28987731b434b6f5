/*-------------------------------------------------------------------------
 *
 * selection.h
 *	  Selections: which part of a graph of objects a document has.
 *
 * Lifetime: all of a selection is in the memory context that was current when
 * it was made.  Models and relationships in it live until the end of the
 * transaction; a selection kept longer is made anew when model_generation()
 * has moved.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_SELECTION_H
#define PG_ORM_DOCUMENT_SELECTION_H

#include "utils/jsonb.h"

#include "model/model.h"

/* What a selection allows to be written at one of its levels. */
#define ALLOW_INSERT	0x01
#define ALLOW_UPDATE	0x02
#define ALLOW_DELETE	0x04

#define ETAG_FIELD "_etag"

typedef enum SelectionFieldKind
{
	FIELD_COLUMN,
	FIELD_FUNCTION,				/* of one argument, a row of the table */
	FIELD_RELATIONSHIP,
	FIELD_ETAG,
	FIELD_STAR					/* only until it is resolved */
} SelectionFieldKind;

typedef struct SelectionField
{
	SelectionFieldKind kind;
	char	   *key;			/* in the document */
	char	   *name;
	int			location;		/* of the name in the text, in bytes */
	bool		nocheck;		/* not part of the etag */
	bool		hidden;			/* not shown */
	bool		unnest;			/* its fields are the parent's */

	/* of a column or function */
	AttrNumber	attnum;
	Oid			function;
	bool		returns_set;
	bool		one_row;		/* a set of at most one row */
	Oid			typid;

	/* of a relationship */
	Relationship *relationship;
	struct Selection *child;
	char	   *filter;
	Jsonb	   *filter_by;
	char	   *order_by;
	int64		limit;			/* -1 if there is none */
	int64		offset;			/* 0 if there is none */
} SelectionField;

typedef struct Selection
{
	Model	   *model;
	const char *text;			/* the whole, for messages */
	int			allowed;		/* ALLOW_ bits */
	bool		nocheck;		/* nothing of it is part of the etag */
	List	   *fields;			/* SelectionField * */
} Selection;

/* Is any of @insert, @update and @delete in the selection? */
extern bool selection_has_permissions(Selection *selection);

/* The field of that key in a document, or NULL. */
extern SelectionField *selection_field(Selection *selection, const char *key);

/* Keys that a document may have, for hints: List of char *. */
extern List *selection_keys(Selection *selection);

/*
 * A selection of the model from its text: 42601 with the position for wrong
 * notation, 42703 and 42704 with the nearest name for unknown names.
 */
extern Selection *selection_create(Model *model, const char *text);

/* ------------------------------------------------------------------------
 * between selection.c and resolve.c
 * ------------------------------------------------------------------------
 */
extern Selection *selection_parse(const char *text);
extern void selection_resolve(Selection *selection, Model *model);

/* Puts a place in the text (in bytes) into the error that is being made. */
extern int	selection_errposition(const char *text, int location);

#endif							/* PG_ORM_DOCUMENT_SELECTION_H */
