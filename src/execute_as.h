/*-------------------------------------------------------------------------
 *
 * execute_as.h
 *	  Statements that are executed as somebody else.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_EXECUTE_AS_H
#define PG_ORM_EXECUTE_AS_H

/*
 * Executes one statement by SPI as a role, under a search_path of none but
 * pg_catalog; returns the number of rows.  security is SECURITY_ bits besides
 * SECURITY_LOCAL_USERID_CHANGE.  nulls is as for SPI: NULL if there are none.
 */
extern uint64 execute_as(Oid role, int security, const char *sql, int nargs,
						 Oid *types, Datum *values, const char *nulls);

#endif							/* PG_ORM_EXECUTE_AS_H */
