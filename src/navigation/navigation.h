/*-------------------------------------------------------------------------
 *
 * navigation.h
 *	  Walking a relationship: the generated functions and orm.to_one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_NAVIGATION_H
#define PG_ORM_NAVIGATION_H

#include "model/model.h"

/*
 * Makes the navigation function of one direction of a relationship, or makes
 * it anew where names, types or keys have changed.  Where lenient, what is
 * in the way is left alone with a NOTICE; otherwise it is an error (42701 a
 * column, 42723 a function).  Called by the row trigger of
 * orm.relationship_def.
 */
extern void navigation_function_create(Model *owner,
									   Relationship *relationship,
									   bool lenient);

/* The same for all relationships of the database, leniently. */
extern void navigation_functions_follow(void);

/* init, called by _PG_init */
extern void navigation_init(void);

#endif							/* PG_ORM_NAVIGATION_H */
