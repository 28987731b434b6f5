/*-------------------------------------------------------------------------
 *
 * pg_orm.c
 *	  Module load: calls each module's init function and nothing else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "engine/engine.h"
#include "model/model.h"
#include "navigation/navigation.h"
#include "pg_orm.h"
#include "query/query.h"
#include "session/session.h"

PG_MODULE_MAGIC;

void
_PG_init(void)
{
	metadata_init();
	engine_init();
	navigation_init();
	session_init();
	query_init();
	MarkGUCPrefixReserved(ORM_SCHEMA);
}
