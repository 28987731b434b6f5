/*-------------------------------------------------------------------------
 *
 * row_maker.h
 *	  What row_maker.c and row_draft.c share: what is prepared to make rows of
 *	  a model in this transaction.
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
	uint64		generation;		/* of the metadata it was made from */
	MemoryContext context;
	FmgrInfo	populate;		/* jsonb_populate_record of the row type */
	EState	   *estate;			/* of the defaults; NULL until wanted */
	ExprState **defaults;		/* by attribute, NULL where there is none */
	struct ColumnInput *inputs; /* by attribute; NULL until wanted */
	bool		has_domains;	/* whose NULLs have to be checked, too */
	List	   *shapes;			/* DocumentShape *, in row_draft.c */
} RowMaker;

/* That of the model, the present user and metadata. */
extern RowMaker *row_maker(Model *model);

/* Sees to it that maker->defaults and maker->estate are there. */
extern void row_maker_need_defaults(RowMaker *maker, Model *model);

/* The version of a row that is new; false if the model counts none. */
extern bool row_first_version(Model *model, Datum *version);

#endif							/* PG_ORM_SESSION_ROW_MAKER_H */
