/*-------------------------------------------------------------------------
 *
 * view.h
 *	  ORM views.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_VIEW_H
#define PG_ORM_DOCUMENT_VIEW_H

#include "utils/relcache.h"

#include "document/selection.h"

/* The selection of an ORM view; 42809 if the relation is none. */
extern Selection *view_selection(Relation relation);

#endif							/* PG_ORM_DOCUMENT_VIEW_H */
