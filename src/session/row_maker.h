/*-------------------------------------------------------------------------
 *
 * row_maker.h
 *	  What row_maker.c and row_draft.c share: what is prepared to make rows of
 *	  a model.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_SESSION_ROW_MAKER_H
#define PG_ORM_SESSION_ROW_MAKER_H

#include "nodes/execnodes.h"

#include "session/internal.h"

typedef struct RowMakerKey
{
	Oid			relid;
	Oid			userid;			/* who may execute the functions in it */
} RowMakerKey;

typedef struct RowMaker
{
	RowMakerKey key;

	/* for as long as metadata stands */
	uint64		generation;		/* of the metadata it was made from */
	MemoryContext context;
	bool		has_domains;	/* whose NULLs have to be checked, too, and
								 * whose defaults come and go unnoticed */
	Expr	  **defaults;		/* by attribute, NULL where there is none; the
								 * array is NULL until wanted */
	bool		lasting;		/* they can be kept ready to be evaluated */
	uint64		functions;		/* of the functions, if so */
	struct ColumnInput *inputs; /* by attribute; NULL until wanted */
	List	   *shapes;			/* DocumentShape *, in row_draft.c */

	/* in the present transaction, the last two longer if they are lasting */
	LocalTransactionId lxid;
	FmgrInfo   *populate;		/* jsonb_populate_record of the row type */
	EState	   *estate;			/* of the defaults */
	ExprState **states;			/* by attribute, of those wanted so far */
} RowMaker;

/* That of the model, the present user and metadata. */
extern RowMaker *row_maker(Model *model);

/* Sees to it that maker->defaults is there. */
extern void row_maker_need_defaults(RowMaker *maker, Model *model);

/*
 * Sees to it that the default of an attribute can be evaluated, by
 * maker->states and maker->estate, if there is one.
 */
extern void row_maker_need_state(RowMaker *maker, Model *model, int attribute);

/*
 * In row_draft.c: row_from_document for a plain document; returns false, and
 * does nothing, if it is not.
 */
extern bool row_from_plain_document(Model *model, Datum base,
									const JsonbContainer *doc, Datum *row,
									Bitmapset **given);

/* The version of a row that is new; false if the model counts none. */
extern bool row_first_version(Model *model, Datum *version);

#endif							/* PG_ORM_SESSION_ROW_MAKER_H */
