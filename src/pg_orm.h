/*-------------------------------------------------------------------------
 *
 * pg_orm.h
 *	  What every module of the extension may use: the name of its schema and
 *	  nothing else.  Each module has a header of its own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_H
#define PG_ORM_H

/* The schema of everything that the extension owns (relocatable = false). */
#define ORM_SCHEMA "orm"

extern void _PG_init(void);

#endif							/* PG_ORM_H */
