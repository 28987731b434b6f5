/*-------------------------------------------------------------------------
 *
 * query.h
 *	  Queries and bulk statements on models: what others may ask of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_QUERY_H
#define PG_ORM_QUERY_H

/* init, called by _PG_init */
extern void query_init(void);

#endif							/* PG_ORM_QUERY_H */
