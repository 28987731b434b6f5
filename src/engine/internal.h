/*-------------------------------------------------------------------------
 *
 * internal.h
 *	  What the files of the engine module share, and nobody else sees.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_ENGINE_INTERNAL_H
#define PG_ORM_ENGINE_INTERNAL_H

#include "engine/engine.h"

/* Slots are numbered by the 16 bits that an object lock has for it. */
#define ENGINE_MAX_SLOTS PG_UINT16_MAX

/* One row of orm.engine_def. */
typedef struct Engine
{
	Oid			id;
	char	   *name;
	int			pool_size;		/* 0: no limit */
	int			max_overflow;	/* -1: no limit */
	double		pool_timeout;	/* in seconds */
	int			pool_recycle;	/* in seconds, or -1 */
} Engine;

/* The config table orm.engine_def: what the locks of slots are of. */
extern Oid	engine_config_table(void);

/* The engine with that id, in the current memory context, or NULL. */
extern Engine *engine_by_id(Oid id);

#endif							/* PG_ORM_ENGINE_INTERNAL_H */
