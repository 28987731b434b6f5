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
 * (Re)creates the navigation functions of one direction of a relationship;
 * called by the row trigger of orm.relationship_def, by orm.repair and when
 * renamed columns or moved tables are noticed.
 */
extern void navigation_function_create(Model *owner,
									   Relationship *relationship);

/* init, called by _PG_init */
extern void navigation_init(void);

#endif							/* PG_ORM_NAVIGATION_H */
