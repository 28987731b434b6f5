/*-------------------------------------------------------------------------
 *
 * internal.h
 *	  What the files of src/navigation share among themselves.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_NAVIGATION_INTERNAL_H
#define PG_ORM_NAVIGATION_INTERNAL_H

#include "navigation/navigation.h"

/*
 * What the function of one direction of a relationship should look like.
 * Made anew from the catalogs each time; lives in the caller's context.
 */
typedef struct NavigationFunction
{
	char	   *name;
	char	   *class_name;		/* of the owner, for messages */
	Oid			owner_relid;
	Oid			owner_rowtype;	/* the argument */
	Oid			target_rowtype; /* the result */
	Oid			schema;			/* of the owner's table */
	Oid			role;			/* owner of the owner's table */
	bool		returns_set;
	bool		parallel_safe;	/* otherwise RESTRICTED */
	char	   *body;

	/*
	 * True if the keys and foreign keys that decide about the body are
	 * there.  While a dump is being restored they are not yet.
	 */
	bool		settled;
	bool		comparable;		/* false: there is no operator; no body */
	int			nrelations;		/* what it goes with, if dropped */
	Oid			relations[3];
} NavigationFunction;

/* ------------------------------------------------------------------------
 * in body.c
 * ------------------------------------------------------------------------
 */
extern NavigationFunction *navigation_describe(Model *owner,
											   Relationship *relationship);

/* ------------------------------------------------------------------------
 * in functions.c
 * ------------------------------------------------------------------------
 */

/*
 * Makes the function be as described and returns whether anything had to be
 * changed.  Where lenient, a function that is in the way and not ours is
 * left alone; otherwise it is an error.
 */
extern bool navigation_function_apply(NavigationFunction *function,
									  bool lenient);

/* Whether a dump is being restored: bodies and keys may be incomplete. */
extern bool navigation_restoring(void);

/* ------------------------------------------------------------------------
 * in distributed.c
 * ------------------------------------------------------------------------
 */

/* Whether Citus is in this database. */
extern bool citus_is_present(void);

#endif							/* PG_ORM_NAVIGATION_INTERNAL_H */
